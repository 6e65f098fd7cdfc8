# SPDX-License-Identifier: Apache-2.0
"""Where a race starts: a practice, a reservation in some state, perhaps a payment and money on its way."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import msgspec

from holdfirst.effects import advance
from holdfirst.effects.confirm import confirm_with_provider
from holdfirst.effects.release import release_with_provider
from holdfirst.flows.cancel import CancelRequest, cancel
from holdfirst.flows.confirm import Asks, ConfirmRequest
from holdfirst.flows.expire import expire
from holdfirst.payment.money import Money
from holdfirst.payment.payment import Mode, Payment
from holdfirst.reservation.reservation import EndedBy, Reservation, Status
from holdfirst.settings import Limits
from holdfirst.store import catalog, jobs
from holdfirst.store.database import Tx
from races.schedules import bench as laboratory
from races.schedules.bench import Bench
from shop import Shop, open_shop

HOLD = timedelta(seconds=600)
NEARLY = HOLD - timedelta(seconds=1)
"""Races over a deadline start just before it."""
PAST = timedelta(seconds=2)
PAST_CLOSING = timedelta(seconds=602)
RULES = {
    "step_minutes": 30,
    "late_payment": "retake",
    "extensions_max": 3,
    "reschedule": {"until_minutes_before": 0, "times_max": 9},
    "cancellation": [{"until_minutes_before": 0, "refund_percent": 100}],
}


@dataclass(frozen=True)
class Subject:
    """What the race is about; `just_before`: what is to pass before the race starts, so that a tick decides."""

    slot: datetime
    reservation: str | None = None
    payment: str | None = None
    ref: str | None = None
    just_before: timedelta = NEARLY
    other_payment: str | None = None


Build = Callable[[Shop, Bench], Awaitable[Subject]]


@dataclass(frozen=True)
class State:
    """`tags` say which operations make sense here; `ticks` when the clock decides something."""

    name: str
    build: Build
    tags: frozenset[str]
    ticks: tuple[timedelta, ...] = ()
    mode: Mode = Mode.AUTHORIZE
    rules: dict[str, Any] = field(default_factory=dict)
    hosts: int = 1
    long: bool = False
    """Only in the long run: much like another one, with money that moves another way."""


STATES: dict[str, State] = {}


def state(
    name: str, tags: str, *, ticks: tuple[timedelta, ...] = (), mode: Mode = Mode.AUTHORIZE, **more: Any
) -> Callable[[Build], Build]:
    def add(build: Build) -> Build:
        STATES[name] = State(name, build, frozenset(tags.split()), ticks, mode, **more)
        return build

    return add


async def prepare(bench: Bench, state: State) -> Subject:
    """An empty database, the practice, and the state; kept as the place where schedules start."""
    await bench.control.execute(
        "truncate account, api_key, payment_account, host, event_type, busy, reservation, claim, payment, refund, outbox,"
        " notification, job, idempotency_key, worker, calendar_connection restart identity cascade"
    )
    await bench.control.execute("select lab.move_clock(began_at) from lab.clock")
    laboratory._made.clear()
    shop = await open_shop(
        bench.free,
        mode=state.mode,
        hosts=state.hosts,
        limits=Limits(hold_seconds_min=1),
        rules=RULES | state.rules,
    )
    bench.adopt(shop)
    subject = await state.build(shop, bench)
    if state.ticks:
        await bench.move_clock(subject.just_before)
    await bench.keep(bench.shop or shop)
    await bench.sweep()
    return subject


async def _held(shop: Shop, **more: Any) -> Reservation:
    return await shop.held(hold_seconds=int(HOLD.total_seconds()), **more)


def _subject(shop: Shop, held: Reservation, payment: Payment | None = None, **more: Any) -> Subject:
    return Subject(
        shop.slot(),
        held.id,
        payment.id if payment else None,
        payment.provider_ref if payment else None,
        **more,
    )


async def _open(shop: Shop) -> tuple[Reservation, Payment]:
    held = await _held(shop)
    payment = await shop.checkout(held)
    return held, payment


async def _paid(shop: Shop) -> tuple[Reservation, Payment]:
    held, payment = await _open(shop)
    shop.provider.bring_money(payment.provider_ref or "")
    return held, payment


FREE_OF_CHARGE = {"price": None}


@state("free", "")
async def _free(shop: Shop, bench: Bench) -> Subject:
    return Subject(shop.slot())


@state("held", "reservation live", ticks=(PAST,), rules=FREE_OF_CHARGE)
async def _held_unpriced(shop: Shop, bench: Bench) -> Subject:
    return _subject(shop, await _held(shop))


@state("priced", "reservation live priced", ticks=(PAST,))
async def _held_priced(shop: Shop, bench: Bench) -> Subject:
    return _subject(shop, await _held(shop))


@state("priced sale", "reservation live priced", ticks=(PAST,), mode=Mode.SALE)
async def _held_priced_sale(shop: Shop, bench: Bench) -> Subject:
    return _subject(shop, await _held(shop))


@state("lapsed", "reservation", rules=FREE_OF_CHARGE)
async def _lapsed(shop: Shop, bench: Bench) -> Subject:
    held = await _held(shop)
    await bench.move_clock(NEARLY + PAST)
    return _subject(shop, held)


@state("one of two seats", "reservation live", ticks=(PAST,), rules=FREE_OF_CHARGE | {"seats": 2})
async def _one_of_two_seats(shop: Shop, bench: Bench) -> Subject:
    return _subject(shop, await _held(shop))


@state("one of two hosts", "reservation live", ticks=(PAST,), rules=FREE_OF_CHARGE, hosts=2)
async def _one_of_two_hosts(shop: Shop, bench: Bench) -> Subject:
    return _subject(shop, await _held(shop))


@state("busy", "rare", rules=FREE_OF_CHARGE)
async def _busy(shop: Shop, bench: Bench) -> Subject:
    async with shop.database.statement() as tx:
        await catalog.put_busy(
            tx, shop.account_id, shop.hosts[0], "elsewhere", shop.slot(), shop.slot() + timedelta(hours=1)
        )
    return Subject(shop.slot())


IN_A_CALENDAR = {"calendar_check": "fast"}


async def _connected(shop: Shop) -> None:
    """One calendar, so that one call is on its way at a time; read once."""
    shop.calendars.shelves.pop("two")
    await shop.connect()
    await shop.work()


def stranger(shop: Shop, start: datetime) -> None:
    shop.calendars.put("one", "stranger", start, start + timedelta(minutes=30))


@state("in a calendar", "reservation live calendars", ticks=(PAST,), rules=FREE_OF_CHARGE | IN_A_CALENDAR)
async def _in_a_calendar(shop: Shop, bench: Bench) -> Subject:
    await _connected(shop)
    return _subject(shop, await _held(shop))


@state(
    "paid beside a stranger",
    "reservation live priced payment money calendars",
    ticks=(PAST,),
    rules=IN_A_CALENDAR,
)
async def _paid_beside_a_stranger(shop: Shop, bench: Bench) -> Subject:
    """Nobody has asked the calendar yet."""
    await _connected(shop)
    held, payment = await _paid(shop)
    stranger(shop, shop.slot())
    return _subject(shop, held, payment)


@state(
    "confirmed in a calendar",
    "reservation firm calendars",
    ticks=(timedelta(seconds=5),),
    rules=FREE_OF_CHARGE | IN_A_CALENDAR,
)
async def _confirmed_in_a_calendar(shop: Shop, bench: Bench) -> Subject:
    await _connected(shop)
    held = await _held(shop)
    request = ConfirmRequest(reservation_id=held.id, asks=Asks.SECRET_KEY)
    confirmed = await confirm_with_provider(shop.world, request, back_end_confirms=False)
    assert isinstance(confirmed, Reservation), confirmed
    return _subject(shop, confirmed, just_before=timedelta(0))


@state("pinned in a calendar", "reservation priced payment money capture calendars", rules=IN_A_CALENDAR)
async def _pinned_in_a_calendar(shop: Shop, bench: Bench) -> Subject:
    await _connected(shop)
    held, payment = await _paid(shop)
    await advance.advance(shop.world, payment.id)
    return _subject(shop, held, payment)


@state("one a day", "rare", rules=FREE_OF_CHARGE | {"per_day_max": 1})
async def _one_a_day(shop: Shop, bench: Bench) -> Subject:
    return Subject(shop.slot())


@state("two hosts, one hold an address", "rare counted", rules=FREE_OF_CHARGE, hosts=2)
async def _counted(shop: Shop, bench: Bench) -> Subject:
    limits = Limits(hold_seconds_min=1, holds_per_address_max=1)
    bench.shop = replace(shop, world=msgspec.structs.replace(shop.world, limits=limits))
    return Subject(shop.slot())


@state("beside a lapsed one", "reservation firm", rules=FREE_OF_CHARGE)
async def _beside_a_lapsed_one(shop: Shop, bench: Bench) -> Subject:
    sold = await shop.sold()
    await _held(shop, start=shop.slot(10))
    await bench.move_clock(NEARLY + PAST)
    return _subject(shop, sold)


@state("job due", "rare job", ticks=(timedelta(seconds=61),))
async def _job_due(shop: Shop, bench: Bench) -> Subject:
    """A job that finds nothing to do; its lease is over after the tick."""
    await wish(shop)
    return Subject(shop.slot(), just_before=timedelta(0))


async def wish(shop: Shop) -> None:
    async def enqueue(tx: Tx) -> None:
        await jobs.enqueue(tx, shop.account_id, "deadline", "nobody", due=await tx.now())

    await shop.database.run(enqueue)


@state("two payments", "reservation priced payment money", mode=Mode.SALE_UNCLOSEABLE)
async def _two_payments(shop: Shop, bench: Bench) -> Subject:
    """The first checkout failed, the customer paid by the second, and then the first turned out to be paid too."""
    held, first = await _open(shop)
    shop.provider.decline(first.provider_ref or "")
    await advance.advance(shop.world, first.id)
    second = await shop.checkout(held)
    for payment in (first, second):
        shop.provider.bring_money(payment.provider_ref or "")
    return replace(_subject(shop, held, first), other_payment=second.id)


@state("released", "reservation", rules=FREE_OF_CHARGE)
async def _released(shop: Shop, bench: Bench) -> Subject:
    held = await _held(shop)
    await release_with_provider(shop.world, held.id, by=EndedBy.CUSTOMER, force=False)
    return _subject(shop, held)


@state("expired", "reservation", rules=FREE_OF_CHARGE)
async def _expired(shop: Shop, bench: Bench) -> Subject:
    held = await _held(shop)
    await bench.move_clock(NEARLY + PAST)
    await shop.database.run(expire, held.id)
    return _subject(shop, held)


@state("confirmed by reference", "reservation firm priced")
async def _confirmed_by_reference(shop: Shop, bench: Bench) -> Subject:
    return _subject(shop, await shop.sold())


def _with_mode(mode: Mode) -> None:
    """The states that differ by how the money moves."""
    sale, uncloseable = mode is Mode.SALE, mode is Mode.SALE_UNCLOSEABLE
    ticks = (PAST, PAST_CLOSING) if sale else (PAST,)

    @state(f"open {mode}", "reservation live priced payment", ticks=ticks, mode=mode, long=uncloseable)
    async def _open_checkout(shop: Shop, bench: Bench) -> Subject:
        return _subject(shop, *await _open(shop))

    @state(f"paid {mode}", "reservation live priced payment money", ticks=ticks, mode=mode)
    async def _paid_unheard(shop: Shop, bench: Bench) -> Subject:
        return _subject(shop, *await _paid(shop))

    @state(f"lapsed open {mode}", "reservation priced payment", ticks=ticks[1:], mode=mode, long=not sale)
    async def _lapsed_open(shop: Shop, bench: Bench) -> Subject:
        held, payment = await _open(shop)
        await bench.move_clock(NEARLY + PAST)
        return _subject(shop, held, payment, just_before=timedelta(0))

    @state(
        f"paid late {mode}", "reservation priced payment money", ticks=ticks[1:], mode=mode, long=uncloseable
    )
    async def _paid_late(shop: Shop, bench: Bench) -> Subject:
        held, payment = await _open(shop)
        await bench.move_clock(NEARLY + PAST)
        shop.provider.bring_money(payment.provider_ref or "")
        return _subject(shop, held, payment, just_before=timedelta(0))

    if not sale:

        @state(f"expired paid late {mode}", "reservation priced payment money", mode=mode)
        async def _expired_paid_late(shop: Shop, bench: Bench) -> Subject:
            held, payment = await _open(shop)
            await bench.move_clock(NEARLY + PAST)
            await shop.database.run(expire, held.id)
            shop.provider.bring_money(payment.provider_ref or "")
            return _subject(shop, held, payment)

    @state(f"confirmed {mode}", "reservation firm priced payment money", mode=mode, long=uncloseable)
    async def _confirmed(shop: Shop, bench: Bench) -> Subject:
        held, payment = await _paid(shop)
        await advance.advance(shop.world, payment.id)
        if not sale:
            await advance.capture(shop.world, payment.id)
        confirmed = await shop.read(held.id)
        assert confirmed.status is Status.CONFIRMED, confirmed.status
        return _subject(shop, held, payment)

    @state(f"refund due {mode}", "reservation priced payment money owed", mode=mode, long=not sale)
    async def _refund_due(shop: Shop, bench: Bench) -> Subject:
        subject = await _confirmed(shop, bench)
        part = Money(2000, "EUR")
        assert subject.reservation is not None
        request = CancelRequest(reservation_id=subject.reservation, by=EndedBy.ACCOUNT, refund=part)
        assert isinstance(await shop.database.run(cancel, request), Reservation)
        return subject


for _mode in Mode:
    _with_mode(_mode)


@state("pinned", "reservation priced payment money capture")
async def _pinned(shop: Shop, bench: Bench) -> Subject:
    held, payment = await _paid(shop)
    await advance.advance(shop.world, payment.id)
    return _subject(shop, held, payment)


@state("closing", "reservation priced payment", mode=Mode.SALE, ticks=(PAST_CLOSING,))
async def _closing(shop: Shop, bench: Bench) -> Subject:
    held, payment = await _open(shop)
    shop.provider.faults["close"] = ["lost_before"]
    await release_with_provider(shop.world, held.id, by=EndedBy.CUSTOMER, force=False)
    return _subject(shop, held, payment, just_before=timedelta(0))


@state("closing, one of two hosts", "rare", mode=Mode.SALE, ticks=(PAST_CLOSING,), hosts=2)
async def _closing_one_of_two_hosts(shop: Shop, bench: Bench) -> Subject:
    return await _closing(shop, bench)
