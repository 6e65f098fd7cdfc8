# SPDX-License-Identifier: Apache-2.0
"""Tell a host that a calendar of theirs cannot be read any more."""

from email.message import EmailMessage
from email.policy import SMTPUTF8
from email.utils import format_datetime

from holdfirst.effects.send_mail import sender
from holdfirst.effects.world import World
from holdfirst.reservation.event_type import Host
from holdfirst.store import calendars, catalog
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
    message = EmailMessage(policy=SMTPUTF8)
    since = int(connection.problem_since.timestamp() * 1000)
    message["Message-ID"] = f"<{connection.id}.broken.{since}@holdfirst>"
    message["Date"] = format_datetime(connection.problem_since)
    message["From"] = sender(world.mail_from)
    message["To"] = email
    message["Subject"] = "Your calendar can no longer be read"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(
        f"Hello {host.name},\n\nyour {connection.provider} calendar does not let us in any more:\n\n"
        f"  {connection.problem}\n\n{closed}\nConnect it again, or give it a new password.\n"
    )
    return message
