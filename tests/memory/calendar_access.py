# SPDX-License-Identifier: Apache-2.0
"""`holdfirst.store.calendar_access` in memory."""

from msgspec.structs import replace

from holdfirst.reservation.reservation import Status
from holdfirst.store.calendar_events import Written
from holdfirst.store.calendars import Calendar
from memory.tables import MemoryTx


async def note_writing(tx: MemoryTx, calendar_id: str, problem: str | None) -> None:
    await tx.turn()
    await tx.lock("calendar", calendar_id)
    before: Calendar = tx.get("calendar", calendar_id)
    since = None if problem is None else before.write_problem_since or await tx.now()
    tx.put("calendar", calendar_id, replace(before, write_problem=problem, write_problem_since=since))


async def note_reading(tx: MemoryTx, calendar_id: str, problem: str | None) -> None:
    await tx.turn()
    await tx.lock("calendar", calendar_id)
    tx.put("calendar", calendar_id, replace(tx.get("calendar", calendar_id), read_problem=problem))


async def refuses_writes(tx: MemoryTx, calendar_id: str, reason: str) -> None:
    await note_writing(tx, calendar_id, reason)
    await tx.turn()
    tx.put("calendar", calendar_id, replace(tx.get("calendar", calendar_id), writable=False))


async def relist(tx: MemoryTx, calendar: Calendar) -> None:
    await tx.turn()
    await tx.lock("calendar", calendar.id)
    before: Calendar = tx.get("calendar", calendar.id)
    named = {name: getattr(calendar, name) for name in ("name", "time_zone", "writable", "read_problem")}
    token = before.token if before.time_zone == calendar.time_zone else None
    tx.put("calendar", calendar.id, replace(before, token=token, **named))
    await note_writing(tx, calendar.id, calendar.write_problem)


async def left_standing(tx: MemoryTx, calendar_id: str) -> list[str]:
    await tx.turn()
    over = (Status.RELEASED, Status.EXPIRED, Status.CANCELLED)
    return sorted(
        one.reservation_id
        for one in tx.rows("calendar_event")
        if one.calendar_id == calendar_id
        and one.state is not Written.ABSENT
        and tx.get("reservation", one.reservation_id).status in over
    )
