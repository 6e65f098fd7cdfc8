# SPDX-License-Identifier: Apache-2.0
"""What we wrote into calendars. The row is there before the event, and goes after it."""

import enum
from collections.abc import Sequence
from datetime import datetime, timedelta

import asyncpg
import msgspec

from holdfirst.calendar.calendar_event import event_uid
from holdfirst.store.database import Tx


class Written(enum.StrEnum):
    """What stands there, as far as we know."""

    ABSENT = "absent"
    UNKNOWN = "unknown"
    """A write is under way, or its answer was lost."""
    HOLD = "hold"
    CONFIRMED = "confirmed"


class WrittenEvent(msgspec.Struct, frozen=True, kw_only=True):
    reservation_id: str
    calendar_id: str
    generation: int
    uid: str
    state: Written
    fingerprint: str | None
    etag: str | None
    doubtful_until: datetime | None
    lease_until: datetime | None
    token: int
    changed_by_host: str | None


async def expect(tx: Tx, account_id: str, reservation_id: str, calendar_ids: Sequence[str]) -> None:
    """A row for each of these calendars; nothing is written there before this has committed."""
    await tx.execute(
        """
        insert into calendar_event (reservation_id, calendar_id, account_id, uid)
        select $1, calendar_id, $2, uid from unnest($3::text[], $4::text[]) named(calendar_id, uid)
        on conflict (reservation_id, calendar_id) do nothing
        """,
        reservation_id,
        account_id,
        list(calendar_ids),
        [event_uid(account_id, reservation_id, one, 0) for one in calendar_ids],
    )


async def of_reservation(tx: Tx, reservation_id: str) -> list[WrittenEvent]:
    rows = await tx.rows(
        "select * from calendar_event where reservation_id = $1 order by calendar_id for update",
        reservation_id,
    )
    return [_event(row) for row in rows]


async def changed_by_host(tx: Tx, reservation_id: str) -> str | None:
    """'moved' or 'deleted', if a host did that to it in a calendar."""
    changed: str | None = await tx.value(
        "select changed_by_host from calendar_event where reservation_id = $1 and changed_by_host is not null"
        " order by calendar_id limit 1",
        reservation_id,
    )
    return changed


async def lease(tx: Tx, events: Sequence[WrittenEvent], until: datetime) -> list[WrittenEvent]:
    """Events of one reservation. From here on nobody knows what stands there, until it is recorded."""
    await tx.execute(
        "update calendar_event set state = 'unknown', lease_until = $3, token = token + 1"
        " where reservation_id = $1 and calendar_id = any($2)",
        events[0].reservation_id,
        [one.calendar_id for one in events],
        until,
    )
    return [msgspec.structs.replace(one, lease_until=until, token=one.token + 1) for one in events]


async def record(
    tx: Tx,
    event: WrittenEvent,
    *,
    state: Written,
    fingerprint: str | None,
    etag: str | None,
    doubtful_for: timedelta | None = None,
) -> bool:
    """How a write ended. False: somebody else had the lease by then, and nothing is recorded."""
    tag = await tx.execute(
        """
        update calendar_event set state = $4, fingerprint = $5, etag = $6, lease_until = null,
            doubtful_until = the_clock() + $7::interval
        where reservation_id = $1 and calendar_id = $2 and token = $3
        """,
        event.reservation_id,
        event.calendar_id,
        event.token,
        state,
        fingerprint,
        etag,
        doubtful_for,
    )
    return tag != "UPDATE 0"


async def next_generation(tx: Tx, event: WrittenEvent, account_id: str) -> None:
    """It was taken away: another id from now on, since some servers never let the old one be used again."""
    await tx.execute(
        """
        update calendar_event set state = 'absent', fingerprint = null, etag = null, lease_until = null,
            generation = $4, uid = $5, changed_by_host = null
        where reservation_id = $1 and calendar_id = $2 and token = $3
        """,
        event.reservation_id,
        event.calendar_id,
        event.token,
        event.generation + 1,
        event_uid(account_id, event.reservation_id, event.calendar_id, event.generation + 1),
    )


async def note_seen(tx: Tx, event: WrittenEvent, changed_by_host: str | None, etag: str | None) -> None:
    """What a host did to it in the calendar, and the etag that it has since."""
    await tx.execute(
        "update calendar_event set changed_by_host = $3, etag = $4 where reservation_id = $1 and calendar_id = $2",
        event.reservation_id,
        event.calendar_id,
        changed_by_host,
        etag,
    )


async def unflag(tx: Tx, reservation_id: str, calendar_id: str) -> None:
    """What the host did there is what holds now."""
    await tx.execute(
        "update calendar_event set changed_by_host = null where reservation_id = $1 and calendar_id = $2",
        reservation_id,
        calendar_id,
    )


