# SPDX-License-Identifier: Apache-2.0
"""Connect a calendar account: asked what it has before anything is stored."""

import asyncio
import contextlib
from collections.abc import Mapping

import msgspec

from holdfirst.calendar.provider import Access, Found
from holdfirst.effects.calendar_desk import access_of, turns_of
from holdfirst.effects.world import World
from holdfirst.errors import CalendarDenied, ProviderUnavailable
from holdfirst.flows import calendar_connections
from holdfirst.flows.calendar_connections import WantedConnection
from holdfirst.refusal import Code, Refusal, invalid
from holdfirst.store import calendars
from holdfirst.store.calendars import Connection

DISCOVER_SECONDS_MAX = 15.0


class LetIn(msgspec.Struct, frozen=True):
    """What is there, and what opens it from now on: a company may have exchanged a secret for another."""

    found: Found
    secrets: Mapping[str, str]


async def connect(
    world: World, wanted: WantedConnection, secrets: Mapping[str, str], field: str
) -> Connection | Refusal:
    """`field`: what of the request is to blame where the account does not let us in."""
    refusal = await world.database.run(calendar_connections.host_of, wanted.account_id, wanted.host_id)
    if refusal is not None:
        return refusal
    there = await discover(world, wanted.id, wanted.provider, secrets, field)
    if isinstance(there, Refusal):
        return there
    sealed = world.key_ring.seal(msgspec.json.encode(there.secrets), wanted.id)
    latest = msgspec.structs.replace(wanted, sealed=sealed)
    return await world.database.run(calendar_connections.connect, latest, there.found)


async def reconnect(
    world: World, connection: Connection, secrets: Mapping[str, str], field: str
) -> Connection | Refusal:
    """Other credentials for the same account: what was broken works again."""
    there = await discover(world, connection.id, connection.provider, secrets, field)
    if isinstance(there, Refusal):
        return there
    # Where to go on to was sealed with the connection before it had anything else to seal.
    before = msgspec.json.decode(
        world.key_ring.unseal(connection.sealed_credentials, connection.id), type=dict[str, str]
    )
    kept = {name: before[name] for name in ("return_url",) if name in before}
    sealed = world.key_ring.seal(msgspec.json.encode(kept | dict(there.secrets)), connection.id)
    return await world.database.run(calendar_connections.let_in_again, connection.id, there.found, sealed)


async def list_again(world: World, connection: Connection) -> None:
    """For who asks for a reading. Whether the account answers at all is for the readings to say."""
    with contextlib.suppress(CalendarDenied, ProviderUnavailable):
        await _list(world, connection)


async def list_calendars(world: World, connection_id: str) -> None:
    """The job, wished for by the first reading of a day. An account that does not let us in is for the readings to tell of."""
    connection = await world.database.run(calendars.load_connection, connection_id)
    if connection is not None:
        with contextlib.suppress(CalendarDenied):
            await _list(world, connection)


async def _list(world: World, connection: Connection) -> None:
    """What its calendars are called, in which zone they are and which of them can be written changes without a word."""
    try:
        async with asyncio.timeout(DISCOVER_SECONDS_MAX):
            found = await world.calendars[connection.provider].discover(access_of(world, connection))
    except TimeoutError as error:
        raise ProviderUnavailable("no answer in time") from error
    await world.database.run(calendar_connections.listed, connection.id, found)


async def discover(
    world: World, name: str, provider: str, secrets: Mapping[str, str], field: str
) -> LetIn | Refusal:
    latest = dict(secrets)

    async def keep(exchanged: Mapping[str, str]) -> None:
        latest.update(exchanged)

    try:
        async with asyncio.timeout(DISCOVER_SECONDS_MAX):
            access = Access(secrets=secrets, keep=keep, name=name, turn=turns_of(world))
            found = await world.calendars[provider].discover(access)
    except CalendarDenied as error:
        return invalid(field, f"does not let us in: {error}")
    except (ProviderUnavailable, TimeoutError) as error:
        return Refusal(
            Code.CALENDAR_UNREACHABLE, f"The calendar's server does not answer: {error}", retry_after=5
        )
    if not found.calendars:
        return invalid(field, "opens an account without any calendar")
    return LetIn(found, latest)
