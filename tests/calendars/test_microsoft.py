# SPDX-License-Identifier: Apache-2.0
"""The Microsoft adapter against a fake that is made of Microsoft's own reference (`graph_rules.py`, `fake_graph.py`): what is
Graph's own. What every adapter keeps is in test_contract.py.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import icalendar.timezone.windows_to_olson as windows
import msgspec
import pytest

from conftest import Clock
from holdfirst.calendar.calendar_event import CalendarEvent, EventState, event_uid, marker
from holdfirst.calendar.provider import Access, EventGone, Place
from holdfirst.effects.examine_calendars import examine
from holdfirst.errors import CalendarDenied, CalendarRefused, ProviderUnavailable
from holdfirst.providers.microsoft import Microsoft, MicrosoftClient, zones
from holdfirst.providers.microsoft.graph import AT_ONCE_MAX
from holdfirst.providers.outward import Outward
from holdfirst.store.database import Database
from house import House, open_house

from .fake_graph import HOME, SHARED, FakeGraph
from .graph_rules import Foul, check_event, check_query
from .servers import Server

START = datetime(2026, 12, 7, 10, tzinfo=UTC)
END = START + timedelta(hours=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
WINDOW = (START - 30 * DAY, START + 30 * DAY)
MARK = marker("acc_1")


def adapter_of(fake: FakeGraph, outward: Outward) -> Microsoft:
    client = MicrosoftClient(
        client_id="client", client_secret="secret", api=f"{fake.url}/v1.0", login=fake.url
    )
    return Microsoft(outward, client)


@pytest.fixture
def adapter(fake: FakeGraph, outward: Outward) -> Microsoft:
    return adapter_of(fake, outward)


ACCESS = Access(secrets={"refresh_token": "M.refresh0"}, server={"mailbox": "host@example.org"})
PLACE = Place(access=ACCESS, ref=HOME, time_zone="Europe/Prague")


def hold(generation: int = 0, **more: Any) -> CalendarEvent:
    uid = event_uid("acc_1", "res_1", "cal_1", generation)
    event = CalendarEvent(uid=uid, state=EventState.HOLD, start=START, end=END, title="Hold: kůň")
    return msgspec.structs.replace(event, **more)


async def busy(adapter: Microsoft, start: datetime = START, end: datetime = END) -> list[str]:
    return [one.uid for one in (await adapter.busy(PLACE, start, end)).occurrences]


# What is there


async def test_calendars_are_found_the_own_one_first_with_the_mailboxs_zone(
    fake: FakeGraph, adapter: Microsoft
):
    fake.read_only.add(SHARED)
    fake.page_max = 1
    found = await adapter.discover(ACCESS)
    assert [(one.ref, one.writable, one.time_zone) for one in found.calendars] == [
        (HOME, True, "Europe/Budapest"),
        (SHARED, False, "Europe/Budapest"),
    ]
    assert found.server == {"mailbox": "host@example.org"}


@pytest.mark.parametrize("zone", [None, "Customized Time Zone", "tzone://Microsoft/Custom"])
async def test_a_zone_that_we_are_not_told_or_nobody_knows_is_the_hosts(
    fake: FakeGraph, adapter: Microsoft, zone: str | None
):
    fake.time_zone = zone
    assert {one.time_zone for one in (await adapter.discover(ACCESS)).calendars} == {None}


async def test_a_personal_account_signs_in_where_the_operator_lets_it(fake: FakeGraph, outward: Outward):
    """Its tokens go through as they are; what it tells nobody is not needed."""
    fake.personal = True
    adapter = adapter_of(fake, outward)
    found = await adapter.discover(msgspec.structs.replace(ACCESS, server={}))
    assert [(one.name, one.writable) for one in found.calendars] == [("Calendar", True), ("Birthdays", False)]
    assert found.server == {}
    fake.access_tokens.clear()
    await adapter.write(PLACE, hold(), None)
    assert await adapter.find(PLACE, hold().uid) is not None
    organisation = MicrosoftClient(
        client_id="client",
        client_secret="secret",
        tenant="practice.example",
        api=f"{fake.url}/v1.0",
        login=fake.url,
    )
    with pytest.raises(CalendarDenied, match=r"AADSTS50020.*HOLDFIRST_MICROSOFT_TENANT"):
        await Microsoft(outward, organisation).discover(ACCESS)


def test_zones_by_the_names_of_windows():
    """Against the table of a library that we do not import where requests are served."""
    assert dict(zones._WINDOWS) == windows.WINDOWS_TO_OLSON
    assert all(zones.zone_named(name) in (zone, "UTC") for name, zone in windows.WINDOWS_TO_OLSON.items())
    assert (zones.zone_named("Europe/Prague"), zones.zone_named("Mars")) == ("Europe/Prague", None)


async def test_a_hold_is_private_and_silent_and_a_confirm_is_a_patch(fake: FakeGraph, adapter: Microsoft):
    etag = await adapter.write(PLACE, hold(), None)
    [event] = fake.within(HOME)
    assert (event["showAs"], event["sensitivity"], event["isReminderOn"]) == ("tentative", "private", False)
    assert event["transactionId"] == hold().uid
    assert "attendees" not in event
    confirmed = hold(
        state=EventState.CONFIRMED, title="Anna", text="anna@example.org\nres_1", location="Room 1"
    )
    await adapter.write(PLACE, confirmed, etag)
    assert fake.asked[-1].startswith("PATCH")
    [event] = fake.within(HOME)
    assert (event["showAs"], event["subject"], event["sensitivity"]) == ("busy", "Anna", "private")
    assert len([one for one in fake.asked if one.startswith("POST")]) == 1


async def test_ids_stay_where_an_event_is_moved_to_another_calendar(fake: FakeGraph, adapter: Microsoft):
    """Without the preference they would not: the fake's are made of the calendar."""
    await adapter.write(PLACE, hold(), None)
    [before] = (await adapter.changes(PLACE, None, {}, WINDOW)).changed
    [event] = fake.within(HOME)
    fake.change(event["id"], calendar=SHARED)
    other = msgspec.structs.replace(PLACE, ref=SHARED)
    [after] = (await adapter.changes(other, None, {}, WINDOW)).changed
    assert (after.ref, after.uid) == (before.ref, hold().uid)
    assert await adapter.find(PLACE, hold().uid) is None


