# SPDX-License-Identifier: Apache-2.0
"""The claim, item by item and one call at a time: what stands in the way, who is chosen, and what items of one call are to each
other. Whether it holds against others at the same time is tried in tests/races.
"""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from conftest import Clock
from holdfirst import ids
from holdfirst.reservation.reservation import Status
from holdfirst.store import catalog, idempotency, reservations
from holdfirst.store.database import Database, Tx
from holdfirst.store.reservations import Taken
from shop import Shop, open_shop

HOUR = timedelta(hours=1)
Wish = dict[str, Any]


async def call(shop: Shop, *wishes: Wish) -> list[Taken]:
    """One call; a wish names what is not as usual: `hour` and `day` say when."""
    async with shop.database.transaction() as tx:
        offer = await catalog.load_offer(tx, shop.account_id, shop.event_type_id)
        assert offer is not None
        usual = {"account_id": shop.account_id, "catalog": offer.catalog, "decided_at": await tx.now()}
        return await reservations.reserve(tx, [_item(shop, usual | wish) for wish in wishes])


def _item(shop: Shop, wish: Wish) -> dict[str, Any]:
    start = shop.slot(wish.get("hour", 9), wish.get("day", 7))
    return {
        "locks": [],
        "id": ids.make("res"),
        "livemode": False,
        "event_type_id": shop.event_type_id,
        "hosts": shop.hosts,
        "all_hosts": False,
        "start": start,
        "end": start + HOUR,
        "starts_at": start,
        "ends_at": start + HOUR,
        "buffer_before_minutes": 0,
        "buffer_after_minutes": 0,
        "seats": 1,
        "seats_max": 1,
        "hold_seconds": 600,
        "price_minor": None,
        "currency": None,
        "payees": {},
        "customer": {},
        "guests": [],
        "answers": {},
        "metadata": {},
        "holder_address": None,
        "holder_email": None,
    } | wish


async def outcomes(shop: Shop, *wishes: Wish) -> list[str]:
    return [one.outcome for one in await call(shop, *wishes)]


async def chosen(shop: Shop, **wish: Any) -> list[int]:
    """Which of the hosts, by number; none where it is refused."""
    [taken] = await call(shop, wish)
    return [shop.hosts.index(host) for host in taken.hosts or ()]


async def sql(shop: Shop, statement: str, *values: object) -> None:
    async with shop.database.statement() as tx:
        await tx.execute(statement, *values)


# What it was decided on


async def test_what_was_decided_by_another_clock_or_catalog_is_looked_at_again(database: Database) -> None:
    shop = await open_shop(database)

    async def decided(seconds: int, changes: int = 0) -> str:
        async with database.statement() as tx:
            now: datetime = await tx.now()
            version = await tx.value("select catalog_version from account where id = $1", shop.account_id)
        key = {"scope": "s", "key": "k", "fingerprint": ""}
        wish = {"decided_at": now + timedelta(seconds=seconds), "catalog": version - changes}
        return (await outcomes(shop, key | wish))[0]

    assert await decided(0, changes=1) == "look_again"
    assert await decided(10) == "look_again"
    assert await decided(-10) == "look_again"
    # Nor was the key used by any of them.
    assert await decided(0) == "held"
    assert await decided(0) == "replay"


async def test_a_hold_begins_after_the_ends_that_were_seen(database: Database) -> None:
    shop = await open_shop(database)
    await sql(shop, "update host set newest_end = the_clock() + interval '60 seconds'")
    async with database.statement() as tx:
        seen = await tx.value("select newest_end from host")
    [taken] = await call(shop, {})
    assert (taken.created_at, taken.held_until) == (seen, seen + timedelta(seconds=600))


# What stands in the way


async def test_neighbours_are_in_nobodys_way(database: Database) -> None:
    shop = await open_shop(database)
    await call(shop, {"hour": 8}, {"hour": 10})
    for key, hour in (("before", 11), ("after", 13)):
        await sql(
            shop,
            "insert into busy (account_id, host_id, key, starts_at, ends_at) values ($1, $2, $3, $4, $5)",
            shop.account_id,
            shop.hosts[0],
            key,
            shop.slot(hour),
            shop.slot(hour) + HOUR,
        )
    assert await outcomes(shop, *({"hour": hour} for hour in range(8, 15))) == [
        *("taken", "held", "taken", "taken", "held", "taken", "held")
    ]


