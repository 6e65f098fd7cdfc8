# SPDX-License-Identifier: Apache-2.0
"""The CalDAV adapter against Radicale and Xandikos: what is CalDAV's own. What every adapter keeps is in
test_contract.py.
"""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from holdfirst.calendar.calendar_event import CalendarEvent, EventState, event_uid, marker
from holdfirst.calendar.provider import Access, Place
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


LATER = hold(start=END, end=END + timedelta(hours=1), title="later")


def under_another_name(place: Place, uid: str) -> str:
    """As a program that uploads what it took away."""
    text = send("GET", f"{place.ref}{uid}.ics")[2]
    assert send("DELETE", f"{place.ref}{uid}.ics")[0] in (200, 204)
    assert send("PUT", f"{place.ref}another-name.ics", text)[0] == 201
    return f"{place.ref}another-name.ics"


def stranger(
    place: Place, name: str, start: str = "20261207T103000Z", end: str = "20261207T113000Z", *more: str
) -> str:
    url = f"{place.ref}{name}.ics"
    assert send("PUT", url, vevent(name, start, end, *more))[0] in (201, 204)
    return url


async def test_an_address_without_its_last_slash_will_do(caldav: CalDav, server: Server, calendar_url: str):
    found = await caldav.discover(Access(secrets=server.secrets))
    assert calendar_url in [one.ref for one in found.calendars]
    again = await caldav.discover(Access(secrets=server.secrets | {"url": server.url.rstrip("/")}))
    assert [one.ref for one in again.calendars] == [one.ref for one in found.calendars]


async def test_a_wrong_password_is_denied(caldav: CalDav, radicale_server: Server):
    with pytest.raises(CalendarDenied, match="password"):
        await caldav.discover(Access(secrets=radicale_server.secrets | {"password": "other"}))


async def test_what_is_confirmed_is_private_silent_and_invites_nobody(caldav: CalDav, place: Place):
    etag = await caldav.write(place, hold(), None)
    await caldav.write(place, hold(state=EventState.CONFIRMED, title="Anna"), etag)
    [own] = await caldav.own(place, marker("acc_1"))
    text = send("GET", own.ref)[2].decode()
    assert "STATUS:CONFIRMED" in text and "SUMMARY:Anna" in text and "CLASS:PRIVATE" in text
    assert "ATTENDEE" not in text and "VALARM" not in text


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


@pytest.mark.parametrize(("zone", "utc"), [("America/Los_Angeles", 18), ("Asia/Tokyo", 1)])
async def test_a_time_without_a_zone_is_one_of_the_calendars(
    caldav: CalDav, place: Place, zone: str, utc: int
):
    """Which a server takes as UTC."""
    place = msgspec.structs.replace(place, time_zone=zone)
    stranger(place, "floating", "20261207T100000", "20261207T110000")
    start = START.replace(hour=utc)
    assert [
        one.start for one in (await caldav.busy(place, start, start + timedelta(hours=1))).occurrences
    ] == [start]
    assert (await caldav.busy(place, START, END)).occurrences == []


async def test_a_token_that_is_none_of_the_servers_means_all_of_it(caldav: CalDav, place: Place):
    stranger(place, "one")
    told = await caldav.changes(place, "sync:nonsense", {}, WINDOW)
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


@pytest.mark.parametrize("known", [True, False])
async def test_our_event_under_another_name_is_still_ours(caldav: CalDav, place: Place, known: bool):
    etag = await caldav.write(place, hold(), None)
    stranger(place, "somebody")
    url = under_another_name(place, hold().uid)
    assert await caldav.find(place, hold().uid) is not None
    assert [(one.uid, one.ref) for one in await caldav.own(place, marker("acc_1"))] == [(hold().uid, url)]
    etag = await caldav.write(place, LATER, etag if known else None)
    [own] = await caldav.own(place, marker("acc_1"))
    assert (own.uid, own.ref, own.etag) == (hold().uid, url, etag)
    assert LATER.start in [
        one.start for one in (await caldav.busy(place, LATER.start, LATER.end)).occurrences
    ]
    await caldav.delete(place, hold().uid, etag if known else None)
    assert await caldav.find(place, hold().uid) is None
    assert [one.uid for one in (await caldav.busy(place, START, LATER.end)).occurrences] == ["somebody"]