async def test_what_stands_in_another_calendar_of_the_mailbox_is_not_in_this_one(
    fake: FakeGraph, adapter: Microsoft
):
    """Graph searches the mailbox, whichever calendar it is asked about."""
    other = msgspec.structs.replace(PLACE, ref=SHARED)
    await adapter.write(PLACE, hold(), None)
    await adapter.write(other, hold(1, start=START + 2000 * DAY, end=END + 2000 * DAY), None)
    assert [one.uid for one in await adapter.own(PLACE, MARK)] == [hold().uid]
    assert [one.uid for one in await adapter.own(other, MARK)] == [hold(1).uid]
    assert await adapter.find(PLACE, hold().uid) is not None
    assert await adapter.find(other, hold().uid) is None
    await adapter.delete(other, hold().uid, None)
    assert len(fake.within(HOME)) == 1


# Answers that are lost


@pytest.mark.parametrize("fault", ["cut_before", "cut_after", 500, 504])
@pytest.mark.parametrize("remembers", [True, False])
async def test_a_write_whose_answer_was_lost_is_there_once(
    fake: FakeGraph, adapter: Microsoft, fault: Any, remembers: bool
):
    """By its transaction id; and once nobody remembers that, by looking first, as whoever lost an answer does."""
    fake.faults["POST"] = [fault]
    with pytest.raises(ProviderUnavailable):
        await adapter.write(PLACE, hold(), None)
    fake.remembers = remembers
    known = None if remembers else await adapter.find(PLACE, hold().uid)
    await adapter.write(PLACE, hold(), known)
    assert [one.uid for one in await adapter.own(PLACE, MARK)] == [hold().uid]


@pytest.mark.parametrize("status", [400, 409])
async def test_a_transaction_id_that_was_used_for_another_text_is_written_over(
    fake: FakeGraph, adapter: Microsoft, status: int
):
    fake.duplicate = status
    await adapter.write(PLACE, hold(), None)
    await adapter.write(PLACE, hold(state=EventState.CONFIRMED, title="Anna"), None)
    [event] = fake.within(HOME)
    assert (event["subject"], event["showAs"]) == ("Anna", "busy")


