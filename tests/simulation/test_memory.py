# SPDX-License-Identifier: Apache-2.0
"""The database in memory is held to PostgreSQL: the same random sequences of store calls, the same answers and rows."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import msgspec
import pytest
from msgspec.structs import replace

from conftest import TEST_CLOCK
from holdfirst.payment.money import Money
from holdfirst.payment.payment import Disposition, Mode, Payment, PaymentStatus
from holdfirst.payment.provider import CheckoutSpec
from holdfirst.payment.refund import Refund, RefundStatus
from holdfirst.reservation import lifecycle
from holdfirst.reservation.reservation import Ended, EndedBy, EndedCode, Reservation, Status, has_time
from holdfirst.store import catalog, idempotency, jobs, payees, payments, reservations
from holdfirst.store.database import Database
from holdfirst.store.jobs import Job
from holdfirst.store.reservations import TimeLost
from memory import Memory, MemoryTx, in_memory
from memory.calendar_events import _is_free
from memory.reservations import _find_time
from memory.tables import Broken
from races.exhaustive.mutants import without
from shop import Shop, open_shop
from simulation.calendar_calls import CalendarCalls

SEQUENCES, LENGTH = 200, 35
BEGIN = datetime.fromisoformat("2027-01-04T09:00:00+00:00")
FROZEN = """
create table if not exists test_moment (at timestamptz not null);
truncate test_moment;
insert into test_moment values ('2027-01-04T09:00Z');
create or replace function the_clock() returns timestamptz language sql volatile as
$$ select at from test_moment $$;
"""
KINDS = ["deadline", "advance", "close", "capture", "calendars"]
FIRST = BEGIN + timedelta(hours=30)
"""The earliest start."""
Step = Callable[[Any], Awaitable[Any]]


@pytest.fixture
async def frozen(database: Database) -> AsyncIterator[Database]:
    """A clock that stands still until it is moved: both databases must read the same."""
    connection = await database.connect()
    await connection.execute(FROZEN)
    yield database
    await connection.execute(TEST_CLOCK + "drop table test_moment")
    await connection.close()


class Both:
    """One sequence on both. An answer is what came back, or which constraint said no."""

    def __init__(self, shop: Shop, memory: Memory, seed: int) -> None:
        self.shop, self.memory = shop, memory
        self.random = random.Random(seed)
        self.seed = seed
        self.moment = BEGIN
        self.held: list[str] = []
        self.paid: list[str] = []
        self.claimed: list[tuple[Job, Job]] = []
        self.numbers = 0
        self.first = FIRST
        self.calendars = CalendarCalls(self)

    def name(self, prefix: str) -> str:
        self.numbers += 1
        return f"{prefix}_{self.seed:04}{self.numbers:022}"

    async def on_memory(self, step: Step) -> Any:
        tx = self.memory.begin()
        with in_memory():
            running = step(tx)
            try:
                running.send(None)  # type: ignore[attr-defined]
            except StopIteration as done:
                tx.commit()
                return done.value
            except TimeLost:
                return "a_host_is_in_one_place"
            except Broken as broken:
                return str(broken)
        raise AssertionError("memory does not wait here")

    async def on_postgres(self, step: Step) -> Any:
        try:
            async with self.shop.database.transaction() as tx:
                return await step(tx)
        except TimeLost:
            return "a_host_is_in_one_place"
        except asyncpg.IntegrityConstraintViolationError as error:
            return error.constraint_name

    async def same(self, what: str, step: Step) -> Any:
        ours, theirs = await self.on_memory(step), await self.on_postgres(step)
        assert ours == theirs, f"sequence {self.seed}, {what}:\n memory   {ours}\n postgres {theirs}"
        return theirs

    # Steps

    async def tick(self) -> None:
        self.moment += timedelta(seconds=self.random.choice((1, 30, 60, 300, 601)))
        async with self.shop.database.statement() as tx:
            await tx.execute("update test_moment set at = $1", self.moment)

    async def reserve(self) -> None:
        chance = self.random
        start = FIRST + chance.randrange(4) * timedelta(minutes=30)
        end = start + timedelta(hours=1)
        buffer = chance.choice((0, 0, 15))
        hosts = chance.sample(self.shop.hosts, chance.choice((1, 2)))
        item: dict[str, Any] = {
            "locks": [],
            "id": self.name("res"),
            "account_id": self.shop.account_id,
            "livemode": False,
            "catalog": self.memory.catalog_version,
            "decided_at": self.moment,
            "event_type_id": self.shop.event_type_id,
            "hosts": hosts,
            "all_hosts": chance.random() < 0.3,
            "start": start,
            "end": end,
            "starts_at": start - timedelta(minutes=buffer),
            "ends_at": end + timedelta(minutes=buffer),
            "buffer_before_minutes": buffer,
            "buffer_after_minutes": buffer,
            "seats": chance.choice((1, 1, 2)),
            "seats_max": chance.choice((1, 3)),
            "hold_seconds": chance.choice((60, 300, 900)),
            "price_minor": 6000,
            "currency": "EUR",
            "payees": dict.fromkeys(hosts, self.shop.payee_id),
            "customer": {},
            "guests": [],
            "answers": {},
            "metadata": {},
            "holder_address": None,
            "holder_email": None,
            "address_max": 0,
            "email_max": 0,
        }
        item["seats"] = min(item["seats"], item["seats_max"])
        if chance.random() < 0.3:
            item |= {
                "scope": "s",
                "key": f"k{chance.randrange(4)}",
                "fingerprint": chance.choice(("00", "01")),
            }
        if chance.random() < 0.5:
            item |= {
                "connected": chance.sample(self.shop.hosts, 1),
                "verdict": chance.choice((None, "pending")),
                "attend_seconds": chance.choice((0, 6)),
                "answer_seconds": chance.choice((0, 6)),
            }
        [taken] = await self.same("reserve", lambda tx: reservations.reserve(tx, [item]))
        if taken.outcome == "held":
            self.held.append(item["id"])

    async def change(self) -> None:
        """A row as one of the verbs would write it, whether or not the verb would."""
        name = self.random.choice(self.held)
        row = await self.same("load", lambda tx: reservations.load(tx, name))
        after = self._changed(row)
        await self.same("save", lambda tx: reservations.save(tx, after))

    def _changed(self, row: Reservation) -> Reservation:
        now = self.moment
        match self.random.randrange(7):
            case 6:
                return replace(row, **self.calendars.judged())
            case 0:
                return lifecycle.pin(row, "pay_1", now)
            case 1:
                return lifecycle.ended(row, Status.RELEASED, Ended(EndedBy.CUSTOMER, now, EndedCode.RELEASED))
            case 2:
                return lifecycle.ended(row, Status.EXPIRED, Ended(EndedBy.CLOCK, now, EndedCode.HOLD_EXPIRED))
            case 3:
                plain = replace(row, status=Status.CONFIRMED, cause=None, processing_until=None, ended=None)
                return replace(plain, paid_by=self.random.choice((None, "pay_1")), released_by=None)
            case 4 if row.status is Status.HELD:
                return lifecycle.closing_at_deadline(row, timedelta(seconds=600))
            case _:
                return replace(row, held_until=now + timedelta(seconds=self.random.choice((-7200, 60, 600))))

    async def retake(self) -> None:
        name = self.random.choice(self.held)
        row = await self.same("load", lambda tx: reservations.load(tx, name))
        until = self.random.choice((None, self.moment + timedelta(seconds=60)))

        async def step(tx: Any) -> bool:
            await reservations.lock_hosts(tx, row.hosts)
            seats = max(row.seats, 1)
            return await reservations.take_time(tx, row, row.hosts, seats_max=seats, live_until=until)

        if not has_time(row):
            await self.same("take_time", step)

    async def pay(self) -> None:
        name, reservation = self.name("pay"), self.random.choice(self.held)
        payment = Payment(
            id=name,
            account_id=self.shop.account_id,
            livemode=False,
            reservation_id=reservation,
            payment_account_id=self.shop.payee_id,
            provider="fake",
            mode=Mode.SALE,
            status=PaymentStatus.OPEN,
            amount=Money(6000, "EUR"),
            pay_before=self.moment,
            return_url="https://shop.example/done",
            created_at=self.moment,
        )
        spec = CheckoutSpec(
            key=name,
            frozen_at=self.moment,
            amount=payment.amount,
            mode=payment.mode,
            livemode=False,
            description="",
            pay_before=self.moment,
            return_url="",
            notification_url="",
        )
        if await self.same("insert", lambda tx: payments.insert(tx, payment, spec)) is None:
            self.paid.append(name)
            assert await self.same("spec_of", lambda tx: payments.spec_of(tx, name)) == spec

    async def change_payment(self) -> None:
        if not self.paid:
            return
        chance, name = self.random, self.random.choice(self.paid)
        row = await self.same("load", lambda tx: payments.load(tx, name))
        after = replace(
            row,
            status=chance.choice(list(PaymentStatus)),
            disposition=chance.choice((None, *Disposition)),
            provider_ref=chance.choice((None, "ref_1", f"ref_{name}")),
            captured_minor=chance.choice((0, 6000)),
            refund_due_minor=chance.choice((0, 3000)),
            refunded_minor=chance.choice((0, 6000)),
        )
        await self.same("save", lambda tx: payments.save(tx, after))
        await self.same("ask_now", lambda tx: payments.ask_now(tx, name, timedelta(seconds=31)))
        await self.same("by_ref", lambda tx: payments.by_ref(tx, row.payment_account_id, "ref_1"))
        await self.same("lock_all", lambda tx: payments.lock_all(tx, row.reservation_id))
        await self.same("can_bring_money", _can_bring_money)
        refund = Refund(
            id=self.name("rfd"),
            account_id=row.account_id,
            payment_id=name,
            amount_minor=1,
            created_at=self.moment,
            key="key",
        )
        await self.same("insert_refund", lambda tx: payments.insert_refund(tx, refund))
        for _ in range(2):
            least = timedelta(seconds=chance.choice((0, 40)))
            await self.same("mark", lambda tx, least=least: payments.mark_refund_sent(tx, refund.id, least))
        if chance.random() < 0.5:
            await self.same("taken", lambda tx: payments.mark_refund_taken(tx, refund.id))
        if chance.random() < 0.5:
            done = replace(refund, status=RefundStatus.DONE, sent=True, provider_ref=refund.id, key="key:2")
            await self.same("done", lambda tx: payments.save_refund(tx, done))
        await self.same("refunds_of", lambda tx: payments.refunds_of(tx, name))

    async def wish(self) -> None:
        chance = self.random
        kind, subject = chance.choice(KINDS), f"s{chance.randrange(3)}"
        due = self.moment + timedelta(seconds=chance.choice((-60, 0, 0, 60, 600)))
        lane = chance.choice((None, "one"))
        account = self.shop.account_id
        await self.same("enqueue", lambda tx: jobs.enqueue(tx, account, kind, subject, due=due, lane=lane))

    async def work(self) -> None:
        found: dict[bool, list[Job]] = {}

        async def claim(tx: Any) -> list[Job]:
            jobs_of = found[isinstance(tx, MemoryTx)] = sorted(
                await jobs.claim(tx, KINDS, timedelta(seconds=60), 100), key=lambda one: one.key
            )
            # Tokens only have to differ; each store has its own.
            return [msgspec.structs.replace(one, token=0) for one in jobs_of]

        await self.same("claim", claim)
        self.claimed += zip(found[True], found[False], strict=True)
        self.random.shuffle(self.claimed)
        if self.claimed:
            pair = self.claimed.pop()

            def job(tx: Any) -> Job:
                return pair[0] if isinstance(tx, MemoryTx) else pair[1]

            match self.random.randrange(4):
                case 0:
                    await self.same("finish", lambda tx: jobs.finish(tx, job(tx)))
                case 1:
                    later = self.moment + timedelta(seconds=60)
                    await self.same("snooze", lambda tx: jobs.snooze(tx, job(tx), later))
                case 2:
                    again = timedelta(seconds=30)
                    await self.same("retry", lambda tx: jobs.retry(tx, job(tx), again, "no"))
                case _:
                    await self.same("give_up", lambda tx: jobs.give_up(tx, job(tx), "no"))
        if self.random.random() < 0.1:
            await self.same("take_over", lambda tx: jobs.take_over(tx, KINDS[:2]))
        await self.same("seconds_to_next", lambda tx: jobs.seconds_to_next(tx, KINDS))

    async def key(self) -> None:
        chance = self.random
        key, print_ = f"k{chance.randrange(4)}", chance.choice((b"\0", b"\1"))
        lease = timedelta(seconds=30)
        begun = await self.same("begin", lambda tx: idempotency.begin(tx, "s", key, print_, lease))
        if self.held:
            said = {"id": chance.choice(self.held[-4:])}
            if chance.random() < 0.5:
                await self.same("answer", lambda tx: idempotency.answer(tx, "s", key, 201, said))
            else:
                await self.same("give_up", lambda tx: idempotency.give_up(tx, "s", key, said))
            return
        if begun[0] in ("fresh", "taken_up") and chance.random() < 0.7:
            if chance.random() < 0.5:
                await self.same("finish", lambda tx: idempotency.finish(tx, "s", key, 200, {"a": 1}))
            else:
                await self.same("forget", lambda tx: idempotency.forget(tx, "s", key))

    async def look(self) -> None:
        """Every reservation, and the time that is taken."""
        for name in self.held:
            await self.same("load", lambda tx, name=name: reservations.load(tx, name))
        hosts, first = self.shop.hosts, BEGIN
        last = first + timedelta(days=9)

        async def taken(tx: Any) -> Any:
            found = await catalog.taken_time(tx, hosts, first, last, None)
            return {
                host: (sorted(one.busy), sorted(sorted(map(str, dict(row).items())) for row in one.claims))
                for host, one in found.items()
            }

        await self.same("taken_time", taken)


async def _can_bring_money(tx: Any) -> Any:
    return await payments.can_bring_money(tx)


async def furnished(shop: Shop, seed: int) -> Both:
    memory = Memory(lambda: both.moment)
    both = Both(shop, memory, seed)
    async with shop.database.transaction() as tx:
        for host in shop.hosts:
            memory.tables["host"][host] = await catalog.load_host(tx, shop.account_id, host)
        offer = await catalog.load_offer(tx, shop.account_id, shop.event_type_id)
        assert offer is not None
        memory.catalog_version = offer.catalog
        memory.tables["payee"][shop.payee_id] = await payees.load(tx, shop.payee_id)
        # Deleted, not truncated: that would make new files for each of two hundred sequences.
        for table in (
            "refund",
            "payment",
            "claim",
            "calendar_event",
            "reservation",
            "job",
            "idempotency_key",
        ):
            await tx.execute(f"delete from {table}")
        await tx.execute("update host set newest_end = '-infinity'")
        await both.calendars.furnish(tx)
        await tx.execute("delete from test_moment")
        await tx.execute("insert into test_moment values ($1)", BEGIN)
    return both


async def run_sequence(shop: Shop, seed: int) -> int:
    both = await furnished(shop, seed)
    await both.reserve()
    steps = [both.tick, both.reserve, both.reserve, both.wish, both.work, both.key]
    steps += [both.calendars.reading, both.calendars.connections]
    with_row = [both.change, both.retake, both.pay, both.change_payment]
    with_row += [both.calendars.events, both.calendars.seen]
    for _ in range(LENGTH):
        await both.random.choice(steps + with_row if both.held else steps)()
    await both.look()
    await both.calendars.look()
    return LENGTH


async def test_memory_answers_as_postgres_does(frozen: Database, figures) -> None:
    shop = await open_shop(frozen, hosts=2)
    for seed in range(SEQUENCES):
        figures("memory against PostgreSQL", sequences=1, calls=await run_sequence(shop, seed))


def _blind(tx: Any, reservation_id: str, item: Any, now: Any) -> Any:
    return {item["hosts"][0]: (1,)}, ""


@pytest.mark.parametrize(
    ("guard", "broken"), [(_find_time, _blind), (_is_free, lambda _: True)], ids=["time", "leases of events"]
)
async def test_another_memory_is_noticed(
    guard: Callable[..., Any], broken: Callable[..., Any], frozen: Database
) -> None:
    """The twins: a memory that never finds time taken, and one in which a reading ignores who is writing."""
    shop = await open_shop(frozen, hosts=2)
    with without(guard, broken):
        told = [await _difference(shop, seed) for seed in range(20)]
    assert any(told)


async def _difference(shop: Shop, seed: int) -> bool:
    try:
        await run_sequence(shop, seed)
    except AssertionError as error:
        return "memory" in str(error)
    return False
