# SPDX-License-Identifier: Apache-2.0
"""What we write into a calendar, and what we read out of one."""

import enum
import hashlib
from collections.abc import Sequence
from datetime import datetime

import msgspec

NAME_BYTES_MAX = 500
"""Of what a stranger calls an event; an index of the database takes some thousands."""


class EventState(enum.StrEnum):
    HOLD = "hold"
    """Tentative: somebody is deciding, or paying."""
    CONFIRMED = "confirmed"


class CalendarEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One reservation as it stands in one calendar. Private, silent, and with nobody invited."""

    uid: str
    state: EventState
    start: datetime
    end: datetime
    title: str
    text: str = ""
    location: str = ""
    sequence: int = 0

    @property
    def fingerprint(self) -> str:
        """Equal for equal content: whether what was written is what is wanted."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:32]


class Occurrence(msgspec.Struct, frozen=True):
    """One stretch of time that an event in a calendar takes."""

    uid: str
    start: datetime
    end: datetime


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """An event that is there: what it takes within the window that was asked for. `ref`: the calendar's name for it.

    `start`, `end`: of an event that happens once; None of a series.
    """

    ref: str
    etag: str
    uid: str
    busy: Sequence[tuple[datetime, datetime]] = ()
    start: datetime | None = None
    end: datetime | None = None


def marker(account_id: str) -> str:
    """With what the uid of every event of this account begins: nobody else's does."""
    return "hf" + hashlib.sha256(account_id.encode()).hexdigest()[:10]


def short(name: str) -> str:
    """What somebody else calls an event, if it can be kept: else a name made of it, which is never like one of ours."""
    if name.isprintable() and len(name.encode()) <= NAME_BYTES_MAX:
        return name
    return "?" + hashlib.sha256(name.encode()).hexdigest()


def printable(words: str) -> str:
    """What somebody else's text made us say, without what no database keeps."""
    return "".join(one if one.isprintable() else "?" for one in words)


def event_uid(account_id: str, reservation_id: str, calendar_id: str, generation: int) -> str:
    """The same for the same reservation in the same calendar, so that a write that is repeated is the same write.

    Another one for each calendar (some servers refuse one uid in two calendars), and for each generation (some never
    let a deleted id be used again). Letters a to v and digits, as Google demands.
    """
    names = f"{reservation_id}|{calendar_id}|{generation}"
    return marker(account_id) + hashlib.sha256(names.encode()).hexdigest()[:40]


def overlapping(occurrences: Sequence[Occurrence], start: datetime, end: datetime) -> list[Occurrence]:
    """Half-open: what ends when we begin is not in our way."""
    return [one for one in occurrences if one.start < end and one.end > start]