@pytest.mark.parametrize("status", [400, 409])
async def test_one_that_was_used_for_what_is_gone_is_gone(fake: FakeGraph, adapter: Microsoft, status: int):
    fake.duplicate = status
    await adapter.write(PLACE, hold(), None)
    await adapter.delete(PLACE, hold().uid, None)
    with pytest.raises(EventGone):
        await adapter.write(PLACE, hold(), None)
    await adapter.write(PLACE, hold(1), None)


async def test_duplicates_are_all_deleted(fake: FakeGraph, adapter: Microsoft):
    fake.remembers = False
    await adapter.write(PLACE, hold(), None)
    await adapter.write(PLACE, hold(), None)
    assert len(fake.within(HOME)) == 2
    await adapter.delete(PLACE, hold().uid, None)
    assert fake.within(HOME) == []


async def test_a_deleted_event_in_the_bin_is_not_taken_for_ours(fake: FakeGraph, adapter: Microsoft):
    """Its id stays, and Graph may answer to it."""
    fake.bin_answers = True
    etag = await adapter.write(PLACE, hold(), None)
    fake.take(fake.within(HOME)[0]["id"])
    assert await adapter.find(PLACE, hold().uid) is None
    with pytest.raises(EventGone):
        await adapter.write(PLACE, hold(title="other"), etag)


async def test_a_copy_that_the_host_made_of_ours_is_theirs(fake: FakeGraph, adapter: Microsoft):
    await adapter.write(PLACE, hold(), None)
    [event] = fake.within(HOME)
    copy = fake.put(HOME, START, END, extended=event["extended"])
    assert sorted(await busy(adapter)) == sorted([hold().uid, copy])
    assert [one.uid for one in await adapter.own(PLACE, MARK)] == [hold().uid]
    await adapter.delete(PLACE, hold().uid, None)
    assert await busy(adapter) == [copy]


# What counts as busy

BUSY: dict[str, tuple[dict[str, Any], bool]] = {
    "plain": ({}, True),
    "free": ({"showAs": "free"}, False),
    "tentative": ({"showAs": "tentative"}, True),
    "out_of_office": ({"showAs": "oof"}, True),
    "elsewhere": ({"showAs": "workingElsewhere"}, False),
    "unknown": ({"showAs": "unknown"}, True),
    "cancelled": ({"isCancelled": True}, False),
    "declined": ({"responseStatus": {"response": "declined"}}, False),
    "unanswered": ({"responseStatus": {"response": "notResponded"}}, True),
    "accepted": ({"responseStatus": {"response": "accepted"}}, True),
    "another_programs": ({"transactionId": "7E163156-7762-4BEB-A1C6-729EA81755A7"}, True),
    "another_account": ({"transactionId": event_uid("acc_2", "r", "c", 0)}, True),
}


@pytest.mark.parametrize("name", BUSY)
async def test_what_is_busy(fake: FakeGraph, adapter: Microsoft, name: str):
    members, expected = BUSY[name]
    fake.put(HOME, START, END, **members)
    assert bool(await busy(adapter)) is expected
    [told] = (await adapter.changes(PLACE, None, {}, WINDOW)).changed
    assert bool(told.busy) is expected


async def test_a_whole_day_is_the_calendars_own(fake: FakeGraph, adapter: Microsoft):
    """Graph says midnight to midnight in whatever zone is asked for; in Prague that is 23:00 to 23:00 UTC."""
    midnight = datetime(2026, 12, 7, tzinfo=UTC)
    day = fake.put(HOME, midnight, midnight + DAY, isAllDay=True)
    assert await busy(adapter, midnight - HOUR, midnight) == [day]
    assert await busy(adapter, midnight + 23 * HOUR, midnight + 24 * HOUR) == []
    [told] = (await adapter.changes(PLACE, None, {}, WINDOW)).changed
    assert told.busy == [(midnight - HOUR, midnight + 23 * HOUR)]


async def test_the_day_the_clocks_change_has_25_hours(fake: FakeGraph, adapter: Microsoft):
    midnight = datetime(2026, 10, 25, tzinfo=UTC)
    fake.put(HOME, midnight, midnight + DAY, isAllDay=True)
    [told] = (await adapter.changes(PLACE, None, {}, (midnight - 9 * DAY, midnight + 9 * DAY))).changed
    [(start, end)] = told.busy
    assert end - start == timedelta(hours=25)


