# SPDX-License-Identifier: Apache-2.0
"""What every calendar provider keeps: one set of tests for all of them, against servers that nobody here wrote where there
are such, else against a fake that is made of the company's own description.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from itertools import count
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import msgspec
import pytest

from holdfirst.calendar.calendar_event import CalendarEvent, EventState, event_uid, marker
from holdfirst.calendar.provider import Access, CalendarProvider, Changes, EventGone, Place
from holdfirst.errors import CalendarDenied, CalendarRefused, ProviderUnavailable
from holdfirst.providers import ics
from holdfirst.providers.caldav import CalDav
from holdfirst.providers.google import Google, GoogleClient
from holdfirst.providers.icalendar_reader import IcalendarReader
from holdfirst.providers.ics import REF, Ics
from holdfirst.providers.microsoft import Microsoft, MicrosoftClient
from holdfirst.providers.outward import Outward

from . import fake_google, fake_graph
from .servers import Server, send, vevent
from .test_feeds import Publisher, publishing

START = datetime(2026, 12, 7, 10, tzinfo=UTC)
END = START + timedelta(hours=1)
HOUR = timedelta(hours=1)
WINDOW = (START - timedelta(days=30), START + timedelta(days=30))
MARK = marker("acc_1")
ZONE = "Europe/Prague"
names = count()


class Host(Protocol):
    """What the calendar's owner does to it with a program of their own."""

    def add(self, start: datetime, end: datetime) -> str:
        """Answers what `remove` takes."""
        ...

    def add_day(self, day: date) -> None:
        """A whole one: whose midnights bound it, the event does not say."""
        ...

    def remove(self, name: str) -> None: ...

    def remove_ours(self, uid: str) -> None: ...

    def move_ours(self, uid: str, start: datetime, end: datetime) -> None: ...

    def outdated(self, token: str) -> str:
        """A token that the server has forgotten."""
        ...


@dataclass
class Case:
    provider: CalendarProvider
    place: Place
    host: Any
    """A `Host`; of a company that is here as a fake, with what that does to us."""
    writable: bool = True


@dataclass
class DavHost:
    url: str

    def add(self, start: datetime, end: datetime) -> str:
        name = f"stranger{next(names)}"
        self._put(name, start, end)
        return name

    def add_day(self, day: date) -> None:
        name = f"stranger{next(names)}"
        assert send("PUT", f"{self.url}{name}.ics", _whole_day(name, day))[0] in (201, 204)

    def remove(self, name: str) -> None:
        assert send("DELETE", f"{self.url}{name}.ics")[0] in (200, 204)

    def remove_ours(self, uid: str) -> None:
        self.remove(uid)

    def move_ours(self, uid: str, start: datetime, end: datetime) -> None:
        self._put(uid, start, end)

    def outdated(self, token: str) -> str:
        return token[:-4] + "0000"

    def _put(self, name: str, start: datetime, end: datetime) -> None:
        body = vevent(name, f"{start:%Y%m%dT%H%M%SZ}", f"{end:%Y%m%dT%H%M%SZ}")
        assert send("PUT", f"{self.url}{name}.ics", body)[0] in (201, 204)


@dataclass
class GoogleHost:
    fake: fake_google.FakeGoogle
    calendar: str = "host@example.org"

    def add(self, start: datetime, end: datetime) -> str:
        name = f"stranger{next(names)}"
        self.fake.put(self.calendar, name, **_google_times(start, end))
        return name

    def add_day(self, day: date) -> None:
        whole = {"start": {"date": str(day)}, "end": {"date": str(day + timedelta(days=1))}}
        self.fake.put(self.calendar, f"stranger{next(names)}", **whole)

    def remove(self, name: str) -> None:
        self.fake.take(self.calendar, name)

    def remove_ours(self, uid: str) -> None:
        self.fake.take(self.calendar, uid)

    def move_ours(self, uid: str, start: datetime, end: datetime) -> None:
        self.fake.put(self.calendar, uid, **_google_times(start, end))

    def outdated(self, token: str) -> str:
        self.fake.oldest = self.fake.clock
        return token

    # What the company does to us.

    def fail(self, _method: str, fault: str) -> None:
        self.fake.faults.append(fault)

    def close(self) -> None:
        self.fake.roles[self.calendar] = "reader"

    def throttle(self) -> None:
        self.fake.faults, self.fake.retry_after = [429], "1"


