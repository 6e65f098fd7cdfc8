# SPDX-License-Identifier: Apache-2.0
"""Calendar connections, their calendars, and what was read out of them."""

import enum
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import asyncpg
import msgspec

from holdfirst.store.database import Tx


class ConnectionStatus(enum.StrEnum):
    PENDING = "pending"
    """Made, and the host has not let us in yet."""
    ACTIVE = "active"
    BROKEN = "broken"


class WhenBroken(enum.StrEnum):
    CLOSE = "close"
    """Nobody can say what is free: nothing is."""
    IGNORE = "ignore"


class WhenMoved(enum.StrEnum):
    FLAG = "flag"
    FOLLOW = "follow"


class WhenDeleted(enum.StrEnum):
    FLAG = "flag"
    CANCEL = "cancel"
    RESTORE = "restore"


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """Credentials to one calendar account of one host; sealed, and unsealed by `effects` for the length of a call."""

    id: str
    account_id: str
    host_id: str
    provider: str
    status: ConnectionStatus
    sealed_credentials: bytes
    server: Mapping[str, str]
    owners: Sequence[str]
    when_broken: WhenBroken
    when_moved: WhenMoved
    when_deleted: WhenDeleted
    problem: str | None
    problem_since: datetime | None
    answered_at: datetime | None
    created_at: datetime


class Calendar(msgspec.Struct, frozen=True, kw_only=True):
    """One collection of an account. `read_at`: as of when what we know of it is true. `writable`: as it is listed, until it
    refuses a write.
    """

    id: str
    account_id: str
    connection_id: str
    host_id: str
    ref: str
    name: str
    time_zone: str
    writable: bool
    blocking: bool
    destination: bool
    token: str | None
    whole_at: datetime | None
    read_at: datetime | None
    notes: Sequence[str]
    read_problem: str | None = None
    write_problem: str | None = None
    write_problem_since: datetime | None = None

    @property
    def in_use(self) -> bool:
        return self.blocking or self.destination


CLOSED = "closed"
"""The key of the busy row that keeps a host closed while a connection is broken."""


async def insert_connection(tx: Tx, connection: Connection) -> None:
    await tx.execute(
        """
        insert into calendar_connection (
            id, account_id, host_id, provider, status, sealed_credentials, server, owners, when_broken,
            when_moved, when_deleted, problem, problem_since, answered_at, created_at
        ) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
        """,
        *_connection_values(connection),
    )


async def save_connection(tx: Tx, connection: Connection) -> None:
    await tx.execute(
        """
        update calendar_connection set status = $5, sealed_credentials = $6, server = $7, owners = $8,
            when_broken = $9, when_moved = $10, when_deleted = $11, problem = $12, problem_since = $13,
            answered_at = $14
        where id = $1 and account_id = $2 and host_id = $3 and provider = $4 and created_at = $15
        """,
        *_connection_values(connection),
    )


async def load_connection(tx: Tx, connection_id: str) -> Connection | None:
    row = await tx.row(
        "select * from calendar_connection where id = $1 and deleted_at is null", connection_id
    )
    return _connection(row) if row else None


async def load_connection_even_deleted(tx: Tx, connection_id: str) -> Connection:
    """What we wrote is taken away by the same credentials after the connection is gone."""
    row = await tx.row("select * from calendar_connection where id = $1", connection_id)
    assert row is not None
    return _connection(row)


async def lock_connection(tx: Tx, connection_id: str) -> Connection | None:
    row = await tx.row(
        "select * from calendar_connection where id = $1 and deleted_at is null for update", connection_id
    )
    return _connection(row) if row else None


async def connections(
    tx: Tx, account_id: str, *, host_id: str | None, before: str | None, limit: int
) -> list[Connection]:
    """Newest first."""
    rows = await tx.rows(
        """
        select * from calendar_connection
        where account_id = $1 and deleted_at is null and ($2::text is null or host_id = $2)
          and ($3::text is null or id < $3)
        order by id desc limit $4
        """,
        account_id,
        host_id,
        before,
        limit,
    )
    return [_connection(row) for row in rows]


