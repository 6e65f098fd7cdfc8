# SPDX-License-Identifier: Apache-2.0
"""Google's events in our words, and ours in Google's."""

from datetime import UTC, date, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from holdfirst.availability.windows import is_zone
from holdfirst.calendar.calendar_event import CalendarEvent, Change, EventState
from holdfirst.calendar.provider import Place

PROPERTY = "holdfirst"
"""The private property that finds our events: its value is the marker."""
FIELDS = (
    "items(id,etag,status,transparency,eventType,start,end,attendees(self,responseStatus)),"
    "nextPageToken,nextSyncToken"
)
_FREE_KINDS = ("workingLocation", "birthday")
Json = dict[str, Any]


def body_of(event: CalendarEvent) -> Json:
    """No attendees and no reminders: a hold tells nobody, and what is confirmed we tell ourselves."""
    return {
        "summary": event.title,
        "description": event.text,
        "location": event.location,
        "start": {"dateTime": z(event.start)},
        "end": {"dateTime": z(event.end)},
        "status": "tentative" if event.state is EventState.HOLD else "confirmed",
        "transparency": "opaque",
        "visibility": "private",
        "reminders": {"useDefault": False, "overrides": []},
        "extendedProperties": {"private": {PROPERTY: event.uid[:12]}},
    }


def change_of(one: Json, place: Place, window: tuple[datetime, datetime]) -> Change:
    span = span_of(one, place)
    cut = span and (max(span[0], window[0]), min(span[1], window[1]))
    busy = [cut] if cut and cut[0] < cut[1] and takes_time(one) else []
    return Change(
        ref=one["id"],
        etag=one["etag"],
        uid=one["id"],
        busy=busy,
        start=span and span[0],
        end=span and span[1],
    )


def takes_time(one: Json) -> bool:
    if one.get("status") == "cancelled" or one.get("transparency") == "transparent":
        return False
    if one.get("eventType") in _FREE_KINDS and one.get("transparency") != "opaque":
        return False
    return not any(
        attendee.get("self") and attendee.get("responseStatus") == "declined"
        for attendee in one.get("attendees", ())
    )


def span_of(one: Json, place: Place) -> tuple[datetime, datetime] | None:
    """None: an instant, or nothing that can be read."""
    start, end = _instant(one.get("start"), place), _instant(one.get("end"), place)
    return (start, end) if start is not None and end is not None and start < end else None


def _instant(when: Json | None, place: Place) -> datetime | None:
    """A date is a day in the calendar's zone."""
    zone = ZoneInfo(place.time_zone if is_zone(place.time_zone) else "UTC")
    try:
        if when and "dateTime" in when:
            told = datetime.fromisoformat(when["dateTime"])
        elif when and "date" in when:
            told = datetime.combine(date.fromisoformat(when["date"]), time())
        else:
            return None
    except ValueError:
        return None
    try:
        return (told if told.tzinfo else told.replace(tzinfo=zone)).astimezone(UTC)
    except OverflowError:
        # Beyond year 1 or 9999: an event "for ever" stays busy.
        return datetime.max.replace(tzinfo=UTC) if told.year > 1 else datetime.min.replace(tzinfo=UTC)


def z(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
