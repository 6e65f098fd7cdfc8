# SPDX-License-Identifier: Apache-2.0
"""What counts as busy in an iCalendar text, table by table; through the process that reads for the server."""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import icalendar
import pytest
import recurring_ical_events

from holdfirst.calendar import icalendar_reading
from holdfirst.calendar.calendar_event import CalendarEvent, EventState
from holdfirst.calendar.icalendar import Question, Reading, to_icalendar
from holdfirst.errors import ProviderUnavailable
from holdfirst.providers.icalendar_reader import IcalendarReader

DAY = datetime(2026, 12, 7, tzinfo=UTC)
ASKED = Question(start=DAY, end=DAY + timedelta(days=1), zone="Europe/Prague", owners=("me@example.org",))
VTIMEZONE = (
    "BEGIN:VTIMEZONE", "TZID:Mars", "BEGIN:STANDARD", "DTSTART:19700101T000000", "TZOFFSETFROM:{0}",
    "TZOFFSETTO:{0}", "END:STANDARD", "END:VTIMEZONE",
)  # fmt: skip


def text(*lines: str, events: int = 1, before: tuple[str, ...] = ()) -> bytes:
    event = ["BEGIN:VEVENT", "UID:a", "DTSTAMP:20260101T000000Z", *lines, "END:VEVENT"]
    return "\r\n".join(
        ["BEGIN:VCALENDAR", "VERSION:2.0", *before, *event * events, "END:VCALENDAR", ""]
    ).encode()


async def read(reader: IcalendarReader, content: bytes, asked: Question = ASKED) -> Reading:
    return (await reader.read([content], asked))[0]


def spans(reading: Reading) -> list[str]:
    return [
        f"{start:%d %H:%M}-{end:%d %H:%M}" for event in reading.events for start, end in sorted(event.busy)
    ]


TEN = "DTSTART:20261207T100000Z"
ELEVEN = "DTEND:20261207T110000Z"
PLAIN = ["07 10:00-07 11:00"]

