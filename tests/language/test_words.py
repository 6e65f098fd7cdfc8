# SPDX-License-Identifier: Apache-2.0
"""What customers read of ours: every sentence in every language, and the same words as on the booking page."""

import json
import re
import string
from datetime import UTC, datetime
from pathlib import Path

import pytest

from holdfirst.flows.outcome import Mail
from holdfirst.language.words import LANGUAGES, RIGHT_TO_LEFT, language_of, sentences, words_in
from holdfirst.payment.money import Money

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "packages" / "vue3" / "src" / "messages"
SOURCE = ROOT / "src" / "holdfirst"
MONDAY = datetime(2026, 12, 7, 9, 0, tzinfo=UTC)
# What German and English, Spanish and Portuguese … happen to say alike.
ALIKE = {"mail_host", "mail_what"}


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_mail_and_pages_speak_the_same_languages() -> None:
    assert set(LANGUAGES) == {path.stem for path in PAGES.glob("*.json")}
    folder = SOURCE / "language" / "sentences"
    assert set(LANGUAGES) == {path.stem for path in folder.glob("*.json")}
    in_the_browser = (ROOT / "packages" / "vue3" / "src" / "core" / "languages.ts").read_text()
    for language in RIGHT_TO_LEFT:
        assert f'"{language}"' in in_the_browser


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_is_missing(language: str) -> None:
    here, reference = sentences(language), sentences("en")
    assert list(here) == list(reference)
    for key, text in reference.items():
        assert placeholders(here[key]) == placeholders(text), key
        assert here[key].strip() == here[key] != "", key
    if language != "en":
        assert [key for key in here if here[key] == reference[key] and key not in ALIKE] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_both_say_is_said_the_same(language: str) -> None:
    pages = json.loads((PAGES / f"{language}.json").read_text())
    here = sentences(language)
    both = pages.keys() & here.keys()
    assert len(both) >= 14
    assert {key: here[key] for key in both} == {key: pages[key] for key in both}


def test_every_sentence_is_said_somewhere() -> None:
    text = "".join(path.read_text() for path in SOURCE.rglob("*.py"))
    said = set(re.findall(r'"([a-z_]+)"', text)) | set(re.findall(r"'([a-z_]+)'", text))
    said |= {f"mail_{mail}{end}" for mail in Mail for end in ("", "_subject")}
    said |= {f"{title}_text" for title in said}
    said |= {f"money_{what}" for what in said}
    assert sorted(sentences("en").keys() - said) == []


@pytest.mark.parametrize(
    ("tag", "moment", "zone", "money"),
    [
        ("", "Monday, 7 December 2026, 10:00", "Prague (Central European Standard Time)", "€1,234.56"),
        ("en-US", "Monday, December 7, 2026, 10:00 AM", "Prague (Central European Standard Time)", "€1,234.56"),
        ("de", "Montag, 7. Dezember 2026, 10:00", "Prag (Mitteleuropäische Normalzeit)", "1.234,56\xa0€"),
        ("de-AT", "Montag, 7. Dezember 2026, 10:00", "Prag (Mitteleuropäische Normalzeit)", "€\xa01.234,56"),
        ("cs-CZ", "pondělí 7. prosince 2026 10:00", "Praha (středoevropský standardní čas)", "1\xa0234,56\xa0€"),
        ("fr", "lundi 7 décembre 2026, 10:00", "Prague (heure normale d’Europe centrale)", "1 234,56\xa0€"),
        ("ja", "2026年12月7日月曜日 10:00", "プラハ (中央ヨーロッパ標準時)", "€1,234.56"),
        ("ar", "الاثنين، 7 ديسمبر 2026، 10:00 ص", "براغ (توقيت وسط أوروبا الرسمي)", "\u200f1,234.56\xa0€"),
    ],
)  # fmt: skip
def test_dates_zones_and_money(tag: str, moment: str, zone: str, money: str) -> None:
    words = words_in(tag)
    assert words.moment(MONDAY, "Europe/Prague") == moment
    assert words.zone(MONDAY, "Europe/Prague") == zone
    assert words.money(Money(123456, "EUR")) == money


def test_minor_units_are_those_of_iso_4217() -> None:
    """CLDR writes some currencies as their cash is rounded."""
    words = words_in("en")
    assert words.money(Money(6000, "JPY")).endswith("6,000")
    assert words.money(Money(6000, "KWD")).endswith("6.000")
    assert words.money(Money(6000, "IQD")).endswith("6.000")
    assert words.money(Money(6000, "COP")).endswith("60.00")


@pytest.mark.parametrize(
    ("tag", "language"),
    [
        ("de-AT", "de"),
        ("PT_br", "pt"),
        ("zh-Hant-TW", None),
        ("", None),
        ("deutsch", None),
        ("en-../../x", "en"),
        ("ar-EG-u-nu-latn", "ar"),
    ],
)
def test_tags_of_all_kinds_are_read(tag: str, language: str | None) -> None:
    assert language_of(tag) == language
    assert words_in(tag).language == (language or "en")


def test_every_zone_of_the_database_has_a_name() -> None:
    for zone in ("UTC", "GMT", "Etc/GMT+5", "America/Argentina/Buenos_Aires", "Asia/Kolkata", "EST5EDT"):
        for language in LANGUAGES:
            assert words_in(language).zone(MONDAY, zone)
            assert words_in(language).moment(MONDAY, zone)
