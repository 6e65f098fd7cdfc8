# SPDX-License-Identifier: Apache-2.0
"""A stranger writes at every step of the protocol. What was there before a reading is caught by it; what comes later is
caught by the next one, which comes before anything is firm. Each with its twin: without the guard, it is not caught.
"""

import asyncio
from datetime import timedelta

import pytest

from conftest import Clock
from holdfirst.effects import confirm as confirming
from holdfirst.flows import calendar_holds, with_calendars
from holdfirst.flows.confirm import Asks, ConfirmRequest
from holdfirst.flows.reschedule import RescheduleRequest
from holdfirst.refusal import Code, Refusal
from holdfirst.reservation.calendar_gate import Gate
from holdfirst.reservation.reservation import EndedBy, Reservation, Status
from holdfirst.store.database import Database, Tx
from shop import Shop, move, open_shop

from .on_servers import Connect, in_memory
from .servers import send, vevent

STEPS = 8
"""Two calendars, written and read: each call has a before and an after."""


async def open_practice(database: Database, connect: Connect = in_memory, **rules: object) -> Shop:
    shop = await open_shop(database, rules={"price": None} | rules)
    await connect(shop)
    await shop.work()
    return shop


async def confirm(shop: Shop, held: Reservation) -> Reservation | Refusal:
    request = ConfirmRequest(reservation_id=held.id, asks=Asks.SECRET_KEY)
    return await confirming.confirm_with_provider(shop.world, request, back_end_confirms=False)


class Stranger:
    """Puts an event into calendar `two` at the n-th moment; remembers whether that was before it was read."""

    def __init__(self, shop: Shop, at: int, hour: int) -> None:
        self._shop, self._left = shop, at
        self._start = shop.slot(hour)
        self.wrote = False
        self.readings_after = 0
        shop.calendars.on_call = self._on_call

    async def _on_call(self, call: str, when: str) -> None:
        if self._left == 0:
            self._shop.calendars.put(
                "two", f"stranger{self._start}", self._start, self._start + timedelta(minutes=30)
            )
            self.wrote = True
        elif self.wrote and call == "busy" and when == "before":
            self.readings_after += 1
        self._left -= 1
        # The call that it is written before sees it.
        if self.wrote and self._left == -1 and call == "busy" and when == "before":
            self.readings_after += 1


@pytest.mark.parametrize("step", range(STEPS))
async def test_a_stranger_at_every_step_of_a_hold(
    database: Database, clock: Clock, connect: Connect, step: int
):
    shop = await open_practice(database, connect)
    stranger = Stranger(shop, step, 9)
    held = await shop.reserve(shop.slot(9), hold_seconds=900)
    assert stranger.wrote
    if isinstance(held, Refusal):
        assert held.code is Code.SLOT_TAKEN
    else:
        await clock.shift(timedelta(seconds=11))
        answer = await confirm(shop, held)
        assert isinstance(answer, Refusal) and answer.code is Code.CALENDAR_CONFLICT
        assert (await shop.read(held.id)).ended.by is EndedBy.CALENDAR
    if step < STEPS // 2:
        # Written before the first of the readings.
        assert isinstance(held, Refusal)
    await shop.work()
    assert shop.calendars.ours() == {"one": [], "two": []}


@pytest.mark.parametrize("step", range(4))
async def test_a_stranger_at_every_step_of_a_confirm(
    database: Database, clock: Clock, connect: Connect, step: int
):
    shop = await open_practice(database, connect)
    held = await shop.held(shop.slot(9), hold_seconds=900)
    await clock.shift(timedelta(seconds=11))
    stranger = Stranger(shop, step, 9)
    answer = await confirm(shop, held)
    assert stranger.wrote
    if isinstance(answer, Refusal):
        assert answer.code is Code.CALENDAR_CONFLICT
    else:
        # After the last reading: what docs/calendars.md says cannot be caught.
        assert step > 0
    if step == 0:
        assert isinstance(answer, Refusal)


