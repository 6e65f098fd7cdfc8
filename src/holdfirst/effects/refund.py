# SPDX-License-Identifier: Apache-2.0
"""Give money back: one refund of a payment at a time, and never twice.

No call is repeated before the provider's own list shows how the last one ended; one that is not there has had half a
minute to show, whoever asks for the next meanwhile: a call that we gave up waiting for may still be on its way. One that the
provider says it took is never made again: where its list does not show it, a human looks.
"""

from datetime import datetime, timedelta

import structlog

from holdfirst.effects.advance import meet
from holdfirst.effects.world import World, asked, desk_of, ref_of
from holdfirst.errors import ProviderUnavailable
from holdfirst.flows import refund
from holdfirst.flows.refund import DueRefund
from holdfirst.payment.money import Money
from holdfirst.payment.provider import RefundPhase, Refused, Truth, Unknown
from holdfirst.store.database import Tx

log = structlog.get_logger(__name__)

ASK_AGAIN = timedelta(seconds=30)
"""Also: not sooner after a call is the same made again, whoever asks for it. It may have arrived since their list was read."""
TRY_AGAIN = timedelta(hours=1)
PATIENCE = timedelta(hours=30)
"""Some providers refund only after a day: what is refused for now is tried for so long before a human is told."""


async def pay_back(world: World, payment_id: str) -> datetime | None:
    """Pay out what is due, oldest first. Answers when to go on, if something is still on its way."""
    while (due := await world.database.run(refund.next_due, payment_id)) is not None:
        wait = await (_listed if due.refund.sent else _sent)(world, due)
        if wait is not None:
            return await world.database.run(_after, wait)
    return None


async def _listed(world: World, due: DueRefund) -> timedelta | None:
    """Go by the provider's list, where a call was made before. Answers how long to wait; None: it is done."""
    match await _found(world, due):
        case RefundPhase.DONE:
            return None
        case RefundPhase.PENDING:
            return ASK_AGAIN
        case RefundPhase.FAILED:
            await world.database.run(refund.tell_a_human, due.payment.id, "refund_failed")
            return TRY_AGAIN
        case None if due.refund.taken_at is None:
            return await _sent(world, due)
        case None:
            # Less and less often, and a human is told of one that never comes.
            waited = await world.database.run(_age, due.refund.taken_at)
            if waited > PATIENCE:
                await world.database.run(refund.tell_a_human, due.payment.id, "refund_unlisted")
            return max(ASK_AGAIN, min(waited, TRY_AGAIN))


async def _sent(world: World, due: DueRefund) -> timedelta | None:
    """Make the call. Answers how long to wait; None: it was taken, and the list is next."""
    if not await world.database.run(refund.about_to_send, due.refund.id, ASK_AGAIN):
        # Without an answer, and not in the provider's list yet: it is asked again, not sent again.
        return ASK_AGAIN
    answer = await _send(world, due)
    if isinstance(answer, Unknown):
        await world.database.run(refund.may_be_on_its_way, due.refund.id)
        return ASK_AGAIN
    if answer is None:
        return None
    if not answer.for_now or await world.database.run(_age, due.refund.created_at) > PATIENCE:
        await world.database.run(refund.tell_a_human, due.payment.id, "refund_refused")
    return TRY_AGAIN


async def _found(world: World, due: DueRefund) -> RefundPhase | None:
    """How the provider's list says this refund stands; None: it is not there."""
    truth = await _truth(world, due)
    await meet(world, due.payment.id, truth)
    return await world.database.run(refund.phase_of, due, truth)


async def _send(world: World, due: DueRefund) -> Refused | Unknown | None:
    """None: the provider took it."""
    desk = desk_of(world, due.payee)
    amount = Money(due.refund.amount_minor, due.payment.amount.currency)
    answer = await asked(desk.provider.refund(ref_of(due.payment), amount, due.refund.key, desk.account))
    if isinstance(answer, Unknown):
        if answer.key_spent:
            await world.database.run(refund.take_next_key, due)
        log.warning("refund_unanswered", payment=due.payment.id, reason=answer.reason)
        return answer
    if isinstance(answer, Refused):
        # Kept under its key, at some companies: the next try is not to be answered with it.
        await world.database.run(refund.take_next_key, due)
    else:
        await world.database.run(refund.is_taken, due.refund.id)
    await meet(world, due.payment.id, await _truth(world, due))
    return answer if isinstance(answer, Refused) else None


async def _truth(world: World, due: DueRefund) -> Truth:
    desk = desk_of(world, due.payee)
    truth = await asked(desk.provider.fetch(ref_of(due.payment), desk.account))
    if isinstance(truth, Unknown):
        raise ProviderUnavailable(truth.reason)
    return truth


async def _age(tx: Tx, since: datetime) -> timedelta:
    return await tx.now() - since


async def _after(tx: Tx, wait: timedelta) -> datetime:
    return await tx.now() + wait
