# SPDX-License-Identifier: Apache-2.0
"""A pool of one connection that stops its user before each statement, each commit, and each call to a provider.

It stands where `Database` has its pool: the transaction, the translation of what the server says, and the trying again
are production's own.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from races.schedules.steps import Step, Touched, beginning, touched_by, words_of


class Participant:
    """One of those who race: where it stands, and whether it may go on."""

    def __init__(self, letter: str, changed: asyncio.Event) -> None:
        self.letter = letter
        self.pid = 0
        self.number = 0
        self.pending: Step | None = None
        self.inside: Step | None = None
        """A statement that was let go and has not answered yet."""
        self.gate: str | None = None
        """The stop in a function that it stands at."""
        self.turn = 0
        """Which of its two locks it waits for there."""
        self.waits = False
        self.task: asyncio.Task[Any] | None = None
        self.committed: list[Touched] = []
        self._changed = changed
        self._go: asyncio.Future[None] | None = None

    @property
    def finished(self) -> bool:
        return self.task is not None and self.task.done()

    @property
    def can_go(self) -> bool:
        return not self.finished and (self.pending is not None or self.gate is not None)

    async def stop(self, step: Step) -> None:
        self.inside = None
        self.pending = step
        self._go = asyncio.get_running_loop().create_future()
        self._changed.set()
        await self._go

    def hear(self, notice: str) -> None:
        """What the server says of this participant's session."""
        if notice.startswith("stop "):
            _, self.gate, turn = notice.split()
            self.turn, self.waits = int(turn), False
            self._changed.set()

    def let_go(self) -> Step:
        assert self.pending is not None and self._go is not None
        step, self.pending = self.pending, None
        self.inside = step
        self._go.set_result(None)
        return step


class GatedConnection:
    """What `Tx` and `Database` use of a connection."""

    def __init__(self, connection: Any, participant: Participant) -> None:
        self._connection = connection
        self._participant = participant
        self._touched: Touched | None = None
        self._fresh = False

    async def fetchrow(self, sql: str, *arguments: Any) -> Any:
        await self._stop(sql, arguments)
        return await self._connection.fetchrow(sql, *arguments)

    async def fetch(self, sql: str, *arguments: Any) -> Any:
        await self._stop(sql, arguments)
        return await self._connection.fetch(sql, *arguments)

    async def fetchval(self, sql: str, *arguments: Any) -> Any:
        await self._stop(sql, arguments)
        return await self._connection.fetchval(sql, *arguments)

    async def execute(self, sql: str, *arguments: Any) -> Any:
        await self._stop(sql, arguments)
        return await self._connection.execute(sql, *arguments)

    async def _stop(self, sql: str, arguments: tuple[Any, ...]) -> None:
        touched = touched_by(sql, arguments)
        opens = self._touched is None or self._fresh
        self._fresh = False
        alone = self._touched is None
        if self._touched is not None:
            self._touched |= touched
        await self._participant.stop(Step(words_of(sql), beginning(sql, touched), opens, touched, alone))

    @asynccontextmanager
    async def transaction(self, isolation: None = None) -> AsyncIterator[None]:
        """Of READ COMMITTED, which every verb runs in; who reads of one moment has no part in races."""
        assert isolation is None
        self._touched, self._fresh = Touched(), True
        await self._connection.execute("begin")
        try:
            yield
        except BaseException as error:
            await self._end("rollback", gated=isinstance(error, Exception))
            raise
        await self._end("commit", gated=True)

    async def _end(self, how: str, *, gated: bool) -> None:
        assert self._touched is not None
        locks, self._touched = self._touched.locks, None
        if gated:
            await self._participant.stop(Step(how, Touched(made_known=locks)))
        await self._connection.execute(how)


class GatedPool:
    """What `Database` uses of a pool."""

    def __init__(self, connection: Any, participant: Participant) -> None:
        self._connection = connection
        self._participant = participant

    @asynccontextmanager
    async def acquire(self, timeout: float | None = None) -> AsyncIterator[GatedConnection]:
        yield GatedConnection(self._connection, self._participant)

    def get_idle_size(self) -> int:
        return 1


class Gated:
    """A company whose every call is a step: others may run between our asking and its answering."""

    books: str
    asks: tuple[str, ...]
    calls: tuple[str, ...]

    def __init__(self, company: Callable[[], Any], participant: Participant) -> None:
        self._company = company
        self._participant = participant

    def __getattr__(self, operation: str) -> Any:
        if operation not in (*self.asks, *self.calls):
            return getattr(self._company(), operation)

        async def call(*arguments: Any) -> Any:
            await self._participant.stop(company_step(self.books, operation, writes=operation in self.calls))
            return await getattr(self._company(), operation)(*arguments)

        return call


class GatedPayments(Gated):
    name = "fake"
    books = "provider"
    asks = ("fetch",)
    calls = ("open_checkout", "close", "capture", "void", "refund")


class GatedCalendars(Gated):
    name = "caldav"
    books = "calendar books"
    asks = ("busy", "find", "changes", "own")
    calls = ("write", "delete")


def company_step(books: str, operation: str, *, writes: bool) -> Step:
    """`books`: whose; what a company knows is one thing."""
    kept = frozenset({(books, None)})
    touched = Touched(locks=kept, made_known=kept) if writes else Touched(reads=kept)
    return Step(f"{books}: {operation}", touched, opens=True)
