# SPDX-License-Identifier: Apache-2.0
"""Reservations by many at once, in two calendars on two servers that nobody here wrote, while the processes that serve them
are killed again and again: after two quiet rounds of the worker each live reservation has its events, and nothing else
stands there; a third round writes nothing.

`HOLDFIRST_SEED` repeats who is killed when, and what customers do.
"""

import asyncio
import os
import random
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from conftest import Clock
from holdfirst.calendar.calendar_event import EventState, marker
from holdfirst.reservation.reservation import Reservation, Status, status_at
from holdfirst.store import checks, reservations
from holdfirst.store.database import Database, Tx
from house import CUSTOMER
from processes.running import Server as Holdfirst

from .on_servers import entries_in
from .practice import Practice, _account
from .test_crashes import _all_due

SEED = int(os.environ.get("HOLDFIRST_SEED") or random.randrange(1_000_000))
CUSTOMERS, AT_ONCE = 16, 8
"""Most of them wait, under their key, for a request that died to be taken up."""
UNANSWERED_SECONDS_MAX = 150.0
EACH_KILL = timedelta(seconds=5)
"""So much later it is after each: leases run out in time, and some of those who are alive are overtaken."""
NOT_YET = ("idempotency_in_progress", "busy", "calendar_unreachable", "database_unavailable")
SAID_NO = ("slot_taken", "calendar_conflict")


class Customers:
    """`told`: what somebody was told at last: reservation → what was done to it."""

    def __init__(self, url: str, secret: str, chance: random.Random) -> None:
        self.told: dict[str, str] = {}
        self.answers: Counter[str] = Counter()
        self.open = True
        self._url, self._secret, self._chance = url, secret, chance
        self._turn = asyncio.Semaphore(AT_ONCE)

    async def next_answer(self) -> None:
        """What is killed is at work."""
        before = self.answers["done"]
        async with asyncio.timeout(UNANSWERED_SECONDS_MAX):
            while self.answers["done"] == before:
                await asyncio.sleep(0.01)

    async def live(self) -> None:
        async with httpx.AsyncClient(base_url=self._url, timeout=20) as http:
            while self.open:
                await self._come(http)

    async def _come(self, http: httpx.AsyncClient) -> None:
        body = {"event_type": "free", "start": self._start(), "customer": CUSTOMER, "hold_seconds": 900}
        held = await self._done(http, "/v1/reservations", body)
        if held is None:
            return
        verb = self._chance.choice(("held", "confirm", "release", "reschedule", "reschedule"))
        self.told[held["id"]] = "held"
        if verb == "held":
            return
        wish = {"start": self._start()} if verb == "reschedule" else {}
        if await self._done(http, f"/v1/reservations/{held['id']}/{verb}", wish) is not None:
            self.told[held["id"]] = verb

    async def _done(self, http: httpx.AsyncClient, path: str, body: Any) -> dict[str, Any] | None:
        """Asked under one key until it is answered; None: no."""
        headers = {"authorization": f"Bearer {self._secret}", "idempotency-key": uuid.uuid4().hex}
        async with asyncio.timeout(UNANSWERED_SECONDS_MAX):
            while True:
                with suppress(httpx.TransportError):
                    async with self._turn:
                        answer = await http.post(path, json=body, headers=headers)
                    told: dict[str, Any] = answer.json()
                    what = told.get("code", "done")
                    self.answers[what] += 1
                    if answer.status_code < 300:
                        return told
                    if what in SAID_NO:
                        return None
                    assert what in NOT_YET, told
                    assert answer.headers["retry-after"], told
                await asyncio.sleep(0.1)

    def _start(self) -> str:
        midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return (midnight + timedelta(days=7, hours=self._chance.randrange(500))).isoformat()


async def kill_one(server: Holdfirst, chance: random.Random) -> None:
    """A process that serves; whatever reads calendars for it ends with it."""
    with suppress(psutil.NoSuchProcess):
        while not (children := psutil.Process(server.pid).children()):
            await asyncio.sleep(0.02)
        chance.choice(children).kill()


async def pull_the_plug(server: Holdfirst) -> None:
    family = psutil.Process(server.pid).children(recursive=True)
    server.kill()
    for one in family:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    await asyncio.to_thread(server.start)


