# SPDX-License-Identifier: Apache-2.0
"""What is kept of calendars, row by row: whose it is, who may change it, and what counts. Two hosts, each with the calendars of
an account of their own.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from conftest import Clock, first_column
from holdfirst.calendar.calendar_event import Change
from holdfirst.flows.host_feed import host_feed
from holdfirst.reservation.reservation import Reservation
from holdfirst.store import (
    calendar_access,
    calendar_events,
    calendar_items,
    calendar_turns,
    calendar_watches,
    calendars,
)
from holdfirst.store.calendar_events import Ended, Written, WrittenEvent
from holdfirst.store.calendar_watches import KnownWatch, Told, WatchState
from holdfirst.store.calendars import Calendar
from holdfirst.store.database import Database, Tx
from shop import Shop, open_shop

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


class Practice:
    """`mine`, `theirs`: calendars of the first host and of the second; the first of each is the one that receives."""

    def __init__(
        self, shop: Shop, connections: list[str], mine: list[Calendar], theirs: list[Calendar]
    ) -> None:
        self.shop, self.database = shop, shop.database
        self.connections, self.mine, self.theirs = connections, mine, theirs

    async def sql(self, statement: str, *values: object) -> None:
        async with self.database.statement() as tx:
            await tx.execute(statement, *values)

    async def ask(self, statement: str, *values: object) -> list[Any]:
        """The first column."""
        return await first_column(self.database, statement, *values)

    async def held(self, hour: int = 9, host: int = 0, **more: Any) -> Reservation:
        return await self.shop.held(
            self.shop.slot(hour), **{"host_id": self.shop.hosts[host], "hold_seconds": 900} | more
        )

    async def written(self, held: Reservation) -> WrittenEvent:
        """In the calendar that receives."""
        found = await self.database.run(calendar_events.of_reservation, held.id)
        return next(one for one in found if one.calendar_id in (self.mine[0].id, self.theirs[0].id))


@pytest.fixture
async def practice(database: Database) -> Practice:
    shop = await open_shop(database, hosts=2, rules={"price": None})
    connections = [await shop.connect(host) for host in range(2)]
    await shop.work()
    found = [await database.run(calendars.calendars_of, one) for one in connections]
    # Ids of one millisecond have no order.
    return Practice(shop, connections, *[sorted(ones, key=lambda one: not one.destination) for ones in found])


async def waits(
    database: Database, first: Callable[[Tx], Awaitable[Any]], second: Callable[[Tx], Awaitable[Any]]
) -> None:
    """The second for the first one's end."""
    async with database.transaction() as tx:
        await first(tx)
        other = asyncio.create_task(database.run(second))
        await asyncio.sleep(0.1)
        assert not other.done()
    await other


# What a calendar lets us do


async def test_since_when_a_calendar_refuses_is_noted_once(practice: Practice, clock: Clock) -> None:
    calendar, other = practice.mine[0], practice.theirs[0]

    async def noted() -> tuple[Any, Any]:
        [found] = [
            one
            for one in await practice.database.run(calendars.calendars_of, practice.connections[0])
            if one.id == calendar.id
        ]
        return found.write_problem, found.write_problem_since

    await practice.database.run(calendar_access.note_writing, calendar.id, None)
    assert await noted() == (None, None)
    await practice.database.run(calendar_access.refuses_writes, calendar.id, "no")
    _, since = await noted()
    await clock.shift(HOUR)
    await practice.database.run(calendar_access.refuses_writes, calendar.id, "still no")
    assert await noted() == ("still no", since)
    assert await practice.ask("select id from calendar where not writable") == [calendar.id]
    await practice.database.run(calendar_access.note_writing, calendar.id, None)
    assert await noted() == (None, None)
    await practice.database.run(calendar_access.note_reading, other.id, "gone")
    assert await practice.ask("select id from calendar where read_problem is not null") == [other.id]


async def test_in_another_zone_all_of_it_is_read_again(practice: Practice) -> None:
    calendar = practice.mine[0]
    await practice.sql("update calendar set token = 'last' where id = $1", calendar.id)
    for zone, token in ((calendar.time_zone, "last"), ("Asia/Tokyo", None)):
        await practice.database.run(calendar_access.relist, replace(calendar, time_zone=zone))
        assert await practice.ask("select token from calendar where id = $1", calendar.id) == [token]