@pytest.mark.parametrize("connect", ["servers"], indirect=True)
@pytest.mark.parametrize(("zone", "hour", "day"), [("America/Los_Angeles", 2, -1), ("Asia/Tokyo", 16, 1)])
async def test_a_stranger_of_a_whole_day_in_a_zone_far_off(
    database: Database, connect: Connect, zone: str, hour: int, day: int
):
    """Another day in UTC, as which servers take it, than in the calendar's zone: it is that one's which is busy."""
    shop = await open_practice(database, connect)

    async def move_away(tx: Tx) -> None:
        await tx.execute("update calendar set time_zone = $1", zone)

    await shop.database.run(move_away)
    first, last = (f"{shop.slot(hour) + timedelta(days=one):%Y%m%d}" for one in (day, day + 1))
    body = vevent("day", first, last)
    for name in (b"DTSTART", b"DTEND"):
        body = body.replace(name + b":", name + b";VALUE=DATE:")
    url = shop.calendars.urls["two"]  # type: ignore[attr-defined]
    assert send("PUT", f"{url}day.ics", body)[0] == 201
    held = await shop.reserve(shop.slot(hour))
    assert isinstance(held, Refusal) and held.code is Code.SLOT_TAKEN
    assert isinstance(await shop.reserve(shop.slot(hour) + timedelta(days=day)), Reservation)


async def test_within_the_age_of_a_verdict_it_is_not_caught(database: Database, connect: Connect):
    """The exposure that the documents name."""
    shop = await open_practice(database, connect)
    held = await shop.held(shop.slot(9))
    shop.calendars.put("two", "stranger", held.start, held.end)
    assert isinstance(await confirm(shop, held), Reservation)


async def test_the_twin_without_the_reading_after_the_writing(
    database: Database, monkeypatch: pytest.MonkeyPatch
):
    shop = await open_practice(database)
    shop.calendars.put("two", "stranger", shop.slot(9), shop.slot(10))

    async def nobody(*_: object) -> list[object]:
        return []

    assert isinstance(await shop.reserve(shop.slot(9)), Refusal)
    monkeypatch.setattr(calendar_holds, "strangers", nobody)
    assert isinstance(await shop.reserve(shop.slot(9)), Reservation)


async def test_the_twin_without_the_gate(database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch):
    shop = await open_practice(database)
    held = await shop.held(shop.slot(9))
    shop.calendars.put("two", "stranger", held.start, held.end)
    await clock.shift(timedelta(seconds=11))
    monkeypatch.setattr(with_calendars, "gate", lambda *_: Gate.OPEN)
    assert isinstance(await confirm(shop, held), Reservation)


# How strictly


async def test_local_asks_nobody_and_writes_after(database: Database, connect: Connect):
    shop = await open_practice(database, connect, calendar_check="local")
    shop.calendars.put("two", "stranger", shop.slot(9), shop.slot(10))
    calls = shop.calendars.calls["busy"]
    held = await shop.held(shop.slot(9))
    assert (held.calendar_verdict, shop.calendars.calls["write"]) == (None, 0)
    await shop.work()
    assert len(shop.calendars.ours()["one"]) == 1
    assert isinstance(await confirm(shop, held), Reservation)
    assert shop.calendars.calls["busy"] == calls


async def test_fast_answers_at_once_and_confirm_waits_for_the_verdict(database: Database, connect: Connect):
    shop = await open_practice(database, connect, calendar_check="fast")
    held = await shop.held(shop.slot(9))
    assert (held.calendar_verdict, shop.calendars.calls["write"]) == ("pending", 0)
    assert isinstance(await confirm(shop, held), Reservation)
    assert shop.calendars.calls["busy"] >= 2
    shop.calendars.put("two", "stranger", shop.slot(11), shop.slot(12))
    late = await shop.held(shop.slot(11))
    await shop.work()
    assert (await shop.read(late.id)).ended.by is EndedBy.CALENDAR


