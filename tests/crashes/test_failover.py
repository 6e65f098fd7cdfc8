# SPDX-License-Identifier: Apache-2.0
"""The primary dies and a standby takes over: what was acknowledged is there, nobody was told what is not so, and the
server goes on by itself.

Each standby is cut off before the primary dies, so that what had not reached it is really lost: a test in which
nothing can be lost shows nothing. `HOLDFIRST_FAILOVERS` says how many there are of each kind.
"""

import os
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from crashes.cluster import Node
from processes.running import ANNA, Practice, Server, set_up, until
from races.conftest import FUNCTIONS, without_clock

ROUNDS = range(int(os.environ.get("HOLDFIRST_FAILOVERS", "1")))
SECONDS_TO_GO_ON = 5
LIVE_SECONDS = 15
SKEWED_CLOCK = """
create or replace function the_clock() returns timestamptz language sql volatile as
$$ select date_trunc('milliseconds', clock_timestamp() + current_setting('holdfirst.skew')::interval) $$
"""
NO_WRITE = [
    ("update idempotency_key set replays = replays + 1 where scope = p_scope and key = p_key;", ""),
    # A row that is locked is written to as well.
    (
        "idempotency_key where scope = p_scope and key = p_key for update;",
        "idempotency_key where scope = p_scope and key = p_key;",
    ),
]


@dataclass
class Pair:
    """A primary, its standby, and a server that knows of both."""

    primary: Node
    standby: Node
    server: Server
    practice: Practice


@contextmanager
def pair(place: Path, *, synchronous: bool, skew: float = 0) -> Iterator[Pair]:
    folder = place / uuid.uuid4().hex[:8]
    folder.mkdir()
    primary, standby = Node(folder / "one"), Node(folder / "two", skew=skew)
    server = Server(folder / "app", settings={"DATABASE_URL": ""})
    server.data_dir.mkdir(mode=0o700)
    try:
        standbys = "*" if synchronous else ""
        primary.create().start()
        standby.follow(primary).start()
        primary.ask(f"alter system set synchronous_standby_names = '{standbys}'")
        primary.ask("select pg_reload_conf()")
        hosts = ",".join(f"{node.address}:{node.port}" for node in (primary, standby))
        server.settings = {
            "DATABASE_URL": f"postgresql://holdfirst@{hosts}/postgres",
            "HOLDS_PER_EMAIL_MAX": "0",
            "HOLDS_PER_ADDRESS_MAX": "0",
        }
        assert server.run("migrate").returncode == 0
        primary.ask(SKEWED_CLOCK)
        yield Pair(primary, standby, server, Practice(server, set_up(server.start())))
    finally:
        server.clear_away()
        primary.clear_away()
        standby.clear_away()


@dataclass
class Reserving(threading.Thread):
    """Reserves and confirms what is free, and keeps what it was told: the id, and the last status."""

    practice: Practice
    told: dict[str, str] = field(default_factory=dict)
    strange: list[Any] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        with httpx.Client(base_url=self.practice.server.url, timeout=2) as client:
            headers = {"authorization": f"Bearer {self.practice.secret_key}"}
            while not self.stop.is_set():
                with self.lock:
                    start = self.practice.a_start()
                body = {"event_type": "free", "start": start, "customer": ANNA, "hold_seconds": 600}
                made = self._post(client, "/v1/reservations", body, headers)
                if made is None:
                    continue
                self.told[made["id"]] = "held"
                if self._post(client, f"/v1/reservations/{made['id']}/confirm", {}, headers) is not None:
                    self.told[made["id"]] = "confirmed"

    def _post(self, client: httpx.Client, path: str, body: Any, headers: Any) -> dict[str, Any] | None:
        try:
            answer = client.post(path, json=body, headers=headers)
        except httpx.TransportError:
            return None
        if answer.status_code >= 300 and (answer.status_code != 503 or "retry-after" not in answer.headers):
            self.strange.append((answer.status_code, answer.text))
        return answer.json() if answer.status_code < 300 else None


def under_load(practice: Practice, clients: int = 6) -> list[Reserving]:
    lock = threading.Lock()
    threads = [Reserving(practice, lock=lock) for _ in range(clients)]
    for one in threads:
        one.start()
    return threads


def fail_over(both: Pair, *, stalled: float) -> float:
    """Cut the standby off, wait, kill the primary, promote the standby; answers when it had been promoted."""
    both.standby.cut_off()
    time.sleep(stalled)
    both.primary.kill()
    both.standby.promote()
    return time.monotonic()


def first_reserve(practice: Practice) -> float:
    """When the server holds a slot again, asked again and again."""

    def held() -> Any:
        try:
            body = {"event_type": "free", "start": practice.a_start(), "customer": ANNA, "hold_seconds": 600}
            answer = practice.call("POST", "/v1/reservations", body)
        except httpx.TransportError:
            return None
        assert answer.status_code in (201, 503), answer.text
        return answer.status_code == 201

    until(held, "a reservation", 30)
    return time.monotonic()


def lost(both: Pair, threads: list[Reserving]) -> tuple[int, int]:
    """(how many were told a hold or a confirmation, to how many of them it is not so any more)."""
    told = {one: status for thread in threads for one, status in thread.told.items()}
    missing = 0
    for one, status in told.items():
        answer = both.practice.call("GET", f"/v1/reservations/{one}")
        assert answer.status_code in (200, 404), answer.text
        stands = answer.json().get("status")
        # An unheard confirm may have taken effect; one that was heard has to.
        missing += stands not in ((status, "confirmed") if status == "held" else (status,))
    return len(told), missing


