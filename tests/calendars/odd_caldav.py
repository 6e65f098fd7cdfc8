# SPDX-License-Identifier: Apache-2.0
"""A CalDAV server in a few lines, for what Radicale and Xandikos do not do and other servers are known for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

EVENT = (
    "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:{0}\r\nDTSTAMP:20260101T000000Z\r\n"
    "DTSTART:20261207T100000Z\r\nDTEND:20261207T110000Z\r\nSUMMARY:{1}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
)
_ACCOUNT = (
    "<d:current-user-principal><d:href>/c/</d:href></d:current-user-principal>"
    "<c:calendar-home-set><d:href>/c/</d:href></c:calendar-home-set>"
    "<d:resourcetype><d:collection/><c:calendar/></d:resourcetype>"
)


@dataclass
class OddCalDav:
    """`events`: name → uid. `conflict`: what a new event is answered. `etag`: what an event has, `{}` its state.

    `tells`: whether sync says what changed; `part`: how much of it at once. `padding`: on each event.
    """

    events: dict[str, str] = field(default_factory=dict)
    conflict: tuple[int, str] | None = None
    etag: str | None = '"{}"'
    tells: bool = True
    part: int = 1000
    cut: bool = False
    ctag: int = 0
    padding: str = ""
    asked: list[tuple[str, str, dict[str, str], str]] = field(default_factory=list)
    url: str = ""
    hostile: str = ""
    """What everything is answered."""
    waits: list[str] = field(default_factory=list)
    """What `Retry-After` says, one 503 after the other."""

    def requests(self, method: str) -> list[dict[str, str]]:
        return [headers for asked, _, headers, _ in self.asked if asked == method]

    def answer(
        self, method: str, path: str, headers: dict[str, str], body: str
    ) -> tuple[int, dict[str, str], str]:
        self.asked.append((method, path, headers, body))
        name = path.rpartition("/")[2]
        state = {} if self.etag is None else {"ETag": self.etag.format(self.ctag)}
        if self.hostile:
            return 207, {}, self.hostile
        if self.waits:
            return 503, {"Retry-After": self.waits.pop(0)}, ""
        match method:
            case "PUT" if self.conflict is not None:
                return self.conflict[0], {}, self.conflict[1]
            case "PUT" if headers.get("if-none-match") == "*" and name in self.events:
                return 412, {}, ""
            case "PUT":
                self.ctag += 1
                self.events[name] = name.removesuffix(".ics")
                return 201, {}, ""
            case "GET" | "DELETE" if name not in self.events:
                return 404, {}, ""
            case "GET":
                return 200, state, ""
            case "DELETE":
                del self.events[name]
                return 204, {}, ""
            case "PROPFIND" if "getctag" in body:
                return 207, {}, self._told(f"<s:getctag>c {self.ctag}</s:getctag>")
            case "REPORT" if "sync-collection" in body:
                return 207, {}, self._changes(body)
            case "REPORT" if "multiget" in body:
                return 207, {}, _all(*[self._event(one) for one in self.events if f"/{one}<" in body])
            case "REPORT" if 'name="UID"' in body:
                # As a server that looks for nothing and tells everything.
                return 207, {}, _all(*[self._event(one) for one in self.events])
            case "REPORT":
                return (
                    207,
                    {},
                    _all(*[self._event(one) for one in self.events], self._more() if self.cut else ""),
                )
            case "PROPFIND":
                return 207, {}, self._told(_ACCOUNT)
            case _:
                return 500, {}, ""

    def _changes(self, body: str) -> str:
        """Tokens count what has been told."""
        told = int(body.partition("<d:sync-token>")[2].partition("<")[0].removeprefix("urn:t") or 0)
        names = sorted(self.events)[told : told + self.part] if self.tells or told == 0 else []
        etag = f"<d:getetag>{(self.etag or '').format(self.ctag)}</d:getetag>"
        latest = told + len(names)
        more = self._more() if latest < len(self.events) and names else ""
        return _all(
            *[_response(f"/c/{one}", etag) for one in names],
            more,
            f"<d:sync-token>urn:t{latest}</d:sync-token>",
        )

    def _event(self, name: str) -> str:
        text = EVENT.format(self.events[name], self.padding)
        return _response(
            f"/c/{name}", f'<d:getetag>"{self.ctag}"</d:getetag><c:calendar-data>{text}</c:calendar-data>'
        )

    def _told(self, properties: str) -> str:
        return _all(_response("/c/", properties))

    def _more(self) -> str:
        return "<d:response><d:href>/c/</d:href><d:status>HTTP/1.1 507 Insufficient Storage</d:status></d:response>"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, path, _ = head[0].split(" ")
            headers = {name.lower(): value for name, _, value in (one.partition(": ") for one in head[1:-2])}
            body = (await reader.readexactly(int(headers.get("content-length", 0)))).decode()
            status, told, content = self.answer(method, path, headers, body)
            told |= {"Content-Length": str(len(content.encode())), "Connection": "close"}
            lines = "".join(f"{name}: {value}\r\n" for name, value in told.items())
            writer.write(f"HTTP/1.1 {status} X\r\n{lines}\r\n{content}".encode())
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()


def _response(href: str, properties: str) -> str:
    return (
        f"<d:response><d:href>{href}</d:href><d:propstat><d:prop>{properties}</d:prop>"
        "<d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>"
    )


def _all(*responses: str) -> str:
    spaces = 'xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav" xmlns:s="http://calendarserver.org/ns/"'
    return f"<d:multistatus {spaces}>{''.join(responses)}</d:multistatus>"


@asynccontextmanager
async def odd_caldav(odd: OddCalDav) -> AsyncIterator[OddCalDav]:
    server = await asyncio.start_server(odd.serve, "127.0.0.1", 0)
    async with server:
        odd.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/c/"
        yield odd
