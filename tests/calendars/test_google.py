# SPDX-License-Identifier: Apache-2.0
"""The Google adapter against a fake whose referee is Google's own description of the API; and Google's own client
against the same fake, so that the fake is not only what we think of it. What every adapter keeps is in test_contract.py.
"""

import contextlib
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import google.oauth2.credentials
import httplib2
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from google_auth_httplib2 import AuthorizedHttp
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError

from holdfirst.calendar.calendar_event import CalendarEvent, EventState, event_uid, marker
from holdfirst.calendar.provider import Access, EventGone, Place
from holdfirst.clock import monotonic
from holdfirst.effects.examine_calendars import examine
from holdfirst.errors import CalendarDenied, ProviderUnavailable
from holdfirst.providers.google import Google, GoogleClient
from holdfirst.providers.google.calls import SCOPES
from holdfirst.providers.outward import Outward
from holdfirst.store.database import Database
from house import House, open_house

from .discovery import Foul, check, check_query, route
from .fake_google import REFRESH, FakeGoogle, serving

HOST = "host@example.org"
START = datetime(2026, 12, 7, 10, tzinfo=UTC)
END = START + timedelta(hours=1)
WINDOW = (START - timedelta(days=30), START + timedelta(days=30))
MARK = marker("acc_1")


@pytest.fixture
def fake() -> Iterator[FakeGoogle]:
    with serving(FakeGoogle()) as google:
        yield google
        assert google.fouls == []


@pytest.fixture
def adapter(fake: FakeGoogle, outward: Outward) -> Google:
    return Google(outward, GoogleClient("client", "secret", f"{fake.url}/calendar/v3", f"{fake.url}/token"))


ACCESS = Access(secrets={"refresh_token": REFRESH})
PLACE = Place(access=ACCESS, ref=HOST, time_zone="Europe/Prague")


def hold(generation: int = 0, **more: Any) -> CalendarEvent:
    uid = event_uid("acc_1", "res_1", "cal_1", generation)
    event = CalendarEvent(uid=uid, state=EventState.HOLD, start=START, end=END, title="Hold: kůň")
    return msgspec.structs.replace(event, **more)


def when(start: datetime = START, end: datetime = END) -> dict[str, Any]:
    return {"start": {"dateTime": start.isoformat()}, "end": {"dateTime": end.isoformat()}}


async def test_calendars_are_found_the_own_one_first(fake: FakeGoogle, adapter: Google):
    fake.roles["shared@group.calendar.google.com"] = "reader"
    found = (await adapter.discover(ACCESS)).calendars
    assert [(one.ref, one.writable) for one in found] == [
        (HOST, True),
        ("shared@group.calendar.google.com", False),
    ]


async def test_a_hold_is_private_and_silent(fake: FakeGoogle, adapter: Google):
    await adapter.write(PLACE, hold(), None)
    [event] = fake.calendars[HOST].values()
    assert (event["status"], event["visibility"], event["transparency"]) == ("tentative", "private", "opaque")
    assert event["reminders"] == {"useDefault": False, "overrides": []}
    assert "attendees" not in event


async def test_a_confirm_is_a_patch(fake: FakeGoogle, adapter: Google):
    etag = await adapter.write(PLACE, hold(), None)
    await adapter.write(PLACE, hold(state=EventState.CONFIRMED, title="Anna"), etag)
    assert fake.asked[-1].startswith("PATCH")
    [event] = fake.calendars[HOST].values()
    assert (event["status"], event["summary"]) == ("confirmed", "Anna")


async def test_a_deleted_id_is_never_used_again(fake: FakeGoogle, adapter: Google):
    etag = await adapter.write(PLACE, hold(), None)
    await adapter.delete(PLACE, hold().uid, etag)
    await adapter.delete(PLACE, "hfnever00", None)
    for known in (None, etag):
        with pytest.raises(EventGone):
            await adapter.write(PLACE, hold(), known)


