# SPDX-License-Identifier: Apache-2.0
"""A reserve repeated under its Idempotency-Key: while its calendars are asked, after they said no, and after its server died."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from conftest import Clock
from holdfirst.effects.reserve import Made, reserve
from holdfirst.errors import ProviderUnavailable
from holdfirst.flows.keyed import Replay, RequestKey
from holdfirst.flows.reserve import ATTEND_SECONDS, ReserveRequest
from holdfirst.refusal import Code, Refusal
from holdfirst.reservation.reservation import CalendarVerdict, Status
from holdfirst.store.database import Database
from shop import Shop, open_shop

from .on_servers import Connect, in_memory
from .practice import Practice, statuses
from .test_crashes import STEPS_MAX, Counted, Killed, assert_settled

KEY = RequestKey("scope", "key", b"same")
LEASE_OVER = timedelta(seconds=ATTEND_SECONDS + 1)


class Slow:
    """The next calls of a kind wait, each for its own word."""

    def __init__(self, shop: Shop, call: str) -> None:
        self.waiting: list[asyncio.Event] = []
        self.left = 0
        self.fails = False
        self._call = call
        shop.calendars.on_call = self._on_call

    async def _on_call(self, call: str, when: str) -> None:
        if (call, when) != (self._call, "after"):
            return
        if self.left:
            self.left -= 1
            self.waiting.append(asyncio.Event())
            await self.waiting[-1].wait()
        if self.fails:
            raise ProviderUnavailable("no answer in time")

    async def under_way(self, work: Awaitable[Any], calls: int = 2) -> asyncio.Task[Any]:
        """Begun, and its calendars do not answer yet."""
        self.left, before = calls, len(self.waiting)
        task = asyncio.ensure_future(work)
        async with asyncio.timeout(5):
            while len(self.waiting) < before + calls:
                await asyncio.sleep(0.01)
        return task

    def go_on(self) -> None:
        for one in self.waiting:
            one.set()


async def open_practice(
    database: Database, connect: Connect, **rules: Any
) -> tuple[Shop, Callable[..., Awaitable[Any]]]:
    shop = await open_shop(database, rules={"price": None} | rules)
    await connect(shop)
    await shop.work()

    async def ask(hour: int = 9, key: RequestKey = KEY) -> Any:
        request = ReserveRequest(
            account_id=shop.account_id,
            event_type=shop.event_type_id,
            start=shop.slot(hour),
            hold_seconds=900,
        )
        return await reserve(shop.world, request, key)

    return shop, ask


def code(answer: Any) -> Code | None:
    return answer.code if isinstance(answer, Refusal) else None


async def test_while_the_calendars_are_asked_a_repeat_is_told_to_wait(database: Database, connect: Connect):
    shop, ask = await open_practice(database, connect)
    slow = Slow(shop, "busy")
    first = await slow.under_way(ask())
    again = await ask()
    assert (code(again), again.retry_after) == (Code.IDEMPOTENCY_IN_PROGRESS, 1)
    other = await ask(10, RequestKey(KEY.scope, KEY.key, b"other"))
    assert code(other) is Code.IDEMPOTENCY_KEY_REUSED
    slow.go_on()
    made = await first
    assert isinstance(made, Made) and made.reservation.calendar_verdict is CalendarVerdict.CLEAN
    replay = await ask()
    assert isinstance(replay, Replay)
    assert (replay.http_status, replay.result) == (201, {"id": made.reservation.id})


async def test_over_http_a_repeat_is_told_when_to_come_again(
    practice: Practice, monkeypatch: pytest.MonkeyPatch
):
    caldav = practice.house.parts.world.calendars["caldav"]
    asked, go, busy = asyncio.Event(), asyncio.Event(), caldav.busy

    async def slow(*arguments: Any) -> Any:
        asked.set()
        await go.wait()
        return await busy(*arguments)

    monkeypatch.setattr(caldav, "busy", slow)
    start = practice.start()
    body = {"event_type": "free", "start": start.isoformat()}
    first = asyncio.create_task(
        practice.house.call("POST", "/v1/reservations", body, Idempotency_Key="again")
    )
    await asyncio.wait_for(asked.wait(), 5)
    again = await practice.house.call("POST", "/v1/reservations", body, Idempotency_Key="again")
    assert (again.status_code, again.json()["code"]) == (409, "idempotency_in_progress")
    assert again.headers["retry-after"] == "1"
    go.set()
    made = (await first).json()
    told = await practice.house.call("POST", "/v1/reservations", body, Idempotency_Key="again")
    assert (told.status_code, told.headers["idempotency-replayed"]) == (201, "true")
    assert (told.json()["id"], told.json()["calendars"]["verdict"]) == (made["id"], "clean")
    assert statuses(await practice.ours()) == [["TENTATIVE"], ["TENTATIVE"]]


@pytest.mark.parametrize("check", ["local", "fast"])
async def test_where_nobody_waits_for_calendars_a_repeat_is_answered_at_once(database: Database, check: str):
    shop = await open_shop(database, rules={"price": None, "calendar_check": check})
    await shop.connect()
    await shop.work()
    request = ReserveRequest(account_id=shop.account_id, event_type=shop.event_type_id, start=shop.slot())
    made = await reserve(shop.world, request, KEY)
    assert isinstance(made, Made)
    again = await reserve(shop.world, request, KEY)
    assert isinstance(again, Replay) and again.result == {"id": made.reservation.id}


UNHEARD = timedelta(minutes=4)


@pytest.mark.parametrize("stranger", [False, True])
async def test_under_fast_a_repeat_is_told_what_the_first_was_told(
    database: Database, clock: Clock, stranger: bool
):
    """A calendar of which nothing was heard for a while is read before anybody is told of a hold."""
    shop, ask = await open_practice(database, in_memory, calendar_check="fast")
    slow = Slow(shop, "busy")
    await clock.shift(UNHEARD)
    if stranger:
        shop.calendars.put("two", "stranger", shop.slot(9), shop.slot(10))
    first = await slow.under_way(ask())
    assert code(await ask()) is Code.IDEMPOTENCY_IN_PROGRESS
    slow.go_on()
    made = await first
    if stranger:
        assert code(made) is Code.SLOT_TAKEN
        # It keeps no key: whoever asks for another time is given it.
        assert isinstance(await ask(10), Made)
    else:
        assert isinstance(made, Made)
        again = await ask()
        assert isinstance(again, Replay) and again.result == {"id": made.reservation.id}


@pytest.mark.parametrize("stranger", [False, True])
async def test_under_fast_a_repeat_takes_up_what_its_maker_left(
    database: Database, clock: Clock, stranger: bool
):
    shop, ask = await open_practice(database, in_memory, calendar_check="fast")
    slow = Slow(shop, "busy")
    await clock.shift(UNHEARD)
    first = await slow.under_way(ask())
    first.cancel()
    await asyncio.wait([first])
    await clock.shift(LEASE_OVER)
    if stranger:
        shop.calendars.put("two", "stranger", shop.slot(9), shop.slot(10))
    else:
        # Who does not answer has nothing against it yet, here as at first.
        shop.calendars.faults["busy"] = ["lost_before"]
    told = await ask()
    if stranger:
        assert code(told) is Code.SLOT_TAKEN
        async with database.statement() as tx:
            assert await tx.value("select ended_by from reservation") == "calendar"
            assert await tx.rows("select * from claim") == []
    else:
        assert isinstance(told, Replay)
        assert (await shop.read(told.result["id"])).calendar_verdict is CalendarVerdict.PENDING


async def test_under_fast_who_was_overtaken_by_a_repeat_takes_nothing_away(database: Database, clock: Clock):
    """It stalled for longer than its lease, and what it read is old; the repeat was told of a hold."""
    shop, ask = await open_practice(database, in_memory, calendar_check="fast")
    slow = Slow(shop, "busy")
    await clock.shift(UNHEARD)
    shop.calendars.put("two", "stranger", shop.slot(9), shop.slot(10))
    first = await slow.under_way(ask())
    shop.calendars.take("two", "stranger")
    await clock.shift(LEASE_OVER)
    told = await ask()
    assert isinstance(told, Replay)
    slow.go_on()
    assert code(await first) is Code.SLOT_TAKEN
    assert (await shop.read(told.result["id"])).status is Status.HELD
    assert isinstance(await ask(), Replay)


async def test_a_key_that_calendars_refused_may_be_used_again(database: Database, connect: Connect):
    shop, ask = await open_practice(database, connect)
    slow = Slow(shop, "busy")
    shop.calendars.put("two", "stranger", shop.slot(9), shop.slot(10))
    first = await slow.under_way(ask())
    assert code(await ask()) is Code.IDEMPOTENCY_IN_PROGRESS
    slow.go_on()
    assert code(await first) is Code.SLOT_TAKEN
    await shop.work()
    assert code(await ask()) is Code.SLOT_TAKEN
    assert isinstance(await ask(10), Made)


@pytest.mark.parametrize("stranger", [False, True])
async def test_ended_at_every_await_a_repeat_takes_it_up(
    database: Database, clock: Clock, connect: Connect, monkeypatch: pytest.MonkeyPatch, stranger: bool
):
    """At once it is told to wait, or done anew; a lease later it is done, or refused because of who came meanwhile."""
    shop, ask = await open_practice(database, connect)
    counted = Counted(shop, monkeypatch)
    ended = 0
    for step in range(STEPS_MAX):
        hour, key = step % 24 + step // 24 * 24, RequestKey("scope", f"key {step}", b"same")
        counted.left = step
        try:
            await ask(hour, key)
        except Killed:
            ended += 1
        else:
            break
        finally:
            counted.left = None
        if stranger:
            shop.calendars.put("one", f"stranger {step}", shop.slot(hour), shop.slot(hour + 1))
        at_once = await ask(hour, key)
        allowed = {Code.IDEMPOTENCY_IN_PROGRESS, Code.SLOT_TAKEN if stranger else None}
        assert code(at_once) in allowed, at_once
        await clock.shift(LEASE_OVER)
        told = await ask(hour, key)
        if stranger:
            assert code(told) is Code.SLOT_TAKEN, told
            continue
        assert isinstance(told, Made | Replay), told
        reservation_id = told.reservation.id if isinstance(told, Made) else told.result["id"]
        now = await shop.read(reservation_id)
        assert (now.status, now.calendar_verdict) == (Status.HELD, CalendarVerdict.CLEAN)
        again = await ask(hour, key)
        assert isinstance(again, Replay) and again.result == {"id": reservation_id}
    assert ended >= 5
    await asyncio.sleep(0.2)
    async with database.statement() as tx:
        live = await tx.value("select count(*) from reservation where status = 'held'")
    # One each; and the last, which nobody ended.
    assert live == (1 if stranger else ended + 1)
    await assert_settled(shop, clock)


async def test_a_hold_that_ran_out_before_it_was_told_is_made_anew(database: Database, clock: Clock):
    shop, ask = await open_practice(database, in_memory)
    slow = Slow(shop, "busy")
    first = await slow.under_way(ask())
    first.cancel()
    await asyncio.wait([first])
    await clock.shift(timedelta(seconds=901))
    told = await ask()
    assert isinstance(told, Made) and told.reservation.status is Status.HELD


@pytest.mark.parametrize("stranger", [False, True])
async def test_what_is_offered_no_more_is_taken_up_all_the_same(
    database: Database, clock: Clock, connect: Connect, stranger: bool
):
    shop, ask = await open_practice(database, connect)
    slow = Slow(shop, "busy")
    first = await slow.under_way(ask())
    first.cancel()
    await asyncio.wait([first])
    async with database.statement() as tx:
        await tx.execute("update event_type set deleted_at = the_clock()")
    # Whether or not what was offered is still remembered.
    shop.world.offers._known.clear()
    assert code(await ask()) is Code.IDEMPOTENCY_IN_PROGRESS
    await clock.shift(LEASE_OVER)
    if stranger:
        shop.calendars.put("two", "stranger", shop.slot(9), shop.slot(10))
        assert code(await ask()) is Code.SLOT_TAKEN
        assert code(await ask()) is Code.EVENT_TYPE_NOT_FOUND
    else:
        told = await ask()
        assert isinstance(told, Replay)
        assert (await shop.read(told.result["id"])).calendar_verdict is CalendarVerdict.CLEAN
    await assert_settled(shop, clock)


async def test_who_was_overtaken_by_a_repeat_takes_nothing_away(
    database: Database, clock: Clock, connect: Connect
):
    """It stalled for longer than its lease, and nobody answers it; the repeat was told of a hold."""
    shop, ask = await open_practice(database, connect)
    slow = Slow(shop, "busy")
    first = await slow.under_way(ask())
    await clock.shift(LEASE_OVER)
    told = await ask()
    assert isinstance(told, Replay)
    slow.fails = True
    slow.go_on()
    assert code(await first) is Code.CALENDAR_UNREACHABLE
    slow.fails = False
    now = await shop.read(told.result["id"])
    assert (now.status, now.calendar_verdict) == (Status.HELD, CalendarVerdict.CLEAN)
    assert isinstance(await ask(), Replay)
    await assert_settled(shop, clock)


async def test_who_was_overtaken_by_a_repeat_that_was_refused_tells_of_nothing(
    database: Database, clock: Clock, connect: Connect
):
    """It found all calendars free, and is heard when the hold has been given back."""
    shop, ask = await open_practice(database, connect)
    slow = Slow(shop, "busy")
    first = await slow.under_way(ask())
    await clock.shift(LEASE_OVER)
    slow.fails = True
    assert code(await ask()) is Code.CALENDAR_UNREACHABLE
    slow.fails = False
    slow.go_on()
    assert code(await first) is Code.CALENDAR_UNREACHABLE
    async with database.statement() as tx:
        assert await tx.rows("select * from claim") == []
    assert isinstance(await ask(), Made)
    await assert_settled(shop, clock)
