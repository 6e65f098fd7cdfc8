# SPDX-License-Identifier: Apache-2.0
"""Open a checkout for a hold. Two transactions, the provider between them; the same key opens the same checkout."""

from holdfirst.effects.advance import advance_if_due
from holdfirst.effects.hold_calendars import calendars_refuse
from holdfirst.effects.opening import open_at_provider
from holdfirst.effects.world import World
from holdfirst.flows import pay
from holdfirst.flows.with_calendars import AskCalendars
from holdfirst.payment.payment import Payment
from holdfirst.refusal import Refusal
from holdfirst.reservation.reservation import Reservation


async def open_checkout(world: World, request: pay.CheckoutRequest) -> tuple[Reservation, Payment] | Refusal:
    """The payment row first, then the provider, then its reference."""
    to_open = await _to_open(world, request)
    if isinstance(to_open, pay.ToOpen) and await _has_moved(world, to_open.payment):
        to_open = await _to_open(world, request)
    if isinstance(to_open, Refusal):
        return to_open
    return await open_at_provider(world, to_open)


async def _to_open(world: World, request: pay.CheckoutRequest) -> pay.ToOpen | Refusal:
    """Where the customer's click is the capture, the calendars are asked before there is anything to click."""
    while True:
        answer = await world.database.run(pay.open_payment, request, world.limits)
        if not isinstance(answer, AskCalendars):
            return answer
        if (refusal := await calendars_refuse(world, answer.reservation, answer.check)) is not None:
            return refusal


async def _has_moved(world: World, payment: Payment) -> bool:
    """An open checkout may have been declined, left or paid, and nobody has told us yet: nobody is sent there again."""
    if payment.provider_ref is None:
        return False
    now = await advance_if_due(world, payment.id)
    return now is not None and now[1].status is not payment.status