async def test_what_is_left_standing(practice: Practice) -> None:
    over, live, gone, theirs = [
        await practice.held(hour, host) for hour, host in ((8, 0), (9, 0), (10, 0), (11, 1))
    ]
    await practice.sql(
        "update reservation set status = 'released', ended_at = the_clock(), ended_by = 'account' where id <> $1",
        live.id,
    )
    await practice.sql("update calendar_event set state = 'absent' where reservation_id = $1", gone.id)
    left = await practice.database.run(calendar_access.left_standing, practice.mine[0].id)
    assert left == [over.id]
    assert await practice.database.run(calendar_access.left_standing, practice.theirs[0].id) == [theirs.id]


# What was read


async def test_what_was_read_is_each_calendars_own(practice: Practice) -> None:
    mine, also, theirs = practice.mine[0], practice.mine[1], practice.theirs[0]
    start = practice.shop.slot(14)

    def change(ref: str, etag: str = "1", count: int = 2) -> Change:
        busy = [(start + number * HOUR, start + number * HOUR + HOUR / 2) for number in range(count)]
        return Change(ref=ref, etag=etag, uid=f"uid {ref}", busy=busy)

    async def busy(calendar: Calendar) -> list[str]:
        return await practice.ask("select key from busy where source = $1 order by key", calendar.id)

    for calendar in (mine, also, theirs):
        await practice.database.run(calendar_items.put_items, calendar, [change("a"), change("a 1")])
    everything = ["a 0", "a 1", "a 1 0", "a 1 1"]
    # In the place of what was known.
    await practice.database.run(calendar_items.put_items, mine, [change("a", "2", 1)])
    assert await busy(mine) == ["a 0", "a 1 0", "a 1 1"]
    known = await practice.database.run(calendar_items.known_items, mine.id)
    assert known == {"a": ("2", "uid a"), "a 1": ("1", "uid a 1")}
    await practice.database.run(calendar_items.drop_items, mine, ["a"])
    assert await busy(mine) == ["a 1 0", "a 1 1"]
    assert list(await practice.database.run(calendar_items.known_items, mine.id)) == ["a 1"]
    assert [await busy(one) for one in (also, theirs)] == [everything] * 2
    assert len(await practice.database.run(calendar_items.known_items, also.id)) == 2
    # Where it blocks no more, or is gone, nothing of it counts; and nobody else's goes with it.
    await practice.database.run(calendars.set_roles, mine.id, blocking=True, destination=True)
    assert await busy(mine) == ["a 1 0", "a 1 1"]
    await practice.database.run(calendars.set_roles, mine.id, blocking=False, destination=True)
    assert await busy(mine) == []
    assert await practice.database.run(calendar_items.known_items, mine.id) == {}
    assert await practice.ask("select read_at from calendar where id = $1", mine.id) == [None]
    await practice.database.run(calendars.forget_calendar, also.id)
    assert await busy(also) == []
    assert await busy(theirs) == everything


async def test_a_part_does_not_count_as_the_whole(practice: Practice) -> None:
    calendar = practice.mine[0]
    async with practice.database.statement() as tx:
        now = await tx.now()
    for whole in (now, None):
        await practice.database.run(calendar_items.record_reading, calendar.id, "t", now, whole, [])
        assert await practice.ask("select whole_at from calendar where id = $1", calendar.id) == [now]


# Connections


async def test_a_host_is_closed_by_each_connection_for_itself(practice: Practice) -> None:
    first = await practice.database.run(calendars.load_connection, practice.connections[0])
    assert first is not None
    second = replace(first, id="con_second")
    start, end = practice.shop.slot(8), practice.shop.slot(18)

    async def closed_by() -> list[str]:
        return await practice.ask("select source from busy where key = $1 order by source", calendars.CLOSED)

    for connection in (first, second, first):
        await practice.database.run(calendars.close_host, connection, start, end)
    assert await closed_by() == sorted([first.id, second.id])
    await practice.database.run(calendars.open_host, first)
    assert await closed_by() == [second.id]


