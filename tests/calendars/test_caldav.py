# SPDX-License-Identifier: Apache-2.0
"""The CalDAV adapter against Radicale and Xandikos: one set of tests, both servers."""

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from holdfirst.calendar.calendar_event import CalendarEvent, EventState, event_uid, marker
from holdfirst.calendar.provider import Access, EventGone, Place
from holdfirst.errors import CalendarDenied
from holdfirst.providers.caldav import CalDav
from holdfirst.providers.icalendar_reader import IcalendarReader
from holdfirst.providers.outward import Outward

from .servers import Server, send, vevent

START = datetime(2026, 12, 7, 10, tzinfo=UTC)
END = START + timedelta(hours=1)
WINDOW = (START - timedelta(days=30), START + timedelta(days=30))


@pytest.fixture
def caldav(outward: Outward, reader: IcalendarReader) -> CalDav:
    return CalDav(outward, reader)


@pytest.fixture
def place(server: Server, calendar_url: str) -> Place:
    return Place(access=Access(secrets=server.secrets), ref=calendar_url, time_zone="Europe/Prague")


def hold(number: int = 1, **more: object) -> CalendarEvent:
    event = CalendarEvent(
        uid=event_uid("acc_1", f"res_{number}", "cal_1", 0),
        state=EventState.HOLD,
        start=START,
        end=END,
        title="Hold: žluťoučký kůň; a, b",
    )
    return msgspec.structs.replace(event, **more)


def stranger(
    place: Place, name: str, start: str = "20261207T103000Z", end: str = "20261207T113000Z", *more: str
) -> str:
    url = f"{place.ref}{name}.ics"
    assert send("PUT", url, vevent(name, start, end, *more))[0] in (201, 204)
    return url


async def test_calendars_are_found(caldav: CalDav, server: Server, calendar_url: str):
    found = await caldav.discover(Access(secrets=server.secrets))
    assert calendar_url in [one.ref for one in found.calendars]
    assert all(one.writable for one in found.calendars)
    again = await caldav.discover(Access(secrets=server.secrets | {"url": server.url.rstrip("/")}))
    assert [one.ref for one in again.calendars] == [one.ref for one in found.calendars]


async def test_a_wrong_password_is_denied(caldav: CalDav, radicale_server: Server):
    with pytest.raises(CalendarDenied, match="password"):
        await caldav.discover(Access(secrets=radicale_server.secrets | {"password": "other"}))


async def test_a_hold_is_there_once_however_often_it_is_written(caldav: CalDav, place: Place):
    etags = await asyncio.gather(*[caldav.write(place, hold(), None) for _ in range(5)])
    assert len(await caldav.own(place, marker("acc_1"))) == 1
    again = await caldav.write(place, hold(), None)
    assert await caldav.write(place, hold(), again)
    busy = await caldav.busy(place, START, END)
    assert [(one.uid, one.start, one.end) for one in busy.occurrences] == [(hold().uid, START, END)]
    assert etags


async def test_a_hold_becomes_confirmed_in_place(caldav: CalDav, place: Place):
    etag = await caldav.write(place, hold(), None)
    [before] = await caldav.own(place, marker("acc_1"))
    await caldav.write(place, hold(state=EventState.CONFIRMED, title="Anna"), etag)
    [after] = await caldav.own(place, marker("acc_1"))
    assert after.ref == before.ref and after.etag != before.etag
    text = send("GET", after.ref)[2].decode()
    assert "STATUS:CONFIRMED" in text and "SUMMARY:Anna" in text and "CLASS:PRIVATE" in text
    assert "ATTENDEE" not in text and "VALARM" not in text


async def test_what_the_host_changed_meanwhile_does_not_stop_us(caldav: CalDav, place: Place):
    etag = await caldav.write(place, hold(), None)
    [own] = await caldav.own(place, marker("acc_1"))
    assert send("PUT", own.ref, vevent(own.uid, "20261207T120000Z", "20261207T130000Z"))[0] in (201, 204)
    await caldav.write(place, hold(state=EventState.CONFIRMED), etag)
    await caldav.delete(place, own.uid, etag)
    assert not await caldav.find(place, own.uid)


