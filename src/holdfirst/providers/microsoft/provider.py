# SPDX-License-Identifier: Apache-2.0
"""Microsoft 365 as a calendar provider."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from urllib.parse import quote

from holdfirst.calendar.calendar_event import CalendarEvent, Change, Occurrence
from holdfirst.calendar.provider import (
    Access,
    Busy,
    Changes,
    EventGone,
    Found,
    FoundCalendar,
    Handshake,
    Own,
    Place,
    Push,
    WantedWatch,
    Watch,
)
from holdfirst.errors import CalendarDenied, CalendarRefused, ProviderUnavailable
from holdfirst.payment.provider import Notification
from holdfirst.providers.microsoft import events, login, subscriptions
from holdfirst.providers.microsoft.events import PROPERTY, SELECT, Json, Span, etag_of, id_of, uid_of, z
from holdfirst.providers.microsoft.graph import Graph, Refused, readable, refusal
from holdfirst.providers.microsoft.login import MicrosoftClient
from holdfirst.providers.microsoft.zones import zone_named
from holdfirst.providers.outward import Answer, Outward

PAGE = 1000
DELTA_PAGE = 100
"""A delta tells whole events with their texts, and cannot be asked for less of each."""
TRIES_MAX = 3
DUPLICATE = "ErrorDuplicateTransactionId"
GONE = (404, 410)
STALE = (400, *GONE)
"""Answers to a delta token that is no good any more: Graph names it in several ways."""
A_DAY = timedelta(days=1)
VIEW_MAX = timedelta(days=1800)
"""Of one look at a calendar: Graph shows 1,825 days at most."""


class Microsoft:
    name = "microsoft"

    def __init__(self, outward: Outward, client: MicrosoftClient) -> None:
        self._outward = outward
        self._client = client
        self._graph = Graph(outward, client)

    def consent_url(self, redirect_uri: str, state: str, challenge: str) -> str:
        return login.consent_url(self._client, redirect_uri, state, challenge)

    async def secrets_for(self, code: str, redirect_uri: str, verifier: str) -> Mapping[str, str]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        grant = await login.granted(self._outward, self._client, form)
        if grant.refresh_token is None:
            raise CalendarDenied("Microsoft gave no lasting grant")
        return {"refresh_token": grant.refresh_token}

    async def renew_access(self, access: Access) -> timedelta:
        return await self._graph.renew_access(access)

    async def discover(self, access: Access) -> Found:
        """The account's own calendar first: it receives unless somebody says otherwise."""
        listed, _ = await self._graph.pages(access, "/me/calendars", {"$top": 100})
        zone = await self._zone(access)
        listed.sort(key=lambda one: (not one.get("isDefaultCalendar"), not one.get("canEdit")))
        found = [
            FoundCalendar(
                ref=one["id"],
                name=str(one.get("name") or "Calendar")[:200],
                time_zone=zone,
                writable=bool(one.get("canEdit")),
            )
            for one in listed
        ]
        owner = next(((one.get("owner") or {}).get("address") for one in listed), None)
        return Found(calendars=found, server={"mailbox": owner.lower()} if owner else {})

    async def busy(self, place: Place, start: datetime, end: datetime) -> Busy:
        """Asked for a day more on each side: whose midnight bounds a whole day is for us to say, not for Graph."""
        bounds = {"startDateTime": z(start - A_DAY), "endDateTime": z(end + A_DAY)}
        items, _ = await self._graph.pages(
            place.access, f"{_calendar(place)}/calendarView", bounds | {"$select": SELECT, "$top": PAGE}
        )
        return Busy([
            Occurrence(uid_of(one), *taken)
            for one in items
            if events.takes_time(one)
            and (taken := events.span(one, place.time_zone)) is not None
            and taken[0] < end
            and taken[1] > start
        ])  # fmt: skip

    async def write(self, place: Place, event: CalendarEvent, etag: str | None) -> str:
        if etag is None:
            body = events.to_created(event)
            answer = await self._graph.ask(place.access, "POST", f"{_calendar(place)}/events", body)
            if _is_duplicate(answer):
                etag = await self._still(place, event.uid)
            else:
                told = _taken(answer)
                if events.stands(told, event):
                    return etag_of(told)
                etag = etag_of(told)
        for _ in range(TRIES_MAX):
            answer = await self._graph.ask(
                place.access, "PATCH", _event(place, etag), events.to_graph(event), events.condition(etag)
            )
            if answer.status in GONE:
                raise EventGone
            if answer.status not in (409, 412):
                return etag_of(_taken(answer))
            etag = await self._still(place, event.uid)
        raise ProviderUnavailable("somebody else keeps writing our event")

    async def delete(self, place: Place, uid: str, etag: str | None) -> bool:
        """Whatever the host did to it meanwhile: it is ours, and over. One in the bin may count as there: it was deleted, and is
        nowhere else.
        """
        was_there = False
        for known in [etag] if etag else [etag_of(one) for one in await self._named(place, uid)]:
            answer = await self._graph.ask(place.access, "DELETE", _event(place, known))
            if answer.status not in (200, 204, *GONE):
                raise CalendarRefused(str(refusal(answer)))
            was_there |= answer.status in (200, 204)
        return was_there

    async def find(self, place: Place, uid: str) -> str | None:
        """By a search of the calendar. By its name it might be found in the bin too, where a deletion puts it."""
        found = await self._named(place, uid)
        return etag_of(found[0]) if found else None

    async def changes(
        self, place: Place, token: str | None, known: Mapping[str, str], window: tuple[datetime, datetime]
    ) -> Changes:
        """Graph keeps the window with the token: its far end moves along where all of it is read again, each day."""
        if token is None:
            bounds = {"startDateTime": z(window[0]), "endDateTime": z(window[1])}
            items, latest = await self._graph.pages(
                place.access, f"{_calendar(place)}/calendarView/delta", bounds, DELTA_PAGE
            )
        else:
            try:
                items, latest = await self._graph.pages(place.access, token, size=DELTA_PAGE)
            except Refused as refused:
                if refused.status not in STALE:
                    raise
                return await self.changes(place, None, known, window)
        there = {one["id"]: one for one in items if "@removed" not in one}
        single = [one for one in there.values() if _series_of(one) is None]
        changed = [events.change(one, place.time_zone, window) for one in single]
        names = sorted({name for one in there.values() if (name := _series_of(one)) is not None})
        removed = [one["id"] for one in items if "@removed" in one and one["id"] not in there]
        for name in names:
            one = await (
                self._told_series(place, name, there, window)
                if token is None
                else self._asked_series(place, name, window)
            )
            if one is None:
                removed.append(name)
            else:
                changed.append(one)
        return Changes(changed=changed, removed=removed, token=latest, whole=token is None)

    async def own(self, place: Place, marker: str) -> Sequence[Own]:
        marked = await self._marked(place, f"startswith(ep/value, '{marker}')")
        return [Own(uid_of(one), one["id"], etag_of(one)) for one in marked if uid_of(one).startswith(marker)]

    async def watch(self, place: Place, wanted: WantedWatch) -> Watch:
        return await subscriptions.watch(self._graph, place, wanted)

    async def renew(self, place: Place, watch: Watch, until: datetime) -> Watch | None:
        return await subscriptions.renew(self._graph, place, watch, until)

    async def unwatch(self, place: Place, watch: Watch) -> None:
        await subscriptions.unwatch(self._graph, place, watch)

    def read_push(self, notification: Notification) -> Handshake | Sequence[Push]:
        return subscriptions.read_push(notification)

    # Underneath

    async def _zone(self, access: Access) -> str | None:
        """Of the mailbox; a token that was not given for its settings does without."""
        try:
            told = await self._graph.get(access, "/me/mailboxSettings", {"$select": "timeZone"})
        except Refused as refused:
            if refused.status not in (403, 404):
                raise
            return None
        return zone_named(str(told.get("timeZone", "")))

    async def _still(self, place: Place, uid: str) -> str:
        etag = await self.find(place, uid)
        if etag is None:
            raise EventGone
        return etag

    async def _named(self, place: Place, uid: str) -> list[Json]:
        """A copy that the host made of it bears the property too, and is theirs."""
        marked = await self._marked(place, f"ep/value eq '{uid}'")
        return [one for one in marked if uid_of(one) == uid]

    async def _marked(self, place: Place, test: str) -> list[Json]:
        """Events of this calendar that bear our property with such a value."""
        query = {
            "$filter": f"singleValueExtendedProperties/Any(ep: ep/id eq '{PROPERTY}' and {test})",
            "$select": "id,transactionId,start,end,isAllDay",
            "$top": 100,
        }
        found, _ = await self._graph.pages(place.access, f"{_calendar(place)}/events", query)
        return await self._shown_here(place, found)

    async def _shown_here(self, place: Place, found: list[Json]) -> list[Json]:
        """Those of them that this calendar shows: such a filter "is applied to all instances of the resource in the signed-in
        user's mailbox", so that another calendar's may be among them.
        """
        spans = [(events.span(one, place.time_zone), one) for one in found]
        here = [one for span, one in spans if span is None]
        timed = sorted([(span, one) for span, one in spans if span is not None], key=lambda pair: pair[0])
        while timed:
            first = timed[0][0][0] - A_DAY
            near = [(span, one) for span, one in timed if span[0] < first + VIEW_MAX]
            timed = timed[len(near) :]
            last = min(first + VIEW_MAX, max(span[1] for span, _ in near)) + A_DAY
            wanted = {
                "startDateTime": z(first),
                "endDateTime": z(last),
                "$select": "id,seriesMasterId",
                "$top": PAGE,
            }
            shown, _ = await self._graph.pages(place.access, f"{_calendar(place)}/calendarView", wanted)
            names = {name for one in shown for name in (one["id"], one.get("seriesMasterId"))}
            here += [one for _, one in near if one["id"] in names]
        return here

    async def _told_series(
        self, place: Place, name: str, told: Mapping[str, Json], window: Span
    ) -> Change | None:
        """A first delta tells every occurrence, most of them with nothing but their times: the rest is the master's."""
        try:
            master = told.get(name) or await self._graph.get(
                place.access, _event(place, name), {"$select": SELECT}
            )
        except Refused as refused:
            if refused.status not in GONE:
                raise
            return None
        found = [one for one in told.values() if one.get("seriesMasterId") == name]
        return events.series(master, found, place.time_zone, window)

    async def _asked_series(self, place: Place, name: str, window: Span) -> Change | None:
        """A later delta may tell some occurrences, and never that one was deleted: all of them are asked for."""
        query = {
            "startDateTime": z(window[0] - A_DAY),
            "endDateTime": z(window[1] + A_DAY),
            "$select": SELECT,
            "$top": PAGE,
        }
        try:
            found, _ = await self._graph.pages(place.access, f"{_event(place, name)}/instances", query)
        except Refused as refused:
            if refused.status not in GONE:
                raise
            return None
        return events.series({"id": name}, found, place.time_zone, window)


def _series_of(one: Json) -> str | None:
    return one["id"] if one.get("type") == "seriesMaster" else one.get("seriesMasterId")


def _taken(answer: Answer) -> Json:
    """The event as it is after a write."""
    if answer.status not in (200, 201):
        raise CalendarRefused(str(refusal(answer)))
    return readable(answer)


def _is_duplicate(answer: Answer) -> bool:
    """This transaction id was used before, for an event that is not this one to the letter."""
    return answer.status in (400, 409) and refusal(answer).code == DUPLICATE


def _calendar(place: Place) -> str:
    return f"/me/calendars/{quote(place.ref, safe='')}"


def _event(place: Place, etag: str) -> str:
    return f"{_calendar(place)}/events/{quote(id_of(etag), safe='')}"
