# SPDX-License-Identifier: Apache-2.0
"""Reservations that arrive while a claim is on its way go together into the next one.

Nobody waits for a timer: the first goes at once, alone. Each item has its own outcome, and its answer comes after
the commit of the call that it was in. Whatever raises takes nobody with it: the items run again one by one.
"""

import asyncio
from typing import Any, TypeAlias

from holdfirst.errors import HoldfirstError
from holdfirst.store.database import Database
from holdfirst.store.reservations import Taken, reserve

ITEMS_MAX = 64
CALLS_MAX = 4
MANY = 32
"""So many waiting items are worth a call of their own beside the one that is on its way."""
SLOW_SECONDS = 0.05
"""A call that takes longer waits for somebody's lock; the others do not wait with it."""

_Item: TypeAlias = tuple[dict[str, Any], "asyncio.Future[Taken]"]


class Claims:
    """One per process. One call at a time does the most work; more are for many items, or beside a slow one."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[_Item] = []
        self._calls: set[asyncio.Task[None]] = set()
        self._quick: set[asyncio.Task[None]] = set()

    async def reserve(self, item: dict[str, Any]) -> Taken:
        """Raises `Busy` or `DatabaseUnavailable` for this item alone."""
        answer: asyncio.Future[Taken] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        self._start()
        return await answer

    def _start(self) -> None:
        while (
            self._waiting and len(self._calls) < CALLS_MAX and (not self._quick or len(self._waiting) >= MANY)
        ):
            call = asyncio.create_task(self._call(self._next()))
            self._calls.add(call)
            self._quick.add(call)
            asyncio.get_running_loop().call_later(SLOW_SECONDS, self._slow, call)
            call.add_done_callback(self._done)

    def _slow(self, call: asyncio.Task[None]) -> None:
        self._quick.discard(call)
        self._start()

    def _done(self, call: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        self._quick.discard(call)
        self._start()

    def _next(self) -> list[_Item]:
        """The next items in order; one with the key of another waits for the call after this one."""
        batch: list[_Item] = []
        rest: list[_Item] = []
        keys: set[tuple[str, str]] = set()
        for one in self._waiting:
            key = (one[0]["scope"], one[0]["key"]) if one[0].get("key") else None
            if len(batch) < ITEMS_MAX and key not in keys:
                batch.append(one)
                if key is not None:
                    keys.add(key)
            else:
                rest.append(one)
        self._waiting = rest
        return batch

    async def _call(self, batch: list[_Item]) -> None:
        try:
            taken = await self._database.single(reserve, [item for item, _ in batch])
        except Exception as error:  # noqa: BLE001  # whatever it is, it reaches whoever waits
            if len(batch) == 1:
                _fail(batch[0][1], error)
                return
            for one in batch:
                await self._call([one])
            return
        for (_, answer), outcome in zip(batch, taken, strict=True):
            if not answer.done():
                answer.set_result(outcome)


def _fail(answer: "asyncio.Future[Taken]", error: Exception) -> None:
    if answer.done():
        return
    answer.set_exception(error)
    if isinstance(error, HoldfirstError):
        # Whoever asked may be gone; then nobody reads it, and that is not worth a warning.
        answer.exception()