async def test_many_events_come_page_by_page(fake: FakeGraph, adapter: Microsoft):
    fake.page_max = 3
    for number in range(8):
        fake.put(HOME, START + number * HOUR / 10, END)
    assert len(await busy(adapter)) == 8
    assert len((await adapter.changes(PLACE, None, {}, WINDOW)).changed) == 8


# Series

WEEKS = [(START + week * 7 * DAY, END + week * 7 * DAY) for week in range(3)]


@pytest.mark.parametrize("tells", ["all", "some"])
async def test_a_series_is_one_thing_and_told_whole(fake: FakeGraph, adapter: Microsoft, tells: str):
    """An occurrence of a delta has nothing but its times, and that one was deleted is not told."""
    fake.tells = tells
    name = fake.put_series(HOME, WEEKS)
    first = await adapter.changes(PLACE, None, {}, WINDOW)
    assert [(one.ref, list(one.busy), one.start) for one in first.changed] == [(name, WEEKS, None)]
    assert len((await adapter.busy(PLACE, START, END + 15 * DAY)).occurrences) == 3
    occurrences = fake.events[name]["occurrences"]
    [second] = [one for one in occurrences if one.endswith(".1")]
    left = {one: times for one, times in occurrences.items() if one != second}
    fake.change(name, occurrences=left)
    later = await adapter.changes(PLACE, first.token, {name: "x"}, WINDOW)
    assert [(one.ref, list(one.busy)) for one in later.changed] == [(name, [WEEKS[0], WEEKS[2]])]
    fake.take(name)
    gone = await adapter.changes(PLACE, later.token, {}, WINDOW)
    assert (list(gone.changed), list(gone.removed)) == ([], [name])


async def test_an_exception_of_a_series_speaks_for_itself(fake: FakeGraph, adapter: Microsoft):
    name = fake.put_series(HOME, WEEKS, showAs="free")
    told = await adapter.changes(PLACE, None, {}, WINDOW)
    assert [list(one.busy) for one in told.changed] == [[]]
    [second] = [one for one in fake.events[name]["occurrences"] if one.endswith(".1")]
    occurrences = dict(fake.events[name]["occurrences"])
    occurrences[second] = occurrences[second] | {"type": "exception", "showAs": "busy"}
    fake.change(name, occurrences=occurrences)
    for token in (told.token, None):
        [one] = (await adapter.changes(PLACE, token, {}, WINDOW)).changed
        assert list(one.busy) == [WEEKS[1]]


async def test_the_master_of_a_series_that_is_not_told_is_asked_for(
    fake: FakeGraph, adapter: Microsoft, monkeypatch: pytest.MonkeyPatch
):
    name = fake.put_series(HOME, WEEKS, showAs="free")
    told = fake._told
    monkeypatch.setattr(fake, "_told", lambda *asked: [one for one in told(*asked) if one["id"] != name])
    [one] = (await adapter.changes(PLACE, None, {}, WINDOW)).changed
    assert (one.ref, list(one.busy)) == (name, [])


# Changes


@pytest.mark.parametrize(
    "stale",
    [(410, "SyncStateNotFound"), (410, "resyncRequired"), (400, "ErrorInvalidSyncStateData"), (404, "x")],
)
async def test_a_token_that_is_too_old_by_whatever_name(
    fake: FakeGraph, adapter: Microsoft, stale: tuple[int, str]
):
    first = await adapter.changes(PLACE, None, {}, WINDOW)
    fake.stale = stale
    one = fake.put(HOME, START, END)
    fake.oldest = fake.clock
    told = await adapter.changes(PLACE, first.token, {}, WINDOW)
    assert ([change.ref for change in told.changed], told.whole) == ([one], True)


async def test_what_is_moved_out_of_the_window_is_gone_from_it(fake: FakeGraph, adapter: Microsoft):
    one = fake.put(HOME, START, END)
    first = await adapter.changes(PLACE, None, {}, WINDOW)
    far = {"dateTime": "2027-12-07T10:00:00", "timeZone": "UTC"}
    later = {"dateTime": "2027-12-07T11:00:00", "timeZone": "UTC"}
    fake.change(one, start=far, end=later)
    told = await adapter.changes(PLACE, first.token, {}, WINDOW)
    assert (list(told.changed), list(told.removed)) == ([], [one])


async def test_a_token_leads_to_microsoft_or_nowhere(adapter: Microsoft):
    for token in ("https://evil.example/v1.0/me", "http://127.0.0.1:1/v1.0/x"):
        with pytest.raises(ProviderUnavailable, match="elsewhere"):
            await adapter.changes(PLACE, token, {}, WINDOW)


