# SPDX-License-Identifier: Apache-2.0
from datetime import datetime

import msgspec
import pytest

from holdfirst.availability.schedule import Schedule
from holdfirst.availability.windows import is_zone, local_day, open_windows
from holdfirst.interval import DAY_MS, HOUR_MS, MINUTE_MS, from_ms, to_ms

ALL = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def ms(text):
    return to_ms(datetime.fromisoformat(text + "Z"))


def text(instant):
    return f"{from_ms(instant):%Y-%m-%dT%H:%M}"


def only_on(day, *hours):
    """Open on one date alone."""
    intervals = [dict(zip(("start", "end"), each.split("-"), strict=True)) for each in hours]
    return msgspec.convert({"overrides": [{"date": day, "intervals": intervals}]}, Schedule)


def daily(*hours, **more):
    weekly = [{"days": ALL} | dict(zip(("start", "end"), each.split("-"), strict=True)) for each in hours]
    return msgspec.convert({"weekly": weekly} | more, Schedule)


def around(schedule, zone, day):
    start = ms(day + "T00:00")
    found = open_windows(schedule, zone, start - 2 * DAY_MS, start + 3 * DAY_MS)
    return [(text(one), text(other)) for one, other in found]


PRAGUE, NEW_YORK, LORD_HOWE = "Europe/Prague", "America/New_York", "Australia/Lord_Howe"
CASES = [
    # zone, date, local hours, and the instants by hand
    (PRAGUE, "2026-12-07", "09:00-17:00", "2026-12-07T08:00", "2026-12-07T16:00"),
    (PRAGUE, "2026-07-07", "22:00-02:00", "2026-07-07T20:00", "2026-07-08T00:00"),
    (PRAGUE, "2026-07-07", "00:00-24:00", "2026-07-06T22:00", "2026-07-07T22:00"),
    # Spring: 02:00 to 03:00 does not exist; the clock jumps at 01:00Z.
    (PRAGUE, "2026-03-29", "00:00-24:00", "2026-03-28T23:00", "2026-03-29T22:00"),
    (PRAGUE, "2026-03-29", "01:00-03:00", "2026-03-29T00:00", "2026-03-29T01:00"),
    (PRAGUE, "2026-03-29", "01:00-02:30", "2026-03-29T00:00", "2026-03-29T01:00"),
    (PRAGUE, "2026-03-29", "02:30-04:00", "2026-03-29T01:00", "2026-03-29T02:00"),
    (PRAGUE, "2026-03-29", "02:00-03:30", "2026-03-29T01:00", "2026-03-29T01:30"),
    (PRAGUE, "2026-03-28", "22:00-02:30", "2026-03-28T21:00", "2026-03-29T01:00"),
    (PRAGUE, "2026-03-29", "02:10-02:50", None, None),
    (PRAGUE, "2026-03-29", "02:00-03:00", None, None),
    # Autumn: 02:00 to 03:00 happens at 00:00Z and again at 01:00Z.
    (PRAGUE, "2026-10-25", "00:00-24:00", "2026-10-24T22:00", "2026-10-25T23:00"),
    (PRAGUE, "2026-10-25", "01:00-03:00", "2026-10-24T23:00", "2026-10-25T02:00"),
    (PRAGUE, "2026-10-25", "01:00-02:30", "2026-10-24T23:00", "2026-10-25T01:30"),
    (PRAGUE, "2026-10-25", "02:30-03:30", "2026-10-25T00:30", "2026-10-25T02:30"),
    (PRAGUE, "2026-10-25", "02:00-03:00", "2026-10-25T00:00", "2026-10-25T02:00"),
    (PRAGUE, "2026-10-25", "01:00-02:00", "2026-10-24T23:00", "2026-10-25T00:00"),
    (PRAGUE, "2026-10-24", "22:00-02:30", "2026-10-24T20:00", "2026-10-25T01:30"),
    (NEW_YORK, "2026-03-08", "01:00-04:00", "2026-03-08T06:00", "2026-03-08T08:00"),
    (NEW_YORK, "2026-11-01", "00:00-03:00", "2026-11-01T04:00", "2026-11-01T08:00"),
    # Lord Howe moves by half an hour: +11 to +10:30 in April, back in October.
    (LORD_HOWE, "2026-04-05", "01:00-02:00", "2026-04-04T14:00", "2026-04-04T15:30"),
    (LORD_HOWE, "2026-04-05", "01:30-01:45", "2026-04-04T14:30", "2026-04-04T15:15"),
    (LORD_HOWE, "2026-10-04", "02:00-03:00", "2026-10-03T15:30", "2026-10-03T16:00"),
    (LORD_HOWE, "2026-10-04", "02:00-02:30", None, None),
    ("Asia/Kathmandu", "2026-06-01", "09:00-17:00", "2026-06-01T03:15", "2026-06-01T11:15"),
    # Apia went from -10 to +14 at 10:00Z; 2011-12-30 never was.
    ("Pacific/Apia", "2011-12-29", "09:00-17:00", "2011-12-29T19:00", "2011-12-30T03:00"),
    ("Pacific/Apia", "2011-12-29", "22:00-02:00", "2011-12-30T08:00", "2011-12-30T10:00"),
    ("Pacific/Apia", "2011-12-30", "09:00-17:00", None, None),
    ("Pacific/Apia", "2011-12-30", "22:00-02:00", "2011-12-30T10:00", "2011-12-30T12:00"),
    ("Pacific/Apia", "2011-12-31", "00:00-09:00", "2011-12-30T10:00", "2011-12-30T19:00"),
    # The clock is put at midnight: forward in Brazil (2018), back in Cuba.
    ("America/Sao_Paulo", "2018-11-04", "00:00-02:00", "2018-11-04T03:00", "2018-11-04T04:00"),
    ("America/Sao_Paulo", "2018-11-03", "22:00-24:00", "2018-11-04T01:00", "2018-11-04T03:00"),
    ("America/Havana", "2026-10-31", "22:00-24:00", "2026-11-01T02:00", "2026-11-01T04:00"),
    ("America/Havana", "2026-11-01", "00:00-01:00", "2026-11-01T04:00", "2026-11-01T06:00"),
    ("Antarctica/Troll", "2026-03-29", "00:00-04:00", "2026-03-29T00:00", "2026-03-29T02:00"),
    # Liberia gave up a zone of 44 minutes and 30 seconds.
    ("Africa/Monrovia", "1972-01-07", "00:00-01:00", "1972-01-07T00:44", "1972-01-07T01:00"),
    # The ends of the calendar.
    ("UTC", "1970-01-01", "00:00-24:00", "1970-01-01T00:00", "1970-01-02T00:00"),
    (PRAGUE, "2100-07-01", "09:00-17:00", "2100-07-01T07:00", "2100-07-01T15:00"),
    ("UTC", "2100-12-31", "22:00-24:00", "2100-12-31T22:00", "2101-01-01T00:00"),
]  # fmt: skip


