# SPDX-License-Identifier: Apache-2.0
"""What follows an outcome: mail, open checkouts to close, slot lists to refresh. Always rows in the same transaction.

Everything that comes with a booking attaches here, to its outcome, and never to its making.
"""

import enum
from collections.abc import Iterable
from datetime import datetime

from holdfirst.payment.payment import Payment
from holdfirst.reservation.reservation import Reservation
from holdfirst.store import jobs, reservations
from holdfirst.store.database import Tx


class Mail(enum.StrEnum):
    CONFIRMED = "confirmed"
    MOVED = "moved"
    CANCELLED = "cancelled"
    LATE_NOT_CHARGED = "late_not_charged"
    LATE_REFUNDED = "late_refunded"


async def became_firm(tx: Tx, reservation: Reservation, payments: Iterable[Payment], now: datetime) -> None:
    await send_mail(tx, reservation, Mail.CONFIRMED, now)
    await close_open(tx, (one for one in payments if one.id != reservation.paid_by), now)
    await write_into_calendars(tx, reservation, now)
    reservations.announce_slots(tx, reservation)


async def became_another_time(tx: Tx, before: Reservation, moved: Reservation, now: datetime) -> None:
    """Whoever has a confirmation in hand is told; a hold that moves is the holder's own doing, and nothing firm yet."""
    if moved.confirmed_at is not None:
        await send_mail(tx, moved, Mail.MOVED, now, str(moved.sequence))
    await write_into_calendars(tx, moved, now)
    reservations.announce_slots(tx, before)
    reservations.announce_slots(tx, moved)


async def became_free(tx: Tx, reservation: Reservation, payments: Iterable[Payment], now: datetime) -> None:
    """Released, expired or cancelled: nobody is to pay for it any more."""
    await close_open(tx, payments, now)
    await write_into_calendars(tx, reservation, now)
    reservations.announce_slots(tx, reservation)


async def write_into_calendars(tx: Tx, reservation: Reservation, now: datetime) -> None:
    """Bring its events in line with what it is now."""
    if reservation.in_calendars:
        await jobs.enqueue(tx, reservation.account_id, "calendars", reservation.id, due=now)


async def close_open(tx: Tx, payments: Iterable[Payment], now: datetime) -> None:
    """Close what can be closed; what cannot is watched."""
    for payment in payments:
        if payment.can_bring_money and payment.mode.can_be_closed:
            await jobs.enqueue(tx, payment.account_id, "close", payment.id, due=now, lane=payment.id)


async def send_mail(tx: Tx, reservation: Reservation, mail: Mail, now: datetime, about: str = "") -> None:
    """At most one of each kind (and payment) for a reservation: the subject is the job's name."""
    subject = "/".join(part for part in (reservation.id, mail.value, about) if part)
    await jobs.enqueue(
        tx, reservation.account_id, "send_mail", subject, due=now, lane=f"mail:{reservation.id}"
    )


async def tell_host(tx: Tx, account_id: str, connection_id: str, now: datetime) -> None:
    """That a calendar of theirs cannot be read any more, and that they are closed because of it."""
    await jobs.enqueue(tx, account_id, "tell_host", connection_id, due=now)


async def tell_of_change(tx: Tx, account_id: str, what_of: tuple[str, str, str], now: datetime) -> None:
    """The host, that they moved or deleted a booking's event, and that nothing follows from it. `what_of`: the reservation,
    the calendar, and which of the two.
    """
    # The moment makes one mail of one change: it is in the Message-ID.
    subject = "/".join((*what_of, str(int(now.timestamp() * 1000))))
    await jobs.enqueue(tx, account_id, "tell_of_change", subject, due=now)
