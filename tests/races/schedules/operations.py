# SPDX-License-Identifier: Apache-2.0
"""Who races: each operation is the flow or effect that production runs, as the API, a provider or the worker calls it.

A new one is a function of (shop, subject) under `@operation`, with the tags of the states that it makes sense in.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from holdfirst.effects import advance, hold_calendars, refund
from holdfirst.effects.checkout import open_checkout
from holdfirst.effects.confirm import confirm_with_provider
from holdfirst.effects.release import release_with_provider
from holdfirst.effects.reserve import Made, reserve
from holdfirst.flows import cancel as cancelling
from holdfirst.flows import change, expire, hear, keyed, pay
from holdfirst.flows.confirm import Asks, ConfirmRequest
from holdfirst.flows.keyed import RequestKey
from holdfirst.flows.reschedule import RescheduleRequest
from holdfirst.flows.reserve import ReserveRequest
from holdfirst.payment.provider import Hint, Notification, Phase
from holdfirst.reservation.reservation import EndedBy, Reservation
from holdfirst.store import jobs, payees
from holdfirst.store.database import Tx
from holdfirst.worker import KINDS, LEASE
from races.schedules.bench import Operation
from races.schedules.gates import company_step
from races.schedules.states import State, Subject, stranger, wish
from races.schedules.steps import Step, Touched
from shop import Shop, move

HOLD_SECONDS = 900
"""Longer than all ticks together: no hold that is made in a race is over by the end of it."""


@dataclass(frozen=True)
class Named:
    name: str
    run: Operation
    needs: frozenset[str]
    core: bool


OPERATIONS: dict[str, Named] = {}


def operation(name: str, needs: str = "", *, core: bool = False) -> Callable[[Operation], Operation]:
    """`core`: in the normal run; the others race in the long one."""

    def add(run: Operation) -> Operation:
        OPERATIONS[name] = Named(name, run, frozenset(needs.split()), core)
        return run

    return add


def fits(operation: Named, state: State) -> bool:
    """Rare states are for the operations that are made for them, and for those that need nothing."""
    return operation.needs <= state.tags


@operation("reserve", core=True)
async def _reserve(shop: Shop, subject: Subject) -> Any:
    return await shop.reserve(subject.slot, hold_seconds=HOLD_SECONDS)


@operation("reserve overlapping", core=True)
async def _reserve_overlapping(shop: Shop, subject: Subject) -> Any:
    return await shop.reserve(subject.slot + timedelta(minutes=30), hold_seconds=HOLD_SECONDS)


@operation("reserve where it moves to")
async def _reserve_where_it_moves_to(shop: Shop, subject: Subject) -> Any:
    return await shop.reserve(subject.slot + timedelta(minutes=60), hold_seconds=HOLD_SECONDS)


@operation("reserve and confirm")
async def _reserve_and_confirm(shop: Shop, subject: Subject) -> Any:
    held = await shop.reserve(subject.slot, hold_seconds=HOLD_SECONDS)
    if not isinstance(held, Reservation):
        return held
    request = ConfirmRequest(reservation_id=held.id, asks=Asks.SECRET_KEY, payment_reference="till 2")
    return await confirm_with_provider(shop.world, request, back_end_confirms=False)


@operation("extend", "reservation", core=True)
async def _extend(shop: Shop, subject: Subject) -> Any:
    return await shop.database.run(change.extend, subject.reservation, shop.world.limits)


async def _confirm(shop: Shop, subject: Subject, **more: Any) -> Any:
    request = ConfirmRequest(reservation_id=str(subject.reservation), **more)
    return await confirm_with_provider(shop.world, request, back_end_confirms=False)


@operation("confirm", "reservation", core=True)
async def _confirm_by_key(shop: Shop, subject: Subject) -> Any:
    return await _confirm(shop, subject, asks=Asks.SECRET_KEY, payment_reference="till 1")


@operation("confirm if still free", "reservation", core=True)
async def _confirm_if_still_free(shop: Shop, subject: Subject) -> Any:
    return await _confirm(shop, subject, asks=Asks.SECRET_KEY, payment_reference="till 1", if_still_free=True)


@operation("confirm by customer", "reservation payment")
async def _confirm_by_customer(shop: Shop, subject: Subject) -> Any:
    return await _confirm(shop, subject, asks=Asks.CLIENT_SECRET)


@operation("release", "reservation", core=True)
async def _release(shop: Shop, subject: Subject) -> Any:
    return await release_with_provider(shop.world, str(subject.reservation), by=EndedBy.CUSTOMER, force=False)


@operation("release by force", "reservation")
async def _release_by_force(shop: Shop, subject: Subject) -> Any:
    return await release_with_provider(shop.world, str(subject.reservation), by=EndedBy.ACCOUNT, force=True)


@operation("expire", "reservation", core=True)
async def _expire(shop: Shop, subject: Subject) -> Any:
    again = await shop.database.run(expire.expire, str(subject.reservation))
    return "over" if again is None else "again"


@operation("read", "reservation")
async def _read(shop: Shop, subject: Subject) -> Any:
    found = await shop.database.run(expire.read, str(subject.reservation))
    assert found is not None
    return found[0]


@operation("cancel", "reservation", core=True)
async def _cancel(shop: Shop, subject: Subject) -> Any:
    request = cancelling.CancelRequest(
        reservation_id=str(subject.reservation),
        by=EndedBy.ACCOUNT,
        refund="full" if subject.payment else None,
    )
    return await shop.database.run(cancelling.cancel, request)


async def _move(shop: Shop, subject: Subject, by: timedelta) -> Any:
    request = RescheduleRequest(
        reservation_id=str(subject.reservation), start=subject.slot + by, by=EndedBy.ACCOUNT
    )
    return await move(shop.world, request)


@operation("reschedule", "reservation", core=True)
async def _reschedule(shop: Shop, subject: Subject) -> Any:
    return await _move(shop, subject, timedelta(minutes=60))


@operation("reschedule overlapping", "reservation")
async def _reschedule_overlapping(shop: Shop, subject: Subject) -> Any:
    return await _move(shop, subject, timedelta(minutes=30))


@operation("details", "reservation")
async def _details(shop: Shop, subject: Subject) -> Any:
    told = change.Details(customer={"name": "Berta"})
    return await shop.database.run(
        change.set_details, str(subject.reservation), told, by_secret_key=True, limits=shop.world.limits
    )


@operation("checkout", "reservation priced")
async def _checkout(shop: Shop, subject: Subject) -> Any:
    request = pay.CheckoutRequest(
        reservation_id=str(subject.reservation),
        return_url="https://shop.example/done",
        cancel_url=None,
        public_url=shop.world.public_url,
    )
    return await open_checkout(shop.world, request)


@operation("customer pays", "payment")
async def _customer_pays(shop: Shop, subject: Subject) -> Any:
    """At the provider's page: one step, and it may come too late there."""
    participant = shop.world.providers["fake"]._participant  # type: ignore[attr-defined]
    await participant.stop(company_step("provider", "the customer pays", writes=True))
    if shop.provider.checkouts[subject.ref or ""].phase is Phase.OPEN:
        shop.provider.bring_money(subject.ref or "")
        return "paid"
    return "nothing to pay"