async def test_connections_are_listed_by_account_and_host(practice: Practice) -> None:
    async def listed(account_id: str, host: int | None = None) -> list[str]:
        host_id = None if host is None else practice.shop.hosts[host]
        found = await practice.database.run(
            calendars.connections, account_id, host_id=host_id, before=None, limit=10
        )
        return [one.id for one in found]

    account = practice.shop.account_id
    assert await listed(account) == practice.connections[::-1]
    assert await listed(account, 1) == practice.connections[1:]
    assert await listed("acc_another") == []


@pytest.mark.parametrize(
    "without",
    [
        "update calendar set deleted_at = the_clock()",
        "update calendar set blocking = false, destination = false",
        "update calendar_connection set status = 'pending'",
    ],
)
async def test_who_has_calendars(practice: Practice, without: str) -> None:
    hosts = practice.shop.hosts

    async def connected() -> list[bool]:
        for host in hosts:
            await practice.database.run(calendars.mark_host, host)
        return await practice.ask(
            "select connected from host join unnest($1::text[]) with ordinality as one(id, number) using (id)"
            " order by number",
            hosts,
        )

    assert await connected() == [True, True]
    assert len(await practice.database.run(calendars.calendars_of_hosts, hosts)) == 4
    column = "id" if "connection" in without else "connection_id"
    await practice.sql(f"{without} where {column} = $1", practice.connections[1])
    assert await connected() == [True, False]
    there = await practice.database.run(calendars.calendars_of_hosts, hosts)
    assert {calendar.id for calendar, _ in there} == {one.id for one in practice.mine}


async def test_a_feed_ends_with_its_host(practice: Practice) -> None:
    host = practice.shop.hosts[0]
    assert await practice.database.run(calendars.feed_of, host) == ("Host 0", 1)
    await practice.database.run(calendars.rotate_feed, host)
    assert await practice.database.run(calendars.feed_of, host) == ("Host 0", 2)
    assert await practice.database.run(calendars.feed_of, practice.shop.hosts[1]) == ("Host 1", 1)
    await practice.sql("update host set deleted_at = the_clock() where id = $1", host)
    assert await practice.database.run(calendars.feed_of, host) is None


async def test_what_a_feed_tells(practice: Practice, clock: Clock) -> None:
    """What is confirmed, for thirty days after it; to whoever has the address that counts."""
    sold = await practice.shop.confirm_as_paid(await practice.held())
    await practice.held(11)
    host = practice.shop.hosts[0]

    async def told(host_id: str = host, number: int = 1) -> list[str] | None:
        text = await practice.database.run(host_feed, host_id, lambda opens: opens == number)
        return None if text is None else re.findall("UID:(.*)@", text.decode())

    assert await told() == [sold.id]
    assert await told(number=2) is None
    assert await told("hst_none") is None
    for days, there in ((36, True), (2, False)):
        await clock.shift(timedelta(days=days))
        assert await told() == [sold.id] * there


# Turns


async def test_a_turn_is_one_processes_until_it_is_over(practice: Practice, clock: Clock) -> None:
    async def take(place: str = "p") -> calendar_turns.Turn | None:
        return await practice.database.single(calendar_turns.take, place, 2, MINUTE)

    first, second, elsewhere = await take(), await take(), await take("q")
    assert first is not None and second is not None and elsewhere is not None
    assert {first.number, second.number} == {1, 2}
    assert await take() is None
    await practice.database.single(calendar_turns.give_back, replace(first, place="q", token=first.token))
    assert await take() is None
    await practice.database.single(calendar_turns.give_back, first)
    again = await take()
    assert again is not None and again.number == first.number and again.token != first.token
    # Who is late gives nothing back.
    await practice.database.single(calendar_turns.give_back, first)
    assert await take() is None
    await clock.shift(2 * MINUTE)
    assert {one and one.number for one in (await take(), await take(), await take())} == {1, 2, None}
    # Nor does a clock that steps back (a failover) keep anybody waiting for as long as it stepped.
    await clock.shift(-2 * MINUTE)
    assert {one and one.number for one in (await take(), await take(), await take())} == {1, 2, None}


