# SPDX-License-Identifier: Apache-2.0
"""What an iCalendar text of somebody's says is busy.

For a process of its own (`providers/icalendar_child.py`): the text is a stranger's, and a rule of one line can ask for
more instants than there is time.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import icalendar
import msgspec
import recurring_ical_events
from icalendar.timezone import tzp

from holdfirst.availability.windows import is_zone
from holdfirst.calendar.calendar_event import printable, short
from holdfirst.calendar.icalendar import Question, ReadEvent, Reading

FIRST_SECONDS = 0.04
"""What each event may take at first, however many take longer: a daily one for a year takes half of it."""
EVENT_SECONDS_MAX = 0.5
SHARE_SECONDS_MIN = 0.15
"""Of those that took longer: enough for a daily one since 1970."""
LONG_SECONDS_MAX = 1.2
"""For all that turn out never to end, together."""
OCCURRENCES_MAX = 10_000
"""Of one event, within the window: an hourly one for a year."""
NOTES_MAX = 5
DAY = timedelta(days=1)
LENGTH_UNKNOWN = timedelta(hours=1)
"""Of an event whose end cannot be read."""
ENDS = ("DTEND", "DURATION")
SERIES = ("RRULE", "RDATE", "EXDATE")

Component = Any
"""The library's types name all that a property could ever be; what it is here is said by RFC 5545."""
Bounded = Callable[[float], AbstractContextManager[object]]
"""Around what one event may take, in seconds of work; raises `TimeoutError` where it takes longer."""


class _Event(msgspec.Struct, frozen=True):
    """The components of one UID, over all of a text: it may stand in more than one of its calendars."""

    uid: str
    components: list[Component]
    asked: Question


class _Text(msgspec.Struct):
    events: list[_Event]
    notes: list[str]
    found: dict[str, ReadEvent] = {}
    fault: str | None = None

    def take_in(self, event: _Event) -> None:
        notes: list[str] = []
        read = _read(event.uid, event.components, event.asked, notes)
        # Done: what was noted on the way is true.
        self.notes += notes
        if read is not None:
            before = self.found.get(event.uid)
            self.found[event.uid] = read if before is None else _together(event.uid, [before, read])


def read_icalendar(texts: Sequence[bytes], asked: Question, bounded: Bounded) -> list[Reading]:
    """Everything busy within the window. What cannot be read of one event is noted, and the others count.

    Events that take long come last and share what time there is, so that no number of them that somebody sends keeps
    the others from being worked out.
    """
    told = [_opened(text, asked) for text in texts]
    every = [(one, event) for one in told for event in one.events]
    long = [(one, event) for one, event in every if not _in_time(one, event, bounded, FIRST_SECONDS)]
    left = LONG_SECONDS_MAX
    for behind, (one, event) in zip(range(len(long), 0, -1), long, strict=True):
        share = min(max(left / behind, SHARE_SECONDS_MIN), EVENT_SECONDS_MAX)
        if left < share or not _in_time(one, event, bounded, share):
            left -= share
            one.notes.append(f"an event takes too long to work out and was left out: {event.uid[:80]}")
    return [Reading(list(one.found.values()), _worded(one.notes), one.fault) for one in told]


def _in_time(text: _Text, event: _Event, bounded: Bounded, seconds: float) -> bool:
    try:
        with bounded(seconds):
            text.take_in(event)
    except TimeoutError:
        return False
    return True


