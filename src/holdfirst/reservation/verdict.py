# SPDX-License-Identifier: Apache-2.0
"""What a provider's truth means for a reservation: one pure function, run by every trigger alike.

Pin first, then capture; say confirmed only after the capture. Late is what our transaction sees after
`held_until` by the database's clock, whenever the provider says it was paid.
"""

import enum
from datetime import datetime

from msgspec.structs import replace

from holdfirst.payment.payment import CAN_BRING_MONEY, Disposition, Payment, PaymentStatus
from holdfirst.payment.provider import Phase, RefundPhase, Truth
from holdfirst.reservation.event_type import LatePayment
from holdfirst.reservation.lifecycle import retakeable
from holdfirst.reservation.reservation import Cause, Reservation, Status, status_at


class Verdict(enum.StrEnum):
    WAIT = "wait"
    """Nothing to decide: the checkout is open, or what we know already is what is true."""
    PIN = "pin"
    """Authorised while the time is ours: keep the time, then capture."""
    RETAKE_AND_PIN = "retake_and_pin"
    CAPTURE = "capture"
    """Pinned and still only authorised: capture (again)."""
    CONFIRM = "confirm"
    """The money is here and the time is ours."""
    RETAKE_AND_CONFIRM = "retake_and_confirm"
    GIVE_BACK = "give_back"
    """Money that no slot stands behind: void what is authorised, refund what is captured."""
    UNPIN = "unpin"
    """Pinned, but the money is gone: nobody was charged; the time is free."""
    DEAD = "dead"
    """Nobody can pay this checkout (as far as the provider knows)."""


def judge(
    reservation: Reservation, payment: Payment, truth: Truth, now: datetime, late_payment: LatePayment
) -> Verdict:
    """What to do, given the rows (locked), the provider's truth and the database's clock."""
    match truth.phase:
        case Phase.OPEN | Phase.PROCESSING:
            return Verdict.WAIT
        case Phase.VOIDED:
            return Verdict.UNPIN if pinned_by(reservation, payment) else Verdict.DEAD
        case Phase.FAILED | Phase.CLOSED:
            # Pinned means that it was authorised since: what says dead is an older answer.
            return Verdict.WAIT if pinned_by(reservation, payment) else Verdict.DEAD
        case Phase.AUTHORIZED | Phase.CAPTURED:
            kept = payment.disposition is Disposition.KEEP and reservation.paid_by == payment.id
            if kept and not pinned_by(reservation, payment):
                # Confirmed, or cancelled since: what is owed back was decided there.
                return Verdict.WAIT
            if not as_frozen(payment, truth) or _gone(truth):
                return Verdict.GIVE_BACK
            if kept:
                return Verdict.CONFIRM if truth.phase is Phase.CAPTURED else Verdict.CAPTURE
            return _judge_money(reservation, payment, truth, now, late_payment)


def as_frozen(payment: Payment, truth: Truth) -> bool:
    """Whether amount, currency, live or test, and whose it is equal what was frozen when the checkout opened."""
    moved = truth.captured_minor if truth.phase is Phase.CAPTURED else truth.authorized_minor
    return (
        truth.amount == payment.amount
        and moved == payment.amount.amount_minor
        and truth.livemode == payment.livemode
        and truth.reference in (None, payment.id)
    )


def _gone(truth: Truth) -> bool:
    """Somebody gave all of it back before it paid for anything."""
    back = sum(one.amount_minor for one in truth.refunds if one.phase is not RefundPhase.FAILED)
    return truth.phase is Phase.CAPTURED and back >= truth.captured_minor


def _judge_money(
    reservation: Reservation, payment: Payment, truth: Truth, now: datetime, late_payment: LatePayment
) -> Verdict:
    captured = truth.phase is Phase.CAPTURED
    lapsed = truth.capture_before is not None and truth.capture_before <= now
    if lapsed and not captured:
        return Verdict.GIVE_BACK
    if payment.disposition is not None or _given_back(payment):
        return Verdict.GIVE_BACK
    match status_at(reservation, now):
        case Status.HELD:
            return Verdict.CONFIRM if captured else Verdict.PIN
        case Status.PROCESSING if reservation.cause is not Cause.CAPTURE:
            # A refused close means that it was paid.
            return Verdict.CONFIRM if captured else Verdict.PIN
        case Status.EXPIRED if late_payment is LatePayment.RETAKE and retakeable(reservation, now):
            return Verdict.RETAKE_AND_CONFIRM if captured else Verdict.RETAKE_AND_PIN
        case _:
            return Verdict.GIVE_BACK


def pinned_by(reservation: Reservation, payment: Payment) -> bool:
    """Whether the reservation waits for this very payment to be captured."""
    return (
        reservation.status is Status.PROCESSING
        and reservation.cause is Cause.CAPTURE
        and reservation.paid_by == payment.id
    )


def _given_back(payment: Payment) -> bool:
    """A payment once voided or refunded never pays for anything again."""
    return payment.status in (PaymentStatus.VOIDED, PaymentStatus.REFUNDED)


_RANK = {
    PaymentStatus.OPEN: 0,
    PaymentStatus.PROCESSING: 1,
    PaymentStatus.FAILED: 2,
    PaymentStatus.ABANDONED: 2,
    PaymentStatus.AUTHORIZED: 3,
    PaymentStatus.VOIDED: 4,
    PaymentStatus.CAPTURED: 5,
    PaymentStatus.REFUNDED: 6,
}
_STATUS = {
    Phase.OPEN: PaymentStatus.OPEN,
    Phase.PROCESSING: PaymentStatus.PROCESSING,
    Phase.AUTHORIZED: PaymentStatus.AUTHORIZED,
    Phase.CAPTURED: PaymentStatus.CAPTURED,
    Phase.FAILED: PaymentStatus.FAILED,
    Phase.CLOSED: PaymentStatus.ABANDONED,
    Phase.VOIDED: PaymentStatus.VOIDED,
}


def with_truth(payment: Payment, truth: Truth, now: datetime) -> Payment:
    """The facts, moved forward only: notifications and answers come in any order."""
    status = _STATUS[truth.phase]
    if _RANK[status] <= _RANK[payment.status]:
        status = payment.status
    died = status in (PaymentStatus.FAILED, PaymentStatus.ABANDONED) and payment.status in CAN_BRING_MONEY
    return replace(
        payment,
        status=status,
        authorized_minor=max(payment.authorized_minor, truth.authorized_minor),
        captured_minor=max(payment.captured_minor, truth.captured_minor),
        disputed=payment.disputed or truth.disputed,
        money_ref=truth.money_ref or payment.money_ref,
        capture_before=truth.capture_before or payment.capture_before,
        closed_at=now if died else payment.closed_at,
    )