# How fast


async def test_a_mailbox_is_asked_three_things_at_a_time(fake: FakeGraph, adapter: Microsoft):
    fake.latency = 0.02
    other = msgspec.structs.replace(
        PLACE, access=Access(secrets={"refresh_token": "M.refresh0"}, server=ACCESS.server), ref=SHARED
    )
    await asyncio.gather(*[adapter.busy(place, START, END) for place in (PLACE, other) for _ in range(6)])
    assert fake.most == AT_ONCE_MAX


async def test_the_twin_without_turns_is_throttled(
    fake: FakeGraph, outward: Outward, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("holdfirst.providers.microsoft.graph.AT_ONCE_MAX", 50)
    monkeypatch.setattr("holdfirst.providers.rest.WAIT_SECONDS_MAX", 0)
    fake.latency = 0.05
    hasty = adapter_of(fake, outward)
    await hasty.busy(PLACE, START, END)
    done = await asyncio.gather(*[hasty.busy(PLACE, START, END) for _ in range(20)], return_exceptions=True)
    assert any(isinstance(one, ProviderUnavailable) for one in done)


async def test_asked_to_wait_a_moment_we_wait(fake: FakeGraph, adapter: Microsoft):
    fake.faults["GET"] = [1.0]
    began = asyncio.get_running_loop().time()
    assert await busy(adapter) == []
    assert asyncio.get_running_loop().time() - began >= 0.9


async def test_asked_to_wait_longer_nothing_is_asked_until_then(
    fake: FakeGraph, adapter: Microsoft, monkeypatch: pytest.MonkeyPatch
):
    fake.faults["GET"] = [30.0]
    with pytest.raises(ProviderUnavailable, match="wait"):
        await adapter.busy(PLACE, START, END)
    asked = len(fake.asked)
    for call in (adapter.busy(PLACE, START, END), adapter.write(PLACE, hold(), None)):
        with pytest.raises(ProviderUnavailable, match="wait"):
            await call
    assert len(fake.asked) == asked
    now = asyncio.get_running_loop().time()
    monkeypatch.setattr("holdfirst.providers.rest.monotonic", lambda: now + 1000.0)
    assert await busy(adapter) == []


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_server_in_trouble_is_no_answer(
    fake: FakeGraph, adapter: Microsoft, status: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("holdfirst.providers.rest.WAIT_SECONDS_MAX", 0)
    fake.faults["GET"] = [status]
    with pytest.raises(ProviderUnavailable):
        await adapter.busy(PLACE, START, END)


# Who is let in


async def test_the_latest_refresh_token_is_kept_and_the_one_before_it_not_needed(
    fake: FakeGraph, outward: Outward
):
    fake.forgets_used = True
    kept: dict[str, str] = {"refresh_token": "M.refresh0"}

    async def keep(exchanged: Any) -> None:
        kept.update(exchanged)

    for _ in range(3):
        # Another process each time: it knows what was kept, and nothing else.
        place = msgspec.structs.replace(PLACE, access=Access(secrets=dict(kept), keep=keep))
        await adapter_of(fake, outward).busy(place, START, END)
    assert kept["refresh_token"] in fake.grants and "M.refresh0" not in fake.grants


async def test_many_at_once_renew_one_token_once(fake: FakeGraph, adapter: Microsoft):
    fake.forgets_used = True
    await asyncio.gather(*[adapter.busy(PLACE, START, END) for _ in range(9)])
    assert len(fake.access_tokens) == 1


async def test_an_access_token_that_ran_out_is_renewed(fake: FakeGraph, adapter: Microsoft):
    await adapter.busy(PLACE, START, END)
    fake.access_tokens = {"somebody's"}
    await adapter.busy(PLACE, START, END)


async def test_a_grant_that_was_ended_is_denied_in_words(fake: FakeGraph, adapter: Microsoft):
    fake.revoked = True
    with pytest.raises(
        CalendarDenied, match=r"ended this grant \(invalid_grant AADSTS50173\); connect again"
    ):
        await adapter.busy(PLACE, START, END)


@pytest.mark.parametrize("error", ["invalid_client", "unauthorized_client", "temporarily_unavailable"])
async def test_what_a_host_cannot_mend_does_not_send_them_to_connect_again(
    fake: FakeGraph, adapter: Microsoft, error: str
):
    """The operator's client secret ran out: with a new one, every connection works as it did."""
    fake.login_error = error
    with pytest.raises(ProviderUnavailable):
        await adapter.busy(PLACE, START, END)
    fake.login_error = None
    assert await busy(adapter) == []


async def test_a_calendar_that_is_not_there_or_not_ours_to_write_is_denied(
    fake: FakeGraph, adapter: Microsoft
):
    with pytest.raises(CalendarDenied, match="ErrorItemNotFound"):
        await adapter.busy(msgspec.structs.replace(PLACE, ref="AAMkOther="), START, END)
    fake.read_only.add(HOME)
    with pytest.raises(CalendarRefused, match="ErrorAccessDenied"):
        await adapter.write(PLACE, hold(), None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"sumary": "x"},
        {"start": {"dateTime": "2026-12-07T10:00:00Z", "timeZone": "UTC"}},
        {"start": {"dateTime": "2026-12-07T10:00:00"}},
        {"start": {"dateTime": "2026-12-07T10:00:00", "timeZone": "Mars"}},
        {"showAs": "Tentative"},
        {"transactionId": "x"},
        {"changeKey": "x"},
        {"body": "text"},
        {"singleValueExtendedProperties": [{"id": "holdfirst", "value": "x"}]},
    ],
)
def test_the_rules_see_fouls_in_bodies(wrong: dict[str, Any]):
    with pytest.raises(Foul):
        check_event(wrong, creating=False)


