# SPDX-License-Identifier: Apache-2.0
"""Money owed back. At rest, for each payment: captured = kept + refunded + refund due."""

from datetime import datetime

from msgspec.structs import replace

from holdfirst import ids
from holdfirst.payment.payment import Payment, PaymentStatus
from holdfirst.payment.provider import RefundPhase, Truth
from holdfirst.store import jobs, payments
from holdfirst.store.database import Tx
from holdfirst.store.payments import Refund


async def owe(tx: Tx, payment: Payment, amount_minor: int, now: datetime) -> Payment:
    """Owe this much back, and wish for it to be paid. The caller saves the payment (locked) it gets back."""
    assert 0 < amount_minor <= payment.kept_minor
    refund = Refund(
        id=ids.make("rfd"),
        account_id=payment.account_id,
        payment_id=payment.id,
        amount_minor=amount_minor,
        status="due",
        sent=False,
        created_at=now,
    )
    await payments.insert_refund(tx, refund)
    await jobs.enqueue(tx, payment.account_id, "refund", payment.id, due=now, lane=payment.id)
    return replace(payment, refund_due_minor=payment.refund_due_minor + amount_minor)


async def apply_refunds(tx: Tx, payment: Payment, truth: Truth, now: datetime) -> Payment:
    """The provider's own list of refunds is what counts; also those that somebody made in its dashboard."""
    done = {refund.key: refund for refund in truth.refunds if refund.phase is RefundPhase.DONE}
    ours = await payments.refunds_of(tx, payment.id)
    for refund in ours:
        if refund.status == "due" and refund.id in done:
            await payments.mark_refund_done(tx, refund.id, now)
    due = sum(one.amount_minor for one in ours if one.status == "due" and one.id not in done)
    refunded = max(payment.refunded_minor, sum(refund.amount_minor for refund in done.values()))
    over = refunded + due - payment.captured_minor
    if over > 0 and payment.needs_human_code is None:
        # Somebody gave money back elsewhere while ours was due: never more than was taken, and a human looks.
        payment = replace(payment, needs_human_code="refunded_elsewhere", needs_human_since=now)
    status = PaymentStatus.REFUNDED if refunded and refunded >= payment.captured_minor else payment.status
    return replace(payment, refunded_minor=refunded, refund_due_minor=due - max(0, over), status=status)
