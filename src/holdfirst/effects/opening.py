# SPDX-License-Identifier: Apache-2.0
"""The call that opens a checkout at its provider. The same key opens the same checkout, however often it is sent."""

from holdfirst.effects.world import World, asked, desk_of
from holdfirst.flows import pay
from holdfirst.payment.payment import Payment
from holdfirst.payment.provider import Opened, Refused, Unknown
from holdfirst.refusal import Code, Refusal
from holdfirst.reservation.reservation import Reservation
from holdfirst.store import reservations
from holdfirst.store.database import Tx


async def open_at_provider(world: World, to_open: pay.ToOpen) -> tuple[Reservation, Payment] | Refusal:
    """Send the frozen request, unless its answer is known."""
    payment = to_open.payment
    if payment.provider_ref is not None:
        return await world.database.run(_load, payment)
    desk = desk_of(world, to_open.payee)
    match await asked(desk.provider.open_checkout(to_open.spec, desk.account)):
        case Opened(provider_ref=ref, checkout_url=url):
            return await world.database.run(pay.record_checkout, payment.id, ref, url)
        case Refused(reason=reason):
            meanwhile = await world.database.run(pay.record_no_checkout, payment.id)
            return meanwhile or Refusal(
                Code.CHECKOUT_REFUSED, f"The payment provider refused to open a checkout: {reason}"
            )
        case Unknown(key_spent=spent):
            if spent:
                await world.database.run(pay.take_next_key, payment.id, to_open.spec.key)
            return Refusal(
                Code.PROVIDER_UNAVAILABLE, "The payment provider did not answer; ask again.", retry_after=2
            )


async def reopen(world: World, payment_id: str) -> Payment | None:
    """For a payment whose answer was lost: send the frozen request again. None: still no answer."""
    to_open = await world.database.run(pay.load_to_open, payment_id)
    opened = await open_at_provider(world, to_open)
    return None if isinstance(opened, Refusal) else opened[1]


async def _load(tx: Tx, payment: Payment) -> tuple[Reservation, Payment]:
    reservation = await reservations.load(tx, payment.reservation_id)
    assert reservation is not None
    return reservation, payment