@pytest.mark.parametrize(
    ("what", "query"),
    [
        ("calendarView", {"startDateTime": "2026-12-07T10:00:00Z"}),
        ("calendarView", {"startDateTime": "x", "endDateTime": "y"}),
        ("calendarView", {"$top": "1001"}),
        ("delta", {"$select": "id"}),
        ("delta", {"$filter": "x"}),
        ("events", {"$select": "sumary"}),
        ("events", {"$filter": "transactionId eq 'x'"}),
    ],
)
def test_the_rules_see_fouls_in_queries(what: str, query: dict[str, str]):
    with pytest.raises(Foul):
        check_query(what, query)


# Over the whole server


@pytest.fixture
async def house(
    database: Database, tmp_path: Path, fake: FakeGraph, outward: Outward
) -> AsyncIterator[House]:
    async with open_house(database.url, tmp_path, allow_private="127.0.0.0/8") as house:
        microsoft = adapter_of(fake, outward)
        house.parts.world.calendars["microsoft"] = microsoft
        house.parts.world.consents["microsoft"] = microsoft
        yield house


async def connected(house: House) -> dict[str, Any]:
    wish = {"host": house.host, "provider": "microsoft", "refresh_token": "M.refresh0"}
    told: dict[str, Any] = await house.ask("POST", "/v1/calendar-connections", wish)
    assert (told["status"], told["locks"]) == ("active", True)
    await house.settle()
    return told


def ours(fake: FakeGraph, calendar: str = HOME) -> list[tuple[str, str]]:
    return [(one["subject"], one["showAs"]) for one in fake.within(calendar) if one["transactionId"]]


async def reserve(house: House, start: datetime) -> httpx.Response:
    customer = {"name": "Anna", "email": "anna@example.org"}
    body = {"event_type": "free", "start": start.isoformat(), "customer": customer}
    return await house.call("POST", "/v1/reservations", body)


async def test_a_host_lets_us_in_at_microsofts_page(house: House, fake: FakeGraph):
    wish = {"host": house.host, "provider": "microsoft", "return_url": "https://shop.example/calendars"}
    told = await house.ask("POST", "/v1/calendar-connections", wish)
    asked = urlsplit(told["authorize_url"])
    assert asked.path == "/common/oauth2/v2.0/authorize"
    query = parse_qs(asked.query)
    assert query["redirect_uri"] == ["http://holdfirst.test/oauth/microsoft/callback"]
    assert query["scope"] == ["offline_access Calendars.ReadWrite MailboxSettings.Read"]
    fake.challenge, state = query["code_challenge"][0], query["state"][0]
    path = f"/oauth/microsoft/callback?state={state}&code="
    assert (await house.call("GET", f"{path}bad", key=None)).status_code == 422
    done = await house.call("GET", f"{path}good", key=None)
    assert done.headers["location"] == f"https://shop.example/calendars?connection={told['id']}"
    held = await house.held("free")
    assert held["calendars"]["verdict"] == "clean"
    assert ours(fake) == ours(fake, SHARED) == [("Hold: free", "tentative")]
    assert (await house.verb(held, "confirm")).status_code == 200
    await house.settle()
    assert (ours(fake), ours(fake, SHARED)) == ([("Anna: free", "busy")], [])


