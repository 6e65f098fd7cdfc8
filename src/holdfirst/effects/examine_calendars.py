# SPDX-License-Identifier: Apache-2.0
"""Look at every connected calendar: does it answer, how soon does it show what was written, and is what stands there
what should? With `repair`, what is certainly wrong is put right.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from holdfirst import ids
from holdfirst.calendar.calendar_event import CalendarEvent, EventState, event_uid, marker
from holdfirst.clock import monotonic
from holdfirst.effects.calendar_desk import CalendarDesk, calling
from holdfirst.effects.watch_calendars import addresses
from holdfirst.effects.world import World
from holdfirst.errors import CalendarDenied, CalendarRefused, ProviderUnavailable
from holdfirst.flows import calendar_repair
from holdfirst.flows.calendar_connections import left_out
from holdfirst.flows.calendar_repair import Standing
from holdfirst.store import calendar_watches, calendars
from holdfirst.store.calendar_watches import WatchState
from holdfirst.store.calendars import Calendar, Connection, ConnectionStatus
from holdfirst.store.database import Tx

SECONDS_MAX = 30.0
CANARY_AHEAD = timedelta(days=390)
READ_BACK_SECONDS_MAX = 10.0
PAUSES = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Between looks for the test event: companies count calls."""
RENEWAL_TAKES = timedelta(hours=1)


class Examined(msgspec.Struct, frozen=True):
    """`wrong`: what disagrees, in words. `notes`: what is worth knowing."""

    wrong: Sequence[str]
    notes: Sequence[str]


async def examine(world: World, *, repair: bool) -> Examined:
    wrong: list[str] = []
    notes: list[str] = []
    for connection in await world.database.run(calendars.all_connections):
        if connection.status is ConnectionStatus.BROKEN:
            wrong.append(f"{connection.id}: broken: {connection.problem}")
        elif connection.problem is not None:
            notes.append(f"{connection.id}: {connection.problem}")
        known = await world.database.run(calendars.calendars_of, connection.id)
        if (note := left_out(known)) is not None:
            notes.append(f"{connection.id}: {note}")
        for calendar in known:
            if calendar.in_use:
                if calendar.write_problem is not None:
                    wrong.append(f"{calendar.id}: does not take our events: {calendar.write_problem}")
                found = await _watched(world, calendar, connection)
                wrong += [f"{calendar.id}: {one}" for one in found.wrong]
                notes += [f"{calendar.id}: {one}" for one in found.notes]
                found = await _examined(world, calendar, connection, repair=repair)
                wrong += [f"{calendar.id}: {one}" for one in found.wrong]
                notes += [f"{calendar.id}: {one}" for one in (*found.notes, *calendar.notes)]
    return Examined(wrong, notes)


async def _examined(world: World, calendar: Calendar, connection: Connection, *, repair: bool) -> Examined:
    try:
        async with calling(world, calendar, connection, SECONDS_MAX) as desk:
            own = list(await desk.provider.own(desk.place, marker(calendar.account_id)))
            notes = [await (_canary if calendar.writable else _fetched)(world, desk, calendar)]
            standing = await world.database.run(calendar_repair.compare, calendar, own)
            if repair:
                for stray in (*standing.orphans, *standing.duplicates):
                    await desk.provider.delete(desk.place, stray.uid, stray.etag or None)
    except (ProviderUnavailable, CalendarDenied, CalendarRefused) as error:
        return Examined([str(error)], [])
    if repair:
        await world.database.run(calendar_repair.put_right, calendar, standing)
        notes.append("repair: orphans and duplicates deleted, the rest is brought in line by the worker")
    return Examined(_words(standing), notes)


async def _watched(world: World, calendar: Calendar, connection: Connection) -> Examined:
    """Who tells us of changes, and until when."""
    if connection.provider not in world.pushes:
        return Examined([], [])
    known = await world.database.run(calendar_watches.of_calendar, calendar.id)
    now = await world.database.single(_now)
    for one in known:
        if one.state is WatchState.OPEN:
            until = f"{one.expires_at:%Y-%m-%d %H:%M} UTC"
            if one.expires_at <= now:
                return Examined([f"the watch ran out at {until}: is a worker running?"], [])
            if one.renew_at + RENEWAL_TAKES <= now:
                return Examined(
                    [f"the watch runs out at {until} and is not renewed: is a worker running?"], []
                )
            return Examined([], [f"we are told of changes until {until}"])
    refusal = next((one.problem for one in known if one.problem is not None), None)
    if refusal is not None:
        return Examined([], [f"nobody tells us of changes, it is polled: {refusal}"])
    if connection.provider not in addresses(world):
        return Examined([], ["nobody tells us of changes, it is polled: HOLDFIRST_PUBLIC_URL is not https"])
    return Examined([], ["nobody tells us of changes yet, it is polled"])


def _words(standing: Standing) -> list[str]:
    said = []
    if standing.orphans:
        said.append(f"{len(standing.orphans)} events of ours that belong to nothing")
    if standing.doubled:
        said.append(f"more than one event for one reservation: {' '.join(standing.doubled)}")
    if standing.also_as:
        said.append(f"connected twice, so that holds stand here twice: {' '.join(standing.also_as)}")
    if standing.ghosts:
        said.append(f"events of reservations that are over: {' '.join(standing.ghosts)}")
    if standing.missing:
        said.append(f"reservations that should stand here and do not: {' '.join(standing.missing)}")
    return said


async def _canary(world: World, desk: CalendarDesk, calendar: Calendar) -> str:
    """Write an event far ahead, see how long it takes to be told, take it away again."""
    now = await world.database.single(_now)
    start = (now + CANARY_AHEAD).replace(minute=0, second=0, microsecond=0)
    uid = event_uid(calendar.account_id, ids.make("canary"), calendar.id, 0)
    event = CalendarEvent(
        uid=uid,
        state=EventState.HOLD,
        start=start,
        end=start + timedelta(minutes=1),
        title="holdfirst: a test",
    )
    began = monotonic()
    etag = await desk.provider.write(desk.place, event, None)
    written = monotonic()
    try:
        pauses = iter(PAUSES)
        while monotonic() - written < READ_BACK_SECONDS_MAX:
            busy = await desk.provider.busy(desk.place, event.start, event.end)
            if uid in {one.uid for one in busy.occurrences}:
                took, lag = (written - began) * 1000, (monotonic() - written) * 1000
                return f"written in {took:.0f} ms, read back {lag:.0f} ms after that"
            await asyncio.sleep(next(pauses, PAUSES[-1]))
        return (
            f"what was written is not told within {READ_BACK_SECONDS_MAX:.0f} s: choose calendar_check strict"
        )
    finally:
        await desk.provider.delete(desk.place, uid, etag)


async def _fetched(world: World, desk: CalendarDesk, calendar: Calendar) -> str:
    """What is only read: whether it can be, how old it is, and how much of it could not be understood."""
    now = await world.database.single(_now)
    began = monotonic()
    busy = await desk.provider.busy(desk.place, now, now + CANARY_AHEAD)
    said = [
        f"read only: not locked; read in {(monotonic() - began) * 1000:.0f} ms, {len(busy.occurrences)} times taken ahead"
    ]
    if calendar.read_at is not None:
        said.append(f"what the slots know of it is {(now - calendar.read_at).total_seconds():.0f} s old")
    if busy.as_of is not None:
        said.append(f"its publisher's copy is of {busy.as_of:%Y-%m-%d %H:%M %Z}")
    if busy.notes:
        said.append(f"{len(busy.notes)} events not understood")
    return "; ".join(said)


async def _now(tx: Tx) -> datetime:
    return await tx.now()
