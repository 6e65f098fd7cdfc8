# SPDX-License-Identifier: Apache-2.0
"""Feeds in: read, cached, bounded, never written. Feeds out: what a host's other calendar subscribes to."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from holdfirst.calendar.provider import Access, Place
from holdfirst.effects.examine_calendars import examine
from holdfirst.errors import CalendarDenied, ProviderUnavailable
from holdfirst.providers import ics
from holdfirst.providers.icalendar_reader import IcalendarReader
from holdfirst.providers.ics import Ics, address_of
from holdfirst.providers.outward import Outward
from holdfirst.store.database import Database
from house import CUSTOMER, HOURS, House, open_house

from .servers import vevent

START = datetime(2026, 12, 7, 10, tzinfo=UTC)
END = START + timedelta(hours=1)


@dataclass
class Publisher:
    """Answers each request with `status` and `body`; knows its own etag."""

    body: bytes = b""
    status: int = 200
    asked: list[bytes] = field(default_factory=list)
    url: str = ""
    endless: bool = False
    location: str = ""
    modified: bytes = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            self.asked.append(request)
            if self.endless:
                writer.write(b"HTTP/1.1 200 X\r\nContent-Type: text/calendar\r\nConnection: close\r\n\r\n")
            while self.endless:
                writer.write(self.body)
                await writer.drain()
            etag = b'"%d"' % hash(self.body)
            unchanged = b"if-none-match: " + etag in request.lower() and self.status == 200
            status, body = (304, b"") if unchanged else (self.status, self.body)
            elsewhere = f"Location: {self.location}\r\n".encode() if self.location else b""
            head = b"HTTP/1.1 %d X\r\nETag: %s\r\n%s%sConnection: close\r\nContent-Length: %d\r\n\r\n"
            writer.write(head % (status, etag, elsewhere, self.modified, len(body)) + body)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def publishing(body: bytes) -> AsyncIterator[Publisher]:
    publisher = Publisher(body)
    server = await asyncio.start_server(publisher.serve, "127.0.0.1", 0)
    async with server:
        publisher.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/secret.ics"
        yield publisher


DENTIST = vevent("dentist", "20261207T103000Z", "20261207T113000Z")


def place(publisher: Publisher) -> Place:
    return Place(access=Access(secrets={"url": publisher.url}), ref="feed", time_zone="UTC")


async def test_a_feed_is_read_and_cannot_be_written(outward: Outward, reader: IcalendarReader):
    async with publishing(DENTIST) as publisher:
        feeds = Ics(outward, reader)
        [found] = (await feeds.discover(Access(secrets={"url": publisher.url}))).calendars
        assert not found.writable
        assert "secret" not in found.ref + found.name
        busy = await feeds.busy(place(publisher), START, END)
        assert [one.uid for one in busy.occurrences] == ["dentist"]
        assert (
            await feeds.busy(place(publisher), END + timedelta(hours=1), END + timedelta(hours=2))
        ).occurrences == []


async def test_what_did_not_change_is_not_sent_again(
    outward: Outward, reader: IcalendarReader, monkeypatch: pytest.MonkeyPatch
):
    async with publishing(DENTIST) as publisher:
        feeds = Ics(outward, reader)
        window = (START - timedelta(days=1), START + timedelta(days=30))
        first = await feeds.changes(place(publisher), None, {}, window)
        assert [one.uid for one in first.changed] == ["dentist"] and first.whole
        await feeds.changes(place(publisher), first.token, {}, window)
        assert len(publisher.asked) == 1
        monkeypatch.setattr(ics, "FRESH_SECONDS", 0)
        same = await feeds.changes(place(publisher), first.token, {}, window)
        assert (list(same.changed), same.whole) == ([], False)
        assert b"if-none-match" in publisher.asked[-1].lower()
        publisher.body = vevent("other", "20261208T103000Z", "20261208T113000Z")
        second = await feeds.changes(place(publisher), first.token, {}, window)
        assert [one.uid for one in second.changed] == ["other"] and second.whole


async def test_the_last_good_copy_serves_for_a_while(
    outward: Outward, reader: IcalendarReader, monkeypatch: pytest.MonkeyPatch
):
    async with publishing(DENTIST) as publisher:
        feeds = Ics(outward, reader)
        await feeds.busy(place(publisher), START, END)
        monkeypatch.setattr(ics, "FRESH_SECONDS", 0)
        publisher.status = 503
        window = (START - timedelta(days=1), START + timedelta(days=30))
        copies = (
            await feeds.busy(place(publisher), START, END),
            await feeds.changes(place(publisher), None, {}, window),
        )
        # It says that it is old, and why.
        assert copies[0].occurrences and copies[1].changed
        assert all(one.age > timedelta(0) and "503" in (one.problem or "") for one in copies)
        monkeypatch.setattr(ics, "GOOD_SECONDS", 0)
        with pytest.raises(ProviderUnavailable):
            await feeds.busy(place(publisher), START, END)
        publisher.status = 404
        with pytest.raises(CalendarDenied):
            await feeds.busy(place(publisher), START, END)


async def test_copies_are_bounded_by_what_they_take(
    outward: Outward, reader: IcalendarReader, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ics, "COPIES_BYTES_MAX", 3 * len(DENTIST))
    async with publishing(DENTIST) as publisher:
        feeds = Ics(outward, reader)
        for name in "abcda":
            await feeds.discover(Access(secrets={"url": f"{publisher.url}?{name}"}))
        assert [url[-1] for url in feeds._copies] == ["c", "d", "a"]
        publisher.body = DENTIST * 4
        await feeds.discover(Access(secrets={"url": publisher.url}))
        assert not feeds._copies


@pytest.mark.parametrize("body", [b"", b"<html>sign in</html>", b"\x1f\x8b\x08"])
async def test_what_is_no_feed_is_said(outward: Outward, reader: IcalendarReader, body: bytes):
    async with publishing(body) as publisher:
        with pytest.raises(CalendarDenied, match="no calendar"):
            await Ics(outward, reader).discover(Access(secrets={"url": publisher.url}))


async def test_fifty_megabytes_are_not_read(outward: Outward, reader: IcalendarReader):
    async with publishing(b"BEGIN:VCALENDAR\r\n" + b"X" * (50 << 20)) as publisher:
        with pytest.raises(ProviderUnavailable, match="larger than 5 MiB"):
            await Ics(outward, reader).discover(Access(secrets={"url": publisher.url}))


def _event(uid: str, *lines: str) -> bytes:
    return "\r\n".join(
        ["BEGIN:VEVENT", f"UID:{uid}", "DTSTAMP:20260101T000000Z", *lines, "END:VEVENT", ""]
    ).encode()


def _feed(*events: bytes) -> bytes:
    return b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\n" + b"".join(events) + b"END:VCALENDAR\r\n"


TEN = "DTSTART:20260101T100000Z"
EXDATES = [f"EXDATE:{START + timedelta(days=number):%Y%m%dT%H%M%SZ}" for number in range(10_000)]
ENDLESS = b"BEGIN:VCALENDAR\r\n" + b"X" * 65536
UNREAD = {
    "50 MB": (b"BEGIN:VCALENDAR\r\n" + b"X" * (50 << 20), "larger than 5 MiB"),
    "endless": (ENDLESS, "larger than 5 MiB"),
    "nothing like it": (b"<html>sign in</html>", "not iCalendar"),
    "cut off": (_feed(_event("a", TEN))[:-40], "not iCalendar"),
}
NOTED = {
    "every second": (_event("a", TEN, "RRULE:FREQ=SECONDLY"), "hourly"),
    "for ever and never": (_event("a", TEN, "RRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"), ""),
    "ten thousand exceptions": (_event("a", TEN, "DURATION:PT1M", "RRULE:FREQ=DAILY", *EXDATES), ""),
    "names that nobody can keep": (
        b"".join(_event(uid, TEN, "DURATION:PT1M") for uid in ("dentist", "nul\0", "x" * 5000)), ""),
    "no date": (_event("a", "DTSTART:tomorrow"), "cannot be read"),
    "another charset": (_event("a", "DTSTART:16010101T100000Z", "SUMMARY:ž").decode().encode("cp1250"), "UTF-8"),
    "1601 and 9999": (_event("a", "DTSTART:16010101T000000Z", "DTEND:16010102T000000Z")
        + _event("b", "DTSTART:99991230T000000Z", "DTEND:99991231T235959Z"), ""),
}  # fmt: skip


@pytest.mark.parametrize("what", [*UNREAD, *NOTED])
async def test_whatever_a_feed_says_is_said_at_its_connection_and_hurts_nobody_else(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
):
    """What can be read of it counts; while it is read, another host is reserved without a pause."""
    monkeypatch.setattr(ics, "FRESH_SECONDS", 0)
    monkeypatch.setattr(ics, "GOOD_SECONDS", 0)
    async with (
        open_house(database.url, tmp_path, allow_private="127.0.0.0/8") as house,
        publishing(DENTIST) as publisher,
    ):
        start = datetime.fromisoformat(house.start()).astimezone(UTC)
        made = {"host": house.host, "provider": "ics", "url": publisher.url}
        connection = await house.ask("POST", "/v1/calendar-connections", made)
        path = f"/v1/calendar-connections/{connection['id']}"
        host = await house.ask("POST", "/v1/hosts", {"name": "Other", "time_zone": "UTC", "schedule": HOURS})
        offer = {"name": "Other", "slug": "other", "hosts": [host["id"]], "duration_minutes": 30}
        await house.ask("POST", "/v1/event-types", offer | {"horizon_days": 365})
        dentist = _event("dentist", f"DTSTART:{start:%Y%m%dT%H%M%SZ}", "DURATION:PT1H")
        publisher.body = UNREAD[what][0] if what in UNREAD else _feed(NOTED[what][0], dentist)
        publisher.endless = what == "endless"

        reading = asyncio.create_task(house.call("POST", f"{path}/sync", {}))
        slowest = await _slowest_meanwhile(house, reading)
        assert slowest < 2.0
        assert (await reading).status_code == 200
        told = await house.ask("GET", path)
        [calendar] = (await house.ask("GET", f"{path}/calendars"))["data"]
        if what in UNREAD:
            assert UNREAD[what][1] in told["last_error"]["message"], told
            return
        assert told["last_error"] is None
        assert any(NOTED[what][1] in one for one in calendar["notes"] or [""]), calendar
        body = {"event_type": "free", "start": start.isoformat(), "customer": CUSTOMER}
        taken = await house.call("POST", "/v1/reservations", body)
        assert (taken.status_code, taken.json()["code"]) == (409, "slot_taken")


async def _slowest_meanwhile(house: House, reading: asyncio.Task[Any]) -> float:
    """Seconds that a reserve of the other host's took, while a feed was read; and that is not for ever."""
    slowest, began = 0.0, monotonic()
    while not reading.done():
        asked = monotonic()
        body = {"event_type": "other", "start": house.start(), "customer": CUSTOMER}
        assert (await house.call("POST", "/v1/reservations", body)).status_code == 201
        slowest = max(slowest, monotonic() - asked)
        assert monotonic() - began < 12.0
    return slowest


