# SPDX-License-Identifier: Apache-2.0
"""Give up a hold. Where a sale that can be closed is open, its provider has the word first."""

import msgspec

from holdfirst.flows.outcome import became_free
from holdfirst.flows.pay import write_down_expiry
from holdfirst.payment.payment import Mode
from holdfirst.refusal import Refusal
from holdfirst.reservation import lifecycle
from holdfirst.reservation.reservation import EndedBy, Reservation, Status, status_at
from holdfirst.settings import Limits
from holdfirst.store import jobs, payments, reservations
from holdfirst.store.database import Tx


class Closing(msgspec.Struct, frozen=True):
    """Kept as processing until this payment's provider has said that nobody can pay any more."""

    reservation: Reservation
    payment_id: str


async def release(
    tx: Tx, reservation_id: str, *, by: EndedBy, force: bool, limits: Limits
) -> Reservation | Closing | Refusal:
    reservation = await reservations.lock(tx, reservation_id)
    assert reservation is not None
    attempts = await payments.lock_all(tx, reservation_id)
    now = await tx.now()

    status = status_at(reservation, now)
    sale = next((one for one in attempts if one.can_bring_money and one.mode is Mode.SALE), None)
    if status is Status.HELD and sale is not None:
        closing = lifecycle.release_after_close(reservation, now, limits.processing_max, by=by)
        await reservations.save(tx, closing)
        await jobs.enqueue(tx, sale.account_id, "close", sale.id, due=now, lane=sale.id)
        await jobs.enqueue(tx, sale.account_id, "deadline", reservation_id, due=now)
        return Closing(closing, sale.id)
    done = lifecycle.release(reservation, now, by=by, force=force)
    if isinstance(done, Refusal):
        return done
    if status in (Status.RELEASED, Status.EXPIRED):
        # Not needed for what is so afterwards: a repeat asks for no jobs again.
        return await write_down_expiry(tx, reservation, attempts, now)
    await reservations.save(tx, done)
    await became_free(tx, done, attempts, now)
    return done
