# SPDX-License-Identifier: Apache-2.0
"""What the host does in the calendar itself, and what a connection that breaks does to its host."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from conftest import Clock
from holdfirst.calendar.calendar_event import EventState
from holdfirst.calendar.provider import Access, Changes
from holdfirst.effects import advance, follow_host, hold_calendars, sync_calendar
from holdfirst.effects import confirm as confirming
from holdfirst.errors import ProviderUnavailable
from holdfirst.flows import at_rest, calendar_health
from holdfirst.flows import calendar_sync as reading
from holdfirst.flows.calendar_connections import (
    Roles,
    WantedConnection,
    change,
    connect,
    disconnect,
    let_in_again,
)
from holdfirst.flows.confirm import Asks, ConfirmRequest
from holdfirst.flows.host_changes import cancel_deleted
from holdfirst.flows.hosts import delete_host
from holdfirst.flows.reschedule import RescheduleRequest
from holdfirst.key_ring import KeyRing
from holdfirst.payment.payment import PaymentStatus
from holdfirst.refusal import Code, Refusal
from holdfirst.reservation.reservation import CalendarVerdict, EndedBy, Reservation, Status
from holdfirst.store import calendar_events, calendars
from holdfirst.store.calendars import Connection, ConnectionStatus, WhenBroken, WhenDeleted, WhenMoved
from holdfirst.store.database import Database, Tx
from shop import Shop, open_shop
from shop import move as move_reservation

from .on_servers import Connect, in_memory
from .servers import send

HOUR = timedelta(hours=1)


async def open_practice(database: Database, connect: Connect = in_memory, **policy: Any) -> tuple[Shop, str]:
    shop = await open_shop(database, rules={"price": None})
    connection = await connect(shop, **policy)
    await shop.work()
    return shop, connection


async def confirmed(shop: Shop, hour: int = 9) -> Reservation:
    held = await shop.held(shop.slot(hour))
    request = ConfirmRequest(reservation_id=held.id, asks=Asks.SECRET_KEY)
    answer = await confirming.confirm_with_provider(shop.world, request, back_end_confirms=False)
    assert isinstance(answer, Reservation), answer
    await shop.work()
    return answer


async def read_calendars(shop: Shop) -> None:
    async def due(tx: Tx) -> None:
        await tx.execute("update job set due_at = the_clock() where kind in ('sync_calendar', 'calendars')")

    for _ in range(2):
        await shop.database.run(due)
        await shop.work()


async def flag(shop: Shop, one: Reservation) -> str | None:
    return await shop.database.run(calendar_events.changed_by_host, one.id)


def move(shop: Shop, to: Any, hours: int = 1) -> None:
    [entry] = shop.calendars.ours()["one"]
    shop.calendars.put("one", entry.uid, to, to + hours * HOUR, state=entry.state, title=entry.title)


async def test_a_move_is_flagged(database: Database, connect: Connect):
    shop, _ = await open_practice(database, connect)
    one = await confirmed(shop)
    move(shop, shop.slot(15))
    await read_calendars(shop)
    assert (await shop.read(one.id)).start == one.start
    assert await flag(shop, one) == "moved"
    move(shop, one.start)
    await read_calendars(shop)
    assert await flag(shop, one) is None


async def test_what_we_have_put_right_is_flagged_no_more(database: Database, connect: Connect):
    """Our own next write says where it stands."""
    shop, _ = await open_practice(database, connect)
    one = await confirmed(shop)
    move(shop, shop.slot(15))
    await read_calendars(shop)
    assert await flag(shop, one) == "moved"
    moved = await move_to(shop, one, shop.slot(11))
    assert isinstance(moved, Reservation), moved
    await read_calendars(shop)
    assert [entry.start for entry in shop.calendars.ours()["one"]] == [shop.slot(11)]
    assert await flag(shop, one) is None


@pytest.mark.parametrize("hours", [1, 2])
async def test_a_hold_that_was_dragged_away_is_put_back(database: Database, connect: Connect, hours: int):
    shop, _ = await open_practice(database, connect)
    held = await shop.held(hold_seconds=900)
    move(shop, shop.slot(15), hours)
    await read_calendars(shop)
    for entries in shop.calendars.ours().values():
        assert [(entry.start, entry.end) for entry in entries] == [(held.start, held.end)]
    assert await flag(shop, held) is None
    assert isinstance(await shop.release(held), Reservation)
    await shop.work()
    assert shop.calendars.ours() == {"one": [], "two": []}


async def test_a_move_is_followed_where_that_was_chosen(database: Database, connect: Connect):
    shop, _ = await open_practice(database, connect, when_moved=WhenMoved.FOLLOW)
    one = await confirmed(shop)
    move(shop, shop.slot(15))
    await read_calendars(shop)
    moved = await shop.read(one.id)
    assert (moved.start, moved.sequence, moved.status) == (shop.slot(15), 1, Status.CONFIRMED)
    assert await flag(shop, one) is None
    assert isinstance(await shop.reserve(shop.slot(9)), Reservation)
    assert isinstance(await shop.reserve(shop.slot(15)), Refusal)


async def test_a_move_into_the_past_is_not_followed(database: Database):
    shop, _ = await open_practice(database, when_moved=WhenMoved.FOLLOW)
    one = await confirmed(shop)
    move(shop, shop.slot(0, 0))
    await read_calendars(shop)
    assert (await shop.read(one.id)).start == one.start
    assert await flag(shop, one) == "moved"


async def test_a_move_onto_somebody_else_is_not_followed(database: Database, connect: Connect):
    shop, _ = await open_practice(database, connect, when_moved=WhenMoved.FOLLOW)
    one = await confirmed(shop)
    await shop.held(shop.slot(15), hold_seconds=900)
    entry = next(entry for entry in shop.calendars.ours()["one"] if entry.start == one.start)
    shop.calendars.put("one", entry.uid, shop.slot(15), shop.slot(16), state=entry.state)
    await read_calendars(shop)
    assert (await shop.read(one.id)).start == one.start
    assert await flag(shop, one) == "moved"


async def test_a_move_onto_what_another_calendar_has_is_not_followed(database: Database, connect: Connect):
    """Asked before it goes there: no reading has told of the other event yet."""
    shop, connection = await open_practice(database, connect, when_moved=WhenMoved.FOLLOW)
    one = await confirmed(shop)
    known = await shop.database.run(calendars.calendars_of, connection)
    [calendar] = [calendar for calendar in known if calendar.destination]
    shop.calendars.put("two", "stranger", shop.slot(15), shop.slot(16))

    async def moved(tx: Tx) -> None:
        await tx.execute(
            "update calendar_event set changed_by_host = 'moved' where calendar_id = $1", calendar.id
        )

    for hour, goes in ((15, False), (17, True)):
        await shop.database.run(moved)
        subject = f"{one.id}/{calendar.id}/{int(shop.slot(hour).timestamp() * 1000)}"
        await follow_host.follow_event(shop.world, subject)
        assert (await shop.read(one.id)).start == (shop.slot(hour) if goes else one.start)
    assert (await shop.read(one.id)).calendar_verdict is CalendarVerdict.PENDING
    await shop.work()
    assert (await shop.read(one.id)).calendar_verdict is CalendarVerdict.CLEAN
    shop.calendars.faults = {"busy": ["lost_before"] * 5}
    subject = f"{one.id}/{calendar.id}/{int(one.start.timestamp() * 1000)}"
    # Put back by now: nothing is asked for it.
    await follow_host.follow_event(shop.world, subject)
    await shop.database.run(moved)
    with pytest.raises(ProviderUnavailable):
        await follow_host.follow_event(shop.world, subject)


async def test_another_length_is_only_flagged(database: Database, connect: Connect):
    shop, _ = await open_practice(database, connect, when_moved=WhenMoved.FOLLOW)
    one = await confirmed(shop)
    move(shop, one.start, hours=2)
    await read_calendars(shop)
    assert (await shop.read(one.id)).end == one.end
    assert await flag(shop, one) == "moved"


async def test_a_deletion_is_flagged(database: Database, connect: Connect):
    shop, _ = await open_practice(database, connect)
    one = await confirmed(shop)
    [entry] = shop.calendars.ours()["one"]
    shop.calendars.take("one", entry.uid)
    await read_calendars(shop)
    assert (await shop.read(one.id)).status is Status.CONFIRMED
    assert await flag(shop, one) == "deleted"
    assert shop.calendars.ours() == {"one": [], "two": []}


async def test_a_deletion_that_the_server_takes_back_is_none(database: Database):
    shop, _ = await open_practice(database, when_deleted=WhenDeleted.CANCEL)
    one = await confirmed(shop)
    [entry] = shop.calendars.ours()["one"]
    # The sync says that it went; the server, asked for it, has it.
    shop.calendars.lag = 0
    shop.calendars.history.append((next(shop.calendars.tokens), "one", entry.uid, False))
    original = shop.calendars._seen
    shop.calendars._seen = lambda ref: {k: v for k, v in original(ref).items() if k != entry.uid}  # type: ignore[method-assign]
    await read_calendars(shop)
    assert (await shop.read(one.id)).status is Status.CONFIRMED
    assert await flag(shop, one) is None


async def test_a_deletion_is_restored_under_another_id(database: Database, connect: Connect):
    shop, _ = await open_practice(database, connect, when_deleted=WhenDeleted.RESTORE)
    await confirmed(shop)
    [entry] = shop.calendars.ours()["one"]
    shop.calendars.take("one", entry.uid)
    await read_calendars(shop)
    [again] = shop.calendars.ours()["one"]
    assert (again.start, again.state) == (entry.start, entry.state)
    assert again.uid != entry.uid


async def test_a_few_deletions_cancel_and_many_do_not(database: Database, connect: Connect):
    shop, _ = await open_practice(database, connect, when_deleted=WhenDeleted.CANCEL)
    several = [await confirmed(shop, hour) for hour in range(9, 14)]
    for entry in shop.calendars.ours()["one"]:
        shop.calendars.take("one", entry.uid)
    await read_calendars(shop)
    after = [await shop.read(one.id) for one in several]
    cancelled = [one for one in after if one.status is Status.CANCELLED]
    assert len(cancelled) == 3
    assert {one.ended.by for one in cancelled} == {EndedBy.CALENDAR}
    assert [await flag(shop, one) for one in after if one.status is Status.CONFIRMED] == ["deleted"] * 2
    # Nor a few more with each later reading, all of it included.
    async with database.statement() as tx:
        await tx.execute("update calendar set whole_at = null")
    await read_calendars(shop)
    assert [(await shop.read(one.id)).status for one in several].count(Status.CANCELLED) == 3


async def test_a_deletion_that_was_taken_back_before_it_was_acted_on_calls_nothing_off(database: Database):
    shop, _ = await open_practice(database, when_deleted=WhenDeleted.CANCEL)
    one = await confirmed(shop)
    await database.run(cancel_deleted, one.id)
    assert (await shop.read(one.id)).status is Status.CONFIRMED


async def test_a_host_who_tidies_up_what_is_over_calls_nothing_off(
    database: Database, clock: Clock, connect: Connect
):
    shop, _ = await open_practice(database, connect, when_deleted=WhenDeleted.CANCEL)
    one = await confirmed(shop)
    await read_calendars(shop)
    [entry] = shop.calendars.ours()["one"]
    await clock.shift(timedelta(days=8))
    shop.calendars.take("one", entry.uid)
    await read_calendars(shop)
    assert (await shop.read(one.id)).status is Status.CONFIRMED
    assert await flag(shop, one) is None


async def test_a_hold_that_was_deleted_is_written_again(database: Database, connect: Connect):
    shop, _ = await open_practice(database, connect)
    await shop.held(hold_seconds=900)
    [entry] = shop.calendars.ours()["two"]
    shop.calendars.take("two", entry.uid)
    await read_calendars(shop)
    assert len(shop.calendars.ours()["two"]) == 1


async def test_a_stranger_that_a_reading_finds_ends_the_hold_before_anybody_confirms(
    database: Database, connect: Connect
):
    shop, _ = await open_practice(database, connect)
    held = await shop.held(hold_seconds=900)
    shop.calendars.put("two", "stranger", held.start, held.end)
    await read_calendars(shop)
    ended = await shop.read(held.id)
    assert (ended.status, ended.ended.by) == (Status.RELEASED, EndedBy.CALENDAR)
    assert shop.calendars.ours() == {"one": [], "two": []}


async def test_a_stranger_after_the_confirm_is_flagged_by_the_next_reading_and_unflagged(
    database: Database, connect: Connect
):
    shop, _ = await open_practice(database, connect)
    one, other = await confirmed(shop, 9), await confirmed(shop, 12)
    assert one.calendar_verdict is CalendarVerdict.CLEAN
    for calendar in ("two", "one"):
        shop.calendars.put(calendar, "stranger", one.start, one.start + HOUR / 2)
        await read_calendars(shop)
        flagged = await shop.read(one.id)
        assert (flagged.status, flagged.calendar_verdict) == (Status.CONFIRMED, CalendarVerdict.CONFLICT)
        assert (await shop.read(other.id)).calendar_verdict is CalendarVerdict.CLEAN
        # Its event stands where it stood; the host decides.
        assert [entry.start for entry in shop.calendars.ours()["one"]] == [one.start, other.start]
        shop.calendars.take(calendar, "stranger")
        await read_calendars(shop)
        assert (await shop.read(one.id)).calendar_verdict is CalendarVerdict.CLEAN


async def test_a_stranger_that_moves_out_of_the_way_takes_its_flag_along(
    database: Database, connect: Connect
):
    shop, _ = await open_practice(database, connect)
    one = await confirmed(shop)
    for start, verdict in ((one.start, CalendarVerdict.CONFLICT), (one.end + HOUR, CalendarVerdict.CLEAN)):
        shop.calendars.put("two", "stranger", start, start + HOUR)
        await read_calendars(shop)
        assert (await shop.read(one.id)).calendar_verdict is verdict


async def test_a_reading_that_overtook_the_end_of_a_hold_takes_no_time(database: Database, connect: Connect):
    """It tells of an event that has gone by the time it is taken in."""
    shop, _ = await open_practice(database, connect)
    held = await shop.held(hold_seconds=900)
    ended = False

    async def end(call: str, when: str) -> None:
        nonlocal ended
        if (call, when, ended) == ("changes", "after", False):
            ended = True
            assert isinstance(await shop.release(held), Reservation)
            await hold_calendars.attend(shop.world, held.id)
            assert shop.calendars.ours() == {"one": [], "two": []}

    shop.calendars.on_call = end
    await read_calendars(shop)
    assert ended
    async with database.statement() as tx:
        assert await tx.rows("select * from busy") == []
    assert isinstance(await shop.reserve(held.start), Reservation)


async def test_what_is_never_asked_is_never_flagged(database: Database, connect: Connect):
    shop = await open_shop(database, rules={"price": None, "calendar_check": "local"})
    await connect(shop)
    await shop.work()
    one = await confirmed(shop)
    shop.calendars.put("two", "stranger", one.start, one.end)
    await read_calendars(shop)
    assert (await shop.read(one.id)).calendar_verdict is None


# A move to another host


async def open_pair(database: Database, connect: Connect) -> tuple[Shop, Any, Any]:
    """Two hosts, either of whom may serve; each with one calendar of their own."""
    shop = await open_shop(database, hosts=2, rules={"price": None, "assignment": "one_of"})
    await connect.each(shop)
    await shop.work()
    first, second = await confirmed(shop, 9), await confirmed(shop, 9)
    assert {first.hosts, second.hosts} == {(shop.hosts[0],), (shop.hosts[1],)}
    ordered = sorted((first, second), key=lambda one: shop.hosts.index(one.hosts[0]))
    return shop, ordered[0], ordered[1]


async def move_to(shop: Shop, one: Reservation, start: Any) -> Reservation | Refusal:
    request = RescheduleRequest(reservation_id=one.id, start=start, by=EndedBy.ACCOUNT)
    return await move_reservation(shop.world, request)


async def test_whose_calendar_says_no_is_passed_over_by_whoever_asks_next(
    database: Database, connect: Connect
):
    """The calendar that said no is read at once: its time leaves the slots without waiting for a poll."""
    shop, _, _ = await open_pair(database, connect)
    for busy, free in ((0, 1), (1, 0)):
        start = shop.slot(11 + free)
        shop.calendars.put(("one", "two")[busy], f"stranger {busy}", start, start + HOUR)
        answer = await shop.reserve(start, host_id=shop.hosts[busy])
        assert isinstance(answer, Refusal) and answer.code is Code.SLOT_TAKEN
        await shop.work()
        async with database.statement() as tx:
            known = await tx.rows("select host_id from busy where starts_at = $1", start)
        assert [row["host_id"] for row in known] == [shop.hosts[busy]]
        held = await shop.held(start)
        assert (held.hosts, held.calendar_verdict) == ((shop.hosts[free],), CalendarVerdict.CLEAN)


async def test_a_move_to_another_host_asks_that_hosts_calendars_first(database: Database, connect: Connect):
    shop, mine, theirs = await open_pair(database, connect)
    # At ten the first host has another reservation, and the second one something in their calendar.
    at_ten = await confirmed(shop, 10)
    free = "two" if at_ten.hosts[0] == shop.hosts[0] else "one"
    shop.calendars.put(free, "stranger", shop.slot(10), shop.slot(11))
    one = mine if at_ten.hosts == mine.hosts else theirs
    before = shop.calendars.calls["busy"]
    answer = await move_to(shop, one, shop.slot(10))
    assert isinstance(answer, Refusal) and answer.code is Code.SLOT_TAKEN
    assert shop.calendars.calls["busy"] == before + 1
    after = await shop.read(one.id)
    assert (after.start, after.hosts, after.sequence) == (one.start, one.hosts, 0)
    # Nobody had to notice it afterwards: nothing has moved at all.
    await shop.work()
    assert (await shop.read(one.id)).calendar_verdict is CalendarVerdict.CLEAN
    shop.calendars.take(free, "stranger")
    await read_calendars(shop)
    moved = await move_to(shop, one, shop.slot(10))
    assert isinstance(moved, Reservation) and moved.hosts != one.hosts


async def test_a_move_where_one_hosts_calendar_is_busy_goes_to_the_other(
    database: Database, connect: Connect
):
    shop, mine, _ = await open_pair(database, connect)
    shop.calendars.put("one", "stranger", shop.slot(11), shop.slot(12))
    moved = await move_to(shop, mine, shop.slot(11))
    assert isinstance(moved, Reservation)
    assert (moved.start, moved.hosts) == (shop.slot(11), (shop.hosts[1],))
    await shop.work()
    assert (await shop.read(mine.id)).calendar_verdict is CalendarVerdict.CLEAN
    there = {ref: sorted(entry.start for entry in entries) for ref, entries in shop.calendars.ours().items()}
    assert there == {"one": [], "two": [shop.slot(9), shop.slot(11)]}


async def test_a_move_while_a_calendar_does_not_answer_is_none(database: Database, connect: Connect):
    shop, mine, _ = await open_pair(database, connect)
    shop.calendars.faults = {"busy": ["lost_before"] * 5}
    answer = await move_to(shop, mine, shop.slot(14))
    assert isinstance(answer, Refusal) and answer.code is Code.CALENDAR_UNREACHABLE
    assert (await shop.read(mine.id)).start == mine.start


# A connection that breaks


async def status_of(shop: Shop, connection: str) -> ConnectionStatus:
    found = await shop.database.run(calendars.load_connection, connection)
    assert found is not None
    return found.status


async def test_shut_out_the_host_is_closed_and_told_and_open_again(
    database: Database, connect: Connect, clock: Clock
):
    shop, connection = await open_practice(database, connect)

    async def with_mail(tx: Tx) -> None:
        await tx.execute("update host set email = 'host@example.org'")

    await shop.database.run(with_mail)
    shop.calendars.denied = True
    await read_calendars(shop)
    assert await status_of(shop, connection) is ConnectionStatus.BROKEN
    answer = await shop.reserve()
    assert isinstance(answer, Refusal) and answer.code is Code.SLOT_TAKEN
    # One for each connection, and no more.
    broken = await shop.database.run(calendars.all_connections)
    assert shop.mail.subjects() == ["Your calendar can no longer be read"] * len(broken)
    shop.calendars.denied = False
    await clock.shift(timedelta(minutes=6))
    await read_calendars(shop)
    assert await status_of(shop, connection) is ConnectionStatus.ACTIVE
    assert isinstance(await shop.reserve(), Reservation)


async def test_unreachable_for_long_is_broken(database: Database, clock: Clock, connect: Connect):
    shop, connection = await open_practice(database, connect)
    shop.calendars.faults = {"changes": ["lost_before"] * 100}
    await read_calendars(shop)
    assert await status_of(shop, connection) is ConnectionStatus.ACTIVE
    await clock.shift(timedelta(minutes=16))
    await read_calendars(shop)
    assert await status_of(shop, connection) is ConnectionStatus.BROKEN
    answer = await shop.reserve()
    assert isinstance(answer, Refusal) and answer.code is Code.SLOT_TAKEN


async def test_a_broken_connection_may_be_ignored(database: Database, clock: Clock, connect: Connect):
    """Sold without it; and what is to stand there is written when it works again."""
    shop, connection = await open_practice(database, connect, when_broken=WhenBroken.IGNORE)
    before = await shop.held(shop.slot(8), hold_seconds=900)
    shop.calendars.denied = True
    await read_calendars(shop)
    assert await status_of(shop, connection) is ConnectionStatus.BROKEN
    held = await shop.held(shop.slot(9), hold_seconds=900)
    assert held.calendar_verdict is CalendarVerdict.CLEAN
    firm = await confirmed(shop, 10)
    assert isinstance(await shop.release(before), Reservation)
    await shop.work()
    asked = shop.calendars.calls.total()
    await shop.held(shop.slot(11), hold_seconds=30)
    await shop.work()
    assert shop.calendars.calls.total() == asked
    shop.calendars.denied = False
    await clock.shift(timedelta(minutes=6))
    await read_calendars(shop)
    assert await status_of(shop, connection) is ConnectionStatus.ACTIVE
    await clock.shift(timedelta(minutes=6))
    await shop.work()
    there = {ref: [entry.start for entry in entries] for ref, entries in shop.calendars.ours().items()}
    assert there == {"one": [held.start, firm.start], "two": [held.start]}


@pytest.mark.parametrize("call", ["write", "busy"])
async def test_a_calendar_that_does_not_answer_is_no_hold(database: Database, connect: Connect, call: str):
    shop, _ = await open_practice(database, connect)
    shop.calendars.faults = {call: ["lost_before"]}
    answer = await shop.reserve()
    assert isinstance(answer, Refusal) and answer.code is Code.CALENDAR_UNREACHABLE
    assert answer.retry_after
    await read_calendars(shop)
    assert isinstance(await shop.reserve(), Reservation)


async def test_late_money_does_not_wait_for_a_calendar_that_does_not_answer(database: Database, clock: Clock):
    """A hold that lasts gives time to ask again; where it is over, nobody is charged."""
    shop = await open_shop(database)
    await shop.connect()
    held = await shop.held(hold_seconds=300)
    payment = await shop.checkout(held)
    await clock.shift(timedelta(seconds=301))
    shop.calendars.faults = {"busy": ["lost_before"] * 9}
    shop.provider.bring_money(payment.provider_ref)
    await advance.advance(shop.world, payment.id)
    await shop.work()
    assert (await shop.read(held.id)).status is Status.EXPIRED
    assert (await shop.payment(payment.id)).status is PaymentStatus.VOIDED


async def test_roles_that_cannot_be(database: Database):
    shop = await open_shop(database)
    shop.calendars.read_only = {"two"}
    connection = await shop.connect()
    places = {one.ref: one.id for one in await database.run(calendars.calendars_of, connection)}
    for account_id, roles in [
        ("acc_another", Roles()),
        (shop.account_id, Roles(destination=places["two"])),
        (shop.account_id, Roles(destination="cal_another")),
        (shop.account_id, Roles(blocking=["cal_another"])),
    ]:
        assert isinstance(await database.run(change, account_id, connection, roles), Refusal), roles


async def test_one_calendar_receives_whichever_did_before(database: Database):
    shop, connection = await open_practice(database)
    places = {one.ref: one.id for one in await database.run(calendars.calendars_of, connection)}
    for ref in ("two", "one"):
        await database.run(change, shop.account_id, connection, Roles(destination=places[ref]))
        found = await database.run(calendars.calendars_of, connection)
        assert [one.ref for one in found if one.destination] == [ref]


async def test_let_in_again_what_is_gone_goes_and_what_is_new_waits_to_be_chosen(database: Database):
    shop, connection = await open_practice(database)
    shop.calendars.shelves = {"one": {}, "three": {}}
    found = await shop.calendars.discover(Access(secrets={}))
    await database.run(let_in_again, connection, found, b"sealed")
    after = await database.run(calendars.calendars_of, connection)
    assert sorted((one.ref, one.blocking) for one in after) == [("one", True), ("three", False)]


async def test_who_lost_the_lease_of_an_event_says_nothing_of_it(database: Database):
    shop, _ = await open_practice(database)
    held = await shop.held(hold_seconds=900)
    [first, *_] = await database.run(calendar_events.of_reservation, held.id)
    until = held.held_until
    [late] = await database.run(calendar_events.lease, shop.account_id, [first], until)
    [mine] = await database.run(calendar_events.lease, shop.account_id, [first], until)
    await database.run(calendar_events.record, [calendar_events.Ended(late)], HOUR)
    await database.run(calendar_events.next_generation, mine, shop.account_id)
    [after, *_] = await database.run(calendar_events.of_reservation, held.id)
    assert (after.state, after.token, after.generation) == ("unknown", mine.token, first.generation)
    assert after.lease_until == until


async def test_who_was_not_let_in_yet_neither_answers_nor_breaks(database: Database, clock: Clock):
    shop = await open_shop(database)
    wanted = WantedConnection(
        id="con_pending",
        account_id=shop.account_id,
        host_id=shop.hosts[0],
        provider="caldav",
        sealed=b"",
        when_broken=WhenBroken.CLOSE,
        when_moved=WhenMoved.FLAG,
        when_deleted=WhenDeleted.FLAG,
    )
    await database.run(connect, wanted, None)
    of_it: Any = SimpleNamespace(id="cal_of_it", connection_id=wanted.id, read_problem=None)
    await database.run(calendar_health.answered, of_it)
    await database.run(calendar_health.denied, wanted.id, "refused")
    await clock.shift(timedelta(minutes=16))
    await database.run(calendar_health.unreachable, of_it, "away")
    assert await status_of(shop, wanted.id) is ConnectionStatus.PENDING


async def test_of_two_that_read_the_same_the_second_takes_nothing_in(database: Database):
    _, connection = await open_practice(database)
    one = (await database.run(calendars.calendars_of, connection))[0]
    asked = await database.run(reading.load, one.id)
    assert asked is not None
    changes = Changes(changed=[], removed=[], token="later", whole=False)
    assert await database.run(reading.take_in, asked, changes, reading.Missing({})) is not None
    assert await database.run(reading.take_in, asked, changes, reading.Missing({})) is None


async def test_disconnected_what_we_wrote_is_taken_away(database: Database, connect: Connect):
    shop, _ = await open_practice(database, connect)
    await confirmed(shop)
    await shop.held(shop.slot(11), hold_seconds=900)
    assert [len(entries) for entries in shop.calendars.ours().values()] == [2, 1]
    for one in await shop.database.run(calendars.all_connections):
        await shop.database.run(disconnect, shop.account_id, one.id)
    await shop.work()
    assert shop.calendars.ours() == {"one": [], "two": []}
    held = await shop.held(shop.slot(12))
    assert not held.in_calendars


async def test_what_stood_before_is_written_when_a_host_connects(database: Database):
    shop = await open_shop(database, rules={"price": None})
    one = await shop.sold(shop.slot(9))
    held = await shop.held(shop.slot(10), hold_seconds=900)
    await shop.connect()
    await shop.work()
    there = sorted((entry.start, str(entry.state)) for entry in shop.calendars.ours()["one"])
    assert there == [(one.start, "confirmed"), (held.start, "hold")]
    assert (await shop.read(held.id)).calendar_verdict == "clean"


async def test_credentials_survive_another_key(database: Database):
    shop, connection = await open_practice(database)
    old = shop.world.key_ring
    both = KeyRing([b"n" * 32, b"k" * 32])
    assert not await database.run(at_rest.known_ring, KeyRing([b"n" * 32]).fingerprints)
    assert await database.run(at_rest.reseal, both) == 2
    found = await database.run(calendars.load_connection, connection)
    assert found is not None
    assert KeyRing([b"n" * 32]).unseal(found.sealed_credentials, connection) == b"{}"
    assert not old.sealed_with_newest(found.sealed_credentials)


async def test_of_two_that_renew_credentials_the_first_is_kept(database: Database):
    _, connection = await open_practice(database)
    [(_, before)] = await database.run(calendars.sealed_of_all_accounts)
    assert await database.run(calendars.exchange_credentials, connection, before, b"first")
    assert not await database.run(calendars.exchange_credentials, connection, before, b"second")
    assert await database.run(calendars.sealed_of_all_accounts) == [(connection, b"first")]


async def test_a_host_that_is_deleted_takes_its_connections_along(database: Database, connect: Connect):
    shop, connection = await open_practice(database, connect)
    async with database.statement() as tx:
        await tx.execute("update event_type set deleted_at = the_clock()")
    assert await database.run(delete_host, shop.account_id, shop.hosts[0]) is None
    assert await database.run(calendars.load_connection, connection) is None
    before = shop.calendars.calls.total()
    await read_calendars(shop)
    assert shop.calendars.calls.total() == before


@pytest.mark.parametrize("bad", ["one", "two"])
async def test_what_cannot_be_taken_in_is_said_at_the_connection(database: Database, clock: Clock, bad: str):
    """Whatever it is: a poll that fails for ever without a word would leave its slots as they were. The account's other calendar
    is read well, before it or after it, and has no word on it.
    """
    shop, connection = await open_practice(database)

    async def read() -> tuple[Connection, dict[str, str | None]]:
        found = await database.run(calendars.calendars_of, connection)
        await sync_calendar.sync_all(shop.world, await of_all(), found)
        noted = await database.run(calendars.calendars_of, connection)
        return await of_all(), {one.ref: one.read_problem for one in noted}

    async def of_all() -> Connection:
        return await database.run(calendars.load_connection_even_deleted, connection)

    shop.calendars.put(bad, "nul\0", shop.slot(9), shop.slot(10))
    await read_calendars(shop)
    seen = await of_all()
    assert seen.problem is not None and "cannot be taken in" in seen.problem
    for minutes in (0, 7, 9):
        await clock.shift(timedelta(minutes=minutes))
        seen, noted = await read()
        assert seen.problem is not None and "cannot be taken in" in seen.problem
        assert [ref for ref, problem in noted.items() if problem is not None] == [bad]
    # What is known of it is too old to sell by, however well its neighbour is read.
    assert seen.status is ConnectionStatus.BROKEN
    shop.calendars.take(bad, "nul\0")
    seen, noted = await read()
    assert (seen.status, seen.problem) == (ConnectionStatus.ACTIVE, None)
    assert set(noted.values()) == {None}


async def test_what_kept_one_calendar_from_being_read_may_be_over_for_the_others(
    database: Database, clock: Clock
):
    """An account that answers again is open when all of its calendars are, and none of them waits for its next try."""
    shop, connection = await open_practice(database)
    shop.calendars.faults["changes"] = ["lost_before"] * 50
    await clock.shift(timedelta(minutes=16))
    await shop.work()
    assert await status_of(shop, connection) is ConnectionStatus.BROKEN
    shop.calendars.faults = {}

    async def only_one_is_due(tx: Tx) -> None:
        await tx.execute(
            "update job set due_at = the_clock() + interval '1 hour' where kind = 'sync_calendar'"
        )
        await tx.execute(
            "update job set due_at = the_clock() where key in ("
            " select key from job where kind = 'sync_calendar' order by key limit 1)"
        )

    await database.run(only_one_is_due)
    await shop.work()
    assert await status_of(shop, connection) is ConnectionStatus.ACTIVE
    found = await database.run(calendars.calendars_of, connection)
    assert [one.read_problem for one in found] == [None, None]


async def test_a_calendar_that_is_used_again_says_nothing_of_what_is_over(database: Database):
    shop, connection = await open_practice(database)
    one, two = await database.run(calendars.calendars_of, connection)
    shop.calendars.put(one.ref, "nul\0", shop.slot(9), shop.slot(10))
    await read_calendars(shop)
    for blocking in ([two.id], [one.id, two.id]):
        roles = Roles(blocking=blocking, destination="")
        assert not isinstance(await database.run(change, shop.account_id, connection, roles), Refusal)
        await read_calendars(shop)
        shop.calendars.take(one.ref, "nul\0")
    found = await database.run(calendars.calendars_of, connection)
    assert [one.read_problem for one in found] == [None, None]


@pytest.mark.parametrize("connect", ["servers"], indirect=True)
async def test_an_event_that_another_program_renamed_leaves_nothing_behind(
    database: Database, connect: Connect
):
    """It is neither written a second time nor forgotten."""
    shop, _ = await open_practice(database, connect)
    held = await shop.held(shop.slot(9))
    for ref, url in shop.calendars.urls.items():  # type: ignore[attr-defined]
        [entry] = shop.calendars.ours()[ref]
        text = send("GET", f"{url}{entry.uid}.ics")[2]
        shop.calendars.take(ref, entry.uid)
        assert send("PUT", f"{url}renamed.ics", text)[0] == 201
    await read_calendars(shop)
    assert [len(entries) for entries in shop.calendars.ours().values()] == [1, 1]
    request = ConfirmRequest(reservation_id=held.id, asks=Asks.SECRET_KEY)
    assert isinstance(
        await confirming.confirm_with_provider(shop.world, request, back_end_confirms=False), Reservation
    )
    await shop.work()
    assert {ref: [one.state for one in found] for ref, found in shop.calendars.ours().items()} == {
        "one": [EventState.CONFIRMED],
        "two": [],
    }
    assert await flag(shop, held) is None
    assert (await shop.read(held.id)).calendar_verdict is CalendarVerdict.CLEAN
