# SPDX-License-Identifier: Apache-2.0
"""Reservations that go together in one call: each with an outcome of its own, and none at another's cost."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from holdfirst.effects.reserve import Made, reserve
from holdfirst.errors import Busy
from holdfirst.flows.keyed import Replay, RequestKey
from holdfirst.flows.reserve import ReserveRequest
from holdfirst.refusal import Code, Refusal
from holdfirst.reservation.reservation import Reservation
from holdfirst.store import reservations
from holdfirst.store.database import Database, Tx
from holdfirst.store.reservations import Taken
from holdfirst.store.together import CALLS_MAX, ITEMS_MAX, MANY, Together
from shop import CUSTOMER, Shop, open_shop


def request_for(shop: Shop, hour: int, **more: Any) -> ReserveRequest:
    return ReserveRequest(
        account_id=shop.account_id,
        event_type=shop.event_type_id,
        start=shop.slot(hour),
        customer=CUSTOMER,
        **more,
    )


async def test_one_call_has_many_outcomes(database: Database) -> None:
    shop = await open_shop(database)
    answers = await asyncio.gather(*(shop.reserve(shop.slot(hour)) for hour in (8, 9, 9, 10, 9, 11)))
    held = [one.start for one in answers if isinstance(one, Reservation)]
    # Who of the three at nine comes first is not ours to say: each asks for its payee on a connection of its own.
    assert sorted(held) == [shop.slot(hour) for hour in (8, 9, 10, 11)]
    assert {one.code for one in answers if isinstance(one, Refusal)} == {Code.SLOT_TAKEN}


async def test_calls_are_shared(database: Database) -> None:
    shop, sizes = await open_shop(database), []

    async def counted(tx: Tx, items: Sequence[dict[str, Any]]) -> list[Taken]:
        sizes.append(len(items))
        return await reservations.reserve(tx, items)

    shop.world.claims._ask_all = counted
    await asyncio.gather(*(shop.reserve(shop.slot(hour)) for hour in range(20)))
    assert sum(sizes) == 20
    assert len(sizes) < 10


async def test_an_item_that_raises_takes_nobody_with_it(database: Database) -> None:
    shop = await open_shop(database)
    ask_all = shop.world.claims._ask_all

    async def poisoned(tx: Tx, items: Sequence[dict[str, Any]]) -> Sequence[Taken]:
        if any(item["metadata"].get("poison") for item in items):
            raise ZeroDivisionError
        return await ask_all(tx, items)

    shop.world.claims._ask_all = poisoned
    answers = await asyncio.gather(
        *(shop.reserve(shop.slot(hour), metadata={"poison": hour == 7}) for hour in range(12)),
        return_exceptions=True,
    )
    assert isinstance(answers[7], ZeroDivisionError)
    assert all(isinstance(one, Reservation) for hour, one in enumerate(answers) if hour != 7)


async def test_one_key_is_one_reservation(database: Database) -> None:
    shop = await open_shop(database)
    key = RequestKey("scope", "key", b"same")
    asked = request_for(shop, 9)
    answers = await asyncio.gather(*(reserve(shop.world, asked, key) for _ in range(20)))
    made = [one.reservation.id for one in answers if isinstance(one, Made)]
    assert len(made) == 1
    assert all(one.result == {"id": made[0]} for one in answers if isinstance(one, Replay))
    other = await reserve(shop.world, request_for(shop, 10), RequestKey("scope", "key", b"other"))
    assert isinstance(other, Refusal)
    assert other.code is Code.IDEMPOTENCY_KEY_REUSED


async def test_a_refusal_keeps_no_key(database: Database) -> None:
    shop = await open_shop(database)
    key = RequestKey("scope", "key", b"same")
    await shop.held()
    assert isinstance(await reserve(shop.world, request_for(shop, 9), key), Refusal)
    assert isinstance(await reserve(shop.world, request_for(shop, 10), key), Made)


async def test_a_replay_is_found_when_the_slot_is_out_of_the_rules(database: Database, clock) -> None:
    shop = await open_shop(database, rules={"notice_minutes": 60})
    key = RequestKey("scope", "key", b"same")
    soon = request_for(shop, 9).start - timedelta(days=6)
    asked = ReserveRequest(account_id=shop.account_id, event_type=shop.event_type_id, start=soon)
    made = await reserve(shop.world, asked, key)
    assert isinstance(made, Made)
    async with database.statement() as tx:
        now = await tx.now()
    await clock.shift(min(timedelta(hours=23), soon - now - timedelta(minutes=30)))
    again = await reserve(shop.world, asked, key)
    assert isinstance(again, Replay)
    assert again.result == {"id": made.reservation.id}


class Straight:
    """A database that is quick unless a call is held up: it notes what went together, and how much at once."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.gates: dict[int, asyncio.Event] = {}
        self.at_once = self.most = 0

    async def single(self, ask_all: Any, items: list[int]) -> Any:
        self.calls.append(items)
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            await asyncio.sleep(0)
            for one in items:
                if one in self.gates:
                    await self.gates[one].wait()
            return await ask_all(None, items)
        finally:
            self.at_once -= 1


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """No call counts as slow, however busy this machine is."""
    monkeypatch.setattr("holdfirst.store.together.SLOW_SECONDS", 60.0)