async def test_every_turn_is_found_and_each_is_taken_once(practice: Practice) -> None:
    taken = [await practice.database.single(calendar_turns.take, "p", 8, MINUTE) for _ in range(8)]
    assert sorted(one.number for one in taken if one) == list(range(1, 9))
    async with practice.database.transaction() as tx:
        assert await calendar_turns.take(tx, "q", 1, MINUTE) is not None
        slower = asyncio.create_task(practice.database.single(calendar_turns.take, "q", 1, MINUTE))
        await asyncio.sleep(0.1)
        assert not slower.done()
    assert await slower is None


# Watches


async def test_whose_calls_come_through(practice: Practice, clock: Clock) -> None:
    mine, theirs = practice.mine[0].id, practice.theirs[0].id
    async with practice.database.statement() as tx:
        now = await tx.now()
    watch = KnownWatch(
        id="wch_1",
        account_id=practice.shop.account_id,
        calendar_id=mine,
        state=WatchState.OPEN,
        address="https://holdfirst.test/",
        heard_at=now,
        renew_at=now + HOUR,
        expires_at=now + HOUR,
        created_at=now,
    )

    async def told(**more: Any) -> Told:
        await practice.database.run(calendar_watches.put, replace(watch, **more))
        return await practice.database.run(calendar_watches.told, mine)

    assert await told() == Told(watched=True, listening=True)
    assert await told(heard_at=None) == Told(watched=True, listening=False)
    assert await told(state=WatchState.OPENING) == Told(watched=True, listening=False)
    assert await told(expires_at=now) == Told(watched=False, listening=False)
    await told()
    await practice.database.run(calendar_watches.put, replace(watch, id="wch_2", calendar_id=theirs))
    # Something changed that only the first did not tell of; nor is it in doubt who has called since.
    await practice.database.run(calendar_watches.doubt, mine, now - MINUTE)
    assert (await practice.database.run(calendar_watches.told, mine)).listening
    await practice.database.run(calendar_watches.doubt, mine, now + MINUTE)
    assert not (await practice.database.run(calendar_watches.told, mine)).listening
    assert (await practice.database.run(calendar_watches.told, theirs)).listening
    await practice.database.run(calendar_watches.put, replace(watch, id="wch_3"))
    of_mine = await practice.database.run(calendar_watches.of_calendar, mine)
    assert [one.id for one in of_mine] == ["wch_3", "wch_1"]

    async def put(tx: Tx) -> None:
        await calendar_watches.put(tx, replace(watch, problem="x"))

    await waits(practice.database, lambda tx: calendar_watches.lock(tx, watch.id), put)
    await waits(practice.database, lambda tx: calendar_watches.of_calendar(tx, mine), put)


# Events that we wrote


async def test_what_a_host_did_is_what_is_told(practice: Practice) -> None:
    held = await practice.held()
    first, second = await practice.database.run(calendar_events.of_reservation, held.id)
    assert await practice.database.run(calendar_events.changed_by_host, held.id) is None
    await practice.database.run(calendar_events.note_seen, second, "moved", None)
    assert await practice.database.run(calendar_events.changed_by_host, held.id) == "moved"
    await practice.database.run(calendar_events.call_off, first)
    assert await practice.database.run(calendar_events.changed_by_host, held.id) == "deleted"


@pytest.mark.parametrize(
    ("state", "later", "changed"),
    [
        (Written.HOLD, 0, None),
        (Written.ABSENT, 0, "moved"),
        (Written.UNKNOWN, 0, "moved"),
        (Written.ABSENT, 1, None),
    ],
)
async def test_how_a_write_ends(practice: Practice, state: Written, later: int, changed: str | None) -> None:
    """What stands as it should, or under another id, is not as a host changed it any more."""
    held = await practice.held()
    event = await practice.written(held)
    [leased] = await practice.database.run(
        calendar_events.lease, practice.shop.account_id, [event], held.held_until
    )
    assert (await practice.written(held)).state is Written.UNKNOWN
    await practice.database.run(calendar_events.note_seen, event, "moved", None)
    ended = Ended(replace(leased, state=state, generation=leased.generation + later), doubtful=later > 0)
    await practice.database.run(calendar_events.record, [replace_token(ended)], HOUR)
    assert (await practice.written(held)).lease_until is not None
    await practice.database.run(calendar_events.record, [ended], HOUR)
    after = await practice.written(held)
    assert (after.state, after.changed_by_host, after.lease_until) == (state, changed, None)
    assert (after.doubtful_until is not None) is (later > 0)


