# SPDX-License-Identifier: Apache-2.0
"""Google Calendar (API v3) on plain HTTP: eight calls, and one for a fresh access token.

The ids of our events are ours, and Google never lets an id be used again after a deletion: what was deleted is written
again under the id of the next generation (`EventGone` says so).
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from typing import Any
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

import msgspec

from holdfirst.availability.windows import is_zone
from holdfirst.calendar.calendar_event import CalendarEvent, Change, EventState, Occurrence
from holdfirst.calendar.provider import Access, Busy, Changes, EventGone, Found, FoundCalendar, Own, Place
from holdfirst.clock import monotonic
from holdfirst.errors import CalendarDenied, ProviderUnavailable
from holdfirst.providers.outward import Answer, Outward

API = "https://www.googleapis.com/calendar/v3"
TOKENS = "https://oauth2.googleapis.com/token"
CONSENT = "https://accounts.google.com/o/oauth2/v2/auth"
SCOPES = (
    "https://www.googleapis.com/auth/calendar.events "
    "https://www.googleapis.com/auth/calendar.calendarlist.readonly"
)
PROPERTY = "holdfirst"
"""The private property that finds our events: its value is the marker."""
FIELDS = (
    "items(id,etag,status,transparency,eventType,start,end,attendees(self,responseStatus)),"
    "nextPageToken,nextSyncToken,timeZone"
)
RENEWED_SECONDS_BEFORE = 120
PAGE = 2500
TRIES_MAX = 3
_FREE_KINDS = ("workingLocation", "birthday")
Json = dict[str, Any]


class GoogleClient(msgspec.Struct, frozen=True):
    """The operator's OAuth client, and where Google is."""

    client_id: str
    client_secret: str
    api: str = API
    tokens: str = TOKENS


