# SPDX-License-Identifier: Apache-2.0
"""Rung after a commit: wakes this process at once, and the others by NOTIFY in a small transaction of its own.

A hint, never a truth: it may be lost (a broken connection, a standby), so that whoever listens also looks by
itself. Rings are gathered for 20 ms, because every notifying commit of a server waits for the one before.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import asyncpg

from holdfirst.errors import HoldfirstError
from holdfirst.store.database import Database
from holdfirst.store.jobs import CHANNEL as JOBS
from holdfirst.store.reservations import SLOTS_CHANNEL as SLOTS

GATHER_SECONDS = 0.02
RECONNECT_SECONDS = 1.0
BACKLOG_MAX = 1000
EVERYTHING = "*"
"""The payload that says: hints may have been missed, look at all."""


class Doorbell:
    """One LISTEN connection per process, and who wants to know."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._unsent: set[tuple[str, str]] = set()
        self._work = asyncio.Event()
        self._listeners: set[asyncio.Queue[str]] = set()
        self.jobs = asyncio.Event()
        """Set whenever a job may be due; whoever waits clears it."""

    def ring(self, announcements: set[tuple[str, str]]) -> None:
        """Called after a commit, in the event loop."""
        for channel, payload in announcements:
            self._hear(channel, payload)
        self._unsent |= announcements
        self._work.set()

    @contextlib.asynccontextmanager
    async def slot_changes(self) -> AsyncIterator[asyncio.Queue[str]]:
        """Payloads `hst_… 2026-12-07`: something changed on this host around that (UTC) day; `*`: ask for all."""
        queue: asyncio.Queue[str] = asyncio.Queue(BACKLOG_MAX)
        self._listeners.add(queue)
        try:
            yield queue
        finally:
            self._listeners.discard(queue)

    async def run(self) -> None:
        """Listen and send, for as long as the process lives; a lost connection is made again."""
        while True:
            try:
                await self._serve()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, HoldfirstError):
                await asyncio.sleep(RECONNECT_SECONDS)

    async def _serve(self) -> None:
        connection = await self._database.connect()
        lost = asyncio.Event()
        try:
            connection.add_termination_listener(lambda _: self._lose(lost))
            for channel in (JOBS, SLOTS):
                await connection.add_listener(
                    channel, lambda _, __, channel, payload: self._hear(channel, str(payload))
                )
            self._hear(JOBS, "")
            self._hear(SLOTS, EVERYTHING)
            while not lost.is_set():
                await self._work.wait()
                await asyncio.sleep(GATHER_SECONDS)
                await self._send(connection)
        finally:
            connection.terminate()

    def _lose(self, lost: asyncio.Event) -> None:
        lost.set()
        self._work.set()

    async def _send(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._work.clear()
        rings, self._unsent = self._unsent, set()
        if rings:
            channels, payloads = zip(*sorted(rings), strict=True)
            await connection.execute(
                "select pg_notify(channel, payload) from unnest($1::text[], $2::text[]) ring(channel, payload)",
                list(channels),
                list(payloads),
            )

    def _hear(self, channel: str, payload: str) -> None:
        if channel == JOBS:
            self.jobs.set()
            return
        for queue in self._listeners:
            if queue.full():
                # A reader this slow has missed something in any case.
                while not queue.empty():
                    queue.get_nowait()
                payload = EVERYTHING
            queue.put_nowait(payload)
