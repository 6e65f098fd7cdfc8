# SPDX-License-Identifier: Apache-2.0
"""Connect a calendar account: asked what it has before anything is stored."""

import asyncio
from collections.abc import Mapping

import msgspec

from holdfirst.calendar.provider import Access, Found
from holdfirst.effects.world import World
from holdfirst.errors import CalendarDenied, ProviderUnavailable
from holdfirst.flows import calendar_connections
from holdfirst.flows.calendar_connections import WantedConnection
from holdfirst.refusal import Code, Refusal, invalid
from holdfirst.store.calendars import Connection
from holdfirst.store.database import Tx

DISCOVER_SECONDS_MAX = 15.0


async def connect(
    world: World, wanted: WantedConnection, secrets: Mapping[str, str], field: str
) -> Connection | Refusal:
    """`field`: what of the request is to blame where the account does not let us in."""
    refusal = await world.database.run(calendar_connections.host_of, wanted.account_id, wanted.host_id)
    if refusal is not None:
        return refusal
    found = await discover(world, wanted.provider, Access(secrets=secrets), field)
    if isinstance(found, Refusal):
        return found
    return await world.database.run(calendar_connections.connect, wanted, found)


async def reconnect(
    world: World, connection: Connection, secrets: Mapping[str, str], field: str
) -> Connection | Refusal:
    """Other credentials for the same account: what was broken works again."""
    found = await discover(world, connection.provider, Access(secrets=secrets), field)
    if isinstance(found, Refusal):
        return found
    sealed = world.key_ring.seal(msgspec.json.encode(dict(secrets)), connection.id)

    async def let_in(tx: Tx) -> Connection | Refusal:
        return await calendar_connections.let_in_again(tx, connection.id, found, sealed)

    return await world.database.run(let_in)


async def discover(world: World, provider: str, access: Access, field: str) -> Found | Refusal:
    try:
        async with asyncio.timeout(DISCOVER_SECONDS_MAX):
            found = await world.calendars[provider].discover(access)
    except CalendarDenied as error:
        return invalid(field, f"does not let us in: {error}")
    except (ProviderUnavailable, TimeoutError) as error:
        return Refusal(
            Code.CALENDAR_UNREACHABLE, f"The calendar's server does not answer: {error}", retry_after=5
        )
    if not found.calendars:
        return invalid(field, "opens an account without any calendar")
    return found
