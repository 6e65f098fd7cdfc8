# SPDX-License-Identifier: Apache-2.0
"""Somebody else's web site: a folder, or pages with a policy of their own, on another origin."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class _Folder(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def folder_served(folder: Path) -> Iterator[str]:
    with _running(ThreadingHTTPServer(("127.0.0.1", 0), partial(_Folder, directory=str(folder)))) as port:
        # Another host name than the server's: another site to a browser.
        yield f"http://localhost:{port}/"


@contextmanager
def pages_served(pages: dict[str, str], headers: dict[str, str] | None = None) -> Iterator[str]:
    """`pages` by path, each with these headers."""

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = pages.get(self.path.split("?")[0])
            self.send_response(404 if body is None else 200)
            kind = "text/javascript" if self.path.endswith(".js") else "text/html; charset=utf-8"
            for name, value in {"content-type": kind, **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write((body or "").encode())

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with _running(ThreadingHTTPServer(("127.0.0.1", 0), Pages)) as port:
        yield f"http://localhost:{port}"


@contextmanager
def _running(server: ThreadingHTTPServer) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