def replace_token(ended: Ended) -> Ended:
    """As somebody would say it whose lease went to another one."""
    return Ended(replace(ended.event, token=ended.event.token - 1), ended.doubtful)


async def test_what_is_being_written_is_left_to_who_writes_it(practice: Practice) -> None:
    held = await practice.held()
    event = await practice.written(held)

    async def all_say() -> WrittenEvent:
        await practice.database.run(calendar_events.next_generation, event, practice.shop.account_id)
        await practice.database.run(calendar_events.mark_missing, event)
        await practice.database.run(calendar_events.doubt, event)
        return await practice.written(held)

    [leased] = await practice.database.run(
        calendar_events.lease, practice.shop.account_id, [event], held.held_until
    )
    before = await practice.written(held)
    event = leased
    assert await all_say() == before
    await practice.database.run(calendar_events.record, [Ended(replace(leased, state=Written.HOLD))], HOUR)
    # Nor by who read it when it was another lease's.
    event = replace(leased, token=leased.token - 1)
    await practice.database.run(calendar_events.next_generation, event, practice.shop.account_id)
    assert (await practice.written(held)).generation == leased.generation
    event = leased
    assert (await all_say()).generation == leased.generation + 1
    await waits(
        practice.database,
        lambda tx: calendar_events.of_reservation(tx, held.id),
        lambda tx: calendar_events.doubt(tx, leased),
    )


async def test_calling_off_is_counted_by_calendar_and_day(practice: Practice, clock: Clock) -> None:
    one, _ = await practice.held(9), await practice.held(10)
    await practice.database.run(calendar_events.call_off, await practice.written(one))

    async def counted(calendar: Calendar) -> int:
        return await practice.database.run(calendar_events.called_off_within, calendar.id, timedelta(days=1))

    here = practice.mine[0]
    assert [await counted(one) for one in (here, practice.theirs[0])] == [1, 0]
    await clock.shift(timedelta(days=1, seconds=1))
    assert await counted(here) == 0


async def test_in_whose_time_something_stands(practice: Practice) -> None:
    hours = {hour: (await practice.held(hour)).id for hour in (8, 9, 10)}
    theirs = await practice.held(11, host=1)
    await practice.sql(
        "update claim set starts_at = $1, ends_at = $1::timestamptz + interval '1 hour' where reservation_id = $2",
        practice.shop.slot(9),
        theirs.id,
    )
    spans = [(practice.shop.slot(9), practice.shop.slot(9) + HOUR)]

    async def clean() -> list[str]:
        return await practice.database.run(calendar_events.clean_within, practice.shop.hosts[0], spans)

    assert await clean() == [hours[9]]
    for undone, redone in (
        (
            "update reservation set calendar_verdict = 'pending'",
            "update reservation set calendar_verdict = 'clean'",
        ),
        ("update claim set live_until = the_clock()", "update claim set live_until = 'infinity'"),
    ):
        await practice.sql(undone)
        assert await clean() == [], undone
        await practice.sql(redone)
        assert await clean() == [hours[9]]
    await practice.sql(
        "update reservation set status = 'released', ended_at = the_clock(), ended_by = 'account'"
    )
    assert await clean() == []


