# SPDX-License-Identifier: Apache-2.0
"""Reading iCalendar in processes of their own: started when first needed, ended when they take too long or have no work.

There are two, so that whoever's calendar takes long keeps nobody else waiting: what is small and quickly read has one to
itself, and what turns out not to be goes to the other.
"""

import asyncio
import contextlib
import hashlib
import sys
from collections.abc import Sequence

import msgspec

from holdfirst.calendar.icalendar import Question, Reading, Task
from holdfirst.errors import ProviderUnavailable

READ_SECONDS_MAX = 15.0
"""By the wall, on a machine that has other work too: what events may take is counted in work, and is less."""
QUICK_SECONDS_MAX = 1.0
QUICK_BYTES_MAX = 64 << 10
"""More than what stands in the way of one reservation takes."""
SLOW_MAX = 10_000
"""Texts that are remembered as not quickly read."""
IDLE_SECONDS = 120.0


class IcalendarReader:
    """Made once."""

    def __init__(self, *, seconds_max: float = READ_SECONDS_MAX) -> None:
        self._seconds_max = seconds_max
        self._quick, self._patient = _Lane(), _Lane()
        self._slow: dict[bytes, None] = {}

    async def read(self, texts: Sequence[bytes], asked: Question) -> list[Reading]:
        """One reading for each text. Raises `ProviderUnavailable` where they take too long together."""
        if not texts:
            return []
        message = msgspec.msgpack.encode(Task(list(texts), asked))
        answer: bytes | None = None
        digests = [hashlib.sha256(one).digest() for one in texts]
        if len(message) <= QUICK_BYTES_MAX and self._slow.keys().isdisjoint(digests):
            try:
                answer = await self._quick.read(message, min(QUICK_SECONDS_MAX, self._seconds_max))
            except ProviderUnavailable:
                self._remember(digests)
        if answer is None:
            answer = await self._patient.read(message, self._seconds_max)
        return msgspec.msgpack.decode(answer, type=list[Reading])

    def _remember(self, digests: Sequence[bytes]) -> None:
        """One of them keeps others waiting; not a second time."""
        self._slow |= dict.fromkeys(digests)
        for one in list(self._slow)[:-SLOW_MAX]:
            del self._slow[one]

    async def aclose(self) -> None:
        await self._quick.aclose()
        await self._patient.aclose()


class _Lane:
    """One process. One at a time goes in; who waits does so for at most as long as one may take."""

    def __init__(self) -> None:
        self._child: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._idle: asyncio.TimerHandle | None = None

    async def read(self, message: bytes, seconds_max: float) -> bytes:
        async with self._turn:
            self._rest(None)
            try:
                child = await self._running()
                async with asyncio.timeout(seconds_max):
                    answer = await _exchange(child, message)
            except (TimeoutError, OSError, asyncio.IncompleteReadError) as error:
                await self._end()
                raise ProviderUnavailable("the calendar takes too long to work out") from error
            except BaseException:
                # An answer that nobody waited for must not be taken for the next one's.
                await self._end()
                raise
            self._rest(IDLE_SECONDS)
        return answer

    async def aclose(self) -> None:
        self._rest(None)
        await self._end()

    async def _running(self) -> asyncio.subprocess.Process:
        """Also one that has just been started and is ready: how long that takes says nothing of a question."""
        child = self._child
        if child is None or child.returncode is not None:
            child = self._child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "holdfirst.providers.icalendar_child",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
            assert child.stdout is not None
            async with asyncio.timeout(READ_SECONDS_MAX):
                await child.stdout.readexactly(1)
        return child

    async def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None and child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()

    def _rest(self, seconds: float | None) -> None:
        """End the process after so long without work."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if seconds is not None:
            self._idle = asyncio.get_running_loop().call_later(seconds, self._retire)

    def _retire(self) -> None:
        child, self._child = self._child, None
        if child is not None and child.stdin is not None:
            # It reads the end of its input and goes.
            child.stdin.close()


async def _exchange(child: asyncio.subprocess.Process, message: bytes) -> bytes:
    assert child.stdin is not None and child.stdout is not None
    child.stdin.write(len(message).to_bytes(4) + message)
    await child.stdin.drain()
    length = await child.stdout.readexactly(4)
    return await child.stdout.readexactly(int.from_bytes(length))