async def all_connections(tx: Tx) -> list[Connection]:
    """Of every account, for `doctor`."""
    rows = await tx.rows("select * from calendar_connection where deleted_at is null order by id")
    return [_connection(row) for row in rows]


async def delete_connection(tx: Tx, connection_id: str) -> None:
    await tx.execute("update calendar_connection set deleted_at = the_clock() where id = $1", connection_id)
    await tx.execute(
        "update calendar set deleted_at = the_clock() where connection_id = $1 and deleted_at is null",
        connection_id,
    )
    await tx.execute(
        "delete from busy where source = $1 or source in (select id from calendar where connection_id = $1)",
        connection_id,
    )


async def sealed_of_all_accounts(tx: Tx) -> list[tuple[str, bytes]]:
    """(connection, its sealed credentials), deleted ones too."""
    rows = await tx.rows("select id, sealed_credentials from calendar_connection order by id for update")
    return [(row["id"], row["sealed_credentials"]) for row in rows]


async def sealing_fingerprints(tx: Tx) -> set[str]:
    """Of the keys that stored credentials are sealed with: see `key_ring.py`."""
    rows = await tx.rows(
        "select distinct encode(substring(sealed_credentials from 2 for 4), 'hex') as mark from calendar_connection"
    )
    return {row["mark"] for row in rows}


async def set_credentials(tx: Tx, connection_id: str, sealed: bytes) -> None:
    await tx.execute(
        "update calendar_connection set sealed_credentials = $2 where id = $1", connection_id, sealed
    )


async def exchange_credentials(tx: Tx, connection_id: str, before: bytes, after: bytes) -> bool:
    """Unless somebody has given others meanwhile."""
    tag = await tx.execute(
        "update calendar_connection set sealed_credentials = $3 where id = $1 and sealed_credentials = $2",
        connection_id,
        before,
        after,
    )
    return tag != "UPDATE 0"


async def mark_host(tx: Tx, host_id: str) -> None:
    """Whether this host has calendars; read with each offer, so that a host without any pays for nothing."""
    await tx.execute(
        """
        update host set connected = not connected where id = $1 and connected <> exists (
            select from calendar join calendar_connection on calendar_connection.id = connection_id
            where calendar.host_id = $1 and calendar.deleted_at is null and (blocking or destination)
              and status <> 'pending'
        )
        """,
        host_id,
    )


async def close_host(tx: Tx, connection: Connection, start: datetime, end: datetime) -> None:
    """All of the host's time is taken, as far as anybody can know."""
    await tx.execute(
        """
        insert into busy (account_id, host_id, source, key, starts_at, ends_at) values ($1, $2, $3, $4, $5, $6)
        on conflict (host_id, source, key) do nothing
        """,
        connection.account_id,
        connection.host_id,
        connection.id,
        CLOSED,
        start,
        end,
    )


async def open_host(tx: Tx, connection: Connection) -> None:
    await tx.execute("delete from busy where host_id = $1 and source = $2", connection.host_id, connection.id)


# Calendars


async def insert_calendar(tx: Tx, calendar: Calendar) -> None:
    await tx.execute(
        """
        insert into calendar (
            id, account_id, connection_id, host_id, ref, name, time_zone, writable, blocking, destination
        ) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        """,
        calendar.id,
        calendar.account_id,
        calendar.connection_id,
        calendar.host_id,
        calendar.ref,
        calendar.name,
        calendar.time_zone,
        calendar.writable,
        calendar.blocking,
        calendar.destination,
    )


async def set_roles(tx: Tx, calendar_id: str, *, blocking: bool, destination: bool) -> None:
    """Where it does not block any more, what it says is busy is nobody's business."""
    await tx.execute(
        "update calendar set blocking = $2, destination = $3 where id = $1",
        calendar_id,
        blocking,
        destination,
    )
    if not blocking:
        await tx.execute("delete from busy where source = $1", calendar_id)
        await tx.execute("delete from calendar_item where calendar_id = $1", calendar_id)
        await tx.execute(
            "update calendar set token = null, whole_at = null, read_at = null where id = $1", calendar_id
        )


