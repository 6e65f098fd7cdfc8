# SPDX-License-Identifier: Apache-2.0
"""Ended at every await, answers lost at every call: after two quiet rounds of the worker the calendars hold exactly
what is to stand there, and a third one changes nothing.
"""

import asyncio
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from conftest import Clock
from holdfirst.calendar.calendar_event import EventState
from holdfirst.effects import confirm as confirming
from holdfirst.effects import release as releasing
from holdfirst.effects import watch_calendars
from holdfirst.flows.confirm import Asks, ConfirmRequest
from holdfirst.reservation.reservation import EndedBy, Reservation, Status, status_at
from holdfirst.store import calendar_events, calendar_watches, jobs
from holdfirst.store.calendar_events import Ended, Written, WrittenEvent
from holdfirst.store.calendar_watches import WatchState
from holdfirst.store.database import Database, Tx
from holdfirst.worker import KINDS
from shop import Shop, open_shop

from .on_servers import Connect, in_memory
from .test_pushes import Caller

RULES = {"price": None}
STEPS_MAX = 80


class Killed(Exception):
    """As if the process had ended here. (What runs beside it goes on a little: a request that is already sent.)"""


class Counted:
    """Ends whoever reaches the n-th await of the outside: a statement to the database, or a call to a calendar."""

    def __init__(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left: int | None = None
        self._shop = shop
        for name in ("row", "rows", "value", "execute"):
            self._wrap(monkeypatch, name)
        shop.calendars.on_call = self._call

    def _wrap(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        original = getattr(Tx, name)

        async def counted(tx: Tx, *arguments: Any) -> Any:
            self.step()
            return await original(tx, *arguments)

        monkeypatch.setattr(Tx, name, counted)

    async def _call(self, _call: str, _when: str) -> None:
        self.step()

    def step(self) -> None:
        if self.left is None:
            return
        if self.left == 0:
            raise Killed
        self.left -= 1


async def quiet_rounds(shop: Shop, clock: Clock, rounds: int = 2) -> None:
    """Leases run out, what was given up has arrived or never will, every job and every reading runs."""
    for _ in range(rounds):
        await clock.shift(timedelta(seconds=61))
        await shop.database.run(_all_due)
        await shop.work()


async def _all_due(tx: Tx) -> None:
    await tx.execute(
        "update job set lease_until = null, due_at = the_clock() where kind in ('calendars', 'sync_calendar', 'ask_calendars')"
    )


async def assert_settled(shop: Shop, clock: Clock) -> None:
    """The set of our events equals the set of live reservations, as each calendar is to show them."""
    await quiet_rounds(shop, clock)
    expected: dict[str, list[tuple[EventState, Any]]] = {"one": [], "two": []}
    async with shop.database.statement() as tx:
        now = await tx.now()
        found = [row["id"] for row in await tx.rows("select id from reservation order by start")]
    for one in [await shop.read(reservation_id) for reservation_id in found]:
        match status_at(one, now):
            case Status.HELD:
                for shown in expected.values():
                    shown.append((EventState.HOLD, one.start))
            case Status.CONFIRMED:
                expected["one"].append((EventState.CONFIRMED, one.start))
    there = {
        ref: sorted([(entry.state, entry.start) for entry in entries], key=lambda entry: entry[1])
        for ref, entries in shop.calendars.ours().items()
    }
    assert there == expected
    async with shop.database.statement() as tx:
        rows = await tx.rows(
            "select * from calendar_event where state = 'unknown' or lease_until is not null or doubtful_until is not null"
        )
    assert rows == []
    writes = shop.calendars.calls["write"] + shop.calendars.calls["delete"]
    await quiet_rounds(shop, clock, rounds=1)
    assert shop.calendars.calls["write"] + shop.calendars.calls["delete"] == writes


async def make(database: Database, clock: Clock, connect: Connect = in_memory) -> Shop:
    shop = await open_shop(database, rules=RULES)
    await connect(shop)
    await shop.work()
    return shop


async def confirm(shop: Shop, held: Reservation) -> Any:
    request = ConfirmRequest(reservation_id=held.id, asks=Asks.SECRET_KEY)
    return await confirming.confirm_with_provider(shop.world, request, back_end_confirms=False)


async def release(shop: Shop, held: Reservation) -> Any:
    return await releasing.release_with_provider(shop.world, held.id, by=EndedBy.CUSTOMER, force=False)


VERBS = ["hold", "confirm", "release", "attend", "sync"]


@pytest.mark.parametrize("verb", VERBS)
async def test_ended_at_every_await(
    database: Database, clock: Clock, connect: Connect, monkeypatch: pytest.MonkeyPatch, verb: str
):
    shop = await make(database, clock, connect)
    counted = Counted(shop, monkeypatch)
    ended = 0
    for step in range(STEPS_MAX):
        start = shop.slot(step % 24, 7 + step // 24)
        held = None if verb == "hold" else await shop.held(start, hold_seconds=900)
        if verb == "attend":
            assert held is not None
            assert await release(shop, held)
        if verb == "confirm":
            await clock.shift(timedelta(seconds=11))
        if verb == "sync":
            shop.calendars.put(
                "one", f"stranger{step}", start + timedelta(days=50), start + timedelta(days=50, hours=1)
            )
            await shop.database.run(_all_due)
        counted.left = step
        try:
            await run(shop, verb, start, held)
        except Killed:
            ended += 1
        else:
            # Past its last await: there is nothing more to break.
            counted.left = None
            break
        finally:
            counted.left = None
    assert ended >= 5
    # What was already sent when its sender ended arrives.
    await asyncio.sleep(0.2)
    await assert_settled(shop, clock)


async def run(shop: Shop, verb: str, start: Any, held: Reservation | None) -> None:
    match verb:
        case "hold":
            await shop.reserve(start, hold_seconds=900)
        case "confirm":
            assert held is not None
            await confirm(shop, held)
        case "release":
            assert held is not None
            await release(shop, held)
        case "attend" | "sync":
            await one_round(shop)


async def one_round(shop: Shop) -> None:
    for job in await shop.database.run(jobs.claim, list(KINDS), timedelta(seconds=60), 100):
        again = await KINDS[job.kind].run(shop.world, job.subject)
        if again is None:
            await shop.database.run(jobs.finish, job)
        else:
            await shop.database.run(jobs.snooze, job, again)


async def test_a_watch_ended_at_every_await(
    database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
):
    """Opened, renewed, ended: wherever it stops, one watch is left where one is wanted, and none where none is."""
    shop = await make(database, clock)
    caller = Caller()
    caller.shelves = shop.calendars.shelves
    world = msgspec.structs.replace(
        shop.world,
        public_url="https://book.example.org",
        calendars={"caldav": caller},
        pushes={"caldav": caller},
    )
    async with shop.database.statement() as tx:
        calendar_id = await tx.value("select id from calendar where ref = 'one'")
    counted = Counted(shop, monkeypatch)
    caller.on_call = counted._call
    ended = 0
    for wanted in (True, False):
        for step in range(STEPS_MAX):
            if wanted:
                # What stands is to be renewed, and the company knows nothing of it any more every second time.
                async with shop.database.statement() as tx:
                    await tx.execute("update calendar_watch set renew_at = the_clock()")
                if step % 2:
                    caller.watches.clear()
            elif step == 0:
                async with shop.database.statement() as tx:
                    await tx.execute("update calendar set blocking = false, destination = false")
            counted.left = step
            try:
                await watch_calendars.watch(world, calendar_id)
            except Killed:
                ended += 1
            else:
                break
            finally:
                counted.left = None
        await clock.shift(timedelta(seconds=61))
        for _ in range(2):
            await watch_calendars.watch(world, calendar_id)
        known = await shop.database.run(calendar_watches.of_calendar, calendar_id)
        opened = [one.ref for one in known if one.state is WatchState.OPEN]
        assert len(opened) == (1 if wanted else 0)
        assert set(opened) <= set(caller.watches)
        if wanted:
            # What was asked for and never heard of runs out by itself; nothing calls us that we do not know.
            await clock.shift(timedelta(days=8))
            caller.watches.clear()
            await watch_calendars.watch(world, calendar_id)
            assert len(await shop.database.run(calendar_watches.of_calendar, calendar_id)) == 1
    assert ended >= 15


@pytest.mark.parametrize("fault", ["lost_before", "lost_after", "late"])
@pytest.mark.parametrize("call", ["write", "delete", "busy"])
async def test_a_lost_answer_leaves_no_ghost(
    database: Database, clock: Clock, connect: Connect, call: str, fault: str
):
    shop = await make(database, clock, connect)
    for number in range(6):
        start = shop.slot(number)
        shop.calendars.faults = {call: [fault] * (1 + number % 2)}
        held = await shop.reserve(start, hold_seconds=900)
        if isinstance(held, Reservation) and number % 3 == 1:
            await confirm(shop, held)
        elif isinstance(held, Reservation) and number % 3 == 2:
            await release(shop, held)
        shop.calendars.faults = {call: [fault]}
        await shop.work()
        await asyncio.sleep(0.03)
    shop.calendars.faults = {}
    await assert_settled(shop, clock)


async def test_whoever_lost_the_lease_of_an_event_has_no_word_though_its_row_was_made_again(
    database: Database, clock: Clock
):
    shop = await open_shop(database, rules=RULES)
    await shop.connect()
    held = await shop.held()
    async with database.transaction() as tx:
        [event, _] = await calendar_events.of_reservation(tx, held.id)

    async def lease() -> WrittenEvent:
        until = held.created_at + timedelta(seconds=40)
        [leased] = await database.run(calendar_events.lease, shop.account_id, [event], until)
        return leased

    async def record(leased: WrittenEvent, state: Written) -> None:
        ended = Ended(replace(leased, state=state, etag=None))
        await database.run(calendar_events.record, [ended], timedelta(seconds=60))

    async def row() -> WrittenEvent | None:
        async with database.transaction() as tx:
            found = await calendar_events.of_reservation(tx, held.id)
        return next((one for one in found if one.calendar_id == event.calendar_id), None)

    stalled = await lease()
    await record(await lease(), Written.ABSENT)
    await release(shop, held)
    await clock.shift(timedelta(hours=2))
    await database.run(calendar_events.sweep)
    assert await row() is None
    running = await lease()
    await record(stalled, Written.ABSENT)
    assert (await row()).state is Written.UNKNOWN
    await record(running, Written.HOLD)
    assert (await row()).state is Written.HOLD


async def test_a_write_that_arrives_after_everything_is_swept(database: Database, clock: Clock):
    shop = await make(database, clock)
    held = await shop.held()
    [entry] = shop.calendars.ours()["one"]
    await release(shop, held)
    await quiet_rounds(shop, clock, 3)
    assert shop.calendars.ours() == {"one": [], "two": []}
    shop.calendars.put("one", entry.uid, entry.start, entry.end, state=entry.state)
    await assert_settled(shop, clock)


@pytest.mark.parametrize(("strays", "left"), [(5, 0), (6, 6)])
async def test_a_few_strays_are_taken_away_and_more_are_left_for_a_person(
    database: Database, clock: Clock, strays: int, left: int
):
    """They bear our marker, and nobody knows of them any more."""
    shop = await make(database, clock)
    held = await shop.held()
    [entry] = shop.calendars.ours()["one"]
    await release(shop, held)
    await quiet_rounds(shop, clock, 3)
    for number in range(strays):
        shop.calendars.put("one", f"{entry.uid[:12]}{number}", entry.start, entry.end)
    await quiet_rounds(shop, clock)
    assert len(shop.calendars.ours()["one"]) == left


async def test_one_calendar_connected_twice_is_no_conflict_with_itself(database: Database, clock: Clock):
    shop = await make(database, clock)
    await shop.connect()
    await shop.work()
    held = await shop.held()
    assert len(shop.calendars.ours()["one"]) == 2
    await release(shop, held)
    await quiet_rounds(shop, clock, 3)
    assert shop.calendars.ours() == {"one": [], "two": []}