BUSY = {
    "plain": ((TEN, ELEVEN), PLAIN),
    "duration": ((TEN, "DURATION:PT90M"), ["07 10:00-07 11:30"]),
    "tentative": ((TEN, ELEVEN, "STATUS:TENTATIVE"), PLAIN),
    "cancelled": ((TEN, ELEVEN, "STATUS:CANCELLED"), []),
    "transparent": ((TEN, ELEVEN, "TRANSP:TRANSPARENT"), []),
    "outlook_free": ((TEN, ELEVEN, "X-MICROSOFT-CDO-BUSYSTATUS:FREE"), []),
    "declined": ((TEN, ELEVEN, "ATTENDEE;PARTSTAT=DECLINED:mailto:Me@Example.org"), []),
    "declined_by_another": ((TEN, ELEVEN, "ATTENDEE;PARTSTAT=DECLINED:mailto:you@example.org"), PLAIN),
    "unanswered": ((TEN, ELEVEN, "ATTENDEE;PARTSTAT=NEEDS-ACTION:mailto:me@example.org"), PLAIN),
    "an_instant": ((TEN,), []),
    "backwards": (("DTSTART:20261207T110000Z", "DTEND:20261207T100000Z"), []),
    # A day is the calendar's: from 23:00 UTC in Prague's winter.
    "all_day": (("DTSTART;VALUE=DATE:20261207",), ["07 00:00-07 23:00"]),
    "two_days": (("DTSTART;VALUE=DATE:20261206", "DTEND;VALUE=DATE:20261208"), ["07 00:00-07 23:00"]),
    "all_day_after": (("DTSTART;VALUE=DATE:20261208",), ["07 23:00-08 00:00"]),
    "floating": (("DTSTART:20261207T100000", "DTEND:20261207T110000"), ["07 09:00-07 10:00"]),
    "zone": (("DTSTART;TZID=America/New_York:20261207T100000", "DURATION:PT1H"), ["07 15:00-07 16:00"]),
    "windows_zone": (
        ("DTSTART;TZID=W. Europe Standard Time:20261207T100000", "DURATION:PT1H"),
        ["07 09:00-07 10:00"],
    ),
    "begun_before": (("DTSTART:20261206T220000Z", "DTEND:20261207T010000Z"), ["07 00:00-07 01:00"]),
    "other_day": (("DTSTART:20261209T100000Z", "DTEND:20261209T110000Z"), []),
    "weekly": (("DTSTART:20261130T100000Z", "DURATION:PT1H", "RRULE:FREQ=WEEKLY"), PLAIN),
    "exdate": (
        ("DTSTART:20261130T100000Z", "DURATION:PT1H", "RRULE:FREQ=WEEKLY", "EXDATE:20261207T100000Z"),
        [],
    ),
    "rdate": (("DTSTART:20261101T100000Z", "DURATION:PT1H", "RDATE:20261207T150000Z"), ["07 15:00-07 16:00"]),
    "until": (("DTSTART:20261130T100000Z", "DURATION:PT1H", "RRULE:FREQ=WEEKLY;UNTIL=20261201T000000Z"), []),
    # Ten o'clock in Prague, before and after the clocks change.
    "over_dst": (
        ("DTSTART;TZID=Europe/Prague:20261005T100000", "DURATION:PT1H", "RRULE:FREQ=WEEKLY"),
        ["07 09:00-07 10:00"],
    ),
    "daily_floating": (
        ("DTSTART:20261101T100000", "DTEND:20261101T110000", "RRULE:FREQ=DAILY"),
        ["07 09:00-07 10:00"],
    ),
    "yearly_day": (("DTSTART;VALUE=DATE:20201207", "RRULE:FREQ=YEARLY"), ["07 00:00-07 23:00"]),
    "from_1601": (("DTSTART:16010101T000000Z", "DTEND:16010101T010000Z"), []),
    "until_9999": (("DTSTART:20261207T120000Z", "DTEND:99991231T235959Z"), ["07 12:00-08 00:00"]),
    "until_9999_and_a_zone": (
        ("DTSTART:20261207T120000Z", "DTEND;TZID=America/New_York:99991231T235959"),
        ["07 12:00-08 00:00"],
    ),
    "from_the_year_one": (
        ("DTSTART;TZID=Asia/Tokyo:00010101T000000", ELEVEN),
        ["07 00:00-07 11:00"],
    ),
    # What is not certain is busy.
    "longer_than_there_is_time": ((TEN, "DURATION:P9999999D"), ["07 10:00-08 00:00"]),
    "no_end_to_be_read": ((TEN, "DTEND:soon"), PLAIN),
    "no_length_to_be_read": ((TEN, "DURATION:long"), PLAIN),
    "two_ends": ((TEN, ELEVEN, "DTEND:20261207T120000Z"), PLAIN),
    "two_beginnings": ((TEN, TEN, ELEVEN), PLAIN),
    "no_rule_to_be_read": ((TEN, ELEVEN, "RRULE:FREQ=OFTEN"), PLAIN),
    "no_day_to_be_read": ((TEN, ELEVEN, "RRULE:FREQ=WEEKLY;BYDAY=XX"), PLAIN),
    "no_exception_to_be_read": (
        ("DTSTART:20261130T100000Z", "DURATION:PT1H", "RRULE:FREQ=WEEKLY", "EXDATE:never"),
        PLAIN,
    ),
    "one_exception_to_be_read": (
        (
            "DTSTART:20261130T100000Z",
            "DURATION:PT1H",
            "RRULE:FREQ=WEEKLY",
            "EXDATE:x",
            "EXDATE:20261207T100000Z",
        ),
        [],
    ),
    "no_occurrence_to_be_read": ((TEN, ELEVEN, "RECURRENCE-ID:first"), PLAIN),
    "again_and_for_ever": (
        (TEN, "DTEND:99991231T235959Z", "RRULE:FREQ=YEARLY"),
        ["07 10:00-08 00:00"],
    ),
    "whole_days_again_and_for_ever": (
        ("DTSTART;VALUE=DATE:20261207", "DTEND;VALUE=DATE:99991231", "RRULE:FREQ=YEARLY"),
        ["07 00:00-08 00:00"],
    ),
    "daily_from_1601": (("DTSTART:16010101T100000Z", "DURATION:PT1H", "RRULE:FREQ=WEEKLY;BYDAY=MO"), PLAIN),
}


@pytest.mark.parametrize("name", BUSY)
async def test_what_is_busy(reader: IcalendarReader, name: str):
    lines, expected = BUSY[name]
    reading = await read(reader, text(*lines))
    assert (spans(reading), reading.fault) == (expected, None), reading