async def forget_calendar(tx: Tx, calendar_id: str) -> None:
    """The account has it no longer."""
    await tx.execute(
        "update calendar set deleted_at = the_clock(), destination = false where id = $1", calendar_id
    )
    await tx.execute("delete from busy where source = $1", calendar_id)


async def calendars_of(tx: Tx, connection_id: str) -> list[Calendar]:
    rows = await tx.rows(
        "select * from calendar where connection_id = $1 and deleted_at is null order by id", connection_id
    )
    return [_calendar(row) for row in rows]


async def calendars_of_hosts(tx: Tx, host_ids: Sequence[str]) -> list[tuple[Calendar, Connection]]:
    """Those in use of connections that the host has let us into, broken ones included."""
    rows = await tx.rows(
        """
        select calendar, calendar_connection from calendar
        join calendar_connection on calendar_connection.id = connection_id
        where calendar.host_id = any($1) and calendar.deleted_at is null and (blocking or destination)
          and status <> 'pending'
        order by calendar.id
        """,
        list(host_ids),
    )
    return [(_calendar(row["calendar"]), _connection(row["calendar_connection"])) for row in rows]


async def load_calendar(tx: Tx, calendar_id: str) -> tuple[Calendar, Connection] | None:
    """Also one that was disconnected: what we wrote there is still to be taken away."""
    row = await tx.row("select * from calendar where id = $1", calendar_id)
    if row is None:
        return None
    return _calendar(row), await load_connection_even_deleted(tx, row["connection_id"])


async def is_live(tx: Tx, calendar_id: str) -> bool:
    live: bool = await tx.value(
        "select exists (select from calendar where id = $1 and deleted_at is null)", calendar_id
    )
    return live


async def feed_of(tx: Tx, host_id: str) -> tuple[str, int] | None:
    """A host's name, and which address of their feed counts. None: there is no such host, whosever it was."""
    row = await tx.row("select name, feed_version from host where id = $1 and deleted_at is null", host_id)
    return None if row is None else (row["name"], row["feed_version"])


async def rotate_feed(tx: Tx, host_id: str) -> None:
    await tx.execute("update host set feed_version = feed_version + 1 where id = $1", host_id)


async def hosts_zone(tx: Tx, host_id: str) -> str:
    zone: str = await tx.value("select time_zone from host where id = $1", host_id)
    return zone


def _connection_values(connection: Connection) -> tuple[object, ...]:
    values: dict[str, Any] = msgspec.structs.asdict(connection)
    values["server"] = msgspec.json.encode(dict(connection.server)).decode()
    values["owners"] = list(connection.owners)
    return tuple(values.values())


def _connection(row: asyncpg.Record) -> Connection:
    return Connection(
        id=row["id"],
        account_id=row["account_id"],
        host_id=row["host_id"],
        provider=row["provider"],
        status=ConnectionStatus(row["status"]),
        sealed_credentials=row["sealed_credentials"],
        server=msgspec.json.decode(row["server"]),
        owners=tuple(row["owners"]),
        when_broken=WhenBroken(row["when_broken"]),
        when_moved=WhenMoved(row["when_moved"]),
        when_deleted=WhenDeleted(row["when_deleted"]),
        problem=row["problem"],
        problem_since=row["problem_since"],
        answered_at=row["answered_at"],
        created_at=row["created_at"],
    )


def _calendar(row: asyncpg.Record) -> Calendar:
    return Calendar(
        id=row["id"],
        account_id=row["account_id"],
        connection_id=row["connection_id"],
        host_id=row["host_id"],
        ref=row["ref"],
        name=row["name"],
        time_zone=row["time_zone"],
        writable=row["writable"],
        blocking=row["blocking"],
        destination=row["destination"],
        token=row["token"],
        whole_at=row["whole_at"],
        read_at=row["read_at"],
        notes=tuple(row["notes"]),
        read_problem=row["read_problem"],
        write_problem=row["write_problem"],
        write_problem_since=row["write_problem_since"],
    )
