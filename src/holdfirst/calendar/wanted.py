# SPDX-License-Identifier: Apache-2.0
"""What of a reservation is to stand in a calendar: a pure function of its row, so that it can be asked at any time."""

from datetime import datetime

from holdfirst.calendar.calendar_event import CalendarEvent, EventState
from holdfirst.reservation.event_type import EventTypeRules
from holdfirst.reservation.reservation import Reservation, Status, status_at

_CONTACT = ("name", "email", "phone")


def wanted_state(reservation: Reservation, now: datetime, *, destination: bool) -> EventState | None:
    """While somebody decides, every calendar shows it; once it is firm, the one that receives; after its end, none."""
    match status_at(reservation, now):
        case Status.HELD | Status.PROCESSING:
            return EventState.HOLD
        case Status.CONFIRMED:
            return EventState.CONFIRMED if destination else None
        case Status.RELEASED | Status.EXPIRED | Status.CANCELLED:
            return None


def wanted_event(
    reservation: Reservation, rules: EventTypeRules, uid: str, state: EventState
) -> CalendarEvent:
    """A hold tells nobody's name; a confirmed one tells the host who comes."""
    if state is EventState.HOLD:
        return CalendarEvent(
            uid=uid, state=state, start=reservation.start, end=reservation.end, title=f"Hold: {rules.name}"
        )
    customer = reservation.customer
    who = str(customer.get("name") or "").strip()
    lines = [str(customer[key]) for key in _CONTACT if customer.get(key)]
    if reservation.seats > 1:
        lines.append(f"{reservation.seats} seats")
    lines += list(reservation.guests)
    place = rules.location.value if rules.location is not None else None
    return CalendarEvent(
        uid=uid,
        state=state,
        start=reservation.start,
        end=reservation.end,
        title=f"{who}: {rules.name}" if who else rules.name,
        text="\n".join([*lines, reservation.id]),
        location=place or "",
        sequence=reservation.sequence + 1,
    )
