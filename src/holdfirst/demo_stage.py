# SPDX-License-Identifier: Apache-2.0
"""What the demo's stories are played on: a server of our own, and a practice on it that is set up and called over HTTP."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from holdfirst.errors import HoldfirstError

# Short times, so that a story of fifteen minutes takes three seconds.
SHORT = {
    "HOLDFIRST_SANDBOX": "1",
    "HOLDFIRST_HOLD_SECONDS_MIN": "1",
    "HOLDFIRST_CHECKOUT_SECONDS_MIN": "1",
    "HOLDFIRST_PROCESSING_SECONDS_MAX": "10",
    # Calendar servers on this machine.
    "HOLDFIRST_ALLOW_PRIVATE": "127.0.0.0/8",
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
        self.next_day()
        self.out(f"\n{title}")

    def next_day(self) -> None:
        self._day += timedelta(days=1)

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

    def offer(
        self, slug: str, name: str, payee: str, hold_seconds: int = HOLD_SECONDS, host: str | None = None
    ) -> None:
        """`host`: another one than the practice's first."""
        self.ask(
            "POST",
            "/v1/event-types",
            {
                "slug": slug,
                "name": name,
                "hosts": [host or self.host["id"]],
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


Story = tuple[str, Callable[[Stage], None]]
