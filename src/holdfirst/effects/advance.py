# SPDX-License-Identifier: Apache-2.0
"""Ask a payment's provider how it stands, and act on it. Notification, return page, confirm, timer, start of a
worker: every trigger runs this, and the same question twice has the same answer.
"""

from datetime import datetime

from holdfirst.effects.hold_calendars import Heard, ask_calendars
from holdfirst.effects.opening import reopen
from holdfirst.effects.world import Desk, World, asked, desk_of, ref_of
from holdfirst.errors import ProviderUnavailable
from holdfirst.flows import pay
from holdfirst.flows.with_calendars import CalendarsUnasked, pinned
from holdfirst.payment.payment import ASK_AT_MOST_EVERY, Payment, next_check
from holdfirst.payment.provider import Done, NotOpen, Phase, Refused, Truth, Unknown
from holdfirst.reservation.calendar_gate import Gate
from holdfirst.reservation.reservation import Reservation
from holdfirst.store import payees, payments
from holdfirst.store.database import Tx
from holdfirst.store.payees import PaymentAccount
from holdfirst.store.reservations import TimeLost


async def advance(world: World, payment_id: str) -> tuple[Reservation, Payment]:
    """Raises `ProviderUnavailable` where the provider does not answer."""
    payment, desk = await at_desk(world, payment_id)
    return await meet(world, payment_id, await _told(world, payment, desk))


async def advance_if_due(world: World, payment_id: str) -> tuple[Reservation, Payment] | None:
    """For whoever waits for an answer. None: asked a moment ago, or the provider does not answer."""
    if not await world.database.run(payments.ask_now, payment_id, ASK_AT_MOST_EVERY):
        return None
    try:
        return await advance(world, payment_id)
    except ProviderUnavailable:
        return None


async def heed(world: World, payment_id: str) -> datetime | None:
    """A hint that anybody may have sent: one question, whether or not it is answered, and the next a second later."""
    if not await world.database.run(payments.ask_now, payment_id, ASK_AT_MOST_EVERY):
        return await world.database.run(_now) + ASK_AT_MOST_EVERY
    await advance(world, payment_id)
    return None


async def watch(world: World, payment_id: str) -> datetime | None:
    """One look, and when to look again without being asked."""
    if await world.database.run(_never_opened, payment_id):
        return None
    _, payment = await advance(world, payment_id)
    return next_check(payment, await world.database.run(_now))


async def close(world: World, payment_id: str) -> None:
    """Close an open checkout. `NotOpen` is never taken for "nobody paid": then the truth is fetched."""
    if await world.database.run(_never_opened, payment_id):
        return
    payment, desk = await at_desk(world, payment_id)
    if not payment.mode.can_be_closed:
        return
    match await asked(desk.provider.close(ref_of(payment), desk.account)):
        case Done():
            dead = Truth(phase=Phase.CLOSED, amount=payment.amount, livemode=payment.livemode)
            await meet(world, payment_id, dead)
        case NotOpen():
            await advance(world, payment_id)
        case Refused(reason=reason) | Unknown(reason=reason):
            raise ProviderUnavailable(f"close: {reason}")


async def capture(world: World, payment_id: str) -> None:
    """Take the money that a pinned reservation waits for; only then is it confirmed."""
    if not await _still_waited_for(world, payment_id):
        return
    payment, desk = await at_desk(world, payment_id)
    answer = await asked(desk.provider.capture(ref_of(payment), f"{payment.id}:capture", desk.account))
    # Refused for now (an earlier call is still being worked on, say) is no reason to give the time away.
    if isinstance(answer, Refused) and not answer.for_now:
        await meet(world, payment_id, await _told(world, payment, desk), capture_refused=True)
    else:
        await meet(world, payment_id, await _moved(world, payment, desk))


async def _still_waited_for(world: World, payment_id: str) -> bool:
    """Whether it is to be captured, the hosts' calendars asked; what else is to become of it is done."""
    waiting = await world.database.run(pinned, payment_id)
    if waiting is not None and waiting.opinion is Gate.ASK:
        if await ask_calendars(world, waiting.reservation.id) is Heard.UNREACHABLE:
            await world.database.run(pay.note_unanswered, payment_id)
            raise ProviderUnavailable("a calendar does not answer")
        waiting = await world.database.run(pinned, payment_id)
    if waiting is not None and waiting.opinion is Gate.SHUT:
        # Nothing is captured for a time that somebody else has: the authorisation is given back.
        payment, desk = await at_desk(world, payment_id)
        await meet(world, payment_id, await _told(world, payment, desk), capture_refused=True)
        return False
    if waiting is None:
        # Ended meanwhile (a secret key may): what is only authorised is given back, not taken and then returned.
        await advance(world, payment_id)
        return False
    return True


async def void(world: World, payment_id: str) -> None:
    """Give an authorisation back. If it turns out to be captured already, the money is refunded instead."""
    payment, desk = await at_desk(world, payment_id)
    await asked(desk.provider.void(ref_of(payment), f"{payment.id}:void", desk.account))
    await meet(world, payment_id, await _moved(world, payment, desk))


async def _moved(world: World, payment: Payment, desk: Desk) -> Truth:
    """The truth after a call that was to end an authorisation. While that stands there is nothing to decide: to
    decide all the same would ask for the same call at once, and a provider in trouble would be called without end.
    """
    truth = await _told(world, payment, desk)
    if truth.phase is Phase.AUTHORIZED:
        await world.database.run(pay.note_unanswered, payment.id)
        raise ProviderUnavailable("the authorisation still stands")
    return truth


async def _told(world: World, payment: Payment, desk: Desk) -> Truth:
    truth = await asked(desk.provider.fetch(ref_of(payment), desk.account))
    if isinstance(truth, Unknown):
        await world.database.run(pay.note_unanswered, payment.id)
        raise ProviderUnavailable(truth.reason)
    return truth


async def at_desk(world: World, payment_id: str) -> tuple[Payment, Desk]:
    """The payment and where its calls go; a checkout whose answer was lost is asked for again first."""
    payment, payee = await world.database.run(_load, payment_id)
    if payment.provider_ref is None:
        found = await reopen(world, payment_id)
        payment = found or (await world.database.run(_load, payment_id))[0]
        if payment.provider_ref is None:
            raise ProviderUnavailable("the checkout's reference is not known yet")
    return payment, desk_of(world, payee)


async def meet(
    world: World, payment_id: str, truth: Truth, *, capture_refused: bool = False
) -> tuple[Reservation, Payment]:
    run = world.database.run
    try:
        try:
            return await run(pay.advance, payment_id, truth, capture_refused=capture_refused)
        except CalendarsUnasked as unasked:
            await ask_calendars(world, str(unasked))
            return await run(pay.advance, payment_id, truth, capture_refused=capture_refused, asked=True)
    except TimeLost:
        return await run(pay.advance, payment_id, truth, time_lost=True)


async def _load(tx: Tx, payment_id: str) -> tuple[Payment, PaymentAccount]:
    payment = await payments.load(tx, payment_id)
    assert payment is not None, payment_id
    return payment, await payees.load_even_deleted(tx, payment.payment_account_id)


async def _never_opened(tx: Tx, payment_id: str) -> bool:
    """Whether its provider refused to open a checkout for it."""
    payment = await payments.load(tx, payment_id)
    assert payment is not None, payment_id
    return payment.never_opened


async def _now(tx: Tx) -> datetime:
    return await tx.now()
