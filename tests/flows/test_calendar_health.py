# SPDX-License-Identifier: Apache-2.0
"""Whether a connection works, word by word: what is written down of it, who is told, and when its host is closed."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from conftest import Clock
from holdfirst.flows import calendar_health as health
from holdfirst.flows.calendar_health import SAID_EVERY, UNREACHABLE_MAX
from holdfirst.store import calendar_access, calendars
from holdfirst.store.calendars import CLOSED, Calendar, Connection, ConnectionStatus
from holdfirst.store.database import Tx
from holdfirst.store.reservations import SLOTS_CHANNEL

from .test_calendar_rows import Practice, practice, waits

__all__ = ["practice"]

SECOND = timedelta(seconds=1)
BROKEN, ACTIVE = ConnectionStatus.BROKEN, ConnectionStatus.ACTIVE


class Desk:
    """The first host's account, as it is now."""

    def __init__(self, practice: Practice) -> None:
        self.practice, self.run = practice, practice.database.run
        self.id = practice.connections[0]
        self.announced: list[set[tuple[str, str]]] = []
        practice.database.on_announce = self.announced.append

    async def connection(self) -> Connection:
        return await self.run(calendars.load_connection_even_deleted, self.id)

    async def calendar(self, number: int = 0) -> Calendar:
        found = await self.run(calendars.calendars_of, self.id)
        return next(one for one in found if one.id == self.practice.mine[number].id)

    async def say(self, what: Callable[..., Awaitable[None]], *reason: str, number: int = 0) -> None:
        """Of a calendar, or of the account: nothing is wished for and announced but by this."""
        await self.practice.sql("delete from job")
        self.announced.clear()
        subject: Any = self.id if what is health.denied else await self.calendar(number)
        await self.run(what, subject, *reason)

    async def problems(self) -> tuple[str | None, list[str | None]]:
        """The account's, and each calendar's."""
        return (await self.connection()).problem, [(await self.calendar(one)).read_problem for one in (0, 1)]

    async def note(self, *problems: str | None) -> None:
        for one, problem in zip(self.practice.mine, problems, strict=True):
            await self.run(calendar_access.note_reading, one.id, problem)

    async def is_closed(self) -> bool:
        return await self.practice.ask("select source from busy where key = $1", CLOSED) == [self.id]

    async def wished(self, kind: str) -> list[str]:
        return await self.practice.ask("select subject from job where kind = $1 order by 1", kind)

    @property
    def rings(self) -> bool:
        """Whether somebody is told that slots may be others."""
        host = self.practice.shop.hosts[0]
        return any(
            channel == SLOTS_CHANNEL and payload.startswith(host)
            for said in self.announced
            for channel, payload in said
        )


@pytest.fixture
def desk(practice: Practice) -> Desk:
    return Desk(practice)


# It answers


async def test_that_it_works_is_written_down_now_and_then(desk: Desk, clock: Clock) -> None:
    await clock.shift(SAID_EVERY)
    for passed, noted in ((SECOND, True), (SAID_EVERY - SECOND, False), (2 * SECOND, True)):
        before = (await desk.connection()).answered_at
        await clock.shift(passed)
        await desk.say(health.answered)
        assert ((await desk.connection()).answered_at != before) is noted
        assert not desk.rings


async def test_what_is_mended_is_written_down_at_once(desk: Desk) -> None:
    """Whether the account was at fault or the calendar alone; and what is out of use is nobody's fault."""
    unused = desk.practice.mine[1]
    await desk.practice.sql(
        "update calendar set blocking = false, destination = false where id = $1", unused.id
    )
    for account, first, second in (("a", None, None), (None, "a", None), ("a", "a", "b")):
        await desk.say(health.answered)
        await desk.note(first, second)
        await desk.practice.sql(
            "update calendar_connection set problem = $1, problem_since = the_clock() where id = $2",
            account,
            desk.id,
        )
        await desk.say(health.answered)
        assert await desk.problems() == (None, [None, second])
        assert (await desk.connection()).problem_since is None
        assert await desk.wished("sync_calendar") == []


async def test_an_account_is_not_well_before_each_of_its_calendars_is(desk: Desk) -> None:
    """What kept one from being read may be over for the others: they are read at once, and once."""
    second = desk.practice.mine[1]
    await desk.say(health.unreadable, "second", number=1)
    await desk.say(health.unreadable, "first")
    await desk.say(health.answered)
    assert await desk.problems() == ("second", [None, "second"])
    assert await desk.wished("sync_calendar") == [second.id]
    await desk.say(health.answered)
    assert await desk.problems() == ("second", [None, "second"])
    assert await desk.wished("sync_calendar") == []
    assert (await desk.connection()).status is BROKEN
    assert await desk.is_closed() and not desk.rings
    await desk.say(health.answered, number=1)
    assert await desk.problems() == (None, [None, None])
    assert (await desk.connection()).status is ACTIVE
    assert not await desk.is_closed() and desk.rings