async def test_what_is_over_and_not_in_the_way_is_left_alone(database: Database, clock: Clock) -> None:
    """Whoever does not need it locks no row of it."""
    shop = await open_shop(database)
    held = {hour: await shop.held(shop.slot(hour), hold_seconds=60) for hour in (8, 9, 10)}
    await clock.shift(timedelta(seconds=61))
    assert await outcomes(shop, {}) == ["held"]
    async with database.statement() as tx:
        rows = {row["id"]: row["status"] for row in await tx.rows("select id, status from reservation")}
    assert [rows[held[hour].id] for hour in (8, 9, 10)] == ["held", "expired", "held"]


CLOSING = "update reservation set status = 'processing', cause = 'close', processing_until = held_until"


@pytest.mark.parametrize(
    ("was", "ends"), [("", ("expired", "hold_expired")), (CLOSING, ("released", "released"))]
)
async def test_how_what_is_in_the_way_has_ended(
    database: Database, clock: Clock, was: str, ends: tuple[str, str]
) -> None:
    """When its time was up; a hold that somebody had given up, and that waited for its checkout to be closed, is given up."""
    shop = await open_shop(database)
    held = await shop.held(hold_seconds=60)
    if was:
        await sql(shop, was)
    await clock.shift(timedelta(seconds=90))
    assert await outcomes(shop, {}) == ["held"]
    ended = (await shop.read(held.id)).ended
    assert ended is not None
    assert ((await shop.read(held.id)).status, ended.code, ended.at) == (*ends, held.held_until)
    async with database.statement() as tx:
        # No clock that steps back makes it live again.
        assert await tx.value("select newest_end from host") >= held.held_until


async def test_who_moves_is_ended_by_nobody_but_its_own_verb(database: Database, clock: Clock) -> None:
    shop = await open_shop(database)
    held = await shop.held(hold_seconds=60)
    await clock.shift(timedelta(seconds=61))
    async with database.transaction() as tx:
        await reservations.lock_hosts(tx, shop.hosts)
        assert await tx.value(
            "select take_time($1, $2, $3, $4, at, at, at + interval '1 hour', 1, 1, at, false)"
            " from (select $5::timestamptz as at) one",
            shop.account_id,
            held.id,
            shop.event_type_id,
            shop.hosts,
            held.start,
        )
    async with database.statement() as tx:
        assert await tx.value("select status from reservation") == Status.HELD


async def test_who_moves_by_less_than_its_length_is_not_in_its_own_way(database: Database) -> None:
    shop = await open_shop(database)
    held = await shop.held()
    await call(shop, {"hour": 11})

    async def moved(by: timedelta) -> bool:
        async with database.transaction() as tx:
            await reservations.lock_hosts(tx, shop.hosts)
            found: bool = await tx.value(
                "select take_time($1, $2, $3, $4, at, at, at + interval '1 hour', 1, 1, 'infinity', false)"
                " from (select $5::timestamptz as at) one",
                shop.account_id,
                held.id,
                shop.event_type_id,
                shop.hosts,
                held.start + by,
            )
            return found

    assert [await moved(HOUR * halves / 2) for halves in (1, 2, 3)] == [True, True, False]


# One of several hosts, or all


async def test_all_of_several_or_none(database: Database) -> None:
    shop = await open_shop(database, hosts=2)
    assert await chosen(shop, hosts=shop.hosts[1:]) == [1]
    assert await chosen(shop, all_hosts=True) == []
    assert await chosen(shop, all_hosts=True, hour=11) == [0, 1]
    assert await chosen(shop, hour=12) == [0]
    # The same where it has to be weighed what items before have taken.
    seen = {"hosts": shop.hosts[1:], "hour": 14}
    assert await outcomes(shop, seen, {"all_hosts": True, "hour": 14}) == ["held", "taken"]
    [_, both] = await call(shop, seen | {"hour": 15}, {"all_hosts": True, "hour": 16})
    assert both.hosts == shop.hosts


