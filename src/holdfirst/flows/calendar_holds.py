# SPDX-License-Identifier: Apache-2.0
"""A reservation in its hosts' calendars: what is to be written, what was, and what the calendars' answer means."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from holdfirst.calendar.calendar_event import CalendarEvent, EventState, Occurrence
from holdfirst.calendar.wanted import wanted_event, wanted_state
from holdfirst.errors import HoldfirstError
from holdfirst.flows.calendar_health import BROKEN_AGAIN
from holdfirst.flows.calendar_sync import AHEAD
from holdfirst.flows.outcome import became_free, close_open
from holdfirst.payment.payment import Mode, Payment
from holdfirst.reservation import lifecycle
from holdfirst.reservation.calendar_gate import Gate, gate, given_up, verified
from holdfirst.reservation.event_type import EventTypeRules
from holdfirst.reservation.reservation import (
    CalendarVerdict,
    Cause,
    Reservation,
    Status,
    status_at,
)
from holdfirst.settings import Limits
from holdfirst.store import calendar_events, calendars, catalog, jobs, payments, reservations
from holdfirst.store.calendar_events import Ended, Written, WrittenEvent
from holdfirst.store.calendars import Calendar, Connection, ConnectionStatus, WhenBroken
from holdfirst.store.database import Tx

LEASE = timedelta(seconds=40)
"""Longer than a write and the reading after it may take, however often they are tried within one call."""
LOOK_AGAIN = timedelta(seconds=2)
"""While somebody else writes: they are mostly done long before their lease is over."""
DOUBT = timedelta(seconds=60)
"""How long a request that was given up may still arrive."""
POLLS_MISSED_MAX = 6
"""What was read within so many polls is known; the slowest come after four, where a company tells us of changes."""


class ToWrite(msgspec.Struct, frozen=True, kw_only=True):
    """`event` None: it is to be taken away. `lost`: what stands there was not known before."""

    written: WrittenEvent
    event: CalendarEvent | None
    calendar: Calendar
    connection: Connection
    lost: bool


class ToAsk(msgspec.Struct, frozen=True):
    calendar: Calendar
    connection: Connection


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """As of `now`. `own`: uids of its events. `again_at`: when there is more to do, or somebody else's write may be over."""

    reservation: Reservation
    rules: EventTypeRules
    status: Status
    write: Sequence[ToWrite]
    ask: Sequence[ToAsk]
    own: frozenset[str]
    again_at: datetime | None
    now: datetime

    @property
    def gate(self) -> Gate:
        return gate(self.reservation, self.rules.calendar_check, self.now)

    @property
    def window(self) -> tuple[datetime, datetime]:
        """What must be free: buffers included."""
        reservation = self.reservation
        return (
            reservation.start - timedelta(minutes=reservation.buffer_before_minutes),
            reservation.end + timedelta(minutes=reservation.buffer_after_minutes),
        )


async def plan(tx: Tx, reservation_id: str) -> Plan | None:
    """What is to be written where; each such event is leased to whoever asked. None: nothing to do with calendars."""
    reservation = await reservations.lock(tx, reservation_id)
    if reservation is None or not reservation.in_calendars:
        return None
    event_type = await catalog.event_type_by_id(tx, reservation.event_type_id)
    assert event_type is not None
    now = await tx.now()
    in_use = await calendars.calendars_of_hosts(tx, reservation.hosts)
    wanted = {
        calendar.id: state
        for calendar, _ in in_use
        if calendar.writable
        and (state := wanted_state(reservation, now, destination=calendar.destination)) is not None
    }
    events = await calendar_events.of_reservation(tx, reservation.id)
    missing = wanted.keys() - {one.calendar_id for one in events}
    events += [
        calendar_events.not_written(reservation.account_id, reservation.id, one) for one in sorted(missing)
    ]
    ignored = {calendar.id for calendar, connection in in_use if _ignored(connection)}
    places = await _places(tx, events, in_use)
    # Nothing is looked for in a calendar that takes nothing, be it in use or not.
    ours_to_write = [one for one in events if places[one.calendar_id][0].writable]
    wrong, again = _wrong(reservation, event_type.rules, ours_to_write, wanted, ignored, now)
    return Plan(
        reservation=reservation,
        rules=event_type.rules,
        status=status_at(reservation, now),
        write=await _leased(tx, reservation.account_id, wrong, places, now) if wrong else [],
        ask=[ToAsk(*place) for place in in_use if _asked(*place)],
        own=frozenset(one.uid for one in events),
        again_at=again,
        now=now,
    )


