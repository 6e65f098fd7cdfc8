# SPDX-License-Identifier: Apache-2.0
"""An account that lies on another host of its company's than the one a person types, as iCloud's do (`caldav.icloud.com`
sends on to `p42-caldav.icloud.com`): Radicale behind two names.
"""

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest

from holdfirst.calendar.calendar_event import CalendarEvent, EventState, event_uid, marker
from holdfirst.calendar.provider import Access, Place
from holdfirst.errors import CalendarDenied
from holdfirst.providers.caldav import CalDav
from holdfirst.providers.icalendar_reader import IcalendarReader
from holdfirst.providers.outward import Outward

from .servers import NAME, Server, send

ROOT, PARTITION = "caldav.company.example", "p42-caldav.company.example"
START = datetime(2026, 12, 7, 10, tzinfo=UTC)
WINDOW = (START - timedelta(days=30), START + timedelta(days=30))


@dataclass
class Company:
    """`home`: on which host it says that the calendars are, and what has `redirected` answers only there. `heard`: who was
    told what: (host, method, whether a password was sent).
    """

    behind: Server
    port: int = 0
    home: str = PARTITION
    redirects: str | None = None
    heard: list[tuple[str, str, bool]] = field(default_factory=list)

    @property
    def secrets(self) -> dict[str, str]:
        return self.behind.secrets | {"url": f"http://{ROOT}:{self.port}/"}

    def url(self, host: str, path: str) -> str:
        return f"http://{host}:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        method, path, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        host = headers["host"].partition(":")[0]
        self.heard.append((host, method, "authorization" in headers))
        more, status = {}, 308
        if self.redirects is not None and host == ROOT:
            more["Location"], answer = self.url(self.redirects, path), b""
        else:
            status, more, answer = await asyncio.to_thread(self._behind, method, path, headers, body)
        lines = [f"HTTP/1.1 {status} x", f"Content-Length: {len(answer)}", "Connection: close"]
        lines += [f"{name}: {more[name]}" for name in ("ETag", "Location", "Content-Type") if name in more]
        writer.write("\r\n".join([*lines, "", ""]).encode() + answer)
        await writer.drain()
        writer.close()

    def _behind(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        kept = {
            name: headers[name]
            for name in ("depth", "content-type", "if-match", "if-none-match")
            if name in headers
        }
        status, more, answer = send(method, self.behind.url.rstrip("/") + path, body or None, **kept)
        # Where the calendars are, is said as a whole address.
        home = f"calendar-home-set><href>/{NAME}/</href>"
        assert home not in answer.decode() or method == "PROPFIND"
        told = answer.decode().replace(home, home.replace(f"/{NAME}/", self.url(self.home, f"/{NAME}/"), 1))
        return status, more, told.encode()


@pytest.fixture
async def company(radicale_server: Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Company]:
    async with _open(radicale_server, monkeypatch) as company:
        yield company


@asynccontextmanager
async def _open(behind: Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Company]:
    """Every name stands for this machine."""
    loop = asyncio.get_running_loop()
    look_up = loop.getaddrinfo

    async def here(host: str, port: int, **more: Any) -> Any:
        if host.endswith(".example"):
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
        return await look_up(host, port, **more)

    monkeypatch.setattr(loop, "getaddrinfo", here)
    company = Company(behind)
    server = await asyncio.start_server(company.serve, "127.0.0.1", 0)
    company.port = server.sockets[0].getsockname()[1]
    async with server:
        yield company


@pytest.fixture
async def caldav(reader: IcalendarReader) -> AsyncIterator[CalDav]:
    outward = Outward([ipaddress.ip_network("127.0.0.0/8")])
    yield CalDav(outward, reader)
    await outward.aclose()


def hosts(company: Company) -> set[str]:
    return {host for host, _, _ in company.heard}


async def test_calendars_on_another_host_of_the_company_are_found_and_used(
    company: Company, caldav: CalDav, radicale_server: Server
):
    url = radicale_server.make_calendar("partition")
    access = Access(secrets=company.secrets)
    found = await caldav.discover(access)
    ref = company.url(PARTITION, urlsplit(url).path)
    assert ref in [one.ref for one in found.calendars]
    assert found.server["home"] == company.url(PARTITION, f"/{NAME}/")
    assert hosts(company) == {ROOT, PARTITION}
    assert all(told for host, _, told in company.heard if host == PARTITION)
    # From here on nobody asks the first host any more.
    company.heard.clear()
    place = Place(access=Access(secrets=company.secrets, server=found.server), ref=ref, time_zone="UTC")
    event = CalendarEvent(
        uid=event_uid("acc_1", "res_1", "cal_1", 0),
        state=EventState.HOLD,
        start=START,
        end=START + timedelta(hours=1),
        title="Hold",
    )
    etag = await caldav.write(place, event, None)
    assert [one.uid for one in (await caldav.busy(place, *WINDOW)).occurrences] == [event.uid]
    assert [one.ref for one in await caldav.own(place, marker("acc_1"))] == [f"{ref}{event.uid}.ics"]
    assert [one.uid for one in (await caldav.changes(place, None, {}, WINDOW)).changed] == [event.uid]
    await caldav.delete(place, event.uid, etag)
    assert (await caldav.busy(place, *WINDOW)).occurrences == []
    assert hosts(company) == {PARTITION}
    radicale_server.drop_calendar("partition")


async def test_a_redirect_to_another_host_of_the_company_is_followed(company: Company, caldav: CalDav):
    company.redirects = PARTITION
    found = await caldav.discover(Access(secrets=company.secrets))
    assert found.server["home"].startswith(company.url(PARTITION, "/"))
    assert hosts(company) == {ROOT, PARTITION}


@pytest.mark.parametrize("host", ["p42-caldav.other.example", "company.example.evil.example", "127.0.0.1"])
async def test_a_home_that_leaves_the_company_is_refused(company: Company, caldav: CalDav, host: str):
    company.home = host
    with pytest.raises(CalendarDenied, match=f"another domain: {host}"):
        await caldav.discover(Access(secrets=company.secrets))
    assert hosts(company) == {ROOT}


@pytest.mark.parametrize("host", ["p42-caldav.other.example", "company.example.evil.example", "127.0.0.1"])
async def test_a_redirect_that_leaves_the_company_is_refused(company: Company, caldav: CalDav, host: str):
    company.redirects = host
    with pytest.raises(CalendarDenied, match=f"another domain: {host}"):
        await caldav.discover(Access(secrets=company.secrets))
    assert hosts(company) == {ROOT}