def _whole_day(name: str, day: date) -> bytes:
    """Without an end: RFC 5545, 3.6.1, makes it one day."""
    lines = vevent(name, f"{day:%Y%m%d}", "").replace(b"DTSTART:", b"DTSTART;VALUE=DATE:").split(b"\r\n")
    return b"\r\n".join(one for one in lines if one != b"DTEND:")


def _google_times(start: datetime, end: datetime) -> dict[str, Any]:
    return {"start": {"dateTime": start.isoformat()}, "end": {"dateTime": end.isoformat()}}


@dataclass
class GraphHost:
    fake: fake_graph.FakeGraph
    calendar: str = fake_graph.HOME

    def add(self, start: datetime, end: datetime) -> str:
        return self.fake.put(self.calendar, start, end)

    def add_day(self, day: date) -> None:
        midnight = datetime.combine(day, time(), UTC)
        self.fake.put(self.calendar, midnight, midnight + timedelta(days=1), isAllDay=True)

    def remove(self, name: str) -> None:
        self.fake.take(name)

    def remove_ours(self, uid: str) -> None:
        self.fake.take(self._named(uid))

    def move_ours(self, uid: str, start: datetime, end: datetime) -> None:
        times = {"start": fake_graph._time(start), "end": fake_graph._time(end)}
        self.fake.change(self._named(uid), **times)

    def outdated(self, token: str) -> str:
        self.fake.oldest = self.fake.clock
        return token

    # What the company does to us.

    def fail(self, method: str, fault: str) -> None:
        self.fake.faults[method] = [fault]

    def close(self) -> None:
        self.fake.read_only.add(self.calendar)

    def throttle(self) -> None:
        self.fake.faults["POST"] = [1.0]

    def _named(self, uid: str) -> str:
        found: str = next(one["id"] for one in self.fake.within(self.calendar) if one["transactionId"] == uid)
        return found


@dataclass
class FeedHost:
    publisher: Publisher
    events: dict[str, bytes] = field(default_factory=dict)

    def add(self, start: datetime, end: datetime) -> str:
        name = f"stranger{next(names)}"
        self.events[name] = vevent(name, f"{start:%Y%m%dT%H%M%SZ}", f"{end:%Y%m%dT%H%M%SZ}")
        self._publish()
        return name

    def add_day(self, day: date) -> None:
        name = f"stranger{next(names)}"
        self.events[name] = _whole_day(name, day)
        self._publish()

    def remove(self, name: str) -> None:
        del self.events[name]
        self._publish()

    def outdated(self, token: str) -> str:
        return "nonsense"

    def remove_ours(self, uid: str) -> None:
        raise AssertionError("nothing of ours is in a feed")

    def move_ours(self, uid: str, start: datetime, end: datetime) -> None:
        raise AssertionError("nothing of ours is in a feed")

    def _publish(self) -> None:
        self.publisher.body = b"".join(self.events.values()) or b"BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n"


@asynccontextmanager
async def _dav(server: Server, outward: Outward, reader: IcalendarReader) -> AsyncIterator[Case]:
    name = f"contract{next(names)}"
    url = server.make_calendar(name)
    place = Place(access=Access(secrets=server.secrets), ref=url, time_zone=ZONE)
    yield Case(CalDav(outward, reader), place, DavHost(url))
    server.drop_calendar(name)


@asynccontextmanager
async def _google(outward: Outward) -> AsyncIterator[Case]:
    with fake_google.serving(fake_google.FakeGoogle()) as fake:
        client = GoogleClient("client", "secret", f"{fake.url}/calendar/v3", f"{fake.url}/token")
        access = Access(secrets={"refresh_token": fake_google.REFRESH})
        place = Place(access=access, ref="host@example.org", time_zone=ZONE)
        yield Case(Google(outward, client), place, GoogleHost(fake))
        assert fake.fouls == []


@asynccontextmanager
async def _graph(outward: Outward, fake: fake_graph.FakeGraph) -> AsyncIterator[Case]:
    async with fake_graph.serving(fake):
        client = MicrosoftClient(
            client_id="client", client_secret="secret", api=f"{fake.url}/v1.0", login=fake.url
        )
        access = Access(secrets={"refresh_token": "M.refresh0"})
        place = Place(access=access, ref=fake_graph.HOME, time_zone=ZONE)
        yield Case(Microsoft(outward, client), place, GraphHost(fake))
        assert fake.fouls == []


@asynccontextmanager
async def _feed(outward: Outward, reader: IcalendarReader) -> AsyncIterator[Case]:
    async with publishing(b"BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n") as publisher:
        place = Place(access=Access(secrets={"url": publisher.url}), ref=REF, time_zone=ZONE)
        yield Case(Ics(outward, reader), place, FeedHost(publisher), writable=False)