async def plan_of_move(tx: Tx, reservation_id: str, start: datetime, hosts: tuple[str, ...]) -> Plan:
    """Whom to ask about another time of it, with these hosts; nothing is written."""
    reservation = await reservations.load(tx, reservation_id)
    assert reservation is not None
    event_type = await catalog.event_type_by_id(tx, reservation.event_type_id)
    assert event_type is not None
    now = await tx.now()
    in_use = await calendars.calendars_of_hosts(tx, hosts)
    return Plan(
        reservation=lifecycle.moved(reservation, start, hosts),
        rules=event_type.rules,
        status=status_at(reservation, now),
        write=[],
        ask=[ToAsk(*place) for place in in_use if _asked(*place)],
        own=frozenset(),
        again_at=None,
        now=now,
    )


async def plan_of_unheard(tx: Tx, reservation_id: str, limits: Limits) -> Plan:
    """Whom to ask about it because what we know of them is old, or does not reach that far; nothing is written."""
    reservation = await reservations.load(tx, reservation_id)
    assert reservation is not None
    asked = await plan_of_move(tx, reservation_id, reservation.start, tuple(reservation.hosts))
    since = asked.now - limits.calendar_poll * POLLS_MISSED_MAX
    _, until = asked.window
    return replace(asked, ask=[one for one in asked.ask if not _is_known(one.calendar, since, until)])


def _is_known(calendar: Calendar, since: datetime, until: datetime) -> bool:
    """Whether its busy time is, as of `since` or later, and as far as `until`."""
    if calendar.read_at is None or calendar.whole_at is None:
        return False
    return calendar.read_at >= since and calendar.whole_at + AHEAD >= until


def _wrong(
    reservation: Reservation,
    rules: EventTypeRules,
    events: Sequence[WrittenEvent],
    wanted: Mapping[str, EventState],
    ignored: Collection[str],
    now: datetime,
) -> tuple[list[tuple[WrittenEvent, CalendarEvent | None]], datetime | None]:
    """What does not stand as it should, and how it should; and when to look again at what is leased, in doubt, or ignored."""
    wrong: list[tuple[WrittenEvent, CalendarEvent | None]] = []
    again: list[datetime] = []
    for written in events:
        event = _event(reservation, rules, written, wanted.get(written.calendar_id))
        if written.lease_until is not None and written.lease_until > now:
            again.append(min(written.lease_until, now + LOOK_AGAIN))
        elif event is None and written.state is Written.ABSENT and _is_ahead(written.doubtful_until, now):
            again.append(written.doubtful_until or now)
        elif not _stands(written, event):
            if written.calendar_id in ignored:
                again.append(now + BROKEN_AGAIN)
            else:
                wrong.append((written, event))
    return wrong, min(again, default=None)


async def _places(
    tx: Tx, events: Sequence[WrittenEvent], in_use: Sequence[tuple[Calendar, Connection]]
) -> dict[str, tuple[Calendar, Connection]]:
    """By calendar, where these events stand or are to stand. Also where it was disconnected: what we wrote there is still to be
    taken away.
    """
    places = {calendar.id: (calendar, connection) for calendar, connection in in_use}
    for event in events:
        if event.calendar_id not in places:
            place = await calendars.load_calendar(tx, event.calendar_id)
            assert place is not None
            places[event.calendar_id] = place
    return places


async def _leased(
    tx: Tx,
    account_id: str,
    wrong: Sequence[tuple[WrittenEvent, CalendarEvent | None]],
    places: Mapping[str, tuple[Calendar, Connection]],
    now: datetime,
) -> list[ToWrite]:
    """To us, to be written."""
    leased = await calendar_events.lease(tx, account_id, [before for before, _ in wrong], now + LEASE)
    return [
        ToWrite(
            written=written,
            event=event,
            calendar=places[written.calendar_id][0],
            connection=places[written.calendar_id][1],
            lost=before.state is Written.UNKNOWN,
        )
        for (before, event), written in zip(wrong, leased, strict=True)
    ]


def _is_ahead(instant: datetime | None, now: datetime) -> bool:
    return instant is not None and instant > now


def _event(
    reservation: Reservation, rules: EventTypeRules, written: WrittenEvent, state: EventState | None
) -> CalendarEvent | None:
    return None if state is None else wanted_event(reservation, rules, written.uid, state)


def _stands(written: WrittenEvent, event: CalendarEvent | None) -> bool:
    if event is None:
        return written.state is Written.ABSENT and written.doubtful_until is None
    return written.state.value == event.state.value and written.fingerprint == event.fingerprint


def _asked(calendar: Calendar, connection: Connection) -> bool:
    return calendar.blocking and not _ignored(connection)


def _ignored(connection: Connection) -> bool:
    return connection.status is ConnectionStatus.BROKEN and connection.when_broken is WhenBroken.IGNORE


class Outcome(msgspec.Struct, frozen=True):
    """How a write ended. `error`: it was not answered, or refused. `gone`: it had been there, and was taken away."""

    etag: str | None = None
    gone: bool = False
    error: HoldfirstError | None = None


