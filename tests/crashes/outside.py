# SPDX-License-Identifier: Apache-2.0
"""What is outside the house and outlives the victim: a real CalDAV server behind a door that can fail, and companies made
up, each at an address of its own.
"""

import asyncio
import http.client
import re
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import uvicorn

from calendars import fake_google, fake_graph
from calendars.servers import Server, send
from holdfirst.effects.world import World
from holdfirst.providers.google import Google, GoogleClient
from holdfirst.providers.microsoft import Microsoft, MicrosoftClient
from providers.gopay_fake import GoPayFake
from providers.stripe_fake import StripeFake
from webhook_receiver import Receiver, listening

PUBLIC = "https://holdfirst.test"
"""Where the world is told to reach us; companies call nothing else than https."""
SETTINGS: dict[str, Any] = {
    "allow_private": "127.0.0.0/8",
    "hold_seconds_min": 1,
    "holds_per_email_max": 1,
}
"""Of the house, and of each victim."""
STRIPE_KEY, GOOGLE_HOST = "sk_test_platform", "host@example.org"
GOPAY = {"goid": "8123456789", "client_id": "one", "client_secret": "s3cret"}


@dataclass
class Door:
    """In front of a server. `faults`: how the next calls of a method (or "") go wrong: `away` (nothing is done), `lost`
    (done, and no answer), `denied`, `refused` (this alone), `blind` (nothing that stands there is told), or "" (well).
    `shut`: one of these for all of them. `seconds`: before it answers anything. `feed`: what stands at `/feed.ics`.
    """

    url: str = ""
    feed: bytes = b""
    faults: list[tuple[str, str]] = field(default_factory=list)
    shut: str = ""
    seconds: float = 0

    def fault_of(self, method: str) -> str:
        for one in self.faults:
            if one[0] in ("", method):
                self.faults.remove(one)
                return one[1]
        return self.shut

    def mend(self) -> None:
        self.faults.clear()
        self.shut = ""
        self.seconds = 0


@dataclass
class Outside:
    caldav: Server
    door: Door
    google: fake_google.FakeGoogle
    graph: fake_graph.FakeGraph
    stripe: StripeFake
    stripe_url: str
    gopay: GoPayFake
    gopay_url: str
    receiver: Receiver

    def __post_init__(self) -> None:
        self.practices: dict[str, Any] = {}

    @property
    def addresses(self) -> dict[str, str]:
        return {
            "google": self.google.url,
            "microsoft": self.graph.url,
            "stripe": self.stripe_url,
            "gopay": self.gopay_url,
        }

    def mend(self) -> None:
        """Whatever was out of order works again."""
        self.door.mend()
        self.google.faults.clear()
        self.google.revoked = False
        self.google.uncallable = "uncallable"
        self.stripe.faults.clear()
        self.gopay.faults.clear()
        self.receiver.answers = 200


def move_in(world: World, addresses: dict[str, str]) -> None:
    """The companies, at other addresses than their own."""
    outward = world.calendars["caldav"]._outward  # type: ignore[attr-defined]
    url = addresses["google"]
    google = Google(outward, GoogleClient("client", "secret", f"{url}/calendar/v3", f"{url}/token"))
    url = addresses["microsoft"]
    client = MicrosoftClient(client_id="client", client_secret="secret", api=f"{url}/v1.0", login=url)
    for known in (world.calendars, world.consents, world.pushes):
        known["google"], known["microsoft"] = google, Microsoft(outward, client)  # type: ignore[index]
    world.providers["stripe"]._api_url = addresses["stripe"]  # type: ignore[attr-defined]
    world.providers["gopay"]._calls._url[False] = f"{addresses['gopay']}/api"  # type: ignore[attr-defined]


@asynccontextmanager
async def open_outside(caldav: Server) -> AsyncIterator[Outside]:
    _clear(caldav)
    google = fake_google.FakeGoogle(calendars={GOOGLE_HOST: {}})
    stripe = StripeFake()
    stripe.account(STRIPE_KEY, "acct_platform")
    gopay = GoPayFake()
    gopay.shop(GOPAY["client_id"], GOPAY["client_secret"], int(GOPAY["goid"]))
    with (
        _door_of(caldav) as door,
        fake_google.serving(google),
        _serving(stripe) as stripe_url,
        _serving(gopay) as gopay_url,
        listening() as receiver,
    ):
        async with fake_graph.serving(fake_graph.FakeGraph()) as graph:
            yield Outside(caldav, door, google, graph, stripe, stripe_url, gopay, gopay_url, receiver)


def _clear(server: Server) -> None:
    """Of what earlier scenes left. An account has few calendars, and all of them are asked about what a host dragged."""
    _, _, listed = send("PROPFIND", server.home, Depth="1", Content_Type="application/xml")
    for name in {one.decode() for one in re.findall(rb"/([^/<>]+)/</(?:\w+:)?href>", listed)}:
        if not server.home.endswith(f"/{name}/"):
            server.drop_calendar(name)


@contextmanager
def _door_of(server: Server) -> Iterator[Door]:
    door, behind = Door(), urlsplit(server.url)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            fault = door.fault_of(self.command)
            time.sleep(door.seconds)
            if fault in ("away", "denied", "refused"):
                self._answer({"away": 503, "denied": 401, "refused": 403}[fault], [], b"")
                return
            if fault == "blind":
                self._answer(207, [("Content-Type", "text/xml")], b'<multistatus xmlns="DAV:"/>')
                return
            if self.path == "/feed.ics":
                self._answer(200, [("Content-Type", "text/calendar")], door.feed)
                return
            calling = http.client.HTTPConnection(str(behind.hostname), behind.port, timeout=20)
            calling.request(self.command, self.path, body, dict(self.headers))
            answer = calling.getresponse()
            content = answer.read()
            calling.close()
            if fault == "lost":
                self.close_connection = True
                return
            kept = ("content-length", "transfer-encoding", "connection", "date", "server")
            self._answer(
                answer.status, [one for one in answer.getheaders() if one[0].lower() not in kept], content
            )

        def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            if status not in (204, 304):
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_DELETE = do_OPTIONS = do_PROPFIND = do_REPORT = _serve  # noqa: N815

        def log_message(self, *_: Any) -> None:
            return

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    door.url = f"http://127.0.0.1:{listening.server_port}{behind.path}"
    try:
        yield door
    finally:
        listening.shutdown()
        listening.server_close()


@contextmanager
def _serving(app: Any) -> Iterator[str]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(10)
