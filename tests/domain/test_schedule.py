# SPDX-License-Identifier: Apache-2.0
from datetime import date

import msgspec
import pytest

from holdfirst.availability.schedule import Schedule, hours_on, is_endless, problems


def schedule(**fields):
    return msgspec.convert(fields, Schedule)


def weekly(*hours):
    return schedule(weekly=[{"days": days.split(), "start": start, "end": end} for days, start, end in hours])


def hours(of, day):
    return hours_on(of, date.fromisoformat(day).toordinal())


def test_the_form_on_the_wire():
    wire = (
        b'{"weekly":[{"days":["mon","tue"],"start":"09:00","end":"17:00"}],'
        b'"overrides":[{"date":"2026-12-24","intervals":[]}],"holidays":"CZ"}'
    )
    assert msgspec.json.encode(msgspec.json.decode(wire, type=Schedule)) == wire
    assert msgspec.json.decode(b"{}", type=Schedule) == Schedule()
    for unknown in (b'{"week":[]}', b'{"weekly":[{"days":[],"start":"1","end":"2","x":1}]}'):
        with pytest.raises(msgspec.ValidationError, match="unknown field"):
            msgspec.json.decode(unknown, type=Schedule)


@pytest.mark.parametrize(
    ("fields", "paths"),
    [
        ({}, []),
        ({"weekly": [{"days": ["mon"], "start": "00:00", "end": "24:00"}]}, []),
        ({"weekly": [{"days": ["mon"], "start": "22:00", "end": "02:00"}]}, []),
        ({"weekly": [{"days": ["mon"], "start": "22:00", "end": "00:00"}]}, []),
        ({"weekly": [{"days": ["mon", "Tue", ""], "start": "09:00", "end": "17:00"}]}, ["weekly[0].days[1]", "weekly[0].days[2]"]),
        ({"weekly": [{"days": [], "start": "9:00", "end": "17:0"}]}, ["weekly[0].start", "weekly[0].end"]),
        ({"weekly": [{"days": [], "start": "24:00", "end": "24:01"}]}, ["weekly[0].start", "weekly[0].end"]),
        ({"weekly": [{"days": [], "start": "09:60", "end": "٠٩:٠٠"}]}, ["weekly[0].start", "weekly[0].end"]),
        ({"weekly": [{"days": [], "start": "09:00\n", "end": "09:00"}]}, ["weekly[0].start"]),
        ({"weekly": [{"days": [], "start": "09:00", "end": "09:00"}]}, ["weekly[0].end"]),
        ({"weekly": [{"days": [], "start": "00:00", "end": "00:00"}]}, ["weekly[0].end"]),
        ({"overrides": [{"date": "2026-02-29"}, {"date": "20260228"}, {"date": "2026-W01-1"}]}, ["overrides[0].date", "overrides[1].date", "overrides[2].date"]),
        ({"overrides": [{"date": "2026-12-24"}, {"date": "2026-12-24"}]}, ["overrides[1].date"]),
        ({"overrides": [{"date": "2026-12-24", "intervals": [{"start": "x", "end": ""}]}]}, ["overrides[0].intervals[0].start", "overrides[0].intervals[0].end"]),
        ({"holidays": "CZ"}, []),
        ({"holidays": "US-CA"}, []),
        ({"holidays": "XX"}, ["holidays"]),
        ({"holidays": "cz"}, ["holidays"]),
        ({"holidays": "CZE"}, ["holidays"]),
        ({"holidays": "US-ZZ"}, ["holidays"]),
        ({"holidays": "US-"}, ["holidays"]),
        ({"holidays": ""}, ["holidays"]),
        ({"holidays": "../x" * 3000}, ["holidays"]),
    ],
)  # fmt: skip
def test_problems(fields, paths):
    found = problems(schedule(**fields))
    assert [path for path, _ in found] == paths
    assert all(message for _, message in found)


# 2026-12-07 is a Monday.
def test_hours_of_a_date():
    office = weekly(("mon tue", "09:00", "12:00"), ("mon", "11:00", "17:00"), ("sun", "22:00", "02:00"))
    assert hours(office, "2026-12-07") == ((540, 1020),)
    assert hours(office, "2026-12-08") == ((540, 720),)
    assert hours(office, "2026-12-09") == ()
    assert hours(office, "2026-12-06") == ((1320, 1560),)


def test_an_override_replaces_the_hours_and_the_holiday():
    of = schedule(
        weekly=[{"days": ["thu", "fri"], "start": "09:00", "end": "17:00"}],
        overrides=[
            {"date": "2026-12-25", "intervals": [{"start": "10:00", "end": "12:00"}]},
            {"date": "2026-12-31", "intervals": []},
        ],
        holidays="CZ",
    )
    assert hours(of, "2026-12-18") == ((540, 1020),)
    assert hours(of, "2026-12-24") == ()  # Christmas Eve is a holiday in CZ
    assert hours(of, "2026-12-25") == ((600, 720),)
    assert hours(of, "2026-12-31") == ()


def test_holidays_of_a_part_of_a_country():
    every_day = [
        {"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "start": "09:00", "end": "10:00"}
    ]
    epiphany = "2026-01-06"  # in Bavaria, not in Berlin
    assert hours(schedule(weekly=every_day, holidays="DE-BY"), epiphany) == ()
    assert hours(schedule(weekly=every_day, holidays="DE-BE"), epiphany) == ((540, 600),)


ALL = "mon tue wed thu fri sat sun"


@pytest.mark.parametrize(
    ("of", "endless"),
    [
        (weekly((ALL, "00:00", "24:00")), True),
        (weekly((ALL, "06:00", "05:00"), (ALL, "05:00", "06:00")), True),
        (weekly((ALL, "12:00", "00:00"), (ALL, "00:00", "12:00")), True),
        (weekly((ALL, "00:00", "23:59")), False),
        (weekly((ALL, "12:00", "11:59")), False),
        (weekly((ALL[:-4], "00:00", "24:00")), False),
        (Schedule(), False),
    ],
)
def test_endless(of, endless):
    assert is_endless(of) is endless
    assert not is_endless(msgspec.structs.replace(of, holidays="CZ"))
