# SPDX-License-Identifier: Apache-2.0
"""What counts as busy in an iCalendar text, table by table; through the process that reads for the server."""

import asyncio
import contextlib
import time
from datetime import UTC, datetime, timedelta

import pytest

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
    reader = IcalendarReader()
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