Wrote = Sequence[tuple[ToWrite, Outcome]]
"""What was to be written, and how that ended."""


async def record(tx: Tx, wrote: Wrote) -> None:
    """All of them at once: a request that waits for ten calendars writes down once what became of them."""
    if wrote:
        await calendar_events.record(tx, [_ended(*one) for one in wrote], DOUBT)


def _ended(one: ToWrite, outcome: Outcome) -> Ended:
    if outcome.gone:
        # A hold is written again, under another id; of a confirmed one, the sync will have its say.
        return Ended(calendar_events.next_of(one.written, one.calendar.account_id))
    if outcome.error is not None:
        # It may have been done, or may still be.
        return Ended(replace(one.written, state=Written.UNKNOWN, fingerprint=None))
    if one.event is None:
        gone = replace(one.written, state=Written.ABSENT, fingerprint=None, etag=None)
        return Ended(gone, doubtful=one.lost)
    state, print_ = Written(one.event.state.value), one.event.fingerprint
    return Ended(replace(one.written, state=state, fingerprint=print_, etag=outcome.etag))


def in_doubt(wrote: Wrote) -> bool:
    """Whether something that was taken away may still arrive, so that somebody is to look again."""
    return any(one.event is None and one.lost for one, _ in wrote)


async def strangers(tx: Tx, asked: Plan, seen: Mapping[str, Sequence[Occurrence]]) -> list[Occurrence]:
    """What is in the way: everything but this reservation's own events, and the same host's others, on which our claims
    have the word. Another host's, in a calendar that two share, is in the way.
    """
    others = [one.uid for found in seen.values() for one in found if one.uid not in asked.own]
    if not others:
        return []
    hosts = {one.calendar.id: one.calendar.host_id for one in asked.ask}
    ours = await calendar_events.known(tx, others)
    of_this = {uid for uid, reservation_id, _ in ours if reservation_id == asked.reservation.id}
    of_host = {(uid, host_id) for uid, _, host_id in ours}
    return [
        one
        for calendar_id, found in seen.items()
        for one in found
        if one.uid not in asked.own | of_this and (one.uid, hosts[calendar_id]) not in of_host
    ]


async def judge(
    tx: Tx,
    asked: Plan,
    seen: Mapping[str, Sequence[Occurrence]],
    wrote: Wrote,
    limits: Limits,
) -> Reservation:
    """The verdict, under the reservation's row lock; every calendar has answered. A conflict ends a hold at once,
    before money moves; what is confirmed is flagged, and what is being captured is decided there. What was written before
    they were asked is written down with it.
    """
    reservation = await reservations.lock(tx, asked.reservation.id)
    assert reservation is not None
    attempts = await payments.lock_all(tx, reservation.id)
    await record(tx, wrote)
    now = await tx.now()
    if (reservation.start, reservation.hosts) != (asked.reservation.start, asked.reservation.hosts):
        # It has moved meanwhile: what was asked is not about it.
        return reservation
    conflict = bool(await strangers(tx, asked, seen))
    verdict = CalendarVerdict.CONFLICT if conflict else CalendarVerdict.CLEAN
    if reservation.verified_at is not None and reservation.verified_at > asked.now:
        return reservation
    status = status_at(reservation, now)
    judged = verified(reservation, verdict, asked.now)
    if conflict:
        # The slots are not to offer this time until the next poll.
        for one in asked.ask:
            await jobs.enqueue(tx, reservation.account_id, "sync_calendar", one.calendar.id, due=now)
    if conflict and status is Status.HELD and not _cannot_be_closed(attempts):
        return await end(tx, judged, attempts, now, limits)
    await reservations.save(tx, judged)
    if conflict and reservation.cause is Cause.CAPTURE and reservation.paid_by is not None:
        await jobs.enqueue(
            tx, reservation.account_id, "capture", reservation.paid_by, due=now, lane=reservation.paid_by
        )
    return judged


def _cannot_be_closed(attempts: Sequence[Payment]) -> bool:
    """Money may be on its way that nobody can stop: what becomes of it is `on_conflict`'s to say, once it is here."""
    return any(one.can_bring_money and one.mode is Mode.SALE_UNCLOSEABLE for one in attempts)


async def end(
    tx: Tx, reservation: Reservation, attempts: list[Payment], now: datetime, limits: Limits
) -> Reservation:
    """A hold in whose time something else stands."""
    sale_open = any(one.can_bring_money and one.mode is Mode.SALE for one in attempts)
    ended = given_up(reservation, now, sale_open=sale_open, processing_max=limits.processing_max)
    await reservations.save(tx, ended)
    if sale_open:
        await close_open(tx, attempts, now)
        await jobs.enqueue(tx, ended.account_id, "deadline", ended.id, due=now)
    else:
        await became_free(tx, ended, attempts, now)
    return ended
