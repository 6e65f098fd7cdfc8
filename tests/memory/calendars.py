# SPDX-License-Identifier: Apache-2.0
"""What flows ask of `holdfirst.store.calendars` once calendars are connected, in memory."""

from collections.abc import Sequence
from datetime import datetime

from holdfirst.store.calendars import CLOSED, Calendar, Connection, ConnectionStatus
from memory.tables import MemoryTx


async def load_connection(tx: MemoryTx, connection_id: str) -> Connection | None:
    return await load_connection_even_deleted(tx, connection_id)


async def load_connection_even_deleted(tx: MemoryTx, connection_id: str) -> Connection:
    await tx.turn()
    found: Connection = tx.get("connection", connection_id)
    return found


async def lock_connection(tx: MemoryTx, connection_id: str) -> Connection | None:
    await tx.turn()
    await tx.lock("connection", connection_id)
    found: Connection | None = tx.get("connection", connection_id)
    return found


async def save_connection(tx: MemoryTx, connection: Connection) -> None:
    await tx.turn()
    await tx.lock("connection", connection.id)
    tx.put("connection", connection.id, connection)


async def close_host(tx: MemoryTx, connection: Connection, start: datetime, end: datetime) -> None:
    await tx.turn()
    key = (connection.host_id, connection.id, CLOSED)
    await tx.lock("busy", *key)
    if tx.get("busy", key) is None:
        tx.put("busy", key, (connection.host_id, start, end))


async def open_host(tx: MemoryTx, connection: Connection) -> None:
    await tx.turn()
    key = (connection.host_id, connection.id, CLOSED)
    await tx.lock("busy", *key)
    tx.delete("busy", key)


async def hosts_zone(tx: MemoryTx, host_id: str) -> str:
    await tx.turn()
    zone: str = tx.get("host", host_id).time_zone
    return zone


async def calendars_of_hosts(tx: MemoryTx, host_ids: Sequence[str]) -> list[tuple[Calendar, Connection]]:
    await tx.turn()
    found = [
        (calendar, tx.get("connection", calendar.connection_id))
        for calendar in tx.rows("calendar")
        if calendar.host_id in host_ids and calendar.in_use
    ]
    let_in = [place for place in found if place[1].status is not ConnectionStatus.PENDING]
    return sorted(let_in, key=lambda place: place[0].id)


async def calendars_of(tx: MemoryTx, connection_id: str) -> list[Calendar]:
    await tx.turn()
    found = [one for one in tx.rows("calendar") if one.connection_id == connection_id]
    return sorted(found, key=lambda one: one.id)


async def load_calendar(tx: MemoryTx, calendar_id: str) -> tuple[Calendar, Connection] | None:
    await tx.turn()
    found: Calendar | None = tx.get("calendar", calendar_id)
    return None if found is None else (found, tx.get("connection", found.connection_id))


async def is_live(tx: MemoryTx, calendar_id: str) -> bool:
    await tx.turn()
    return tx.get("calendar", calendar_id) is not None
