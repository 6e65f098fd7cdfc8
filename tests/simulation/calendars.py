# SPDX-License-Identifier: Apache-2.0
"""A host's calendar account of bad days, in virtual time: calls are lost or late, readings lag, it is away for an hour;
strangers write over whatever they like, and the host deletes events of ours.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from fake_calendars import FakeCalendars
from holdfirst.calendar.calendar_event import CalendarEvent, Occurrence, marker
from holdfirst.calendar.provider import Busy, EventGone, Place
from holdfirst.errors import ProviderUnavailable
from simulation.virtual import Chance, go_on

WRITES_MAX = 4
LATE_SECONDS = 50.0
"""A request that was given up arrives up to so much later: `calendar_holds.DOUBT` is a minute."""


class Reading(NamedTuple):
    """What a calendar showed of a stretch of time; `clean`: nothing but ours."""

    moment: float
    ref: str
    start: datetime
    end: datetime
    clean: bool


class Wrote(NamedTuple):
    moment: float
    ref: str
    start: datetime
    end: datetime


class Calendars(FakeCalendars):
    """`readings`, `wrote`, `strange`: the auditor's, nobody else asks them."""

    def __init__(self, chance: Chance, refs: Sequence[str], account_id: str) -> None:
        super().__init__(shelves={ref: {} for ref in refs})
        self._chance, self.mark = chance, marker(account_id)
        self.away = self.been_away = False
        self.healthy = False
        self.behind = 0.0
        """Readings do not show what is younger than this; seconds."""
        self.moments: list[float] = []
        self.readings: list[Reading] = []
        self.wrote: list[Wrote] = []
        self.strange: list[tuple[datetime, datetime]] = []

    # What others do there

    def meddle(self, start: datetime) -> None:
        """A stranger writes an event, or takes an old one away; or the host deletes one of ours."""
        ref = self._chance.random.choice(sorted(self.shelves))
        others = sorted(uid for uid in self.shelves[ref] if not uid.startswith(self.mark))
        ours = sorted(uid for uid in self.shelves[ref] if uid.startswith(self.mark))
        if ours and self._chance.often(0.2):
            self.take(ref, self._chance.random.choice(ours))
        elif others and self._chance.often(0.5):
            self.take(ref, self._chance.random.choice(others))
        else:
            end = start + timedelta(minutes=30)
            self.strange.append((start, end))
            self.put(ref, f"stranger-{len(self.strange)}", start, end)

    def put(self, ref: str, uid: str, start: datetime, end: datetime, **more: Any) -> None:
        super().put(ref, uid, start, end, **more)
        self.moments.append(_moment())

    def take(self, ref: str, uid: str) -> None:
        if uid in self.shelves[ref]:
            super().take(ref, uid)
            self.moments.append(_moment())

    # The protocol: a write says on what it builds, as CalDAV's does, so that a late one spoils nothing

    async def write(self, place: Place, event: CalendarEvent, etag: str | None) -> str:
        before = etag
        for _ in range(WRITES_MAX):
            made = await self._call("write", lambda on=before: self._put_on(place.ref, event, on))
            if made is not None:
                return str(made)
            before = await self._call("etag", lambda: self._etag(place.ref, event.uid))
            if before is None and etag is not None:
                raise EventGone
        raise ProviderUnavailable("somebody else keeps writing our event")

    def _put_on(self, ref: str, event: CalendarEvent, before: str | None) -> str | None:
        if self._etag(ref, event.uid) != before:
            return None
        self.put(ref, event.uid, event.start, event.end, state=event.state, title=event.title)
        self.wrote.append(Wrote(_moment(), ref, event.start, event.end))
        return self._etag(ref, event.uid)

    def _etag(self, ref: str, uid: str) -> str | None:
        there = self.shelves[ref].get(uid)
        return None if there is None else there.etag

    async def delete(self, place: Place, uid: str, etag: str | None) -> bool:
        for _ in range(WRITES_MAX):
            was_there = await self._call("delete", lambda on=etag: self._take_on(place.ref, uid, on))
            if was_there is not None:
                return bool(was_there)
            etag = await self._call("etag", lambda: self._etag(place.ref, uid))
        raise ProviderUnavailable("somebody else keeps writing our event")

    def _take_on(self, ref: str, uid: str, etag: str | None) -> bool | None:
        """Without an etag: whatever stands there. None: something else than that stands there."""
        there = self._etag(ref, uid)
        if etag is not None and there not in (None, etag):
            return None
        self.take(ref, uid)
        return there is not None

    async def busy(self, place: Place, start: datetime, end: datetime) -> Busy:
        def look() -> list[Occurrence]:
            there = self._seen(place.ref).values()
            shown = [Occurrence(one.uid, one.start, one.end) for one in there]
            met = [one for one in shown if one.start < end and one.end > start]
            clean = all(one.uid.startswith(self.mark) for one in met)
            self.readings.append(Reading(_moment(), place.ref, start, end, clean))
            return met

        return Busy(await self._call("busy", look))

    # The bad days

    def _unlucky(self, share: float) -> bool:
        return not self.healthy and self._chance.often(share)

    async def _call(self, call: str, commit: Callable[[], Any]) -> Any:
        """What is on its way arrives, whether or not whoever sent it still waits, or lives."""
        self.calls[call] += 1
        if self.away or self._unlucky(0.02):
            await go_on(self._chance.seconds(0.05, 5))
            raise ProviderUnavailable("lost on the way there")
        loop, late = asyncio.get_running_loop(), self._unlucky(0.02)
        there = self._chance.seconds(1, LATE_SECONDS) if late else self._chance.seconds(0.01, 0.3)
        arrived = loop.create_future()
        loop.call_later(there, self._arrives, commit, arrived)
        if late:
            await go_on(self._chance.seconds(0.05, 1))
            raise ProviderUnavailable("given up")
        answer = await arrived
        # Now and then longer than anybody waits.
        await go_on(25 if self._unlucky(0.01) else self._chance.seconds(0.01, 0.3))
        if self._unlucky(0.02):
            raise ProviderUnavailable("lost on the way back")
        return answer

    def _arrives(self, commit: Callable[[], Any], arrived: asyncio.Future[Any]) -> None:
        since = _moment() - self.behind
        self.lag = next((n for n, at in enumerate(reversed(self.moments)) if at <= since), len(self.moments))
        answer = commit()
        if not arrived.done():
            arrived.set_result(answer)


def _moment() -> float:
    return asyncio.get_running_loop().time()