SERIES = (
    "BEGIN:VEVENT",
    "UID:s",
    "DTSTART:20261130T100000Z",
    "DURATION:PT1H",
    "RRULE:FREQ=WEEKLY",
    "END:VEVENT",
)
OVERRIDES = {
    "moved": (
        ("RECURRENCE-ID:20261207T100000Z", "DTSTART:20261207T150000Z", "DURATION:PT1H"),
        ["07 15:00-07 16:00"],
    ),
    "cancelled": (("RECURRENCE-ID:20261207T100000Z", TEN, "DURATION:PT1H", "STATUS:CANCELLED"), []),
    "moved_in_from_afar": (
        ("RECURRENCE-ID:20270104T100000Z", "DTSTART:20261207T180000Z", "DURATION:PT1H"),
        ["07 10:00-07 11:00", "07 18:00-07 19:00"],
    ),
    "this_and_future": (
        ("RECURRENCE-ID;RANGE=THISANDFUTURE:20261130T100000Z", "DTSTART:20261130T120000Z", "DURATION:PT2H"),
        ["07 12:00-07 14:00"],
    ),
}


@pytest.mark.parametrize("name", OVERRIDES)
async def test_overrides_of_a_series(reader: IcalendarReader, name: str):
    lines, expected = OVERRIDES[name]
    content = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        *SERIES,
        "BEGIN:VEVENT",
        "UID:s",
        *lines,
        "END:VEVENT",
        "END:VCALENDAR",
    ]
    assert spans(await read(reader, "\r\n".join(content).encode())) == expected


def event(uid: str, *lines: str) -> bytes:
    return "\r\n".join(["BEGIN:VEVENT", f"UID:{uid}", *lines, "END:VEVENT", ""]).encode()


def calendar(*events: bytes) -> bytes:
    return b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\n" + b"".join(events) + b"END:VCALENDAR\r\n"


FIRST = event("a", TEN, ELEVEN)
SECOND = event("a", "DTSTART:20261207T150000Z", "DURATION:PT1H")
BOTH = ["07 10:00-07 11:00", "07 15:00-07 16:00"]
ONE_UID = {
    "in_one_calendar": (calendar(FIRST, SECOND), BOTH),
    "in_two_calendars": (calendar(FIRST) + calendar(SECOND), BOTH),
    "the_same_twice": (calendar(FIRST) * 2, PLAIN),
    "a_series_among_them": (
        calendar(FIRST, event("a", "DTSTART:20261130T150000Z", "DURATION:PT1H", "RRULE:FREQ=WEEKLY")),
        BOTH,
    ),
    "an_override_in_another_calendar": (
        calendar("\r\n".join(SERIES).replace("UID:s", "UID:a").encode() + b"\r\n")
        + calendar(event("a", *OVERRIDES["moved"][0])),
        OVERRIDES["moved"][1],
    ),
    "one_that_cannot_be_read": (calendar(FIRST, SECOND, event("a", "DTSTART:soon")), BOTH),
}


@pytest.mark.parametrize("name", ONE_UID)
async def test_one_uid_that_was_given_to_several(reader: IcalendarReader, name: str):
    content, expected = ONE_UID[name]
    reading = await read(reader, content)
    assert [one.uid for one in reading.events] == ["a"]
    assert spans(reading) == expected


@pytest.mark.parametrize("uid", ["nul\0", "x" * 5000, "ž" * 300, "tab\tand\x7f"])
async def test_names_that_nobody_can_keep_are_others(reader: IcalendarReader, uid: str):
    """A database keeps no NUL, and no index a name of thousands of bytes."""
    reading = await read(reader, calendar(event(uid, TEN, ELEVEN), event(uid + "x", "DTSTART:soon")))
    [one] = reading.events
    assert spans(reading) == PLAIN
    assert one.uid.isprintable() and len(one.uid) < 100
    assert reading.notes and all(one.isprintable() for one in reading.notes)