BUSY: dict[str, tuple[dict[str, Any], bool]] = {
    "plain": (when(), True),
    "free": (when() | {"transparency": "transparent"}, False),
    "tentative": (when() | {"status": "tentative"}, True),
    "declined": (when() | {"attendees": [{"self": True, "responseStatus": "declined"}]}, False),
    "declined_by_another": (when() | {"attendees": [{"responseStatus": "declined"}]}, True),
    "unanswered": (when() | {"attendees": [{"self": True, "responseStatus": "needsAction"}]}, True),
    "out_of_office": (when() | {"eventType": "outOfOffice"}, True),
    "focus": (when() | {"eventType": "focusTime"}, True),
    "working_location": (when() | {"eventType": "workingLocation"}, False),
    "birthday": (
        {"start": {"date": "2026-12-07"}, "end": {"date": "2026-12-08"}, "eventType": "birthday"},
        False,
    ),
    "all_day": ({"start": {"date": "2026-12-07"}, "end": {"date": "2026-12-08"}}, True),
    "for_ever": (
        {"start": {"dateTime": "2026-12-07T00:00:00Z"}, "end": {"dateTime": "9999-12-31T23:59:59-05:00"}},
        True,
    ),
    "since_ever": (
        {"start": {"dateTime": "0001-01-01T00:00:00+09:00"}, "end": {"dateTime": "2027-01-01T00:00:00Z"}},
        True,
    ),
    "in_1601": ({"start": {"date": "1601-01-01"}, "end": {"date": "1601-01-02"}}, False),
    "before": (when(START - timedelta(hours=1), START), False),
    "instant": (when(START, START), False),
}


@pytest.mark.parametrize("name", BUSY)
async def test_what_is_busy(fake: FakeGoogle, adapter: Google, name: str):
    members, busy = BUSY[name]
    fake.put(HOST, "stranger0", **members)
    assert bool((await adapter.busy(PLACE, START, END)).occurrences) is busy


async def test_many_events_come_page_by_page(fake: FakeGoogle, adapter: Google):
    fake.page_max = 2
    for number in range(5):
        fake.put(HOST, f"event{number}", **when())
    first = await adapter.changes(PLACE, None, {}, WINDOW)
    assert len(first.changed) == 5
    for number in range(3):
        fake.take(HOST, f"event{number}")
    second = await adapter.changes(PLACE, first.token, {}, WINDOW)
    assert len(second.removed) == 3