def _opened(text: bytes, asked: Question) -> _Text:
    # What one text calls a zone is not to be believed of the next.
    tzp.use_zoneinfo()
    plain = text.decode("utf-8-sig", "replace")
    notes = ["not in UTF-8; what could not be read was left out"] if "\ufffd" in plain else []
    try:
        calendars = icalendar.Calendar.from_ical(plain, multiple=True)
        if not any(isinstance(one, icalendar.Calendar) for one in calendars):
            return _Text([], notes, fault="not iCalendar: there is no VCALENDAR in it")
        return _Text(_events(calendars, asked, notes), notes)
    except (MemoryError, RecursionError):
        return _Text([], notes, fault="too large to be read")
    except (ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        return _Text([], notes, fault=printable(f"not iCalendar: {str(error)[:200]}"))


def _events(calendars: list[Component], asked: Question, notes: list[str]) -> list[_Event]:
    found: dict[tuple[str, str], list[Component]] = {}
    for calendar in calendars:
        named = str(calendar.get("X-WR-TIMEZONE", ""))
        zone = named if is_zone(named) else asked.zone
        for component in calendar.walk("VEVENT"):
            uid = short(str(component.get("UID", f"?{len(found)}")))
            notes += [f"an event's {name} cannot be read: {uid[:80]}" for name in _mend(component)]
            found.setdefault((uid, zone), []).append(component)
    return [
        _Event(uid, components, msgspec.structs.replace(asked, zone=zone))
        for (uid, zone), components in found.items()
    ]


def _mend(component: Component) -> list[str]:
    """Takes away what cannot be read of its times, and what is said again and can be said once only; answers which."""
    mended = []
    for name in ("DTSTART", *ENDS, "RECURRENCE-ID", *SERIES):
        told = component.get(name, [])
        every = told if isinstance(told, list) else [told]
        good = [one for one in every if not isinstance(one, icalendar.vBroken) and one != {}]
        kept = good if name in SERIES else good[:1]
        if len(kept) < len(every):
            mended.append(name)
            del component[name]
        if kept:
            component[name] = kept if len(kept) > 1 else kept[0]
    endless = not any(name in component for name in ENDS) and not set(mended).isdisjoint(ENDS)
    if endless and isinstance(getattr(component.get("DTSTART"), "dt", None), datetime):
        component["DURATION"] = icalendar.vDuration(LENGTH_UNKNOWN)
    return mended


def _worded(notes: list[str]) -> list[str]:
    return [printable(one) for one in dict.fromkeys(notes)][:NOTES_MAX]


def _read(uid: str, components: list[Component], asked: Question, notes: list[str]) -> ReadEvent | None:
    """None: not even when it begins can be read. What is not certain is busy."""
    if sum("RECURRENCE-ID" not in one for one in components) > 1:
        # Somebody gave one UID to several events: each is one.
        return _each(uid, components, asked, notes)
    try:
        if len(components) == 1 and not _recurs(components[0]):
            return _once(uid, components[0], asked, notes)
        return _series(uid, components, asked, notes)
    except TimeoutError:
        raise
    except Exception as error:  # noqa: BLE001  # whatever a stranger's text makes the parser do
        notes.append(f"an event cannot be read ({type(error).__name__}): {uid[:80]}")
    if len(components) > 1:
        return _each(uid, components, asked, notes)
    if not _recurs(components[0]):
        return None
    # Its first time at least.
    for name in (*SERIES, "RECURRENCE-ID"):
        components[0].pop(name, None)
    return _read(uid, components, asked, notes)


def _each(uid: str, components: list[Component], asked: Question, notes: list[str]) -> ReadEvent | None:
    read = [_read(uid, [one], asked, notes) for one in components]
    found = [one for one in read if one is not None]
    return _together(uid, found) if found else None


def _together(uid: str, read: list[ReadEvent]) -> ReadEvent:
    return ReadEvent(uid, list(dict.fromkeys(span for one in read for span in one.busy)))


def _once(uid: str, component: Component, asked: Question, notes: list[str]) -> ReadEvent:
    start, end = _span(component, asked, notes)
    busy = _takes_time(component, asked) and start < end
    return ReadEvent(uid, _within([(start, end)], asked) if busy else [], start, end)


def _series(uid: str, components: list[Component], asked: Question, notes: list[str]) -> ReadEvent:
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
        if (
            address in asked.owners
            and str(getattr(attendee, "params", {}).get("PARTSTAT", "")).upper() == "DECLINED"
        ):
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
        try:
            return start, _after(first.dt, component["DURATION"].dt, zone)
        except OverflowError:
            return start, datetime.max.replace(tzinfo=UTC)
    return start, start if isinstance(first.dt, datetime) else _instant(first.dt + DAY, zone)


def _after(first: date, length: timedelta, zone: ZoneInfo) -> datetime:
    """Days are days of the local calendar, hours are hours."""
    if not isinstance(first, datetime):
        return _instant(first + length, zone)
    return _instant(first + timedelta(days=length.days), zone) + timedelta(seconds=length.seconds)


def _instant(when: date, zone: ZoneInfo) -> datetime:
    """In UTC; what lies beyond year 1 or 9999 there is at that end, so that an event "for ever" stays busy."""
    if not isinstance(when, datetime):
        when = datetime.combine(when, time(), zone)
    try:
        return (when.replace(tzinfo=zone) if when.tzinfo is None else when).astimezone(UTC)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC) if when.year > 1 else datetime.min.replace(tzinfo=UTC)