@pytest.mark.parametrize(
    ("given", "who"),
    [
        ([], 0),
        ([(0, 7, 12)], 1),
        ([(1, 7, 12)], 0),
        ([(0, 7, 12), (1, 7, 12), (1, 7, 14)], 0),
        ([(1, 7, 12), (1, 7, 14), (0, 7, 12)], 0),
        # Only the week before and the week after count.
        ([(0, 1, 7)], 0),
        ([(0, 1, 12), (1, 15, 12)], 1),
        ([(0, 13, 12), (1, 15, 12)], 1),
        ([(1, 1, 12), (0, 15, 12)], 0),
        # As many: who was given something longest ago.
        ([(0, 7, 12), (1, 7, 13)], 0),
        ([(1, 7, 12), (0, 7, 13)], 1),
        ([(1, 7, 13), (0, 7, 12)], 1),
    ],
)
async def test_the_fairest_is_chosen(database: Database, given: list[tuple[int, int, int]], who: int) -> None:
    """`given`: to which host, on which day ahead and at what hour; in this order. Asked for is the eighth day ahead."""
    shop = await open_shop(database, hosts=2)
    for host, day, hour in given:
        assert await chosen(shop, hosts=[shop.hosts[host]], day=day, hour=hour) == [host]
    assert await chosen(shop, day=8) == [who]


async def test_what_has_lapsed_is_no_load(database: Database, clock: Clock) -> None:
    shop = await open_shop(database, hosts=2)
    assert await chosen(shop, hour=12, hold_seconds=6000) == [0]
    assert await chosen(shop, hour=13) == [1]
    await clock.shift(timedelta(seconds=601))
    assert await chosen(shop) == [1]


async def test_who_is_paid_goes_by_the_host_that_was_chosen(database: Database) -> None:
    shop = await open_shop(database, hosts=2)
    payees = {host: f"pac_{number}" for number, host in enumerate(shop.hosts)}
    await call(shop, {"payees": payees}, {"payees": payees, "hour": 11})
    async with database.statement() as tx:
        rows = await tx.rows("select hosts, payment_account_id as payee from reservation order by start")
    assert [(row["hosts"], row["payee"]) for row in rows] == [([host], payees[host]) for host in shop.hosts]


async def test_calendars_are_asked_where_the_host_that_was_chosen_has_any(database: Database) -> None:
    shop = await open_shop(database, hosts=2)
    asked = {"connected": shop.hosts[:1], "verdict": "pending", "attend_seconds": 30}
    await call(shop, asked, asked | {"hour": 11})
    async with database.statement() as tx:
        rows = await tx.rows(
            "select hosts, in_calendars, calendar_verdict, told from reservation order by start"
        )
        wished = await tx.value("select count(*) from job where kind = 'calendars'")
    assert [tuple(row) for row in rows] == [
        ([shop.hosts[0]], True, "pending", False),
        ([shop.hosts[1]], False, None, True),
    ]
    assert wished == 1


# Items of one call


async def test_an_item_sees_what_an_earlier_one_of_its_call_has_taken(database: Database) -> None:
    shop = await open_shop(database, hosts=2)
    first, other = ({"hosts": [host]} for host in shop.hosts)
    assert await outcomes(shop, first, first, other, {}, {"hour": 11}, {"hour": 11}, {"hour": 11}) == [
        *("held", "taken", "held", "taken", "held", "held", "taken")
    ]
    async with database.statement() as tx:
        assert await tx.value("select count(*) from claim") == 4


async def test_seats_of_one_sitting_are_given_once_each(database: Database) -> None:
    shop = await open_shop(database)
    party = {"seats_max": 3}
    asked = [party | {"seats": seats} for seats in (1, 2, 1)]
    assert await outcomes(shop, *asked[:1]) == ["held"]
    assert await outcomes(shop, *asked[1:]) == ["held", "taken"]
    # Who comes by another event type, or begins elsewhere, does not sit with them.
    assert await outcomes(shop, {"event_type_id": "ety_other"} | party, party | {"hour": 10}) == [
        "taken",
        "held",
    ]
    async with database.statement() as tx:
        seats = await tx.value("select range_agg(places)::text from claim where start = $1", shop.slot(9))
    assert seats == "{[1,4)}"


