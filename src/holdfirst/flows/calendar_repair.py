# SPDX-License-Identifier: Apache-2.0
"""What stands in a calendar against what should; and what puts it right."""

from collections.abc import Sequence
from datetime import timedelta

import msgspec

from holdfirst.calendar.provider import Own
from holdfirst.calendar.wanted import wanted_state
from holdfirst.store import calendar_events, jobs, reservations
from holdfirst.store.calendar_events import WrittenEvent
from holdfirst.store.calendars import Calendar
from holdfirst.store.database import Tx

SETTLING = timedelta(seconds=60)
"""What was made or decided a moment ago is still under way."""


class Standing(msgspec.Struct, frozen=True):
    """`orphans`: they bear our marker and belong to nothing. `ghosts`, `missing`: reservations."""

    orphans: Sequence[Own]
    ghosts: Sequence[str]
    missing: Sequence[str]


async def compare(tx: Tx, calendar: Calendar, own: Sequence[Own]) -> Standing:
    known = {uid for uid, _, _ in await calendar_events.known(tx, [one.uid for one in own])}
    there = {one.uid for one in own}
    now = await tx.now()
    ghosts, missing = [], []
    for written in await calendar_events.of_calendar(tx, calendar.id):
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
    return Standing([one for one in own if one.uid not in known], ghosts, missing)


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
