# SPDX-License-Identifier: Apache-2.0
"""What CalDAV servers are known to do that are not here, each in a few lines of `odd_caldav.py`."""

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from holdfirst.calendar.provider import Access, EventGone, Place
from holdfirst.errors import CalendarRefused, ProviderUnavailable
from holdfirst.providers.caldav import CalDav
from holdfirst.providers.icalendar_reader import IcalendarReader
from holdfirst.providers.outward import Outward

from .odd_caldav import OddCalDav, odd_caldav
from .test_caldav import END, LATER, START, WINDOW, hold

TAKEN = '<d:error xmlns:d="DAV:"><c:no-uid-conflict xmlns:c="urn:ietf:params:xml:ns:caldav"/></d:error>'


def place(odd: OddCalDav) -> Place:
    return Place(access=Access(secrets={"url": odd.url}), ref=odd.url, time_zone="Europe/Prague")


@pytest.fixture
def caldav(outward: Outward, reader: IcalendarReader) -> CalDav:
    return CalDav(outward, reader)


@pytest.mark.parametrize("answer", [(409, TAKEN), (403, TAKEN), (412, TAKEN), (412, "")])
async def test_a_uid_that_stands_in_another_calendar_is_given_up(caldav: CalDav, answer: tuple[int, str]):
    """iCloud and Cyrus let an account have a uid once: our event was dragged into another calendar of its."""
    async with odd_caldav(OddCalDav({"other.ics": "other"}, conflict=answer)) as odd:
        with pytest.raises(EventGone):
            await caldav.write(place(odd), hold(), None)
        assert odd.events == {"other.ics": "other"}


@pytest.mark.parametrize("answer", [(409, ""), (403, ""), (404, ""), (507, "")])
async def test_what_is_refused_for_another_reason_is_said(caldav: CalDav, answer: tuple[int, str]):
    async with odd_caldav(OddCalDav(conflict=answer)) as odd:
        with pytest.raises((CalendarRefused, ProviderUnavailable)):
            await caldav.write(place(odd), hold(), None)


async def test_what_a_search_tells_besides_is_left_alone(caldav: CalDav):
    """Text search is not to be relied on: what is deleted bears our uid."""
    async with odd_caldav(
        OddCalDav({"a.ics": "other", "b.ics": hold().uid, "c.ics": f"{hold().uid}x"})
    ) as odd:
        await caldav.delete(place(odd), hold().uid, None)
        assert sorted(odd.events) == ["a.ics", "c.ics"]
        await caldav.delete(place(odd), hold().uid, None)
        assert sorted(odd.events) == ["a.ics", "c.ics"]


@pytest.mark.parametrize("etag", [None, 'W/"{}"', '"{}"'])
async def test_without_an_etag_that_can_be_compared_there_is_no_condition(caldav: CalDav, etag: str | None):
    """Never `If-Match: *`, which iCloud takes for its contrary."""
    async with odd_caldav(OddCalDav(etag=etag)) as odd:
        first = await caldav.write(place(odd), hold(), None)
        for known in (first or None, first):
            assert await caldav.write(place(odd), LATER, known) is not None
        assert await caldav.find(place(odd), hold().uid) is not None
        await caldav.delete(place(odd), hold().uid, await caldav.find(place(odd), hold().uid))
        assert odd.events == {}
        conditions = [one.get("if-match") for one in (*odd.requests("PUT"), *odd.requests("DELETE"))]
        strong = etag == '"{}"'
        assert all(one is None or (strong and one.startswith('"')) for one in conditions)
        assert any(one is not None for one in conditions) == strong


async def test_what_is_not_known_to_be_there_is_created_and_never_put_over(caldav: CalDav):
    """The server's own condition is the lock; what stands there is met with the etag that it has."""
    async with odd_caldav(OddCalDav(etag='"{}"')) as odd:
        await caldav.write(place(odd), hold(), None)
        await caldav.write(place(odd), LATER, None)
        first, again, over = odd.requests("PUT")
        assert first.get("if-none-match") == again.get("if-none-match") == "*"
        assert "if-none-match" not in over and over["if-match"].startswith('"')
        assert len(odd.events) == 1


async def test_changes_that_come_in_parts_are_put_together(caldav: CalDav):
    async with odd_caldav(OddCalDav({f"e{number}.ics": f"e{number}" for number in range(5)}, part=2)) as odd:
        told = await caldav.changes(place(odd), None, {}, WINDOW)
        assert told.whole and sorted(one.uid for one in told.changed) == ["e0", "e1", "e2", "e3", "e4"]
        known = {one.ref: one.etag for one in told.changed}
        again = await caldav.changes(place(odd), told.token, known, WINDOW)
        assert (list(again.changed), again.whole) == ([], False)


async def test_a_part_of_what_is_busy_is_no_answer(caldav: CalDav):
    async with odd_caldav(OddCalDav({"e.ics": "e"}, cut=True)) as odd:
        with pytest.raises(ProviderUnavailable, match="part"):
            await caldav.busy(place(odd), START, END)


async def test_where_something_changed_and_nothing_is_told_all_of_it_is_read(caldav: CalDav):
    """DAViCal says nothing of a token that it does not know; BlueMind's changes may be empty."""
    async with odd_caldav(OddCalDav({"a.ics": "a"}, tells=False)) as odd:
        told = await caldav.changes(place(odd), None, {}, WINDOW)
        known = {one.ref: one.etag for one in told.changed}
        assert not (await caldav.changes(place(odd), told.token, known, WINDOW)).whole
        odd.events["b.ics"], odd.ctag = "b", odd.ctag + 1
        again = await caldav.changes(place(odd), told.token, known, WINDOW)
        assert again.whole and sorted(one.uid for one in again.changed) == ["a", "b"]


async def test_what_is_too_large_together_is_asked_for_in_halves(reader: IcalendarReader, outward: Outward):
    class Small(Outward):
        async def ask(self, *asked: Any, **more: Any) -> Any:
            return await outward.ask(*asked, **more, size_max=4000)

    events = {f"e{number}.ics": f"e{number}" for number in range(7)}
    async with odd_caldav(OddCalDav(events, padding="x" * 1000)) as odd:
        told = await CalDav(Small(), reader).changes(place(odd), None, {}, WINDOW)
        assert sorted(one.uid for one in told.changed) == sorted(events.values())


async def test_a_server_that_asks_us_to_wait_is_left_alone_for_so_long(caldav: CalDav):
    async with odd_caldav(OddCalDav(waits=["1"])) as odd:
        began = asyncio.get_running_loop().time()
        await caldav.write(place(odd), hold(), None)
        assert asyncio.get_running_loop().time() - began >= 1
        assert len(odd.requests("PUT")) == 2
        odd.waits = [format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)]
        for _ in range(3):
            with pytest.raises(ProviderUnavailable, match="to wait"):
                await caldav.busy(place(odd), START, END)
        assert len(odd.requests("REPORT")) == 1
