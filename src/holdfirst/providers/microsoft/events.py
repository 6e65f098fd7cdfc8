# SPDX-License-Identifier: Apache-2.0
"""Our events as Graph's, and Graph's as time that is taken.

Graph names events itself. Ours are known by their `transactionId`, which is set once and never changes; they are found by
a property of our own, because Graph does not search for transaction ids.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from holdfirst.availability.windows import is_zone
from holdfirst.calendar.calendar_event import CalendarEvent, Change, EventState
from holdfirst.providers.microsoft.zones import zone_named

Json = dict[str, Any]
Span = tuple[datetime, datetime]

PROPERTY = "String {c7a1f0de-3c0b-4a52-9f0e-51d7a0c1b6e4} Name holdfirst"
"""Ours in the mailbox; its value is the uid, so that it begins with the marker."""
SELECT = "id,transactionId,start,end,isAllDay,showAs,isCancelled,responseStatus,type,seriesMasterId,subject"
_OURS = re.compile(r"hf[0-9a-f]{50}")
_FREE = ("free", "workingElsewhere")
_DAY = timedelta(days=1)


def to_graph(event: CalendarEvent) -> Json:
    """No attendees (Outlook would invite them) and no reminder: a hold tells nobody."""
    return {
        "subject": event.title,
        "body": {"contentType": "text", "content": event.text},
        "location": {"displayName": event.location},
        "start": _instant(event.start),
        "end": _instant(event.end),
        "showAs": "tentative" if event.state is EventState.HOLD else "busy",
        "sensitivity": "private",
        "isReminderOn": False,
    }


def to_created(event: CalendarEvent) -> Json:
    """What is said once, when it is made."""
    marked = [{"id": PROPERTY, "value": event.uid}]
    return to_graph(event) | {"transactionId": event.uid, "singleValueExtendedProperties": marked}


def stands(told: Json, event: CalendarEvent) -> bool:
    """Whether what Graph answers to a creation is what was asked for, and not what an earlier one made."""
    wanted = to_graph(event)
    return (
        all(told.get(name) == wanted[name] for name in ("subject", "showAs"))
        and span(told, "UTC") == (event.start, event.end)
        and _words(told.get("body", {}).get("content")) == _words(event.text)
        and _words(told.get("location", {}).get("displayName")) == _words(event.location)
    )


def etag_of(one: Json) -> str:
    """Graph's name for it comes first, so that whoever has the etag need not look for the event."""
    return f"{one['id']} {one.get('@odata.etag', '')}"


def id_of(etag: str) -> str:
    return etag.partition(" ")[0]


def condition(etag: str) -> dict[str, str]:
    version = etag.partition(" ")[2]
    return {"if-match": version} if version else {}


def uid_of(one: Json) -> str:
    """Ours, or for anything else Graph's name for it."""
    named = one.get("transactionId") or ""
    return named if _OURS.fullmatch(named) else str(one["id"])


def takes_time(one: Json) -> bool:
    """Free, working elsewhere, cancelled and declined do not; tentative, unanswered and unknown do."""
    if one.get("isCancelled") or one.get("showAs") in _FREE:
        return False
    return (one.get("responseStatus") or {}).get("response") != "declined"


def span(one: Json, zone: str) -> Span | None:
    """None: an instant, or nothing that can be read. A whole day is midnight to midnight in any zone that is asked for:
    it is a day of the calendar's own.
    """
    edges = [_read(one.get(name), zone, whole_day=bool(one.get("isAllDay"))) for name in ("start", "end")]
    start, end = edges
    return (start, end) if start is not None and end is not None and start < end else None


def change(one: Json, zone: str, window: Span) -> Change:
    """An event that happens once."""
    taken = span(one, zone)
    return Change(
        ref=one["id"],
        etag=etag_of(one),
        uid=uid_of(one),
        busy=_within([taken] if taken and takes_time(one) else [], window),
        start=taken and taken[0],
        end=taken and taken[1],
    )


def series(master: Json, occurrences: Iterable[Json], zone: str, window: Span) -> Change:
    """All of a series under the name of its master. What an occurrence does not say is said by the master."""
    whole = [master | one for one in occurrences]
    spans = [taken for one in whole if takes_time(one) and (taken := span(one, zone))]
    return Change(ref=master["id"], etag=etag_of(master), uid=master["id"], busy=_within(spans, window))


def z(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _within(spans: Sequence[Span], window: Span) -> list[Span]:
    return [
        (max(start, window[0]), min(end, window[1]))
        for start, end in spans
        if start < window[1] and end > window[0]
    ]


def _instant(instant: datetime) -> Json:
    return {"dateTime": instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S"), "timeZone": "UTC"}


def _read(when: Json | None, zone: str, *, whole_day: bool) -> datetime | None:
    if not when:
        return None
    own = ZoneInfo(zone if is_zone(zone) else "UTC")
    named = None if whole_day else zone_named(str(when.get("timeZone", "")))
    try:
        told = datetime.fromisoformat(str(when.get("dateTime")))
        if told.tzinfo is None:
            told = told.replace(tzinfo=ZoneInfo(named) if named else own)
        return told.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _words(text: object) -> list[str]:
    """A mailbox keeps texts with line ends of its own."""
    return str(text or "").split()
