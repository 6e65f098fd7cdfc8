# SPDX-License-Identifier: Apache-2.0
"""Read what changed in a calendar. A poll, a push and a person who asks run the same; the same reading twice is one."""

import contextlib
from collections.abc import Sequence
from datetime import datetime

import structlog

from holdfirst.calendar.calendar_event import Change, marker
from holdfirst.calendar.provider import Changes
from holdfirst.effects.calendar_desk import calling
from holdfirst.effects.connect_calendar import list_again
from holdfirst.effects.dragged_events import found_elsewhere
from holdfirst.effects.hold_calendars import CALL_SECONDS_MAX
from holdfirst.effects.watch_calendars import addresses
from holdfirst.effects.world import World
from holdfirst.errors import CalendarDenied, CalendarRefused, HoldfirstError, ProviderUnavailable
from holdfirst.flows import calendar_health, calendar_sync, calendar_watches
from holdfirst.flows.calendar_sync import Missing, ToSync
from holdfirst.store.calendars import Calendar, Connection

log = structlog.get_logger(__name__)

READ_SECONDS_MAX = 50.0
"""All of a large calendar, once a day; a job's lease is longer."""
ASKED_FOR_MAX = 10
"""Events of ours that a reading says are gone, and that are asked for one by one."""
RARELY = 4
"""Where a company's calls come through, it is asked so many times less often. A change that it did not tell ends that."""


async def poll(world: World, calendar_id: str) -> datetime | None:
    """The job: read, and say when to read again."""
    asked = await world.database.run(calendar_sync.load, calendar_id)
    if asked is None:
        return None
    try:
        await sync(world, asked)
    except CalendarDenied:
        return asked.now + calendar_health.BROKEN_AGAIN
    except Exception as error:
        await _write_down(world, asked.calendar, error)
        raise
    if not asked.told.watched and asked.connection.provider in addresses(world):
        await world.database.run(calendar_watches.wish, asked.calendar)
    return asked.now + world.limits.calendar_poll * (RARELY if asked.told.listening else 1)


async def sync_all(world: World, connection: Connection, found: Sequence[Calendar]) -> None:
    """All of a connection's calendars that are in use, as they are now; what goes wrong is written down there."""
    await list_again(world, connection)
    for calendar in found:
        asked = await world.database.run(calendar_sync.load, calendar.id)
        if asked is None:
            continue
        try:
            await sync(world, asked)
        except CalendarDenied:
            return
        except Exception as error:
            if not await _write_down(world, calendar, error):
                raise
            log.warning("calendar_not_synced", calendar=calendar.id, error=type(error).__name__)


async def _write_down(world: World, calendar: Calendar, error: Exception) -> bool:
    """Why nothing was read, where its owner looks for it. What a stranger's text makes of us is a fault of the calendar's
    too: nobody knows what is free there. False: it is our database's.
    """
    if isinstance(error, HoldfirstError) and not isinstance(error, ProviderUnavailable):
        return False
    expected = isinstance(error, ProviderUnavailable)
    words = str(error) if expected else f"what it says cannot be taken in: {type(error).__name__}"
    await world.database.run(calendar_health.unreachable, calendar, words)
    return True


async def sync(world: World, asked: ToSync) -> None:
    """Raises `ProviderUnavailable` or `CalendarDenied`; then nothing has changed."""
    async with calling(world, asked.calendar, asked.connection, READ_SECONDS_MAX) as desk:
        changes = await desk.provider.changes(desk.place, asked.token, asked.etags, asked.window)
    missing = await _whereabouts(world, asked, changes)
    taken = await world.database.run(calendar_sync.take_in, asked, changes, missing)
    if changes.problem is None:
        await world.database.run(calendar_health.answered, asked.calendar)
    else:
        await world.database.run(calendar_health.unreachable, asked.calendar, changes.problem)
    if taken is not None:
        await _sweep(world, asked, taken.strays)


async def _whereabouts(world: World, asked: ToSync, changes: Changes) -> Missing:
    """A server may be mistaken about what went: of our own events it is asked again, and the account's other calendars too."""
    missing = calendar_sync.gone(asked, changes)
    mark = marker(asked.calendar.account_id)
    # What has only another name now needs no question.
    seen = {one.uid for one in changes.changed}
    ours = [ref for ref, uid in missing.items() if uid.startswith(mark) and uid not in seen]
    if not ours:
        return Missing(missing)
    # What is not asked for in this reading is not gone in this reading.
    kept, elsewhere, unsure = set(ours[ASKED_FOR_MAX:]), {}, False
    async with calling(world, asked.calendar, asked.connection, CALL_SECONDS_MAX) as desk:
        for ref in ours[:ASKED_FOR_MAX]:
            if await desk.provider.find(desk.place, missing[ref]) is not None:
                kept.add(ref)
                continue
            try:
                if await found_elsewhere(world, desk, asked.calendar, missing[ref]):
                    elsewhere[ref] = missing[ref]
            except (ProviderUnavailable, CalendarDenied):
                # A calendar that nobody uses closes nobody; but it may be there.
                kept.add(ref)
                unsure = True
    away = kept | elsewhere.keys()
    return Missing({ref: uid for ref, uid in missing.items() if ref not in away}, elsewhere, unsure)


async def _sweep(world: World, asked: ToSync, strays: Sequence[Change]) -> None:
    """What bears our marker and belongs to nothing is taken away: a write that was given up, and came all the same."""
    if not strays:
        return
    with contextlib.suppress(CalendarRefused):
        async with calling(world, asked.calendar, asked.connection, CALL_SECONDS_MAX) as desk:
            for stray in strays:
                await desk.provider.delete(desk.place, stray.uid, stray.etag or None)
