# SPDX-License-Identifier: Apache-2.0
"""Every verb on a reservation, as a pure function: (row, now, arguments) → the next row, or a refusal.

    reserve → held ──confirm────────────────► confirmed ──cancel──► cancelled
               │ └─► processing ──captured──► confirmed ──reschedule──► confirmed (sequence + 1)
               │        └────no money─► expired, or released where that was asked for
               ├──release──► released
               └──clock────► expired ──late money, retake allowed──► processing / confirmed

Each is one straight line: assert what must be, answer a repeat, refuse in a fixed order, then write.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from holdfirst.refusal import Code, Refusal
from holdfirst.reservation.reservation import (
    AtDeadline,
    CalendarVerdict,
    Cause,
    Ended,
    EndedBy,
    EndedCode,
    Reservation,
    Status,
    has_time,
    lapses_at,
    status_at,
)

WAIT_SECONDS = 2
"""What `Retry-After` says while a provider's answer is on its way."""


def refusal_of(status: Status) -> Refusal:
    """Why a verb that needs a live hold is refused in this state."""
    match status:
        case Status.PROCESSING:
            return Refusal(
                Code.PAYMENT_IN_PROGRESS,
                "The payment provider's answer is on its way.",
                retry_after=WAIT_SECONDS,
            )
        case Status.CONFIRMED:
            return Refusal(Code.ALREADY_CONFIRMED, "This reservation is confirmed.")
        case Status.RELEASED:
            return Refusal(Code.ALREADY_RELEASED, "This hold was given up.")
        case Status.EXPIRED:
            return Refusal(Code.HOLD_EXPIRED, "This hold ran out.")
        case Status.CANCELLED:
            return Refusal(Code.ALREADY_CANCELLED, "This reservation was cancelled.")
        case Status.HELD:
            raise AssertionError("a held reservation refuses nothing by its state")


def refusal_for(reservation: Reservation, now: datetime) -> Refusal:
    """The same, where the row is at hand: a hold that a calendar ended says so."""
    if reservation.ended is not None and reservation.ended.code is EndedCode.CALENDAR_CONFLICT:
        return calendar_conflict()
    return refusal_of(status_at(reservation, now))


def calendar_conflict() -> Refusal:
    return Refusal(Code.CALENDAR_CONFLICT, "The host's calendar says that this time is taken.")


def expired(reservation: Reservation, now: datetime) -> Reservation | None:
    """The row as the clock left it, if it ended it by `now` and nobody wrote that down yet; ended when its time was up."""
    if not has_time(reservation):
        return None
    at = lapses_at(reservation)
    match status_at(reservation, now):
        case Status.EXPIRED if at is not None:
            return ended(reservation, Status.EXPIRED, Ended(EndedBy.CLOCK, at, EndedCode.HOLD_EXPIRED))
        case Status.RELEASED if at is not None:
            return released(reservation, by=EndedBy.CLOCK, now=at)
        case _:
            return None


def ended(reservation: Reservation, status: Status, how: Ended) -> Reservation:
    """Any end: the time is free, no clock runs any more."""
    return replace(
        reservation,
        status=status,
        ended=how,
        at_deadline=AtDeadline.EXPIRE,
        processing_until=None,
        cause=None,
        pinned_at=None,
        released_by=None,
    )


def released(reservation: Reservation, *, by: EndedBy, now: datetime) -> Reservation:
    code = EndedCode.CALENDAR_CONFLICT if by is EndedBy.CALENDAR else EndedCode.RELEASED
    return ended(reservation, Status.RELEASED, Ended(by, now, code))


def extend(
    reservation: Reservation,
    now: datetime,
    *,
    extensions_max: int,
    total_max: timedelta,
    processing_max: timedelta,
) -> Reservation | Refusal:
    """`held_until` = the later of itself and now + `hold_seconds`, never past `created_at` + `total_max`."""
    status = status_at(reservation, now)
    if status is not Status.HELD:
        return refusal_of(status)
    if reservation.extensions_used >= extensions_max:
        return Refusal(Code.EXTENSION_REFUSED, "No extension is left.")
    until = min(now + timedelta(seconds=reservation.hold_seconds), reservation.created_at + total_max)
    if until <= reservation.held_until:
        return Refusal(Code.EXTENSION_REFUSED, "An extension would not gain any time.")
    later = with_deadline(reservation, until, processing_max)
    return replace(later, extensions_used=reservation.extensions_used + 1)


def with_deadline(reservation: Reservation, until: datetime, processing_max: timedelta) -> Reservation:
    """A held row with another `held_until`; the time that an unanswered close may keep moves along."""
    assert reservation.status is Status.HELD
    closing = reservation.at_deadline is AtDeadline.CLOSE
    return replace(
        reservation, held_until=until, processing_until=until + processing_max if closing else None
    )


def time_to_pay(
    reservation: Reservation, now: datetime, *, checkout_min: timedelta, total_max: timedelta
) -> datetime | Refusal:
    """The deadline a checkout starts with: at least `checkout_min` from now, still under the total."""
    least = now + checkout_min
    if reservation.held_until >= least:
        return reservation.held_until
    if least <= reservation.created_at + total_max:
        return least
    return Refusal(Code.TOO_LATE_TO_PAY, "Too little time is left to pay; reserve again.")


