# SPDX-License-Identifier: Apache-2.0
"""A host lets us into a calendar account at its company's own page, and comes back."""

import base64
import hashlib

import msgspec

from holdfirst.clock import wall
from holdfirst.effects.connect_calendar import reconnect
from holdfirst.effects.world import World
from holdfirst.errors import CalendarDenied, ProviderUnavailable
from holdfirst.refusal import Code, Refusal, invalid
from holdfirst.store import calendars
from holdfirst.store.calendars import Connection

LINK_SECONDS = 3600


def consent_url(world: World, connection: Connection) -> str:
    """Open to whoever has it, for an hour."""
    state = world.key_ring.consent_state(connection.id, int(wall()) + LINK_SECONDS)
    verifier = world.key_ring.consent_verifier(connection.id)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    return world.consents[connection.provider].consent_url(_back(world, connection), state, challenge)


async def come_back(world: World, provider: str, state: str, code: str) -> Connection | Refusal:
    """With what the company's page gave the host: the connection is let in, or why not."""
    connection_id = world.key_ring.connection_of(state, int(wall()))
    found = await world.database.run(calendars.load_connection, connection_id) if connection_id else None
    if found is None or found.provider != provider or provider not in world.consents:
        return invalid("state", "is not ours, or older than an hour: ask for another link")
    verifier = world.key_ring.consent_verifier(found.id)
    try:
        secrets = await world.consents[provider].secrets_for(code, _back(world, found), verifier)
    except CalendarDenied as error:
        return invalid("code", str(error))
    except ProviderUnavailable as error:
        return Refusal(Code.CALENDAR_UNREACHABLE, str(error), retry_after=5)
    return await reconnect(world, found, secrets, "code")


def onward(world: World, connection: Connection) -> str | None:
    """Where the integrator wants the host to go on to."""
    secrets = world.key_ring.unseal(connection.sealed_credentials, connection.id)
    return msgspec.json.decode(secrets, type=dict[str, str]).get("return_url")


def _back(world: World, connection: Connection) -> str:
    return f"{world.public_url}/oauth/{connection.provider}/callback"
