# SPDX-License-Identifier: Apache-2.0
"""CalDAV servers that nobody here wrote, each a process of its own with an empty folder: Radicale and Xandikos."""

import base64
import contextlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

NAME, PASSWORD = "user", "app-password"


@dataclass(frozen=True)
class Server:
    """`url`: what a host would type. `home`: where new calendars are made."""

    kind: str
    url: str
    home: str

    @property
    def secrets(self) -> dict[str, str]:
        return {"url": self.url, "username": NAME, "password": PASSWORD}

    def make_calendar(self, name: str) -> str:
        """An empty calendar; its URL."""
        url = f"{self.home}{name}/"
        answer = send("MKCALENDAR", url)
        assert answer[0] == 201, answer
        return url

    def drop_calendar(self, name: str) -> None:
        assert send("DELETE", f"{self.home}{name}/")[0] in (200, 204, 404)


def send(
    method: str, url: str, body: bytes | None = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """As another program of the host's would."""
    pair = base64.b64encode(f"{NAME}:{PASSWORD}".encode()).decode()
    request = urllib.request.Request(url, data=body, method=method)
    request.add_header("Authorization", f"Basic {pair}")
    if body is not None:
        request.add_header("Content-Type", "text/calendar; charset=utf-8")
    for name, value in headers.items():
        request.add_header(name.replace("_", "-"), value)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


def events_in(url: str) -> bytes:
    """What stands in a calendar, as its server tells any client: a multistatus."""
    body = (
        b'<?xml version="1.0"?><c:calendar-query xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav"><d:prop>'
        b'<d:getetag/><c:calendar-data/></d:prop><c:filter><c:comp-filter name="VCALENDAR">'
        b'<c:comp-filter name="VEVENT"/></c:comp-filter></c:filter></c:calendar-query>'
    )
    status, _, answer = send("REPORT", url, body, Depth="1", Content_Type="application/xml")
    assert status == 207, (status, answer)
    return answer


def vevent(uid: str, start: str, end: str, *more: str) -> bytes:
    """An event as some other program writes it; `start` and `end` as in `20261207T100000Z`."""
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//somebody//else//EN",
        "BEGIN:VEVENT",
        f"UID:{uid}",
        "DTSTAMP:20260101T000000Z",
        f"DTSTART:{start}",
        f"DTEND:{end}",
        "SUMMARY:dentist",
        *more,
        "END:VEVENT",
        "END:VCALENDAR",
        "",
    ]
    return "\r\n".join(lines).encode()


@contextlib.contextmanager
def radicale() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="hf-radicale-") as folder:
        port = _free_port()
        users = Path(folder) / "users"
        users.write_text(f"{NAME}:{PASSWORD}\n")
        config = Path(folder) / "config"
        config.write_text(
            f"[server]\nhosts = 127.0.0.1:{port}\n"
            f"[auth]\ntype = htpasswd\nhtpasswd_filename = {users}\nhtpasswd_encryption = plain\ndelay = 0\n"
            f"[storage]\nfilesystem_folder = {folder}/collections\n[logging]\nlevel = error\n"
        )
        command = [sys.executable, "-m", "radicale", "--config", str(config)]
        with _running(command, f"http://127.0.0.1:{port}/"):
            send("MKCOL", f"http://127.0.0.1:{port}/{NAME}/")
            yield Server("radicale", f"http://127.0.0.1:{port}/", f"http://127.0.0.1:{port}/{NAME}/")


@contextlib.contextmanager
def xandikos() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="hf-xandikos-") as folder:
        port = _free_port()
        command = [
            sys.executable, "-m", "xandikos", "serve", "--defaults", "-d", f"{folder}/dav",
            "--state-dir", f"{folder}/state", "-l", "127.0.0.1", "-p", str(port), "--no-detect-systemd",
        ]  # fmt: skip
        with _running(command, f"http://127.0.0.1:{port}/"):
            yield Server(
                "xandikos", f"http://127.0.0.1:{port}/", f"http://127.0.0.1:{port}/{NAME}/calendars/"
            )


@contextlib.contextmanager
def _running(command: list[str], url: str) -> Iterator[None]:
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(400):
            assert child.poll() is None, f"{command[2]} ended with {child.returncode}"
            try:
                send("OPTIONS", url)
            except OSError:
                time.sleep(0.05)
            else:
                break
        else:
            raise AssertionError(f"{command[2]} does not answer")
        yield
    finally:
        child.kill()
        child.wait()


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port