async def test_a_problem_that_lasts_is_told_in_the_same_words(desk: Desk) -> None:
    """Whichever of the others is named first."""
    await desk.practice.sql(
        "insert into calendar select (jsonb_populate_record(one,"
        """ '{"id": "cal_third", "ref": "three", "blocking": true, "destination": false, "read_problem": "third"}')).*"""
        " from calendar one where id = $1",
        desk.practice.mine[0].id,
    )
    await desk.note(None, "second")
    for lasts in ("second", "third"):
        await desk.practice.sql(
            "update calendar_connection set problem = $1, problem_since = the_clock() where id = $2",
            lasts,
            desk.id,
        )
        await desk.say(health.answered)
        assert await desk.problems() == (lasts, [None, "second"])


# It does not


async def test_who_is_shut_out_closes_its_host_who_is_told_once(desk: Desk, clock: Clock) -> None:
    await desk.say(health.denied, "a")
    since = (await desk.connection()).problem_since
    assert await desk.wished("tell_host") == [desk.id]
    assert await desk.is_closed() and desk.rings
    await clock.shift(SECOND)
    await desk.say(health.denied, "b")
    after = await desk.connection()
    assert (after.status, after.problem, after.problem_since) == (BROKEN, "b", since)
    assert await desk.wished("tell_host") == []
    assert await desk.problems() == ("b", [None, None])


async def test_since_when_it_does_not_answer(desk: Desk, clock: Clock) -> None:
    """What was the matter first counts; and why a broken one is broken is not for a silence to say."""
    await desk.say(health.answered)
    await desk.say(health.unreachable, "a")
    since = (await desk.connection()).problem_since
    assert since is not None
    for minutes, reason in ((7, "b"), (1, "b")):
        await clock.shift(timedelta(minutes=minutes))
        await desk.say(health.unreachable, reason)
        after = await desk.connection()
        assert (after.status, after.problem, after.problem_since) == (ACTIVE, reason, since)
        assert await desk.problems() == (reason, [reason, None])
    assert not await desk.is_closed() and not desk.rings
    await clock.shift(timedelta(minutes=8))
    await desk.say(health.unreachable, "c")
    after = await desk.connection()
    assert (after.status, after.problem, after.problem_since) == (BROKEN, "c", since)
    assert await desk.is_closed() and await desk.wished("tell_host") == [desk.id]
    await desk.say(health.unreachable, "d", number=1)
    assert await desk.problems() == ("c", ["c", "d"])


@pytest.mark.parametrize("late", [False, True])
async def test_what_never_answered_was_connected_some_time(desk: Desk, clock: Clock, late: bool) -> None:
    await desk.practice.sql(
        "update calendar_connection set answered_at = null, created_at = the_clock() - $1::interval",
        UNREACHABLE_MAX + (SECOND if late else -5 * SECOND),
    )
    await desk.say(health.unreachable, "a")
    assert (await desk.connection()).status is (BROKEN if late else ACTIVE)


# Who may say so


@pytest.mark.parametrize("what", [health.answered, health.denied, health.unreachable, health.unreadable])
async def test_of_what_is_gone_nothing_is_said(desk: Desk, what: Callable[..., Awaitable[None]]) -> None:
    """A reading that began before it was disconnected."""
    subject: Any = desk.id if what is health.denied else await desk.calendar()
    await desk.run(calendars.delete_connection, desk.id)
    before = await desk.connection()
    await desk.run(what, subject, *(["a"] * (what is not health.answered)))
    assert await desk.connection() == before
    assert not await desk.is_closed()


async def test_what_is_said_at_once_is_said_in_turn(desk: Desk) -> None:
    calendar = await desk.calendar()

    async def first(tx: Tx) -> None:
        await calendars.lock_connection(tx, desk.id)

    for then in (
        lambda tx: health.answered(tx, calendar),
        lambda tx: health.denied(tx, desk.id, "a"),
        lambda tx: health.unreachable(tx, calendar, "a"),
    ):
        await waits(desk.practice.database, first, then)


async def test_who_is_shut_out_second_knows_what_the_first_one_said(desk: Desk) -> None:
    since: list[Any] = []

    async def first(tx: Tx) -> None:
        await health.denied(tx, desk.id, "a")
        since.append(await tx.value("select problem_since from calendar_connection where id = $1", desk.id))
        await tx.execute("delete from job")

    await waits(desk.practice.database, first, lambda tx: health.denied(tx, desk.id, "b"))
    after = await desk.connection()
    assert (after.problem, [after.problem_since]) == ("b", since)
    assert await desk.wished("tell_host") == []


@pytest.mark.parametrize("when_broken", ["close", "ignore"])
async def test_whether_a_host_is_closed_is_for_the_account_to_say(desk: Desk, when_broken: str) -> None:
    await desk.practice.sql("update calendar_connection set when_broken = $1", when_broken)
    connection = await desk.connection()
    for broken in (False, True, False):
        desk.announced.clear()

        async def apply(tx: Tx, broken: bool = broken) -> None:
            await health.apply_closure(tx, connection, broken=broken)

        await desk.run(apply)
        assert await desk.is_closed() is (broken and when_broken == "close")
        assert desk.rings
