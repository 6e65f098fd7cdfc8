# SPDX-License-Identifier: Apache-2.0
"""CalDAV as a calendar provider.

The name of our resource is made of its uid, so that the server's own "create, but only if it is not there" is the lock
that no other part of the protocol gives. Another program may put it under another name, where it is looked for by its uid.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
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
    events_named,
    multiget,
    names_error,
    propfind,
    sync,
)
from holdfirst.providers.icalendar_reader import IcalendarReader
from holdfirst.providers.outward import Answer, Outward, TooLarge
from holdfirst.providers.rest import Rest

ICS = "text/calendar; charset=utf-8"
AT_ONCE_MAX = 100
"""Resources asked for in one multiget."""
WRITES_MAX = 6
"""Somebody else writes the same resource just now: so often we look again."""
PARTS_MAX = 1000
"""Of one answer to what changed."""
LOCKED_SECONDS = 0.05
"""Before another try where a server says that it is locked: one writer at a time, and the next one is told so."""
A_DAY = timedelta(days=1)
_LISTING = propfind("d:getetag", "d:resourcetype")
_STATE = propfind("s:getctag")


class CalDav:
    name = "caldav"

    def __init__(self, outward: Outward, reader: IcalendarReader) -> None:
        self._outward = outward
        self._reader = reader
        self._rests: dict[tuple[str, str], Rest] = {}

    async def discover(self, access: Access) -> Found:
        return await discovery.discover(self._account(access))

    async def busy(self, place: Place, start: datetime, end: datetime) -> Busy:
        """Asked for a day more on each side: servers take whole days and times without a zone as UTC, whatever is the
        calendar's. What of it lies in the window is for the reading to say.
        """
        account = self._account(place.access)
        wider = events_between(_utc(start - A_DAY), _utc(end + A_DAY))
        told, at = await account.look("REPORT", place.ref, wider, 1)
        members = [one for one in told.members if f"{CALDAV}calendar-data" in one.found]
        readings = await self._read(place, members, (start, end))
        occurrences = []
        for member, reading in zip(members, readings, strict=True):
            if reading.fault is not None:
                # Whatever it is, it is not far from the window, and nobody can say that it is free.
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
            answer = await account.ask("PUT", url, content, {"content-type": ICS} | condition)
            if answer.status in DONE:
                return answer.headers.get("etag") or await self._etag(account, url) or ""
            if answer.status == 423:
                await asyncio.sleep(LOCKED_SECONDS)
                continue
            taken = names_error(answer.body, "no-uid-conflict")
            if answer.status not in (404, 409, 412) and not taken:
                raise CalendarRefused(f"the server does not take our event: {answer.status}")
            # It is there already (our first try may have been one whose answer was lost), or was changed, or is gone.
            url, before = await self._where(account, place, event.uid)
            if before is None:
                # Also where the uid stands in another calendar of the account, and some let nobody use it twice.
                if etag is not None or taken or answer.status == 412:
                    raise EventGone
                raise CalendarRefused(f"the server does not take our event: {answer.status}")
        raise ProviderUnavailable("somebody else keeps writing our event")

    async def delete(self, place: Place, uid: str, etag: str | None) -> bool:
        account, url = self._account(place.access), _url(place, uid)
        for _ in range(WRITES_MAX):
            answer = await account.ask("DELETE", url, b"", _if_match(etag))
            if answer.status in DONE:
                return True
            if answer.status == 423:
                await asyncio.sleep(LOCKED_SECONDS)
                continue
            if answer.status not in (404, 410, 412):
                raise CalendarRefused(f"the server does not let us delete our event: {answer.status}")
            url, etag = await self._where(account, place, uid)
            if etag is None:
                return False
        raise ProviderUnavailable("somebody else keeps writing our event")

    async def find(self, place: Place, uid: str) -> str | None:
        return (await self._where(self._account(place.access), place, uid))[1]

    async def changes(
        self, place: Place, token: str | None, known: Mapping[str, str], window: tuple[datetime, datetime]
    ) -> Changes:
        """By sync-collection; where a server does not know it, by a listing of etags whenever its ctag moves."""
        account = self._account(place.access)
        if token is not None and token.startswith("ctag:"):
            return await self._by_listing(account, place, known, window, token)
        ctag_before, _, before = (token or "").removeprefix("sync:").rpartition(" ")
        ctag = await self._ctag(account, place)
        try:
            told, at = await _synced(account, place, before)
        except Unanswered as error:
            if token is not None and _is_stale(error.answer):
                return await self.changes(place, None, known, window)
            return await self._by_listing(account, place, known, window, None)
        if told.token is None:
            return await self._by_listing(account, place, known, window, None)
        if token is not None and not told.members and ctag_before and ctag != ctag_before:
            # Some servers forget a token and say nothing (DAViCal), or something changed and they do not say what (BlueMind).
            return await self.changes(place, None, known, window)
        listed = {
            urljoin(at, one.href): one.text(f"{DAV}getetag")
            for one in told.members
            if not one.gone and not _same(urljoin(at, one.href), place.ref)
        }
        removed = [urljoin(at, one.href) for one in told.members if one.gone]
        changed, unchanged, notes = await self._fetched(account, place, listed, known, window)
        return Changes(
            changed=changed,
            removed=removed,
            token=f"sync:{ctag} {told.token}",
            whole=token is None,
            unchanged=unchanged,
            notes=notes,
        )

    async def own(self, place: Place, marker: str) -> Sequence[Own]:
        """By their names; and by their uids, where a server can search for these."""
        account = self._account(place.access)
        told, at = await account.look("PROPFIND", place.ref, _LISTING, 1)
        found = {}
        for member in told.members:
            uid = unquote(urlsplit(member.href).path.rpartition("/")[2]).removesuffix(".ics")
            if uid.startswith(marker):
                ref = urljoin(at, member.href)
                found[ref] = Own(uid, ref, member.text(f"{DAV}getetag") or "")
        for one in await self._named(account, place, marker):
            found.setdefault(one.ref, one)
        return list(found.values())

    async def _where(self, account: Account, place: Place, uid: str) -> tuple[str, str | None]:
        """The URL of our event, and its etag; None: it is not there."""
        url = _url(place, uid)
        etag = await self._etag(account, url)
        if etag is None:
            for one in await self._named(account, place, uid):
                if one.uid == uid:
                    return one.ref, one.etag
        return url, etag

    async def _named(self, account: Account, place: Place, uid: str) -> list[Own]:
        """Whose uid begins so. What a server answers is not believed: it may have found more than was asked for."""
        try:
            told, at = await account.look("REPORT", place.ref, events_named(uid), 1)
        except Unanswered:
            # It cannot search: then what stands under its own name is all that can be known.
            return []
        found = []
        for member in told.members:
            text = (member.text(f"{CALDAV}calendar-data") or "").replace("\r\n", "\n").replace("\n ", "")
            uids = re.findall(r"^UID(?:;[^:\n]*)?:(\S+)$", text, re.MULTILINE)
            if uids and uids[0].startswith(uid):
                found.append(Own(uids[0], urljoin(at, member.href), member.text(f"{DAV}getetag") or ""))
        return found

    async def _ctag(self, account: Account, place: Place) -> str:
        """What moves whenever something changes; empty where a server knows no such thing."""
        try:
            state, _ = await account.look("PROPFIND", place.ref, _STATE, 0)
        except Unanswered:
            return ""
        return next((text for one in state.members if (text := one.text(f"{SERVER}getctag"))), "")

    async def _by_listing(
        self,
        account: Account,
        place: Place,
        known: Mapping[str, str],
        window: tuple[datetime, datetime],
        token: str | None,
    ) -> Changes:
        ctag = f"ctag:{await self._ctag(account, place)}"
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
            members, at = await self._got(account, place, wanted[first : first + AT_ONCE_MAX])
            readings = await self._read(place, members, window)
            notes += _notes(readings)
            for member, reading in zip(members, readings, strict=True):
                changed += _changes_of(urljoin(at, member.href), member, reading)
        return changed, unchanged, notes

    async def _got(self, account: Account, place: Place, refs: Sequence[str]) -> tuple[list[Member], str]:
        try:
            told, at = await account.look(
                "REPORT", place.ref, multiget([urlsplit(one).path for one in refs]), 1
            )
        except TooLarge:
            if len(refs) == 1:
                raise
            half = len(refs) // 2
            first, at = await self._got(account, place, refs[:half])
            return first + (await self._got(account, place, refs[half:]))[0], at
        return [one for one in told.members if f"{CALDAV}calendar-data" in one.found], at

    async def _read(
        self, place: Place, members: Sequence[Member], window: tuple[datetime, datetime]
    ) -> list[Reading]:
        texts = [(one.found[f"{CALDAV}calendar-data"].text or "").encode() for one in members]
        asked = Question(
            start=window[0], end=window[1], zone=place.time_zone, owners=tuple(place.access.owners)
        )
        return await self._reader.read(texts, asked)

    async def _etag(self, account: Account, url: str) -> str | None:
        """The current one, empty where a server gives none; None: it is not there."""
        answer = await account.ask("GET", url)
        return answer.headers.get("etag", "") if _there(answer) else None

    def _account(self, access: Access) -> Account:
        named = access.secrets["url"], access.secrets.get("username", "")
        return Account(self._outward, access, self._rests.setdefault(named, Rest("the server")))


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
    """A weak etag is never equal to one (RFC 9110, 13.1.1), and "*" means its contrary to some (iCloud): where there is no
    strong one, we write without a condition. What the host changed meanwhile would be written over in any case.
    """
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


async def _synced(account: Account, place: Place, token: str) -> tuple[Multistatus, str]:
    """What changed since then, all of it: a server may tell it in parts (RFC 6578, 3.6)."""
    members: list[Member] = []
    for _ in range(PARTS_MAX):
        told, at = await account.look_at_part("REPORT", place.ref, sync(token), 0)
        members += [one for one in told.members if not one.cut]
        if not told.cut:
            return Multistatus(members, told.token), at
        if told.token is None or told.token == token:
            break
        token = told.token
    raise ProviderUnavailable("the server tells only a part")


def _url(place: Place, uid: str) -> str:
    return urljoin(place.ref, f"{uid}.ics")


def _same(one: str, other: str) -> bool:
    return urlsplit(one).path.rstrip("/") == urlsplit(other).path.rstrip("/")


def _utc(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
