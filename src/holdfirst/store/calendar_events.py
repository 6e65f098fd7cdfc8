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
    called_off_at: datetime | None = None
    """When its deletion was taken for the host's word that the reservation is off."""


class Ended(msgspec.Struct, frozen=True):
    """A write that is over: the event as it is since, absent where it was taken away or never came to be.

    `doubtful`: what was asked for before may still arrive.
    """

    event: WrittenEvent
    doubtful: bool = False


def not_written(account_id: str, reservation_id: str, calendar_id: str) -> WrittenEvent:
    """What there is of a reservation in a calendar that nothing was ever written into for it."""
    return WrittenEvent(
        reservation_id=reservation_id,
        calendar_id=calendar_id,
        generation=0,
        uid=event_uid(account_id, reservation_id, calendar_id, 0),
        state=Written.ABSENT,
        fingerprint=None,
        etag=None,
        doubtful_until=None,
        lease_until=None,
        token=0,
        changed_by_host=None,
    )


def next_of(event: WrittenEvent, account_id: str) -> WrittenEvent:
    """It was taken away: another id from now on, since some servers never let the old one be used again."""
    later = event.generation + 1
    return msgspec.structs.replace(
        event,
        generation=later,
        uid=event_uid(account_id, event.reservation_id, event.calendar_id, later),
        state=Written.ABSENT,
        fingerprint=None,
        etag=None,
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


async def lease(
    tx: Tx, account_id: str, events: Sequence[WrittenEvent], until: datetime
) -> list[WrittenEvent]:
    """Events of one reservation, whose row is locked; nothing is written there before this has committed. From here on
    nobody knows what stands there, until it is recorded. No token comes twice, though rows go and are made again.
    """
    rows = await tx.rows(
        """
        insert into calendar_event (reservation_id, calendar_id, account_id, uid, state, lease_until, token)
        select $1, calendar_id, $2, uid, 'unknown', $5, nextval('calendar_event_token')
        from unnest($3::text[], $4::text[]) named(calendar_id, uid)
        on conflict (reservation_id, calendar_id) do update
        set state = 'unknown', lease_until = excluded.lease_until, token = excluded.token
        returning calendar_id, token
        """,
        events[0].reservation_id,
        account_id,
        [one.calendar_id for one in events],
        [one.uid for one in events],
        until,
    )
    tokens = {row["calendar_id"]: row["token"] for row in rows}
    return [msgspec.structs.replace(one, lease_until=until, token=tokens[one.calendar_id]) for one in events]


async def record(tx: Tx, ended: Sequence[Ended], doubtful_for: timedelta) -> None:
    """How writes ended; one statement. Where somebody else has the lease by now, nothing is recorded. What stands as it should
    is not as a host changed it any more.
    """
    await tx.execute(
        """
        update calendar_event event set state = ended.state, fingerprint = ended.fingerprint, etag = ended.etag,
            generation = ended.generation, uid = ended.uid, lease_until = null,
            changed_by_host = case when ended.generation = event.generation and ended.state in ('absent', 'unknown')
                then event.changed_by_host end,
            doubtful_until = case when ended.doubtful then the_clock() + $10::interval end
        from unnest(
            $1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::integer[], $8::text[],
            $9::boolean[]
        ) ended(reservation_id, calendar_id, token, state, fingerprint, etag, generation, uid, doubtful)
        where event.reservation_id = ended.reservation_id and event.calendar_id = ended.calendar_id
          and event.token = ended.token
        """,
        [one.event.reservation_id for one in ended],
        [one.event.calendar_id for one in ended],
        [one.event.token for one in ended],
        [one.event.state for one in ended],
        [one.event.fingerprint for one in ended],
        [one.event.etag for one in ended],
        [one.event.generation for one in ended],
        [one.event.uid for one in ended],
        [one.doubtful for one in ended],
        doubtful_for,
    )


async def next_generation(tx: Tx, event: WrittenEvent, account_id: str) -> None:
    """A reading shows that it was taken away; whoever is writing it just now finds that out for itself."""
    later = next_of(event, account_id)
    await tx.execute(
        """
        update calendar_event set state = 'absent', fingerprint = null, etag = null, generation = $4, uid = $5,
            changed_by_host = null
        where reservation_id = $1 and calendar_id = $2 and token = $3 and lease_until is null
        """,
        event.reservation_id,
        event.calendar_id,
        event.token,
        later.generation,
        later.uid,
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


async def call_off(tx: Tx, event: WrittenEvent) -> None:
    """The host deleted it, and so called the reservation off."""
    await tx.execute(
        "update calendar_event set changed_by_host = 'deleted', etag = null, called_off_at = the_clock()"
        " where reservation_id = $1 and calendar_id = $2",
        event.reservation_id,
        event.calendar_id,
    )


async def called_off_within(tx: Tx, calendar_id: str, back: timedelta) -> int:
    """How many were called off in this calendar from `back` ago on."""
    count: int = await tx.value(
        "select count(*) from calendar_event where calendar_id = $1 and called_off_at > the_clock() - $2::interval",
        calendar_id,
        back,
    )
    return count


async def unflag(tx: Tx, reservation_id: str, calendar_id: str) -> None:
    """What the host did there is what holds now."""
    await tx.execute(
        "update calendar_event set changed_by_host = null where reservation_id = $1 and calendar_id = $2",
        reservation_id,
        calendar_id,
    )


async def mark_missing(tx: Tx, event: WrittenEvent) -> None:
    """It is not where we wrote it; unless somebody writes it just now, whose word it is then."""
    await tx.execute(
        "update calendar_event set state = 'absent', fingerprint = null, etag = null"
        " where reservation_id = $1 and calendar_id = $2 and lease_until is null",
        event.reservation_id,
        event.calendar_id,
    )


async def doubt(tx: Tx, event: WrittenEvent) -> None:
    """It stands there, and nothing of it should: what we thought was gone is looked at again. Not while somebody writes it."""
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
        where status in ('held', 'processing', 'confirmed') and calendar_verdict = 'clean'
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


async def sweep(tx: Tx) -> None:
    """Forget what is gone for good. Not at once: a reading that began before it went still tells of it, and whoever takes
    that in must know it as ours. What was called off counts for a day.
    """
    await tx.execute(
        """
        delete from calendar_event using reservation
        where reservation.id = reservation_id and calendar_event.state = 'absent' and doubtful_until is null
          and lease_until is null and coalesce(ended_at, confirmed_at) < the_clock() - interval '1 hour'
          and (called_off_at is null or called_off_at < the_clock() - interval '1 day')
        """
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


async def also_there(tx: Tx, calendar_id: str, uids: Sequence[str]) -> list[str]:
    """Calendars for which these uids were written too, of the same host and for a reservation that is in this one: it is
    connected twice.
    """
    rows = await tx.rows(
        """
        select distinct other.calendar_id from calendar_event other
        join calendar_event here on here.reservation_id = other.reservation_id and here.calendar_id = $1
        join calendar on calendar.id = other.calendar_id
        where other.uid = any($2) and other.calendar_id <> $1
          and calendar.host_id = (select host_id from calendar where id = $1)
        order by 1
        """,
        calendar_id,
        list(uids),
    )
    return [row["calendar_id"] for row in rows]


async def standing(tx: Tx, calendar_id: str, until: datetime) -> dict[str, str]:
    """What we have there, as far as we know, of reservations that are not over and begin before `until`: uid → etag. Of what a
    host took away we know.
    """
    rows = await tx.rows(
        """
        select uid, coalesce(etag, '') as etag from calendar_event
        join reservation on reservation.id = reservation_id
        where calendar_id = $1 and state in ('hold', 'confirmed') and "end" > the_clock() and start < $2
          and changed_by_host is distinct from 'deleted'
        """,
        calendar_id,
        until,
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
        called_off_at=row["called_off_at"],
    )
