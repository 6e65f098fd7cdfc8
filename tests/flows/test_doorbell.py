# SPDX-License-Identifier: Apache-2.0
"""Hints from one process to the others: to whom they come, and what is told where some may have been lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import asyncpg
import pytest

from holdfirst.errors import DatabaseUnavailable
from holdfirst.store import doorbell
from holdfirst.store.database import Database
from holdfirst.store.doorbell import BACKLOG_MAX, EVERYTHING, JOBS, SLOTS, Doorbell

UNHEARD = [
    OSError(),
    asyncpg.TooManyConnectionsError(),
    asyncpg.InterfaceError("closed"),
    DatabaseUnavailable("no primary"),
]
"""How the database, the driver and we ourselves say that nobody listens."""


class Listening(Database):
    """The connections that it made."""

    made: list[Any]

    async def connect(self) -> Any:
        self.made.append(await super().connect())
        return self.made[-1]


@pytest.fixture
async def listening(database_url: str, database: Database) -> Listening:
    found = Listening(database_url)
    found.made = []
    return found


@asynccontextmanager
async def at_work(bell: Doorbell, queue: asyncio.Queue[str]) -> AsyncIterator[None]:
    """Once it listens: whoever begins may have missed something, and is told so."""
    running = asyncio.create_task(bell.run())
    try:
        assert await heard(queue) == EVERYTHING
        assert bell.jobs.is_set()
        yield
        assert not running.done()
    finally:
        running.cancel()
        await asyncio.wait([running])


async def heard(queue: asyncio.Queue[str]) -> str:
    return await asyncio.wait_for(queue.get(), 5)


async def test_a_ring_is_heard_here_at_once_and_elsewhere_too(
    database: Database, listening: Listening
) -> None:
    here, there = Doorbell(database), Doorbell(listening)
    async with (
        here.slot_changes() as ours,
        there.slot_changes() as theirs,
        at_work(here, ours),
        at_work(there, theirs),
    ):
        here.jobs.clear()
        there.jobs.clear()
        here.ring({(SLOTS, "hst_1 2026-12-07"), (JOBS, "")})
        assert ours.get_nowait() == "hst_1 2026-12-07"
        assert here.jobs.is_set()
        assert await heard(theirs) == "hst_1 2026-12-07"
        await asyncio.wait_for(there.jobs.wait(), 5)
        # What woke it is done with, and a wish for work is nobody's slot.
        assert not here._work.is_set()
        assert theirs.empty()
        # What was told is not told again.
        here.ring({(SLOTS, "hst_2 2026-12-07")})
        assert await heard(theirs) == "hst_2 2026-12-07"
    assert listening.made[0].is_closed()
    assert not here._listeners | there._listeners


async def test_a_lost_connection_is_made_again(
    database: Database, listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doorbell, "RECONNECT_SECONDS", 0.01)
    there = Doorbell(listening)
    async with there.slot_changes() as theirs, at_work(there, theirs):
        there.jobs.clear()
        async with database.statement() as tx:
            await tx.execute("select pg_terminate_backend($1)", listening.made[0].get_server_pid())
        # What was rung meanwhile is lost: all is to be looked at.
        assert await heard(theirs) == EVERYTHING
        assert there.jobs.is_set()
        assert len(listening.made) == 2
        async with database.statement() as tx:
            await tx.execute("select pg_notify($1, 'hst_1 2026-12-07')", SLOTS)
        assert await heard(theirs) == "hst_1 2026-12-07"


async def test_a_database_that_is_away_is_asked_again(
    listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doorbell, "RECONNECT_SECONDS", 0.01)
    connect, away, asked_at = listening.connect, [*UNHEARD], list[int]()

    async def later() -> Any:
        # By the clock that the loop waits by, which goes by whole milliseconds.
        asked_at.append(round(asyncio.get_running_loop().time() * 1000))
        if away:
            raise away.pop()
        return await connect()

    monkeypatch.setattr(listening, "connect", later)
    there = Doorbell(listening)
    async with there.slot_changes() as theirs, at_work(there, theirs):
        assert not away
    assert all(after - before >= 10 for before, after in pairwise(asked_at))


async def test_who_reads_too_slowly_is_told_to_ask_for_all(database: Database) -> None:
    bell = Doorbell(database)
    async with bell.slot_changes() as queue:
        for number in range(BACKLOG_MAX):
            bell.ring({(SLOTS, f"{number}")})
        assert queue.full()
        bell.ring({(SLOTS, "one more")})
        assert [queue.get_nowait() for _ in range(queue.qsize())] == [EVERYTHING]
