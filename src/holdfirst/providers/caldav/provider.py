# SPDX-License-Identifier: Apache-2.0
"""CalDAV as a calendar provider.

The name of our resource is made of its uid, so that the server's own "create, but only if it is not there" is the lock
that no other part of the protocol gives.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import unquote, urljoin, urlsplit

from holdfirst.calendar.calendar_event import CalendarEvent, Change, Occurrence
from holdfirst.calendar.icalendar import Question, Reading, to_icalendar
from holdfirst.calendar.provider import Access, Busy, Changes, EventGone, Found, Own, Place
from holdfirst.clock import wall
from holdfirst.errors import CalendarRefused, ProviderUnavailable
from holdfirst.providers.caldav import discovery
from holdfirst.providers.caldav.connection import DONE, Account, Unanswered
from holdfirst.providers.caldav.multistatus import (
    CALDAV,
    DAV,
    SERVER,
    Member,
    Multistatus,
    events_between,
    multiget,
    names_error,
    propfind,
    sync,
)
from holdfirst.providers.icalendar_reader import IcalendarReader
from holdfirst.providers.outward import Answer, Outward

ICS = "text/calendar; charset=utf-8"
AT_ONCE_MAX = 100
"""Resources asked for in one multiget."""
WRITES_MAX = 6
"""Somebody else writes the same resource just now: so often we look again."""
LOCKED_SECONDS = 0.05
"""Before another try where a server says that it is locked: one writer at a time, and the next one is told so."""
_LISTING = propfind("d:getetag", "d:resourcetype")
_STATE = propfind("s:getctag")


class CalDav:
    name = "caldav"

    def __init__(self, outward: Outward, reader: IcalendarReader) -> None:
        self._outward = outward
        self._reader = reader

    async def discover(self, access: Access) -> Found:
        return await discovery.discover(self._account(access))

    async def busy(self, place: Place, start: datetime, end: datetime) -> Busy:
        account = self._account(place.access)
        told, at = await account.look("REPORT", place.ref, events_between(_utc(start), _utc(end)), 1)
        members = [one for one in told.members if f"{CALDAV}calendar-data" in one.found]
        readings = await self._read(place, members, (start, end))
        occurrences = []
        for member, reading in zip(members, readings, strict=True):
            if reading.fault is not None:
                # Whatever it is, it is in the window, and nobody can say that it is free.
                occurrences.append(Occurrence(urljoin(at, member.href), start, end))
            for event in reading.events:
                occurrences += [Occurrence(event.uid, *span) for span in event.busy]
        return Busy(occurrences, _notes(readings))

    async def write(self, place: Place, event: CalendarEvent, etag: str | None) -> str:
        account, url = self._account(place.access), _url(place, event.uid)
        content = to_icalendar(event, datetime.fromtimestamp(wall(), UTC))
        before = etag
        for _ in range(WRITES_MAX):
            condition = {"if-none-match": "*"} if before is None else _if_match(before)
            headers = {"content-type": ICS, **condition}
            answer = await account.ask("PUT", url, content, headers)
            if answer.status in DONE:
                return answer.headers.get("etag") or await self._etag(account, url) or ""
            if answer.status == 423:
                await asyncio.sleep(LOCKED_SECONDS)
                continue
            if answer.status not in (404, 409, 412):
                raise CalendarRefused(f"the server does not take our event: {answer.status}")
            # It is there already (our first try may have been one whose answer was lost), or was changed, or is gone.
            before = await self._etag(account, url)
            if before is None:
                if etag is not None:
                    raise EventGone
                if answer.status in (404, 409):
                    raise CalendarRefused(f"the server does not take our event: {answer.status}")
        raise ProviderUnavailable("somebody else keeps writing our event")

    async def delete(self, place: Place, uid: str, etag: str | None) -> None:
        account, url = self._account(place.access), _url(place, uid)
        for _ in range(WRITES_MAX):
            answer = await account.ask("DELETE", url, b"", _if_match(etag))
            if answer.status in (*DONE, 404, 410):
                return
            if answer.status == 423:
                await asyncio.sleep(LOCKED_SECONDS)
                continue
            if answer.status != 412:
                raise CalendarRefused(f"the server does not let us delete our event: {answer.status}")
            etag = await self._etag(account, url)
            if etag is None:
                return
        raise ProviderUnavailable("somebody else keeps writing our event")

    async def find(self, place: Place, uid: str) -> str | None:
        return await self._etag(self._account(place.access), _url(place, uid))

    async def changes(
        self, place: Place, token: str | None, known: Mapping[str, str], window: tuple[datetime, datetime]
    ) -> Changes:
        """By sync-collection; where a server does not know it, by a listing of etags whenever its ctag moves."""
        account = self._account(place.access)
        if token is not None and token.startswith("ctag:"):
            return await self._by_listing(account, place, known, window, token)
        try:
            told, at = await account.look("REPORT", place.ref, sync((token or "").removeprefix("sync:")), 0)
        except Unanswered as error:
            if token is not None and _is_stale(error.answer):
                return await self.changes(place, None, known, window)
            return await self._by_listing(account, place, known, window, None)
        if told.token is None:
            return await self._by_listing(account, place, known, window, None)
        listed = {
            urljoin(at, one.href): one.text(f"{DAV}getetag")
            for one in told.members
            if not one.gone and not _same(urljoin(at, one.href), place.ref)
        }
        removed = [urljoin(at, one.href) for one in told.members if one.gone]
        whole = token is None
        changed, unchanged, notes = await self._fetched(account, place, listed, known, window)
        return Changes(
            changed=changed,
            removed=removed,
            token=f"sync:{told.token}",
            whole=whole,
            unchanged=unchanged,
            notes=notes,
        )

    async def own(self, place: Place, marker: str) -> Sequence[Own]:
        told, at = await self._account(place.access).look("PROPFIND", place.ref, _LISTING, 1)
        found = []
        for member in told.members:
            uid = unquote(urlsplit(member.href).path.rpartition("/")[2]).removesuffix(".ics")
            if uid.startswith(marker):
                found.append(Own(uid, urljoin(at, member.href), member.text(f"{DAV}getetag") or ""))
        return found

    async def _by_listing(
        self,
        account: Account,
        place: Place,
        known: Mapping[str, str],
        window: tuple[datetime, datetime],
        token: str | None,
    ) -> Changes:
        state, _ = await account.look("PROPFIND", place.ref, _STATE, 0)
        ctag = f"ctag:{_ctag(state)}"
        if token == ctag and ctag != "ctag:":
            return Changes(changed=(), removed=(), token=ctag, whole=False)
        told, at = await account.look("PROPFIND", place.ref, _LISTING, 1)
        listed = {
            urljoin(at, one.href): one.text(f"{DAV}getetag")
            for one in told.members
            if one.text(f"{DAV}getetag") and not _same(urljoin(at, one.href), place.ref)
        }
        changed, unchanged, notes = await self._fetched(account, place, listed, known, window)
        return Changes(changed=changed, removed=(), token=ctag, whole=True, unchanged=unchanged, notes=notes)

    async def _fetched(
        self,
        account: Account,
        place: Place,
        listed: Mapping[str, str | None],
        known: Mapping[str, str],
        window: tuple[datetime, datetime],
    ) -> tuple[list[Change], list[str], list[str]]:
        """The resources whose etag is not the one that is known; and those that need not be fetched."""
        unchanged = [ref for ref, etag in listed.items() if etag and known.get(ref) == etag]
        wanted = sorted(listed.keys() - set(unchanged))
        changed: list[Change] = []
        notes: list[str] = []
        for first in range(0, len(wanted), AT_ONCE_MAX):
            hrefs = [urlsplit(ref).path for ref in wanted[first : first + AT_ONCE_MAX]]
            told, at = await account.look("REPORT", place.ref, multiget(hrefs), 1)
            members = [one for one in told.members if f"{CALDAV}calendar-data" in one.found]
            readings = await self._read(place, members, window)
            notes += _notes(readings)
            for member, reading in zip(members, readings, strict=True):
                changed += _changes_of(urljoin(at, member.href), member, reading)
        return changed, unchanged, notes

    async def _read(
        self, place: Place, members: Sequence[Member], window: tuple[datetime, datetime]
    ) -> list[Reading]:
        texts = [(one.found[f"{CALDAV}calendar-data"].text or "").encode() for one in members]
        asked = Question(
            start=window[0], end=window[1], zone=place.time_zone, owners=tuple(place.access.owners)
        )
        return await self._reader.read(texts, asked)

    async def _etag(self, account: Account, url: str) -> str | None:
        """The current one; None: it is not there."""
        answer = await account.ask("GET", url)
        return (answer.headers.get("etag") or "*") if _there(answer) else None

    def _account(self, access: Access) -> Account:
        return Account(self._outward, access)


def _changes_of(ref: str, member: Member, reading: Reading) -> list[Change]:
    etag = member.text(f"{DAV}getetag") or ""
    if not reading.events:
        return [Change(ref=ref, etag=etag, uid="")]
    busy = [span for event in reading.events for span in event.busy]
    first = reading.events[0]
    return [Change(ref=ref, etag=etag, uid=first.uid, busy=busy, start=first.start, end=first.end)]


def _notes(readings: Sequence[Reading]) -> list[str]:
    return [note for one in readings for note in ([one.fault] if one.fault else one.notes)]


def _if_match(etag: str | None) -> dict[str, str]:
    """A weak etag cannot be compared with: then there is no condition."""
    return {"if-match": etag} if etag and not etag.startswith("W/") else {}


def _there(answer: Answer) -> bool:
    if answer.status == 200:
        return True
    if answer.status in (404, 410):
        return False
    raise ProviderUnavailable(f"the server answered {answer.status}")


def _is_stale(answer: Answer) -> bool:
    """Servers say it with 403, 409, 410 or 412; one says 400 and names it."""
    return answer.status in (403, 409, 410, 412, 507) or names_error(answer.body, "valid-sync-token")


def _ctag(state: Multistatus) -> str:
    return next((text for one in state.members if (text := one.text(f"{SERVER}getctag"))), "")


def _url(place: Place, uid: str) -> str:
    return urljoin(place.ref, f"{uid}.ics")


def _same(one: str, other: str) -> bool:
    return urlsplit(one).path.rstrip("/") == urlsplit(other).path.rstrip("/")


def _utc(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