@pytest.mark.parametrize("skew", [5, -5])
@pytest.mark.parametrize("number", ROUNDS)
def test_a_synchronous_standby_loses_nothing(place: Path, figures: Any, number: int, skew: int) -> None:
    """Its clock is five seconds off; no expired hold comes back, and no live one ends earlier than by those."""
    with pair(place, synchronous=True, skew=skew) as both:
        practice = both.practice
        threads = under_load(practice)
        over = practice.hold("free", hold_seconds=1)
        practice.until(over, "expired")
        ends = time.monotonic() + LIVE_SECONDS
        live = practice.hold("free", hold_seconds=LIVE_SECONDS)
        time.sleep(1)
        promoted = fail_over(both, stalled=0.5)
        took = first_reserve(practice) - promoted
        for one in threads:
            one.stop.set()
        for one in threads:
            one.join()
        assert [strange for one in threads for strange in one.strange] == []
        count, missing = lost(both, threads)
        assert practice.read(over)["status"] == "expired"
        status, asked = practice.read(live)["status"], time.monotonic()
        assert status == "held" or asked >= ends - abs(skew) - 0.5
        rival = practice.call(
            "POST", "/v1/reservations", {"event_type": "free", "start": over["start"], "customer": ANNA}
        )
        assert rival.status_code == 201, rival.text
        until(lambda: practice.read(live)["status"] == "expired", "its end", 40)
        early = max(0.0, ends - time.monotonic())
        assert early <= abs(skew) + 0.5
        print(
            f"failover, synchronous, clock {skew:+} s: {count} acknowledged, {missing} lost;"
            f" first reserve {took:.2f} s after the promotion; a hold ended {early:.1f} s early"
        )
        figures("failover to a synchronous standby", acknowledged=count, lost=missing)
        assert count > 0
        assert missing == 0
        assert took <= SECONDS_TO_GO_ON
        healthy = both.server.run("doctor")
        assert healthy.returncode == 0, healthy.stdout
        assert both.server.end()[0] == 0


@pytest.mark.parametrize("number", ROUNDS)
def test_an_asynchronous_standby_does_lose(place: Path, figures: Any, number: int) -> None:
    """The twin, and what docs/operating.md warns of."""
    with pair(place, synchronous=False) as both:
        threads = under_load(both.practice)
        time.sleep(1)
        promoted = fail_over(both, stalled=0.5)
        took = first_reserve(both.practice) - promoted
        for one in threads:
            one.stop.set()
        for one in threads:
            one.join()
        count, missing = lost(both, threads)
        print(
            f"failover, asynchronous: {count} acknowledged, {missing} lost;"
            f" first reserve {took:.2f} s after the promotion"
        )
        figures("failover to an asynchronous standby", acknowledged=count, lost=missing)
        assert missing > 0, "nothing could be lost: this shows nothing"
        assert took <= SECONDS_TO_GO_ON


def replayed_unreplicated(both: Pair) -> bool:
    """A reserve commits at the primary alone; its server dies; a repeat with its key: is it told "held"?

    Whatever ends a backend that waits for its standby (an operator, a driver that cancels, a restart) leaves the commit
    to be seen by everybody, though the standby never had it.
    """
    practice = both.practice
    both.standby.cut_off()
    body = {"event_type": "free", "start": practice.a_start(), "customer": ANNA, "hold_seconds": 600}
    headers = {"authorization": f"Bearer {practice.secret_key}", "idempotency-key": "mine"}

    def ask(seconds: float) -> httpx.Response | None:
        try:
            return httpx.post(
                f"{both.server.url}/v1/reservations", json=body, headers=headers, timeout=seconds
            )
        except httpx.TransportError:
            return None

    assert ask(1) is None
    waiting = "from pg_stat_activity where wait_event = 'SyncRep'"
    until(lambda: both.primary.ask(f"select count(*) {waiting}"), "the wait for the standby")
    both.server.kill()
    both.primary.ask(f"select count(pg_terminate_backend(pid)) {waiting}")
    until(lambda: not both.primary.ask(f"select count(*) {waiting}"), "the end of it")
    assert both.primary.ask("select count(*) from reservation") == 1
    # The start of a server writes, and would wait with everybody else: its doors open on a primary that need not wait.
    both.primary.ask("alter system set synchronous_standby_names = ''")
    both.primary.ask("select pg_reload_conf()")
    both.server.start()
    both.primary.ask("alter system set synchronous_standby_names = '*'")
    both.primary.ask("select pg_reload_conf()")
    time.sleep(0.3)
    told = ask(3)
    both.primary.kill()
    both.standby.promote()
    first_reserve(practice)
    assert both.standby.ask("select count(*) from reservation where start = '" + body["start"] + "'") == 0
    again = ask(5)
    assert again is not None and again.status_code == 201
    assert "idempotency-replayed" not in again.headers
    return told is not None and told.status_code == 201


def test_a_replay_says_nothing_that_a_failover_can_take_back(place: Path) -> None:
    with pair(place, synchronous=True) as both:
        assert not replayed_unreplicated(both)


def test_a_replay_that_only_reads_would(place: Path) -> None:
    """The twin: without its write the replay waits for nobody, and says "held" of what is lost."""

    with pair(place, synchronous=True) as both:
        text = FUNCTIONS
        for guard, by in NO_WRITE:
            assert text.count(guard) == 1
            text = text.replace(guard, by)
        both.primary.run(without_clock(text))
        assert replayed_unreplicated(both)
