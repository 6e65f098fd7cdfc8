# SPDX-License-Identifier: Apache-2.0
"""An integrator's server on this machine, which keeps what it is told; signatures are judged by the specification's library."""

import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import standardwebhooks


@dataclass
class Receiver:
    """`heard`: (when, headers, body) of each call; it says `answers` to all of them."""

    url: str = ""
    answers: int = 200
    heard: list[tuple[float, dict[str, str], bytes]] = field(default_factory=list)

    def told(self, secret: str) -> list[dict[str, Any]]:
        """Each call, once its signature was found good."""
        judge = standardwebhooks.Webhook(secret)
        return [judge.verify(body, headers) for _, headers, body in list(self.heard)]

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for _, headers, _ in list(self.heard)]


@contextmanager
def listening() -> Iterator[Receiver]:
    receiver = Receiver()

    class Hears(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            told = {name.lower(): value for name, value in self.headers.items()}
            receiver.heard.append((time.monotonic(), told, body))
            self.send_response(receiver.answers)
            if receiver.answers == 302:
                self.send_header("location", receiver.url + "/elsewhere")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hears)
    server.daemon_threads = True
    receiver.url = f"http://127.0.0.1:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