@asynccontextmanager
async def serving(database_url: str, data_dir: Path) -> AsyncIterator[Holdfirst]:
    server = Holdfirst(data_dir, ("--workers", "2"), {"DATABASE_URL": database_url})
    try:
        yield await asyncio.to_thread(server.start)
    finally:
        await asyncio.to_thread(server.clear_away)


async def quiet_round(practice: Practice, clock: Clock) -> None:
    """Leases run out, what was given up has arrived or never will, every job and every reading runs."""
    await clock.shift(timedelta(seconds=61))
    await practice.house.run(_all_due)
    await practice.house.settle(rounds=300)


async def live_ones(tx: Tx) -> list[tuple[Reservation, Status]]:
    now = await tx.now()
    found = [await reservations.load(tx, row["id"]) for row in await tx.rows("select id from reservation")]
    return [(one, status_at(one, now)) for one in found if one is not None]


async def shown(practice: Practice) -> list[list[tuple[str, datetime, EventState | None]]]:
    prefix = marker(await practice.house.run(_account))
    found = [await asyncio.to_thread(entries_in, url) for url in practice.calendars]
    return [
        [(one.uid, one.start, one.state) for one in entries if one.uid.startswith(prefix)]
        for entries in found
    ]


@pytest.mark.parametrize("kills", [20, pytest.param(200, marks=pytest.mark.slow)])
async def test_the_calendars_hold_what_is_live_after_so_many_kills(
    practice: Practice, database: Database, tmp_path: Path, clock: Clock, figures: Any, kills: int
) -> None:
    chance = random.Random(SEED)
    async with serving(database.url, tmp_path) as server:
        customers = Customers(server.url, practice.house.keys["secret"], chance)
        living = [asyncio.create_task(customers.live()) for _ in range(CUSTOMERS)]
        for number in range(kills):
            await customers.next_answer()
            await asyncio.sleep(chance.uniform(0.0, 0.8))
            await (pull_the_plug(server) if number % 10 == 9 else kill_one(server, chance))
            await clock.shift(EACH_KILL)
        customers.open = False
        await clock.shift(timedelta(seconds=31))
        await asyncio.gather(*living)
        log = server.errors
    print(f"seed {SEED}: {kills} kills, {len(customers.told)} holds, answers {dict(customers.answers)}")
    assert len(customers.told) >= kills, f"seed {SEED}: nothing was under way: {customers.answers}"

    for _ in range(2):
        await quiet_round(practice, clock)
    rows = await practice.house.run(live_ones)
    holds = [(one.start, EventState.HOLD) for one, status in rows if status is Status.HELD]
    firm = [(one.start, EventState.CONFIRMED) for one, status in rows if status is Status.CONFIRMED]
    after = await shown(practice)
    seen = [sorted((start, str(state)) for _, start, state in calendar) for calendar in after]
    wanted = [sorted((start, str(state)) for start, state in one) for one in (holds + firm, holds)]
    assert seen == wanted, f"seed {SEED}"

    writes = count_writes(practice)
    await quiet_round(practice, clock)
    assert writes == Counter(), f"seed {SEED}"
    assert await shown(practice) == after

    # Nothing that somebody was told is lost.
    ends = {one.id: status for one, status in rows}
    expected = {
        "held": Status.HELD,
        "confirm": Status.CONFIRMED,
        "release": Status.RELEASED,
        "reschedule": Status.HELD,
    }
    assert {name: ends[name] for name in customers.told} == {
        name: expected[verb] for name, verb in customers.told.items()
    }, f"seed {SEED}"
    found = [one for one in await practice.house.run(checks.findings) if one.check != "late_jobs"]
    assert found == []
    assert "request_failed" not in log
    figures("kills among calendars", kills=kills, holds=len(customers.told), events=sum(map(len, after)))


def count_writes(practice: Practice) -> Counter[str]:
    counted: Counter[str] = Counter()
    caldav = practice.house.parts.world.calendars["caldav"]
    for name in ("write", "delete"):
        original = getattr(caldav, name)

        def wrapped(*asked: Any, original: Any = original, name: str = name) -> Any:
            counted[name] += 1
            return original(*asked)

        setattr(caldav, name, wrapped)
    return counted