@pytest.mark.parametrize("status", [500, 503])
async def test_what_is_broken_there_is_no_answer(fake: FakeGoogle, adapter: Google, status: int):
    fake.faults = [status]
    with pytest.raises(ProviderUnavailable):
        await adapter.busy(PLACE, START, END)
    assert (await adapter.busy(PLACE, START, END)).occurrences == []


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long it waited; nobody waits in truth."""
    waits: list[float] = []
    ahead = [0.0]

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        ahead[0] += seconds

    monkeypatch.setattr("holdfirst.providers.google.pace.asyncio.sleep", sleep)
    monkeypatch.setattr("holdfirst.providers.google.pace.monotonic", lambda: monotonic() + ahead[0])
    return waits


@pytest.mark.parametrize("status", [403, 429])
async def test_asked_to_wait_we_wait_a_little_and_ask_again(
    fake: FakeGoogle, adapter: Google, slept: list[float], status: int
):
    fake.faults = [status]
    assert (await adapter.busy(PLACE, START, END)).occurrences == []
    assert len(fake.asked) == 2 and 0.3 < sum(slept) <= 1
    fake.faults, fake.retry_after = [status], "2"
    assert (await adapter.busy(PLACE, START, END)).occurrences == []
    assert 1.9 < slept[-1] <= 2


async def test_asked_to_wait_for_long_nobody_is_asked_meanwhile(
    fake: FakeGoogle, adapter: Google, slept: list[float]
):
    fake.faults, fake.retry_after = [429], "30"
    for _ in range(3):
        with pytest.raises(ProviderUnavailable, match="less often"):
            await adapter.busy(PLACE, START, END)
    assert (len(fake.asked), slept) == (1, [])
    # Another account's calls are another account's.
    robot = service_account(fake)
    assert (await adapter.busy(msgspec.structs.replace(PLACE, access=robot), START, END)).occurrences == []


async def test_refused_again_and_again_it_rests_longer(fake: FakeGoogle, adapter: Google, slept: list[float]):
    fake.faults = [403] * 3
    with pytest.raises(ProviderUnavailable):
        await adapter.busy(PLACE, START, END)
    assert [0.3 < slept[0] <= 1, 0.8 < slept[1] <= 2] == [True] * 2
    asked = len(fake.asked)
    # The next rest is longer than anybody waits, or nearly: then nobody is asked.
    with contextlib.suppress(ProviderUnavailable):
        await adapter.busy(PLACE, START, END)
    assert len(fake.asked) == asked or slept[2] > 1.8


async def test_the_quota_is_kept_without_being_told(
    fake: FakeGoogle, adapter: Google, slept: list[float], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("holdfirst.providers.google.pace.PER_MINUTE_MAX", 3)
    for _ in range(3):
        await adapter.busy(PLACE, START, END)
    with pytest.raises(ProviderUnavailable, match="less often"):
        await adapter.busy(PLACE, START, END)
    assert len(fake.asked) == 3


def service_account(fake: FakeGoogle, **more: str) -> Access:
    key = generate_private_key(65537, 2048)
    fake.public_key = key.public_key()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    account = {"client_email": "robot@project.example", "private_key": pem, "private_key_id": "k1"}
    return Access(secrets=account | more)


async def test_a_service_account_acts_for_a_host(fake: FakeGoogle, adapter: Google):
    access = service_account(fake, subject=HOST)
    assert (await adapter.discover(access)).calendars[0].ref == HOST
    assert fake.robot_claims["sub"] == HOST
    assert fake.robot_claims["scope"].split() == SCOPES.split()
    place = msgspec.structs.replace(PLACE, access=access)
    await adapter.write(place, hold(), None)
    assert [one.uid for one in await adapter.own(place, MARK)] == [hold().uid]
    assert len(fake.access_tokens) == 1


async def test_a_calendar_that_was_shared_with_a_service_account_is_taken_up(
    fake: FakeGoogle, adapter: Google
):
    fake.unlisted = set(fake.calendars)
    access = service_account(fake, calendar=HOST)
    for _ in range(2):
        assert [one.ref for one in (await adapter.discover(access)).calendars] == [HOST]
    assert "sub" not in fake.robot_claims
    with pytest.raises(CalendarDenied, match="404"):
        await adapter.discover(service_account(fake, calendar="nobody@example.org"))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"private_key": "-----BEGIN PRIVATE KEY-----"}, "PEM"),
        ({"private_key": ""}, "PEM"),
        ({"subject": "boss@elsewhere.example"}, "Invalid JWT"),
        ({"client_email": "other@project.example"}, "Invalid JWT"),
    ],
)
async def test_a_service_account_that_google_does_not_take_is_said(
    fake: FakeGoogle, adapter: Google, wrong: dict[str, str], words: str
):
    with pytest.raises(CalendarDenied, match=words):
        await adapter.discover(service_account(fake, **wrong))


async def test_a_service_account_is_connected_by_its_file(house: House, fake: FakeGoogle):
    file = {
        "type": "service_account",
        "project_id": "project",
        "token_uri": "https://evil.example/token",
    } | dict(service_account(fake, subject=HOST).secrets)
    wish = {"host": house.host, "provider": "google", "credentials": file}
    told = await house.ask("POST", "/v1/calendar-connections", wish)
    assert (told["status"], told["locks"]) == ("active", True)
    assert "PRIVATE KEY" not in str(told)
    for wrong, field in (
        ({"private_key": "x" * 9000}, "credentials"),
        ({"client_email": ""}, "credentials.client_email"),
        ({"subject": "a\nb"}, "credentials.subject"),
        ({"private_key": "nonsense"}, "credentials"),
    ):
        answer = await house.call("POST", "/v1/calendar-connections", wish | {"credentials": file | wrong})
        assert answer.status_code == 422, answer.text
        assert answer.json()["errors"][0]["field"].startswith(field), answer.text
    caldav = {"url": "https://calendar.example/", "username": "u", "password": "p"}
    path = f"/v1/calendar-connections/{told['id']}"
    answer = await house.call("PATCH", path, {"credentials": caldav})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "credentials.client_email")
    again = service_account(fake, subject=HOST)
    assert (await house.ask("PATCH", path, {"credentials": dict(again.secrets)}))["status"] == "active"


async def test_an_access_token_that_ran_out_is_renewed(fake: FakeGoogle, adapter: Google):
    await adapter.busy(PLACE, START, END)
    fake.access_tokens.clear()
    await adapter.busy(PLACE, START, END)


async def test_a_grant_that_was_ended_is_denied_in_words(fake: FakeGoogle, adapter: Google):
    fake.revoked = True
    with pytest.raises(CalendarDenied, match="7 days"):
        await adapter.busy(PLACE, START, END)


@pytest.mark.parametrize("reason", ["quotaExceeded", "dailyLimitExceeded", "accessNotConfigured"])
async def test_a_limit_is_not_the_end_of_a_grant(fake: FakeGoogle, adapter: Google, reason: str):
    """Not one that passes within seconds: nobody waits for it, and Google is not asked meanwhile."""
    fake.faults = [reason]
    for _ in range(2):
        with pytest.raises(ProviderUnavailable):
            await adapter.busy(PLACE, START, END)
    assert len(fake.asked) == 1


@pytest.mark.parametrize(
    ("status", "error"), [(401, "invalid_client"), (401, "deleted_client"), (400, "invalid_request")]
)
async def test_what_is_the_operators_to_mend_is_not_the_hosts(
    fake: FakeGoogle, adapter: Google, status: int, error: str
):
    fake.login_error = status, error
    with pytest.raises(ProviderUnavailable, match=f"HOLDFIRST_GOOGLE_CLIENT_SECRET.*{error}"):
        await adapter.busy(PLACE, START, END)


async def test_without_a_client_of_the_operators_no_grant_has_ended(fake: FakeGoogle, outward: Outward):
    adapter = Google(outward, GoogleClient("", "", f"{fake.url}/calendar/v3", f"{fake.url}/token"))
    with pytest.raises(ProviderUnavailable, match="HOLDFIRST_GOOGLE_CLIENT_ID"):
        await adapter.busy(PLACE, START, END)


async def test_a_calendar_that_is_not_there_is_denied(adapter: Google):
    with pytest.raises(CalendarDenied):
        await adapter.busy(msgspec.structs.replace(PLACE, ref="nobody@example.org"), START, END)


# The fake, driven by Google's own client


def test_googles_own_client_gets_along_with_the_fake(fake: FakeGoogle):
    fake.access_tokens.add("t")
    http = AuthorizedHttp(google.oauth2.credentials.Credentials("t"), http=httplib2.Http())  # type: ignore[no-untyped-call]
    service = build(
        "calendar",
        "v3",
        http=http,
        static_discovery=True,
        client_options={"api_endpoint": fake.url + "/calendar/v3/"},
    )
    events = service.events()
    made = events.insert(calendarId=HOST, body={"id": "abcde12345", **when()}).execute()
    assert made["status"] == "confirmed"
    with pytest.raises(HttpError) as again:
        events.insert(calendarId=HOST, body={"id": "abcde12345", **when()}).execute()
    assert again.value.resp.status == 409
    listed = events.list(calendarId=HOST, timeMin=START.isoformat(), singleEvents=True).execute()
    assert [one["id"] for one in listed["items"]] == ["abcde12345"]
    events.delete(calendarId=HOST, eventId="abcde12345").execute()
    for call in (
        events.delete(calendarId=HOST, eventId="abcde12345"),
        events.insert(calendarId=HOST, body={"id": "abcde12345", **when()}),
        events.list(calendarId=HOST, syncToken=listed["nextSyncToken"], timeMin=START.isoformat()),
    ):
        with pytest.raises(HttpError) as refused:
            call.execute()
        assert refused.value.resp.status in (400, 409, 410)
    assert (
        events.list(calendarId=HOST, syncToken=listed["nextSyncToken"]).execute()["items"][0]["status"]
        == "cancelled"
    )
    body = {"id": "abc", "type": "web_hook", "address": "https://example.org/", "token": "t"}
    channel = events.watch(calendarId=HOST, body=body).execute()
    events.insert(calendarId=HOST, body={"id": "abcde12346", **when()}).execute()
    assert [told["X-Goog-Resource-State"] for _, told in fake.pushes] == ["sync", "exists"]
    service.channels().stop(body={"id": "abc", "resourceId": channel["resourceId"]}).execute()
    for wrong in (body, body | {"id": "abd", "address": "http://example.org/"}):
        with pytest.raises(HttpError) as refused:
            events.watch(calendarId=HOST, body=wrong).execute()
        assert refused.value.resp.status == 400


@pytest.mark.parametrize(
    ("what", "wrong"),
    [
        ("query", {"sendUpdate": ["all"]}),
        ("query", {"timeMin": ["2026-12-07T10:00:00"]}),
        ("query", {"maxResults": ["many"]}),
        ("body", {"sumary": "x"}),
        ("body", {"start": {"dateTime": "tomorrow"}}),
        ("body", {"attendees": {"email": "x"}}),
    ],
)
def test_the_referee_sees_fouls(what: str, wrong: dict[str, Any]):
    method, _ = route("POST" if what == "body" else "GET", "/calendars/x/events")
    with pytest.raises(Foul):
        check(method["request"], wrong) if what == "body" else check_query(method, wrong)
    with pytest.raises(Foul):
        route("POST", "/calendars/x/happenings")


# Over the whole server


@pytest.fixture
async def house(
    database: Database, tmp_path: Path, fake: FakeGoogle, outward: Outward
) -> AsyncIterator[House]:
    async with open_house(database.url, tmp_path) as house:
        google = Google(
            outward, GoogleClient("client", "secret", f"{fake.url}/calendar/v3", f"{fake.url}/token")
        )
        house.parts.world.calendars["google"] = google
        house.parts.world.consents["google"] = google
        yield house


async def test_a_host_lets_us_in_at_googles_page(house: House, fake: FakeGoogle):
    back = "https://shop.example/calendars?x=1"
    wish = {"host": house.host, "provider": "google", "return_url": back}
    told = await house.ask("POST", "/v1/calendar-connections", wish)
    assert told["status"] == "pending"
    query = parse_qs(urlsplit(told["authorize_url"]).query)
    assert query["redirect_uri"] == ["http://holdfirst.test/oauth/google/callback"]
    assert (query["access_type"], query["code_challenge_method"]) == (["offline"], ["S256"])
    # Nobody's calendar is asked yet.
    assert (await house.held("free"))["calendars"]["verdict"] is None
    fake.challenge = query["code_challenge"][0]
    state = query["state"][0]
    for wrong in (
        f"state={state}x&code=c",
        "state=a.1.b&code=c",
        "code=c",
        f"state={state}",
        f"state={state}&code=bad",
    ):
        assert (await house.call("GET", f"/oauth/google/callback?{wrong}", key=None)).status_code == 422
    assert (
        await house.call("GET", "/oauth/google/callback?error=access_denied", key=None)
    ).status_code == 200
    done = await house.call("GET", f"/oauth/google/callback?state={state}&code=good", key=None)
    assert done.status_code == 303
    assert done.headers["location"] == f"{back}&connection={told['id']}"
    after = await house.ask("GET", f"/v1/calendar-connections/{told['id']}")
    assert (after["status"], after["locks"], "authorize_url" in after) == ("active", True, False)
    held = await house.held("free")
    assert held["calendars"]["verdict"] == "clean"
    assert (await house.verb(held, "confirm")).status_code == 200
    await house.settle()
    assert [one["status"] for one in fake.calendars[HOST].values() if one["summary"] == "Anna: free"] == [
        "confirmed"
    ]


async def test_a_refresh_token_is_enough_and_a_wrong_one_is_said(house: House, fake: FakeGoogle):
    wish = {"host": house.host, "provider": "google", "refresh_token": "wrong"}
    answer = await house.call("POST", "/v1/calendar-connections", wish)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "refresh_token")
    told = await house.ask("POST", "/v1/calendar-connections", wish | {"refresh_token": REFRESH})
    assert told["status"] == "active"
    assert REFRESH not in str(told)
    start = datetime.fromisoformat(house.start())
    fake.put("shared@group.calendar.google.com", "stranger0", **when(start, start + timedelta(hours=1)))
    body = {
        "event_type": "free",
        "start": start.isoformat(),
        "customer": {"name": "A", "email": "a@example.org"},
    }
    assert (await house.call("POST", "/v1/reservations", body)).status_code == 409
    fake.revoked = True
    fake.access_tokens.clear()
    await house.ask("POST", f"/v1/calendar-connections/{told['id']}/sync", {})
    after = await house.ask("GET", f"/v1/calendar-connections/{told['id']}")
    assert after["status"] == "broken" and "7 days" in after["last_error"]["message"]
    assert after["authorize_url"]
    said = "\n".join((await examine(house.parts.world, repair=False)).wrong)
    assert "7 days" in said