async def doubled(_: Tx, items: Sequence[int]) -> list[int]:
    return [2 * item for item in items]


async def asked(together: "Together[int, int]", *items: int) -> list[asyncio.Task[int]]:
    """What was asked, as far as it goes by itself."""
    tasks = [asyncio.create_task(together.ask(one)) for one in items]
    for _ in range(20):
        await asyncio.sleep(0)
    return tasks


async def test_a_slow_call_does_not_hold_up_the_others() -> None:
    """One call waits for somebody's lock; who comes later goes beside it."""
    there = Straight()
    together: Together[int, int] = Together(there, doubled)
    gate = there.gates[1] = asyncio.Event()
    [stuck] = await asked(together, 1)
    assert await asyncio.wait_for(together.ask(2), 5) == 4
    assert not stuck.done()
    gate.set()
    assert await stuck == 2


@pytest.mark.parametrize("count", [1, 64, 200])
async def test_answers_keep_their_order(count: int) -> None:
    """However many go together: no more than a call may hold."""
    there = Straight()
    together: Together[int, int] = Together(there, doubled)
    answers = await asyncio.gather(*(together.ask(number) for number in range(count)))
    assert answers == [2 * number for number in range(count)]
    assert max(len(items) for items in there.calls) <= ITEMS_MAX


@pytest.mark.usefixtures("unhurried")
async def test_few_wait_for_the_call_that_is_on_its_way_and_many_go_beside_it() -> None:
    there = Straight()
    together: Together[int, int] = Together(there, doubled)
    gate = there.gates[0] = asyncio.Event()
    first = await asked(together, 0)
    few = await asked(together, *range(1, MANY))
    assert there.calls == [[0]]
    many = await asked(together, MANY)
    assert there.calls == [[0], list(range(1, MANY + 1))]
    gate.set()
    assert await asyncio.gather(*first, *few, *many) == [2 * one for one in range(MANY + 1)]


@pytest.mark.usefixtures("unhurried")
async def test_no_more_calls_at_once_than_there_may_be() -> None:
    there = Straight()
    together: Together[int, int] = Together(there, doubled)
    gate = asyncio.Event()
    there.gates = dict.fromkeys(range(1000), gate)
    tasks = [
        one
        for call in range(CALLS_MAX + 2)
        for one in await asked(together, *range(call * MANY, call * MANY + MANY))
    ]
    assert len(there.calls) == CALLS_MAX
    gate.set()
    await asyncio.gather(*tasks)
    assert there.most == CALLS_MAX


@pytest.mark.usefixtures("unhurried")
async def test_what_must_be_apart_is_and_what_need_not_goes_together() -> None:
    there = Straight()
    together: Together[int, int] = Together(there, doubled, apart=lambda one: one % 10 or None)
    answers = await asyncio.gather(*(together.ask(one) for one in (9, 1, 11, 2, 20, 30, 12, 21)))
    assert answers == [18, 2, 22, 4, 40, 60, 24, 42]
    # The first goes at once, alone.
    assert there.calls == [[9], [1, 2, 20, 30], [11, 12], [21]]


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize("fails", [False, True])
async def test_who_asked_and_left_takes_nobody_along(fails: bool) -> None:
    async def answered(_: Tx, items: Sequence[int]) -> list[int]:
        if fails and 1 in items:
            raise Busy("somebody's lock")
        return list(items)

    there = Straight()
    together: Together[int, int] = Together(there, answered)
    gate = there.gates[0] = asyncio.Event()
    first = await asked(together, 0)
    gone, stays = await asked(together, 1, 2)
    there.gates[1] = asyncio.Event()
    gate.set()
    await asyncio.gather(*first)
    await asked(together)
    assert there.calls[-1] == [1, 2]
    gone.cancel()
    there.gates[1].set()
    assert await asyncio.wait_for(stays, 5) == 2
    assert await asyncio.wait_for(together.ask(3), 5) == 3


