# SPDX-License-Identifier: Apache-2.0
"""Calendars in memory that keep the protocol's promises and break what no company promises: answers get lost, writes
arrive after they were given up, readings lag. Knobs are plain attributes; `on_call` runs before and after each call.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from msgspec.structs import replace

from holdfirst.calendar.calendar_event import CalendarEvent, Change, EventState, Occurrence
from holdfirst.calendar.provider import (
    Access,
    Busy,
    Changes,
    EventGone,
    Found,
    FoundCalendar,
    Own,
    Place,
)
from holdfirst.errors import CalendarDenied, CalendarRefused, CalendarUnreadable, ProviderUnavailable


@dataclass
class Entry:
    uid: str
    etag: str
    start: datetime
    end: datetime
    state: EventState | None = None
    title: str = ""


async def _nothing(_call: str, _when: str) -> None:
    return None


@dataclass
class FakeCalendars:
    """`shelves`: calendar ref → uid → entry. `faults`: call → how many of the next ones go wrong, and how."""

    shelves: dict[str, dict[str, Entry]] = field(default_factory=lambda: {"one": {}, "two": {}})
    read_only: set[str] = field(default_factory=set)
    unreadable: set[str] = field(default_factory=set)
    """Calendars that are not to be read any more, in an account that lets us in."""
    refuses: set[str] = field(default_factory=set)
    """Calendars that were writable when they were listed, and take nothing."""
    faults: dict[str, list[str]] = field(default_factory=dict)
    time_zone: str | None = None
    denied: bool = False
    latency: float = 0.0
    lag: int = 0
    """So many of the newest changes are not told to those who read."""
    age: timedelta = timedelta(0)
    problem: str | None = None
    """Readings are so old, and why."""
    on_call: Callable[[str, str], Awaitable[None]] = _nothing
    calls: Counter = field(default_factory=Counter)
    history: list[tuple[int, str, str, bool]] = field(default_factory=list)
    tokens: Any = field(default_factory=lambda: count(1))
    name: str = "caldav"

    # What a stranger does, and what a test looks at.

    def put(self, ref: str, uid: str, start: datetime, end: datetime, **more: Any) -> None:
        self.shelves[ref][uid] = Entry(uid, f"e{next(self.tokens)}", start, end, **more)
        self.history.append((next(self.tokens), ref, uid, True))

    def take(self, ref: str, uid: str) -> None:
        if self.shelves[ref].pop(uid, None) is not None:
            self.history.append((next(self.tokens), ref, uid, False))

    def ours(self, prefix: str = "hf") -> dict[str, list[Entry]]:
        return {
            ref: [one for uid, one in shelf.items() if uid.startswith(prefix)]
            for ref, shelf in self.shelves.items()
        }

    # The protocol.

    async def discover(self, access: Access) -> Found:
        await self._call("discover", lambda: None)
        return Found(
            calendars=[
                FoundCalendar(ref=ref, name=ref, time_zone=self.time_zone, writable=ref not in self.read_only)
                for ref in self.shelves
            ]
        )

    async def busy(self, place: Place, start: datetime, end: datetime) -> Busy:
        seen = await self._call("busy", lambda: list(self._read(place.ref).values()))
        return Busy(
            [Occurrence(one.uid, one.start, one.end) for one in seen if one.start < end and one.end > start],
            age=self.age,
            problem=self.problem,
        )

    async def write(self, place: Place, event: CalendarEvent, etag: str | None) -> str:
        def commit() -> str:
            self._open(place.ref)
            there = self.shelves[place.ref].get(event.uid)
            if there is None and etag is not None:
                raise EventGone
            self.put(place.ref, event.uid, event.start, event.end, state=event.state, title=event.title)
            return self.shelves[place.ref][event.uid].etag

        return await self._call("write", commit)

    async def delete(self, place: Place, uid: str, etag: str | None) -> bool:
        def commit() -> bool:
            self._open(place.ref)
            was_there = uid in self.shelves[place.ref]
            self.take(place.ref, uid)
            return was_there

        was_there: bool = await self._call("delete", commit)
        return was_there

    async def find(self, place: Place, uid: str) -> str | None:
        def look() -> str | None:
            there = self.shelves[place.ref].get(uid)
            return None if there is None else there.etag

        return await self._call("find", look)

    async def changes(
        self, place: Place, token: str | None, known: Mapping[str, str], window: tuple[datetime, datetime]
    ) -> Changes:
        def read() -> Changes:
            shelf = self._read(place.ref)
            told = [one for one in self.history if one[1] == place.ref]
            told = told[: max(0, len(told) - self.lag)]
            latest = str(told[-1][0]) if told else "0"
            if token is None:
                wanted = list(shelf.values())
                return Changes(changed=[_change(one) for one in wanted], removed=(), token=latest, whole=True)
            names = {uid for number, _, uid, _ in told if number > int(token)}
            return Changes(
                changed=[_change(shelf[uid]) for uid in sorted(names) if uid in shelf],
                removed=[uid for uid in sorted(names) if uid not in shelf],
                token=latest,
                whole=False,
            )

        return replace(await self._call("changes", read), age=self.age, problem=self.problem)

    async def own(self, place: Place, marker: str) -> Sequence[Own]:
        def look() -> list[Own]:
            return [
                Own(one.uid, one.uid, one.etag)
                for one in self.shelves[place.ref].values()
                if one.uid.startswith(marker)
            ]

        return await self._call("own", look)

    def _read(self, ref: str) -> dict[str, Entry]:
        if ref in self.unreadable:
            raise CalendarUnreadable("404: there is no such calendar")
        return self._seen(ref)

    def _open(self, ref: str) -> None:
        if ref in self.refuses:
            raise CalendarRefused("403: read only")

    def _seen(self, ref: str) -> dict[str, Entry]:
        """The shelf as those who read are told of it."""
        if self.lag == 0:
            return self.shelves[ref]
        hidden = {
            uid for _, where, uid, _ in self.history[max(0, len(self.history) - self.lag) :] if where == ref
        }
        return {uid: one for uid, one in self.shelves[ref].items() if uid not in hidden}

    async def _call(self, call: str, commit: Callable[[], Any]) -> Any:
        self.calls[call] += 1
        await self.on_call(call, "before")
        if self.latency:
            await asyncio.sleep(self.latency)
        if self.denied:
            raise CalendarDenied("the name or the password is not accepted")
        fault = self.faults[call].pop(0) if self.faults.get(call) else None
        if fault == "lost_before":
            raise ProviderUnavailable("no answer in time")
        if fault == "late":
            # Given up by who asked; it arrives all the same, a moment later.
            asyncio.get_running_loop().call_later(0.02, _quietly, commit)
            raise ProviderUnavailable("no answer in time")
        answer = commit()
        await self.on_call(call, "after")
        if fault == "lost_after":
            raise ProviderUnavailable("no answer in time")
        return answer


def _quietly(commit: Callable[[], Any]) -> None:
    try:
        commit()
    except (EventGone, CalendarRefused):
        return


def _change(one: Entry) -> Change:
    return Change(
        ref=one.uid, etag=one.etag, uid=one.uid, busy=[(one.start, one.end)], start=one.start, end=one.end
    )
