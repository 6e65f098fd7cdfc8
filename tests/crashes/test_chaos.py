# SPDX-License-Identifier: Apache-2.0
"""A server under load whose processes and whose PostgreSQL are killed again and again: all that clients were told about
each slot can be told of a slot that does one thing at a time, nothing acknowledged is lost, and no mail is sent twice.

`HOLDFIRST_OPERATIONS` (100,000) and `HOLDFIRST_KILLS` of PostgreSQL (15) say how much; `HOLDFIRST_SEED` repeats who is
killed when, and what clients do.
"""

import asyncio
import json
import os
import random
import re
import select
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from aiosmtpd.controller import Controller

from crashes.cluster import free_port
from crashes.history import Op, by_slot, linearizable
from crashes.load import Plan
from holdfirst.store.database import Database
from processes.running import ALWAYS, Practice, Server, open_practice, until
from races.conftest import FUNCTIONS

OPERATIONS = int(os.environ.get("HOLDFIRST_OPERATIONS", "100000"))
KILLS = int(os.environ.get("HOLDFIRST_KILLS", "15"))
SEED = int(os.environ.get("HOLDFIRST_SEED") or random.randrange(1_000_000))
TESTS = Path(__file__).resolve().parents[1]
HOSTS = 20


class Load:
    """The clients, in a process of their own."""

    def __init__(self, plan: Plan, file: Path) -> None:
        self._file = file
        self._running = subprocess.Popen(
            [sys.executable, "-m", "crashes.load", str(file)],
            cwd=TESTS,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._last = "{}"
        self._say(msgspec.json.encode(plan).decode())

    def _say(self, line: str) -> None:
        assert self._running.stdin is not None
        self._running.stdin.write(line + "\n")
        self._running.stdin.flush()

    def operations(self) -> int:
        """So many are done."""
        stdout = self._running.stdout
        assert stdout is not None
        while select.select([stdout], [], [], 0)[0] and (line := stdout.readline()):
            self._last = line
        return int(json.loads(self._last).get("operations", 0))

    def finish(self) -> tuple[dict[str, Any], list[Op]]:
        """(figures, the history)."""
        self._say("sweep")
        told, _ = self._running.communicate(timeout=3600)
        assert self._running.returncode == 0
        lines = self._file.read_bytes().splitlines()
        return json.loads(told.splitlines()[-1]), [msgspec.json.decode(line, type=Op) for line in lines]

    def clear_away(self) -> None:
        if self._running.poll() is None:
            self._running.kill()
        self._running.wait()


class Letters:
    """A mail server that counts what it is given, by Message-ID."""

    def __init__(self) -> None:
        self.received: Counter[str] = Counter()

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        found = re.search(rb"^Message-ID: <(.*?)>", envelope.original_content, re.MULTILINE | re.IGNORECASE)
        assert found
        self.received[found[1].decode()] += 1
        return "250 kept"


def event_types(practice: Practice, hosts: int) -> list[str]:
    """One free event type for each host, always open."""
    ids = []
    for number in range(hosts):
        host = {"name": f"Host {number}", "time_zone": "UTC", "schedule": {"weekly": ALWAYS}}
        offer = {
            "name": "Type",
            "slug": f"type-{number}",
            "hosts": [practice.ask("POST", "/v1/hosts", host)["id"]],
            "duration_minutes": 60,
            "horizon_days": 1000,
        }
        ids.append(practice.ask("POST", "/v1/event-types", offer)["id"])
    return ids


def kill_something(server: Server, chance: random.Random, number: int) -> str:
    """The postmaster, or a backend (which takes all others with it); and every other time an API process beside it."""
    with suppress(psutil.NoSuchProcess):
        if number % 2:
            children = [one for one in psutil.Process(server.pid).children() if one.name() != "postgres"]
            chance.choice(children).kill()
    victims = server.postgres()
    victim = victims[0] if number % 3 == 0 else chance.choice(victims[1:])
    name = "postmaster" if victim is victims[0] else "backend"
    with suppress(psutil.NoSuchProcess):
        victim.kill()
    return name


def judged(history: list[Op]) -> list[list[Op]]:
    """The slots whose histories cannot be."""
    return [ops for ops in by_slot(history).values() if not linearizable(ops)]


@pytest.mark.parametrize(("operations", "kills"), [pytest.param(OPERATIONS, KILLS, id="chaos")])
def test_what_was_told_under_kills_can_be_told_one_after_another(
    a_server: Any, tmp_path: Path, figures: Any, operations: int, kills: int
) -> None:
    letters = Letters()
    mail_server = Controller(letters, hostname="127.0.0.1", port=free_port())
    mail_server.start()
    server = a_server(
        "--workers",
        "2",
        SMTP_URL=f"smtp://127.0.0.1:{mail_server.port}",
        HOLDS_PER_EMAIL_MAX="0",
        HOLDS_PER_ADDRESS_MAX="0",
    ).start()
    practice = open_practice(server)
    plan = Plan([server.url], practice.secret_key, event_types(practice, HOSTS), operations, SEED)
    load, chance, victims = Load(plan, tmp_path / "history"), random.Random(SEED), Counter[str]()
    began = time.monotonic()
    try:
        for number in range(kills):
            seen = load.operations()
            time.sleep(chance.uniform(1.0, 2.5))
            # Under load: what is killed is at work.
            until(lambda seen=seen: load.operations() > seen, "operations between two kills", 120)
            victims[kill_something(server, chance, number)] += 1
        seen_by_clients, history = load.finish()
        seconds = time.monotonic() - began
        confirmed = {op.reservation for op in history if op.verb == "confirm" and op.outcome == "done"}
        cancelled = {op.reservation for op in history if op.verb == "cancel" and op.outcome == "done"}
        expected = {f"{one}.confirmed@holdfirst" for one in confirmed}
        expected |= {f"{one}.cancelled@holdfirst" for one in cancelled}
        until(lambda: expected <= letters.received.keys(), "the mails", 120)
        healthy = server.run("doctor")
    finally:
        load.clear_away()
        mail_server.stop()
    wrong = judged(history)
    second = sum(copies - 1 for copies in letters.received.values())
    unanswered = sum(op.outcome is None for op in history)
    print(
        f"chaos: {len(history)} operations on {len(by_slot(history))} slots in {seconds:.0f} s, {unanswered} never"
        f" answered, not linearizable: {len(wrong)}; kills: {dict(victims)} and {kills // 2} API processes;"
        f" clients saw {seen_by_clients['counts']}; slowest answer {seen_by_clients['slowest']:.1f} s; mails {len(letters.received)},"
        f" second copies {second}; seed {SEED}"
    )
    figures(
        "chaos",
        operations=len(history),
        slots=len(by_slot(history)),
        not_linearizable=len(wrong),
        kills_of_postgres=victims.total(),
        kills_of_processes=kills // 2,
        second_copies_of_mails=second,
        seed=SEED,
    )
    assert seen_by_clients["wrong"] == []
    if wrong:
        kept = TESTS.parent / "build" / f"history-{SEED}.json"
        kept.parent.mkdir(exist_ok=True)
        kept.write_bytes(msgspec.json.encode(sorted(wrong[0], key=lambda op: op.invoked)))
        raise AssertionError(f"seed {SEED}; the history that cannot be is in {kept}")
    assert letters.received.keys() <= expected | {
        f"{op.reservation}.{what}@holdfirst"
        for op in history
        if op.outcome is None
        for what in ("confirmed", "cancelled")
    }
    # Only a process that dies between the mail server's yes and its record of it sends a second copy.
    assert second <= 16 * kills
    assert "request_failed" not in server.errors
    assert healthy.returncode == 0, healthy.stdout
    assert server.end()[0] == 0


NO_LOCKS = ("perform pg_advisory_xact_lock(lock)\n    from", "perform lock from")


def test_the_judge_sees_what_happens_without_the_locks(a_server: Any, tmp_path: Path) -> None:
    """The twin: the same load without the claim's locks, and its history is refused."""

    server = a_server(
        "--workers", "2", "--no-worker", HOLDS_PER_EMAIL_MAX="0", HOLDS_PER_ADDRESS_MAX="0"
    ).start()
    practice = open_practice(server)

    async def break_locks() -> None:
        database = Database(f"postgresql://holdfirst@/postgres?host={server.data_dir / 'postgres'}&port=5432")
        connection = await database.connect()
        assert FUNCTIONS.count(NO_LOCKS[0]) == 1
        slowly = (
            "        -- After this point it must succeed.\n        outcome",
            "        perform pg_sleep(0.02); outcome",
        )
        await connection.execute(FUNCTIONS.replace(*NO_LOCKS).replace(*slowly))
        await connection.close()

    asyncio.run(break_locks())
    plan = Plan([server.url], practice.secret_key, event_types(practice, 5), 1500, SEED, groups=4)
    load = Load(plan, tmp_path / "history")
    try:
        _, history = load.finish()
    finally:
        load.clear_away()
    wrong = judged(history)
    print(f"chaos, without locks: {len(wrong)} of {len(by_slot(history))} slots are not linearizable")
    assert wrong