async def test_a_refresh_token_is_enough_and_the_latest_is_sealed(house: House, fake: FakeGraph):
    """Microsoft is said not to revoke the one before; whoever did would shut nobody out."""
    fake.forgets_used = True
    wish = {"host": house.host, "provider": "microsoft", "refresh_token": "wrong"}
    refused = await house.call("POST", "/v1/calendar-connections", wish)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "refresh_token")
    told = await connected(house)
    world = house.parts.world
    for _ in range(3):
        fake.access_tokens.clear()
        after = await house.ask("POST", f"/v1/calendar-connections/{told['id']}/sync", {})
        assert after["last_error"] is None
        [sealed] = [row[1] for row in await house.run(_sealed)]
        secrets = msgspec.json.decode(world.key_ring.unseal(sealed, told["id"]))
        assert secrets["refresh_token"] in fake.grants
    assert "M.refresh0" not in fake.grants


async def _sealed(tx: Any) -> Any:
    return await tx.rows("select id, sealed_credentials from calendar_connection")


async def test_a_hold_spans_microsoft_and_a_caldav_server(
    house: House, fake: FakeGraph, radicale_server: Server
):
    await connected(house)
    url = radicale_server.make_calendar("besides")
    wish = {"host": house.host, "provider": "caldav", "credentials": radicale_server.secrets}
    await house.ask("POST", "/v1/calendar-connections", wish)
    await house.settle()
    try:
        held = await house.held("free")
        assert ours(fake) == [("Hold: free", "tentative")]
        fake.put(HOME, datetime.fromisoformat(held["start"]), datetime.fromisoformat(held["end"]))
        await house.verb(held, "release")
        await house.settle()
        assert ours(fake) == ours(fake, SHARED) == []
        taken = await reserve(house, datetime.fromisoformat(held["start"]))
        assert (taken.status_code, taken.json()["code"]) == (409, "slot_taken")
        await house.settle()
        assert ours(fake) == ours(fake, SHARED) == []
    finally:
        assert url.endswith("besides/")
        radicale_server.drop_calendar("besides")


