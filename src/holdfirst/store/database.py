# SPDX-License-Identifier: Apache-2.0
"""The pool and the transaction: `run(flow, …)` is one flow in one transaction, tried again where that is right.

What the server says is translated here, once: a deadlock or serialisation failure is tried again, a lock waited
for longer than 2 s is `Busy`, a lost connection is `DatabaseUnavailable` (the outcome may be unknown).
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

import asyncpg

from holdfirst.errors import Busy, DatabaseUnavailable
from holdfirst.store.primary import connect_primary

P = ParamSpec("P")
T = TypeVar("T")
Isolation = Literal["repeatable_read"]

TRIES_MAX = 6
LOCK_TIMEOUT_MS = 2000
ACQUIRE_SECONDS = 10
SESSION = {
    "application_name": "holdfirst",
    "timezone": "UTC",
    "lock_timeout": str(LOCK_TIMEOUT_MS),
    # Our transactions wait for nobody. One that is silent for so long has lost its process or its network, and its
    # locks keep others waiting.
    "idle_in_transaction_session_timeout": "10000",
    # A host that vanished without a word does not keep its connections for hours.
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
    # Our statements are short and prepared: compiling one costs more than running it.
    "jit": "off",
    # No statement of ours has a better plan for particular values; planning one costs more than running it.
    "plan_cache_mode": "force_generic_plan",
    # A plan made while a table was still small lives on when it has grown: it must not be a scan of the whole.
    "enable_seqscan": "off",
    "random_page_cost": "1.1",
}


class TryAgain(Exception):
    """What was read unlocked, to learn which locks to take, has changed: run the flow again."""


_TRY_AGAIN = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError, TryAgain)
_GONE = (
    # The driver's own words for a connection that ended in mid-conversation.
    asyncio.IncompleteReadError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.ReadOnlySQLTransactionError,
    OSError,
)


class _Connection(asyncpg.Connection):
    """A connection that the pool hands on as it is: we leave no state behind that a reset would clear."""

    def get_reset_query(self) -> str:
        return ""


class Tx:
    """One open transaction, and what is to be announced once it has committed."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.announcements: set[tuple[str, str]] = set()

    async def row(self, sql: str, *arguments: Any) -> asyncpg.Record | None:
        record: asyncpg.Record | None = await self._connection.fetchrow(sql, *arguments)
        return record

    async def rows(self, sql: str, *arguments: Any) -> Sequence[asyncpg.Record]:
        records: list[asyncpg.Record] = await self._connection.fetch(sql, *arguments)
        return records

    async def value(self, sql: str, *arguments: Any) -> Any:
        return await self._connection.fetchval(sql, *arguments)

    async def execute(self, sql: str, *arguments: Any) -> str:
        tag: str = await self._connection.execute(sql, *arguments)
        return tag

    async def now(self) -> datetime:
        """The database's clock, in whole milliseconds; ask after the locks, in a statement of its own."""
        moment: datetime = await self._connection.fetchval("select the_clock()")
        return moment

    def announce(self, channel: str, payload: str = "") -> None:
        """Ring this channel after the commit (a NOTIFY inside would serialise all commits)."""
        self.announcements.add((channel, payload))


