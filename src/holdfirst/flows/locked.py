# SPDX-License-Identifier: Apache-2.0
"""The locks of a flow that may need time: hosts first, then the reservation, then its payments."""

from datetime import datetime

import msgspec

from holdfirst.payment.payment import Payment
from holdfirst.reservation.event_type import EventType
from holdfirst.reservation.reservation import Reservation
from holdfirst.store import catalog, payments, reservations
from holdfirst.store.database import TryAgain, Tx


class Locked(msgspec.Struct, frozen=True):
    """Everything that a decision about one payment rests on, locked; `now` was asked after the locks."""

    reservation: Reservation
    payment: Payment
    attempts: list[Payment]
    event_type: EventType
    now: datetime


async def lock_with_hosts(tx: Tx, payment_id: str) -> Locked:
    unlocked = await payments.load(tx, payment_id)
    assert unlocked is not None, payment_id
    reservation = await lock_reservation_with_hosts(tx, unlocked.reservation_id)
    attempts = await payments.lock_all(tx, reservation.id)
    event_type = await catalog.event_type_by_id(tx, reservation.event_type_id)
    assert event_type is not None
    payment = next(one for one in attempts if one.id == payment_id)
    return Locked(reservation, payment, attempts, event_type, await tx.now())


async def lock_reservation_with_hosts(
    tx: Tx, reservation_id: str, more_hosts: tuple[str, ...] = ()
) -> Reservation:
    """Read unlocked to learn the hosts, lock them, then read again FOR UPDATE."""
    guess = await reservations.load(tx, reservation_id)
    assert guess is not None, reservation_id
    await reservations.lock_hosts(tx, [*guess.hosts, *more_hosts])
    reservation = await reservations.lock(tx, reservation_id)
    assert reservation is not None
    if not set(reservation.hosts) <= {*guess.hosts, *more_hosts}:
        # It moved to another host between the two reads; its lock cannot be taken out of order.
        raise TryAgain
    return reservation
