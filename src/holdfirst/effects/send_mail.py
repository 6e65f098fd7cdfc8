# SPDX-License-Identifier: Apache-2.0
"""Tell the customer what became of a reservation, in their language. Plain text; the same Message-ID for the same news."""

from datetime import datetime
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTPUTF8
from email.utils import format_datetime, parseaddr

import msgspec

from holdfirst.effects.world import World
from holdfirst.errors import ConfigurationError
from holdfirst.flows.outcome import Mail
from holdfirst.language.words import Words, words_in
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
    # A move is told by its number: what follows is no payment's id then.
    payment_id = about[0] if about and what != Mail.MOVED else None
    letter = await world.database.run(_read, reservation_id, payment_id)
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
    words = words_in(reservation.customer.get("locale") or "")
    subject, lines = _told(words, letter, mail, manage)
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


def _told(words: Words, letter: Letter, mail: Mail, manage: str) -> tuple[str, list[str]]:
    """Subject and text."""
    title = letter.event_type.rules.name
    zone = _zone(letter)
    what = words.say("mail_what", title=title, when=words.moment(letter.reservation.start, zone))
    name = str(letter.reservation.customer.get("name") or "").strip()
    hello = words.say("mail_hello", name=name) if name else words.say("mail_hello_nobody")
    about = ["", *(f"  {line}" for line in _about(words, letter, zone)), ""]
    subject = words.say(f"mail_{mail}_subject", title=title, what=what)
    return subject, [hello, "", words.say(f"mail_{mail}"), *about, *_below(words, letter, mail, manage)]


def _below(words: Words, letter: Letter, mail: Mail, manage: str) -> list[str]:
    """What there is to do, or what becomes of the money."""
    amount = words.money(letter.payment.amount) if letter.payment else ""
    to_manage = [words.say("mail_manage"), manage]
    match mail:
        case Mail.CONFIRMED:
            return [*([words.say("mail_paid", amount=amount), ""] if letter.payment else []), *to_manage]
        case Mail.MOVED:
            return to_manage
        case Mail.CANCELLED:
            return _given_back(words, letter.payment)
        case Mail.LATE_NOT_CHARGED:
            return [words.say("mail_late_released", amount=amount)]
        case Mail.LATE_REFUNDED:
            return [words.say("mail_late_refund", amount=amount)]


def _about(words: Words, letter: Letter, zone: str) -> list[str]:
    """What, when, where, with whom; a line each. The zone is always named."""
    start = letter.reservation.start
    place = letter.event_type.rules.location
    where = place.value.splitlines() if place is not None and place.value else []
    host = [words.say("mail_host", host=letter.host.name)] if letter.host else []
    title = letter.event_type.rules.name
    return [title, words.moment(start, zone), words.zone(start, zone), *host, *where]


def _given_back(words: Words, payment: Payment | None) -> list[str]:
    if payment is None or not (minor := payment.refund_due_minor + payment.refunded_minor):
        return []
    amount = msgspec.structs.replace(payment.amount, amount_minor=minor)
    return [words.say("mail_refund", amount=words.money(amount))]


def _zone(letter: Letter) -> str:
    """The customer's, or the host's."""
    return str(
        letter.reservation.customer.get("time_zone") or (letter.host.time_zone if letter.host else "UTC")
    )
