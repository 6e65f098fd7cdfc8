# SPDX-License-Identifier: Apache-2.0
"""What must follow a deadline. That the hold is over needs none of this: the clock alone decides it."""

from datetime import datetime

from holdfirst.flows.outcome import became_free, close_open
from holdfirst.flows.pay import write_down_expiry
from holdfirst.reservation.reservation import Reservation, Status, lapses_at, status_at
from holdfirst.store import payments, reservations
from holdfirst.store.database import Tx


async def expire(tx: Tx, reservation_id: str) -> datetime | None:
    """At `held_until`: write the end down, close what is open. Answers when to look again, if it is not over."""
    reservation = await reservations.lock(tx, reservation_id)
    if reservation is None:
        return None
    attempts = await payments.lock_all(tx, reservation_id)
    now = await tx.now()
    match reservation.status, status_at(reservation, now):
        case (_, Status.HELD):
            return reservation.held_until
        case (Status.HELD, Status.PROCESSING) | (Status.PROCESSING, Status.PROCESSING):
            lapses = lapses_at(reservation)
            if lapses is not None:
                await close_open(tx, attempts, now)
            return lapses
        case (_, Status.EXPIRED | Status.RELEASED):
            before = reservation
            if await write_down_expiry(tx, reservation, attempts, now) is before:
                # A rival's claim wrote it down already; what follows is still ours to do.
                await became_free(tx, reservation, attempts, now)
            return None
        case _:
            return None


async def read(tx: Tx, reservation_id: str) -> tuple[Reservation, datetime] | None:
    """For whoever is told about one reservation: an end that is told is written down first."""
    reservation = await reservations.load(tx, reservation_id)
    if reservation is None:
        return None
    now = await tx.now()
    if reservation.status in (Status.HELD, Status.PROCESSING) and status_at(reservation, now) in (
        Status.EXPIRED,
        Status.RELEASED,
    ):
        reservation = await reservations.lock(tx, reservation_id)
        assert reservation is not None
        now = await tx.now()
        attempts = await payments.lock_all(tx, reservation_id)
        reservation = await write_down_expiry(tx, reservation, attempts, now)
    return reservation, now
