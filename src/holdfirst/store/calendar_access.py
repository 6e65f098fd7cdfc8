# SPDX-License-Identifier: Apache-2.0
"""What a calendar lets us do: as its account lists it, and as our writes find out."""

from holdfirst.store.calendars import Calendar
from holdfirst.store.database import Tx


async def note_writing(tx: Tx, calendar_id: str, problem: str | None) -> None:
    """How the last write there ended. None: well."""
    await tx.execute(
        """
        update calendar set write_problem = $2,
            write_problem_since = case when $2::text is not null then coalesce(write_problem_since, the_clock()) end
        where id = $1
        """,
        calendar_id,
        problem,
    )


async def note_reading(tx: Tx, calendar_id: str, problem: str | None) -> None:
    """Why this one is not to be read. None: it is."""
    await tx.execute("update calendar set read_problem = $2 where id = $1", calendar_id, problem)


async def refuses_writes(tx: Tx, calendar_id: str, reason: str) -> None:
    """It can only be read until it is listed again."""
    await note_writing(tx, calendar_id, reason)
    await tx.execute("update calendar set writable = false where id = $1", calendar_id)


async def relist(tx: Tx, calendar: Calendar) -> None:
    """As its account lists it now; where its zone is another one, all of it is read again."""
    await tx.execute(
        """
        update calendar set name = $2, time_zone = $3, writable = $4, read_problem = $5,
            token = case when time_zone = $3 then token end
        where id = $1
        """,
        calendar.id,
        calendar.name,
        calendar.time_zone,
        calendar.writable,
        calendar.read_problem,
    )
    await note_writing(tx, calendar.id, calendar.write_problem)


async def left_standing(tx: Tx, calendar_id: str) -> list[str]:
    """Reservations that are over, and of which something may stand there all the same."""
    rows = await tx.rows(
        """
        select reservation_id from calendar_event join reservation on reservation.id = reservation_id
        where calendar_id = $1 and state <> 'absent' and status in ('released', 'expired', 'cancelled')
        order by 1
        """,
        calendar_id,
    )
    return [row["reservation_id"] for row in rows]
