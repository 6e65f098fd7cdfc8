# SPDX-License-Identifier: Apache-2.0
"""`POST /v1/reservations/{id}/…`: the verbs. By secret key, or by the reservation's own client secret within policy."""

from functools import partial
from typing import Any

from holdfirst.effects.checkout import open_checkout
from holdfirst.effects.confirm import confirm_with_provider
from holdfirst.effects.release import release_with_provider
from holdfirst.effects.reschedule import moving
from holdfirst.flows import cancel as cancelling
from holdfirst.flows import change
from holdfirst.flows.confirm import Asks, ConfirmRequest
from holdfirst.flows.keyed import Replay
from holdfirst.flows.pay import CheckoutRequest
from holdfirst.flows.reschedule import RescheduleRequest
from holdfirst.flows.reschedule import reschedule as reschedule_flow
from holdfirst.interval import whole_ms
from holdfirst.payment.money import Money, currency_exists
from holdfirst.payment.payment import Payment
from holdfirst.refusal import Code, Refusal
from holdfirst.reservation.event_type import ConfirmBy, EventTypeRules
from holdfirst.reservation.reservation import EndedBy, Reservation
from holdfirst.reservation.text import origin_of
from holdfirst.store import catalog, reservations
from holdfirst.store.database import Tx
from holdfirst.web.answers import ReservationAnswer
from holdfirst.web.asker import Kind
from holdfirst.web.hosts import REPLAYED
from holdfirst.web.operation import HOLDERS, Answer, Call, Empty, Operation, unless_refused
from holdfirst.web.problems import refuse
from holdfirst.web.requests import (
    Cancel,
    Checkout,
    Confirm,
    Release,
    Reschedule,
    check_instants,
    check_urls,
    raise_faults,
)
from holdfirst.web.reservation_view import answer_about, no_other_account


async def checkout(call: Call) -> Answer:
    body: Checkout = call.body
    check_urls(return_url=body.return_url, cancel_url=body.cancel_url)
    reservation_id = await no_other_account(call)
    if call.who.livemode and call.who.kind is Kind.CLIENT_SECRET:
        rules = await call.world.database.single(_rules, reservation_id)
        for url in (body.return_url, body.cancel_url):
            if url is not None and not _may_return(call, rules, url):
                raise refuse(
                    Code.RETURN_URL_NOT_ALLOWED,
                    "It must lie in one of the event type's allowed_origins, or be its success_url.",
                )
    request = CheckoutRequest(
        reservation_id=reservation_id,
        return_url=body.return_url,
        cancel_url=body.cancel_url,
        public_url=call.world.public_url,
    )

    async def work() -> tuple[Reservation, Payment] | Refusal:
        return await open_checkout(call.world, request)

    return await _answered(call, await call.through(work, _kept(reservation_id)), reservation_id)


async def extend(call: Call) -> Answer:
    reservation_id = await no_other_account(call)

    async def work(tx: Tx) -> Reservation | Refusal:
        return await change.extend(tx, reservation_id, call.world.limits)

    return await _answered(call, await call.once(work, _kept(reservation_id)), reservation_id)


async def release(call: Call) -> Answer:
    body: Release = call.body
    if body.force and not call.by_secret_key:
        raise refuse(Code.FORBIDDEN_FOR_KEY, "force is for a secret key.")
    reservation_id = await no_other_account(call)

    async def work() -> Reservation | Refusal:
        return await release_with_provider(call.world, reservation_id, by=_by(call), force=body.force)

    return await _answered(call, await call.through(work, _kept(reservation_id)), reservation_id)


async def confirm(call: Call) -> Answer:
    body: Confirm = call.body
    if body.payment_reference is not None and not call.by_secret_key:
        raise refuse(Code.FORBIDDEN_FOR_KEY, "payment_reference is for a secret key.")
    reservation_id = await no_other_account(call)
    rules = await call.world.database.single(_rules, reservation_id)
    request = ConfirmRequest(
        reservation_id=reservation_id,
        asks=Asks.SECRET_KEY if call.by_secret_key else Asks.CLIENT_SECRET,
        if_still_free=body.if_still_free,
        payment_reference=body.payment_reference,
    )

    async def work() -> Reservation | Refusal:
        return await confirm_with_provider(
            call.world, request, back_end_confirms=rules.confirmed_by is ConfirmBy.SECRET_KEY
        )

    return await _answered(call, await call.through(work, _kept(reservation_id)), reservation_id)


async def cancel(call: Call) -> Answer:
    body: Cancel = call.body
    if body.refund is not None and not call.by_secret_key:
        raise refuse(
            Code.FORBIDDEN_FOR_KEY, "The refund is the policy's; only a secret key may name another."
        )
    if isinstance(body.refund, Money) and not currency_exists(body.refund.currency):
        raise_faults([("refund.currency", "is not a currency of ISO 4217")])
    reservation_id = await no_other_account(call)
    request = cancelling.CancelRequest(
        reservation_id=reservation_id, by=_by(call), reason=body.reason, refund=body.refund
    )

    async def work(tx: Tx) -> Reservation | Refusal:
        return await cancelling.cancel(tx, request)

    return await _answered(call, await call.once(work, _kept(reservation_id)), reservation_id)


