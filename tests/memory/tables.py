# SPDX-License-Identifier: Apache-2.0
"""Rows, transactions as READ COMMITTED sees them, locks, and the schema's constraints."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec

TABLES = (
    "reservation",
    "holder",
    "claim",
    "payment",
    "spec",
    "refund",
    "refund_sent",
    "job",
    "key",
    "host",
    "newest_end",
    "busy",
    "event_type",
    "payee",
    "worker",
    "notification",
    "connection",
    "calendar",
    "calendar_item",
    "calendar_event",
)
LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)
FOR_EVER = datetime(9999, 1, 1, tzinfo=UTC)


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `claim`. `places`: the numbers of the seats that are taken."""

    host_id: str
    reservation_id: str
    event_type_id: str
    start: datetime
    starts_at: datetime
    ends_at: datetime
    sitting: str
    seats_max: int
    places: tuple[int, ...]
    live_until: datetime
    firm: bool


class JobRow(msgspec.Struct, frozen=True, kw_only=True):
    key: str
    number: int
    account_id: str
    kind: str
    subject: str
    lane: str | None
    due_at: datetime
    pulls: int = 0
    attempts: int = 0
    token: int = 0
    lease_until: datetime | None = None
    dead_at: datetime | None = None
    last_error: str | None = None


class KeyRow(msgspec.Struct, frozen=True, kw_only=True):
    fingerprint: bytes
    lease_until: datetime
    created_at: datetime
    http_status: int | None = None
    result: Any = None
    replays: int = 0


class Broken(Exception):
    """A constraint of the schema, by its name."""


class Locks(Protocol):
    """Who waits for whom. None in `Memory`: transactions run one after the other."""

    async def take(self, tx: "MemoryTx", name: object) -> None:
        """Held to the end of the transaction. Raises `Busy` or `TryAgain` as the server would."""
        ...

    def free(self, tx: "MemoryTx", name: object) -> bool:
        """Taken if nobody has it; False: somebody has."""
        ...

    async def turn(self, tx: "MemoryTx") -> None:
        """Before each statement: others may run."""
        ...


class Memory:
    """What is committed. `clock` is the database's, in whole milliseconds."""

    def __init__(self, clock: Callable[[], datetime], locks: Locks | None = None) -> None:
        self.clock = clock
        self.locks = locks
        self.tables: dict[str, dict[Any, Any]] = {name: {} for name in TABLES}
        self.numbers = 0
        self.catalog_version = 0

    def begin(self) -> "MemoryTx":
        return MemoryTx(self)


class MemoryTx:
    """One open transaction: its own writes over what is committed."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.writes: dict[str, dict[Any, Any]] = {}
        self.announcements: set[tuple[str, str]] = set()
        self.looked_around = False
        self.locks: list[object] = []

    # What `holdfirst.store.database.Tx` offers to flows

    async def now(self) -> datetime:
        await self.turn()
        return self.memory.clock()

    def announce(self, channel: str, payload: str = "") -> None:
        self.announcements.add((channel, payload))

    # What the store's functions are made of

    async def turn(self) -> None:
        if self.memory.locks is not None:
            await self.memory.locks.turn(self)

    async def lock(self, *name: object) -> None:
        if self.memory.locks is not None:
            await self.memory.locks.take(self, name)

    def lock_free(self, *name: object) -> bool:
        return self.memory.locks is None or self.memory.locks.free(self, name)

    def get(self, table: str, key: Any) -> Any:
        mine = self.writes.get(table)
        if mine is not None and key in mine:
            return mine[key]
        return self.memory.tables[table].get(key)

    def put(self, table: str, key: Any, row: Any) -> None:
        self.writes.setdefault(table, {})[key] = row

    def delete(self, table: str, key: Any) -> None:
        self.put(table, key, None)

    def rows(self, table: str) -> Iterator[Any]:
        mine = self.writes.get(table) or {}
        for key, row in self.memory.tables[table].items():
            if key not in mine:
                yield row
        for row in mine.values():
            if row is not None:
                yield row

    def keys(self, table: str) -> Iterator[Any]:
        mine = self.writes.get(table) or {}
        yield from (key for key in self.memory.tables[table] if key not in mine)
        yield from (key for key, row in mine.items() if row is not None)

    def next_number(self) -> int:
        """As an identity column: never given back."""
        self.memory.numbers += 1
        return self.memory.numbers

    def commit(self) -> None:
        for table, written in self.writes.items():
            rows = self.memory.tables[table]
            for key, row in written.items():
                if row is None:
                    rows.pop(key, None)
                else:
                    rows[key] = row


def require(name: str, holds: bool) -> None:
    if not holds:
        raise Broken(name)