@pytest.mark.parametrize(("zone", "day", "hours", "start", "end"), CASES)
def test_local_hours_as_instants(zone, day, hours, start, end):
    assert around(only_on(day, hours), zone, day) == ([] if start is None else [(start, end)])


def test_windows_that_touch_are_one():
    assert around(only_on("2026-12-07", "09:00-12:00", "12:00-17:00"), "UTC", "2026-12-07") == [
        ("2026-12-07T09:00", "2026-12-07T17:00")
    ]
    # The hour between them does not exist.
    assert around(only_on("2026-03-29", "01:00-02:00", "03:00-04:00"), PRAGUE, "2026-03-29") == [
        ("2026-03-29T00:00", "2026-03-29T02:00")
    ]
    # Neither does the day between these.
    found = open_windows(
        daily("22:00-24:00", "00:00-02:00"), "Pacific/Apia", ms("2011-12-30T10:00"), ms("2011-12-30T10:01")
    )
    assert found == [(ms("2011-12-30T08:00"), ms("2011-12-30T12:00"))]


def test_only_windows_that_intersect_and_whole_ones():
    office = daily("09:00-17:00")
    window = (ms("2026-12-07T09:00"), ms("2026-12-07T17:00"))
    for start, end in [(0, 8 * HOUR_MS), (7 * HOUR_MS, 9 * HOUR_MS), (-1, 1), (-1, DAY_MS - 8 * HOUR_MS)]:
        assert open_windows(office, "UTC", window[0] + start, window[0] + end) == [window]
    assert open_windows(office, "UTC", window[1], window[1] + HOUR_MS) == []
    assert open_windows(office, "UTC", window[0] - HOUR_MS, window[0]) == []


def test_an_override_leaves_the_evening_before():
    of = daily(
        "20:00-04:00", overrides=[{"date": "2026-12-07", "intervals": [{"start": "10:00", "end": "11:00"}]}]
    )
    start = ms("2026-12-07T00:00")
    assert [(text(one), text(other)) for one, other in open_windows(of, "UTC", start, start + DAY_MS)] == [
        ("2026-12-06T20:00", "2026-12-07T04:00"),
        ("2026-12-07T10:00", "2026-12-07T11:00"),
    ]


def test_a_schedule_that_never_closes_is_one_window_however_it_is_asked():
    always = daily("00:00-24:00")
    whole = (ms("1970-01-01T00:00"), ms("2101-01-01T00:00"))
    for at in ("1970-01-01T00:00", "2026-12-07T05:00", "2100-12-31T23:59"):
        assert open_windows(always, "UTC", ms(at), ms(at) + 1) == [whole]


