# SPDX-License-Identifier: Apache-2.0
"""What Microsoft Graph takes, as its reference says it: which members an event has, which of them a client may write,
which query parameters each list knows. Whatever is not in here is a foul.

https://learn.microsoft.com/graph/api/resources/event (and `calendar`, `subscription`)
https://learn.microsoft.com/graph/api/user-post-events, …/event-update, …/calendar-list-calendarview, …/event-delta
https://learn.microsoft.com/graph/api/singlevaluelegacyextendedproperty-get
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

Json = dict[str, Any]

SHOW_AS = ("free", "tentative", "busy", "oof", "workingElsewhere", "unknown")
SENSITIVITY = ("normal", "personal", "private", "confidential")
PROPERTY_ID = re.compile(
    r"String \{[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\} Name \w+", re.IGNORECASE
)
FILTER = re.compile(
    r"singleValueExtendedProperties/Any\(ep: ep/id eq '(?P<id>[^']+)' and "
    r"(?:ep/value eq '(?P<eq>[^']*)'|startswith\(ep/value, '(?P<startswith>[^']*)'\))\)"
)
READ_ONLY = {
    "id", "changeKey", "createdDateTime", "lastModifiedDateTime", "iCalUId", "isCancelled", "isOrganizer",
    "seriesMasterId", "type", "webLink", "organizer", "responseStatus", "bodyPreview", "hasAttachments",
    "originalStartTimeZone", "originalEndTimeZone",
}  # fmt: skip


class Foul(Exception):
    """Not as the reference has it."""


def text(value: Any, where: str) -> None:
    if not isinstance(value, str):
        raise Foul(f"{where} is no text")


def boolean(value: Any, where: str) -> None:
    if not isinstance(value, bool):
        raise Foul(f"{where} is no boolean")


def one_of(allowed: tuple[str, ...]) -> Callable[[Any, str], None]:
    def check(value: Any, where: str) -> None:
        if value not in allowed:
            raise Foul(f"{where}: {value!r} is none of {allowed}")

    return check


def members(**known: Callable[[Any, str], None]) -> Callable[[Any, str], None]:
    """Each of them, and no other."""

    def check(value: Any, where: str) -> None:
        if not isinstance(value, dict) or set(value) != set(known):
            raise Foul(f"{where} has not just {sorted(known)}: {value!r}")
        for name, one in value.items():
            known[name](one, f"{where}.{name}")

    return check


def local_time(value: Any, where: str) -> None:
    """A dateTimeTimeZone has its zone beside it, never in it."""
    text(value, where)
    try:
        told = datetime.fromisoformat(value)
    except ValueError as error:
        raise Foul(f"{where}: {value!r} is no time") from error
    if told.tzinfo is not None:
        raise Foul(f"{where}: {value!r} has an offset")


def zone_name(value: Any, where: str) -> None:
    text(value, where)
    try:
        ZoneInfo(value)
    except Exception as error:
        raise Foul(f"{where}: {value!r} is no zone that this mailbox knows") from error


def properties(value: Any, where: str) -> None:
    for one in value:
        members(id=text, value=text)(one, where)
        if not PROPERTY_ID.fullmatch(one["id"]):
            raise Foul(f"{where}: {one['id']!r} does not name a property")


TIME = members(dateTime=local_time, timeZone=zone_name)
WRITABLE: dict[str, Callable[[Any, str], None]] = {
    "subject": text,
    "body": members(contentType=one_of(("text", "html")), content=text),
    "location": members(displayName=text),
    "start": TIME,
    "end": TIME,
    "isAllDay": boolean,
    "showAs": one_of(SHOW_AS),
    "sensitivity": one_of(SENSITIVITY),
    "isReminderOn": boolean,
    "singleValueExtendedProperties": properties,
}
EVENT = set(WRITABLE) | READ_ONLY | {"transactionId"}
SUBSCRIPTION: dict[str, Callable[[Any, str], None]] = {
    "changeType": one_of(("created,updated,deleted",)),
    "notificationUrl": text,
    "lifecycleNotificationUrl": text,
    "resource": text,
    "expirationDateTime": text,
    "clientState": text,
}
LISTS: dict[str, set[str]] = {
    "calendars": {"$top", "$select"},
    "mailboxSettings": {"$select"},
    "calendarView": {"startDateTime", "endDateTime", "$select", "$top"},
    "instances": {"startDateTime", "endDateTime", "$select", "$top"},
    # "You cannot use $select"; nor $expand, $filter, $orderby, $search.
    "delta": {"startDateTime", "endDateTime", "$deltatoken", "$skiptoken"},
    "events": {"$filter", "$select", "$top"},
    "event": {"$select"},
}


def check_event(body: Any, *, creating: bool) -> None:
    if not isinstance(body, dict):
        raise Foul("the body is no event")
    for name, value in body.items():
        if name == "transactionId" and creating:
            text(value, name)
        elif name not in WRITABLE:
            # "After you set transactionId when creating an event, you can't change transactionId."
            raise Foul(f"an event has no {name} that could be written")
        else:
            WRITABLE[name](value, name)
    if creating and not {"subject", "start", "end"} <= body.keys():
        raise Foul("an event needs subject, start and end")
    if body.get("isAllDay") and not all(
        body[edge]["dateTime"][11:19] == "00:00:00" for edge in ("start", "end")
    ):
        raise Foul("a whole day begins and ends at midnight")


def check_subscription(body: Any) -> None:
    """A new one says all of it; https alone is called, and a secret has at most 128 characters."""
    members(**SUBSCRIPTION)(body, "subscription")
    for name in ("notificationUrl", "lifecycleNotificationUrl"):
        if not body[name].startswith("https://"):
            raise Foul(f"{name} is not https")
    if not re.fullmatch(r"me/calendars/.+/events", body["resource"]):
        raise Foul(f"{body['resource']!r} cannot be watched")
    if len(body["clientState"]) > 128:
        raise Foul("clientState is too long")
    if instant(body["expirationDateTime"]).tzinfo is None:
        raise Foul("expirationDateTime has no offset")


def check_query(what: str, query: dict[str, str]) -> None:
    for name, value in query.items():
        if name not in LISTS[what] and name != "$skip":
            raise Foul(f"{what} does not take {name}")
        if name == "$top" and not 1 <= int(value) <= 1000:
            raise Foul("$top is 1 to 1000")
        if name in ("startDateTime", "endDateTime"):
            instant(value)
        if name == "$select" and what not in ("calendars", "mailboxSettings"):
            unknown = set(value.split(",")) - EVENT
            if unknown:
                raise Foul(f"an event has no {unknown}")
    if what in ("calendarView", "instances") and not {"startDateTime", "endDateTime"} <= query.keys():
        raise Foul(f"{what} needs startDateTime and endDateTime")
    if "$filter" in query and not FILTER.fullmatch(query["$filter"]):
        raise Foul(f"not a filter by an extended property: {query['$filter']}")


def instant(value: str) -> datetime:
    """As a query parameter: ISO 8601, in UTC where it names no offset."""
    try:
        told = datetime.fromisoformat(value)
    except ValueError as error:
        raise Foul(f"{value!r} is no time") from error
    return told if told.tzinfo else told.replace(tzinfo=UTC)


def preferences(header: str) -> dict[str, str]:
    """`Prefer: a="b", c=d`."""
    pairs = [part.strip().partition("=") for part in header.split(",") if part.strip()]
    return {name.lower(): value.strip('"') for name, _, value in pairs}
