# SPDX-License-Identifier: Apache-2.0
"""iCalendar (RFC 5545): our events as text, and what is asked of, and told by, whoever reads somebody else's.

The reading itself (`icalendar_reading.py`) is for a process of its own.
"""

from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

from holdfirst.calendar.calendar_event import CalendarEvent, EventState

LINE_BYTES_MAX = 75


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What to read for: the window, in whose zone a time without one is, and whose "declined" counts."""

    start: datetime
    end: datetime
    zone: str
    owners: tuple[str, ...] = ()


class Task(msgspec.Struct, frozen=True):
    """What the process that reads is sent. It is kept here, away from that process's libraries."""

    texts: list[bytes]
    asked: Question


class ReadEvent(msgspec.Struct, frozen=True):
    """What the components of one UID take within the window. `start`, `end`: of an event that happens once."""

    uid: str
    busy: list[tuple[datetime, datetime]]
    start: datetime | None = None
    end: datetime | None = None


class Reading(msgspec.Struct, frozen=True):
    """`notes`: what was not understood, for whoever connected the calendar. `fault`: it was not iCalendar at all."""

    events: list[ReadEvent] = []
    notes: list[str] = []
    fault: str | None = None


def to_icalendar(event: CalendarEvent, now: datetime) -> bytes:
    """One VEVENT in UTC: no attendees (a server would invite them), no alarm, private, and it blocks the time."""
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//holdfirst//holdfirst//EN",
        *event_lines(event, now),
        "END:VCALENDAR",
    ]
    return folded(lines)


def to_feed(name: str, events: Iterable[tuple[CalendarEvent, datetime]]) -> bytes:
    """A whole calendar for whoever subscribes to it; each event with the instant that it was last changed."""
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//holdfirst//holdfirst//EN",
        "METHOD:PUBLISH",
        f"X-WR-CALNAME:{_text(name)}",
        "REFRESH-INTERVAL;VALUE=DURATION:PT15M",
        "X-PUBLISHED-TTL:PT15M",
    ]
    for event, changed_at in events:
        lines += event_lines(event, changed_at)
    return folded([*lines, "END:VCALENDAR"])


def event_lines(event: CalendarEvent, now: datetime) -> list[str]:
    confirmed = event.state is EventState.CONFIRMED
    lines = [
        "BEGIN:VEVENT",
        f"UID:{event.uid}",
        f"DTSTAMP:{_utc(now)}",
        f"DTSTART:{_utc(event.start)}",
        f"DTEND:{_utc(event.end)}",
        f"SUMMARY:{_text(event.title)}",
        f"STATUS:{'CONFIRMED' if confirmed else 'TENTATIVE'}",
        "TRANSP:OPAQUE",
        "CLASS:PRIVATE",
        f"SEQUENCE:{event.sequence}",
    ]
    if event.text:
        lines.append(f"DESCRIPTION:{_text(event.text)}")
    if event.location:
        lines.append(f"LOCATION:{_text(event.location)}")
    return [*lines, "END:VEVENT"]


def folded(lines: Iterable[str]) -> bytes:
    """CRLF, and no line over 75 octets; a character is never cut in two."""
    out = bytearray()
    for line in lines:
        room = LINE_BYTES_MAX
        for character in line:
            octets = character.encode()
            if len(octets) > room:
                out += b"\r\n "
                room = LINE_BYTES_MAX - 1
            out += octets
            room -= len(octets)
        out += b"\r\n"
    return bytes(out)


def _utc(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def _text(text: str) -> str:
    plain = text.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,")
    return plain.replace("\r\n", "\\n").replace("\n", "\\n").replace("\r", "\\n")
