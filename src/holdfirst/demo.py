# SPDX-License-Identifier: Apache-2.0
"""`holdfirst demo`: the stories that holdfirst is for, over real HTTP against real time, on a throw-away database.

Each line is `T+seconds  who  what  answer`; each story ends with whether it ended as promised.
"""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from holdfirst.demo_site import SAMPLE, embedding_site, where_to_try
from holdfirst.embedded_postgres import EmbeddedPostgres
from holdfirst.errors import HoldfirstError
from holdfirst.store.database import Database
from holdfirst.store.payments import last_notification

# Short times, so that a story of fifteen minutes takes three seconds.
SHORT = {
    "HOLDFIRST_SANDBOX": "1",
    "HOLDFIRST_HOLD_SECONDS_MIN": "1",
    "HOLDFIRST_CHECKOUT_SECONDS_MIN": "1",
    "HOLDFIRST_PROCESSING_SECONDS_MAX": "10",
}
HOLD_SECONDS = 30
SHORT_HOLD_SECONDS = 2
CUSTOMERS = {
    "A": {"name": "Ada", "email": "ada@example.org"},
    "B": {"name": "Ben", "email": "ben@example.org"},
}


class Promised(Exception):
    """A story did not end as promised; the message says where."""


class Server:
    """A holdfirst of our own, on a data directory of its own; started, killed and started again."""

    def __init__(self, data_dir: Path, port: int) -> None:
        self.data_dir = data_dir
        self._port = port
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith("HOLDFIRST_")
        } | SHORT
        self._running: subprocess.Popen[str] | None = None
        self.url = ""

    def start(self) -> None:
        log = (self.data_dir / "server.log").open("a")
        command = [sys.executable, "-m", "holdfirst", "serve", "--port", str(self._port)]
        self._running = subprocess.Popen(  # noqa: S603
            [*command, "--data-dir", str(self.data_dir)],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        log.close()
        assert self._running.stdout is not None
        line = self._running.stdout.readline()
        if not (found := re.search(r"listening on (\S+)", line)):
            raise HoldfirstError(f"the server did not start; see {self.data_dir / 'server.log'}")
        self.url = found[1]
        self._port = int(self.url.rsplit(":", 1)[1])

    def kill(self) -> None:
        """As a power cut would: no good-bye."""
        assert self._running is not None
        self._running.kill()
        self._running.wait()

    def stop(self) -> None:
        if self._running is not None and self._running.poll() is None:
            self._running.terminate()
            self._running.wait()

    def run(self, *arguments: str) -> str:
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-m", "holdfirst", *arguments, "--data-dir", str(self.data_dir)],
            env=self._environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()


class Stage:
    """A practice with one host, set up over the API, and the two customers' calls."""

    def __init__(self, server: Server, out: Callable[[str], None]) -> None:
        self.server = server
        self.out = out
        self.secret_key = server.run("keys", "create", "--kind", "secret")
        self.publishable_key = server.run("keys", "create", "--kind", "publishable")
        self.http = httpx.Client(base_url=server.url, timeout=20)
        self._began = time.monotonic()
        self._day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=7)
        self.host: dict[str, Any] = {}
        self.payee = "pac_sandbox"

    # The table

    def story(self, title: str) -> None:
        self._began = time.monotonic()
        # Each story has a day of its own.
        self._day += timedelta(days=1)
        self.out(f"\n{title}")

    def say(self, who: str, what: str, answer: str) -> None:
        self.out(f"  T+{time.monotonic() - self._began:6.3f}  {who:<10} {what:<44} {answer}")

    @property
    def nine(self) -> datetime:
        return self._day + timedelta(hours=9)

    # Setting up

    def set_up(self) -> None:
        hours = [
            {"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "start": "09:00", "end": "17:00"}
        ]
        host = {"name": "Dr Example", "time_zone": "UTC", "schedule": {"weekly": hours}}
        self.host = self.ask("POST", "/v1/hosts", host)
        sale = {"provider": "sandbox", "mode": "sale_uncloseable"}
        by_sale = self.ask("POST", "/v1/payment-accounts", sale)
        self.offer("consultation", "Consultation", "pac_sandbox")
        self.offer("consultation-by-bank", "Consultation, paid by bank", by_sale["id"])

    def offer(self, slug: str, name: str, payee: str, hold_seconds: int = HOLD_SECONDS) -> None:
        self.ask(
            "POST",
            "/v1/event-types",
            {
                "slug": slug,
                "name": name,
                "hosts": [self.host["id"]],
                "duration_minutes": 60,
                "price": {"amount_minor": 6000, "currency": "EUR"},
                "payment_account": payee,
                "hold_seconds": hold_seconds,
            },
        )

    # Calls

    def ask(self, method: str, path: str, body: Any = None, key: str | None = None) -> dict[str, Any]:
        """A call that must succeed."""
        answer = self.call(method, path, body, key)
        if answer.status_code >= 400:
            raise Promised(f"{method} {path}: {answer.status_code} {answer.text}")
        return dict(answer.json())

    def call(self, method: str, path: str, body: Any = None, key: str | None = None) -> httpx.Response:
        authorization = f"Bearer {key or self.secret_key}"
        return self.http.request(method, path, json=body, headers={"authorization": authorization})

    def reserve(
        self, who: str, event_type: str = "consultation", seconds: int = HOLD_SECONDS
    ) -> httpx.Response:
        body = {
            "event_type": event_type,
            "start": self.nine.isoformat(),
            "customer": CUSTOMERS[who],
            "hold_seconds": seconds,
        }
        return self.call("POST", "/v1/reservations", body, self.publishable_key)

    def hold(self, who: str, event_type: str = "consultation", seconds: int = HOLD_SECONDS) -> dict[str, Any]:
        answer = self.reserve(who, event_type, seconds)
        self.expect(answer.status_code == 201, f"{who} can reserve", answer.text)
        held: dict[str, Any] = answer.json()
        self.say(who, "reserves 9:00", f"{held['status']} until {held['held_until'][11:23]}")
        return held

    def checkout(self, who: str, held: dict[str, Any]) -> str:
        body = {"return_url": f"{self.server.url}/healthz"}
        path = f"/v1/reservations/{held['id']}/checkout"
        payment = self.ask("POST", path, body, held["client_secret"])["payment"]
        self.say(who, "goes to the payment page", payment["status"])
        return str(payment["provider_ref"])

    def act(self, who: str, ref: str, action: str, **more: Any) -> None:
        self.ask("POST", f"/sandbox/checkouts/{ref}/{action}", more)
        self.say(who, f"{action}s at the provider" + (" (too late)" if more.get("force") else ""), "")

    def ledger(self, ref: str) -> dict[str, Any]:
        return self.ask("GET", f"/sandbox/checkouts/{ref}")

    def read(self, held: dict[str, Any]) -> dict[str, Any]:
        return self.ask("GET", f"/v1/reservations/{held['id']}")

    def until(self, held: dict[str, Any], *statuses: str, seconds: float = 15) -> dict[str, Any]:
        """The reservation, once it is in one of these states."""
        return self.until_true(
            held, lambda found: found["status"] in statuses, " or ".join(statuses), seconds
        )

    def until_true(
        self, held: dict[str, Any], true: Callable[[dict[str, Any]], bool], what: str, seconds: float = 15
    ) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while not true(found := self.read(held)):
            if time.monotonic() > end:
                raise Promised(f"{what} never came; it is {found['status']}")
            time.sleep(0.01)
        return found

    def free(self) -> bool:
        query = {
            "start": self._day.isoformat(),
            "end": (self._day + timedelta(days=1)).isoformat(),
            "time_zone": "UTC",
        }
        headers = {"authorization": f"Bearer {self.publishable_key}"}
        slots = self.http.get("/v1/event-types/consultation/slots", params=query, headers=headers).json()[
            "slots"
        ]
        return any(datetime.fromisoformat(slot["start"]) == self.nine for slot in slots)

    def mails_about(self, held: dict[str, Any]) -> list[str]:
        """Subjects of the mails that were sent about a reservation."""
        mails = [path.read_text() for path in (self.server.data_dir / "mail").glob("*.eml")]
        return [re.findall(r"(?m)^Subject: (.*)$", mail)[0] for mail in mails if held["id"] in mail]

    def expect(self, true: bool, what: str, seen: object = "") -> None:
        if not true:
            raise Promised(f"{what} — seen: {seen}")


def collision(stage: Stage) -> None:
    held = stage.hold("A")
    stage.expect(not stage.free(), "B no longer sees 9:00")
    stage.say("B", "looks at that day", "9:00 is not offered")
    refused = stage.reserve("B")
    stage.expect(refused.json().get("code") == "slot_taken", "B is refused", refused.text)
    left = len(refused.json()["slots"])
    stage.say("B", "tries 9:00 all the same", f"409 slot_taken, {left} other times that day")
    stage.expect(left == 7, "B is told what is left", left)
    stage.act("A", stage.checkout("A", held), "authorize")
    stage.until(held, "confirmed")
    stage.say("A", "is", "confirmed")


def abandoned(stage: Stage) -> None:
    held = stage.hold("A", seconds=SHORT_HOLD_SECONDS)
    stage.say("A", "never pays", "")
    over = datetime.fromisoformat(held["held_until"])
    time.sleep(max(0, (over - datetime.now(UTC)).total_seconds() - 0.1))
    while (answer := stage.reserve("B")).status_code != 201:
        stage.expect(answer.status_code == 409, "B is refused until then", answer.text)
        stage.expect(datetime.now(UTC) < over + timedelta(seconds=2), "the slot comes back")
    taken = answer.json()
    late = (datetime.fromisoformat(taken["created_at"]) - over) / timedelta(milliseconds=1)
    stage.expect(late >= 0, "never before", late)
    stage.say("B", "reserves 9:00 again and again", f"held, {late:.0f} ms after A's time was up")
    stage.expect(stage.read(held)["status"] == "expired", "A's hold reads expired")


def late_and_free(stage: Stage) -> None:
    held = stage.hold("A", seconds=SHORT_HOLD_SECONDS)
    ref = stage.checkout("A", held)
    stage.until(held, "expired")
    stage.say("clock", "the hold runs out", "expired")
    stage.act("A", ref, "authorize", force=True)
    paid = stage.until(held, "confirmed")
    stage.expect(paid["payment"]["late"] == "retaken", "the time was taken again", paid["payment"])
    stage.say("A", "the slot was still free", "taken again, captured, confirmed")


def late_and_sold(stage: Stage) -> None:
    held = stage.hold("A", seconds=SHORT_HOLD_SECONDS)
    ref = stage.checkout("A", held)
    stage.until(held, "expired")
    stage.say("clock", "the hold runs out", "expired")
    stage.hold("B")
    stage.act("A", ref, "authorize", force=True)
    after = stage.until_true(held, lambda found: found["payment"]["status"] == "voided", "the void")
    stage.expect(
        after["status"] == "expired" and after["payment"]["late"] == "voided", "A has no slot", after
    )
    books = stage.ledger(ref)
    stage.expect(books["captured"] == 0, "nothing was captured", books)
    stage.say("A", "the slot is B's", "voided: never charged")


def late_sale_and_sold(stage: Stage) -> None:
    held = stage.hold("A", "consultation-by-bank", SHORT_HOLD_SECONDS)
    ref = stage.checkout("A", held)
    stage.until(held, "expired")
    stage.say("clock", "the hold runs out", "expired")
    stage.hold("B")
    stage.act("A", ref, "pay", force=True)
    stage.until_true(held, lambda found: found["payment"]["status"] == "refunded", "the refund")
    books = stage.ledger(ref)
    stage.expect(books["captured"] == books["refunded"] == 6000, "all of it went back", books)
    stage.say("A", "the slot is B's", "refunded in full: 60.00 EUR")


def nervous(stage: Stage) -> None:
    held = stage.hold("A")
    ref = stage.checkout("A", held)
    stage.act("A", ref, "authorize")
    path, headers, body = _last_notification(stage.server)
    for _ in range(5):
        stage.http.post(path, headers=headers, content=body).raise_for_status()
    stage.say("provider", "the same notification, five times more", "200 each")
    for _ in range(3):
        stage.http.get(f"/r/{held['id']}")
    stage.say("A", "loads the return page three times", "")
    with ThreadPoolExecutor(2) as pool:
        path = f"/v1/reservations/{held['id']}/confirm"
        both = list(
            pool.map(lambda _: stage.call("POST", path, {}, held["client_secret"]).status_code, range(2))
        )
    stage.expect(both == [200, 200], "both are told it is confirmed", both)
    stage.say("A", "confirms twice at once", "200 and 200")
    _one_mail(stage, held)
    books = stage.ledger(ref)
    stage.expect(books["captured"] == 6000, "captured once", books)
    stage.say("A", "has", "one reservation, one charge, one mail")


def closed_tab(stage: Stage) -> None:
    held = stage.hold("A")
    ref = stage.checkout("A", held)
    stage.act("A", ref, "authorize", notify="never")
    stage.say("A", "closes the tab; no notification comes", "")
    stage.until(held, "confirmed", seconds=25)
    stage.say("A", "is, all the same", "confirmed")
    _one_mail(stage, held)


def crash(stage: Stage) -> None:
    held = stage.hold("A")
    ref = stage.checkout("A", held)
    stage.act("A", ref, "authorize", notify="never")
    stage.server.kill()
    stage.say("server", "kill -9, between payment and confirmation", "gone")
    stage.server.start()
    stage.say("server", "started again", "listening")
    stage.until(held, "confirmed")
    stage.say("A", "is", "confirmed")
    _one_mail(stage, held)
    stage.expect(stage.ledger(ref)["captured"] == 6000, "captured once")


Story = tuple[str, Callable[[Stage], None]]
STORIES: list[Story] = [
    ("1. The collision: two customers, one slot", collision),
    ("2. Abandoned: the slot is back at the very instant", abandoned),
    ("3a. Late payment, the slot still free", late_and_free),
    ("3b. Late payment, the slot sold: authorised, never captured", late_and_sold),
    ("3c. Late payment by bank, the slot sold: refunded", late_sale_and_sold),
    ("4. The nervous customer", nervous),
    ("5. The closed tab", closed_tab),
    ("6. The crash", crash),
]


def _one_mail(stage: Stage, held: dict[str, Any]) -> None:
    time.sleep(0.5)
    mails = stage.mails_about(held)
    stage.expect(len(mails) == 1 and mails[0].startswith("Confirmed"), "one mail", mails)
    stage.say("A", "has in the letter box", "one mail")


def _last_notification(server: Server) -> tuple[str, dict[str, str], bytes]:
    """The provider's own bytes, as they were stored, to be sent again."""

    async def read(url: str) -> tuple[str, dict[str, str], bytes]:
        database = Database(url, connections_max=2)
        await database.open()
        try:
            return await database.run(last_notification)
        finally:
            await database.close()

    with EmbeddedPostgres(server.data_dir) as embedded:
        return asyncio.run(read(embedded.start()))


def run_demo(*, once: bool, port: int, more: Sequence[Story] = ()) -> bool:
    """Play all stories, and `more`; answers whether each ended as promised. Without `once`, stays up afterwards."""
    with (
        tempfile.TemporaryDirectory(prefix="holdfirst-demo-") as folder,
        _stopped_at_end(Server(Path(folder), port)) as server,
    ):
        _print("holdfirst demo: a throw-away database, a real server, the sandbox as payment provider.")
        server.start()
        stage = Stage(server, _print)
        stage.set_up()
        kept = sum(_play(stage, title, story) for title, story in (*STORIES, *more))
        _print(f"\n{kept} of {len(STORIES) + len(more)} stories ended as promised.")
        if not once:
            _stay(stage)
        return kept == len(STORIES) + len(more)


def _play(stage: Stage, title: str, story: Callable[[Stage], None]) -> bool:
    stage.story(title)
    try:
        story(stage)
    except (Promised, httpx.HTTPError, KeyError, HoldfirstError) as broken:
        stage.out(f"  BROKEN: {broken}")
        return False
    stage.out("  as promised")
    return True


def _stay(stage: Stage) -> None:
    own = {"hosts": [stage.host["id"]], "payment_account": stage.payee}
    stage.ask("POST", "/v1/event-types", SAMPLE | own)
    with embedding_site(stage.server.url, page := f"test/{SAMPLE['slug']}") as site:
        keys = {"secret": stage.secret_key, "publishable": stage.publishable_key}
        _print(where_to_try(stage.server.url, keys, page, site))
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()


@contextlib.contextmanager
def _stopped_at_end(server: Server) -> Iterator[Server]:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield server
    finally:
        server.stop()


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201  # what the command is for