async def test_holds_of_the_same_call_are_counted_once(database: Database) -> None:
    """Also where some of them had to be written before the others, for an item that looks at their host."""
    shop = await open_shop(database, rules={"price": None})
    limits = msgspec.structs.replace(shop.world.limits, holds_per_email_max=3)
    shop = replace(shop, world=msgspec.structs.replace(shop.world, limits=limits))
    same = {"by_publishable_key": True, "holder_address": b"a", "holder_email": b"e"}
    # What is offered is known from here on, and nobody is to be paid: the five ask in their order.
    assert isinstance(await reserve(shop.world, request_for(shop, 13)), Made)
    answers = await asyncio.gather(
        *(reserve(shop.world, request_for(shop, hour, **same)) for hour in (8, 9, 9, 10, 11))
    )
    told = [one.code if isinstance(one, Refusal) else "held" for one in answers]
    assert told == ["held", "held", Code.SLOT_TAKEN, "held", Code.TOO_MANY_HOLDS]


async def changed_meanwhile(shop: Shop, sql: str) -> Made | Replay | Refusal:
    """A reservation decided on what is known, after somebody else's change that nobody told us of."""
    assert isinstance(await reserve(shop.world, request_for(shop, 8)), Made)
    async with shop.database.statement() as tx:
        await tx.execute(sql)
    assert shop.world.offers.known(shop.account_id, shop.event_type_id) is not None
    return await reserve(shop.world, request_for(shop, 9))


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("""update event_type set rules = rules || '{"active": false}'""", Code.EVENT_TYPE_INACTIVE),
        ("update event_type set deleted_at = the_clock()", Code.EVENT_TYPE_NOT_FOUND),
        ("update host set schedule = jsonb_set(schedule, '{weekly}', '[]')", Code.SLOT_NOT_OFFERED),
        ("update host set deleted_at = the_clock()", Code.SLOT_NOT_OFFERED),
    ],
)
async def test_what_changed_since_it_was_read_is_read_again(database: Database, sql: str, code: Code) -> None:
    answer = await changed_meanwhile(await open_shop(database), sql)
    assert isinstance(answer, Refusal) and answer.code is code


async def test_without_the_count_of_changes_what_is_known_is_believed(database: Database) -> None:
    """The twin of the one above."""
    sql = "update event_type set deleted_at = the_clock()"
    shop = await open_shop(database)
    async with database.statement() as tx:
        await tx.execute("alter table event_type disable trigger event_types_count_their_changes")
    try:
        assert isinstance(await changed_meanwhile(shop, sql), Made)
    finally:
        async with database.statement() as tx:
            await tx.execute("alter table event_type enable trigger event_types_count_their_changes")


async def test_what_is_known_is_forgotten_when_the_clock_has_moved(database: Database, clock) -> None:
    shop = await open_shop(database)
    assert isinstance(await reserve(shop.world, request_for(shop, 8)), Made)
    await clock.shift(shop.slot(9) - await database.single(Tx.now) - timedelta(seconds=1))
    assert isinstance(await reserve(shop.world, request_for(shop, 9)), Made)
    await clock.shift(timedelta(hours=1, seconds=2))
    answer = await reserve(shop.world, request_for(shop, 10))
    assert isinstance(answer, Refusal) and answer.code is Code.SLOT_NOT_OFFERED


async def test_a_host_seen_to_be_over_is_no_change(database: Database) -> None:
    """`newest_end` moves with every hold that lapses in somebody's way."""
    shop = await open_shop(database)
    offer = await shop.world.offers.read(shop.account_id, shop.event_type_id)
    async with database.statement() as tx:
        await tx.execute("update host set newest_end = the_clock()")
    again = await shop.world.offers.read(shop.account_id, shop.event_type_id)
    assert offer is not None and again is not None and offer.catalog == again.catalog
