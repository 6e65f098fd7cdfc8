# SPDX-License-Identifier: Apache-2.0
"""Call off a confirmed reservation, and owe what the policy (or the account) says."""

from datetime import datetime, timedelta
from typing import Any

import msgspec

from holdfirst.flows.outcome import Mail, became_free, send_mail
from holdfirst.flows.owed import owe
from holdfirst.flows.pay import lock_payment, write_down_expiry
from holdfirst.payment.money import Money
from holdfirst.payment.payment import Payment
from holdfirst.refusal import Code, Refusal
from holdfirst.reservation import lifecycle
from holdfirst.reservation.event_type import EventTypeRules
from holdfirst.reservation.reservation import EndedBy, Reservation, Status, status_at
from holdfirst.store import catalog, payments, reservations
from holdfirst.store.database import Tx


class CancelRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`refund`: None is the policy's, unasked; "policy", "full", "none" or Money by secret key only."""

    reservation_id: str
    by: EndedBy
    reason: str | None = None
    refund: str | Money | None = None


class Allowance(msgspec.Struct, frozen=True):
    """What the policy gives a customer who cancels now; `until`: the instant at which this gets worse."""

    allowed: bool
    refund_percent: int
    until: datetime | None


def allowance(reservation: Reservation, rules: EventTypeRules, now: datetime) -> Allowance:
    """Steps are tried from the longest notice down; after the last one, or the start, a customer cannot cancel."""
    if rules.cancellation is None or status_at(reservation, now) is not Status.CONFIRMED:
        return Allowance(allowed=False, refund_percent=0, until=None)
    for step in sorted(rules.cancellation, key=lambda step: -step.until_minutes_before):
        until = reservation.start - timedelta(minutes=step.until_minutes_before)
        if now < until:
            return Allowance(allowed=True, refund_percent=step.refund_percent, until=until)
    return Allowance(allowed=False, refund_percent=0, until=None)


async def cancel(tx: Tx, request: CancelRequest) -> Reservation | Refusal:
    reservation = await reservations.lock(tx, request.reservation_id)
    assert reservation is not None
    attempts = await payments.lock_all(tx, reservation.id)
    event_type = await catalog.event_type_by_id(tx, reservation.event_type_id)
    assert event_type is not None
    now = await tx.now()

    cancelled = lifecycle.cancel(reservation, now, by=request.by, arguments=_arguments(request))
    if isinstance(cancelled, Refusal):
        await write_down_expiry(tx, reservation, attempts, now)
        return cancelled
    if reservation.status is Status.CANCELLED:
        await reservations.touch(tx, reservation.id)
        return reservation
    policy = allowance(reservation, event_type.rules, now)
    if request.by is EndedBy.CUSTOMER and not policy.allowed:
        return Refusal(Code.TOO_LATE_TO_CANCEL, "This reservation can no longer be cancelled here.")
    paid = next((one for one in attempts if one.id == reservation.paid_by), None)
    owed = _owed(request, policy, reservation, paid)
    if isinstance(owed, Refusal):
        return owed

    # After this point it must succeed.
    await reservations.save(tx, cancelled)
    await became_free(tx, cancelled, attempts, now)
    if paid is not None and owed > 0:
        await payments.save(tx, await owe(tx, paid, owed, now))
    await send_mail(tx, cancelled, Mail.CANCELLED, now)
    return cancelled


def _arguments(request: CancelRequest) -> dict[str, Any]:
    refund: Any = request.refund or "policy"
    return {
        "reason": request.reason,
        "refund": msgspec.to_builtins(refund),
    }


def _owed(
    request: CancelRequest, policy: Allowance, reservation: Reservation, paid: Payment | None
) -> int | Refusal:
    """Minor units to give back."""
    if paid is None:
        if reservation.payment_reference is not None and request.refund not in (None, "none"):
            return Refusal(Code.REFUND_NOT_OURS, 'It was paid elsewhere; give it back there, and say "none".')
        if isinstance(request.refund, Money) and request.refund.amount_minor > 0:
            return Refusal(Code.REFUND_EXCEEDS_PAYMENT, "Nothing was paid.")
        return 0
    match request.refund:
        case "none":
            return 0
        case "full":
            return paid.kept_minor
        case Money(amount_minor=amount, currency=currency):
            exceeds = currency != paid.amount.currency or amount > paid.kept_minor
            return _exceeds(paid) if exceeds else amount
        case _:
            return min(paid.kept_minor, paid.captured_minor * policy.refund_percent // 100)


def _exceeds(paid: Payment) -> Refusal:
    left = Money(paid.kept_minor, paid.amount.currency)
    return Refusal(
        Code.REFUND_EXCEEDS_PAYMENT, f"It was paid in {left.currency}, and at most {left} can be given back."
    )


async def refund_payment(tx: Tx, payment_id: str, amount: Money | None) -> Payment | Refusal:
    """Give back part or all of what is kept of one payment, whatever its reservation's state."""
    _, payment = await lock_payment(tx, payment_id)
    left = Money(payment.kept_minor, payment.amount.currency)
    asked = left if amount is None else amount
    if asked.currency != left.currency or not 0 < asked.amount_minor <= left.amount_minor:
        return _exceeds(payment)
    payment = await owe(tx, payment, asked.amount_minor, await tx.now())
    await payments.save(tx, payment)
    return payment


async def resolve(tx: Tx, payment_id: str, note: str) -> Payment:
    """A human has seen to it, and says how."""
    _, payment = await lock_payment(tx, payment_id)
    payment = msgspec.structs.replace(payment, needs_human_code=None, needs_human_since=None)
    await payments.save(tx, payment)
    await payments.note_resolution(tx, payment_id, note)
    return payment
