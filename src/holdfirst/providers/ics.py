# SPDX-License-Identifier: Apache-2.0
"""Feeds: a calendar as one file at an address. It can be read and never written: checked, not locked.

Whoever publishes a feed decides how old it is; we only know when we last fetched it. The last good copy serves for a
while, so that a server that is down for minutes closes nobody.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import NoReturn
from urllib.parse import urlsplit

import msgspec

from holdfirst.calendar.calendar_event import CalendarEvent, Change, Occurrence
from holdfirst.calendar.icalendar import Question, Reading
from holdfirst.calendar.provider import Access, Busy, Changes, Found, FoundCalendar, Own, Place
from holdfirst.clock import monotonic
from holdfirst.errors import CalendarDenied, ProviderUnavailable
from holdfirst.providers.icalendar_reader import IcalendarReader
from holdfirst.providers.outward import Outward

SIZE_MAX = 5 << 20
FRESH_SECONDS = 20.0
"""A copy this young need not be asked for again: publishers are asked a few times a minute, not for each reserve."""
GOOD_SECONDS = 900.0
"""How long the last good copy serves while its publisher does not answer."""
COPIES_BYTES_MAX = 64 << 20
"""Of all feeds; the ones fetched longest ago go first."""
REF = "feed"


class Copy(msgspec.Struct, frozen=True):
    """What was fetched, when, and what its publisher calls this state of it. `problem`: why there is no newer one."""

    body: bytes
    etag: str | None
    modified: str | None
    good_at: float
    problem: str | None = None

    @property
    def age(self) -> timedelta:
        return timedelta(seconds=monotonic() - self.good_at)

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.body).hexdigest()[:32]

    @property
    def as_of(self) -> datetime | None:
        """Few publishers say it, and some say it wrongly."""
        try:
            return parsedate_to_datetime(self.modified) if self.modified else None
        except ValueError:
            return None


class Ics:
    name = "ics"

    def __init__(self, outward: Outward, reader: IcalendarReader) -> None:
        self._outward = outward
        self._reader = reader
        self._copies: dict[str, Copy] = {}

    async def discover(self, access: Access) -> Found:
        """One calendar, if there is one at this address."""
        url = address_of(access.secrets["url"])
        copy = await self._fetched(url)
        if b"BEGIN:VCALENDAR" not in copy.body.upper():
            raise CalendarDenied("there is no calendar at this address")
        name = urlsplit(url).hostname or "feed"
        # The address itself is a secret, and stays where secrets are.
        return Found(calendars=[FoundCalendar(ref=REF, name=name, time_zone=None, writable=False)])

    async def busy(self, place: Place, start: datetime, end: datetime) -> Busy:
        copy = await self._copy(address_of(place.access.secrets["url"]))
        reading = await self._read(place, copy, start, end)
        occurrences = [Occurrence(one.uid, *span) for one in reading.events for span in one.busy]
        return Busy(occurrences, reading.notes, copy.age, copy.problem, copy.as_of)

    async def changes(
        self, place: Place, token: str | None, known: Mapping[str, str], window: tuple[datetime, datetime]
    ) -> Changes:
        copy = await self._copy(address_of(place.access.secrets["url"]))
        if token == copy.digest:
            return Changes(
                changed=(), removed=(), token=token, whole=False, age=copy.age, problem=copy.problem
            )
        reading = await self._read(place, copy, *window)
        changed = [
            Change(ref=one.uid, etag="", uid=one.uid, busy=one.busy, start=one.start, end=one.end)
            for one in reading.events
        ]
        return Changes(
            changed=changed,
            removed=(),
            token=copy.digest,
            whole=True,
            notes=reading.notes,
            age=copy.age,
            problem=copy.problem,
        )

    async def write(self, place: Place, event: CalendarEvent, etag: str | None) -> NoReturn:
        raise CalendarDenied("a feed cannot be written to")

    async def delete(self, place: Place, uid: str, etag: str | None) -> bool:
        """There is nothing of ours in it."""
        return False

    async def find(self, place: Place, uid: str) -> str | None:
        return None

    async def own(self, place: Place, marker: str) -> Sequence[Own]:
        return ()

    async def _read(self, place: Place, copy: Copy, start: datetime, end: datetime) -> Reading:
        asked = Question(start=start, end=end, zone=place.time_zone, owners=tuple(place.access.owners))
        [reading] = await self._reader.read([copy.body], asked)
        if reading.fault is not None:
            raise ProviderUnavailable(reading.fault)
        return reading

    async def _copy(self, url: str) -> Copy:
        """Fresh, or the last good one for as long as it is good."""
        last = self._copies.get(url)
        if last is not None and monotonic() - last.good_at < FRESH_SECONDS:
            return last
        try:
            return await self._fetched(url)
        except ProviderUnavailable as error:
            if last is None or monotonic() - last.good_at > GOOD_SECONDS:
                raise
            return msgspec.structs.replace(last, problem=str(error))

    async def _fetched(self, url: str) -> Copy:
        last = self._copies.get(url)
        headers = {"accept": "text/calendar, */*;q=0.1"}
        if last is not None and last.etag:
            headers["if-none-match"] = last.etag
        if last is not None and last.modified:
            headers["if-modified-since"] = last.modified
        answer = await self._outward.ask("GET", url, headers=headers, size_max=SIZE_MAX, seconds=15)
        if answer.status == 304 and last is not None:
            return self._kept(url, msgspec.structs.replace(last, good_at=monotonic()))
        if answer.status in (401, 403, 404, 410):
            raise CalendarDenied(f"the feed's address answers {answer.status}")
        if answer.status != 200:
            raise ProviderUnavailable(f"the feed's address answers {answer.status}")
        told = answer.headers
        return self._kept(url, Copy(answer.body, told.get("etag"), told.get("last-modified"), monotonic()))

    def _kept(self, url: str, copy: Copy) -> Copy:
        self._copies.pop(url, None)
        self._copies[url] = copy
        held = sum(len(one.body) for one in self._copies.values())
        while held > COPIES_BYTES_MAX:
            held -= len(self._copies.pop(next(iter(self._copies))).body)
        return copy


def address_of(url: str) -> str:
    """`webcal:` is what calendars call https."""
    scheme, separator, rest = url.partition("://")
    return f"https://{rest}" if separator and scheme.lower() in ("webcal", "webcals") else url
