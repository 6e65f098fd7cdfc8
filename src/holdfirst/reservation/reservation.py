# SPDX-License-Identifier: Apache-2.0
"""A reservation: one record, one id, from hold to end. Its state is a pure function of (row, now)."""

import enum
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from holdfirst.payment.money import Money


class Status(enum.StrEnum):
    HELD = "held"
    PROCESSING = "processing"
    CONFIRMED = "confirmed"
    RELEASED = "released"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class AtDeadline(enum.StrEnum):
    """What the clock does at `held_until`: decided when a checkout opens, not when the clock strikes."""

    EXPIRE = "expire"
    CLOSE = "close"
    """A sale checkout that can be closed is open: the time is kept until its provider has said dead or paid."""


class Cause(enum.StrEnum):
    """Why a reservation is stored as processing."""

    CAPTURE = "capture"
    """Pinned: an authorised payment is being captured. No clock ends this."""
    CLOSE = "close"
    """Released while a closable sale was open: until the provider has said dead or paid."""


class EndedBy(enum.StrEnum):
    CLOCK = "clock"
    CUSTOMER = "customer"
    ACCOUNT = "account"
    CALENDAR = "calendar"
    PAYMENT = "payment"


class EndedCode(enum.StrEnum):
    HOLD_EXPIRED = "hold_expired"
    RELEASED = "released"
    CANCELLED = "cancelled"
    CALENDAR_CONFLICT = "calendar_conflict"
    PAYMENT_FAILED = "payment_failed"


class CalendarVerdict(enum.StrEnum):
    """What the hosts' calendars said when they were last asked about this time."""

    PENDING = "pending"
    CLEAN = "clean"
    CONFLICT = "conflict"


class Ended(msgspec.Struct, frozen=True):
    by: EndedBy
    at: datetime
    code: EndedCode


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `reservation`. `status` is what was last written; ask `status_at` for what holds now."""

    id: str
    account_id: str
    livemode: bool
    event_type_id: str
    status: Status
    start: datetime
    end: datetime
    buffer_before_minutes: int
    buffer_after_minutes: int
    hosts: Sequence[str]
    seats: int
    held_until: datetime
    hold_seconds: int
    created_at: datetime
    at_deadline: AtDeadline = AtDeadline.EXPIRE
    processing_until: datetime | None = None
    """Until when an unanswered close may keep the time; set exactly while `at_deadline` or `cause` is close."""
    cause: Cause | None = None
    pinned_at: datetime | None = None
    extensions_used: int = 0
    confirmed_at: datetime | None = None
    price: Money | None = None
    payment_account_id: str | None = None
    paid_by: str | None = None
    payment_reference: str | None = None
    customer: Mapping[str, Any] = {}
    guests: Sequence[str] = ()
    answers: Mapping[str, Any] = {}
    metadata: Mapping[str, Any] = {}
    sequence: int = 0
    ended: Ended | None = None
    released_by: EndedBy | None = None
    """Who asked for the release that an open sale still keeps waiting."""
    cancel_arguments: Mapping[str, Any] | None = None
    secret_version: int = 1
    in_calendars: bool = False
    """Its hosts have calendars: it is written into them, and they are asked."""
    calendar_verdict: CalendarVerdict | None = None
    verified_at: datetime | None = None
    """As of when the verdict holds."""
    taken_at: datetime | None = None
    """Since when its calendars have had its present time to take in; None: since it was made."""

    @property
    def priced(self) -> bool:
        """A price of 0 is no price."""
        return self.price is not None and self.price.amount_minor > 0


def status_at(reservation: Reservation, now: datetime) -> Status:
    """The state at `now`, by the database's clock: the one function that every read and decision uses."""
    match reservation.status:
        case Status.HELD:
            if now < reservation.held_until:
                return Status.HELD
            keeps = lapses_at(reservation)
            return Status.PROCESSING if keeps is not None and now < keeps else Status.EXPIRED
        case Status.PROCESSING:
            lapses = lapses_at(reservation)
            return Status.PROCESSING if lapses is None or now < lapses else Status.RELEASED
        case Status.CONFIRMED | Status.RELEASED | Status.EXPIRED | Status.CANCELLED:
            return reservation.status


def lapses_at(reservation: Reservation) -> datetime | None:
    """The instant from which its time is anyone's, by the clock alone; None: no clock ends it.

    Written into each claim (`live_until`), so that SQL compares with it and decides nothing.
    Only for a reservation that still has claims: held, processing or confirmed.
    """
    match reservation.status, reservation.at_deadline, reservation.cause:
        case (Status.HELD, AtDeadline.EXPIRE, _):
            return reservation.held_until
        case (Status.HELD, AtDeadline.CLOSE, _):
            assert reservation.processing_until is not None
            return max(reservation.held_until, reservation.processing_until)
        case (Status.PROCESSING, _, Cause.CLOSE):
            assert reservation.processing_until is not None
            return reservation.processing_until
        case (Status.PROCESSING | Status.CONFIRMED, _, _):
            return None
        case _:
            raise AssertionError(f"{reservation.id} is {reservation.status}: it has no time to lose")


def has_time(reservation: Reservation) -> bool:
    """Whether the row still has claims (lapsed or not)."""
    return reservation.status in (Status.HELD, Status.PROCESSING, Status.CONFIRMED)