async def mark_missing(tx: Tx, event: WrittenEvent) -> None:
    """It is not where we wrote it."""
    await tx.execute(
        "update calendar_event set state = 'absent', fingerprint = null, etag = null"
        " where reservation_id = $1 and calendar_id = $2 and lease_until is null",
        event.reservation_id,
        event.calendar_id,
    )


async def doubt(tx: Tx, event: WrittenEvent) -> None:
    """It stands there, and nothing of it should: what we thought was gone is looked at again."""
    await tx.execute(
        "update calendar_event set state = 'unknown', fingerprint = null, doubtful_until = null"
        " where reservation_id = $1 and calendar_id = $2 and lease_until is null",
        event.reservation_id,
        event.calendar_id,
    )


async def clean_within(tx: Tx, host_id: str, spans: Sequence[tuple[datetime, datetime]]) -> list[str]:
    """Live reservations of this host for which nothing stood in the way, and whose time overlaps one of these spans."""
    rows = await tx.rows(
        """
        select distinct reservation.id
        from unnest($2::timestamptz[], $3::timestamptz[]) span(starts_at, ends_at)
        cross join lateral (
            select reservation_id from claim
            where host_id = $1 and claim.ends_at > span.starts_at and claim.starts_at < span.ends_at
              and claim.ends_at < span.ends_at + interval '9 days' and live_until > the_clock()
        ) claimed
        join reservation on reservation.id = claimed.reservation_id
        where in_calendars and status in ('held', 'processing', 'confirmed') and calendar_verdict = 'clean'
        """,
        host_id,
        [start for start, _ in spans],
        [end for _, end in spans],
    )
    return [row["id"] for row in rows]


async def flagged(tx: Tx, host_id: str) -> list[str]:
    """Confirmed reservations of this host, not over yet, in whose time something else stood."""
    rows = await tx.rows(
        """
        select distinct reservation.id from claim join reservation on reservation.id = claim.reservation_id
        where claim.host_id = $1 and claim.ends_at > the_clock() and claim.live_until > the_clock()
          and status = 'confirmed' and calendar_verdict = 'conflict'
        """,
        host_id,
    )
    return [row["id"] for row in rows]


async def forget(tx: Tx, reservation_id: str, calendar_ids: Sequence[str]) -> None:
    """Nothing of it stands there, and nothing can still arrive."""
    await tx.execute(
        "delete from calendar_event where reservation_id = $1 and calendar_id = any($2)",
        reservation_id,
        list(calendar_ids),
    )


async def by_uid(tx: Tx, calendar_id: str, uids: Sequence[str]) -> dict[str, WrittenEvent]:
    """Those of these uids that are ours in this very calendar."""
    rows = await tx.rows(
        "select * from calendar_event where calendar_id = $1 and uid = any($2)", calendar_id, list(uids)
    )
    return {row["uid"]: _event(row) for row in rows}


async def known(tx: Tx, uids: Sequence[str]) -> list[tuple[str, str, str]]:
    """(uid, reservation, host of the calendar) of those that are ours, in whatever calendar we wrote them: one calendar
    may be connected twice, or be shared by two hosts.
    """
    rows = await tx.rows(
        """
        select uid, reservation_id, host_id from calendar_event join calendar on calendar.id = calendar_id
        where uid = any($1)
        """,
        list(uids),
    )
    return [(row["uid"], row["reservation_id"], row["host_id"]) for row in rows]


async def of_calendar(tx: Tx, calendar_id: str) -> list[WrittenEvent]:
    rows = await tx.rows(
        "select * from calendar_event where calendar_id = $1 order by reservation_id", calendar_id
    )
    return [_event(row) for row in rows]


async def standing(tx: Tx, calendar_id: str) -> dict[str, str]:
    """What we have there, as far as we know: uid → etag."""
    rows = await tx.rows(
        "select uid, coalesce(etag, '') as etag from calendar_event"
        " where calendar_id = $1 and state in ('hold', 'confirmed')",
        calendar_id,
    )
    return {row["uid"]: row["etag"] for row in rows}


async def to_adopt(tx: Tx, host_id: str) -> list[tuple[str, str]]:
    """(account, reservation) with time of this host ahead that is not in its calendars yet."""
    rows = await tx.rows(
        """
        select reservation.account_id, reservation.id from claim
        join reservation on reservation.id = claim.reservation_id
        where claim.host_id = $1 and claim.ends_at > the_clock() and claim.live_until > the_clock()
        order by reservation.id
        """,
        host_id,
    )
    return [(row["account_id"], row["id"]) for row in rows]


def _event(row: asyncpg.Record) -> WrittenEvent:
    return WrittenEvent(
        reservation_id=row["reservation_id"],
        calendar_id=row["calendar_id"],
        generation=row["generation"],
        uid=row["uid"],
        state=Written(row["state"]),
        fingerprint=row["fingerprint"],
        etag=row["etag"],
        doubtful_until=row["doubtful_until"],
        lease_until=row["lease_until"],
        token=row["token"],
        changed_by_host=row["changed_by_host"],
    )