WRITTEN = ["radicale", "xandikos", "google", "graph", "graph_other_mood", "graph_personal"]


@pytest.fixture(params=[*WRITTEN, "ics"])
async def case(
    request: pytest.FixtureRequest,
    outward: Outward,
    reader: IcalendarReader,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Case]:
    monkeypatch.setattr(ics, "FRESH_SECONDS", 0)
    async with _made(request, outward, reader) as one:
        yield one


@pytest.fixture(params=WRITTEN)
async def written(
    request: pytest.FixtureRequest, outward: Outward, reader: IcalendarReader
) -> AsyncIterator[Case]:
    async with _made(request, outward, reader) as one:
        yield one


def _made(
    request: pytest.FixtureRequest, outward: Outward, reader: IcalendarReader
) -> AbstractAsyncContextManager[Case]:
    match request.param:
        case "google":
            return _google(outward)
        case "graph":
            return _graph(outward, fake_graph.FakeGraph())
        case "graph_other_mood":
            # As other documents, and other people, have it.
            mood = fake_graph.FakeGraph(
                duplicate=400,
                stale=(400, "resyncRequired"),
                bin_answers=True,
                tells="some",
                page_max=1,
                mailbox_wide=False,
            )
            return _graph(outward, mood)
        case "graph_personal":
            return _graph(outward, fake_graph.FakeGraph(personal=True))
        case "ics":
            return _feed(outward, reader)
        case kind:
            return _dav(request.getfixturevalue(f"{kind}_server"), outward, reader)


@pytest.fixture(params=["google", "graph"])
async def company(
    request: pytest.FixtureRequest, outward: Outward, reader: IcalendarReader
) -> AsyncIterator[Case]:
    """Those that are here as fakes only: what nobody can make a real one do at will."""
    async with _made(request, outward, reader) as one:
        yield one


def hold(generation: int = 0, **more: Any) -> CalendarEvent:
    event = CalendarEvent(
        uid=event_uid("acc_1", "res_1", "cal_1", generation),
        state=EventState.HOLD,
        start=START,
        end=END,
        title="Hold: žluťoučký kůň; a, b",
    )
    return msgspec.structs.replace(event, **more)


async def spans(case: Case, start: datetime = START, end: datetime = END) -> list[tuple[datetime, datetime]]:
    """Of each as much as lies between: some tell the rest too."""
    told = await case.provider.busy(case.place, start, end)
    return sorted((max(one.start, start), min(one.end, end)) for one in told.occurrences)