async def test_fast_reads_what_it_has_not_heard_of_for_a_while(database: Database, clock: Clock):
    """And only that; nothing is written for it. Who does not answer has nothing against it yet."""
    shop = await open_practice(database, calendar_check="fast")
    async with database.statement() as tx:
        await tx.execute("update calendar set read_at = read_at - interval '5 minutes' where ref = 'two'")
    shop.calendars.put("two", "stranger", shop.slot(9), shop.slot(10))
    answer = await shop.reserve(shop.slot(9))
    assert isinstance(answer, Refusal) and answer.code is Code.SLOT_TAKEN
    assert (shop.calendars.calls["busy"], shop.calendars.calls["write"]) == (1, 0)
    assert (await shop.held(shop.slot(10))).calendar_verdict == "pending"
    shop.calendars.faults = {"busy": ["lost_before"]}
    assert (await shop.held(shop.slot(11))).calendar_verdict == "pending"
    assert shop.calendars.calls["busy"] == 3
    await shop.work()
    shop.calendars.take("two", "stranger")
    async with database.statement() as tx:
        await tx.execute("update job set due_at = the_clock() where kind = 'sync_calendar'")
    await shop.work()
    # Nobody has it, and what is read is not asked again.
    asked = shop.calendars.calls["busy"]
    await shop.held(shop.slot(9))
    assert shop.calendars.calls["busy"] == asked


async def test_fast_reads_what_lies_beyond_what_is_known(database: Database):
    """The slots have no word of the calendars there, however lately they were read."""
    shop = await open_practice(database, calendar_check="fast", horizon_days=500)
    for day in (390, 450):
        shop.calendars.put("two", f"stranger {day}", shop.slot(9, day), shop.slot(10, day))
    assert (await shop.held(shop.slot(9, 390))).calendar_verdict == "pending"
    assert shop.calendars.calls["busy"] == 0
    answer = await shop.reserve(shop.slot(9, 450))
    assert isinstance(answer, Refusal) and answer.code is Code.SLOT_TAKEN
    assert (shop.calendars.calls["busy"], shop.calendars.calls["write"]) == (2, 0)


async def test_strict_asks_once_more_after_a_while(database: Database, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("holdfirst.reservation.calendar_gate.SETTLE", timedelta(milliseconds=300))
    shop = await open_practice(database, calendar_check="strict")
    # Reads lag behind writes: what was put there just now is not told yet.
    shop.calendars.put("two", "stranger", shop.slot(9), shop.slot(10))
    shop.calendars.lag = 4
    held = await shop.reserve(shop.slot(9), hold_seconds=900)
    assert isinstance(held, Reservation)
    shop.calendars.lag = 0
    answer = await confirm(shop, held)
    assert isinstance(answer, Refusal) and answer.code is Code.CALENDAR_CONFLICT
    assert (await shop.read(held.id)).status is Status.RELEASED


async def test_strict_waits_again_after_a_move(database: Database, monkeypatch: pytest.MonkeyPatch):
    """However old the hold is: nobody could see it at that time before."""
    monkeypatch.setattr("holdfirst.reservation.calendar_gate.SETTLE", timedelta(milliseconds=600))
    shop = await open_practice(database, calendar_check="strict")
    held = await shop.held(shop.slot(9), hold_seconds=900)
    await asyncio.sleep(0.6)
    shop.calendars.put("two", "stranger", shop.slot(11), shop.slot(12))
    shop.calendars.lag = 4
    request = RescheduleRequest(reservation_id=held.id, start=shop.slot(11), by=EndedBy.ACCOUNT)
    assert isinstance(await move(shop.world, request), Reservation)
    asyncio.get_running_loop().call_later(0.3, setattr, shop.calendars, "lag", 0)
    answer = await confirm(shop, held)
    assert isinstance(answer, Refusal) and answer.code is Code.CALENDAR_CONFLICT


async def test_a_host_without_calendars_asks_the_database_no_more_often(
    database: Database, monkeypatch: pytest.MonkeyPatch
):
    """Whether a host has calendars is read with the offer."""
    counts = []
    asked: list[str] = []
    for name in ("row", "rows", "value", "execute"):
        original = getattr(Tx, name)

        async def counted(tx: Tx, sql: str, *rest: object, original=original):
            asked.append(sql)
            return await original(tx, sql, *rest)

        monkeypatch.setattr(Tx, name, counted)
    shop = await open_shop(database, rules={"price": None})
    for hour in (9, 10):
        asked.clear()
        await shop.held(shop.slot(hour))
        counts.append(len(asked))
        assert not [sql for sql in asked if "calendar_" in sql]
    assert counts[-1] == 1
