# SPDX-License-Identifier: Apache-2.0
"""A story of the demo: one hold in the calendars of two servers that nobody here wrote, Radicale and Xandikos.

They are processes of their own on this machine, and end with the story.
"""

import contextlib
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import httpx
import msgspec

from holdfirst.demo_stage import SHORT_HOLD_SECONDS, Stage, Story
from holdfirst.providers.outward import trusted

NAME, PASSWORD = "host", "app-password"
STARTS_IN_SECONDS = 20.0
QUERY = """<?xml version="1.0"?><c:calendar-query xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav">
<d:prop><c:calendar-data/></d:prop><c:filter><c:comp-filter name="VCALENDAR"><c:comp-filter name="VEVENT"/>
</c:comp-filter></c:filter></c:calendar-query>"""


def calendar_stories(out: Callable[[str], None]) -> list[Story]:
    """None where the servers are not installed, and then how to have them is said."""
    if find_spec("radicale") is None or find_spec("xandikos") is None:
        out("(Without the story of two calendar servers; with it: pip install 'holdfirst[demo]')")
        return []
    return [("7. One hold across two calendars, on two servers", two_calendars)]


class CalendarServer(msgspec.Struct, frozen=True):
    """With one empty calendar at `calendar`; `url` is what a host would type."""

    name: str
    url: str
    calendar: str

    def shows(self) -> list[str]:
        """What stands in the calendar, as its server tells any program."""
        headers = {"depth": "1", "content-type": "application/xml"}
        answer = _call("REPORT", self.calendar, QUERY.encode(), headers)
        events = answer.text.split("BEGIN:VEVENT")[1:]
        return [f"{_line('STATUS', one).lower()}: {_line('SUMMARY', one)}" for one in events]


def two_calendars(stage: Stage) -> None:
    with tempfile.TemporaryDirectory(prefix="holdfirst-demo-") as folder, _both(Path(folder)) as servers:
        stage.say("host", "has a calendar on each of two servers", " and ".join(one.name for one in servers))
        offer = _connected(stage, servers)
        held = stage.hold("A", offer)
        stage.expect([len(one.shows()) for one in servers] == [1, 1], "the hold is in both", _seen(servers))
        _say_calendars(stage, servers)
        stage.act("A", stage.checkout("A", held), "authorize")
        stage.until(held, "confirmed")
        stage.say("A", "is", "confirmed")
        _until(
            stage,
            servers,
            "a booking in one, nothing in the other",
            lambda seen: [len(one) for one in seen] == [1, 0],
        )
        stage.expect(servers[0].shows()[0].startswith("confirmed: Ada"), "with her name", _seen(servers))
        _say_calendars(stage, servers)
        _abandoned(stage, servers, offer)
        _dentist(stage, servers, offer)


def _abandoned(stage: Stage, servers: list[CalendarServer], offer: str) -> None:
    stage.next_day()
    held = stage.hold("B", offer, SHORT_HOLD_SECONDS)
    stage.expect([len(one.shows()) for one in servers] == [2, 1], "the hold is in both", _seen(servers))
    stage.say("B", "is in both calendars, and never pays", "")
    stage.until(held, "expired")
    _until(stage, servers, "it is in neither", lambda seen: [len(one) for one in seen] == [1, 0])
    stage.say("clock", "the hold runs out", "and is gone from both calendars")


def _dentist(stage: Stage, servers: list[CalendarServer], offer: str) -> None:
    stage.next_day()
    start = stage.nine
    lines = [
        "BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//phone//EN", "BEGIN:VEVENT", "UID:dentist",
        "DTSTAMP:20260101T000000Z", f"DTSTART:{start:%Y%m%dT%H%M%SZ}",
        f"DTEND:{start + timedelta(minutes=30):%Y%m%dT%H%M%SZ}", "SUMMARY:dentist", "END:VEVENT", "END:VCALENDAR", "",
    ]  # fmt: skip
    _call(
        "PUT",
        f"{servers[1].calendar}dentist.ics",
        "\r\n".join(lines).encode(),
        {"content-type": "text/calendar"},
    )
    stage.say("host", f"types an event at 9:00 into {servers[1].name}", "")
    refused = stage.reserve("B", offer)
    stage.expect(refused.json().get("code") == "slot_taken", "B is refused", refused.text)
    stage.say("B", "reserves 9:00 in that very moment", "409 slot_taken")
    # The answer does not wait for it: what was written for B is taken out by a job.
    _until(
        stage,
        servers,
        "nothing of it is left",
        lambda seen: not any("Hold" in one for shown in seen for one in shown),
    )


