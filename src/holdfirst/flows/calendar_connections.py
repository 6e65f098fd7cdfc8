# SPDX-License-Identifier: Apache-2.0
"""Calendar connections: which calendars of a host are asked, and which one receives. Credentials arrive here sealed."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from holdfirst import ids
from holdfirst.availability.windows import is_zone
from holdfirst.calendar.provider import Found, FoundCalendar
from holdfirst.flows import calendar_health, calendar_watches
from holdfirst.flows.hosts import no_such_host
from holdfirst.refusal import Code, Refusal, invalid
from holdfirst.reservation.calendar_gate import unasked
from holdfirst.reservation.event_type import CalendarCheck
from holdfirst.reservation.reservation import Status, status_at
from holdfirst.store import calendar_access, calendar_events, calendars, catalog, jobs, reservations
from holdfirst.store.calendars import (
    Calendar,
    Connection,
    ConnectionStatus,
    WhenBroken,
    WhenDeleted,
    WhenMoved,
)
from holdfirst.store.database import Tx

CALENDARS_MAX = 25
"""Of one connection, asked without being chosen."""
RENEWED_FIRST_AFTER = timedelta(minutes=10)
"""What we were let in with a moment ago is fresh."""
_ONLY_READ = "it is the one that receives reservations, and can only be read"


class WantedConnection(msgspec.Struct, frozen=True, kw_only=True):
    """`sealed`: under the id of the connection."""

    id: str
    account_id: str
    host_id: str
    provider: str
    sealed: bytes
    when_broken: WhenBroken
    when_moved: WhenMoved
    when_deleted: WhenDeleted


class Roles(msgspec.Struct, frozen=True, kw_only=True):
    """What a PATCH says; None: as it was. `destination` "": none."""

    blocking: Sequence[str] | None = None
    destination: str | None = None
    when_broken: WhenBroken | None = None
    when_moved: WhenMoved | None = None
    when_deleted: WhenDeleted | None = None


async def host_of(tx: Tx, account_id: str, host_id: str) -> Refusal | None:
    """Before anybody's server is asked for it."""
    if await catalog.load_host(tx, account_id, host_id) is None:
        return invalid("host", "is not a host of this account")
    return None


async def connect(tx: Tx, wanted: WantedConnection, found: Found | None) -> Connection | Refusal:
    """`found` None: the host has still to let us in. Else: all of its calendars are asked, the first one that can be
    written receives, and what stands already in the host's time is written into them.
    """
    await reservations.lock_hosts(tx, [wanted.host_id])
    if await catalog.load_host(tx, wanted.account_id, wanted.host_id) is None:
        return no_such_host()
    now = await tx.now()
    connection = Connection(
        id=wanted.id,
        account_id=wanted.account_id,
        host_id=wanted.host_id,
        provider=wanted.provider,
        status=ConnectionStatus.PENDING,
        sealed_credentials=wanted.sealed,
        server={},
        owners=(),
        when_broken=wanted.when_broken,
        when_moved=wanted.when_moved,
        when_deleted=wanted.when_deleted,
        problem=None,
        problem_since=None,
        answered_at=None,
        created_at=now,
    )
    await calendars.insert_connection(tx, connection)
    return connection if found is None else await let_in(tx, connection, found, wanted.sealed)


async def let_in(tx: Tx, connection: Connection, found: Found, sealed: bytes) -> Connection:
    """The host has let us in (again): what there is is known, and what is new there is taken up."""
    now = await tx.now()
    first = connection.status is ConnectionStatus.PENDING
    active = replace(
        connection,
        status=ConnectionStatus.ACTIVE,
        sealed_credentials=sealed,
        server=found.server,
        owners=tuple(found.owners),
        problem=None,
        problem_since=None,
        answered_at=now,
    )
    await calendars.save_connection(tx, active)
    await calendars.open_host(tx, active)
    await _take_up(tx, active, found, first=first)
    await _attend(tx, active, now)
    return active


async def let_in_again(tx: Tx, connection_id: str, found: Found, sealed: bytes) -> Connection | Refusal:
    guess = await calendars.load_connection(tx, connection_id)
    if guess is None:
        return no_such_connection()
    await reservations.lock_hosts(tx, [guess.host_id])
    connection = await calendars.lock_connection(tx, connection_id)
    return no_such_connection() if connection is None else await let_in(tx, connection, found, sealed)


