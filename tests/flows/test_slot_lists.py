# SPDX-License-Identifier: Apache-2.0
"""A slot list that was kept says what one made now would say, whatever happened in between."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from holdfirst.effects import slot_lists
from holdfirst.flows.list_slots import Offered, SlotQuery, list_slots
from holdfirst.refusal import Code
from holdfirst.reservation.reservation import Reservation
from holdfirst.store import catalog
from holdfirst.store.catalog import TimeMark
from holdfirst.store.database import Database
from holdfirst.store.together import CALLS_MAX
from shop import Shop, open_shop


def the_day(shop: Shop) -> SlotQuery:
    return SlotQuery(start=shop.slot(0), end=shop.slot(0) + timedelta(days=1))


async def kept(shop: Shop) -> Offered:
    found = await shop.world.slot_lists.ask(shop.account_id, shop.event_type_id, the_day(shop))
    assert isinstance(found, Offered)
    return found


async def made_now(shop: Shop) -> Offered:
    found = await shop.database.single(list_slots, shop.account_id, shop.event_type_id, the_day(shop))
    assert isinstance(found, Offered)
    return found


async def test_it_is_kept_while_nothing_changes(database: Database) -> None:
    shop = await open_shop(database)
    first = await kept(shop)
    assert await kept(shop) is first
    assert isinstance(await shop.reserve(shop.slot(9)), Reservation)
    assert await kept(shop) is not first


def changes(shop: Shop, clock) -> dict[str, Callable[[random.Random], Awaitable[object]]]:
    """What may happen to a day: by verbs, by the clock, by whoever writes into the database."""
    host = shop.hosts[0]

    async def sql(statement: str, *values: object) -> None:
        async with shop.database.statement() as tx:
            await tx.execute(statement, *values)

    async def reserve(luck: random.Random) -> None:
        await shop.reserve(shop.slot(luck.randrange(6, 18)), hold_seconds=luck.choice((30, 600)))

    async def block(luck: random.Random) -> None:
        start = shop.slot(luck.randrange(6, 18))
        async with shop.database.statement() as tx:
            end = start + timedelta(minutes=luck.choice((10, 90)))
            await catalog.put_busy(tx, shop.account_id, host, str(luck.randrange(3)), start, end)

    return {
        "reserve": reserve,
        "block": block,
        "unblock": lambda luck: sql("delete from busy where key = $1", str(luck.randrange(3))),
        "wait": lambda luck: clock.shift(timedelta(seconds=luck.choice((1, 29, 31, 300)))),
        "extend": lambda _: sql(
            "update claim set live_until = live_until + interval '20 seconds' where live_until < 'infinity'"
        ),
        "end": lambda _: sql(
            "delete from claim where reservation_id = (select min(reservation_id) from claim)"
        ),
        "hours": lambda luck: sql(
            "update host set schedule = jsonb_set(schedule, '{weekly,0,end}', to_jsonb($1::text))",
            luck.choice(("15:00", "17:00")),
        ),
        "rules": lambda luck: sql(
            "update event_type set rules = rules || jsonb_build_object('notice_minutes', $1::integer)",
            luck.choice((0, 60)),
        ),
    }


@pytest.mark.parametrize("seed", range(8))
async def test_it_says_what_one_made_now_would_say(database: Database, clock, seed: int) -> None:
    luck, shop = random.Random(seed), await open_shop(database)
    verbs = changes(shop, clock)
    for _ in range(40):
        name = luck.choice(list(verbs))
        await verbs[name](luck)
        assert (await kept(shop)).slots == (await made_now(shop)).slots, name


async def test_without_the_mark_it_grows_old(database: Database, monkeypatch) -> None:
    """The twin: an unmarked list goes on telling of time that is taken."""

    async def always_the_same(*_: object) -> tuple[TimeMark, object]:
        offer = (await made_now(shop)).offer
        return TimeMark(offer.catalog, 0), offer.now

    shop = await open_shop(database)
    monkeypatch.setattr(slot_lists, "mark_of", always_the_same)
    first = await kept(shop)
    await shop.reserve(shop.slot(9))
    assert await kept(shop) is first
    assert first.slots != (await made_now(shop)).slots


async def test_those_who_ask_the_same_share_one_answer(database: Database, monkeypatch) -> None:
    shop, made = await open_shop(database), []
    slots_of = slot_lists.slots_of

    async def counted(*arguments):
        made.append(arguments)
        return await slots_of(*arguments)

    monkeypatch.setattr(slot_lists, "slots_of", counted)
    asked = [shop.world.slot_lists.ask(shop.account_id, shop.event_type_id, the_day(shop)) for _ in range(50)]
    answers = await asyncio.gather(*asked)
    assert len({id(one) for one in answers}) == len(made) <= CALLS_MAX


async def test_those_who_lose_one_slot_share_one_refusal(database: Database) -> None:
    shop = await open_shop(database)
    await shop.reserve(shop.slot(9))
    asked = [shop.reserve(shop.slot(9)) for _ in range(50)]
    told = await asyncio.gather(*asked)
    assert {one.code for one in told} == {Code.SLOT_TAKEN}
    assert len({id(one) for one in told}) < len(told) / 2
    starts = [one["start"] for one in told[0].members["slots"]]
    assert shop.slot(9) not in starts and shop.slot(10) in starts
    await shop.reserve(shop.slot(10))
    later = await shop.reserve(shop.slot(9))
    assert shop.slot(10) not in [one["start"] for one in later.members["slots"]]
