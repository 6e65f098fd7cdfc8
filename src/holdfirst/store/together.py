# SPDX-License-Identifier: Apache-2.0
"""Requests that arrive while a call to the database is on its way go together into the next one.

Nobody waits for a timer: the first goes at once, alone. Each item has its own answer, and it comes after the commit
of the call that the item was in. Whatever raises takes nobody with it: the items run again one by one.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeAlias, TypeVar

from holdfirst.store.database import Database, Tx

Item = TypeVar("Item")
Answer = TypeVar("Answer")

ITEMS_MAX = 64
CALLS_MAX = 4
MANY = 16
"""So many waiting items are worth a call of their own beside the one that is on its way."""
SLOW_SECONDS = 0.05
"""A call that takes longer waits for somebody's lock; the others do not wait with it."""

_Waiting: TypeAlias = list[tuple[Item, asyncio.Future[Answer]]]


class Together(Generic[Item, Answer]):
    """One kind of call, for one process. `ask_all` is one statement for many items, answered in their order.

    `apart`: two items with the same such key (None: no key) never go into one call.
    """

    def __init__(
        self,
        database: Database,
        ask_all: Callable[[Tx, Sequence[Item]], Awaitable[Sequence[Answer]]],
        apart: Callable[[Item], Hashable | None] = lambda _: None,
    ) -> None:
        self._database = database
        self._ask_all = ask_all
        self._apart = apart
        self._waiting: _Waiting[Item, Answer] = []
        self._calls: set[asyncio.Task[None]] = set()
        self._quick: set[asyncio.Task[None]] = set()

    async def ask(self, item: Item) -> Answer:
        """Raises `Busy` or `DatabaseUnavailable` for this item alone."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        self._start()
        return await answer

    def _start(self) -> None:
        """One call at a time does the most work; more are for many items, or beside a slow one."""
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

    def _next(self) -> _Waiting[Item, Answer]:
        """The next items in order; one that must be apart from another waits for the call after this one."""
        batch: _Waiting[Item, Answer] = []
        rest: _Waiting[Item, Answer] = []
        taken: set[Hashable] = set()
        for one in self._waiting:
            apart = self._apart(one[0])
            if len(batch) < ITEMS_MAX and (apart is None or apart not in taken):
                batch.append(one)
                taken.add(apart)
            else:
                rest.append(one)
        self._waiting = rest
        return batch

    async def _call(self, batch: _Waiting[Item, Answer]) -> None:
        try:
            answers = await self._database.single(self._ask_all, [item for item, _ in batch])
        except Exception as error:  # noqa: BLE001  # whatever it is, it reaches whoever waits
            if len(batch) == 1:
                _fail(batch[0][1], error)
                return
            for one in batch:
                await self._call([one])
            return
        for (_, waiting), answer in zip(batch, answers, strict=True):
            if not waiting.done():
                waiting.set_result(answer)


def _fail(waiting: "asyncio.Future[Answer]", error: Exception) -> None:
    if not waiting.done():
        waiting.set_exception(error)
