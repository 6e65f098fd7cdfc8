# SPDX-License-Identifier: Apache-2.0
"""A real server: started by its command line, spoken to over HTTP, ended by signals."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil

from holdfirst.demo_stage import SHORT
from holdfirst.providers.outward import trusted

ANNA = {"name": "Anna", "email": "anna@example.org"}
ALWAYS = [{"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "start": "00:00", "end": "24:00"}]
PRICE = {"amount_minor": 6000, "currency": "EUR"}


def environment(**settings: str) -> dict[str, str]:
    """Ours without any setting of holdfirst, and the demo's short times."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("HOLDFIRST_")}
    return plain | SHORT | {f"HOLDFIRST_{name}": value for name, value in settings.items()}


def command(*words: str, cwd: Path | None = None, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run `holdfirst …` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "holdfirst", *words],
        env=environment(**settings),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=cwd,
    )


def clusters_servers(data_dir: Path) -> list[psutil.Process]:
    """Every PostgreSQL process whose files lie in this data directory."""
    found = []
    for one in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if one.name() == "postgres" and Path(one.cwd()) == (data_dir / "postgres").resolve():
                found.append(one)
    return found


def postmaster(data_dir: Path) -> psutil.Process:
    return psutil.Process(int((data_dir / "postgres" / "postmaster.pid").read_text().split()[0]))


