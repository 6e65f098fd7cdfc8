# SPDX-License-Identifier: Apache-2.0
"""What a calendar says has changed, taken into the busy time of its host; and what happened there to our own events."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from holdfirst.calendar.calendar_event import Change, marker
from holdfirst.calendar.provider import Changes
from holdfirst.flows.host_changes import event_deleted, event_moved, flag
from holdfirst.reservation.reservation import Reservation, Status, status_at
from holdfirst.store import calendar_events, calendar_items, calendar_watches, calendars, jobs, reservations
from holdfirst.store.calendar_events import Written, WrittenEvent
from holdfirst.store.calendar_watches import Told
from holdfirst.store.calendars import Calendar, Connection, ConnectionStatus
from holdfirst.store.database import Tx

BACK = timedelta(days=1)
AHEAD = timedelta(days=400)
"""How far ahead busy time is known; all of it is read again each day, so that the far end moves along."""
WHOLE_EVERY = timedelta(days=1)
STRAYS_MAX = 5
"""Events with our marker that nobody knows of: more than so many at once are for a human to look at."""


class ToSync(msgspec.Struct, frozen=True, kw_only=True):
    """`token` None: all of it. `known`: ref → (etag, uid). `ours`: uid → etag of what we have there and is not over."""

    calendar: Calendar
    connection: Connection
    known: Mapping[str, tuple[str, str]]
    ours: Mapping[str, str]
    token: str | None
    told: Told
    now: datetime

    @property
    def window(self) -> tuple[datetime, datetime]:
        return self.now - BACK, self.now + AHEAD

    @property
    def is_daily(self) -> bool:
        """All of it is read because a day is over, and not for the first time."""
        return self.calendar.whole_at is not None and self.now - self.calendar.whole_at >= WHOLE_EVERY

    @property
    def etags(self) -> dict[str, str]:
        """What need not be sent again; nothing, where all of it is to be worked out anew."""
        return {ref: etag for ref, (etag, _) in self.known.items()} if self.token is not None else {}


class Missing(msgspec.Struct, frozen=True):
    """What is not there any more, ref → uid: gone, or in another calendar of the account (ours alone are looked for there).

    `unsure`: of one of ours nobody could say; the next reading is to tell of it again.
    """

    gone: Mapping[str, str]
    elsewhere: Mapping[str, str] = {}
    unsure: bool = False


class Synced(msgspec.Struct, frozen=True):
    """`strays`: they bear our marker, nobody knows of them, and they are to be taken away."""

    strays: Sequence[Change]


async def load(tx: Tx, calendar_id: str) -> ToSync | None:
    """None: this calendar is not in use any more."""
    found = await calendars.load_calendar(tx, calendar_id)
    if found is None or not await calendars.is_live(tx, calendar_id):
        return None
    calendar, connection = found
    if not calendar.in_use or connection.status is ConnectionStatus.PENDING:
        return None
    now = await tx.now()
    fresh = calendar.whole_at is not None and now - calendar.whole_at < WHOLE_EVERY
    return ToSync(
        calendar=calendar,
        connection=connection,
        known=await calendar_items.known_items(tx, calendar_id),
        ours=await calendar_events.standing(tx, calendar_id, now + AHEAD),
        token=calendar.token if fresh else None,
        told=await calendar_watches.told(tx, calendar_id),
        now=now,
    )


def gone(asked: ToSync, changes: Changes) -> dict[str, str]:
    """What was there and is not: ref → uid. Ours also where no reading has ever seen it: it came and went between two, and some
    servers tell nothing of such a one.
    """
    there = {one.ref for one in changes.changed} | set(changes.unchanged)
    missing = set(changes.removed) | (set(asked.known) - there if changes.whole else set())
    found = {ref: asked.known[ref][1] for ref in missing if ref in asked.known and ref not in there}
    seen = {one.uid for one in changes.changed} | {asked.known[ref][1] for ref in changes.unchanged}
    before = {uid for _, uid in asked.known.values()}
    for uid, etag in asked.ours.items():
        # What a company names itself has its name at the head of the etag.
        name = etag.partition(" ")[0]
        named = any(uid in ref or ref == name for ref in changes.removed)
        if (changes.whole or named or uid not in before) and uid not in seen and uid not in found.values():
            found[uid] = uid
    return found


async def take_in(tx: Tx, asked: ToSync, changes: Changes, missing: Missing) -> Synced | None:
    """All of it and the token in one transaction. None: somebody else has read on meanwhile."""
    calendar = asked.calendar
    await reservations.lock_hosts(tx, [calendar.host_id])
    latest = await calendars.load_calendar(tx, calendar.id)
    if latest is None or latest[0].token != asked.calendar.token or not latest[0].in_use:
        return None
    uids = [*(one.uid for one in changes.changed), *missing.gone.values(), *missing.elsewhere.values()]
    ours = await calendar_events.by_uid(tx, calendar.id, uids)
    known = await calendar_events.known(tx, [one.uid for one in changes.changed])
    mark = marker(calendar.account_id)
    strays = _strays(changes, mark, {uid for uid, _, _ in known}) if latest[0].writable else []
    of_host = {uid for uid, _, host_id in known if host_id == calendar.host_id}
    # Our own events take no busy time: the claims say who has it. Nor does what stands where nothing blocks.
    changed = [
        replace(one, busy=()) if one.uid in of_host or not calendar.blocking else one
        for one in changes.changed
        if one not in strays
    ]
    await calendar_items.drop_items(tx, calendar, list(missing.gone))
    await calendar_items.put_items(tx, calendar, changed)
    # Known as before, so that it is asked about when all is read again, and not each time.
    away = [Change(ref=ref, etag="", uid=uid) for ref, uid in missing.elsewhere.items()]
    await calendar_items.put_items(tx, calendar, away)
    whole_at = asked.now if changes.whole else None
    await calendar_items.record_reading(
        tx,
        calendar.id,
        # Whoever dies before the strays are taken away is told of them again; as is who could not ask about one of ours.
        calendar.token if strays or missing.unsure else changes.token,
        asked.now - changes.age,
        whole_at,
        list(dict.fromkeys(changes.notes))[:10],
    )
    if changed or missing.gone:
        reservations.announce_host(tx, calendar.host_id)
        if not changes.whole:
            await calendar_watches.doubt(tx, calendar.id, calendar.read_at)
    seen = {one.uid: one for one in changes.changed}
    await _our_own(tx, calendar, list(ours.values()), seen, set(missing.elsewhere.values()))
    otherwise = bool(missing.gone) or any(one.ref in asked.known for one in changed)
    await _ask_again(tx, calendar, changed, otherwise=otherwise)
    if asked.is_daily:
        # Wished for with what says that this day's reading is done: nobody else would.
        await jobs.enqueue(
            tx, calendar.account_id, "list_calendars", calendar.connection_id, due=await tx.now()
        )
    return Synced(strays)


async def _our_own(
    tx: Tx,
    calendar: Calendar,
    ours: Sequence[WrittenEvent],
    seen: Mapping[str, Change],
    elsewhere: Collection[str],
) -> None:
    """What became of our own events, in the order in which reservations are locked."""
    for written in sorted(ours, key=lambda one: one.reservation_id):
        if written.uid in seen:
            await _seen(tx, calendar, written, seen[written.uid])
        elif written.uid in elsewhere:
            await _dragged(tx, calendar, written)
        else:
            await _missed(tx, calendar, written)


def _strays(changes: Changes, mark: str, known: Collection[str]) -> list[Change]:
    """A write that was given up, and came all the same."""
    strays = [one for one in changes.changed if one.uid.startswith(mark) and one.uid not in known]
    return strays if len(strays) <= STRAYS_MAX else []


async def _seen(tx: Tx, calendar: Calendar, written: WrittenEvent, seen: Change) -> None:
    """One of ours is there. Nobody wanted it any more: it goes. The host moved it: that is noted."""
    reservation = await reservations.lock(tx, written.reservation_id)
    assert reservation is not None
    now = await tx.now()
    ended = status_at(reservation, now) in (Status.RELEASED, Status.EXPIRED, Status.CANCELLED)
    if ended or written.state is Written.ABSENT:
        await calendar_events.doubt(tx, written)
        await jobs.enqueue(tx, calendar.account_id, "calendars", reservation.id, due=now)
        return
    if seen.etag == written.etag or written.state is Written.UNKNOWN:
        return
    if seen.start is None or seen.end is None or _whole_seconds(seen) == _whole_seconds(reservation):
        await calendar_events.note_seen(tx, written, None, seen.etag)
    elif written.state is Written.HOLD:
        await _put_back(tx, calendar, written, seen.etag)
    elif seen.end - seen.start == reservation.end - reservation.start:
        await event_moved(tx, calendar, written, seen.start, seen.etag)
    else:
        # Another length: nothing to follow, but somebody should know.
        await flag(tx, calendar, written, "moved", seen.etag)


def _whole_seconds(one: Change | Reservation) -> tuple[datetime, datetime]:
    """Calendars know no smaller ones."""
    assert one.start is not None and one.end is not None
    return one.start.replace(microsecond=0), one.end.replace(microsecond=0)


async def _put_back(tx: Tx, calendar: Calendar, written: WrittenEvent, etag: str) -> None:
    """A hold stands for a time that somebody is just paying for, where everybody is to see it: it is ours to place. Flagged
    until it is written again.
    """
    await calendar_events.note_seen(tx, written, "moved", etag)
    await calendar_events.doubt(tx, written)
    await jobs.enqueue(tx, calendar.account_id, "calendars", written.reservation_id, due=await tx.now())


async def _missed(tx: Tx, calendar: Calendar, written: WrittenEvent) -> None:
    """One of ours is gone, and the server was asked twice. A hold is written again; a firm one is the host's word."""
    reservation = await reservations.lock(tx, written.reservation_id)
    assert reservation is not None
    now = await tx.now()
    if written.state not in (Written.HOLD, Written.CONFIRMED):
        return
    if reservation.end <= now:
        # A host who tidies up last week calls nothing off.
        return
    if status_at(reservation, now) is Status.CONFIRMED and written.state is Written.CONFIRMED:
        await event_deleted(tx, calendar, written)
        return
    await calendar_events.mark_missing(tx, written)
    await jobs.enqueue(tx, calendar.account_id, "calendars", reservation.id, due=now)