def test_webcal_is_https():
    assert address_of("webcal://example.org/a.ics") == "https://example.org/a.ics"
    assert address_of("https://example.org/a.ics") == "https://example.org/a.ics"


async def test_a_host_with_a_feed_in_and_a_feed_out(
    database: Database, tmp_path: Path, reader: IcalendarReader
):
    async with (
        open_house(database.url, tmp_path, allow_private="127.0.0.0/8") as house,
        publishing(b"") as publisher,
    ):
        start = datetime.fromisoformat(house.start()).astimezone(UTC)
        end = start + timedelta(hours=1)
        publisher.body = vevent("dentist", f"{start:%Y%m%dT%H%M%SZ}", f"{end:%Y%m%dT%H%M%SZ}")
        told = await house.ask(
            "POST", "/v1/calendar-connections", {"host": house.host, "provider": "ics", "url": publisher.url}
        )
        assert (told["locks"], told["destination"], told["status"]) == (False, None, "active")
        assert publisher.url not in str(told)
        body = {
            "event_type": "free",
            "start": start.isoformat(),
            "customer": {"name": "Anna", "email": "a@example.org"},
        }
        taken = await house.call("POST", "/v1/reservations", body)
        assert (taken.status_code, taken.json()["code"]) == (409, "slot_taken")
        held = await house.ask("POST", "/v1/reservations", body | {"start": end.isoformat()})
        assert held["calendars"]["verdict"] == "clean"
        address = (await house.ask("GET", f"/v1/hosts/{house.host}"))["calendar_feed"]
        empty = await house.call("GET", address, key=None)
        assert b"VEVENT" not in empty.content
        assert (await house.verb(held, "confirm")).status_code == 200
        shown = await house.call("GET", address, key=None)
        assert shown.headers["content-type"].startswith("text/calendar")
        assert b"SUMMARY:Anna: free" in shown.content
        again = await house.call("GET", address, key=None, if_none_match=shown.headers["etag"])
        assert (again.status_code, again.content) == (304, b"")
        assert (await house.call("GET", address.replace(".ics", "x.ics"), key=None)).status_code == 404
        # Leaked, it is changed; and changed again.
        seen = {address}
        for _ in range(2):
            turned = await house.ask("POST", f"/v1/hosts/{house.host}/calendar-feed/rotate", {})
            assert (await house.call("GET", address, key=None)).status_code == 404
            address = turned["calendar_feed"]
            assert address not in seen and turned["calendar_feed_webcal"].partition("://")[::2] == (
                "webcal",
                address.partition("://")[2],
            )
            seen.add(address)
            assert (await house.call("GET", address, key=None)).content == shown.content
        renamed = await house.ask("PATCH", f"/v1/hosts/{house.host}", {"email": "host@example.org"})
        assert renamed["calendar_feed"] == address
        await house.verb(held, "cancel")
        assert b"VEVENT" not in (await house.call("GET", address, key=None)).content