@operation("advance", "payment", core=True)
async def _advance(shop: Shop, subject: Subject) -> Any:
    return await advance.advance(shop.world, str(subject.payment))


@operation("notification", "payment", core=True)
async def _notification(shop: Shop, subject: Subject) -> Any:
    """A provider calls, and the worker asks it."""
    payee = await shop.database.run(payees.load_even_deleted, shop.payee_id)
    raw = Notification("POST", {}, {"ref": subject.ref or ""}, b"")
    await shop.database.run(hear.hear, payee, raw, Hint(provider_ref=subject.ref))
    return await advance.advance(shop.world, str(subject.payment))


@operation("close", "payment")
async def _close(shop: Shop, subject: Subject) -> Any:
    await advance.close(shop.world, str(subject.payment))


@operation("capture", "payment money")
async def _capture(shop: Shop, subject: Subject) -> Any:
    await advance.capture(shop.world, str(subject.payment))


@operation("refund", "owed", core=True)
async def _refund(shop: Shop, subject: Subject) -> Any:
    await refund.pay_back(shop.world, str(subject.payment))


@operation("give back", "payment money")
async def _give_back(shop: Shop, subject: Subject) -> Any:
    return await shop.database.run(cancelling.refund_payment, str(subject.payment), None)


@operation("advance the other", "payment")
async def _advance_the_other(shop: Shop, subject: Subject) -> Any:
    return await advance.advance(shop.world, str(subject.other_payment or subject.payment))


@operation("calendar verdict", "calendars", core=True)
async def _calendar_verdict(shop: Shop, subject: Subject) -> Any:
    return await hold_calendars.ask_calendars(shop.world, str(subject.reservation))


@operation("attend to calendars", "calendars")
async def _attend_to_calendars(shop: Shop, subject: Subject) -> Any:
    return "again" if await hold_calendars.attend(shop.world, str(subject.reservation)) else "done"