def _connected(stage: Stage, servers: list[CalendarServer]) -> str:
    """A host of this story's own, with both accounts; the slug of what is offered."""
    weekly = [{"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "start": "09:00", "end": "17:00"}]
    host = stage.ask(
        "POST", "/v1/hosts", {"name": "Dr Both", "time_zone": "UTC", "schedule": {"weekly": weekly}}
    )
    for position, server in enumerate(servers):
        account = {"url": server.url, "username": NAME, "password": PASSWORD}
        wish = {"host": host["id"], "provider": "caldav", "credentials": account}
        made = stage.ask("POST", "/v1/calendar-connections", wish)
        path = f"/v1/calendar-connections/{made['id']}"
        known = stage.ask("GET", f"{path}/calendars")["data"]
        ours = next(one["id"] for one in known if "bookings" in one["name"])
        told = stage.ask("PATCH", path, {"blocking": [ours], "destination": None if position else ours})
        stage.expect(told["locks"], "holds can be written there", told)
        stage.say(
            "host",
            f"connects {server.name}",
            "receives bookings" if position == 0 else "is asked, and locked",
        )
    slug = "consultation-in-calendars"
    stage.offer(slug, "Consultation", "pac_sandbox", host=host["id"])
    return slug


def _say_calendars(stage: Stage, servers: list[CalendarServer]) -> None:
    for one in servers:
        stage.say(one.name, "shows", "; ".join(one.shows()) or "nothing")


def _until(
    stage: Stage, servers: list[CalendarServer], what: str, true: Callable[[list[list[str]]], bool]
) -> None:
    end = time.monotonic() + 15
    while not true(_seen(servers)):
        stage.expect(time.monotonic() < end, what, _seen(servers))
        time.sleep(0.05)


def _seen(servers: list[CalendarServer]) -> list[list[str]]:
    return [one.shows() for one in servers]


# The servers


@contextlib.contextmanager
def _both(folder: Path) -> Iterator[list[CalendarServer]]:
    first, second = _free_ports()
    users, config = folder / "users", folder / "radicale.ini"
    users.write_text(f"{NAME}:{PASSWORD}\n")
    config.write_text(
        f"[server]\nhosts = 127.0.0.1:{first}\n"
        f"[auth]\ntype = htpasswd\nhtpasswd_filename = {users}\nhtpasswd_encryption = plain\ndelay = 0\n"
        f"[storage]\nfilesystem_folder = {folder}/radicale\n[logging]\nlevel = error\n"
    )
    radicale = ["radicale", "--config", str(config)]
    xandikos = [
        "xandikos", "serve", "--defaults", "-d", f"{folder}/xandikos", "--state-dir", f"{folder}/state",
        "-l", "127.0.0.1", "-p", str(second), "--no-detect-systemd",
    ]  # fmt: skip
    with (
        _running(radicale, f"http://127.0.0.1:{first}/", f"{NAME}/") as one,
        _running(xandikos, f"http://127.0.0.1:{second}/", "user/calendars/") as two,
    ):
        yield [one, two]


@contextlib.contextmanager
def _running(command: list[str], url: str, home: str) -> Iterator[CalendarServer]:
    child = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait_for(child, url)
        calendar = f"{url}{home}bookings/"
        # Who asks for the first time has an account from then on.
        _call("PROPFIND", url, headers={"depth": "0"})
        _call("MKCALENDAR", calendar)
        yield CalendarServer(command[0].title(), url, calendar)
    finally:
        child.terminate()
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _wait_for(child: "subprocess.Popen[bytes]", url: str) -> None:
    end = time.monotonic() + STARTS_IN_SECONDS
    while True:
        try:
            httpx.request("OPTIONS", url, timeout=2, verify=trusted())
        except httpx.HTTPError:
            if child.poll() is not None or time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return


def _call(method: str, url: str, body: bytes = b"", headers: dict[str, str] | None = None) -> httpx.Response:
    answer = httpx.request(
        method, url, content=body, headers=headers, auth=(NAME, PASSWORD), timeout=20, verify=trusted()
    )
    answer.raise_for_status()
    return answer


def _line(name: str, event: str) -> str:
    found = re.search(rf"^{name}:(.*?)(?:&#13;)?\r?$", event, re.MULTILINE)
    return found[1].strip() if found else ""


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]