async def test_doctor_fetches_a_feed_and_says_how_old_it_is(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    start = datetime.now(UTC) + timedelta(days=7)
    odd = b"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:odd\r\nDTSTART:20261207T103000Z\r\nRRULE:FREQ=SECONDLY\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    body = vevent("dentist", f"{start:%Y%m%dT%H%M%SZ}", f"{start + timedelta(hours=1):%Y%m%dT%H%M%SZ}") + odd
    async with (
        open_house(database.url, tmp_path, allow_private="127.0.0.0/8") as house,
        publishing(body) as publisher,
    ):
        publisher.modified = b"Last-Modified: Mon, 07 Dec 2026 09:00:00 GMT\r\n"
        wish = {"host": house.host, "provider": "ics", "url": publisher.url}
        await house.ask("POST", "/v1/calendar-connections", wish)
        await house.settle()
        found = await examine(house.parts.world, repair=False)
        said = "; ".join(found.notes)
        for words in (
            "read only: not locked",
            "1 times taken ahead",
            "s old",
            "2026-12-07 09:00 UTC",
            "1 events not",
        ):
            assert words in said
        assert found.wrong == []
        publisher.status = 404
        monkeypatch.setattr(ics, "FRESH_SECONDS", 0)
        assert any("404" in one for one in (await examine(house.parts.world, repair=False)).wrong)


async def test_a_private_address_is_refused_in_words(database: Database, tmp_path: Path):
    async with open_house(database.url, tmp_path) as house, publishing(DENTIST) as publisher:
        for body in (
            {"provider": "ics", "url": publisher.url},
            {"provider": "caldav", "credentials": {"url": publisher.url, "username": "u", "password": "p"}},
            {"provider": "ics", "url": "https://169.254.169.254/latest"},
        ):
            answer = await house.call("POST", "/v1/calendar-connections", {"host": house.host} | body)
            assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request"), answer.text
            assert "is not called" in answer.json()["detail"]
        assert publisher.asked == []


@pytest.mark.parametrize(
    "url", ["https://exämple.invalid/x.ics", "https://\u2100.invalid/", "https://x.invalid/ů\ud7ff"]
)
async def test_an_address_in_other_letters_is_no_fault_of_ours(database: Database, tmp_path: Path, url: str):
    async with open_house(database.url, tmp_path) as house:
        for made in (
            {"provider": "ics", "url": url},
            {"provider": "caldav", "credentials": {"url": url, "username": "ů", "password": "ž"}},
        ):
            answer = await house.call("POST", "/v1/calendar-connections", {"host": house.host} | made)
            assert answer.json()["code"] in ("invalid_request", "calendar_unreachable"), answer.text
