# SPDX-License-Identifier: Apache-2.0
"""What a calendar lets us do: as its account lists it, and as our writes find out."""

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


async def refuses_writes(tx: Tx, calendar_id: str, reason: str) -> None:
    """It can only be read until it is listed again."""
    await note_writing(tx, calendar_id, reason)
    await tx.execute("update calendar set writable = false where id = $1", calendar_id)
