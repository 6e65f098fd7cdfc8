# SPDX-License-Identifier: Apache-2.0
"""Google Calendar (API v3) on plain HTTP: ten calls, and one for a fresh access token.

The ids of our events are ours, and Google never lets an id be used again after a deletion: what was deleted is written
again under the id of the next generation (`EventGone` says so).
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

from holdfirst.calendar.calendar_event import CalendarEvent, Occurrence
from holdfirst.calendar.provider import (
    Access,
    Busy,
    CannotWatch,
    Changes,
    EventGone,
    Found,
    FoundCalendar,
    Own,
    Place,
    Push,
    PushKind,
    WantedWatch,
    Watch,
)
from holdfirst.errors import CalendarDenied, CalendarRefused, ProviderUnavailable
from holdfirst.payment.provider import Notification
from holdfirst.providers.google.calls import (
    SCOPES,
    GoogleCalls,
    GoogleClient,
    Json,
    json_of,
    reason_of,
    refusal_of,
)
from holdfirst.providers.google.event import FIELDS, PROPERTY, body_of, change_of, span_of, takes_time, z
from holdfirst.providers.outward import Outward

CONSENT = "https://accounts.google.com/o/oauth2/v2/auth"
PAGE = 2500
TRIES_MAX = 3
A_DAY = timedelta(days=1)
_KINDS = {"sync": PushKind.BEGINS, "exists": PushKind.CHANGED, "not_exists": PushKind.CHANGED}


class Google:
    name = "google"

    def __init__(self, outward: Outward, client: GoogleClient) -> None:
        self._client = client
        self._calls = GoogleCalls(outward, client)

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
        told = await self._calls.granted({
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        })  # fmt: skip
        if "refresh_token" not in told:
            raise CalendarDenied("Google gave no lasting grant")
        return {"refresh_token": str(told["refresh_token"])}

    async def renew_access(self, access: Access) -> timedelta:
        return await self._calls.renew_access(access)

    async def discover(self, access: Access) -> Found:
        if shared := access.secrets.get("calendar"):
            await self._take_up(access, shared)
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
        """Asked for a day more on each side: whose midnight bounds a whole day is for us to say, not for Google."""
        bounds = {"timeMin": z(start - A_DAY), "timeMax": z(end + A_DAY)}
        items, _ = await self._items(place, singleEvents="true", maxResults=PAGE, fields=FIELDS, **bounds)
        return Busy([
            Occurrence(one["id"], *span)
            for one in items
            if takes_time(one)
            and (span := span_of(one, place)) is not None
            and span[0] < end
            and span[1] > start
        ])  # fmt: skip

    async def write(self, place: Place, event: CalendarEvent, etag: str | None) -> str:
        body = body_of(event)
        if etag is None:
            answer = await self._calls.ask(place.access, "POST", _events(place), {"id": event.uid, **body})
            if answer.status in (200, 201):
                return str(json_of(answer)["etag"])
            if answer.status != 409:
                raise CalendarRefused(reason_of(answer))
        for _ in range(TRIES_MAX):
            if etag is None:
                etag = await self.find(place, event.uid)
            if etag is None:
                raise EventGone
            answer = await self._calls.ask(
                place.access, "PATCH", _event(place, event.uid), body, {"if-match": etag}
            )
            if answer.status == 200:
                return str(json_of(answer)["etag"])
            if answer.status in (404, 410):
                raise EventGone
            if answer.status != 412:
                raise CalendarRefused(reason_of(answer))
            etag = None
        raise ProviderUnavailable("somebody else keeps writing our event")

    async def delete(self, place: Place, uid: str, etag: str | None) -> bool:
        """Whatever the host did to it meanwhile: it is ours, and over."""
        answer = await self._calls.ask(place.access, "DELETE", _event(place, uid))
        if answer.status not in (200, 204, 404, 410):
            raise CalendarRefused(reason_of(answer))
        return answer.status in (200, 204)

    async def find(self, place: Place, uid: str) -> str | None:
        answer = await self._calls.ask(place.access, "GET", _event(place, uid))
        if answer.status in (404, 410):
            return None
        if answer.status != 200:
            raise refusal_of(answer)
        told = json_of(answer)
        return None if told.get("status") == "cancelled" else str(told["etag"])

    async def changes(
        self, place: Place, token: str | None, known: Mapping[str, str], window: tuple[datetime, datetime]
    ) -> Changes:
        """Instances, not series: so the far end moves along only where all of it is read again, each day."""
        whole = {"timeMin": z(window[0]), "timeMax": z(window[1])}
        bounds = whole if token is None else {"syncToken": token}
        try:
            items, latest = await self._items(
                place, singleEvents="true", maxResults=PAGE, fields=FIELDS, **bounds
            )
        except _Stale:
            return await self.changes(place, None, known, window)
        changed = [change_of(one, place, window) for one in items if one.get("status") != "cancelled"]
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

    async def watch(self, place: Place, wanted: WantedWatch) -> Watch:
        body = {
            "id": wanted.id,
            "type": "web_hook",
            "address": wanted.address,
            "token": wanted.secret,
            "expiration": str(int(wanted.until.timestamp() * 1000)),
        }
        answer = await self._calls.ask(place.access, "POST", f"{_events(place)}/watch", body)
        if answer.status != 200:
            raise CannotWatch(reason_of(answer))
        told = json_of(answer)
        until = (
            datetime.fromtimestamp(int(told["expiration"]) / 1000, UTC)
            if "expiration" in told
            else wanted.until
        )
        return Watch(ref=wanted.id, resource=str(told["resourceId"]), until=until)

    async def renew(self, place: Place, watch: Watch, until: datetime) -> Watch | None:
        """A channel cannot be lengthened."""
        return None

    async def unwatch(self, place: Place, watch: Watch) -> None:
        if not watch.resource:
            # Google wants both names; without, it runs out.
            return
        body = {"id": watch.ref, "resourceId": watch.resource}
        answer = await self._calls.ask(place.access, "POST", "/channels/stop", body)
        if answer.status not in (200, 204, 404):
            raise CannotWatch(reason_of(answer))

    def read_push(self, notification: Notification) -> Sequence[Push]:
        """All of it stands in the headers."""
        headers = notification.headers
        kind, secret = (
            _KINDS.get(headers.get("x-goog-resource-state", "")),
            headers.get("x-goog-channel-token"),
        )
        if kind is None or secret is None:
            return ()
        named = headers.get("x-goog-channel-id", ""), headers.get("x-goog-resource-id", "")
        return [Push(kind=kind, secret=secret, ref=named[0], resource=named[1])]

    # Underneath

    async def _take_up(self, access: Access, calendar: str) -> None:
        """What was shared with a service account is in its list only once it has been put there; twice is once."""
        answer = await self._calls.ask(access, "POST", "/users/me/calendarList", {"id": calendar})
        if answer.status not in (200, 409):
            raise refusal_of(answer)

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

    async def _get(self, access: Access, path: str, **query: Any) -> Json:
        given = {name: value for name, value in query.items() if value is not None}
        answer = await self._calls.ask(access, "GET", f"{path}?{urlencode(given)}" if given else path)
        if answer.status == 410:
            raise _Stale
        if answer.status != 200:
            raise refusal_of(answer)
        return json_of(answer)


class _Stale(Exception):
    """The sync token is too old."""


def _events(place: Place) -> str:
    return f"/calendars/{quote(place.ref, safe='')}/events"


def _event(place: Place, uid: str) -> str:
    return f"{_events(place)}/{quote(uid, safe='')}"
