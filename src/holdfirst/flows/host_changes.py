# SPDX-License-Identifier: Apache-2.0
"""What a host did to a confirmed reservation's event in the calendar itself, and what the connection says follows."""

from datetime import datetime, timedelta

from holdfirst.flows.cancel import CancelRequest, cancel
from holdfirst.flows.locked import lock_reservation_with_hosts
from holdfirst.flows.outcome import became_another_time, tell_of_change
from holdfirst.flows.reschedule import HostsUnasked, RescheduleRequest, must_be_asked
from holdfirst.refusal import Refusal
from holdfirst.reservation import lifecycle
from holdfirst.reservation.calendar_gate import unasked
from holdfirst.reservation.reservation import EndedBy, Status, lapses_at, status_at
from holdfirst.store import calendar_events, calendars, catalog, jobs, reservations
from holdfirst.store.calendar_events import WrittenEvent
from holdfirst.store.calendars import Calendar, WhenDeleted, WhenMoved
from holdfirst.store.database import Tx

CALLED_OFF_MAX = 3
"""Of one calendar within `WITHIN`. An account that was emptied, at once or slowly, or reconnected must not cancel everything."""
WITHIN = timedelta(days=1)


async def event_moved(tx: Tx, calendar: Calendar, written: WrittenEvent, start: datetime, etag: str) -> None:
    """The caller has the reservation's row; it is confirmed. Taking the new time needs locks that come before that."""
    if await _when_moved(tx, calendar) is WhenMoved.FLAG:
        await flag(tx, calendar, written, "moved", etag)
        return
    await calendar_events.note_seen(tx, written, "moved", etag)
    subject = f"{written.reservation_id}/{calendar.id}/{int(start.timestamp() * 1000)}"
    await jobs.enqueue(tx, calendar.account_id, "follow_event", subject, due=await tx.now())


async def flag(tx: Tx, calendar: Calendar, written: WrittenEvent, what: str, etag: str | None) -> None:
    """Nothing follows; but somebody is to look, and the host is told, once for each time that a flag goes up."""
    await calendar_events.note_seen(tx, written, what, etag)
    if written.changed_by_host != what:
        what_of = (written.reservation_id, calendar.id, what)
        await tell_of_change(tx, calendar.account_id, what_of, await tx.now())


async def follow(tx: Tx, request: RescheduleRequest, calendar_id: str) -> bool:
    """The reservation goes where its event went, if that time is free, in the calendars too; else the flag stands. The host
    may book off their own grid. Raises `HostsUnasked`.
    """
    reservation = await lock_reservation_with_hosts(tx, request.reservation_id)
    event_type = await catalog.event_type_by_id(tx, reservation.event_type_id)
    assert event_type is not None
    now = await tx.now()
    put_back = await calendar_events.changed_by_host(tx, reservation.id) != "moved"
    if put_back or status_at(reservation, now) is not Status.CONFIRMED:
        return False
    hosts, rules = tuple(reservation.hosts), event_type.rules
    moved = lifecycle.moved(reservation, request.start, hosts)
    may_go = request.start > now and request.heard.get(hosts, True)
    if not may_go or not await reservations.take_time(
        tx, moved, hosts, seats_max=rules.seats, live_until=lapses_at(reservation)
    ):
        await tell_of_change(tx, moved.account_id, (moved.id, calendar_id, "moved"), now)
        return False
    if must_be_asked(request, rules, hosts):
        raise HostsUnasked(hosts)
    # After this point it must succeed.
    await reservations.save(tx, unasked(moved, rules.calendar_check, now))
    await calendar_events.unflag(tx, moved.id, calendar_id)
    await became_another_time(tx, reservation, moved, now)
    return True


async def event_deleted(tx: Tx, calendar: Calendar, written: WrittenEvent) -> None:
    """The caller has the reservation's row; it is confirmed."""
    now = await tx.now()
    match await _when_deleted(tx, calendar):
        case WhenDeleted.RESTORE:
            await calendar_events.next_generation(tx, written, calendar.account_id)
            await jobs.enqueue(tx, calendar.account_id, "calendars", written.reservation_id, due=now)
        case WhenDeleted.CANCEL if await _few(tx, calendar):
            await calendar_events.call_off(tx, written)
            await jobs.enqueue(tx, calendar.account_id, "cancel_deleted", written.reservation_id, due=now)
        case WhenDeleted.CANCEL | WhenDeleted.FLAG:
            await flag(tx, calendar, written, "deleted", None)


async def _few(tx: Tx, calendar: Calendar) -> bool:
    """Readings of one calendar go one after the other: they have its host's lock."""
    return await calendar_events.called_off_within(tx, calendar.id, WITHIN) < CALLED_OFF_MAX


async def cancel_deleted(tx: Tx, reservation_id: str) -> None:
    """The host called it off by deleting its event: all that was paid goes back."""
    reservation = await reservations.load(tx, reservation_id)
    assert reservation is not None
    if await calendar_events.changed_by_host(tx, reservation_id) != "deleted":
        return
    request = CancelRequest(
        reservation_id=reservation_id,
        by=EndedBy.CALENDAR,
        reason="deleted in the host's calendar",
        refund="full" if reservation.paid_by is not None else None,
    )
    answer = await cancel(tx, request)
    assert not isinstance(answer, Refusal) or reservation.status is not Status.CONFIRMED


async def _when_moved(tx: Tx, calendar: Calendar) -> WhenMoved:
    return (await calendars.load_connection_even_deleted(tx, calendar.connection_id)).when_moved


async def _when_deleted(tx: Tx, calendar: Calendar) -> WhenDeleted:
    return (await calendars.load_connection_even_deleted(tx, calendar.connection_id)).when_deleted