async def test_which_flags_are_looked_at_again(practice: Practice, clock: Clock) -> None:
    mine, theirs = await practice.held(9), await practice.held(11, host=1)
    await practice.sql(
        "update reservation set status = 'confirmed', confirmed_at = the_clock(), calendar_verdict = 'conflict'"
    )
    await practice.sql("update claim set live_until = 'infinity', firm = true")

    async def flagged(host: int = 0) -> list[str]:
        return await practice.database.run(calendar_events.flagged, practice.shop.hosts[host])

    async def adopted() -> list[str]:
        found = await practice.database.run(calendar_events.to_adopt, practice.shop.hosts[0])
        return [one for _, one in found]

    assert (await flagged(), await flagged(1), await adopted()) == ([mine.id], [theirs.id], [mine.id])
    await practice.sql("update claim set live_until = the_clock()")
    assert (await flagged(), await adopted()) == ([], [])
    await practice.sql("update claim set live_until = 'infinity'")
    await practice.sql("update reservation set calendar_verdict = 'clean'")
    assert (await flagged(), await adopted()) == ([], [mine.id])
    await practice.sql("update reservation set calendar_verdict = 'conflict', status = 'held'")
    assert (await flagged(), await adopted()) == ([], [mine.id])
    await practice.sql("update reservation set status = 'confirmed'")
    await clock.shift(timedelta(days=8))
    assert (await flagged(), await adopted()) == ([], [])


@pytest.mark.parametrize(
    ("kept", "then"),
    [
        ("state = 'hold'", "state = 'absent'"),
        ("doubtful_until = the_clock()", "doubtful_until = null"),
        ("lease_until = the_clock()", "lease_until = null"),
        ("called_off_at = the_clock()", "called_off_at = the_clock() - interval '25 hours'"),
    ],
)
async def test_what_is_gone_for_good_is_forgotten_an_hour_later(
    practice: Practice, clock: Clock, kept: str, then: str
) -> None:
    held = await practice.held()
    await practice.shop.release(held)
    await practice.sql(
        "update calendar_event set state = 'absent', doubtful_until = null, lease_until = null"
    )

    async def left() -> int:
        await practice.database.run(calendar_events.sweep)
        return len(await practice.ask("select uid from calendar_event"))

    there = await left()
    assert there > 0
    await clock.shift(HOUR + MINUTE)
    await practice.sql(f"update calendar_event set {kept}")
    assert await left() == there
    await practice.sql(f"update calendar_event set {then}")
    assert await left() == 0


async def test_whose_an_event_is(practice: Practice) -> None:
    held, other = await practice.held(9), await practice.held(10, host=1)
    event, theirs = await practice.written(held), await practice.written(other)
    uids = [event.uid, theirs.uid, "stranger"]
    found = await practice.database.run(calendar_events.by_uid, event.calendar_id, uids)
    assert list(found) == [event.uid]
    known = await practice.database.run(calendar_events.known, uids)
    assert sorted(known) == sorted(
        [(event.uid, held.id, practice.shop.hosts[0]), (theirs.uid, other.id, practice.shop.hosts[1])]
    )


async def test_which_calendar_is_connected_twice(practice: Practice) -> None:
    """Where what was written for one stands in the other: of the same host, and of a reservation that is in both."""
    held = await practice.held()
    here, there = await practice.database.run(calendar_events.of_reservation, held.id)

    async def also(*uids: str) -> list[str]:
        return await practice.database.run(calendar_events.also_there, here.calendar_id, uids)

    assert await also(here.uid) == []
    assert await also(there.uid) == [there.calendar_id]
    await practice.sql(
        "update calendar set host_id = $1 where id = $2", practice.shop.hosts[1], there.calendar_id
    )
    assert await also(there.uid) == []
    await practice.sql(
        "update calendar set host_id = $1 where id = $2", practice.shop.hosts[0], there.calendar_id
    )
    await practice.sql("delete from calendar_event where calendar_id = $1", here.calendar_id)
    assert await also(there.uid) == []


async def test_what_should_stand_in_a_calendar(practice: Practice, clock: Clock) -> None:
    held = await practice.held()
    event = await practice.written(held)
    await practice.held(11, host=1)

    async def standing(hour: int = 23) -> list[str]:
        return list(
            await practice.database.run(calendar_events.standing, event.calendar_id, practice.shop.slot(hour))
        )

    assert await standing() == [event.uid]
    assert await standing(9) == []
    for undone, redone in (
        ("state = 'unknown'", "state = 'hold'"),
        ("changed_by_host = 'deleted'", "changed_by_host = 'moved'"),
    ):
        await practice.sql(f"update calendar_event set {undone}")
        assert await standing() == []
        await practice.sql(f"update calendar_event set {redone}")
        assert await standing() == [event.uid]
    await clock.shift(timedelta(days=8))
    assert await standing() == []
