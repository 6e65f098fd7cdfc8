# SPDX-License-Identifier: Apache-2.0
"""What the hosts' calendars have to say where money decides: before it moves, while it does, and once it is here."""

from datetime import datetime

import msgspec

from holdfirst.errors import ProviderUnavailable
from holdfirst.flows.locked import Locked
from holdfirst.payment.payment import Mode
from holdfirst.refusal import Refusal
from holdfirst.reservation import lifecycle
from holdfirst.reservation.calendar_gate import Gate, gate
from holdfirst.reservation.event_type import CalendarCheck, EventTypeRules, OnConflict
from holdfirst.reservation.reservation import Reservation, Status, status_at
from holdfirst.reservation.verdict import Verdict, pinned_by
from holdfirst.store import catalog, payments, reservations
from holdfirst.store.database import Tx


class AskCalendars(msgspec.Struct, frozen=True):
    """The calendars have not been asked lately enough to decide on."""

    reservation: Reservation
    check: CalendarCheck


class CalendarsUnasked(Exception):
    """The same, where money is on the table: ask, and run the flow again."""


def calendars_word(
    reservation: Reservation, rules: EventTypeRules, now: datetime
) -> AskCalendars | Refusal | None:
    """None: go on."""
    match gate(reservation, rules.calendar_check, now):
        case Gate.OPEN:
            return None
        case Gate.ASK:
            return AskCalendars(reservation, rules.calendar_check)
        case Gate.SHUT:
            return lifecycle.calendar_conflict()


def before_a_sale(
    reservation: Reservation, mode: Mode, rules: EventTypeRules, now: datetime
) -> AskCalendars | Refusal | None:
    """A sale is taken at the customer's click, so the calendars are asked before there is anything to click."""
    return calendars_word(reservation, rules, now) if mode.is_sale else None


def with_calendars(met: Locked, verdict: Verdict, *, asked: bool) -> Verdict:
    """What the hosts' calendars have to say to a verdict that takes time for good.

    Raises `CalendarsUnasked` where they were not asked, and `ProviderUnavailable` where they do not answer and a hold
    still gives time to ask again.
    """
    rules = met.event_type.rules
    opinion = gate(met.reservation, rules.calendar_check, met.now)
    if opinion is Gate.OPEN:
        return verdict
    if opinion is Gate.ASK and not asked:
        raise CalendarsUnasked(met.reservation.id)
    kept_all_the_same = rules.on_conflict is OnConflict.CONFIRM_AND_FLAG
    if verdict in (Verdict.CONFIRM, Verdict.RETAKE_AND_CONFIRM) and kept_all_the_same:
        return verdict
    if opinion is Gate.ASK and status_at(met.reservation, met.now) is not Status.EXPIRED:
        raise ProviderUnavailable("a calendar does not answer")
    return Verdict.GIVE_BACK


class Pinned(msgspec.Struct, frozen=True):
    """A reservation that waits for a payment to be captured, and what its hosts' calendars say to that."""

    reservation: Reservation
    opinion: Gate


async def pinned(tx: Tx, payment_id: str) -> Pinned | None:
    """None: it does not wait for this payment."""
    payment = await payments.load(tx, payment_id)
    assert payment is not None, payment_id
    reservation = await reservations.load(tx, payment.reservation_id)
    assert reservation is not None
    if not pinned_by(reservation, payment):
        return None
    if not reservation.in_calendars:
        return Pinned(reservation, Gate.OPEN)
    event_type = await catalog.event_type_by_id(tx, reservation.event_type_id)
    assert event_type is not None
    return Pinned(reservation, gate(reservation, event_type.rules.calendar_check, await tx.now()))
