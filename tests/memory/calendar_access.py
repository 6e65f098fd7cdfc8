# SPDX-License-Identifier: Apache-2.0
"""`holdfirst.store.calendar_access` in memory."""

from msgspec.structs import replace

from holdfirst.store.calendars import Calendar
from memory.tables import MemoryTx


async def note_writing(tx: MemoryTx, calendar_id: str, problem: str | None) -> None:
    await tx.turn()
    await tx.lock("calendar", calendar_id)
    before: Calendar = tx.get("calendar", calendar_id)
    since = None if problem is None else before.write_problem_since or await tx.now()
    tx.put("calendar", calendar_id, replace(before, write_problem=problem, write_problem_since=since))


async def refuses_writes(tx: MemoryTx, calendar_id: str, reason: str) -> None:
    await note_writing(tx, calendar_id, reason)
    await tx.turn()
    tx.put("calendar", calendar_id, replace(tx.get("calendar", calendar_id), writable=False))
