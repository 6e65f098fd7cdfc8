# SPDX-License-Identifier: Apache-2.0
"""A schedule: weekly hours, overrides and holidays, in local time. The form on the wire and in the database.

Rules only. Which instants they mean in a zone is `windows.py`'s business. Hours of a date are minutes after that
date's local midnight; the end may reach into the next date (up to 2880).
"""

import re
from collections.abc import Iterator
from datetime import date
from functools import lru_cache
from typing import NamedTuple

import msgspec

from holdfirst.interval import Interval, merge

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES = 1440
TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])|(24):(00)")
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
COUNTRY = re.compile(r"([A-Z]{2})(?:-([A-Z0-9]{1,3}))?")


class LocalInterval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Local wall times `HH:MM`, the end `24:00` at most; an end before its start is on the next day."""

    start: str
    end: str


class WeeklyHours(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The same hours on some days of every week."""

    days: tuple[str, ...]
    start: str
    end: str


class Override(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Other hours on one date, in place of all that would start on it; none: closed."""

    date: str
    intervals: tuple[LocalInterval, ...] = ()


class Schedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, cache_hash=True):
    """When somebody is open. Empty: never.

    `holidays` is an ISO 3166 country or subdivision (`CZ`, `US-CA`): its public holidays are closed, unless an
    override says otherwise.
    """

    weekly: tuple[WeeklyHours, ...] = ()
    overrides: tuple[Override, ...] = ()
    holidays: str | None = None


def problems(schedule: Schedule) -> list[tuple[str, str]]:
    """Every fault, as (path, message), such as `("weekly[0].end", "…")`; empty: fit to be stored."""
    return [*_weekly_problems(schedule), *_override_problems(schedule), *_holiday_problems(schedule)]


def hours_on(schedule: Schedule, day: int) -> tuple[Interval, ...]:
    """The hours that start on a date (a proleptic ordinal), merged, in minutes after its midnight."""
    rules = _compiled(schedule)
    override = rules.overrides.get(day)
    if override is not None:
        return override
    if schedule.holidays is not None and day in _public_holidays(schedule.holidays, _year(day)):
        return ()
    return rules.weekly[(day - 1) % 7]


def exceptional_days(schedule: Schedule) -> list[int]:
    """The ordinals of the dates with an override, sorted."""
    return sorted(_compiled(schedule).overrides)


def is_endless(schedule: Schedule) -> bool:
    """Whether the weekly hours leave no minute of the week out, and no holiday interrupts them."""
    return schedule.holidays is None and _compiled(schedule).endless


class _Compiled(NamedTuple):
    weekly: tuple[tuple[Interval, ...], ...]  # seven, Monday first
    overrides: dict[int, tuple[Interval, ...]]
    endless: bool


@lru_cache(maxsize=4096)
def _compiled(schedule: Schedule) -> _Compiled:
    weekly = tuple(
        tuple(merge(_minutes(hours.start, hours.end) for hours in schedule.weekly if name in hours.days))
        for name in DAYS
    )
    overrides = {
        date.fromisoformat(override.date).toordinal(): tuple(
            merge(_minutes(interval.start, interval.end) for interval in override.intervals)
        )
        for override in schedule.overrides
    }
    # Two weeks in a row, so that Sunday night's hours are seen to reach into Monday.
    fortnight = merge(
        (start + DAY_MINUTES * day, end + DAY_MINUTES * day)
        for day in range(14)
        for start, end in weekly[day % 7]
    )
    endless = len(fortnight) == 1 and fortnight[0][0] < DAY_MINUTES and fortnight[0][1] >= 14 * DAY_MINUTES
    return _Compiled(weekly, overrides, endless)


def _minutes(start: str, end: str) -> Interval:
    first, last = _minute(start), _minute(end)
    assert first is not None, start
    assert last is not None, end
    return (first, last if first < last else last + DAY_MINUTES)


def _minute(text: str) -> int | None:
    match = TIME.fullmatch(text)
    return None if match is None else int(text[:2]) * 60 + int(text[3:])


def _year(day: int) -> int:
    return date.fromordinal(day).year


@lru_cache(maxsize=4096)
def _public_holidays(code: str, year: int) -> frozenset[int]:
    from holidays import country_holidays  # noqa: PLC0415 - heavy, and most schedules have none

    country, _, subdivision = code.partition("-")
    return frozenset(
        day.toordinal() for day in country_holidays(country, subdiv=subdivision or None, years=year)
    )


def _weekly_problems(schedule: Schedule) -> Iterator[tuple[str, str]]:
    for index, hours in enumerate(schedule.weekly):
        for position, name in enumerate(hours.days):
            if name not in DAYS:
                yield f"weekly[{index}].days[{position}]", f"must be one of {', '.join(DAYS)}"
        yield from _time_problems(f"weekly[{index}]", hours.start, hours.end)


def _override_problems(schedule: Schedule) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for index, override in enumerate(schedule.overrides):
        path = f"overrides[{index}]"
        if not _is_date(override.date):
            yield f"{path}.date", "must be a date such as 2026-12-24"
        elif override.date in seen:
            yield f"{path}.date", "has an override already"
        seen.add(override.date)
        for position, interval in enumerate(override.intervals):
            yield from _time_problems(f"{path}.intervals[{position}]", interval.start, interval.end)


def _time_problems(path: str, start: str, end: str) -> Iterator[tuple[str, str]]:
    first, last = _minute(start), _minute(end)
    if first is None or first == DAY_MINUTES:
        yield f"{path}.start", "must be a time such as 09:00, from 00:00 to 23:59"
    if last is None:
        yield f"{path}.end", "must be a time such as 17:00, from 00:00 to 24:00"
    elif first == last:
        yield f"{path}.end", "must differ from the start; a whole day is 00:00 to 24:00"


def _is_date(text: str) -> bool:
    if DATE.fullmatch(text) is None:
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _holiday_problems(schedule: Schedule) -> Iterator[tuple[str, str]]:
    if schedule.holidays is None:
        return
    from holidays import list_supported_countries  # noqa: PLC0415 - heavy, and most schedules have none

    subdivisions = list_supported_countries(include_aliases=False)
    match = COUNTRY.fullmatch(schedule.holidays)
    if match is None or match[1] not in subdivisions:
        yield "holidays", "must be an ISO 3166 country such as CZ, or a part of one such as US-CA"
    elif match[2] is not None and match[2] not in subdivisions[match[1]]:
        yield "holidays", f"{match[1]} has no part {match[2]} with holidays of its own"