@pytest.mark.parametrize("of_what", ["address", "email"])
async def test_holds_of_one_call_are_counted_with_those_before(database: Database, of_what: str) -> None:
    shop = await open_shop(database, hosts=3)
    other = "email" if of_what == "address" else "address"
    mine = {f"holder_{of_what}": "aa", f"{of_what}_max": 2, f"{other}_max": 9}

    def asks(*hours: int, **more: Any) -> list[Wish]:
        # An address is told of everybody who is counted.
        return [
            {"holder_address": f"{hour:02x}", "hosts": [shop.hosts[hour % 3]], "hour": hour} | mine | more
            for hour in hours
        ]

    assert await outcomes(shop, *asks(8, 9, 10)) == ["held", "held", "too_many_holds"]
    assert await outcomes(shop, *asks(10)) == ["too_many_holds"]
    # Nobody else is counted, nor is anybody where there is no bound.
    assert await outcomes(shop, *asks(10, **{f"holder_{of_what}": "bb"})) == ["held"]
    assert await outcomes(shop, *asks(11, **{f"{of_what}_max": 0})) == ["held"]
    assert await outcomes(shop, *asks(12, holder_address=None)) == ["held"]


async def test_who_gave_no_email_is_not_counted_by_it(database: Database) -> None:
    shop = await open_shop(database, hosts=3)
    asked = [
        {"hosts": [host], "holder_address": f"{number:02x}", "address_max": 9, "email_max": 1}
        for number, host in enumerate(shop.hosts)
    ]
    assert await outcomes(shop, *asked) == ["held"] * 3


@pytest.mark.parametrize("of_what", ["address", "email"])
@pytest.mark.parametrize(
    "freed",
    [
        "update reservation set account_id = 'acc_another'",
        "update reservation set held_until = the_clock(), created_at = the_clock() - interval '1 minute'",
        "update reservation set status = 'released', ended_at = the_clock(), ended_by = 'account'",
    ],
)
async def test_only_live_holds_of_the_account_are_counted(
    database: Database, of_what: str, freed: str
) -> None:
    shop = await open_shop(database)
    mine = {
        "holder_address": "00",
        f"holder_{of_what}": "aa",
        "address_max": 9,
        "email_max": 9,
        f"{of_what}_max": 1,
    }
    assert await outcomes(shop, mine, mine | {"hour": 10}) == ["held", "too_many_holds"]
    await sql(shop, freed)
    assert await outcomes(shop, mine | {"hour": 10}) == ["held"]


# So many a day


async def test_a_day_is_full_of_its_own_kind(database: Database) -> None:
    shop = await open_shop(database, hosts=2)
    host = {"hosts": shop.hosts[:1]}
    day = {"day_max": 1, "day_from": [shop.slot(0)] * 2, "day_to": [shop.slot(0, 8)] * 2}
    # The evening before until past midnight, the morning after, and another kind of the same day.
    late = {"day": 6, "hour": 23, "ends_at": shop.slot(0) + HOUR / 2}
    for one in (late, {"day": 8, "hour": 0}, {"event_type_id": "ety_other", "hour": 7}):
        assert await outcomes(shop, host | one) == ["held"]
    assert await outcomes(shop, host | day | {"hour": 9}, host | day | {"hour": 11}) == ["held", "day_full"]
    assert await outcomes(shop, host | day | {"hour": 12}) == ["day_full"]
    # Of two, the one may be taken and the other's day full: there is time again sooner than that.
    assert await outcomes(shop, {"hosts": shop.hosts[1:], "hour": 11}) == ["held"]
    assert await outcomes(shop, day | {"hour": 11, "hosts": shop.hosts[::-1]}) == ["taken"]


# Keys


async def test_a_key_of_yesterday_is_a_fresh_one(database: Database, clock: Clock) -> None:
    shop = await open_shop(database)
    key = {"scope": "s", "key": "k", "fingerprint": ""}
    assert await outcomes(shop, key) == ["held"]
    await clock.shift(timedelta(hours=23))
    assert await outcomes(shop, key | {"hour": 11}) == ["replay"]
    await clock.shift(timedelta(hours=1, seconds=1))
    assert await outcomes(shop, key | {"hour": 11, "fingerprint": "ff"}) == ["held"]
    async with database.statement() as tx:
        latest = await tx.value("select max(id) from reservation")
    [again] = await call(shop, key | {"hour": 12, "fingerprint": "ff"})
    assert (again.outcome, again.result) == ("replay", {"id": latest})
    assert await outcomes(shop, key | {"hour": 12}) == ["reused"]


