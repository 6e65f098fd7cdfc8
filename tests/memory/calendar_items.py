# SPDX-License-Identifier: Apache-2.0
"""`holdfirst.store.calendar_items` in memory."""

from collections.abc import Sequence
from datetime import datetime

from msgspec.structs import replace

from holdfirst.calendar.calendar_event import Change
from holdfirst.store.calendars import Calendar
from memory.tables import MemoryTx


async def known_items(tx: MemoryTx, calendar_id: str) -> dict[str, tuple[str, str]]:
    await tx.turn()
    ours = (row for row in tx.rows("calendar_item") if row[0] == calendar_id)
    return {ref: (etag, uid) for _, ref, etag, uid in ours}


async def put_items(tx: MemoryTx, calendar: Calendar, changes: Sequence[Change]) -> None:
    if not changes:
        return
    await drop_items(tx, calendar, [one.ref for one in changes])
    await tx.turn()
    for one in changes:
        tx.put("calendar_item", (calendar.id, one.ref), (calendar.id, one.ref, one.etag, one.uid))
        for number, (start, end) in enumerate(one.busy):
            key = (calendar.host_id, calendar.id, f"{one.ref} {number}")
            tx.put("busy", key, (calendar.host_id, start, end))


async def drop_items(tx: MemoryTx, calendar: Calendar, refs: Sequence[str]) -> None:
    await tx.turn()
    for ref in refs:
        tx.delete("calendar_item", (calendar.id, ref))
    for host, source, key in list(tx.keys("busy")):
        if (host, source) == (calendar.host_id, calendar.id) and key.rpartition(" ")[0] in refs:
            tx.delete("busy", (host, source, key))


async def record_reading(
    tx: MemoryTx,
    calendar_id: str,
    token: str | None,
    read_at: datetime,
    whole_at: datetime | None,
    notes: Sequence[str],
) -> None:
    await tx.turn()
    await tx.lock("calendar", calendar_id)
    row: Calendar = tx.get("calendar", calendar_id)
    whole_at = whole_at or row.whole_at
    tx.put(
        "calendar",
        calendar_id,
        replace(row, token=token, read_at=read_at, whole_at=whole_at, notes=tuple(notes)),
    )