async def listed(tx: Tx, connection_id: str, found: Found) -> None:
    """What the account says of its calendars now. One that is missing is not forgotten: a list may be short by mistake."""
    guess = await calendars.load_connection(tx, connection_id)
    if guess is None:
        return
    await reservations.lock_hosts(tx, [guess.host_id])
    connection = await calendars.lock_connection(tx, connection_id)
    if connection is None or connection.status is ConnectionStatus.PENDING:
        return
    zone = await calendars.hosts_zone(tx, connection.host_id)
    known = {one.ref: one for one in await calendars.calendars_of(tx, connection_id)}
    opened = [
        there
        for one in found.calendars
        if (there := known.get(one.ref)) and await _as_listed(tx, there, one, zone, there.read_problem)
    ]
    if not opened:
        return
    now = await tx.now()
    await _attend(tx, connection, now)
    for calendar in opened:
        for reservation_id in await calendar_access.left_standing(tx, calendar.id):
            await jobs.enqueue(tx, calendar.account_id, "calendars", reservation_id, due=now)


async def _as_listed(
    tx: Tx, known: Calendar, one: FoundCalendar, hosts_zone: str, read_problem: str | None
) -> bool:
    """Answers whether it can be written to, and could not before."""
    problem = None if one.writable or not known.destination else _ONLY_READ
    latest = replace(
        known,
        name=one.name,
        time_zone=_zone_of(one, hosts_zone),
        writable=one.writable,
        write_problem=problem,
        read_problem=read_problem,
    )
    if latest != known:
        await calendar_access.relist(tx, latest)
    return latest.writable and not known.writable


def _zone_of(one: FoundCalendar, hosts_zone: str) -> str:
    return one.time_zone if one.time_zone and is_zone(one.time_zone) else hosts_zone


async def _take_up(tx: Tx, connection: Connection, found: Found, *, first: bool) -> None:
    """Calendars that are new, and what is new about others; those that are no longer there go. Where none is left that blocks, or
    none that receives, it is as at first: nobody has chosen that all of the host's time is free.
    """
    zone = await calendars.hosts_zone(tx, connection.host_id)
    known = {one.ref: one for one in await calendars.calendars_of(tx, connection.id)}
    there = {one.ref for one in found.calendars}
    for ref in known.keys() - there:
        await calendars.forget_calendar(tx, known[ref].id)
        await calendar_watches.wish(tx, known[ref])
    blocks = first or _lost({ref for ref, one in known.items() if one.blocking}, there)
    receives = first or _lost({ref for ref, one in known.items() if one.destination}, there)
    for position, one in enumerate(found.calendars):
        before = known.get(one.ref)
        blocking = (blocks and position < CALENDARS_MAX) or (before is not None and before.blocking)
        destination = receives and one.writable
        receives = receives and not destination
        if before is not None:
            await _as_listed(tx, before, one, zone, None)
            destination = destination or before.destination
            if (blocking, destination) != (before.blocking, before.destination):
                await calendars.set_roles(tx, before.id, blocking=blocking, destination=destination)
            continue
        await calendars.insert_calendar(
            tx,
            Calendar(
                id=ids.make("cal"),
                account_id=connection.account_id,
                connection_id=connection.id,
                host_id=connection.host_id,
                ref=one.ref,
                name=one.name,
                time_zone=_zone_of(one, zone),
                writable=one.writable,
                blocking=blocking,
                destination=destination,
                token=None,
                whole_at=None,
                read_at=None,
                notes=(),
            ),
        )


def _lost(before: set[str], there: set[str]) -> bool:
    """There were some, and none of them is left."""
    return bool(before) and not before & there


async def _attend(tx: Tx, connection: Connection, now: datetime) -> None:
    """Read what is in use, and write there what stands already."""
    await calendars.mark_host(tx, connection.host_id)
    await jobs.enqueue(
        tx, connection.account_id, "renew_access", connection.id, due=now + RENEWED_FIRST_AFTER
    )
    for calendar in await calendars.calendars_of(tx, connection.id):
        if calendar.in_use:
            await jobs.enqueue(tx, connection.account_id, "sync_calendar", calendar.id, due=now)
        else:
            await calendar_watches.wish(tx, calendar)
    await adopt(tx, connection.host_id, now)
    reservations.announce_host(tx, connection.host_id)