class Follower:
    """Knows what changes have told so far, as whoever stores them does."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self.items: dict[str, Any] = {}
        self.token: str | None = None

    async def follow(self) -> Changes:
        known = {ref: one.etag for ref, one in self.items.items()}
        told = await self._case.provider.changes(self._case.place, self.token, known, WINDOW)
        there = {one.ref for one in told.changed} | set(told.unchanged)
        missing = set(told.removed) | (set(self.items) - there if told.whole else set())
        self.items = {ref: one for ref, one in self.items.items() if ref not in missing or ref in there}
        self.items |= {one.ref: one for one in told.changed}
        self.token = told.token
        return told

    @property
    def spans(self) -> list[tuple[datetime, datetime]]:
        return sorted(span for one in self.items.values() for span in one.busy)


# What is read


async def test_calendars_are_found(case: Case):
    found = (await case.provider.discover(case.place.access)).calendars
    assert [one.writable for one in found if one.ref == case.place.ref] == [case.writable]


async def test_a_stranger_is_seen_and_what_only_touches_is_not(case: Case):
    case.host.add(START - HOUR, START)
    case.host.add(END, END + HOUR)
    assert await spans(case) == []
    case.host.add(START + HOUR / 2, END + HOUR / 2)
    assert await spans(case) == [(START + HOUR / 2, END)]


@pytest.mark.parametrize(
    ("zone", "hour"), [("America/Los_Angeles", 16), ("Asia/Tokyo", 1), ("Pacific/Kiritimati", 0)]
)
async def test_a_whole_day_is_one_of_the_calendars_zone(case: Case, zone: str, hour: int):
    """To its last hour in the west and its first in the east: both are another day in UTC."""
    case.place = msgspec.structs.replace(case.place, time_zone=zone)
    start = datetime(2026, 12, 8, hour, 30, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    case.host.add_day(date(2026, 12, 8))
    assert await spans(case, start, start + HOUR / 2) == [(start, start + HOUR / 2)]
    the_day_before, the_day_after = start - timedelta(days=1), start + timedelta(days=1)
    assert await spans(case, the_day_before, the_day_before + HOUR / 2) == []
    assert await spans(case, the_day_after, the_day_after + HOUR / 2) == []


async def test_following_the_changes_is_knowing_what_is_there(case: Case):
    follower = Follower(case)
    assert (await follower.follow()).whole
    assert follower.spans == []
    first = case.host.add(START, END)
    case.host.add(END, END + HOUR)
    await follower.follow()
    assert follower.spans == [(START, END), (END, END + HOUR)]
    nothing = await follower.follow()
    assert (list(nothing.changed), list(nothing.removed), nothing.whole) == ([], [], False)
    case.host.remove(first)
    await follower.follow()
    assert follower.spans == [(END, END + HOUR)]


async def test_a_token_that_the_server_forgot_means_all_of_it(case: Case):
    follower = Follower(case)
    gone = case.host.add(START, END)
    await follower.follow()
    case.host.remove(gone)
    case.host.add(END, END + HOUR)
    assert follower.token is not None
    follower.token = case.host.outdated(follower.token)
    assert (await follower.follow()).whole
    assert follower.spans == [(END, END + HOUR)]
    assert not (await follower.follow()).whole


# What is written


async def test_a_hold_is_there_once_however_often_it_is_written(written: Case):
    provider, place = written.provider, written.place
    await asyncio.gather(*[provider.write(place, hold(), None) for _ in range(3)])
    etag = await provider.write(place, hold(), None)
    assert await provider.write(place, hold(), etag)
    assert [one.uid for one in await provider.own(place, MARK)] == [hold().uid]
    told = await provider.busy(place, START, END)
    assert [(one.uid, one.start, one.end) for one in told.occurrences] == [(hold().uid, START, END)]


async def test_a_hold_becomes_confirmed_in_place(written: Case):
    provider, place = written.provider, written.place
    etag = await provider.write(place, hold(), None)
    [before] = await provider.own(place, MARK)
    later = await provider.write(place, hold(state=EventState.CONFIRMED, title="Anna"), etag)
    [after] = await provider.own(place, MARK)
    assert after.ref == before.ref and later != etag


async def test_what_an_unanswered_write_left_is_written_over(written: Case):
    provider, place = written.provider, written.place
    await provider.write(place, hold(), None)
    etag = await provider.write(place, hold(start=END, end=END + HOUR), None)
    assert await spans(written, START, END + HOUR) == [(END, END + HOUR)]
    assert await provider.find(place, hold().uid) == etag


async def test_what_the_host_changed_meanwhile_does_not_stop_us(written: Case):
    provider, place = written.provider, written.place
    etag = await provider.write(place, hold(), None)
    written.host.move_ours(hold().uid, END, END + HOUR)
    etag = await provider.write(place, hold(title="ours"), etag)
    assert await spans(written, START, END + HOUR) == [(START, END)]
    written.host.move_ours(hold().uid, END, END + HOUR)
    await provider.delete(place, hold().uid, etag)
    assert await provider.find(place, hold().uid) is None


async def test_an_event_that_was_taken_away_is_said_to_be_gone(written: Case):
    provider, place = written.provider, written.place
    assert await provider.find(place, hold().uid) is None
    etag = await provider.write(place, hold(), None)
    assert await provider.find(place, hold().uid) == etag
    written.host.remove_ours(hold().uid)
    assert await provider.find(place, hold().uid) is None
    with pytest.raises(EventGone):
        await provider.write(place, hold(state=EventState.CONFIRMED), etag)
    await provider.write(place, hold(1), None)
    assert [one.uid for one in await provider.own(place, MARK)] == [hold(1).uid]


async def test_deleting_twice_is_deleting(written: Case):
    """Whether there was anything to delete is said; of one in a bin that answers, nobody can tell."""
    provider, place = written.provider, written.place
    etag = await provider.write(place, hold(), None)
    assert await provider.delete(place, hold().uid, etag)
    in_a_bin = getattr(getattr(written.host, "fake", None), "bin_answers", False)
    assert await provider.delete(place, hold().uid, etag) == in_a_bin
    assert not await provider.delete(place, hold().uid, None)
    await provider.write(place, hold(1), None)
    assert await provider.delete(place, hold(1).uid, None)
    assert list(await provider.own(place, MARK)) == []
    assert await spans(written) == []


async def test_only_what_bears_our_marker_is_ours(written: Case):
    provider, place = written.provider, written.place
    written.host.add(START, END)
    await provider.write(place, hold(), None)
    [own] = await provider.own(place, MARK)
    assert own.uid == hold().uid
    assert list(await provider.own(place, marker("acc_2"))) == []
    await provider.delete(place, own.uid, own.etag)
    assert len(await spans(written)) == 1


async def test_changes_tell_what_became_of_ours(written: Case):
    """By its uid and its etag it is known as ours; where the host put it, and that they took it away, is told."""
    provider, place, follower = written.provider, written.place, Follower(written)
    await follower.follow()
    etag = await provider.write(place, hold(), None)
    [seen] = (await follower.follow()).changed
    assert (seen.uid, seen.etag, seen.start, seen.end) == (hold().uid, etag, START, END)
    written.host.move_ours(hold().uid, END, END + HOUR)
    [moved] = (await follower.follow()).changed
    assert (moved.ref, moved.uid, moved.start, moved.end) == (seen.ref, hold().uid, END, END + HOUR)
    assert moved.etag != etag
    written.host.remove_ours(hold().uid)
    assert list((await follower.follow()).removed) == [seen.ref]


# What a company does to us


@pytest.mark.parametrize("cut", ["cut_before", "cut_after"])
async def test_whether_an_unanswered_call_was_done_is_found_out(company: Case, cut: str):
    provider, place, host = company.provider, company.place, company.host
    host.fail("POST", cut)
    with pytest.raises(ProviderUnavailable):
        await provider.write(place, hold(), None)
    there = await provider.find(place, hold().uid)
    assert (there is not None) == (cut == "cut_after")
    etag = await provider.write(place, hold(), there)
    host.fail("PATCH", cut)
    with pytest.raises(ProviderUnavailable):
        await provider.write(place, hold(title="again"), etag)
    etag = await provider.write(place, hold(title="again"), etag)
    assert [one.uid for one in await provider.own(place, MARK)] == [hold().uid]
    host.fail("DELETE", cut)
    with pytest.raises(ProviderUnavailable):
        await provider.delete(place, hold().uid, etag)
    assert (await provider.find(place, hold().uid) is None) == (cut == "cut_after")
    await provider.delete(place, hold().uid, etag)
    assert list(await provider.own(place, MARK)) == []


async def test_what_is_told_late_is_told_in_the_end(company: Case):
    """The token does not go past what was not told."""
    follower = Follower(company)
    await follower.follow()
    company.host.fake.lag = 1
    company.host.add(START, END)
    assert await spans(company) == []
    await follower.follow()
    assert follower.spans == []
    company.host.fake.lag = 0
    assert await spans(company) == [(START, END)]
    await follower.follow()
    assert follower.spans == [(START, END)]


async def test_who_does_not_wait_any_longer_leaves_nothing_behind(company: Case):
    await spans(company)
    company.host.fake.latency = 0.3
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await spans(company)
    company.host.fake.latency = 0.0
    await asyncio.sleep(0.4)
    company.host.add(START, END)
    assert await spans(company) == [(START, END)]


async def test_a_grant_that_was_revoked_is_denied(company: Case):
    provider, place = company.provider, company.place
    await provider.write(place, hold(), None)
    company.host.fake.revoked = True
    company.host.fake.access_tokens.clear()
    for call in (provider.busy(place, START, END), provider.write(place, hold(1), None)):
        with pytest.raises(CalendarDenied):
            await call


async def test_a_calendar_that_is_only_read_says_so_of_writes_alone(company: Case):
    provider, place, host = company.provider, company.place, company.host
    etag = await provider.write(place, hold(), None)
    host.close()
    for call in (
        provider.write(place, hold(1), None),
        provider.write(place, hold(title="again"), etag),
        provider.delete(place, hold().uid, etag),
    ):
        with pytest.raises(CalendarRefused):
            await call
    assert len(await spans(company)) == 1
    found = (await provider.discover(place.access)).calendars
    assert [one.writable for one in found if one.ref == place.ref] == [False]


async def test_asked_to_wait_a_moment_it_is_done_once_after_it(company: Case):
    provider, place = company.provider, company.place
    await spans(company)
    company.host.throttle()
    began = asyncio.get_running_loop().time()
    await provider.write(place, hold(), None)
    assert asyncio.get_running_loop().time() - began >= 1
    assert [one.uid for one in await provider.own(place, MARK)] == [hold().uid]
