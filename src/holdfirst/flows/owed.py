# SPDX-License-Identifier: Apache-2.0
"""Money owed back. At rest, for each payment: captured = kept + refunded + refund due."""

from datetime import datetime

from msgspec.structs import replace

from holdfirst import ids
from holdfirst.payment.payment import REFUND_CHECKS, Payment, PaymentStatus
from holdfirst.payment.provider import RefundPhase, RefundTruth, Truth
from holdfirst.payment.refund import Refund, RefundStatus, as_seen, matched
from holdfirst.store import jobs, payments
from holdfirst.store.database import Tx


async def owe(tx: Tx, payment: Payment, amount_minor: int, now: datetime) -> Payment:
    """Owe this much back, and wish for it to be paid. The caller saves the payment (locked) it gets back."""
    assert 0 < amount_minor <= payment.kept_minor
    await payments.insert_refund(tx, _row(payment, amount_minor, now))
    await jobs.enqueue(tx, payment.account_id, "refund", payment.id, due=now, lane=payment.id)
    return replace(payment, refund_due_minor=payment.refund_due_minor + amount_minor)


def _row(payment: Payment, amount_minor: int, now: datetime) -> Refund:
    made_id = ids.make("rfd")
    return Refund(
        id=made_id,
        account_id=payment.account_id,
        payment_id=payment.id,
        amount_minor=amount_minor,
        created_at=now,
        key=made_id,
    )


async def apply_refunds(tx: Tx, payment: Payment, truth: Truth, now: datetime) -> Payment:
    """The provider's own list of refunds is what counts; also those that somebody made in its dashboard."""
    before = await payments.refunds_of(tx, payment.id)
    found = matched(before, truth.refunds)
    ours = [as_seen(row, found[row.id]) if row.id in found else row for row in before]
    for row, was in zip(ours, before, strict=True):
        if row != was:
            await payments.save_refund(tx, row)
    listed = {one.ref for one in found.values()}
    others = [one for one in truth.refunds if one.ref not in listed and one.phase is not RefundPhase.FAILED]
    ours += [await _noted(tx, payment, seen, now) for seen in others]
    failed = [row for row, was in zip(ours, before, strict=False) if row.failed and not was.failed]
    if any(not row.elsewhere for row in failed):
        # It was done, and came to nothing days later: it is owed again, and a human is told why.
        await jobs.enqueue(tx, payment.account_id, "refund", payment.id, due=now, lane=payment.id)
    return await _counted(tx, payment, ours, now)


async def _noted(tx: Tx, payment: Payment, seen: RefundTruth, now: datetime) -> Refund:
    made = _row(payment, seen.amount_minor, now)
    made = replace(made, status=RefundStatus.DONE, sent=True, elsewhere=True, provider_ref=seen.ref or None)
    await payments.insert_refund(tx, made)
    return made


async def _counted(tx: Tx, payment: Payment, rows: list[Refund], now: datetime) -> Payment:
    due = sum(one.amount_minor for one in rows if one.status is RefundStatus.DUE)
    refunded = sum(one.amount_minor for one in rows if one.status is RefundStatus.DONE)
    over = refunded + due - payment.captured_minor
    if over > 0 and payment.needs_human_code is None:
        # Somebody gave money back elsewhere while ours was due: never more than was taken, and a human looks.
        payment = replace(payment, needs_human_code="refunded_elsewhere", needs_human_since=now)
    status = payment.status
    if refunded and refunded >= payment.captured_minor:
        status = PaymentStatus.REFUNDED
    elif status is PaymentStatus.REFUNDED:
        status = PaymentStatus.CAPTURED
    if refunded > payment.refunded_minor:
        payment = replace(payment, refunded_at=now)
        await jobs.enqueue(tx, payment.account_id, "advance", payment.id, due=now + REFUND_CHECKS[0])
    return replace(payment, refunded_minor=refunded, refund_due_minor=due - max(0, over), status=status)
