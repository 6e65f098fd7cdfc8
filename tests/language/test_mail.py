# SPDX-License-Identifier: Apache-2.0
"""The mails, each in each language: who reads it finds what, when, in which zone, where, for how much; and one link."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from holdfirst.effects.send_mail import Letter, compose
from holdfirst.flows.outcome import Mail
from holdfirst.language.words import LANGUAGES, words_in
from holdfirst.payment.money import Money
from holdfirst.reservation.event_type import EventTypeRules, Location
from holdfirst.reservation.reservation import Reservation, Status

MONDAY = datetime(2026, 12, 7, 9, 0, tzinfo=UTC)
MANAGE = "https://book.example.org/m/res_1#hf_cs_1.x"
WORLD: Any = SimpleNamespace(
    key_ring=SimpleNamespace(client_secret=lambda *_: "hf_cs_1.x"),
    public_url="https://book.example.org",
    mail_from="Practice <bookings@example.org>",
)


def letter_of(**customer: str) -> Letter:
    reservation = Reservation(
        id="res_1",
        account_id="acc_1",
        livemode=False,
        event_type_id="ety_1",
        status=Status.CONFIRMED,
        start=MONDAY,
        end=MONDAY,
        buffer_before_minutes=0,
        buffer_after_minutes=0,
        hosts=["hst_1"],
        seats=1,
        held_until=MONDAY,
        hold_seconds=600,
        created_at=MONDAY,
        customer={"name": "Anna", "email": "anna@example.org", **customer},
    )
    rules = EventTypeRules(
        name="First consultation",
        hosts=["hst_1"],
        duration_minutes=50,
        location=Location("address", "Long Street 12\nSpringfield"),
    )
    event_type: Any = SimpleNamespace(rules=rules)
    host: Any = SimpleNamespace(name="Dr Example", time_zone="Europe/Prague")
    payment: Any = msgspec.defstruct(
        "Paid", [("amount", Money), ("refund_due_minor", int), ("refunded_minor", int)]
    )(Money(6000, "EUR"), 3000, 0)
    return Letter(reservation, event_type, host, payment, MONDAY)


def sent(mail: Mail, letter: Letter) -> tuple[str, str]:
    message = compose(WORLD, letter, mail, f"res_1.{mail}@holdfirst", "anna@example.org")
    return str(message["Subject"]), message.get_content()


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("mail", Mail)
def test_each_mail_in_each_language(mail: Mail, language: str) -> None:
    letter = letter_of(locale=language, time_zone="Asia/Tokyo")
    words = words_in(language)
    subject, text = sent(mail, letter)
    assert "First consultation" in subject
    lines = [line.strip() for line in text.splitlines()]
    assert words.say("mail_hello", name="Anna") == lines[0]
    when, zone = words.moment(MONDAY, "Asia/Tokyo"), words.zone(MONDAY, "Asia/Tokyo")
    assert "18:00" in when or language == "ar"
    at = lines.index("First consultation")
    host = words.say("mail_host", host="Dr Example")
    assert lines[at : at + 6] == ["First consultation", when, zone, host, "Long Street 12", "Springfield"]
    assert text.count("hf_cs_") == (1 if mail in (Mail.CONFIRMED, Mail.MOVED) else 0)
    assert "{" not in subject + text


def test_what_is_said_of_money() -> None:
    letter = letter_of()
    assert "Paid: €60.00" in sent(Mail.CONFIRMED, letter)[1]
    assert "€30.00 is on its way back to you." in sent(Mail.CANCELLED, letter)[1]
    assert "€60.00" in sent(Mail.LATE_NOT_CHARGED, letter)[1]
    assert "€60.00 back to you in full" in sent(Mail.LATE_REFUNDED, letter)[1]
    free = msgspec.structs.replace(letter, payment=None)
    assert "Paid" not in sent(Mail.CONFIRMED, free)[1]
    assert "back to you" not in sent(Mail.CANCELLED, free)[1]


def test_the_link_stands_on_a_line_of_its_own() -> None:
    for language in LANGUAGES:
        assert MANAGE in sent(Mail.CONFIRMED, letter_of(locale=language))[1].splitlines()


def test_who_said_no_language_is_told_in_english_and_in_the_hosts_zone() -> None:
    subject, text = sent(Mail.CONFIRMED, letter_of())
    assert subject == "Confirmed: First consultation, Monday, 7 December 2026, 10:00"
    assert "Prague (Central European Standard Time)" in text
