# SPDX-License-Identifier: Apache-2.0
"""Give money back: one refund of a payment at a time, and never twice.

No call is repeated before the provider's own list shows how the last one ended.
"""

from datetime import datetime, timedelta

from holdfirst.effects.advance import meet
from holdfirst.effects.world import World, asked, desk_of, ref_of
from holdfirst.errors import ProviderUnavailable
from holdfirst.flows import refund
from holdfirst.flows.refund import DueRefund
from holdfirst.payment.money import Money
from holdfirst.payment.provider import RefundPhase, Refused, Truth, Unknown
from holdfirst.store.database import Tx

ASK_AGAIN = timedelta(seconds=30)
TRY_AGAIN = timedelta(hours=1)


async def pay_back(world: World, payment_id: str) -> datetime | None:
    """Pay out what is due, oldest first. Answers when to go on, if something is still on its way."""
    just_sent = ""
    while (due := await world.database.run(refund.next_due, payment_id)) is not None:
        if due.refund.id == just_sent:
            # Taken, and not in the provider's list yet: it is asked again, not sent again.
            return await world.database.run(_after, ASK_AGAIN)
        if due.refund.sent:
            found = await _found(world, due)
            if found is RefundPhase.PENDING:
                return await world.database.run(_after, ASK_AGAIN)
            if found is RefundPhase.FAILED:
                await world.database.run(refund.tell_a_human, payment_id, "refund_failed")
                return await world.database.run(_after, TRY_AGAIN)
            if found is RefundPhase.DONE:
                continue
        if not await _send(world, due):
            await world.database.run(refund.tell_a_human, payment_id, "refund_refused")
            return await world.database.run(_after, TRY_AGAIN)
        just_sent = due.refund.id
    return None


async def _found(world: World, due: DueRefund) -> RefundPhase | None:
    """How the provider's list says this refund stands; None: it is not there."""
    truth = await _truth(world, due)
    await meet(world, due.payment.id, truth)
    return next((one.phase for one in truth.refunds if one.key == due.refund.id), None)


async def _send(world: World, due: DueRefund) -> bool:
    """False: refused for good (as the provider sees it now)."""
    await world.database.run(refund.about_to_send, due.refund.id)
    desk = desk_of(world, due.payee)
    amount = Money(due.refund.amount_minor, due.payment.amount.currency)
    answer = await asked(desk.provider.refund(ref_of(due.payment), amount, due.refund.id, desk.account))
    if isinstance(answer, Unknown):
        raise ProviderUnavailable(f"refund: {answer.reason}")
    await meet(world, due.payment.id, await _truth(world, due))
    return not isinstance(answer, Refused)


async def _truth(world: World, due: DueRefund) -> Truth:
    desk = desk_of(world, due.payee)
    truth = await asked(desk.provider.fetch(ref_of(due.payment), desk.account))
    if isinstance(truth, Unknown):
        raise ProviderUnavailable(truth.reason)
    return truth


async def _after(tx: Tx, wait: timedelta) -> datetime:
    return await tx.now() + wait
