# SPDX-License-Identifier: Apache-2.0
"""What Stripe's objects say, in our words. A status that is not known here is loud: nothing is decided on it."""

from collections.abc import Sequence
from datetime import UTC, datetime

import stripe
from stripe.checkout import Session

from holdfirst.payment.provider import NOT_OURS, Phase, RefundPhase, RefundTruth, Truth, Unknown
from holdfirst.providers.stripe.minor_units import from_stripe
from holdfirst.providers.stripe.session import REFUND

_OF_SESSION = {"open": Phase.OPEN, "expired": Phase.CLOSED}
_OF_INTENT = {
    "requires_capture": Phase.AUTHORIZED,
    "succeeded": Phase.CAPTURED,
    "canceled": Phase.VOIDED,
    "processing": Phase.PROCESSING,
    "requires_action": Phase.PROCESSING,
    "requires_confirmation": Phase.PROCESSING,
    # A card was declined. While the session is open, another one may still go through.
    "requires_payment_method": Phase.FAILED,
}
_OF_REFUND = {
    "pending": RefundPhase.PENDING,
    "requires_action": RefundPhase.PENDING,
    "succeeded": RefundPhase.DONE,
    "failed": RefundPhase.FAILED,
    "canceled": RefundPhase.FAILED,
}


def truth_of(session: Session, refunds: Sequence[stripe.Refund]) -> Truth | Unknown:
    """`session` with its intent and latest charge expanded."""
    intent = session.payment_intent
    if isinstance(intent, str):
        return Unknown("the intent was not expanded")
    phase = _phase(session, intent)
    if phase is None:
        return Unknown(f"not known: session {session.status}, intent {intent and intent.status}")
    told = [_refund(one) for one in refunds]
    if intent is None:
        amount = from_stripe(session.amount_total or 0, session.currency or "")
        return Truth(
            phase=phase, amount=amount, livemode=session.livemode, reference=session.client_reference_id
        )
    # The session's total and the intent's amount are the same; where they are not, it is not what was frozen.
    amount = from_stripe(intent.amount, intent.currency)
    if session.amount_total != intent.amount:
        amount = from_stripe(session.amount_total or 0, session.currency or "")
    charge = None if isinstance(intent.latest_charge, str) else intent.latest_charge
    captured = from_stripe(intent.amount_received, intent.currency).amount_minor
    held = from_stripe(intent.amount_capturable, intent.currency).amount_minor
    return Truth(
        phase=phase,
        amount=amount,
        livemode=session.livemode and intent.livemode,
        authorized_minor=held or (captured if intent.capture_method == "manual" else 0),
        captured_minor=captured,
        refunds=told,
        disputed=bool(charge and charge.disputed),
        reference=session.client_reference_id,
        money_ref=intent.id,
        capture_before=_capture_before(charge),
    )


def _phase(session: Session, intent: stripe.PaymentIntent | None) -> Phase | None:
    if intent is None:
        return _OF_SESSION.get(session.status or "")
    phase = _OF_INTENT.get(intent.status)
    if phase is Phase.FAILED:
        return _OF_SESSION.get(session.status or "", Phase.FAILED)
    if phase is Phase.VOIDED and intent.latest_charge is None:
        # It was never promised: Stripe cancels the intent of a session that ends.
        return Phase.CLOSED
    return phase


def _refund(refund: stripe.Refund) -> RefundTruth:
    key = str((refund.metadata.to_dict() if refund.metadata else {}).get(REFUND, NOT_OURS))
    amount = from_stripe(refund.amount, refund.currency).amount_minor
    # One that is not known is not done: it is asked about again.
    return RefundTruth(key, amount, _OF_REFUND.get(refund.status or "", RefundPhase.PENDING), refund.id)


def _capture_before(charge: stripe.Charge | None) -> datetime | None:
    details = charge.payment_method_details if charge else None
    card = getattr(details, "card", None)
    at = getattr(card, "capture_before", None)
    return datetime.fromtimestamp(at, UTC) if at else None
