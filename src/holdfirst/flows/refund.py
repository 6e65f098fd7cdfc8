# SPDX-License-Identifier: Apache-2.0
"""Which refund is to be paid out next; refunds of one payment run one at a time."""

from datetime import timedelta

import msgspec
from msgspec.structs import replace

from holdfirst.flows.pay import lock_payment
from holdfirst.payment.payment import Payment
from holdfirst.payment.provider import RefundPhase, Truth, next_key
from holdfirst.payment.refund import Refund, RefundStatus, matched
from holdfirst.store import payees, payments
from holdfirst.store.database import Tx
from holdfirst.store.payees import PaymentAccount


class DueRefund(msgspec.Struct, frozen=True):
    payment: Payment
    refund: Refund
    payee: PaymentAccount


async def next_due(tx: Tx, payment_id: str) -> DueRefund | None:
    """The oldest refund still due. Its `sent` tells whether a call may have been made before this one."""
    _, payment = await lock_payment(tx, payment_id)
    due = next(
        (one for one in await payments.refunds_of(tx, payment_id) if one.status is RefundStatus.DUE), None
    )
    payee = await payees.load_even_deleted(tx, payment.payment_account_id)
    return DueRefund(payment, due, payee) if due is not None else None


async def about_to_send(tx: Tx, refund_id: str, least: timedelta) -> bool:
    """Written before the call: after a crash, the provider's own list is asked before another call is made.

    False: less than so long ago one was made and may still be on its way, whoever wants another now.
    """
    return await payments.mark_refund_sent(tx, refund_id, least)


async def may_be_on_its_way(tx: Tx, refund_id: str) -> None:
    """We gave up waiting for its answer: what it needs to arrive is counted from now."""
    await payments.mark_refund_sent(tx, refund_id, timedelta(0))


async def is_taken(tx: Tx, refund_id: str) -> None:
    """The provider says so. Its list may show it later; until then only that is waited for."""
    await payments.mark_refund_taken(tx, refund_id)


async def phase_of(tx: Tx, due: DueRefund, truth: Truth) -> RefundPhase | None:
    """How the provider's list says this refund stands; None: it is not there."""
    seen = matched(await payments.refunds_of(tx, due.payment.id), truth.refunds).get(due.refund.id)
    return seen.phase if seen else None


async def take_next_key(tx: Tx, due: DueRefund) -> None:
    """The provider keeps an answer under this key that settles nothing; its list is asked before the next is used."""
    await lock_payment(tx, due.payment.id)
    row = next(one for one in await payments.refunds_of(tx, due.payment.id) if one.id == due.refund.id)
    if row.key == due.refund.key:
        await payments.save_refund(tx, replace(row, key=next_key(row.key)))


async def tell_a_human(tx: Tx, payment_id: str, code: str) -> None:
    """Something that trying again does not mend by itself; kept until somebody resolves it."""
    _, payment = await lock_payment(tx, payment_id)
    if payment.needs_human_code is None:
        await payments.save(tx, replace(payment, needs_human_code=code, needs_human_since=await tx.now()))