async def test_an_event_that_was_taken_away_is_said_to_be_gone(caldav: CalDav, place: Place):
    etag = await caldav.write(place, hold(), None)
    [own] = await caldav.own(place, marker("acc_1"))
    assert await caldav.find(place, own.uid)
    send("DELETE", own.ref)
    assert not await caldav.find(place, own.uid)
    with pytest.raises(EventGone):
        await caldav.write(place, hold(state=EventState.CONFIRMED), etag)


async def test_deleting_twice_is_deleting(caldav: CalDav, place: Place):
    etag = await caldav.write(place, hold(), None)
    await caldav.delete(place, hold().uid, etag)
    await caldav.delete(place, hold().uid, etag)
    await caldav.delete(place, hold().uid, None)
    assert await caldav.own(place, marker("acc_1")) == []


async def test_a_stranger_is_seen(caldav: CalDav, place: Place):
    await caldav.write(place, hold(), None)
    stranger(place, "dentist")
    busy = await caldav.busy(place, START, END)
    assert sorted(one.uid for one in busy.occurrences) == sorted([hold().uid, "dentist"])


async def test_what_ends_when_we_begin_is_not_in_the_way(caldav: CalDav, place: Place):
    stranger(place, "before", "20261207T090000Z", "20261207T100000Z")
    stranger(place, "after", "20261207T110000Z", "20261207T120000Z")
    assert (await caldav.busy(place, START, END)).occurrences == []


async def test_what_takes_no_time_is_not_busy(caldav: CalDav, place: Place):
    stranger(place, "free", "20261207T100000Z", "20261207T110000Z", "TRANSP:TRANSPARENT")
    stranger(place, "off", "20261207T100000Z", "20261207T110000Z", "STATUS:CANCELLED")
    assert (await caldav.busy(place, START, END)).occurrences == []


async def test_a_series_is_busy_where_it_falls(caldav: CalDav, place: Place):
    stranger(
        place,
        "weekly",
        "20261102T100000Z",
        "20261102T110000Z",
        "RRULE:FREQ=WEEKLY",
        "EXDATE:20261207T100000Z",
    )
    assert (await caldav.busy(place, START, END)).occurrences == []
    week = timedelta(days=7)
    assert [one.uid for one in (await caldav.busy(place, START + week, END + week)).occurrences] == ["weekly"]


async def test_changes_go_on_where_they_ended(caldav: CalDav, place: Place):
    first = await caldav.changes(place, None, {}, WINDOW)
    assert (list(first.changed), first.whole) == ([], True)
    url = stranger(place, "one")
    second = await caldav.changes(place, first.token, {}, WINDOW)
    assert [(one.uid, len(one.busy)) for one in second.changed] == [("one", 1)]
    assert second.changed[0].ref == url and second.changed[0].start is not None
    nothing = await caldav.changes(place, second.token, {}, WINDOW)
    assert (list(nothing.changed), list(nothing.removed)) == ([], [])
    send("DELETE", url)
    third = await caldav.changes(place, nothing.token, {}, WINDOW)
    assert (list(third.changed), list(third.removed)) == ([], [url])


async def test_a_token_that_the_server_forgot_means_all_of_it(caldav: CalDav, place: Place):
    stranger(place, "one")
    token = (await caldav.changes(place, None, {}, WINDOW)).token
    assert token is not None
    for stale in ("sync:nonsense", token[:-4] + "0000"):
        told = await caldav.changes(place, stale, {}, WINDOW)
        assert told.whole
        assert [one.uid for one in told.changed] == ["one"]


async def test_without_sync_the_listing_says_what_changed(caldav: CalDav, place: Place):
    stranger(place, "one")
    stranger(place, "two")
    first = await caldav.changes(place, "ctag:none", {}, WINDOW)
    assert first.whole and sorted(one.uid for one in first.changed) == ["one", "two"]
    known = {one.ref: one.etag for one in first.changed}
    assert not (await caldav.changes(place, first.token, known, WINDOW)).whole
    stranger(place, "two", "20261208T100000Z", "20261208T110000Z")
    second = await caldav.changes(place, first.token, known, WINDOW)
    assert [one.uid for one in second.changed] == ["two"]
    assert len(second.unchanged) == 1


async def test_many_events_come_in_pieces(caldav: CalDav, place: Place, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("holdfirst.providers.caldav.provider.AT_ONCE_MAX", 3)
    for number in range(8):
        stranger(place, f"e{number}")
    told = await caldav.changes(place, None, {}, WINDOW)
    assert len({one.uid for one in told.changed}) == 8
