# SPDX-License-Identifier: Apache-2.0
"""Many customers, one slot. Each race has a twin without its guard, and the twin must go wrong."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest

from holdfirst.effects import advance
from holdfirst.effects.offers import Offers
from holdfirst.errors import Busy
from holdfirst.flows.change import extend
from holdfirst.payment.payment import Late, PaymentStatus
from holdfirst.reservation.reservation import Reservation, Status
from holdfirst.store.database import Database, Tx
from shop import Shop, open_shop

NO_LOCKS = ("perform pg_advisory_xact_lock(lock)\n    from", "perform lock from")
# Between looking and taking: where a race has room, it is seen at once.
SLOWLY = (
    "        -- After this point it must succeed.\n        outcome",
    "        perform pg_sleep(0.5); outcome",
)
RECHECK = "where reservation_id = due.id and live_until <= due.seen"
NO_RECHECK = "where reservation_id = due.id"
BY_CLOCK = "and live_until <= p_now"
DECIDED_BY_ENDS = (
    "between v.by_clock - interval '2 seconds' and v.by_clock + interval '2 seconds'",
    "between v.now - interval '2 seconds' and v.now + interval '2 seconds'",
)


async def _connect(tx: Tx) -> None:
    await tx.execute("select pg_sleep(0.1)")


async def herd(shop: Shop, clients: int, **more) -> int:
    """How many of these clients, all at once and each at an API process of its own, get the same slot."""
    # Connections are made beforehand: one that is late to the race has not run it.
    await asyncio.gather(*(shop.database.run(_connect) for _ in range(16)))
    answers = await asyncio.gather(*(shop.elsewhere().reserve(**more) for _ in range(clients)))
    return sum(isinstance(answer, Reservation) for answer in answers)


async def test_one_of_fifty_gets_the_slot(database: Database, break_functions) -> None:
    await break_functions(SLOWLY)
    shop = await open_shop(database)
    assert await herd(shop, 50) == 1


async def test_fifty_double_book_without_the_locks(database: Database, break_functions) -> None:
    await break_functions(NO_LOCKS, SLOWLY)
    shop = await open_shop(database)
    assert await herd(shop, 50) > 1


async def test_three_seats_are_taken_three_times(database: Database, break_functions) -> None:
    await break_functions(SLOWLY)
    shop = await open_shop(database, rules={"seats": 3})
    assert await herd(shop, 20) == 3


async def test_three_seats_are_oversold_without_the_locks(database: Database, break_functions) -> None:
    await break_functions(NO_LOCKS, SLOWLY)
    shop = await open_shop(database, rules={"seats": 3})
    assert await herd(shop, 20) > 3


async def test_all_of_several_hosts_or_none(database: Database) -> None:
    shop = await open_shop(database, hosts=3, rules={"assignment": "all_of"})
    assert await herd(shop, 20) == 1
    async with database.statement() as tx:
        assert await tx.value("select count(*) from claim") == 3


async def test_each_of_several_hosts_is_taken_once(database: Database) -> None:
    shop = await open_shop(database, hosts=4)
    assert await herd(shop, 20) == 4


async def test_neighbours_with_buffers_never_overlap(database: Database) -> None:
    rules = {"step_minutes": 15, "buffer_before_minutes": 10, "buffer_after_minutes": 20}
    shop = await open_shop(database, rules=rules)
    starts = [shop.slot(9) + timedelta(minutes=15 * number) for number in range(40)]
    await asyncio.gather(*(shop.reserve(start) for start in starts for _ in range(3)))
    async with database.statement() as tx:
        overlapping = await tx.value(
            "select count(*) from claim one join claim two on one.host_id = two.host_id"
            " and one.reservation_id < two.reservation_id and one.ends_at > two.starts_at and one.starts_at < two.ends_at"
        )
    assert overlapping == 0


async def extended_while_a_rival_waits(database: Database, clock) -> tuple[Reservation, Reservation]:
    """A extends at the last moment; B, who saw A's time run out, waits for A's row."""
    shop = await open_shop(database, rules={"price": None})
    held = await shop.held(hold_seconds=600)
    await clock.shift(timedelta(seconds=599))
    locked, go = asyncio.Event(), asyncio.Event()

    async def extend_slowly(tx: Tx) -> None:
        assert isinstance(await extend(tx, held.id, shop.world.limits), Reservation)
        locked.set()
        await go.wait()

    extending = asyncio.create_task(database.run(extend_slowly))
    await locked.wait()
    await clock.shift(timedelta(seconds=2))
    rival = asyncio.create_task(shop.reserve())
    await asyncio.sleep(0.3)
    go.set()
    await extending
    return await shop.read(held.id), await rival


async def test_an_extension_in_flight_is_not_expired(database: Database, clock) -> None:
    mine, rival = await extended_while_a_rival_waits(database, clock)
    assert mine.status is Status.HELD
    assert not isinstance(rival, Reservation)


async def test_an_extension_in_flight_is_lost_without_the_second_look(
    database: Database, clock, break_functions
) -> None:
    await break_functions((RECHECK, NO_RECHECK))
    _, rival = await extended_while_a_rival_waits(database, clock)
    assert isinstance(rival, Reservation)


async def taken_after_the_clock_stepped_back(database: Database, clock) -> tuple[Reservation, Reservation]:
    """The end of one hold was seen on this host; the clock steps back before another one's, whose time is asked for."""
    shop = await open_shop(database, rules={"price": None})
    await shop.held(shop.slot(9), hold_seconds=60)
    later = await shop.held(shop.slot(11), hold_seconds=65)
    await clock.shift(timedelta(seconds=70))
    await shop.held(shop.slot(9))
    await clock.shift(timedelta(seconds=-8))
    rival = await shop.held(shop.slot(11))
    return await shop.read(later.id), rival