@pytest.mark.parametrize("zone", ["UTC", PRAGUE, "Pacific/Apia", "America/Havana"])
def test_a_schedule_that_never_closes_is_broken_by_its_overrides(zone):
    closed = [{"date": day} for day in ("1970-01-01", "2026-12-07", "2026-12-08", "2026-12-10")]
    half = {"date": "2026-12-20", "intervals": [{"start": "00:00", "end": "12:00"}]}
    always = daily("00:00-24:00", overrides=[*closed, half])
    start = ms("2026-12-01T00:00")
    found = open_windows(always, zone, start, start + 40 * DAY_MS)
    day = {at: local_day(zone, ms(f"2026-12-{at:02}T12:00") - 2 * HOUR_MS) for at in (7, 9, 10, 11, 20, 21)}
    assert found == [
        (local_day(zone, ms("1970-01-01T15:00"))[1], day[7][0]),
        day[9],
        (day[11][0], day[20][0] + 12 * HOUR_MS),
        (day[21][0], found[-1][1]),
    ]
    assert found[-1][1] > ms("2100-12-31T00:00")


def test_long_windows_look_the_same_from_everywhere():
    # Open from New Year to New Year but for one hour on Mondays, or but for public holidays.
    but_an_hour = msgspec.convert(
        {
            "weekly": [
                {"days": ALL[1:], "start": "00:00", "end": "24:00"},
                {"days": ["mon"], "start": "01:00", "end": "24:00"},
            ]
        },
        Schedule,
    )
    for of in (
        but_an_hour,
        daily("00:00-24:00", holidays="CZ"),
        daily("18:00-17:00", "17:00-18:00", holidays="CZ"),
    ):
        start, end = ms("2026-05-01T12:00"), ms("2026-11-30T00:00")
        whole = open_windows(of, PRAGUE, start, end)
        assert len(whole) > 5
        for at in range(start, end, 37 * HOUR_MS):
            assert open_windows(of, PRAGUE, at, at + 1) == [each for each in whole if each[0] <= at < each[1]]


def test_far_from_the_calendar_nothing_is_open():
    for at in (-(10**15), ms("1960-01-01T00:00"), ms("2150-01-01T00:00"), 10**17):
        assert open_windows(daily("09:00-17:00"), PRAGUE, at, at + DAY_MS) == []
    assert open_windows(Schedule(), PRAGUE, 0, 10**17) == []


@pytest.mark.parametrize(
    ("zone", "at", "start", "hours"),
    [
        (PRAGUE, "2026-12-07T12:00", "2026-12-06T23:00", 24),
        (PRAGUE, "2026-12-06T23:00", "2026-12-06T23:00", 24),
        (PRAGUE, "2026-03-29T12:00", "2026-03-28T23:00", 23),
        (PRAGUE, "2026-10-25T00:30", "2026-10-24T22:00", 25),
        (LORD_HOWE, "2026-04-04T20:00", "2026-04-04T13:00", 24.5),
        ("America/Sao_Paulo", "2018-11-04T03:00", "2018-11-04T03:00", 23),
        ("America/Havana", "2026-11-01T04:00", "2026-11-01T04:00", 25),
        ("Pacific/Apia", "2011-12-30T09:59", "2011-12-29T10:00", 24),
        ("Pacific/Apia", "2011-12-30T10:00", "2011-12-30T10:00", 24),
        # At 00:01 on the 29th it was 23:01 on the 28th again: the 28th ends with its second midnight.
        ("America/St_Johns", "2006-10-29T02:30", "2006-10-28T02:30", 25),
        ("America/St_Johns", "2006-10-29T03:29", "2006-10-28T02:30", 25),
        ("America/St_Johns", "2006-10-29T03:30", "2006-10-29T03:30", 24),
    ],
)
def test_local_day(zone, at, start, hours):
    assert local_day(zone, ms(at)) == (ms(start), ms(start) + int(hours * HOUR_MS))


def test_local_days_leave_nothing_out():
    for zone in (PRAGUE, "America/St_Johns", "Africa/Casablanca", "Pacific/Apia", LORD_HOWE):
        at = local_day(zone, ms("2006-01-01T12:00"))[0]
        while at < ms("2012-06-01T00:00"):
            start, end = local_day(zone, at)
            assert start == at
            assert local_day(zone, end - MINUTE_MS) == (start, end)
            at = end


@pytest.mark.parametrize(
    "name", ["Europe/Prague", "UTC", "America/Argentina/Buenos_Aires", "Asia/Kathmandu", "CET"]
)
def test_zones(name):
    assert is_zone(name)


@pytest.mark.parametrize(
    "name",
    ["", " ", "../../etc/passwd", "/etc/localtime", "Europe/", "Europe", "Europe/Prague\0", "\0", "x" * 10_000,
     "europe/prague", "Europe/Praha", "+01:00", "localtime", "Factory", "posixrules", "\ud800", "tzdata.zi", "."],
)  # fmt: skip
def test_not_zones(name):
    assert not is_zone(name)
