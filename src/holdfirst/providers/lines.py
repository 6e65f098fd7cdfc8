# SPDX-License-Identifier: Apache-2.0
"""Connections of HTTP that are kept for the next call to the same server.

A pool of `httpcore` looks at each connection that it has, before each call and after it: with ten calendars asked at once that
was half of what a reserve cost us. Here only the one that is taken is looked at, and the oldest.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import httpcore

OPEN_MAX = 100
KEPT_MAX = 50
KEPT_SECONDS = 60.0
Headers = Sequence[tuple[bytes, bytes]]


class Lines:
    """`backend`: how a connection is made."""

    def __init__(self, backend: httpcore.AsyncNetworkBackend, context: ssl.SSLContext) -> None:
        self._backend = backend
        self._context = context
        self._room = asyncio.Semaphore(OPEN_MAX)
        self._kept: list[tuple[httpcore.Origin, httpcore.AsyncHTTPConnection]] = []
        """In the order in which they came back."""

    async def aclose(self) -> None:
        while self._kept:
            await self._kept.pop()[1].aclose()

    @asynccontextmanager
    async def stream(
        self, method: str, url: str, headers: Headers, content: bytes | None
    ) -> AsyncIterator[httpcore.Response]:
        """The answer, to be read within; raises what `httpcore` raises."""
        origin = httpcore.URL(url).origin
        async with self._room:
            line = await self._taken(origin)
            try:
                async with line.stream(method, url, headers=headers, content=content) as response:
                    yield response
            finally:
                await self._came_back(origin, line)

    async def _taken(self, origin: httpcore.Origin) -> httpcore.AsyncHTTPConnection:
        """The one that was used last, if its server has not ended it; else a new one."""
        while (line := self._last_of(origin)) is not None:
            if not line.has_expired():
                return line
            await line.aclose()
        return httpcore.AsyncHTTPConnection(
            origin, self._context, keepalive_expiry=KEPT_SECONDS, network_backend=self._backend
        )

    def _last_of(self, origin: httpcore.Origin) -> httpcore.AsyncHTTPConnection | None:
        for place in reversed(range(len(self._kept))):
            if self._kept[place][0] == origin:
                return self._kept.pop(place)[1]
        return None

    async def _came_back(self, origin: httpcore.Origin, line: httpcore.AsyncHTTPConnection) -> None:
        """One that was never made is idle too, and closed."""
        if line.is_closed() or not line.is_idle():
            await line.aclose()
            return
        self._kept.append((origin, line))
        while self._kept and (len(self._kept) > KEPT_MAX or self._kept[0][1].has_expired()):
            await self._kept.pop(0)[1].aclose()
