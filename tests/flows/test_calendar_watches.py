# SPDX-License-Identifier: Apache-2.0
"""Who is to call us about a calendar: when another promise is asked for, which ones are over, what a call asks for."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from holdfirst.calendar.provider import Push, PushKind, Watch
from holdfirst.flows import calendar_watches as watching
from holdfirst.flows.calendar_watches import (
    ANSWERED_WITHIN,
    READ_AGAIN_AFTER,
    REFUSED_FOR,
    RENEWED_BEFORE,
    WatchPlan,
)
from holdfirst.store import calendar_watches
from holdfirst.store.calendar_watches import KnownWatch, WatchState
from holdfirst.store.calendars import Calendar
from holdfirst.store.database import Tx

from .test_calendar_rows import Practice, practice, waits

__all__ = ["practice"]

BEGINS = "https://holdfirst.test/caldav/"
ADDRESSES = {"caldav": BEGINS}
HOUR = timedelta(hours=1)
OPENING, OPEN, REFUSED = WatchState.OPENING, WatchState.OPEN, WatchState.REFUSED


class Bells:
    """The watches of the first calendar, at a moment that stands still for as long as a test needs it."""

    def __init__(self, practice: Practice, now: datetime) -> None:
        self.practice, self.now, self.run = practice, now, practice.database.run
        self.calendar: Calendar = practice.mine[0]

    async def put(
        self, name: str, state: WatchState = OPEN, *, renew: int = 1, ends: int = 2, **more: Any
    ) -> str:
        """`renew`, `ends`: in so many hours."""
        watch = KnownWatch(
            **{
                "id": name,
                "account_id": self.calendar.account_id,
                "calendar_id": self.calendar.id,
                "state": state,
                "address": f"{BEGINS}{name}",
                "renew_at": self.now + renew * HOUR,
                "expires_at": self.now + ends * HOUR,
                "problem": "no" if state is REFUSED else None,
                "created_at": self.now,
            }
            | more
        )
        await self.run(calendar_watches.put, watch)
        return name

    async def known(self) -> list[KnownWatch]:
        return await self.run(calendar_watches.of_calendar, self.calendar.id)

    async def plan(self, addresses: dict[str, str] | None = None) -> WatchPlan:
        return await self.run(watching.plan, self.calendar.id, ADDRESSES if addresses is None else addresses)

    async def planned(self, addresses: dict[str, str] | None = None) -> tuple[Any, ...]:
        """(the one that counts, whether another is due, those that are over, in how many hours to look again)."""
        plan = await self.plan(addresses)
        again = None if plan.again_at is None else round((plan.again_at - self.now) / HOUR)
        return plan.current and plan.current.id, plan.due, [one.id for one in plan.over], again

    async def hear(self, kind: PushKind, **more: Any) -> bool:
        await self.practice.sql("delete from job")
        return await self.run(watching.hear, "one", [Push(kind=kind, secret="", **more)])

    async def wished(self) -> list[str]:
        return await self.practice.ask("select kind from job where subject = $1 order by 1", self.calendar.id)


@pytest.fixture
async def bells(practice: Practice) -> Bells:
    async with practice.database.statement() as tx:
        return Bells(practice, await tx.now())


async def test_where_nobody_calls_somebody_is_asked_to(bells: Bells) -> None:
    assert await bells.planned() == (None, True, [], None)


@pytest.mark.parametrize(
    ("known", "planned"),
    [
        ([("one", OPEN, 1, 2)], ("one", False, [], 1)),
        ([("one", OPEN, 0, 2)], ("one", True, [], 2)),
        # Asked for a moment ago, or refused: nobody is asked again before its time.
        ([("one", OPENING, 1, 2)], (None, False, [], 1)),
        ([("one", REFUSED, 1, 2)], (None, False, [], 1)),
        ([("one", OPENING, 0, 2)], (None, True, [], 2)),
        ([("one", OPEN, 0, 3), ("two", OPENING, 1, 2)], ("one", False, [], 1)),
        # The newest counts.
        ([("one", OPEN, 1, 3), ("two", OPEN, 2, 4)], ("two", False, ["one"], 2)),
        ([("one", OPEN, -2, -1)], (None, True, [], None)),
        ([("one", OPENING, -2, 0)], (None, True, [], None)),
    ],
)
async def test_what_is_planned(
    bells: Bells, known: list[tuple[str, WatchState, int, int]], planned: tuple[Any, ...]
) -> None:
    for name, state, renew, ends in known:
        await bells.put(name, state, renew=renew, ends=ends)
    assert await bells.planned() == planned
    # Of what is over by itself nothing is kept.
    assert {one.id for one in await bells.known()} == {name for name, _, _, ends in known if ends > 0}


async def test_who_was_asked_a_moment_ago_is_waited_for(bells: Bells) -> None:
    watch = await bells.run(watching.begin, bells.calendar, BEGINS)
    plan = await bells.plan()
    assert (watch.state, plan.current, plan.due, plan.over) == (OPENING, None, False, [])
    assert plan.again_at == watch.created_at + ANSWERED_WITHIN


async def test_who_calls_another_address_is_asked_anew(bells: Bells) -> None:
    await bells.put("one", address="https://before.test/one")
    assert await bells.planned() == (None, True, ["one"], None)


@pytest.mark.parametrize(
    "without",
    [
        "update calendar set deleted_at = the_clock()",
        "update calendar set blocking = false, destination = false",
        "update calendar_connection set status = 'pending'",
        "",
    ],
)
async def test_where_nobody_needs_it_nobody_is_asked_and_all_is_over(bells: Bells, without: str) -> None:
    """What may still be answered is looked at when it is over by itself. The last row: nobody can call us."""
    if without:
        await bells.practice.sql(without)
    addresses = ADDRESSES if without else {}
    assert await bells.planned(addresses) == (None, False, [], None)
    await bells.put("one")
    await bells.put("two", OPENING, ends=3)
    assert await bells.planned(addresses) == (None, False, ["one"], 3)


# What a company answers


@pytest.mark.parametrize(("lasts", "before"), [(timedelta(days=7), RENEWED_BEFORE), (4 * HOUR, HOUR)])
async def test_it_is_renewed_before_it_ends(bells: Bells, lasts: timedelta, before: timedelta) -> None:
    await bells.put("one", OPENING)
    until = bells.now + lasts
    await bells.run(watching.granted, "one", Watch(ref="name", resource="thing", until=until))
    [after] = await bells.known()
    assert (after.state, after.ref, after.resource, after.expires_at) == (OPEN, "name", "thing", until)
    assert abs(after.expires_at - after.renew_at - before) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("state", "ref", "read"),
    [(OPENING, "", True), (OPENING, "name", True), (OPEN, "", True), (OPEN, "name", False)],
)
@pytest.mark.parametrize("reached", [False, True])
async def test_what_changed_before_it_began_is_read_once(
    bells: Bells, state: WatchState, ref: str, reached: bool, read: bool
) -> None:
    """It may have called before it answered."""
    await bells.practice.sql("delete from job")
    heard_at = bells.now - HOUR
    await bells.put("one", state, ref=ref, heard_at=heard_at)
    await bells.run(watching.granted, "one", Watch(ref="name", until=bells.now + HOUR, reached=reached))
    assert await bells.wished() == ["sync_calendar"] * read
    [after] = await bells.known()
    assert (after.heard_at == heard_at) is not reached


async def test_who_refuses_is_asked_again_tomorrow(bells: Bells) -> None:
    await bells.put("one", OPENING)
    await bells.run(watching.refused, "one", "no " * 200)
    [after] = await bells.known()
    assert (after.state, after.problem) == (REFUSED, "no " * 100)
    assert after.renew_at == after.expires_at
    assert abs(after.expires_at - bells.now - REFUSED_FOR) < timedelta(minutes=1)


async def test_an_answer_about_what_was_forgotten_is_no_promise(bells: Bells) -> None:
    await bells.run(watching.granted, "one", Watch(ref="name", until=bells.now + HOUR))
    await bells.run(watching.refused, "one", "no")
    assert not await bells.hear(PushKind.CHANGED)
    assert (await bells.known(), await bells.wished()) == ([], [])


async def test_answers_and_calls_at_once_are_taken_in_turn(bells: Bells) -> None:
    await bells.put("one")
    grant = Watch(ref="name", until=bells.now + HOUR)

    async def first(tx: Tx) -> None:
        await calendar_watches.lock(tx, "one")

    for then in (
        lambda tx: watching.granted(tx, "one", grant),
        lambda tx: watching.refused(tx, "one", "no"),
        lambda tx: watching.hear(tx, "one", []),
    ):
        await waits(bells.practice.database, first, then)


# What a call says


@pytest.mark.parametrize(
    ("kind", "wished", "left"),
    [
        (PushKind.BEGINS, [], True),
        (PushKind.CHANGED, ["sync_calendar"], True),
        (PushKind.RENEW, ["watch_calendar"], True),
        (PushKind.ENDED, ["sync_calendar", "watch_calendar"], False),
    ],
)
async def test_what_a_call_asks_for(bells: Bells, kind: PushKind, wished: list[str], left: bool) -> None:
    await bells.put("one", OPENING)
    assert await bells.hear(kind)
    assert await bells.wished() == wished
    assert [one.state for one in await bells.known()] == [OPEN] * left
    for after in await bells.known():
        assert after.heard_at is not None
        assert (after.renew_at <= after.heard_at) is (kind is PushKind.RENEW)


@pytest.mark.parametrize(("ago", "waits_for"), [(None, 0), (0, 1), (60, 0)])
async def test_however_often_it_is_called_it_is_read_once_a_second(
    bells: Bells, ago: int | None, waits_for: int
) -> None:
    read_at = None if ago is None else bells.now + HOUR - timedelta(seconds=ago) - HOUR
    await bells.practice.sql("update calendar set read_at = $1", read_at)
    await bells.put("one")
    await bells.hear(PushKind.CHANGED)
    [due] = await bells.practice.ask("select due_at from job where kind = 'sync_calendar'")
    if waits_for:
        assert due >= bells.now + READ_AGAIN_AFTER
    else:
        assert bells.now <= due < bells.now + HOUR


async def test_a_call_names_what_the_lost_answer_should_have_named(bells: Bells) -> None:
    await bells.put("one", OPENING)
    await bells.hear(PushKind.CHANGED, ref="name", resource="thing")
    [after] = await bells.known()
    assert (after.ref, after.resource) == ("name", "thing")
    # And no other one.
    await bells.hear(PushKind.CHANGED, ref="another", resource="other")
    [after] = await bells.known()
    assert (after.ref, after.resource) == ("name", "thing")