async def _dragged(tx: Tx, calendar: Calendar, written: WrittenEvent) -> None:
    """The host has put it into another calendar of theirs: it stands, nothing is called off. What we write next stands here
    again.
    """
    reservation = await reservations.lock(tx, written.reservation_id)
    assert reservation is not None
    if written.state is Written.HOLD:
        await calendar_events.note_seen(tx, written, "moved", None)
        await calendar_events.mark_missing(tx, written)
        await jobs.enqueue(tx, calendar.account_id, "calendars", reservation.id, due=await tx.now())
    elif written.state is Written.CONFIRMED and written.changed_by_host is None:
        await flag(tx, calendar, written, "moved", written.etag)


async def _ask_again(tx: Tx, calendar: Calendar, changed: Sequence[Change], *, otherwise: bool) -> None:
    """In whose time something new stands: calendars are asked at once, not only when money decides. A hold ends then; what
    is confirmed is flagged. And where something is not as it was (`otherwise`), whether the flags still stand.
    """
    if not calendar.blocking:
        return
    spans = [span for one in changed for span in one.busy]
    touched = await calendar_events.clean_within(tx, calendar.host_id, spans) if spans else []
    if otherwise:
        touched += await calendar_events.flagged(tx, calendar.host_id)
    now = await tx.now()
    for reservation_id in touched:
        await jobs.enqueue(tx, calendar.account_id, "ask_calendars", reservation_id, due=now)
