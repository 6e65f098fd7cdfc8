# SPDX-License-Identifier: Apache-2.0
"""`holdfirst.store.calendar_events` in memory."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from msgspec.structs import replace

from holdfirst.reservation.reservation import CalendarVerdict, Status, has_time
from holdfirst.store.calendar_events import Ended, Written, WrittenEvent, next_of, not_written
from memory.tables import Claim, MemoryTx, require

DAYS_9 = timedelta(days=9)


def _put(tx: MemoryTx, row: WrittenEvent) -> None:
    """The constraints of `calendar_event` (0004_calendars.sql)."""
    same = any(
        other.uid == row.uid and other.calendar_id == row.calendar_id
        for other in tx.rows("calendar_event")
        if other.reservation_id != row.reservation_id
    )
    require("a_uid_is_of_one_event", not same)
    tx.put("calendar_event", (row.reservation_id, row.calendar_id), row)


async def of_reservation(tx: MemoryTx, reservation_id: str) -> list[WrittenEvent]:
    await tx.turn()
    named = sorted(one.calendar_id for one in _of(tx, reservation_id))
    found = [await _locked(tx, reservation_id, calendar_id) for calendar_id in named]
    return [one for one in found if one is not None]


def _of(tx: MemoryTx, reservation_id: str) -> list[WrittenEvent]:
    return [one for one in tx.rows("calendar_event") if one.reservation_id == reservation_id]


async def _locked(tx: MemoryTx, reservation_id: str, calendar_id: str) -> WrittenEvent | None:
    await tx.lock("calendar_event", reservation_id, calendar_id)
    found: WrittenEvent | None = tx.get("calendar_event", (reservation_id, calendar_id))
    return found


async def _update(
    tx: MemoryTx, event: WrittenEvent, where: Callable[[WrittenEvent], bool], **changes: object
) -> bool:
    await tx.turn()
    row = await _locked(tx, event.reservation_id, event.calendar_id)
    if row is None or not where(row):
        return False
    _put(tx, replace(row, **changes))
    return True


async def changed_by_host(tx: MemoryTx, reservation_id: str) -> str | None:
    await tx.turn()
    changed = sorted(
        (one for one in _of(tx, reservation_id) if one.changed_by_host), key=lambda one: one.calendar_id
    )
    return changed[0].changed_by_host if changed else None


async def lease(
    tx: MemoryTx, account_id: str, events: Sequence[WrittenEvent], until: datetime
) -> list[WrittenEvent]:
    await tx.turn()
    leased = []
    for one in events:
        row = await _locked(tx, one.reservation_id, one.calendar_id)
        row = row or not_written(account_id, one.reservation_id, one.calendar_id)
        _put(tx, replace(row, state=Written.UNKNOWN, lease_until=until, token=tx.next_number()))
        leased.append(replace(one, lease_until=until, token=tx.memory.numbers))
    return leased


async def record(tx: MemoryTx, ended: Sequence[Ended], doubtful_for: timedelta) -> None:
    await tx.turn()
    for one in ended:
        event = one.event
        row = await _locked(tx, event.reservation_id, event.calendar_id)
        if row is None or row.token != event.token:
            continue
        same = event.generation == row.generation
        stands = event.state in (Written.HOLD, Written.CONFIRMED)
        _put(
            tx,
            replace(
                row,
                state=event.state,
                fingerprint=event.fingerprint,
                etag=event.etag,
                generation=event.generation,
                uid=event.uid,
                lease_until=None,
                changed_by_host=row.changed_by_host if same and not stands else None,
                doubtful_until=tx.memory.clock() + doubtful_for if one.doubtful else None,
            ),
        )


async def next_generation(tx: MemoryTx, event: WrittenEvent, account_id: str) -> None:
    later = next_of(event, account_id)
    await _update(
        tx,
        event,
        lambda row: row.token == event.token and _is_free(row),
        state=Written.ABSENT,
        fingerprint=None,
        etag=None,
        generation=later.generation,
        uid=later.uid,
        changed_by_host=None,
    )


async def note_seen(tx: MemoryTx, event: WrittenEvent, changed_by_host: str | None, etag: str | None) -> None:
    await _update(tx, event, lambda _: True, changed_by_host=changed_by_host, etag=etag)


async def call_off(tx: MemoryTx, event: WrittenEvent) -> None:
    at = tx.memory.clock()
    await _update(tx, event, lambda _: True, changed_by_host="deleted", etag=None, called_off_at=at)


async def called_off_within(tx: MemoryTx, calendar_id: str, back: timedelta) -> int:
    await tx.turn()
    since = tx.memory.clock() - back
    ours = (one for one in tx.rows("calendar_event") if one.calendar_id == calendar_id)
    return sum(one.called_off_at is not None and one.called_off_at > since for one in ours)


async def mark_missing(tx: MemoryTx, event: WrittenEvent) -> None:
    await _update(tx, event, _is_free, state=Written.ABSENT, fingerprint=None, etag=None)


async def doubt(tx: MemoryTx, event: WrittenEvent) -> None:
    await _update(tx, event, _is_free, state=Written.UNKNOWN, fingerprint=None, doubtful_until=None)


def _is_free(row: WrittenEvent) -> bool:
    return row.lease_until is None


async def clean_within(tx: MemoryTx, host_id: str, spans: Sequence[tuple[datetime, datetime]]) -> list[str]:
    await tx.turn()
    claimed = {
        claim.reservation_id
        for claim in _live_claims(tx, host_id)
        for start, end in spans
        if start < claim.ends_at < end + DAYS_9 and claim.starts_at < end
    }
    found = [tx.get("reservation", one) for one in sorted(claimed)]
    return [
        one.id
        for one in found
        if one.in_calendars and has_time(one) and one.calendar_verdict is CalendarVerdict.CLEAN
    ]


async def flagged(tx: MemoryTx, host_id: str) -> list[str]:
    await tx.turn()
    now = tx.memory.clock()
    ahead = {claim.reservation_id for claim in _live_claims(tx, host_id) if claim.ends_at > now}
    found = [tx.get("reservation", one) for one in sorted(ahead)]
    return [
        one.id
        for one in found
        if one.status is Status.CONFIRMED and one.calendar_verdict is CalendarVerdict.CONFLICT
    ]


def _live_claims(tx: MemoryTx, host_id: str) -> list[Claim]:
    now = tx.memory.clock()
    return [one for one in tx.rows("claim") if one.host_id == host_id and one.live_until > now]


async def sweep(tx: MemoryTx) -> None:
    await tx.turn()
    long_ago, yesterday = (tx.memory.clock() - timedelta(hours=one) for one in (1, 24))
    for row in list(tx.rows("calendar_event")):
        reservation = tx.get("reservation", row.reservation_id)
        over = reservation.ended.at if reservation.ended else reservation.confirmed_at
        done = row.state is Written.ABSENT and row.doubtful_until is None and row.lease_until is None
        counts = row.called_off_at is not None and row.called_off_at >= yesterday
        if done and over is not None and over < long_ago and not counts:
            await tx.lock("calendar_event", row.reservation_id, row.calendar_id)
            tx.delete("calendar_event", (row.reservation_id, row.calendar_id))


async def by_uid(tx: MemoryTx, calendar_id: str, uids: Sequence[str]) -> dict[str, WrittenEvent]:
    await tx.turn()
    ours = (one for one in tx.rows("calendar_event") if one.calendar_id == calendar_id)
    return {one.uid: one for one in ours if one.uid in uids}


async def known(tx: MemoryTx, uids: Sequence[str]) -> list[tuple[str, str, str]]:
    await tx.turn()
    return [
        (one.uid, one.reservation_id, tx.get("calendar", one.calendar_id).host_id)
        for one in tx.rows("calendar_event")
        if one.uid in uids
    ]


async def standing(tx: MemoryTx, calendar_id: str, until: datetime) -> dict[str, str]:
    await tx.turn()
    now = tx.memory.clock()
    ours = (one for one in tx.rows("calendar_event") if one.calendar_id == calendar_id)
    standing = [
        (one, tx.get("reservation", one.reservation_id))
        for one in ours
        if one.state in (Written.HOLD, Written.CONFIRMED) and one.changed_by_host != "deleted"
    ]
    return {
        one.uid: one.etag or ""
        for one, reservation in standing
        if reservation.end > now and reservation.start < until
    }
