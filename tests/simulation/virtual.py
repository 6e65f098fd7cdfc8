# SPDX-License-Identifier: Apache-2.0
"""Virtual time: an event loop that never waits, and processes that can die at any await."""

import asyncio
import contextvars
import random
import selectors
from collections.abc import Mapping
from typing import Any


class _NoFiles(selectors.BaseSelector):
    """Waiting for files is moving the clock."""

    def __init__(self) -> None:
        self.loop: VirtualLoop | None = None
        self._keys: dict[Any, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        self._keys[fileobj] = selectors.SelectorKey(fileobj, 0, events, data)
        return self._keys[fileobj]

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys

    def select(self, timeout: float | None = None) -> list[Any]:
        assert self.loop is not None
        assert timeout is not None, "everybody waits, and nothing will happen any more"
        self.loop.moment += max(timeout, 0.0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time()` is virtual. `steps`: how often something was run."""

    def __init__(self) -> None:
        self.moment = 0.0
        self.steps = 0
        files = _NoFiles()
        super().__init__(files)
        files.loop = self

    def time(self) -> float:
        return self.moment

    def call_soon(self, *arguments: Any, **named: Any) -> asyncio.Handle:
        self.steps += 1
        return super().call_soon(*arguments, **named)


class Process:
    """A server or a worker. Dead: whatever it was doing is never taken up again. Frozen: it goes on later, and knows of
    nothing.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self.frozen_until = 0.0
        self.open: set[Any] = set()


PROCESS: contextvars.ContextVar[Process] = contextvars.ContextVar("process")


class Chance:
    """One seed, one course of events."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def often(self, share: float) -> bool:
        return self.random.random() < share

    def seconds(self, least: float, most: float) -> float:
        """Many short ones, some long ones."""
        return least * (most / least) ** self.random.random()


async def go_on(seconds: float) -> None:
    """Time passes; a process that died meanwhile never comes back."""
    await asyncio.sleep(seconds)
    while (left := PROCESS.get().frozen_until - asyncio.get_running_loop().time()) > 0:
        await asyncio.sleep(left)
    if PROCESS.get().dead:
        await asyncio.get_running_loop().create_future()