async def reschedule(call: Call) -> Answer:
    body: Reschedule = call.body
    check_instants(start=body.start)
    reservation_id = await no_other_account(call)
    request = RescheduleRequest(reservation_id=reservation_id, start=whole_ms(body.start), by=_by(call))

    async def attempt(asked: RescheduleRequest) -> Reservation | Replay:
        async def work(tx: Tx) -> Reservation | Refusal:
            return await reschedule_flow(tx, asked)

        return await call.once(work, _kept(reservation_id))

    done = unless_refused(await moving(call.world, request, attempt))
    return await _answered(call, done, reservation_id)


async def rotate_client_secret(call: Call) -> Answer:
    reservation_id = await no_other_account(call)

    async def work(tx: Tx) -> Reservation | Refusal:
        return await change.rotate_secret(tx, reservation_id)

    done = await call.once(work, _kept(reservation_id))
    return await _answered(call, done, reservation_id, tell_secret=True)


async def _answered(call: Call, done: object, reservation_id: str, *, tell_secret: bool = False) -> Answer:
    """Whatever was done, and done before: the reservation as it is now."""
    answer = await answer_about(call, reservation_id, tell_secret=tell_secret)
    return Answer(answer, 200, REPLAYED if isinstance(done, Replay) else {})


def _may_return(call: Call, rules: EventTypeRules, url: str) -> bool:
    """To our own pages always: they show how things stand."""
    allowed = {*rules.allowed_origins, origin_of(call.world.public_url)}
    return url == rules.success_url or origin_of(url) in allowed


def _kept(reservation_id: str) -> Any:
    """What an idempotency key keeps of a verb: that it was done, and to which."""
    return lambda _: (200, {"id": reservation_id})


def _by(call: Call) -> EndedBy:
    return EndedBy.ACCOUNT if call.by_secret_key else EndedBy.CUSTOMER


async def _rules(tx: Tx, reservation_id: str) -> EventTypeRules:
    reservation = await reservations.load(tx, reservation_id)
    assert reservation is not None
    event_type = await catalog.event_type_by_id(tx, reservation.event_type_id)
    assert event_type is not None
    return event_type.rules


_STATES = (Code.HOLD_EXPIRED, Code.ALREADY_RELEASED, Code.ALREADY_CONFIRMED, Code.ALREADY_CANCELLED)
_CALENDARS = (Code.CALENDAR_CONFLICT, Code.CALENDAR_UNREACHABLE)
_MONEY = (Code.PAYMENT_IN_PROGRESS, Code.PROVIDER_UNAVAILABLE)


def _verb(name: str, summary: str, endpoint: Any, body: Any, *refusals: Code) -> Operation:
    made: Operation = _post(
        path=f"/v1/reservations/{{reservation:str}}/{name}",
        summary=summary,
        endpoint=endpoint,
        body=body,
        refusals=(Code.RESERVATION_NOT_FOUND, *refusals),
    )
    return made


_post: Any = partial(
    Operation, method="POST", who=HOLDERS, answer=ReservationAnswer, missing=Code.RESERVATION_NOT_FOUND
)

OPERATIONS: list[Operation] = [
    _verb(
        "checkout",
        "Open a checkout, or answer the one that is open",
        checkout,
        Checkout,
        *_STATES,
        *_MONEY,
        Code.DETAILS_MISSING,
        Code.NOTHING_TO_PAY,
        Code.TOO_LATE_TO_PAY,
        Code.CHECKOUT_REFUSED,
        Code.NO_PAYMENT_ACCOUNT,
        Code.RETURN_URL_NOT_ALLOWED,
        *_CALENDARS,
    ),
    _verb(
        "extend",
        "Keep a hold longer",
        extend,
        Empty,
        *_STATES,
        Code.EXTENSION_REFUSED,
        Code.PAYMENT_IN_PROGRESS,
    ),
    _verb("release", "Give a hold up", release, Release, *_STATES, *_MONEY, Code.ALREADY_PAID),
    _verb(
        "confirm",
        "Make it firm",
        confirm,
        Confirm,
        *_STATES,
        *_MONEY,
        Code.PAYMENT_REQUIRED,
        Code.DETAILS_MISSING,
        Code.SLOT_TAKEN,
        Code.ALREADY_PAID,
        Code.CHECKOUT_OPEN,
        *_CALENDARS,
    ),
    _verb(
        "cancel",
        "Call it off",
        cancel,
        Cancel,
        Code.NOT_CONFIRMED,
        Code.ALREADY_CANCELLED,
        Code.TOO_LATE_TO_CANCEL,
        Code.REFUND_EXCEEDS_PAYMENT,
        Code.REFUND_NOT_OURS,
        Code.PAYMENT_IN_PROGRESS,
    ),
    _verb(
        "reschedule",
        "Move it",
        reschedule,
        Reschedule,
        *_STATES,
        Code.SLOT_NOT_OFFERED,
        Code.SLOT_TAKEN,
        Code.CHECKOUT_OPEN,
        Code.TOO_LATE_TO_RESCHEDULE,
        Code.CALENDAR_UNREACHABLE,
        Code.EVENT_TYPE_INACTIVE,
        Code.PAYMENT_IN_PROGRESS,
    ),
    _verb("client-secret/rotate", "Give it another client secret", rotate_client_secret, Empty),
]
