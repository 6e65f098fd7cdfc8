# SPDX-License-Identifier: Apache-2.0
"""Where a calendar's calls go: its provider, with credentials unsealed for the length of the calls; few at a time."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import msgspec

from holdfirst.calendar.provider import Access, CalendarProvider, Place
from holdfirst.effects.world import World
from holdfirst.errors import CalendarDenied, CalendarRefused, ProviderUnavailable
from holdfirst.flows import calendar_health
from holdfirst.store import calendar_access, calendars
from holdfirst.store.calendars import Calendar, Connection

AT_ONCE_MAX = 10
"""Calls to one account at the same time, from this process: companies count, and cut off."""
_turns: dict[str, asyncio.Semaphore] = {}


class CalendarDesk(msgspec.Struct, frozen=True):
    provider: CalendarProvider
    place: Place


def access_of(world: World, connection: Connection) -> Access:
    """What the company exchanges is sealed and stored before it is used."""
    sealed = connection.sealed_credentials
    secrets = msgspec.json.decode(world.key_ring.unseal(sealed, connection.id), type=dict[str, str])

    async def keep(exchanged: Mapping[str, str]) -> None:
        nonlocal sealed
        after = world.key_ring.seal(msgspec.json.encode(secrets | dict(exchanged)), connection.id)
        if await world.database.run(calendars.exchange_credentials, connection.id, sealed, after):
            sealed = after

    return Access(secrets=secrets, server=connection.server, owners=connection.owners, keep=keep)


@asynccontextmanager
async def calling(
    world: World, calendar: Calendar, connection: Connection, seconds: float
) -> AsyncIterator[CalendarDesk]:
    """Bounded in time: no answer is `ProviderUnavailable`. What shuts us out for good is written down, and so is a calendar
    that does not take what we write.
    """
    turn = _turns.setdefault(connection.id, asyncio.Semaphore(AT_ONCE_MAX))
    place = Place(access=access_of(world, connection), ref=calendar.ref, time_zone=calendar.time_zone)
    try:
        async with asyncio.timeout(seconds), turn:
            yield CalendarDesk(world.calendars[connection.provider], place)
    except TimeoutError as error:
        raise ProviderUnavailable("no answer in time") from error
    except CalendarDenied as error:
        await world.database.run(calendar_health.denied, connection.id, str(error))
        raise
    except CalendarRefused as error:
        await world.database.run(calendar_access.refuses_writes, calendar.id, str(error))
        raise