@operation("a stranger writes", "calendars", core=True)
async def _a_stranger_writes(shop: Shop, subject: Subject) -> Any:
    """Into the host's calendar, over the time that is held."""
    participant = shop.world.calendars["caldav"]._participant  # type: ignore[attr-defined]
    await participant.stop(company_step("calendar books", "a stranger writes", writes=True))
    stranger(shop, subject.slot)


@operation("reserve under a key")
async def _reserve_under_a_key(shop: Shop, subject: Subject) -> Any:
    request = ReserveRequest(
        account_id=shop.account_id,
        event_type=shop.event_type_id,
        start=subject.slot,
        hold_seconds=HOLD_SECONDS,
    )
    answer = await reserve(shop.world, request, RequestKey("test", "one", b"same"))
    return answer.reservation if isinstance(answer, Made) else answer


@operation("extend under a key", "reservation")
async def _extend_under_a_key(shop: Shop, subject: Subject) -> Any:
    async def once(tx: Tx) -> Any:
        return await keyed.once(
            tx,
            RequestKey("test", "one", b"same"),
            lambda tx: change.extend(tx, str(subject.reservation), shop.world.limits),
            lambda done: (200, done.id),
        )

    return await shop.database.run(once)


async def _reserve_counted(shop: Shop, subject: Subject, host: int) -> Any:
    return await shop.reserve(
        subject.slot,
        host_id=shop.hosts[host],
        holder_address=b"one",
        holder_email=b"one",
        hold_seconds=HOLD_SECONDS,
    )


@operation("reserve from an address", "counted")
async def _reserve_from_an_address(shop: Shop, subject: Subject) -> Any:
    return await _reserve_counted(shop, subject, 0)


@operation("reserve from it elsewhere", "counted")
async def _reserve_from_it_elsewhere(shop: Shop, subject: Subject) -> Any:
    return await _reserve_counted(shop, subject, 1)


@operation("reserve later that day", "rare")
async def _reserve_later_that_day(shop: Shop, subject: Subject) -> Any:
    return await shop.reserve(subject.slot + timedelta(hours=3), hold_seconds=HOLD_SECONDS)


@operation("work", "job")
async def _work(shop: Shop, subject: Subject) -> Any:
    """A worker: claims one job, runs it, says how it went."""
    database = shop.database
    claimed = await database.run(jobs.claim, list(KINDS), LEASE, 1)
    for job in claimed:
        again = await KINDS[job.kind].run(shop.world, job.subject)
        if again is None:
            await database.run(jobs.finish, job)
        else:
            await database.run(jobs.snooze, job, again)
    return f"ran {[job.key for job in claimed]}"


async def _claim_only(shop: Shop, how: Any, *arguments: Any) -> Any:
    claimed = await shop.database.run(jobs.claim, list(KINDS), LEASE, 1)
    for job in claimed:
        await shop.world.providers["fake"]._participant.stop(Step("works", Touched(), opens=True))
        if how is not None:
            await shop.database.run(how, job, *arguments)
    return f"claimed {[job.key for job in claimed]}"


@operation("work that is done", "job")
async def _work_that_is_done(shop: Shop, subject: Subject) -> Any:
    return await _claim_only(shop, jobs.finish)


@operation("work that fails", "job")
async def _work_that_fails(shop: Shop, subject: Subject) -> Any:
    return await _claim_only(shop, jobs.retry, timedelta(0), "failed")


@operation("work that is given up", "job")
async def _work_that_is_given_up(shop: Shop, subject: Subject) -> Any:
    return await _claim_only(shop, jobs.give_up, "failed")


@operation("work that goes on later", "job")
async def _work_that_goes_on_later(shop: Shop, subject: Subject) -> Any:
    return await _claim_only(shop, jobs.snooze, subject.slot)


@operation("a worker dies", "job")
async def _a_worker_dies(shop: Shop, subject: Subject) -> Any:
    return await _claim_only(shop, None)


@operation("wish again", "job")
async def _wish_again(shop: Shop, subject: Subject) -> Any:
    await wish(shop)


@operation("hear", "payment")
async def _hear(shop: Shop, subject: Subject) -> Any:
    payee = await shop.database.run(payees.load_even_deleted, shop.payee_id)
    raw = Notification("POST", {}, {"ref": subject.ref or ""}, b"")
    await shop.database.run(hear.hear, payee, raw, Hint(provider_ref=subject.ref))


@operation("ask if due", "payment")
async def _ask_if_due(shop: Shop, subject: Subject) -> Any:
    return await advance.advance_if_due(shop.world, str(subject.payment))
