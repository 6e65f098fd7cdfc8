# SPDX-License-Identifier: Apache-2.0
"""Confirm, where the provider (or the integrator's back end) has to be heard first. Waits at most ten seconds."""

import asyncio
import enum

from holdfirst.clock import monotonic
from holdfirst.effects.advance import advance_if_due, close
from holdfirst.effects.hold_calendars import calendars_refuse
from holdfirst.effects.world import World
from holdfirst.errors import ProviderUnavailable
from holdfirst.flows.confirm import Asks, CloseFirst, ConfirmRequest, confirm
from holdfirst.flows.with_calendars import AskCalendars
from holdfirst.payment.payment import Payment, PaymentStatus
from holdfirst.refusal import Code, Refusal
from holdfirst.reservation.reservation import Reservation, Status, status_at
from holdfirst.store import payments, reservations
from holdfirst.store.database import Tx

WAIT_SECONDS = 10
LOOK_SECONDS = 0.1


async def confirm_with_provider(
    world: World, request: ConfirmRequest, *, back_end_confirms: bool
) -> Reservation | Refusal:
    """`back_end_confirms`: the event type is `confirm_by: secret_key`, so a client secret waits for that."""
    until = monotonic() + WAIT_SECONDS
    if request.payment_reference is not None and await _paid_unheard(world, request.reservation_id):
        return _already_paid()
    while True:
        answer = await _decided(world, request)
        match answer:
            case Reservation():
                return answer
            case Refusal(code=Code.PAYMENT_REQUIRED | Code.PAYMENT_IN_PROGRESS):
                heard = await _ask(world, request.reservation_id)
                waits = back_end_confirms and request.asks is Asks.CLIENT_SECRET
                enough = (heard is Heard.NO_MONEY and not waits) or monotonic() >= until
                if enough and heard is not Heard.CHANGE:
                    return _not_known() if heard is Heard.NO_ANSWER else answer
                await asyncio.sleep(0 if heard is Heard.CHANGE else LOOK_SECONDS)
            case Refusal():
                return answer


async def _decided(world: World, request: ConfirmRequest) -> Reservation | Refusal:
    """As soon as calendars have been asked, and open checkouts closed, where that must come first."""
    while True:
        match await world.database.run(confirm, request):
            case AskCalendars(reservation=unasked, check=check):
                refusal = await calendars_refuse(world, unasked, check)
            case CloseFirst(payment_ids=open_ids):
                refusal = await _close_all(world, open_ids)
            case answer:
                return answer
        if refusal is not None:
            return refusal


async def _paid_unheard(world: World, reservation_id: str) -> bool:
    """Whether a checkout that cannot be closed turns out to be paid: nobody is to pay twice."""
    attempts, reservation, _ = await world.database.run(_attempts, reservation_id)
    for payment in attempts:
        if payment.can_bring_money and payment.provider_ref and not payment.mode.can_be_closed:
            now = await advance_if_due(world, payment.id)
            if now is not None and now[0].paid_by == payment.id and reservation.paid_by is None:
                return True
    return False


def _already_paid() -> Refusal:
    return Refusal(Code.ALREADY_PAID, "The open checkout turned out to be paid.")


async def _close_all(world: World, payment_ids: list[str]) -> Refusal | None:
    """Close what could still bring money; if that shows money, it is paid already."""
    for payment_id in payment_ids:
        try:
            await close(world, payment_id)
        except ProviderUnavailable:
            return Refusal(
                Code.PROVIDER_UNAVAILABLE,
                "The payment provider did not close the open checkout.",
                retry_after=2,
            )
        payment, reservation = await world.database.run(_look, payment_id)
        if reservation.paid_by is not None or payment.authorized_minor or payment.captured_minor:
            return _already_paid()
        if payment.can_bring_money:
            return Refusal(Code.CHECKOUT_OPEN, "The open checkout cannot be closed now.")
    return None


class Heard(enum.StrEnum):
    """What asking about a reservation's open payments came to."""

    CHANGE = "change"
    """Something is not as it was: decide again."""
    MONEY_COMING = "money_coming"
    NO_MONEY = "no_money"
    NO_ANSWER = "no_answer"
    """Nobody knows: to say "not paid" now could be a lie."""


def _not_known() -> Refusal:
    return Refusal(
        Code.PROVIDER_UNAVAILABLE, "The payment provider does not say how the payment stands.", retry_after=2
    )


async def _ask(world: World, reservation_id: str) -> Heard:
    """Ask about what could bring money, each provider at most once a second for our sake."""
    attempts, reservation, status = await world.database.run(_attempts, reservation_id)
    heard = Heard.MONEY_COMING if status is Status.PROCESSING else Heard.NO_MONEY
    for payment in attempts:
        if not payment.can_bring_money:
            continue
        if payment.status in (PaymentStatus.PROCESSING, PaymentStatus.AUTHORIZED):
            heard = Heard.MONEY_COMING
        if payment.provider_ref is None:
            continue
        now = await advance_if_due(world, payment.id)
        if now is None:
            asked, _ = await world.database.run(_look, payment.id)
            if not asked.answered and heard is Heard.NO_MONEY:
                heard = Heard.NO_ANSWER
            continue
        after, moved = now
        if after.status is not reservation.status or moved.status is not payment.status:
            return Heard.CHANGE
    return heard


async def _attempts(tx: Tx, reservation_id: str) -> tuple[list[Payment], Reservation, Status]:
    reservation = await reservations.load(tx, reservation_id)
    assert reservation is not None
    attempts = (await payments.of_reservations(tx, [reservation_id]))[reservation_id]
    return attempts, reservation, status_at(reservation, await tx.now())


async def _look(tx: Tx, payment_id: str) -> tuple[Payment, Reservation]:
    payment = await payments.load(tx, payment_id)
    assert payment is not None
    reservation = await reservations.load(tx, payment.reservation_id)
    assert reservation is not None
    return payment, reservation
