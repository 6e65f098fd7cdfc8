# SPDX-License-Identifier: Apache-2.0
"""A provider calls: keep what it said, and wish to ask it. Its word alone changes nothing."""

from holdfirst.payment.payment import Payment
from holdfirst.payment.provider import Hint, Notification
from holdfirst.store import jobs, payments
from holdfirst.store.database import Tx
from holdfirst.store.payments import PaymentAccount


async def hear(tx: Tx, payee: PaymentAccount, notification: Notification, hint: Hint) -> None:
    """Stored, and its payment asked about now. One that is not ours is stored all the same."""
    await payments.store_notification(tx, payee.provider, payee.id, notification)
    payment = await _named(tx, payee, hint)
    if payment is not None:
        await jobs.enqueue(tx, payment.account_id, "advance", payment.id, due=await tx.now())


async def _named(tx: Tx, payee: PaymentAccount, hint: Hint) -> Payment | None:
    if hint.provider_ref is not None:
        found = await payments.by_ref(tx, payee.id, hint.provider_ref)
        if found is not None:
            return found
    if hint.payment_id is not None:
        named = await payments.load(tx, hint.payment_id)
        if named is not None and named.payment_account_id == payee.id:
            return named
    return None


async def ask_soon(tx: Tx, payment_id: str) -> None:
    """A customer is back from the checkout: pull the next question forward."""
    payment = await payments.load(tx, payment_id)
    if payment is not None and payment.can_bring_money:
        await jobs.enqueue(tx, payment.account_id, "advance", payment.id, due=await tx.now())
