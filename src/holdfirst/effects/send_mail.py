# SPDX-License-Identifier: Apache-2.0
"""Tell the customer what became of a reservation. Plain text; the same Message-ID for the same news."""

from datetime import datetime
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTPUTF8
from email.utils import format_datetime, parseaddr
from zoneinfo import ZoneInfo

import msgspec

from holdfirst.effects.world import World
from holdfirst.errors import ConfigurationError
from holdfirst.flows.outcome import Mail
from holdfirst.payment.payment import Payment
from holdfirst.reservation.event_type import EventType, Host
from holdfirst.reservation.reservation import Reservation
from holdfirst.store import catalog, payments, reservations
from holdfirst.store.database import Tx


class Letter(msgspec.Struct, frozen=True):
    """Everything that a mail may say, read in one transaction."""

    reservation: Reservation
    event_type: EventType
    host: Host | None
    payment: Payment | None
    now: datetime


async def send_mail(world: World, subject: str) -> None:
    """`subject`: reservation id / which mail [/ payment id]. Raises `ProviderUnavailable` to be tried again."""
    reservation_id, what, *about = subject.split("/")
    letter = await world.database.run(_read, reservation_id, about[0] if about else None)
    email = letter.reservation.customer.get("email")
    if not email:
        return
    await world.mail.send(compose(world, letter, Mail(what), f"{subject.replace('/', '.')}@holdfirst", email))


async def _read(tx: Tx, reservation_id: str, payment_id: str | None) -> Letter:
    reservation = await reservations.load(tx, reservation_id)
    assert reservation is not None
    event_type = await catalog.event_type_by_id(tx, reservation.event_type_id)
    assert event_type is not None
    host = await catalog.load_host(tx, reservation.account_id, reservation.hosts[0])
    payment = await payments.load(tx, payment_id or reservation.paid_by or "")
    return Letter(reservation, event_type, host, payment, await tx.now())


def sender(mail_from: str) -> Address:
    """Raises `ConfigurationError` where mail could not be sent under this name."""
    name, address = parseaddr(mail_from)
    try:
        return Address(name, addr_spec=address)
    except (HeaderParseError, ValueError, IndexError) as error:
        raise ConfigurationError(
            "HOLDFIRST_MAIL_FROM must look like: Practice <bookings@example.org>"
        ) from error


def compose(world: World, letter: Letter, mail: Mail, message_id: str, email: str) -> EmailMessage:
    reservation = letter.reservation
    secret = world.key_ring.client_secret(reservation.id, reservation.secret_version)
    manage = f"{world.public_url}/m/{reservation.id}#{secret}"
    subject, lines = _words(letter, mail, _when(letter), manage)
    message = EmailMessage(policy=SMTPUTF8)
    message["Message-ID"] = f"<{message_id}>"
    message["Date"] = format_datetime(letter.now)
    message["From"] = sender(world.mail_from)
    local, _, domain = email.rpartition("@")
    message["To"] = Address(_in_header(str(reservation.customer.get("name") or "")), local, domain)
    message["Subject"] = _in_header(subject)
    message["Auto-Submitted"] = "auto-generated"
    message.set_content("\n".join(lines) + "\n")
    return message


def _in_header(text: str) -> str:
    """One line, and no encoded words of its own.

    Python's `email` would decode those (RFC 2047), and a name could then bring line breaks, other recipients and
    a letter of its own.
    """
    return " ".join(text.replace("=?", "= ?").split())


def _words(letter: Letter, mail: Mail, when: str, manage: str) -> tuple[str, list[str]]:
    """Subject and text."""
    title = letter.event_type.rules.name
    what = f"{title}, {when}" + (f", with {letter.host.name}" if letter.host else "")
    hello = f"Hello {letter.reservation.customer.get('name') or ''}".rstrip() + ","
    amount = str(letter.payment.amount) if letter.payment else ""
    match mail:
        case Mail.CONFIRMED:
            paid = [f"Paid: {amount}"] if letter.payment else []
            body = ["your booking is confirmed:", "", f"  {what}", *paid, "", "To see or change it:", manage]
            return f"Confirmed: {title}, {when}", [hello, "", *body]
        case Mail.CANCELLED:
            due = letter.payment.refund_due_minor + letter.payment.refunded_minor if letter.payment else 0
            back = (
                [f"{_part(letter.payment, due)} is on its way back to you."] if letter.payment and due else []
            )
            return f"Cancelled: {title}, {when}", [
                hello,
                "",
                "this booking is cancelled:",
                "",
                f"  {what}",
                *back,
            ]
        case Mail.LATE_NOT_CHARGED:
            body = [
                "your payment arrived after the time we could keep for you, and somebody else has it now:",
                "",
                f"  {what}",
                "",
                f"You were not charged. If your bank shows {amount} as reserved, it lets it go by itself.",
            ]
            return f"Not booked, not charged: {title}", [hello, "", *body]
        case Mail.LATE_REFUNDED:
            body = [
                "your payment arrived after the time we could keep for you, and it could not be booked any more:",
                "",
                f"  {what}",
                "",
                f"We are giving {amount} back to you in full. Your bank may take some days to show it.",
            ]
            return f"Not booked, refunded: {title}", [hello, "", *body]


def _part(payment: Payment, minor: int) -> str:
    return str(msgspec.structs.replace(payment.amount, amount_minor=minor))


def _when(letter: Letter) -> str:
    """In the customer's zone, or the host's; the zone is always named."""
    zone = letter.reservation.customer.get("time_zone") or (letter.host.time_zone if letter.host else "UTC")
    local = letter.reservation.start.astimezone(ZoneInfo(zone))
    return f"{local:%A %-d %B %Y, %H:%M} ({zone})"
