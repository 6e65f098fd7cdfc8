# SPDX-License-Identifier: Apache-2.0
"""Tell a host that a calendar of theirs cannot be read any more, or what we make of what they did in one."""

from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTPUTF8
from email.utils import format_datetime

import msgspec

from holdfirst.effects.send_mail import sender
from holdfirst.effects.world import World
from holdfirst.language.words import words_in
from holdfirst.reservation.event_type import EventType, Host
from holdfirst.reservation.reservation import Reservation, Status, status_at
from holdfirst.store import calendar_events, calendars, catalog, reservations
from holdfirst.store.calendars import Connection, ConnectionStatus, WhenBroken
from holdfirst.store.database import Tx


async def tell_host(world: World, connection_id: str) -> None:
    """Once for each time that it broke; nothing, where it works again by now."""
    found = await world.database.run(_read, connection_id)
    if found is None:
        return
    connection, host = found
    if connection.status is not ConnectionStatus.BROKEN or host is None or not host.email:
        return
    await world.mail.send(_letter(world, connection, host, host.email))


async def _read(tx: Tx, connection_id: str) -> tuple[Connection, Host | None] | None:
    connection = await calendars.load_connection(tx, connection_id)
    if connection is None:
        return None
    return connection, await catalog.load_host(tx, connection.account_id, connection.host_id)


def _letter(world: World, connection: Connection, host: Host, email: str) -> EmailMessage:
    assert connection.problem_since is not None
    closed = (
        "Until it can be read again, nobody can book you: nothing would say what else you have then."
        if connection.when_broken is WhenBroken.CLOSE
        else "Bookings go on without asking it, as was chosen for this connection."
    )
    since = int(connection.problem_since.timestamp() * 1000)
    message = _message(world, email, f"{connection.id}.broken.{since}", connection.problem_since)
    message["Subject"] = "Your calendar can no longer be read"
    message.set_content(
        f"Hello {host.name},\n\nyour {connection.provider} calendar does not let us in any more:\n\n"
        f"  {connection.problem}\n\n{closed}\nConnect it again, or give it a new password.\n"
    )
    return message


def _message(world: World, email: str, message_id: str, date: datetime) -> EmailMessage:
    message = EmailMessage(policy=SMTPUTF8)
    message["Message-ID"] = f"<{message_id}@holdfirst>"
    message["Date"] = format_datetime(date)
    message["From"] = sender(world.mail_from)
    message["To"] = email
    message["Auto-Submitted"] = "auto-generated"
    return message


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """A booking whose event its host moved or deleted."""

    reservation: Reservation
    event_type: EventType
    host: Host
    now: datetime


async def tell_of_change(world: World, subject: str) -> None:
    """`subject`: reservation / calendar / what the host did / when we saw it. Nothing, where it is undone by now, or over."""
    reservation_id, calendar_id, what, _ = subject.split("/")
    changed = await world.database.run(_read_change, reservation_id, calendar_id, what)
    if changed is not None and changed.host.email:
        message = _message(world, changed.host.email, subject.replace("/", "."), changed.now)
        _tell(message, changed, what)
        await world.mail.send(message)


async def _read_change(tx: Tx, reservation_id: str, calendar_id: str, what: str) -> Changed | None:
    reservation = await reservations.load(tx, reservation_id)
    found = await calendars.load_calendar(tx, calendar_id)
    assert reservation is not None and found is not None
    event_type = await catalog.event_type_by_id(tx, reservation.event_type_id)
    assert event_type is not None
    host = await catalog.load_host(tx, reservation.account_id, found[0].host_id)
    stands = await calendar_events.changed_by_host(tx, reservation_id) == what
    now = await tx.now()
    if host is None or not stands or status_at(reservation, now) is not Status.CONFIRMED:
        return None
    return Changed(reservation=reservation, event_type=event_type, host=host, now=now)


def _tell(message: EmailMessage, changed: Changed, what: str) -> None:
    reservation, host = changed.reservation, changed.host
    words = words_in("en")
    message["Subject"] = f"A booking was {what} in your calendar, and is still booked"
    when = (
        f"{words.moment(reservation.start, host.time_zone)}, {words.zone(reservation.start, host.time_zone)}"
    )
    with_whom = str(reservation.customer.get("name") or "").strip()
    about = [changed.event_type.rules.name, when, *([with_whom] if with_whom else [])]
    lines = "\n".join(f"  {' '.join(line.split())}" for line in about)
    message.set_content(
        f"Hello {host.name},\n\nthe event of this booking was {what} in your calendar:\n\n{lines}\n\n"
        "The booking has not changed: your customer expects you at that time, and has been told nothing.\n"
        "Move or cancel the booking itself, or put the event back.\n"
    )
