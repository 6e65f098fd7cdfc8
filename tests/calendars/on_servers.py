# SPDX-License-Identifier: Apache-2.0
"""The two calendars of `shop.py`'s host on two servers that nobody here wrote, `one` on Radicale and `two` on Xandikos: the
production's CalDAV between, with the knobs of `fake_calendars.py` around each of its calls.
"""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol
from xml.etree import ElementTree as ET

import icalendar

from fake_calendars import Entry
from holdfirst.calendar.calendar_event import EventState
from holdfirst.errors import CalendarDenied, ProviderUnavailable
from holdfirst.flows import calendar_connections
from holdfirst.flows.calendar_connections import Roles
from holdfirst.providers.caldav import CalDav
from holdfirst.providers.icalendar_reader import IcalendarReader
from holdfirst.providers.outward import Outward
from holdfirst.refusal import Refusal
from holdfirst.store import calendars
from shop import Shop

from .servers import Server, events_in, send, vevent

STATES = {"TENTATIVE": EventState.HOLD, "CONFIRMED": EventState.CONFIRMED}


class Connect(Protocol):
    """A shop's first host gets two calendars, `one` and `two`, both of them blocking; `one` receives."""

    async def __call__(self, shop: Shop, **policy: Any) -> str: ...

    async def each(self, shop: Shop) -> None:
        """The first host gets `one`, the second `two`."""


async def _nothing(_call: str, _when: str) -> None:
    return None


class ServerCalendars(CalDav):
    """`urls`: `one`, `two` → the calendar. As `FakeCalendars`: `faults`, `denied`, `latency`, `on_call`, `calls`."""

    def __init__(self, outward: Outward, reader: IcalendarReader, urls: Mapping[str, str]) -> None:
        super().__init__(outward, reader)
        self.urls = urls
        self.faults: dict[str, list[str]] = {}
        self.denied = False
        self.latency = 0.0
        self.calls: Counter[str] = Counter()
        self.on_call: Callable[[str, str], Awaitable[None]] = _nothing
        self._late: set[asyncio.Task[Any]] = set()

    # What a stranger does, and what a test looks at.

    def put(self, ref: str, uid: str, start: datetime, end: datetime, **_: Any) -> None:
        name = _name(uid)
        body = vevent(name, *(f"{one.astimezone(UTC):%Y%m%dT%H%M%SZ}" for one in (start, end)))
        assert send("PUT", f"{self.urls[ref]}{name}.ics", body)[0] in (201, 204)

    def take(self, ref: str, uid: str) -> None:
        assert send("DELETE", f"{self.urls[ref]}{_name(uid)}.ics")[0] in (200, 204, 404)

    def ours(self, prefix: str = "hf") -> dict[str, list[Entry]]:
        return {
            ref: [one for one in entries_in(url) if one.uid.startswith(prefix)]
            for ref, url in self.urls.items()
        }

    # The protocol: the production's, watched.

    async def busy(self, *asked: Any) -> Any:
        return await self._call("busy", *asked)

    async def write(self, *asked: Any) -> str:
        etag: str = await self._call("write", *asked)
        return etag

    async def delete(self, *asked: Any) -> bool:
        was_there: bool = await self._call("delete", *asked)
        return was_there

    async def find(self, *asked: Any) -> str | None:
        etag: str | None = await self._call("find", *asked)
        return etag

    async def changes(self, *asked: Any) -> Any:
        return await self._call("changes", *asked)

    async def own(self, *asked: Any) -> Any:
        return await self._call("own", *asked)

    async def ask(self, name: str, *asked: Any) -> Any:
        return await getattr(super(), name)(*asked)

    async def _call(self, name: str, *asked: Any) -> Any:
        self.calls[name] += 1
        await self.on_call(name, "before")
        if self.latency:
            await asyncio.sleep(self.latency)
        if self.denied:
            raise CalendarDenied("the name or the password is not accepted")
        fault = self.faults[name].pop(0) if self.faults.get(name) else None
        if fault == "late":
            # Given up by who asked; it arrives all the same, a moment later.
            task = asyncio.create_task(self._later(name, *asked))
            self._late.add(task)
            task.add_done_callback(self._late.discard)
        if fault in ("lost_before", "late"):
            raise ProviderUnavailable("no answer in time")
        answer = await self.ask(name, *asked)
        await self.on_call(name, "after")
        if fault == "lost_after":
            raise ProviderUnavailable("no answer in time")
        return answer

    async def _later(self, name: str, *asked: Any) -> None:
        await asyncio.sleep(0.02)
        await self.ask(name, *asked)


def _name(uid: str) -> str:
    """Ours stand under their uid; a stranger's may be any text."""
    return uid if uid.isalnum() else hashlib.sha256(uid.encode()).hexdigest()[:16]


def entries_in(url: str) -> list[Entry]:
    """What stands in a calendar, as its server tells any client; by time."""
    texts = ET.fromstring(events_in(url)).iter("{urn:ietf:params:xml:ns:caldav}calendar-data")
    events = [one for text in texts for one in icalendar.Calendar.from_ical(text.text or "").walk("VEVENT")]
    found = [
        Entry(
            uid=str(one["UID"]),
            etag="",
            start=one["DTSTART"].dt,
            end=one["DTEND"].dt,
            state=STATES.get(str(one.get("STATUS", ""))),
            title=str(one.get("SUMMARY", "")),
        )
        for one in events
    ]
    return sorted(found, key=lambda one: one.start)


@dataclass
class OnServers:
    """`Connect` for two real servers; the calendars are dropped at the end of a test."""

    servers: tuple[Server, Server]
    outward: Outward
    reader: IcalendarReader
    name: str

    async def __call__(self, shop: Shop, **policy: Any) -> str:
        self._open(shop)
        first, second = self.servers
        connection = await self._join(shop, first, receives=True, **policy)
        await self._join(shop, second, receives=False, **policy)
        return connection

    async def each(self, shop: Shop) -> None:
        self._open(shop)
        for host, server in enumerate(self.servers):
            await self._join(shop, server, receives=True, host=host)

    def _open(self, shop: Shop) -> None:
        urls = {
            ref: server.make_calendar(self.name)
            for ref, server in zip(("one", "two"), self.servers, strict=True)
        }
        shop.calendars = ServerCalendars(self.outward, self.reader, urls)  # type: ignore[assignment]
        shop.world.calendars["caldav"] = shop.calendars  # type: ignore[index]

    async def _join(self, shop: Shop, server: Server, *, receives: bool, **more: Any) -> str:
        connection = await shop.connect(secrets=server.secrets, **more)
        found = await shop.database.run(calendars.calendars_of, connection)
        [mine] = [one.id for one in found if one.ref.rstrip("/").endswith(self.name)]
        roles = Roles(blocking=[mine], destination=mine if receives else "")
        answer = await shop.database.run(calendar_connections.change, shop.account_id, connection, roles)
        assert not isinstance(answer, Refusal), answer
        return connection

    def drop(self) -> None:
        for server in self.servers:
            server.drop_calendar(self.name)


class InMemory:
    """`Connect` for the fake; both calendars are one account's."""

    async def __call__(self, shop: Shop, **policy: Any) -> str:
        return await shop.connect(**policy)

    async def each(self, shop: Shop) -> None:
        for host, ref in enumerate(("one", "two")):
            shop.calendars.shelves = {ref: {}}
            await shop.connect(host=host)
        shop.calendars.shelves = {"one": {}, "two": {}}


in_memory = InMemory()
