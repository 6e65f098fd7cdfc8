# SPDX-License-Identifier: Apache-2.0
"""Whether what the hosts' calendars said lets a reservation go on: become firm, or open a checkout that is a sale."""

import enum
from datetime import datetime, timedelta

from msgspec.structs import replace

from holdfirst.reservation.event_type import CalendarCheck
from holdfirst.reservation.lifecycle import release_after_close, released
from holdfirst.reservation.reservation import CalendarVerdict, EndedBy, Reservation, Status, status_at

FRESH = {
    CalendarCheck.FAST: timedelta(seconds=10),
    CalendarCheck.VERIFIED: timedelta(seconds=10),
    CalendarCheck.STRICT: timedelta(seconds=5),
}
"""How old a verdict may be where it decides."""
SETTLE = timedelta(seconds=5)
"""Under `strict`, what is asked so soon after the time was taken does not count: a calendar's reads may lag behind its writes."""


class Gate(enum.StrEnum):
    OPEN = "open"
    ASK = "ask"
    """Nobody has asked, or too long ago."""
    SHUT = "shut"
    """Something else is in one of the calendars."""


def gate(reservation: Reservation, check: CalendarCheck, now: datetime) -> Gate:
    """By the row (locked) and the database's clock."""
    if not reservation.in_calendars or check is CalendarCheck.LOCAL:
        return Gate.OPEN
    asked = reservation.verified_at
    if asked is None or now - asked > FRESH[check]:
        return Gate.ASK
    if reservation.calendar_verdict is CalendarVerdict.CONFLICT:
        return Gate.SHUT
    if reservation.calendar_verdict is CalendarVerdict.PENDING:
        return Gate.ASK
    return Gate.ASK if check is CalendarCheck.STRICT and asked < settled_at(reservation) else Gate.OPEN


def settled_at(reservation: Reservation) -> datetime:
    """From when on an answer counts under `strict`."""
    return (reservation.taken_at or reservation.created_at) + SETTLE


def first_verdict(check: CalendarCheck) -> CalendarVerdict | None:
    """What a new hold in calendars begins with; None where nobody will ask."""
    return None if check is CalendarCheck.LOCAL else CalendarVerdict.PENDING


def verified(reservation: Reservation, verdict: CalendarVerdict, asked_at: datetime) -> Reservation:
    return replace(reservation, calendar_verdict=verdict, verified_at=asked_at)


def unasked(reservation: Reservation, check: CalendarCheck, now: datetime) -> Reservation:
    """It is in calendars, and what they said, if anything, was about another time."""
    return replace(
        reservation,
        in_calendars=True,
        calendar_verdict=first_verdict(check),
        verified_at=None,
        taken_at=now,
    )


def given_up(
    reservation: Reservation, now: datetime, *, sale_open: bool, processing_max: timedelta
) -> Reservation:
    """A hold in whose time something else stands. Where a sale could still be paid, it is closed first."""
    assert status_at(reservation, now) is Status.HELD
    if sale_open:
        return release_after_close(reservation, now, processing_max, by=EndedBy.CALENDAR)
    return released(reservation, by=EndedBy.CALENDAR, now=now)