@dataclass
class Server:
    """`holdfirst serve` (or `worker`) on a data directory."""

    data_dir: Path
    options: tuple[str, ...] = ()
    settings: dict[str, str] = field(default_factory=dict)
    verb: str = "serve"
    port: int = 0
    url: str = ""
    first_line: str = ""
    prefix: tuple[str, ...] = ()
    """Words before the command: on which machine it runs, say."""
    running: subprocess.Popen[str] | None = None

    @property
    def log(self) -> Path:
        return self.data_dir / f"{self.verb}.log"

    @property
    def errors(self) -> str:
        return self.log.read_text()

    def launch(self) -> subprocess.Popen[str]:
        words = [self.verb, *(["--port", str(self.port)] if self.verb == "serve" else []), *self.options]
        with self.log.open("a") as log:
            self.running = subprocess.Popen(
                [*self.prefix, sys.executable, "-m", "holdfirst", *words, "--data-dir", str(self.data_dir)],
                env=environment(**self.settings),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        return self.running

    def start(self) -> "Server":
        started = self.launch()
        assert started.stdout is not None
        self.first_line = started.stdout.readline()
        if self.verb == "serve":
            listening = re.fullmatch(r"holdfirst listening on (http://\S+:(\d+))\n", self.first_line)
            assert listening, (self.first_line, self.errors[-2000:])
            self.url, self.port = listening[1], int(listening[2])
        return self

    @property
    def pid(self) -> int:
        assert self.running is not None
        return self.running.pid

    def family(self) -> list[psutil.Process]:
        """The server, its children and its PostgreSQL's processes."""
        with suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self.pid)
            return list({parent, *parent.children(recursive=True), *clusters_servers(self.data_dir)})
        return clusters_servers(self.data_dir)

    def postgres(self) -> list[psutil.Process]:
        """The postmaster, then its children, once it has any."""
        while True:
            with suppress(OSError, psutil.NoSuchProcess, ValueError, IndexError):
                master = postmaster(self.data_dir)
                if children := master.children():
                    return [master, *children]
            time.sleep(0.05)

    def kill(self) -> None:
        assert self.running is not None
        self.running.kill()
        self.running.wait()

    def end(self, by: int = signal.SIGTERM) -> tuple[int, float]:
        """(exit status, seconds it took)."""
        assert self.running is not None
        began = time.monotonic()
        self.running.send_signal(by)
        status = self.running.wait(30)
        return status, time.monotonic() - began

    def clear_away(self) -> None:
        """Whatever a failed test left."""
        if self.running is not None and self.running.poll() is None:
            self.running.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.running.wait(15)
            self.running.kill()
            self.running.wait()

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return command(*words, "--data-dir", str(self.data_dir), **self.settings)

    def said(self, *words: str) -> str:
        done = self.run(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


def until(true: Any, what: str, seconds: float = 15.0) -> Any:
    """Whatever `true` answers, once it is true."""
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, f"{what} never came"
        time.sleep(0.02)
    return found


class Practice:
    """One host and a priced consultation (and others), with the calls that customers and back ends make."""

    def __init__(self, server: Server, keys: dict[str, Any]) -> None:
        self.server = server
        self.secret_key = keys["secret"]
        self.publishable_key = keys["publishable"]
        self.host = keys["host"]
        today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        self._next_start = today + timedelta(days=3)

    def a_start(self) -> str:
        """Another free hour each time."""
        self._next_start += timedelta(hours=1)
        return self._next_start.isoformat()

    def call(
        self, method: str, path: str, body: Any = None, key: str | None = None, **headers: str
    ) -> httpx.Response:
        headers["authorization"] = f"Bearer {key or self.secret_key}"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        url = self.server.url + path
        return httpx.request(method, url, json=body, headers=named, timeout=20, verify=trusted())

    def ask(
        self, method: str, path: str, body: Any = None, key: str | None = None, **headers: str
    ) -> dict[str, Any]:
        """A call that must succeed."""
        answer = self.call(method, path, body, key, **headers)
        assert answer.status_code < 300, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def hold(self, event_type: str = "consultation", **more: Any) -> dict[str, Any]:
        body = {"event_type": event_type, "start": self.a_start(), "customer": ANNA, "hold_seconds": 60}
        return self.ask("POST", "/v1/reservations", body | more, self.publishable_key)

    def checkout(self, held: dict[str, Any], **headers: str) -> str:
        body = {"return_url": "https://shop.example/thanks"}
        path = f"/v1/reservations/{held['id']}/checkout"
        return str(self.ask("POST", path, body, held["client_secret"], **headers)["payment"]["provider_ref"])

    def act(self, ref: str, action: str = "authorize", **more: Any) -> None:
        self.ask("POST", f"/sandbox/checkouts/{ref}/{action}", more)

    def fault(self, operation: str, answer: str, times: int = 1) -> None:
        self.ask("POST", "/sandbox/faults", {"operation": operation, "answer": answer, "times": times})

    def ledger(self, ref: str) -> dict[str, Any]:
        return self.ask("GET", f"/sandbox/checkouts/{ref}")

    def read(self, held: dict[str, Any]) -> dict[str, Any]:
        return self.ask("GET", f"/v1/reservations/{held['id']}")

    def until(self, held: dict[str, Any], status: str, seconds: float = 15) -> dict[str, Any]:
        found: dict[str, Any] = until(
            lambda: (seen := self.read(held))["status"] == status and seen,
            f"{status} of {held['id']}",
            seconds,
        )
        return found

    def mails(self, held: dict[str, Any]) -> list[str]:
        texts = [path.read_text() for path in (self.server.data_dir / "mail").glob("*.eml")]
        return [text for text in texts if held["id"] in text]


def set_up(server: Server) -> dict[str, Any]:
    """Keys, a host and three event types; answers what a `Practice` needs to know."""
    keys: dict[str, Any] = {
        kind: server.said("keys", "create", "--kind", kind) for kind in ("secret", "publishable")
    }
    practice = Practice(server, keys | {"host": None})
    host = {"name": "Dr Example", "time_zone": "UTC", "schedule": {"weekly": ALWAYS}}
    keys["host"] = practice.ask("POST", "/v1/hosts", host)["id"]
    payees = {"consultation": "pac_sandbox"}
    for mode in ("sale", "sale_uncloseable"):
        account = {"provider": "sandbox", "mode": mode}
        payees[mode.replace("_", "-")] = practice.ask("POST", "/v1/payment-accounts", account)["id"]
    shared = {"name": "Consultation", "hosts": [keys["host"]], "duration_minutes": 60}
    cancellation = [{"until_minutes_before": 60, "refund_percent": 100}]
    for slug, payee in payees.items():
        offer = {"slug": slug, "price": PRICE, "payment_account": payee, "cancellation": cancellation}
        practice.ask("POST", "/v1/event-types", shared | offer)
    practice.ask("POST", "/v1/event-types", shared | {"slug": "free"})
    (server.data_dir / "practice.json").write_text(json.dumps(keys))
    return keys


def open_practice(server: Server) -> Practice:
    return Practice(server, json.loads((server.data_dir / "practice.json").read_text()))


def copy(template: Path, place: Path) -> Path:
    """A data directory like another one whose server is down."""
    shutil.copytree(template, place, symlinks=True)
    return place
