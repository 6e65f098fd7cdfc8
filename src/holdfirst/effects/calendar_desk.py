# SPDX-License-Identifier: Apache-2.0
"""Where a calendar's calls go: its provider, with credentials unsealed for the length of the calls; few at a time."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from itertools import chain, repeat

import msgspec

from holdfirst.calendar.provider import Access, CalendarProvider, Place, TakeTurn
from holdfirst.effects.world import World
from holdfirst.errors import (
    CalendarDenied,
    CalendarRefused,
    CalendarUnreadable,
    DatabaseUnavailable,
    ProviderUnavailable,
)
from holdfirst.flows import calendar_health
from holdfirst.store import calendar_access, calendar_turns, calendars
from holdfirst.store.calendar_turns import Turn
from holdfirst.store.calendars import Calendar, Connection

AT_ONCE_MAX = 10
"""Calls to one account at the same time, from this process: companies count, and cut off."""
TURN_LASTS = timedelta(seconds=15)
"""Longer than any one call may take; so long a turn is lost that a process died with."""
TURN_PAUSES = (0.01, 0.02, 0.05, 0.1)
"""Before the next look whether somebody's turn is over."""
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

    return Access(
        secrets=secrets,
        server=connection.server,
        owners=connection.owners,
        keep=keep,
        name=connection.id,
        turn=turns_of(world),
    )


def turns_of(world: World) -> TakeTurn:
    """A company counts the calls of all our processes, so all of them take turns. Whoever does not get one gives up when its
    time is over, as with any call.
    """

    @asynccontextmanager
    async def turn(place: str, most: int) -> AsyncIterator[None]:
        taken: Turn | None = None
        for pause in chain(TURN_PAUSES, repeat(TURN_PAUSES[-1])):
            taken = await world.database.single(calendar_turns.take, place, most, TURN_LASTS)
            if taken is not None:
                break
            await asyncio.sleep(pause)
        assert taken is not None
        try:
            yield
        finally:
            with suppress(DatabaseUnavailable):
                # Else it ends by itself.
                await world.database.single(calendar_turns.give_back, taken)

    return turn


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
    except CalendarUnreadable as error:
        await world.database.run(calendar_health.unreadable, calendar, str(error))
        raise
    except CalendarDenied as error:
        await world.database.run(calendar_health.denied, connection.id, str(error))
        raise
    except CalendarRefused as error:
        await world.database.run(calendar_access.refuses_writes, calendar.id, str(error))
        raise