async def adopt(tx: Tx, host_id: str, now: datetime) -> None:
    """Whatever has time of this host ahead is a matter for its calendars from now on; their lock comes host first."""
    for account_id, reservation_id in await calendar_events.to_adopt(tx, host_id):
        reservation = await reservations.lock(tx, reservation_id)
        assert reservation is not None
        if not reservation.in_calendars:
            event_type = await catalog.event_type_by_id(tx, reservation.event_type_id)
            assert event_type is not None
            asked = status_at(reservation, now) is Status.HELD
            check = event_type.rules.calendar_check if asked else CalendarCheck.LOCAL
            await reservations.save(tx, unasked(reservation, check, now))
        await jobs.enqueue(tx, account_id, "calendars", reservation_id, due=now)


async def change(tx: Tx, account_id: str, connection_id: str, roles: Roles) -> Connection | Refusal:
    guess = await calendars.load_connection(tx, connection_id)
    if guess is None or guess.account_id != account_id:
        return no_such_connection()
    await reservations.lock_hosts(tx, [guess.host_id])
    connection = await calendars.lock_connection(tx, connection_id)
    if connection is None:
        return no_such_connection()
    known = {one.id: one for one in await calendars.calendars_of(tx, connection_id)}
    if (refusal := _refusal_of(roles, known)) is not None:
        return refusal
    changed = replace(
        connection,
        when_broken=roles.when_broken or connection.when_broken,
        when_moved=roles.when_moved or connection.when_moved,
        when_deleted=roles.when_deleted or connection.when_deleted,
    )
    await calendars.save_connection(tx, changed)
    # The one that receives no longer comes first: there is never more than one.
    for one in sorted(known.values(), key=lambda one: one.id == roles.destination):
        blocking = one.blocking if roles.blocking is None else one.id in roles.blocking
        destination = one.destination if roles.destination is None else one.id == roles.destination
        if (blocking, destination) != (one.blocking, one.destination):
            await calendars.set_roles(tx, one.id, blocking=blocking, destination=destination)
    await calendar_health.apply_closure(tx, changed, broken=changed.status is ConnectionStatus.BROKEN)
    await _attend(tx, changed, await tx.now())
    return changed


def _refusal_of(roles: Roles, known: dict[str, Calendar]) -> Refusal | None:
    for named in roles.blocking or ():
        if named not in known:
            return invalid("blocking", f"{named} is not a calendar of this connection")
    if roles.destination:
        if roles.destination not in known:
            return invalid("destination", "is not a calendar of this connection")
        if not known[roles.destination].writable:
            return invalid("destination", "cannot be written to")
    return None


def left_out(known: Sequence[Calendar]) -> str | None:
    """In words, how many calendars of an account are not asked because there are so many; None: none is."""
    asked = sum(one.blocking for one in known)
    if asked != CALENDARS_MAX or len(known) == CALENDARS_MAX:
        return None
    more = len(known) - CALENDARS_MAX
    return f"{more} more calendars do not block: {CALENDARS_MAX} at most do without being chosen; name them in `blocking`"


class ToRenew(msgspec.Struct, frozen=True):
    """`in_use`: one of its calendars is asked, or receives."""

    connection: Connection
    in_use: bool
    now: datetime


async def to_renew(tx: Tx, connection_id: str) -> ToRenew | None:
    """None: nobody is let in there (any more)."""
    connection = await calendars.load_connection(tx, connection_id)
    if connection is None or connection.status is ConnectionStatus.PENDING:
        return None
    in_use = any(one.in_use for one in await calendars.calendars_of(tx, connection_id))
    return ToRenew(connection, in_use, await tx.now())


async def disconnect(tx: Tx, account_id: str, connection_id: str) -> Refusal | None:
    """It is asked no more; what we wrote there is taken away while its credentials last."""
    guess = await calendars.load_connection(tx, connection_id)
    if guess is None or guess.account_id != account_id:
        return no_such_connection()
    await reservations.lock_hosts(tx, [guess.host_id])
    connection = await calendars.lock_connection(tx, connection_id)
    if connection is None:
        return no_such_connection()
    for calendar in await calendars.calendars_of(tx, connection_id):
        await calendar_watches.wish(tx, calendar)
    await calendars.delete_connection(tx, connection_id)
    await calendars.mark_host(tx, connection.host_id)
    now = await tx.now()
    await jobs.enqueue(tx, account_id, "renew_access", connection_id, due=now)
    for account, reservation_id in await calendar_events.to_adopt(tx, connection.host_id):
        await jobs.enqueue(tx, account, "calendars", reservation_id, due=now)
    reservations.announce_host(tx, connection.host_id)
    return None


def no_such_connection() -> Refusal:
    return Refusal(Code.CALENDAR_CONNECTION_NOT_FOUND, "There is no such calendar connection.")
