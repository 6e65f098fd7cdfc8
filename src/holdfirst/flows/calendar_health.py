# SPDX-License-Identifier: Apache-2.0
"""Whether a calendar connection works, and what follows where it does not: its host is closed, and is told."""

from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from holdfirst.flows.outcome import tell_host
from holdfirst.store import calendar_access, calendars, jobs, reservations
from holdfirst.store.calendars import Calendar, Connection, ConnectionStatus, WhenBroken
from holdfirst.store.database import Tx

UNREACHABLE_MAX = timedelta(minutes=15)
"""How old what we know may be before nobody can say what is free."""
SAID_EVERY = timedelta(seconds=20)
"""That a connection works is written down no more often."""
BROKEN_AGAIN = timedelta(minutes=5)
"""When to try again what does not work until somebody mends it."""
ALL_TIME = (datetime(1970, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))


async def answered(tx: Tx, calendar: Calendar) -> None:
    """It was read as it should be: what was broken works again, unless another calendar in use is still not to be read."""
    connection = await calendars.lock_connection(tx, calendar.connection_id)
    if connection is None or connection.status is ConnectionStatus.PENDING:
        return
    now = await tx.now()
    fresh = connection.answered_at is not None and now - connection.answered_at < SAID_EVERY
    well = connection.problem is None and calendar.read_problem is None
    if well and fresh:
        return
    if not well and (others := await _still_not_read(tx, calendar, now)):
        problems = [one.read_problem for one in others]
        if connection.problem not in problems:
            await calendars.save_connection(tx, replace(connection, problem=problems[0]))
        return
    await calendars.save_connection(
        tx,
        replace(
            connection,
            status=ConnectionStatus.ACTIVE,
            problem=None,
            problem_since=None,
            answered_at=now,
        ),
    )
    if connection.status is ConnectionStatus.BROKEN:
        await calendars.open_host(tx, connection)
        reservations.announce_host(tx, connection.host_id)


async def _still_not_read(tx: Tx, calendar: Calendar, now: datetime) -> list[Calendar]:
    """The account's other calendars in use of which the last reading failed. What kept this one from being read may be over for
    them as well: they need not wait for their next try.
    """
    known = await calendars.calendars_of(tx, calendar.connection_id)
    others = [one for one in known if one.id != calendar.id and one.in_use and one.read_problem is not None]
    if any(one.id == calendar.id and one.read_problem is not None for one in known):
        await calendar_access.note_reading(tx, calendar.id, None)
        for one in others:
            await jobs.enqueue(tx, one.account_id, "sync_calendar", one.id, due=now)
    return others


async def denied(tx: Tx, connection_id: str, reason: str) -> None:
    """It does not let us in. Asking again does not mend that."""
    connection = await calendars.lock_connection(tx, connection_id)
    if connection is not None and connection.status is not ConnectionStatus.PENDING:
        await _broken(tx, connection, reason)


async def unreadable(tx: Tx, calendar: Calendar, reason: str) -> None:
    """The account lets us in, and this calendar is not to be read: nobody can say what is free, whatever the others say."""
    await denied(tx, calendar.connection_id, reason)
    await calendar_access.note_reading(tx, calendar.id, reason)


async def unreachable(tx: Tx, calendar: Calendar, reason: str) -> None:
    """It does not answer, or nobody can make out what it says; what the account's others say is no word on that. For a while it
    is nothing; then what we know is too old to sell by.
    """
    connection = await calendars.lock_connection(tx, calendar.connection_id)
    if connection is None or connection.status is ConnectionStatus.PENDING:
        return
    await calendar_access.note_reading(tx, calendar.id, reason)
    if connection.status is ConnectionStatus.BROKEN:
        return
    now = await tx.now()
    last = connection.answered_at or connection.created_at
    if now - last > UNREACHABLE_MAX:
        await _broken(tx, connection, reason)
    elif connection.problem != reason:
        since = connection.problem_since or now
        await calendars.save_connection(tx, replace(connection, problem=reason, problem_since=since))


async def _broken(tx: Tx, connection: Connection, reason: str) -> None:
    now = await tx.now()
    await calendars.save_connection(
        tx,
        replace(
            connection,
            status=ConnectionStatus.BROKEN,
            problem=reason,
            problem_since=connection.problem_since or now,
        ),
    )
    await apply_closure(tx, connection, broken=True)
    if connection.status is not ConnectionStatus.BROKEN:
        await tell_host(tx, connection.account_id, connection.id, now)


async def apply_closure(tx: Tx, connection: Connection, *, broken: bool) -> None:
    """Nothing of the host's is free while a connection is broken, unless the account said otherwise."""
    if broken and connection.when_broken is WhenBroken.CLOSE:
        await calendars.close_host(tx, connection, *ALL_TIME)
    else:
        await calendars.open_host(tx, connection)
    reservations.announce_host(tx, connection.host_id)
