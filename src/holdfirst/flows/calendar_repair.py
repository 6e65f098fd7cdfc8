# SPDX-License-Identifier: Apache-2.0
"""What stands in a calendar against what should; and what puts it right."""

from collections.abc import Sequence
from datetime import timedelta

import msgspec

from holdfirst.calendar.calendar_event import event_uid
from holdfirst.calendar.provider import Own
from holdfirst.calendar.wanted import wanted_state
from holdfirst.store import calendar_events, jobs, reservations
from holdfirst.store.calendar_events import WrittenEvent
from holdfirst.store.calendars import Calendar
from holdfirst.store.database import Tx

SETTLING = timedelta(seconds=60)
"""What was made or decided a moment ago is still under way."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """`orphans`: they bear our marker and belong to nothing. `duplicates`: a reservation has another event there besides.
    `doubled`, `ghosts`, `missing`: reservations. `also_as`: other calendars of the same host that are this one.
    """

    orphans: Sequence[Own]
    duplicates: Sequence[Own]
    doubled: Sequence[str]
    ghosts: Sequence[str]
    missing: Sequence[str]
    also_as: Sequence[str]


async def compare(tx: Tx, calendar: Calendar, own: Sequence[Own]) -> Standing:
    there = {one.uid for one in own}
    known = {uid for uid, _, _ in await calendar_events.known(tx, list(there))}
    events = await calendar_events.of_calendar(tx, calendar.id)
    duplicates = [found for one in events for found in _besides(one, calendar, own)]
    spare = {(one.uid, one.ref) for one, _ in duplicates}
    now = await tx.now()
    ghosts, missing = [], []
    for written in events:
        if written.lease_until is not None and written.lease_until > now:
            continue
        reservation = await reservations.load(tx, written.reservation_id)
        assert reservation is not None
        if now - reservation.created_at < SETTLING:
            continue
        wanted = wanted_state(reservation, now, destination=calendar.destination)
        if wanted is None and written.uid in there:
            ghosts.append(reservation.id)
        elif wanted is not None and written.uid not in there and written.changed_by_host is None:
            missing.append(reservation.id)
    return Standing(
        orphans=[one for one in own if one.uid not in known and (one.uid, one.ref) not in spare],
        duplicates=[one for one, _ in duplicates],
        doubled=sorted({reservation for _, reservation in duplicates}),
        ghosts=ghosts,
        missing=missing,
        also_as=await calendar_events.also_there(tx, calendar.id, list(there)),
    )


def _besides(written: WrittenEvent, calendar: Calendar, own: Sequence[Own]) -> list[tuple[Own, str]]:
    """Events of its reservation there, but for the one that counts: of generations before (a host may get one back out of a
    bin), and under the same uid where a company names events itself.
    """
    before = {
        event_uid(calendar.account_id, written.reservation_id, calendar.id, one)
        for one in range(written.generation)
    }
    same = [one for one in own if one.uid == written.uid]
    name = (written.etag or "").partition(" ")[0]
    same.sort(key=lambda one: one.ref != name)
    return [(one, written.reservation_id) for one in (*same[1:], *(one for one in own if one.uid in before))]


async def put_right(tx: Tx, calendar: Calendar, standing: Standing) -> None:
    """What we believe of them is given up, and a job looks again."""
    wrong = {*standing.ghosts, *standing.missing}
    for written in await calendar_events.of_calendar(tx, calendar.id):
        if written.reservation_id in wrong:
            await _look_again(tx, calendar, written, gone=written.reservation_id in standing.missing)


async def _look_again(tx: Tx, calendar: Calendar, written: WrittenEvent, *, gone: bool) -> None:
    if gone:
        await calendar_events.mark_missing(tx, written)
    else:
        await calendar_events.doubt(tx, written)
    await jobs.enqueue(tx, calendar.account_id, "calendars", written.reservation_id, due=await tx.now())