@pytest.mark.parametrize(("seconds", "again"), [(0, "replay"), (30, "in_progress")])
async def test_a_key_waits_for_calendars_where_its_request_does(
    database: Database, seconds: int, again: str
) -> None:
    shop = await open_shop(database)
    key = {"scope": "s", "key": "k", "fingerprint": ""}
    asked = key | {"connected": shop.hosts, "verdict": "pending", "attend_seconds": seconds}
    assert [await outcomes(shop, asked) for _ in range(2)] == [["held"], [again]]


async def test_a_key_is_one_requests_until_its_lease_is_over(database: Database, clock: Clock) -> None:
    async def begun(fingerprint: bytes = b"") -> str:
        answer = await database.run(idempotency.begin, "s", "k", fingerprint, timedelta(seconds=30))
        return answer[0]

    assert [await begun(), await begun(), await begun(b"other")] == ["fresh", "in_progress", "reused"]
    await clock.shift(timedelta(seconds=31))
    assert [await begun(), await begun()] == ["taken_up", "in_progress"]
    await database.run(idempotency.finish, "s", "k", 200, {"id": "x"})
    assert await begun() == "replay"


async def test_who_answers_or_gives_up_a_key_names_what_it_is_about(database: Database) -> None:
    """What was given up and begun again by somebody else is theirs."""
    mine, theirs = {"id": "mine"}, {"id": "theirs"}

    async def said(result: object, http_status: int | None = None) -> None:
        await database.run(idempotency.forget, "s", "k")
        await database.run(idempotency.begin, "s", "k", b"", timedelta(seconds=30))
        await database.run(idempotency.finish, "s", "k", http_status, result)  # type: ignore[arg-type]

    await said(theirs)
    assert not await database.run(idempotency.answer, "s", "k", 201, mine)
    assert not await database.run(idempotency.give_up, "s", "k", mine)
    assert await database.run(idempotency.answer, "s", "k", 201, theirs)
    assert not await database.run(idempotency.give_up, "s", "k", theirs), "it was answered"
    await said(mine)
    assert await database.run(idempotency.give_up, "s", "k", mine)
    assert not await database.run(idempotency.answer, "s", "k", 201, mine)


async def test_what_is_said_under_a_key_is_said_under_no_other(database: Database) -> None:
    said = {"id": "mine"}
    neighbours = [("s", "other"), ("other", "k")]

    async def open_ones(tx: Tx) -> list[tuple[str, str]]:
        rows = await tx.rows(
            "select scope, key from idempotency_key where http_status is null and result is not null"
        )
        return [(row["scope"], row["key"]) for row in rows]

    for end in (
        lambda tx: idempotency.finish(tx, "s", "k", 200, {"id": "other"}),
        lambda tx: idempotency.answer(tx, "s", "k", 201, said),
        lambda tx: idempotency.give_up(tx, "s", "k", said),
        lambda tx: idempotency.forget(tx, "s", "k"),
    ):
        for scope, key in (("s", "k"), *neighbours):
            await database.run(idempotency.forget, scope, key)
            await database.run(idempotency.begin, scope, key, b"", timedelta(seconds=30))
            await database.run(idempotency.finish, scope, key, None, said)  # type: ignore[arg-type]
        await database.run(end)
        assert sorted(await database.run(open_ones)) == sorted(neighbours)


# Locks


async def test_locks_are_taken_in_one_order_whatever_they_are_asked_in(database: Database) -> None:
    async with database.statement() as tx:
        names = [row["name"] for row in await tx.rows(
            "select name from unnest(array['a', 'b', 'c', 'd', 'e', 'f']) name order by hashtextextended(name, 0)"
        )]  # fmt: skip

    async def lock_all(tx: Tx) -> None:
        await tx.execute("select lock_names($1)", names[::-1])

    async with database.transaction() as tx:
        await tx.execute("select lock_names($1)", names[:1])
        waiting = asyncio.create_task(database.run(lock_all))
        await asyncio.sleep(0.1)
        for name in names[1:]:
            free = await tx.value("select pg_try_advisory_xact_lock(hashtextextended($1, 0))", name)
            assert free, "who waits for the first holds none of the others"
    await waiting
