# SPDX-License-Identifier: Apache-2.0
"""Who promised to call us about which calendar: asked for before we are called, renewed before it ends, ended where
nobody needs it. A call is a reason to read, and nothing else; without any, calendars are read all the same.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from holdfirst import ids
from holdfirst.calendar.provider import Push, PushKind, Watch
from holdfirst.store import calendar_watches, calendars, jobs
from holdfirst.store.calendar_watches import KnownWatch, WatchState
from holdfirst.store.calendars import Calendar, Connection, ConnectionStatus
from holdfirst.store.database import Tx

LASTS = timedelta(days=7)
"""What is asked for; companies may grant less."""
RENEWED_BEFORE = timedelta(days=1)
"""A worker that is down for a night misses no renewal. Of a shorter watch: its last quarter."""
ANSWERED_WITHIN = timedelta(minutes=1)
"""Longer than the call that asks; what was not answered by then is asked again, as another watch."""
REFUSED_FOR = timedelta(days=1)
READ_AGAIN_AFTER = timedelta(seconds=1)
"""However often a company calls, a calendar is read no more often than this because of it."""


class WatchPlan(msgspec.Struct, frozen=True, kw_only=True):
    """`due`: another one is needed, or `current` for longer. `over`: nobody needs them. `again_at`: when to look again."""

    calendar: Calendar
    connection: Connection
    current: KnownWatch | None
    due: bool
    over: Sequence[KnownWatch]
    again_at: datetime | None
    now: datetime


async def plan(tx: Tx, calendar_id: str, addresses: Mapping[str, str]) -> WatchPlan:
    """`addresses`: of each company that can call us, with what the address that it calls begins."""
    found = await calendars.load_calendar(tx, calendar_id)
    assert found is not None, calendar_id
    calendar, connection = found
    now = await tx.now()
    known = await calendar_watches.of_calendar(tx, calendar_id)
    await calendar_watches.forget(tx, [one.id for one in known if one.expires_at <= now])
    known = [one for one in known if one.expires_at > now]
    begins = addresses.get(connection.provider)
    wanted = begins is not None and await _is_wanted(tx, calendar, connection)
    opened = [one for one in known if one.state is WatchState.OPEN]
    usable = [one for one in opened if wanted and one.address == f"{begins}{one.id}"]
    current = usable[0] if usable else None
    waiting = any(one.state is not WatchState.OPEN and one.renew_at > now for one in known)
    due = wanted and not waiting and (current is None or current.renew_at <= now)
    over = [one for one in opened if one is not current]
    left = [one for one in known if one not in over]
    return WatchPlan(
        calendar=calendar,
        connection=connection,
        current=current,
        due=due,
        over=over,
        again_at=min(
            [one.renew_at if wanted and one.renew_at > now else one.expires_at for one in left], default=None
        ),
        now=now,
    )


async def _is_wanted(tx: Tx, calendar: Calendar, connection: Connection) -> bool:
    live = await calendars.is_live(tx, calendar.id)
    return live and calendar.in_use and connection.status is not ConnectionStatus.PENDING


async def begin(tx: Tx, calendar: Calendar, begins: str) -> KnownWatch:
    """Written before the company is asked: it may call before it answers."""
    now = await tx.now()
    watch_id = ids.make("wat")
    watch = KnownWatch(
        id=watch_id,
        account_id=calendar.account_id,
        calendar_id=calendar.id,
        state=WatchState.OPENING,
        address=f"{begins}{watch_id}",
        renew_at=now + ANSWERED_WITHIN,
        expires_at=now + LASTS,
        created_at=now,
    )
    await calendar_watches.put(tx, watch)
    return watch


async def granted(tx: Tx, watch_id: str, grant: Watch) -> None:
    """Asked for, or renewed. What changed before it began is read now."""
    watch = await calendar_watches.lock(tx, watch_id)
    if watch is None:
        return
    now = await tx.now()
    before = min(RENEWED_BEFORE, (grant.until - now) / 4)
    begins = watch.state is not WatchState.OPEN or watch.ref == ""
    await calendar_watches.put(
        tx,
        replace(
            watch,
            state=WatchState.OPEN,
            ref=grant.ref,
            resource=grant.resource,
            heard_at=now if grant.reached else watch.heard_at,
            renew_at=grant.until - before,
            expires_at=grant.until,
        ),
    )
    if begins:
        await jobs.enqueue(tx, watch.account_id, "sync_calendar", watch.calendar_id, due=now)


async def refused(tx: Tx, watch_id: str, problem: str) -> None:
    """Asked again tomorrow; until then the calendar is only read."""
    watch = await calendar_watches.lock(tx, watch_id)
    if watch is None:
        return
    until = await tx.now() + REFUSED_FOR
    await calendar_watches.put(
        tx, replace(watch, state=WatchState.REFUSED, problem=problem[:300], renew_at=until, expires_at=until)
    )


async def ended(tx: Tx, watch_id: str) -> None:
    await calendar_watches.forget(tx, [watch_id])


async def wish(tx: Tx, calendar: Calendar) -> None:
    """See to it that we are called about this calendar, or no more."""
    await jobs.enqueue(tx, calendar.account_id, "watch_calendar", calendar.id, due=await tx.now())


async def hear(tx: Tx, watch_id: str, pushes: Sequence[Push]) -> bool:
    """The company called, and proved it. Many calls are one reading. False: we have no such watch (any more)."""
    watch = await calendar_watches.lock(tx, watch_id)
    if watch is None:
        return False
    found = await calendars.load_calendar(tx, watch.calendar_id)
    assert found is not None
    calendar, now = found[0], await tx.now()
    kinds = {one.kind for one in pushes}
    # Also where the answer that should have named them was lost.
    ref = watch.ref or next((one.ref for one in pushes if one.ref), "")
    resource = watch.resource or next((one.resource for one in pushes if one.resource), "")
    heard = replace(watch, state=WatchState.OPEN, ref=ref, resource=resource, heard_at=now)
    if PushKind.RENEW in kinds:
        heard = replace(heard, renew_at=now)
    if PushKind.ENDED in kinds:
        await calendar_watches.forget(tx, [watch.id])
    else:
        await calendar_watches.put(tx, heard)
    if kinds & {PushKind.RENEW, PushKind.ENDED}:
        await wish(tx, calendar)
    if kinds & {PushKind.CHANGED, PushKind.ENDED}:
        due = now if calendar.read_at is None else max(now, calendar.read_at + READ_AGAIN_AFTER)
        await jobs.enqueue(tx, calendar.account_id, "sync_calendar", calendar.id, due=due)
    return True
