# SPDX-License-Identifier: Apache-2.0
"""What was read out of calendars: what is there, and the time that it takes."""

from collections.abc import Sequence
from datetime import datetime

from holdfirst.calendar.calendar_event import Change
from holdfirst.store.calendars import Calendar
from holdfirst.store.database import Tx


async def known_items(tx: Tx, calendar_id: str) -> dict[str, tuple[str, str]]:
    """Each ref → (etag, uid)."""
    rows = await tx.rows("select ref, etag, uid from calendar_item where calendar_id = $1", calendar_id)
    return {row["ref"]: (row["etag"], row["uid"]) for row in rows}


async def put_items(tx: Tx, calendar: Calendar, changes: Sequence[Change]) -> None:
    """What is there now, and the time that it takes; in the place of what was known of the same things."""
    if not changes:
        return
    await drop_items(tx, calendar, [one.ref for one in changes])
    await tx.execute(
        """
        insert into calendar_item (calendar_id, ref, etag, uid)
        select $1, * from unnest($2::text[], $3::text[], $4::text[])
        """,
        calendar.id,
        [one.ref for one in changes],
        [one.etag for one in changes],
        [one.uid for one in changes],
    )
    times = [(f"{one.ref} {number}", *span) for one in changes for number, span in enumerate(one.busy)]
    await tx.execute(
        """
        insert into busy (account_id, host_id, source, key, starts_at, ends_at)
        select $1, $2, $3, * from unnest($4::text[], $5::timestamptz[], $6::timestamptz[])
        """,
        calendar.account_id,
        calendar.host_id,
        calendar.id,
        [key for key, _, _ in times],
        [start for _, start, _ in times],
        [end for _, _, end in times],
    )


async def drop_items(tx: Tx, calendar: Calendar, refs: Sequence[str]) -> None:
    await tx.execute(
        "delete from calendar_item where calendar_id = $1 and ref = any($2)", calendar.id, list(refs)
    )
    await tx.execute(
        "delete from busy where host_id = $3 and source = $1 and regexp_replace(key, ' [0-9]+$', '') = any($2)",
        calendar.id,
        list(refs),
        calendar.host_id,
    )


async def record_reading(
    tx: Tx,
    calendar_id: str,
    token: str | None,
    read_at: datetime,
    whole_at: datetime | None,
    notes: Sequence[str],
) -> None:
    await tx.execute(
        "update calendar set token = $2, read_at = $3, whole_at = coalesce($4, whole_at), notes = $5 where id = $1",
        calendar_id,
        token,
        read_at,
        whole_at,
        list(notes),
    )