def closing_at_deadline(reservation: Reservation, processing_max: timedelta) -> Reservation:
    """A closable sale opens: from now on the deadline closes it before the time is free."""
    return replace(
        reservation,
        at_deadline=AtDeadline.CLOSE,
        processing_until=reservation.held_until + processing_max,
    )


def checkout_dead(reservation: Reservation, now: datetime) -> Reservation:
    """The sale that the deadline would have to close is known dead: nothing keeps the time any longer."""
    status = status_at(reservation, now)
    match reservation.status, status:
        case (Status.HELD, Status.HELD):
            return replace(reservation, at_deadline=AtDeadline.EXPIRE, processing_until=None)
        case (Status.HELD, _):
            at = min(now, lapses_at(reservation) or now)
            return ended(reservation, Status.EXPIRED, Ended(EndedBy.CLOCK, at, EndedCode.HOLD_EXPIRED))
        case (Status.PROCESSING, _) if reservation.cause is Cause.CLOSE:
            return released(reservation, by=reservation.released_by or EndedBy.CUSTOMER, now=now)
        case _:
            return reservation


def release(reservation: Reservation, now: datetime, *, by: EndedBy, force: bool) -> Reservation | Refusal:
    """Give up a hold at once. The caller closes what is open; a closable sale goes by `release_after_close`."""
    status = status_at(reservation, now)
    match status:
        case Status.RELEASED | Status.EXPIRED:
            return expired(reservation, now) or reservation
        case Status.CONFIRMED | Status.CANCELLED:
            return refusal_of(status)
        case Status.PROCESSING if not force:
            return refusal_of(status)
        case Status.HELD | Status.PROCESSING:
            freed = released(reservation, by=by, now=now)
            return replace(freed, paid_by=None)


def release_after_close(
    reservation: Reservation, now: datetime, processing_max: timedelta, *, by: EndedBy
) -> Reservation:
    """Asked to release while a closable sale is open: the time is kept until nobody can pay any more."""
    assert status_at(reservation, now) is Status.HELD
    return replace(
        reservation,
        status=Status.PROCESSING,
        cause=Cause.CLOSE,
        at_deadline=AtDeadline.EXPIRE,
        processing_until=now + processing_max,
        released_by=by,
    )


def pin(reservation: Reservation, payment_id: str, now: datetime) -> Reservation:
    """An authorised payment decides from here on: the clock may not free the time."""
    return replace(
        reservation,
        status=Status.PROCESSING,
        cause=Cause.CAPTURE,
        at_deadline=AtDeadline.EXPIRE,
        processing_until=None,
        pinned_at=now,
        paid_by=payment_id,
        ended=None,
        released_by=None,
    )


def unpin(reservation: Reservation, now: datetime) -> Reservation:
    """The authorised money is not captured: nobody is charged, and the time is free."""
    assert reservation.cause is Cause.CAPTURE
    if reservation.calendar_verdict is CalendarVerdict.CONFLICT:
        return replace(released(reservation, by=EndedBy.CALENDAR, now=now), paid_by=None)
    lost = ended(reservation, Status.EXPIRED, Ended(EndedBy.PAYMENT, now, EndedCode.PAYMENT_FAILED))
    return replace(lost, paid_by=None)


def firm(
    reservation: Reservation, now: datetime, *, paid_by: str | None, payment_reference: str | None
) -> Reservation:
    """Confirmed. Who calls this has money or the right to do without it: `paid_by` is assigned once."""
    assert reservation.paid_by in (None, paid_by)
    assert not reservation.priced or paid_by or payment_reference
    return replace(
        reservation,
        status=Status.CONFIRMED,
        cause=None,
        at_deadline=AtDeadline.EXPIRE,
        processing_until=None,
        pinned_at=None,
        confirmed_at=now,
        paid_by=paid_by,
        payment_reference=payment_reference,
        ended=None,
        released_by=None,
    )


def cancel(
    reservation: Reservation, now: datetime, *, by: EndedBy, arguments: Mapping[str, Any]
) -> Reservation | Refusal:
    """Call off a confirmed reservation. The same call again is answered as before."""
    status = status_at(reservation, now)
    match status:
        case Status.CANCELLED:
            same = dict(reservation.cancel_arguments or {}) == dict(arguments)
            return reservation if same else refusal_of(status)
        case Status.PROCESSING:
            return refusal_of(status)
        case Status.HELD | Status.RELEASED | Status.EXPIRED:
            return Refusal(Code.NOT_CONFIRMED, "Only a confirmed reservation can be cancelled.")
        case Status.CONFIRMED:
            off = ended(reservation, Status.CANCELLED, Ended(by, now, EndedCode.CANCELLED))
            return replace(off, cancel_arguments=dict(arguments))


def moved(reservation: Reservation, start: datetime, hosts: tuple[str, ...]) -> Reservation:
    """To another slot: same id; a confirmed one counts the revision, as iCalendar does."""
    firm_already = reservation.status is Status.CONFIRMED
    return replace(
        reservation,
        start=start,
        end=start + (reservation.end - reservation.start),
        hosts=hosts,
        sequence=reservation.sequence + (1 if firm_already else 0),
    )


def retakeable(reservation: Reservation, now: datetime) -> bool:
    """Whether an expired reservation may take its time again (if it is still free): start still ahead."""
    return status_at(reservation, now) is Status.EXPIRED and now < reservation.start