class Database:
    """A PostgreSQL by its URL, or a list of hosts in one URL: writes go to the primary."""

    def __init__(self, url: str, *, connections_max: int = 16) -> None:
        self.url = url
        self._connections_max = connections_max
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self.on_announce: Callable[[set[tuple[str, str]]], None] = lambda _: None

    async def open(self) -> None:
        """Open the pool; raises `DatabaseUnavailable` where nothing answers."""
        with _translated():
            self._pool = await asyncpg.create_pool(
                self.url,
                connect=connect_primary,
                min_size=0,
                max_size=self._connections_max,
                connection_class=_Connection,
                server_settings=SESSION,
            )
            async with self._pool.acquire():
                pass

    async def close(self) -> None:
        if self._pool is not None:
            pool, self._pool = self._pool, None
            try:
                await asyncio.wait_for(pool.close(), 5)
            except TimeoutError:
                pool.terminate()

    async def connect(self) -> "asyncpg.Connection[asyncpg.Record]":
        """A connection of one's own, outside the pool (for LISTEN and for migrations)."""
        with _translated():
            connection: asyncpg.Connection[asyncpg.Record] = await connect_primary(
                self.url, server_settings=SESSION
            )
            return connection

    async def run(
        self, flow: Callable[Concatenate[Tx, P], Awaitable[T]], *arguments: P.args, **named: P.kwargs
    ) -> T:
        """Run `flow` in one transaction and commit, a refusal included: a flow refuses before it writes."""
        return await self._tried(lambda: self._run_once(None, flow, *arguments, **named))

    async def snapshot(
        self, flow: Callable[Concatenate[Tx, P], Awaitable[T]], *arguments: P.args, **named: P.kwargs
    ) -> T:
        """`run`, with everything that it reads as of one moment (REPEATABLE READ), for whoever tells of several rows."""
        return await self._tried(lambda: self._run_once("repeatable_read", flow, *arguments, **named))

    async def single(
        self, flow: Callable[Concatenate[Tx, P], Awaitable[T]], *arguments: P.args, **named: P.kwargs
    ) -> T:
        """Run a flow that writes with one statement at most: that statement is its own transaction."""
        return await self._tried(lambda: self._single_once(flow, *arguments, **named))

    async def _tried(self, attempt_once: Callable[[], Awaitable[T]]) -> T:
        for attempt in range(TRIES_MAX):
            try:
                return await attempt_once()
            except _TRY_AGAIN:
                if attempt == TRIES_MAX - 1:
                    raise Busy("the database kept refusing this transaction") from None
                await asyncio.sleep(random.uniform(0, 0.005 * 2**attempt))  # noqa: S311
        raise AssertionError("unreachable")

    async def _run_once(
        self,
        isolation: Isolation | None,
        flow: Callable[Concatenate[Tx, P], Awaitable[T]],
        *arguments: P.args,
        **named: P.kwargs,
    ) -> T:
        async with self.transaction(isolation) as tx:
            return await flow(tx, *arguments, **named)

    async def _single_once(
        self, flow: Callable[Concatenate[Tx, P], Awaitable[T]], *arguments: P.args, **named: P.kwargs
    ) -> T:
        async with self.statement() as tx:
            return await flow(tx, *arguments, **named)

    @asynccontextmanager
    async def transaction(self, isolation: Isolation | None = None) -> AsyncIterator[Tx]:
        with _translated():
            if self._pool is None:
                raise DatabaseUnavailable("the pool is closed")
            async with self._pool.acquire(timeout=self._patience()) as connection:
                tx = Tx(connection)
                async with connection.transaction(isolation=isolation):
                    yield tx
        if tx.announcements:
            self.on_announce(tx.announcements)

    @asynccontextmanager
    async def statement(self) -> AsyncIterator[Tx]:
        """For a single statement, which is its own transaction: no BEGIN, no COMMIT, one round trip."""
        with _translated():
            if self._pool is None:
                raise DatabaseUnavailable("the pool is closed")
            async with self._pool.acquire(timeout=self._patience()) as connection:
                tx = Tx(connection)
                yield tx
        if tx.announcements:
            self.on_announce(tx.announcements)

    def _patience(self) -> float | None:
        """How long to wait for a connection; a timer costs more than taking one that lies ready."""
        assert self._pool is not None
        return None if self._pool.get_idle_size() > 0 else ACQUIRE_SECONDS

    def pool_size(self) -> tuple[int, int]:
        """(open connections, idle ones), for /metrics."""
        if self._pool is None:
            return (0, 0)
        return (self._pool.get_size(), self._pool.get_idle_size())


class _translated:  # noqa: N801
    """What the driver raises, in our words. A data error is a bug of ours and passes through."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        match error:
            case asyncpg.LockNotAvailableError():
                raise Busy("a lock was waited for longer than 2 s") from error
            case asyncpg.DataError():
                return
            case TimeoutError():
                raise Busy("no database connection became free") from error
            case asyncpg.InterfaceError():
                raise DatabaseUnavailable(str(error)) from error
            case _ if isinstance(error, _GONE):
                raise DatabaseUnavailable(str(error) or type(error).__name__) from error
            case _:
                return