async def test_a_zone_of_the_texts_own_counts_there_and_nowhere_else(reader: IcalendarReader):
    zone = tuple(line.format("+0530") for line in VTIMEZONE)
    other = tuple(line.format("-0100") for line in VTIMEZONE)
    lines = ("DTSTART;TZID=Mars:20261207T100000", "DURATION:PT1H")
    assert spans(await read(reader, text(*lines, before=zone))) == ["07 04:30-07 05:30"]
    assert spans(await read(reader, text(*lines, before=other))) == ["07 11:00-07 12:00"]


async def test_an_unknown_zone_is_read_as_the_calendars_and_said(reader: IcalendarReader):
    reading = await read(reader, text("DTSTART;TZID=Nowhere/At All:20261207T100000", "DURATION:PT1H"))
    assert spans(reading) == ["07 09:00-07 10:00"]
    assert "unknown time zone" in reading.notes[0]


async def test_a_text_may_name_its_zone(reader: IcalendarReader):
    content = text("DTSTART:20261207T100000", "DURATION:PT1H", before=("X-WR-TIMEZONE:Asia/Tokyo",))
    assert spans(await read(reader, content)) == ["07 01:00-07 02:00"]


@pytest.mark.parametrize(
    "rule",
    ["FREQ=SECONDLY", "FREQ=MINUTELY", "FREQ=DAILY;INTERVAL=0", "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"],
)
async def test_a_rule_without_end_takes_no_time_of_ours(reader: IcalendarReader, rule: str):
    bomb = text("DTSTART:19700101T100000Z", "DURATION:PT1S", f"RRULE:{rule}").decode()
    innocent = text(TEN, ELEVEN).decode().replace("UID:a", "UID:b")
    content = bomb.replace("END:VCALENDAR\r\n", "") + innocent.partition("VERSION:2.0\r\n")[2]
    began = time.monotonic()
    reading = await read(reader, content.encode())
    assert time.monotonic() - began < 4
    assert spans(reading) == PLAIN


NEVER = ("DTSTART:19700101T100000Z", "DURATION:PT1S", "RRULE:FREQ=DAILY;INTERVAL=0")
WEEKLY = ("DTSTART:20261130T100000Z", "DURATION:PT1H", "RRULE:FREQ=WEEKLY")
DAILY = ("DTSTART:19700101T150000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY")


@pytest.mark.parametrize("bombs", [1, 6, 200])
def test_rules_without_end_share_what_time_there_is(monkeypatch: pytest.MonkeyPatch, bombs: int):
    """However many there are, and wherever they stand, an ordinary event has its time."""
    granted: list[float] = []

    @contextlib.contextmanager
    def bounded(seconds: float) -> Iterator[None]:
        granted.append(seconds)
        yield

    def of(series: icalendar.Calendar) -> Any:
        uid, seconds = str(series.walk("VEVENT")[0]["UID"]), granted[-1]
        if uid.startswith("bomb") or (uid == "slow" and seconds < 0.1):
            raise TimeoutError
        return expand(series)

    expand = recurring_ical_events.of
    monkeypatch.setattr(recurring_ical_events, "of", of)
    texts = [calendar(event(f"bomb{number}", *NEVER)) for number in range(bombs)]
    texts.append(calendar(event("slow", *DAILY), event("quick", *WEEKLY)))
    readings = icalendar_reading.read_icalendar(texts, ASKED, bounded)
    assert {one.uid for one in readings[-1].events} == ({"slow", "quick"} if bombs < 200 else {"quick"})
    assert all("too long" in one.notes[0] for one in readings[:-1])
    assert max(granted) <= 0.5
    assert sum(granted) <= 0.04 * (bombs + 2) + 1.2 + 0.5


async def test_twenty_rules_without_end_are_left_out_and_keep_nobody_waiting_twice():
    reader = IcalendarReader(seconds_max=60)
    try:
        bombs = calendar(*[event(f"bomb{number}", *NEVER) for number in range(20)], event("a", *WEEKLY))
        reading = await read(reader, bombs)
        assert spans(reading) == PLAIN
        assert "too long" in reading.notes[0]
        await read(reader, text(TEN, ELEVEN))
        quick = reader._quick._child
        assert spans(await read(reader, bombs)) == PLAIN
        # What turned out not to be quick is not asked of it again, so that it was not ended.
        assert spans(await read(reader, text(TEN, ELEVEN))) == PLAIN
        assert reader._quick._child is quick
    finally:
        await reader.aclose()