async def test_an_end_that_was_seen_is_written_down_by_whoever_takes_the_time(
    database: Database, clock
) -> None:
    lost, rival = await taken_after_the_clock_stepped_back(database, clock)
    assert [lost.status, rival.status] == [Status.EXPIRED, Status.HELD]


async def reserved_behind_an_end_that_was_seen(database: Database, clock) -> object:
    """The clock steps back by a minute, behind the end of a hold; another time of the same host is asked for."""
    shop = await open_shop(database, rules={"price": None})
    await shop.held(shop.slot(9), hold_seconds=60)
    await clock.shift(timedelta(seconds=70))
    await shop.held(shop.slot(9))
    await clock.shift(timedelta(seconds=-60))
    # Where nobody knows yet by what clock the offer was read.
    world = msgspec.structs.replace(shop.world, offers=Offers(database))
    return await replace(shop, world=world).reserve(shop.slot(11))


async def test_a_clock_that_stepped_back_closes_nobody(database: Database, clock) -> None:
    assert isinstance(await reserved_behind_an_end_that_was_seen(database, clock), Reservation)


async def test_it_would_where_decisions_are_held_against_ends(
    database: Database, clock, break_functions
) -> None:
    await break_functions(DECIDED_BY_ENDS)
    with pytest.raises(Busy):
        await reserved_behind_an_end_that_was_seen(database, clock)


async def test_two_hold_one_time_where_ends_go_by_the_clock_alone(
    database: Database, clock, break_functions
) -> None:
    await break_functions(("and live_until <= greatest(p_now, newest_end)", BY_CLOCK))
    lost, rival = await taken_after_the_clock_stepped_back(database, clock)
    assert [lost.status, rival.status] == [Status.HELD, Status.HELD]


async def pay_both(shop: Shop) -> list[Reservation]:
    """Two holds on one slot (their locks were broken), both paid."""
    assert await herd(shop, 50) > 1
    async with shop.database.statement() as tx:
        rows = await tx.rows("select id from reservation where status = 'held' order by id limit 2")
    held = [await shop.read(row["id"]) for row in rows]
    payments = [await shop.checkout(one) for one in held]
    for payment in payments:
        shop.provider.authorize(payment.provider_ref)
        await advance.advance(shop.world, payment.id)
    await shop.work()
    return [await shop.read(one.id) for one in held]


async def test_the_constraint_has_the_last_word_before_money_moves(
    database: Database, break_functions
) -> None:
    await break_functions(NO_LOCKS, SLOWLY)
    shop = await open_shop(database)
    first, second = await pay_both(shop)
    assert [first.status, second.status] == [Status.CONFIRMED, Status.EXPIRED]
    async with database.statement() as tx:
        row = await tx.row("select * from payment where reservation_id = $1", second.id)
    assert (row["status"], row["captured_minor"]) == (PaymentStatus.VOIDED, 0)


async def test_two_are_confirmed_without_the_constraint(
    database: Database, break_functions, drop_constraint
) -> None:
    await break_functions(NO_LOCKS, SLOWLY)
    await drop_constraint("claim", "a_host_is_in_one_place")
    shop = await open_shop(database)
    first, second = await pay_both(shop)
    assert [first.status, second.status] == [Status.CONFIRMED, Status.CONFIRMED]


async def paid_as_the_clock_strikes(database: Database, clock) -> Late | None:
    """The deadline passes while the advance waits for the row, which a rolled-back transaction holds."""
    shop = await open_shop(database, rules={"late_payment": "return"})
    held = await shop.held(hold_seconds=300)
    payment = await shop.checkout(held)
    shop.provider.authorize(payment.provider_ref)
    await clock.shift(timedelta(seconds=299))
    locked, go = asyncio.Event(), asyncio.Event()

    async def hold_the_row(tx: Tx) -> None:
        await tx.execute("select from reservation where id = $1 for update", held.id)
        locked.set()
        await go.wait()
        raise RuntimeError("rolled back")

    holding = asyncio.create_task(database.run(hold_the_row))
    await locked.wait()
    paying = asyncio.create_task(advance.advance(shop.world, payment.id))
    await asyncio.sleep(0.3)
    await clock.shift(timedelta(seconds=2))
    go.set()
    with pytest.raises(RuntimeError):
        await holding
    _, paid = await paying
    return paid.late


async def test_late_by_the_clock_after_the_lock(database: Database, clock) -> None:
    assert await paid_as_the_clock_strikes(database, clock) is Late.VOIDED


async def test_late_goes_unnoticed_by_a_clock_before_the_lock(
    database: Database, clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The twin asks for the time as transactions do it with now(): when they begin."""

    async def frozen(tx: Tx):
        return await tx.value(
            "select date_trunc('milliseconds', now() + (select shift from test_clock_at_start))"
        )

    async with database.statement() as tx:
        await tx.execute("create table test_clock_at_start as select interval '299 seconds' as shift")
    monkeypatch.setattr(Tx, "now", frozen)
    try:
        assert await paid_as_the_clock_strikes(database, clock) is None
    finally:
        async with database.statement() as tx:
            await tx.execute("drop table test_clock_at_start")
