# SPDX-License-Identifier: Apache-2.0
"""A provider calls: keep what it said, and wish to ask it. Its word alone changes nothing."""

from holdfirst.payment.payment import ASK_AT_MOST_EVERY, Payment
from holdfirst.payment.provider import Hint, Notification
from holdfirst.store import jobs, payees, payments
from holdfirst.store.database import Tx
from holdfirst.store.payees import PaymentAccount


async def hear(tx: Tx, payee: PaymentAccount, notification: Notification, hint: Hint) -> bool:
    """Stored, and its payment asked about. False: about nothing of ours; signed, it is stored all the same.

    Where anybody can send a hint, its question has a job of its own, which asks once a second at most (`heed`).
    """
    now = await tx.now()
    whose = await _whose(tx, payee, hint)
    payment = await _named(tx, whose, hint) if whose is not None else None
    told = None
    if hint.unsigned:
        if payment is None:
            return False
        told = await jobs.starts_by(tx, "hint", payment.id, now + ASK_AT_MOST_EVERY)
        if told:
            # Wished for already; whoever only makes noise is not worth a write.
            return True
    if told is None:
        # Nothing more is stored for whoever only makes noise.
        await payments.store_notification(tx, payee.provider, payee.id, notification)
    if hint.account_changed and whose is not None:
        await jobs.enqueue(tx, payee.account_id, "check_payee", whose, due=now)
    if payment is not None:
        await jobs.enqueue(
            tx, payment.account_id, "hint" if hint.unsigned else "advance", payment.id, due=now
        )
    return payment is not None or hint.account_changed


async def _whose(tx: Tx, payee: PaymentAccount, hint: Hint) -> str | None:
    """The payment account that is meant: a platform's address hears for its connected ones."""
    if hint.connected_account is None or hint.connected_account == payee.connected_account:
        return payee.id
    return await payees.connected_to(tx, payee.id, hint.connected_account)


async def _named(tx: Tx, payee_id: str, hint: Hint) -> Payment | None:
    found: Payment | None = None
    if hint.provider_ref is not None:
        found = await payments.by_ref(tx, payee_id, hint.provider_ref)
    if found is None and hint.payment_id is not None:
        found = await payments.load(tx, hint.payment_id)
        if found is not None and found.payment_account_id != payee_id:
            found = None
    if found is None and hint.money_ref is not None:
        found = await payments.by_money_ref(tx, payee_id, hint.money_ref)
    return found


async def ask_soon(tx: Tx, payment_id: str) -> None:
    """A customer is back from the checkout: pull the next question forward."""
    payment = await payments.load(tx, payment_id)
    if payment is not None and payment.can_bring_money:
        await jobs.enqueue(tx, payment.account_id, "advance", payment.id, due=await tx.now())
