# SPDX-License-Identifier: Apache-2.0
"""What customers read of ours in mail and on the pages made here, in the languages of the booking page.

The sentences lie in `sentences/`, a file a language; how dates, money and zones are written there is CLDR's, by Babel.
"""

import copy
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from functools import cache, lru_cache
from importlib import resources
from zoneinfo import ZoneInfo

import msgspec
from babel import Locale
from babel.dates import (
    format_date,
    format_time,
    get_datetime_format,
    get_timezone_location,
    get_timezone_name,
)
from babel.localedata import locale_identifiers

from holdfirst.payment.money import DECIMALS, Money

LANGUAGES = ("en", "de", "cs", "sk", "pl", "fr", "es", "it", "pt", "ja", "ar")
RIGHT_TO_LEFT = ("ar",)
# Which region's way of writing is meant where a tag names none, and CLDR's own choice is not it.
REGION = {"en": "en_GB", "pt": "pt_PT"}
# Mail programs of all ages show a plain space; some show these as boxes.
SPACES = str.maketrans({"\u202f": " ", "\u2009": " "})


class Words(msgspec.Struct, frozen=True):
    """One language, as one region writes it."""

    language: str
    locale: Locale
    sentences: Mapping[str, str]

    @property
    def direction(self) -> str:
        return "rtl" if self.language in RIGHT_TO_LEFT else "ltr"

    def say(self, key: str, **values: str) -> str:
        return self.sentences[key].format(**values)

    def money(self, amount: Money) -> str:
        # CLDR rounds some currencies as their cash is; the minor unit is ISO 4217's.
        decimals = DECIMALS.get(amount.currency, 2)
        pattern = copy.copy(self.locale.currency_formats["standard"])
        pattern.frac_prec = (decimals, decimals)
        value = Decimal(amount.amount_minor).scaleb(-decimals)
        written: str = pattern.apply(value, self.locale, currency=amount.currency, currency_digits=False)
        return written.translate(SPACES)

    def moment(self, instant: datetime, zone: str) -> str:
        """Day and time of day, without the zone."""
        local = instant.astimezone(ZoneInfo(zone))
        joined = str(get_datetime_format("medium", locale=self.locale)).replace("'", "")
        date = format_date(local.date(), "full", locale=self.locale)
        time = format_time(local.time(), "short", locale=self.locale)
        return joined.replace("{1}", date).replace("{0}", time).translate(SPACES)

    def zone(self, instant: datetime, zone: str) -> str:
        """`Prague (Central European Standard Time)`: where, and what it is called then."""
        local = instant.astimezone(ZoneInfo(zone))
        name = get_timezone_name(local, "long", locale=self.locale)
        if "/" not in zone:
            return name
        return f"{get_timezone_location(local, locale=self.locale, return_city=True)} ({name})"


def language_of(tag: str) -> str | None:
    """`de-AT` → `de`; None where it is none of ours."""
    language = tag.strip().lower().replace("_", "-").partition("-")[0]
    return language if language in LANGUAGES else None


@lru_cache(maxsize=256)
def words_in(tag: str) -> Words:
    """`tag` as in BCP 47; English for a language that we do not speak."""
    language = language_of(tag) or LANGUAGES[0]
    region = tag.strip().replace("_", "-").rpartition("-")[2].upper()
    written = f"{language}_{region}" if language_of(tag) else ""
    name = written if written in _known() else REGION.get(language, language)
    return Words(language, Locale.parse(name), sentences(language))


@cache
def sentences(language: str) -> dict[str, str]:
    text = (resources.files("holdfirst.language") / "sentences" / f"{language}.json").read_bytes()
    return msgspec.json.decode(text, type=dict[str, str])


@cache
def _known() -> frozenset[str]:
    return frozenset(locale_identifiers())
