# SPDX-License-Identifier: Apache-2.0
"""What an iCalendar text of somebody's says is busy.

For a process of its own (`providers/icalendar_child.py`): the text is a stranger's, and a rule of one line can ask for
more instants than there is time.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import icalendar
import msgspec
import recurring_ical_events
from icalendar.timezone import tzp

from holdfirst.availability.windows import is_zone
from holdfirst.calendar.icalendar import Question, ReadEvent, Reading

OCCURRENCES_MAX = 10_000
"""Of one event, within the window: an hourly one for a year."""
NOTES_MAX = 5
DAY = timedelta(days=1)

Component = Any
"""The library's types name all that a property could ever be; what it is here is said by RFC 5545."""
Bounded = Callable[[], AbstractContextManager[object]]
"""Around what one event may take; raises `TimeoutError` where it takes longer."""


def read_icalendar(text: bytes, asked: Question, bounded: Bounded) -> Reading:
    """Everything busy within the window. What cannot be read of one event is noted, and the others count."""
    notes: list[str] = []
    # What one text calls a zone is not to be believed of the next.
    tzp.use_zoneinfo()
    plain = text.decode("utf-8-sig", "replace")
    if "\ufffd" in plain:
        notes.append("not in UTF-8; what could not be read was left out")
    try:
        calendars = icalendar.Calendar.from_ical(plain, multiple=True)
    except (ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        return Reading(fault=f"not iCalendar: {str(error)[:200]}")
    if not any(isinstance(one, icalendar.Calendar) for one in calendars):
        return Reading(fault="not iCalendar: there is no VCALENDAR in it")
    events = []
    for calendar in calendars:
        question = msgspec.structs.replace(asked, zone=_zone_of(calendar) or asked.zone)
        for uid, components in _by_uid(calendar).items():
            try:
                with bounded():
                    events.append(_read(uid, components, question, notes))
            except TimeoutError:
                notes.append(f"an event takes too long to work out and was left out: {uid[:80]}")
            except Exception as error:  # noqa: BLE001  # whatever a stranger's text makes the parser do
                notes.append(f"an event cannot be read ({type(error).__name__}): {uid[:80]}")
    return Reading(events, notes[:NOTES_MAX])


def _zone_of(calendar: Component) -> str | None:
    named = str(calendar.get("X-WR-TIMEZONE", ""))
    return named if is_zone(named) else None


def _by_uid(calendar: Component) -> dict[str, list[Component]]:
    found: dict[str, list[Component]] = {}
    for position, component in enumerate(calendar.walk("VEVENT")):
        found.setdefault(str(component.get("UID", f"?{position}")), []).append(component)
    return found


def _read(uid: str, components: list[Component], asked: Question, notes: list[str]) -> ReadEvent:
    if len(components) == 1 and not _recurs(components[0]):
        start, end = _span(components[0], asked, notes)
        busy = _takes_time(components[0], asked) and start < end
        return ReadEvent(uid, _within([(start, end)], asked) if busy else [], start, end)
    for component in components:
        for rule in _rules(component):
            if {"SECONDLY", "MINUTELY"} & {str(freq).upper() for freq in rule.get("FREQ", ())}:
                notes.append(f"an event recurs more often than hourly and was left out: {uid[:80]}")
                return ReadEvent(uid, [])
    # A calendar of its own, so that nothing else of the text has a say in it.
    series = icalendar.Calendar()
    for component in components:
        series.add_component(component)
    found = recurring_ical_events.of(series).between(asked.start - 2 * DAY, asked.end + 2 * DAY)
    if len(found) > OCCURRENCES_MAX:
        notes.append(f"an event recurs too often and was left out: {uid[:80]}")
        return ReadEvent(uid, [])
    spans = [_span(one, asked, notes) for one in found if _takes_time(one, asked)]
    return ReadEvent(uid, _within([(start, end) for start, end in spans if start < end], asked))


def _recurs(component: Component) -> bool:
    return any(name in component for name in ("RRULE", "RDATE", "RECURRENCE-ID"))


def _rules(component: Component) -> list[Component]:
    rules = component.get("RRULE", [])
    return list(rules) if isinstance(rules, list) else [rules]


def _within(spans: list[tuple[datetime, datetime]], asked: Question) -> list[tuple[datetime, datetime]]:
    """What lies in the window, cut to it."""
    return [
        (max(start, asked.start), min(end, asked.end))
        for start, end in spans
        if start < asked.end and end > asked.start
    ]


def _takes_time(component: Component, asked: Question) -> bool:
    """Cancelled, transparent and declined events do not; tentative and unanswered ones do."""
    if str(component.get("STATUS", "")).upper() == "CANCELLED":
        return False
    if str(component.get("TRANSP", "")).upper() == "TRANSPARENT":
        return False
    if str(component.get("X-MICROSOFT-CDO-BUSYSTATUS", "")).upper() == "FREE":
        return False
    attendees = component.get("ATTENDEE", [])
    for attendee in attendees if isinstance(attendees, list) else [attendees]:
        address = str(attendee).lower().removeprefix("mailto:")
        if address in asked.owners and str(attendee.params.get("PARTSTAT", "")).upper() == "DECLINED":
            return False
    return True


def _span(component: Component, asked: Question, notes: list[str]) -> tuple[datetime, datetime]:
    """Start and end as instants; a date is a day in the calendar's zone, of 23 to 25 hours."""
    first = component["DTSTART"]
    zone = ZoneInfo(asked.zone)
    named = first.params.get("TZID")
    if named and isinstance(first.dt, datetime) and first.dt.tzinfo is None:
        notes.append(f"unknown time zone {str(named)[:80]!r}: read as {asked.zone}")
    start = _instant(first.dt, zone)
    if "DTEND" in component:
        return start, _instant(component["DTEND"].dt, zone)
    if "DURATION" in component:
        length = component["DURATION"].dt
        if not isinstance(first.dt, datetime):
            return start, _instant(first.dt + length, zone)
        # Days are days of the local calendar, hours are hours.
        whole = _instant(first.dt + timedelta(days=length.days), zone)
        return start, whole + timedelta(seconds=length.seconds)
    return start, start if isinstance(first.dt, datetime) else _instant(first.dt + DAY, zone)


def _instant(when: date, zone: ZoneInfo) -> datetime:
    """In UTC; what lies beyond year 1 or 9999 there is at that end, so that an event "for ever" stays busy."""
    if not isinstance(when, datetime):
        when = datetime.combine(when, time(), zone)
    try:
        return (when.replace(tzinfo=zone) if when.tzinfo is None else when).astimezone(UTC)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC) if when.year > 1 else datetime.min.replace(tzinfo=UTC)