async def test_ten_thousand_exceptions_are_bounded(reader: IcalendarReader):
    first = datetime(1990, 1, 1, 10, tzinfo=UTC)
    days = (first + timedelta(days=number) for number in range(10_000))
    exdates = [f"EXDATE:{day:%Y%m%dT%H%M%SZ}" for day in days]
    began = time.monotonic()
    reading = await read(
        reader, text("DTSTART:19900101T100000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY", *exdates)
    )
    assert time.monotonic() - began < 6
    assert spans(reading) == PLAIN or reading.notes


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"<html></html>",
        b"\x00\xff\xfe",
        b"BEGIN:VCALENDAR",
        b"BEGIN:VEVENT\r\nEND:VCALENDAR",
        b"A" * 100_000,
    ],
)
async def test_what_is_not_icalendar_is_a_fault(reader: IcalendarReader, content: bytes):
    reading = await read(reader, content)
    assert reading.fault is not None
    assert reading.events == []


async def test_one_broken_event_does_not_hide_the_others(reader: IcalendarReader):
    broken = b"BEGIN:VEVENT\r\nUID:broken\r\nDTSTART:tomorrow\r\nEND:VEVENT\r\n"
    content = text(TEN, ELEVEN).replace(b"END:VCALENDAR", broken + b"END:VCALENDAR")
    reading = await read(reader, content)
    assert spans(reading) == PLAIN
    assert "broken" in reading.notes[0]


async def test_another_charset_is_read_and_said(reader: IcalendarReader):
    reading = await read(reader, text(TEN, ELEVEN, "SUMMARY:žluťoučký").decode().encode("cp1250"))
    assert spans(reading) == PLAIN
    assert "UTF-8" in reading.notes[0]


async def test_a_reading_that_takes_too_long_is_ended_and_the_next_one_is_served():
    hasty = IcalendarReader(seconds_max=0.001)
    try:
        with pytest.raises(ProviderUnavailable):
            await read(hasty, text(TEN, ELEVEN) * 200)
        hasty._seconds_max = 8
        assert spans(await read(hasty, text(TEN, ELEVEN))) == PLAIN
    finally:
        await hasty.aclose()


async def test_whoever_has_a_calendar_that_takes_long_keeps_nobody_else_waiting():
    """A feed that is large and slow at every event, and one reservation's question beside it."""
    reader = IcalendarReader(seconds_max=4)
    bomb = text(
        "DTSTART:19000101T100000Z", "DURATION:PT1S", "RRULE:FREQ=DAILY;INTERVAL=0", "SUMMARY:" + "x" * 8000
    )
    many = b"".join(bomb.replace(b"UID:a", b"UID:a%d" % number) for number in range(200))
    order: list[str] = []
    try:
        await read(reader, text(TEN, ELEVEN))

        async def slow() -> None:
            with contextlib.suppress(ProviderUnavailable):
                await read(reader, many)
            order.append("the slow one")

        async def others() -> None:
            for _ in range(10):
                assert spans(await read(reader, text(TEN, ELEVEN))) == PLAIN
            order.append("the others")

        running = asyncio.create_task(slow())
        await asyncio.sleep(0.05)
        await others()
        await running
        assert order == ["the others", "the slow one"]
    finally:
        await reader.aclose()


async def test_whoever_stops_waiting_leaves_no_answer_behind():
    reader = IcalendarReader()
    try:
        await read(reader, text(TEN, ELEVEN))
        asking = asyncio.create_task(
            read(reader, text("DTSTART:19700101T000000Z", "RRULE:FREQ=DAILY;INTERVAL=0"))
        )
        await asyncio.sleep(0.05)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert spans(await read(reader, text(TEN, ELEVEN))) == PLAIN
    finally:
        await reader.aclose()


async def test_what_we_write_is_read_back(reader: IcalendarReader):
    event = CalendarEvent(
        uid="hf1", state=EventState.HOLD, start=DAY + timedelta(hours=10), end=DAY + timedelta(hours=11),
        title="Příliš, žluťoučký; kůň\n" * 5, text="\\ back", location="x" * 200,
    )  # fmt: skip
    content = to_icalendar(event, DAY)
    assert all(len(line) <= 75 for line in content.split(b"\r\n"))
    assert spans(await read(reader, content)) == PLAIN