class Google:
    name = "google"

    def __init__(self, outward: Outward, client: GoogleClient) -> None:
        self._outward = outward
        self._client = client
        self._tokens: dict[str, tuple[str, float]] = {}

    def consent_url(self, redirect_uri: str, state: str, challenge: str) -> str:
        """`offline` and `consent`: only so does Google give a refresh token, each time."""
        query = {
            "client_id": self._client.client_id,
            "redirect_uri": redirect_uri,
            "response_type": "code",
            "scope": SCOPES,
            "access_type": "offline",
            "prompt": "consent",
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return f"{CONSENT}?{urlencode(query)}"

    async def secrets_for(self, code: str, redirect_uri: str, verifier: str) -> Mapping[str, str]:
        told = await self._granted({
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        })  # fmt: skip
        if "refresh_token" not in told:
            raise CalendarDenied("Google gave no lasting grant")
        return {"refresh_token": str(told["refresh_token"])}

    async def discover(self, access: Access) -> Found:
        found = [
            FoundCalendar(
                ref=one["id"],
                name=str(one.get("summaryOverride") or one.get("summary") or one["id"])[:200],
                time_zone=one.get("timeZone"),
                writable=one.get("accessRole") in ("owner", "writer"),
            )
            for one in await self._listed(access)
        ]
        # The one that is the account's own comes first: it receives unless somebody says otherwise.
        return Found(
            calendars=sorted(found, key=lambda one: "@group.v.calendar" in one.ref or not one.writable)
        )

    async def busy(self, place: Place, start: datetime, end: datetime) -> Busy:
        items = await self._items(
            place, timeMin=_z(start), timeMax=_z(end), singleEvents="true", maxResults=PAGE, fields=FIELDS
        )
        return Busy([
            Occurrence(one["id"], *span)
            for one in items[0]
            if _takes_time(one) and (span := _span(one, place)) is not None
        ])  # fmt: skip

    async def write(self, place: Place, event: CalendarEvent, etag: str | None) -> str:
        body = _body(event)
        if etag is None:
            answer = await self._ask(place.access, "POST", _events(place), {"id": event.uid, **body})
            if answer.status in (200, 201):
                return str(_json(answer)["etag"])
            if answer.status != 409:
                raise _refused(answer)
        for _ in range(TRIES_MAX):
            if etag is None:
                etag = await self._etag(place, event.uid)
            answer = await self._ask(
                place.access, "PATCH", _event(place, event.uid), body, {"if-match": etag}
            )
            if answer.status == 200:
                return str(_json(answer)["etag"])
            if answer.status in (404, 410):
                raise EventGone
            if answer.status != 412:
                raise _refused(answer)
            etag = None
        raise ProviderUnavailable("somebody else keeps writing our event")

    async def delete(self, place: Place, uid: str, etag: str | None) -> None:
        """Whatever the host did to it meanwhile: it is ours, and over."""
        answer = await self._ask(place.access, "DELETE", _event(place, uid))
        if answer.status not in (200, 204, 404, 410):
            raise _refused(answer)

    async def exists(self, place: Place, uid: str) -> bool:
        answer = await self._ask(place.access, "GET", _event(place, uid))
        if answer.status in (404, 410):
            return False
        if answer.status != 200:
            raise _refused(answer)
        return _json(answer).get("status") != "cancelled"

    async def changes(
        self, place: Place, token: str | None, known: Mapping[str, str], window: tuple[datetime, datetime]
    ) -> Changes:
        """Instances, not series: so the far end moves along only where all of it is read again, each day."""
        if token is None:
            bounds = {"timeMin": _z(window[0]), "timeMax": _z(window[1])}
        else:
            bounds = {"syncToken": token}
        try:
            items, latest = await self._items(
                place, singleEvents="true", maxResults=PAGE, fields=FIELDS, **bounds
            )
        except _Stale:
            return await self.changes(place, None, known, window)
        changed = [_change(one, place, window) for one in items if one.get("status") != "cancelled"]
        removed = [one["id"] for one in items if one.get("status") == "cancelled"]
        return Changes(changed=changed, removed=removed, token=latest, whole=token is None)

    async def own(self, place: Place, marker: str) -> Sequence[Own]:
        items, _ = await self._items(
            place, privateExtendedProperty=f"{PROPERTY}={marker}", maxResults=PAGE, fields=FIELDS
        )
        return [
            Own(one["id"], one["id"], one["etag"])
            for one in items
            if one["id"].startswith(marker) and one.get("status") != "cancelled"
        ]

    # Underneath

    async def _listed(self, access: Access) -> list[Json]:
        items: list[Json] = []
        page: str | None = None
        while True:
            told = await self._get(access, "/users/me/calendarList", pageToken=page)
            items += told.get("items", ())
            page = told.get("nextPageToken")
            if page is None:
                return items

    async def _items(self, place: Place, **query: Any) -> tuple[list[Json], str | None]:
        """Every page; and where reading goes on, which stands on the last one alone."""
        latest: str | None = None
        items: list[Json] = []
        page: str | None = None
        while True:
            told = await self._get(place.access, _events(place), pageToken=page, **query)
            items += told.get("items", ())
            latest, page = told.get("nextSyncToken"), told.get("nextPageToken")
            if page is None:
                return items, latest

    async def _etag(self, place: Place, uid: str) -> str:
        answer = await self._ask(place.access, "GET", _event(place, uid))
        if answer.status in (404, 410) or (
            answer.status == 200 and _json(answer).get("status") == "cancelled"
        ):
            raise EventGone
        if answer.status != 200:
            raise _refused(answer)
        return str(_json(answer)["etag"])

    async def _get(self, access: Access, path: str, **query: Any) -> Json:
        given = {name: value for name, value in query.items() if value is not None}
        answer = await self._ask(access, "GET", f"{path}?{urlencode(given)}" if given else path)
        if answer.status == 410:
            raise _Stale
        if answer.status != 200:
            raise _refused(answer)
        return _json(answer)

    async def _ask(
        self,
        access: Access,
        method: str,
        path: str,
        body: Json | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """401 is met with one fresh access token; asked to wait, we say that there was no answer."""
        content = b"" if body is None else msgspec.json.encode(body)
        typed = {} if body is None else {"content-type": "application/json"}
        for fresh in (False, True):
            sent = {"authorization": f"Bearer {await self._token(access, fresh=fresh)}", **typed}
            answer = await self._outward.ask(
                method, self._client.api + path, headers=sent | dict(headers or {}), content=content
            )
            if answer.status != 401:
                return _unless_told_to_wait(answer)
        raise CalendarDenied("Google does not accept the access token")

    async def _token(self, access: Access, *, fresh: bool) -> str:
        """Kept until shortly before it runs out."""
        refresh = access.secrets["refresh_token"]
        known = self._tokens.get(refresh)
        if known is not None and not fresh and monotonic() < known[1]:
            return known[0]
        told = await self._granted({"grant_type": "refresh_token", "refresh_token": refresh})
        token, seconds = str(told["access_token"]), float(told.get("expires_in", 3600))
        self._tokens[refresh] = (token, monotonic() + seconds - RENEWED_SECONDS_BEFORE)
        return token

    async def _granted(self, form: Mapping[str, str]) -> Json:
        client = {"client_id": self._client.client_id, "client_secret": self._client.client_secret}
        answer = await self._outward.ask(
            "POST",
            self._client.tokens,
            headers={"content-type": "application/x-www-form-urlencoded"},
            content=urlencode(dict(form) | client).encode(),
        )
        if answer.status in (400, 401, 403):
            raise CalendarDenied(
                "Google has ended this grant; connect again (a consent screen in Testing ends grants after 7 days)"
            )
        if answer.status != 200:
            raise ProviderUnavailable(f"Google answered {answer.status}")
        return _json(answer)


class _Stale(Exception):
    """The sync token is too old."""


def _body(event: CalendarEvent) -> Json:
    """No attendees and no reminders: a hold tells nobody, and what is confirmed we tell ourselves."""
    return {
        "summary": event.title,
        "description": event.text,
        "location": event.location,
        "start": {"dateTime": _z(event.start)},
        "end": {"dateTime": _z(event.end)},
        "status": "tentative" if event.state is EventState.HOLD else "confirmed",
        "transparency": "opaque",
        "visibility": "private",
        "reminders": {"useDefault": False, "overrides": []},
        "extendedProperties": {"private": {PROPERTY: event.uid[:12]}},
    }


def _change(one: Json, place: Place, window: tuple[datetime, datetime]) -> Change:
    span = _span(one, place)
    cut = span and (max(span[0], window[0]), min(span[1], window[1]))
    busy = [cut] if cut and cut[0] < cut[1] and _takes_time(one) else []
    return Change(
        ref=one["id"],
        etag=one["etag"],
        uid=one["id"],
        busy=busy,
        start=span and span[0],
        end=span and span[1],
    )


def _takes_time(one: Json) -> bool:
    if one.get("status") == "cancelled" or one.get("transparency") == "transparent":
        return False
    if one.get("eventType") in _FREE_KINDS and one.get("transparency") != "opaque":
        return False
    return not any(
        attendee.get("self") and attendee.get("responseStatus") == "declined"
        for attendee in one.get("attendees", ())
    )


def _span(one: Json, place: Place) -> tuple[datetime, datetime] | None:
    """None: an instant, or nothing that can be read."""
    start, end = _instant(one.get("start"), place), _instant(one.get("end"), place)
    return (start, end) if start is not None and end is not None and start < end else None


def _instant(when: Json | None, place: Place) -> datetime | None:
    """A date is a day in the calendar's zone."""
    zone = ZoneInfo(place.time_zone if is_zone(place.time_zone) else "UTC")
    try:
        if when and "dateTime" in when:
            told = datetime.fromisoformat(when["dateTime"])
            return (told if told.tzinfo else told.replace(tzinfo=zone)).astimezone(UTC)
        if when and "date" in when:
            return datetime.combine(date.fromisoformat(when["date"]), time(), zone).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return None


def _unless_told_to_wait(answer: Answer) -> Answer:
    limited = answer.status == 403 and b"ateLimit" in answer.body
    if limited or answer.status == 429 or answer.status >= 500:
        raise ProviderUnavailable(f"Google answered {answer.status}")
    return answer


def _json(answer: Answer) -> Json:
    try:
        told = msgspec.json.decode(answer.body)
    except msgspec.DecodeError as error:
        raise ProviderUnavailable("Google's answer cannot be read") from error
    if not isinstance(told, dict):
        raise ProviderUnavailable("Google's answer cannot be read")
    return told


def _refused(answer: Answer) -> CalendarDenied:
    reason = ""
    if answer.body:
        told = _json(answer).get("error")
        reason = str(told.get("message", ""))[:200] if isinstance(told, dict) else str(told)[:200]
    return CalendarDenied(f"Google answered {answer.status}: {reason}")


def _events(place: Place) -> str:
    return f"/calendars/{quote(place.ref, safe='')}/events"


def _event(place: Place, uid: str) -> str:
    return f"{_events(place)}/{quote(uid, safe='')}"


def _z(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
