# SPDX-License-Identifier: Apache-2.0
"""The database in memory as processes see it: statements take time, transactions wait for each other, commits last."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from holdfirst.errors import Busy, DatabaseUnavailable
from holdfirst.store.database import TRIES_MAX, TryAgain
from memory import Memory, MemoryTx
from simulation.virtual import PROCESS, Chance, Process, go_on

LOCK_SECONDS = 2.0


class WaitingLocks:
    """Locks by name, held to the end of the transaction; a circle of waiters is broken, a long wait is `Busy`."""

    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self._held: dict[object, MemoryTx] = {}
        self._waits: dict[MemoryTx, object] = {}
        self._bells: dict[object, list[asyncio.Future[None]]] = {}
        self.waited = 0

    async def turn(self, tx: MemoryTx) -> None:
        await go_on(self._chance.seconds(0.0002, 0.01))

    def free(self, tx: MemoryTx, name: object) -> bool:
        if self._held.setdefault(name, tx) is tx:
            tx.locks.append(name)
            return True
        return False

    async def take(self, tx: MemoryTx, name: object) -> None:
        until = asyncio.get_running_loop().time() + LOCK_SECONDS
        while not self.free(tx, name):
            self.waited += 1
            self._waits[tx] = name
            if self._in_a_circle(tx):
                del self._waits[tx]
                raise TryAgain
            bell = asyncio.get_running_loop().create_future()
            self._bells.setdefault(name, []).append(bell)
            try:
                async with asyncio.timeout_at(until):
                    await bell
            except TimeoutError:
                raise Busy("a lock was waited for longer than 2 s") from None
            finally:
                self._waits.pop(tx, None)
            await go_on(0)

    def _in_a_circle(self, tx: MemoryTx) -> bool:
        at: MemoryTx | None = tx
        seen: set[MemoryTx] = set()
        while at is not None and at in self._waits:
            if at in seen:
                return True
            seen.add(at)
            at = self._held.get(self._waits[at])
        return False

    def release(self, tx: MemoryTx) -> None:
        taken, tx.locks = tx.locks, []
        for name in taken:
            if self._held.get(name) is tx:
                del self._held[name]
            for bell in self._bells.pop(name, []):
                if not bell.done():
                    bell.set_result(None)


class VirtualDatabase:
    """What effects know as `Database`: one flow in one transaction, tried again where that is right."""

    url = "memory:"

    def __init__(self, memory: Memory, chance: Chance, committed: Callable[[MemoryTx], None]) -> None:
        assert isinstance(memory.locks, WaitingLocks)
        self._memory, self._chance, self._committed = memory, chance, committed
        self._locks = memory.locks
        self.on_announce: Callable[[set[tuple[str, str]]], None] = lambda _: None
        self.transactions = 0
        self.away = False

    async def run(self, flow: Callable[..., Awaitable[Any]], *arguments: Any, **named: Any) -> Any:
        for attempt in range(TRIES_MAX):
            try:
                return await self._once(flow, *arguments, **named)
            except TryAgain:
                await go_on(self._chance.seconds(0.0001, 0.005 * 2**attempt))
        raise Busy("the database kept refusing this transaction")

    single = run

    async def _once(self, flow: Callable[..., Awaitable[Any]], *arguments: Any, **named: Any) -> Any:
        process, tx = PROCESS.get(), self._memory.begin()
        await go_on(self._chance.seconds(0.0002, 0.005))
        if self.away:
            raise DatabaseUnavailable("the connection was refused")
        process.open.add(tx)
        try:
            answer = await flow(tx, *arguments, **named)
            await go_on(self._chance.seconds(0.0002, 0.01))
            tx.commit()
            self.transactions += 1
            self._committed(tx)
        finally:
            process.open.discard(tx)
            self._locks.release(tx)
        # From here on it has happened, whether or not anybody lives to hear of it.
        await go_on(self._chance.seconds(0.0002, 0.005))
        if tx.announcements:
            self.on_announce(tx.announcements)
        return answer

    def kill(self, process: Process) -> None:
        """The server sees the connection go: what was open is rolled back."""
        process.dead = True
        for tx in process.open:
            tx.writes.clear()
            self._locks.release(tx)
        process.open.clear()