@pytest.mark.parametrize("fault", ["cut_before", "cut_after", 503])
async def test_a_lost_answer_ends_in_one_event_or_none(
    house: House, fake: FakeGraph, clock: Clock, fault: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("holdfirst.providers.rest.WAIT_SECONDS_MAX", 0)
    monkeypatch.setattr("holdfirst.providers.rest.REST_SECONDS_MAX", 0.01)
    await connected(house)
    fake.faults["POST"] = [fault]
    refused = await reserve(house, datetime.fromisoformat(house.start()))
    assert (refused.status_code, refused.json()["code"]) == (503, "calendar_unreachable")
    for _ in range(3):
        await clock.shift(timedelta(seconds=61))
        await house.settle()
    assert ours(fake) == ours(fake, SHARED) == []
    held = await house.held("free")
    assert ours(fake) == [("Hold: free", "tentative")]
    assert held["calendars"]["verdict"] == "clean"


async def test_what_the_host_does_to_our_event_is_noticed(house: House, fake: FakeGraph):
    told = await connected(house)
    kept = []
    for _ in range(2):
        held = await house.held("free")
        await house.verb(held, "confirm")
        await house.settle()
        kept.append(held)
    path = f"/v1/calendar-connections/{told['id']}/sync"
    await house.ask("POST", path, {})
    moved, deleted = [one["id"] for one in fake.within(HOME) if one["transactionId"]]
    later = datetime.fromisoformat(kept[0]["start"]) + 5 * DAY
    times = {
        edge: {"dateTime": f"{when:%Y-%m-%dT%H:%M:%S}", "timeZone": "UTC"}
        for edge, when in (("start", later), ("end", later + HOUR / 2))
    }
    length = datetime.fromisoformat(kept[0]["end"]) - datetime.fromisoformat(kept[0]["start"])
    times["end"]["dateTime"] = f"{later + length:%Y-%m-%dT%H:%M:%S}"
    fake.change(moved, **times)
    fake.take(deleted)
    await house.ask("POST", path, {})
    assert [(await house.read(one))["calendars"]["changed_by_host"] for one in kept] == ["moved", "deleted"]


async def test_one_that_came_and_went_between_two_readings_is_noticed(house: House, fake: FakeGraph):
    """Graph names events itself: the name in our etag says that what was removed was ours."""
    told = await connected(house)
    held = await house.held("free")
    await house.verb(held, "confirm")
    await house.settle()
    [event] = [one for one in fake.within(HOME) if one["transactionId"]]
    fake.take(event["id"])
    await house.ask("POST", f"/v1/calendar-connections/{told['id']}/sync", {})
    assert (await house.read(held))["calendars"]["changed_by_host"] == "deleted"


async def test_a_revoked_grant_breaks_the_connection_and_says_so(house: House, fake: FakeGraph):
    told = await connected(house)
    fake.revoked = True
    fake.access_tokens.clear()
    await house.ask("POST", f"/v1/calendar-connections/{told['id']}/sync", {})
    after = await house.ask("GET", f"/v1/calendar-connections/{told['id']}")
    assert after["status"] == "broken"
    assert re.search("connect again", after["last_error"]["message"])
    assert after["authorize_url"]
    taken = await reserve(house, datetime.fromisoformat(house.start()))
    assert (taken.status_code, taken.json()["code"]) == (409, "slot_taken")


async def test_a_mailbox_that_is_asked_too_much_holds_nothing_and_breaks_nothing(
    house: House, fake: FakeGraph
):
    told = await connected(house)
    fake.faults["POST"] = [600.0]
    refused = await reserve(house, datetime.fromisoformat(house.start()))
    assert (refused.status_code, refused.json()["code"]) == (503, "calendar_unreachable")
    after = await house.ask("GET", f"/v1/calendar-connections/{told['id']}")
    assert after["status"] == "active"


async def test_what_opens_an_account_is_exchanged_with_a_patch(house: House, fake: FakeGraph):
    told = await connected(house)
    path = f"/v1/calendar-connections/{told['id']}"
    fake.grants.clear()
    fake.access_tokens.clear()
    await house.ask("POST", f"{path}/sync", {})
    assert (await house.ask("GET", path))["status"] == "broken"
    account = {"url": "https://calendar.example/", "username": "u", "password": "p"}
    for wrong, field in (
        ({"credentials": account}, "credentials"),
        ({"url": account["url"]}, "refresh_token"),
        ({"refresh_token": "wrong"}, "refresh_token"),
    ):
        answer = await house.call("PATCH", path, wrong)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
    fake.grants.add("M.other")
    after = await house.ask("PATCH", path, {"refresh_token": "M.other"})
    assert (after["status"], after["last_error"]) == ("active", None)


async def test_a_lost_answer_is_looked_for_before_it_is_written_again(house: House, fake: FakeGraph):
    """Nobody says how long a transaction id is remembered: here, not at all."""
    await house.held("free")
    fake.remembers = False
    fake.faults["POST"] = ["cut_after", "cut_after"]
    await connected(house)
    await house.settle()
    assert len([one for one in fake.asked if one.startswith("POST")]) == 2
    assert ours(fake) == ours(fake, SHARED) == [("Hold: free", "tentative")]


async def test_of_two_under_one_uid_the_one_that_we_know_stays(house: House, fake: FakeGraph):
    """Microsoft names events itself: a transaction id that it forgot was worth a second event."""
    await connected(house)
    held = await house.held("free")
    await house.verb(held, "confirm")
    await house.settle()
    [known] = fake.within(HOME)
    other = fake.put(
        HOME, *_times(known), transactionId=known["transactionId"], extended=dict(known["extended"])
    )
    found = await examine(house.parts.world, repair=False)
    assert [one for one in found.wrong if f"one reservation: {held['id']}" in one]
    await examine(house.parts.world, repair=True)
    assert [one["id"] for one in fake.within(HOME)] == [known["id"]] != [other]
    assert (await examine(house.parts.world, repair=False)).wrong == []


def _times(event: dict[str, Any]) -> list[datetime]:
    return [datetime.fromisoformat(event[name]["dateTime"]).replace(tzinfo=UTC) for name in ("start", "end")]
