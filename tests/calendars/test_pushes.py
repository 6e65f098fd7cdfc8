# SPDX-License-Identifier: Apache-2.0
"""A company tells us that a calendar has changed: what follows, what a stranger's call does, and that nothing rests on it."""

from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from conftest import Clock
from fake_calendars import FakeCalendars
from holdfirst.calendar.provider import Handshake, Push, PushKind, Watch
from holdfirst.effects.examine_calendars import examine
from holdfirst.effects.sync_calendar import RARELY
from holdfirst.flows import calendar_watches as watching
from holdfirst.payment.provider import Notification
from holdfirst.providers.google import Google, GoogleClient
from holdfirst.providers.outward import Outward
from holdfirst.store import calendar_watches, calendars
from holdfirst.store.calendar_watches import KnownWatch, WatchState
from holdfirst.store.database import Database, Tx
from house import House, due_now, open_house
from shop import open_shop

from .fake_google import REFRESH, FakeGoogle, serving
from .test_google import HOST

URL = "https://book.example.org"
DAY = timedelta(days=1)
READ = f"GET /calendar/v3/calendars/{quote(HOST)}/events"
WATCH = f"POST /calendar/v3/calendars/{quote(HOST)}/events"


@pytest.fixture
def fake() -> Iterator[FakeGoogle]:
    with serving(FakeGoogle(calendars={HOST: {}})) as google:
        yield google
        assert google.fouls == []


@pytest.fixture
async def house(
    database: Database, tmp_path: Path, fake: FakeGoogle, outward: Outward
) -> AsyncIterator[House]:
    async with open_house(database.url, tmp_path, url=URL) as house:
        adapter = Google(
            outward, GoogleClient("client", "secret", f"{fake.url}/calendar/v3", f"{fake.url}/token")
        )
        for known in (house.parts.world.calendars, house.parts.world.consents, house.parts.world.pushes):
            known["google"] = adapter  # type: ignore[index]
        yield house


async def connected(house: House) -> str:
    wish = {"host": house.host, "provider": "google", "refresh_token": REFRESH}
    told = await house.ask("POST", "/v1/calendar-connections", wish)
    await house.settle()
    return str(told["id"])


async def deliver(house: House, fake: FakeGoogle) -> list[int]:
    """What is on its way arrives; the statuses that it was answered with."""
    sent, fake.pushes = fake.pushes, []
    answers = []
    for address, headers in sent:
        assert address.startswith(f"{URL}/v1/calendar-notifications/google/wat_")
        answer = await house.http.post(address.removeprefix(URL), headers=headers)
        assert answer.content == b""
        answers.append(answer.status_code)
    return answers


async def watches(house: House) -> list[KnownWatch]:
    async def read(tx: Tx) -> list[KnownWatch]:
        ids = await tx.rows("select id from calendar where deleted_at is null")
        return [one for row in ids for one in await calendar_watches.of_calendar(tx, row["id"])]

    return list(await house.run(read))


async def polls(house: House) -> list[timedelta]:
    """In how long each calendar is read next."""

    async def read(tx: Tx) -> list[timedelta]:
        rows = await tx.rows("select due_at - the_clock() as left from job where kind = 'sync_calendar'")
        return [row["left"] for row in rows]

    return list(await house.run(read))


def free_at(house: House, start: datetime) -> Any:
    async def look() -> bool:
        end = start + timedelta(hours=1)
        told = await house.ask(
            "GET",
            f"/v1/event-types/free/slots?start={start:%Y-%m-%dT%H:%M:%SZ}&end={end:%Y-%m-%dT%H:%M:%SZ}",
        )
        return bool(told["slots"])

    return look()


async def test_a_push_changes_the_slots_and_nobody_waits_for_a_poll(house: House, fake: FakeGoogle):
    await connected(house)
    assert await deliver(house, fake) == [204]
    await house.settle()
    start = datetime.fromisoformat(house.start())
    readings = fake.asked.count(READ)
    span = {"dateTime": start.isoformat()}, {"dateTime": (start + timedelta(minutes=30)).isoformat()}
    fake.put(HOST, "dentist", start=span[0], end=span[1])
    # Nothing is due: without the push, the next reading is a poll's.
    assert await house.step() == 0
    assert await free_at(house, start)
    assert await deliver(house, fake) == [204]
    [left] = await polls(house)
    assert left <= watching.READ_AGAIN_AFTER
    await house.run(due_now)
    await house.settle()
    assert not await free_at(house, start)
    assert fake.asked.count(READ) == readings + 1


async def test_many_pushes_and_doubled_ones_are_one_reading(house: House, fake: FakeGoogle):
    await connected(house)
    await deliver(house, fake)
    await house.settle()
    readings = fake.asked.count(READ)
    fake.doubled_pushes = 10
    start = datetime.fromisoformat(house.start())
    for number in range(10):
        when = {"dateTime": (start + timedelta(hours=number)).isoformat()}
        fake.put(
            HOST,
            f"event{number}",
            start=when,
            end={"dateTime": (start + timedelta(hours=number, minutes=5)).isoformat()},
        )
    assert await deliver(house, fake) == [204] * 20
    await house.run(due_now)
    await house.settle()
    assert fake.asked.count(READ) == readings + 1
    assert not await free_at(house, start)


async def test_a_lost_push_is_found_by_a_poll_which_then_comes_more_often(house: House, fake: FakeGoogle):
    limits = house.parts.world.limits
    await connected(house)
    await deliver(house, fake)
    await house.run(due_now)
    await house.settle()
    [left] = await polls(house)
    assert left > limits.calendar_poll * (RARELY - 1)
    fake.lost_pushes = 1
    start = datetime.fromisoformat(house.start())
    when = {"dateTime": start.isoformat()}
    fake.put(HOST, "dentist", start=when, end={"dateTime": (start + timedelta(minutes=5)).isoformat()})
    assert await deliver(house, fake) == []
    for _ in range(2):
        await house.run(due_now)
        await house.settle()
    assert not await free_at(house, start)
    [left] = await polls(house)
    assert left <= limits.calendar_poll
    # And when it calls again, it is believed again.
    fake.put(HOST, "dentist", summary="moved")
    await deliver(house, fake)
    await house.run(due_now)
    await house.settle()
    [left] = await polls(house)
    assert left > limits.calendar_poll * (RARELY - 1)


async def test_whoever_calls_without_the_secret_changes_and_learns_nothing(house: House, fake: FakeGoogle):
    await connected(house)
    [(address, headers)] = fake.pushes
    await house.settle()
    path = address.removeprefix(URL)
    good = headers["X-Goog-Channel-Token"]
    before = await watches(house)
    assert before[0].heard_at is None
    wrong: list[tuple[str, dict[str, Any]]] = [
        (path, headers | {"X-Goog-Channel-Token": "x" * 43}),
        (path, headers | {"X-Goog-Channel-Token": "é".encode()}),
        (path, {name: value for name, value in headers.items() if "Token" not in name}),
        (path, headers | {"X-Goog-Resource-State": "odd"}),
        (path, {}),
        (path[:-1] + ("0" if path[-1] != "0" else "1"), headers),
        (path.rsplit("/", 1)[0] + "/wat_none", headers),
    ]
    for target, said in wrong:
        answer = await house.http.post(target, headers=said, content=b"\x00anything")
        assert (answer.status_code, answer.content) == (204, b""), target
    assert await watches(house) == before
    # Of a watch that we no longer have: the same answer, and nothing.
    secret = house.parts.world.key_ring.watch_secret("wat_gone")
    gone = await house.http.post(
        path.rsplit("/", 1)[0] + "/wat_gone", headers=headers | {"X-Goog-Channel-Token": secret}
    )
    assert (gone.status_code, gone.content) == (204, b"")
    counted = (await house.call("GET", "/metrics", key=None)).text
    assert f'holdfirst_bad_notifications_total{{provider="google"}} {len(wrong)}.0' in counted
    assert 'holdfirst_foreign_notifications_total{provider="google"} 1.0' in counted
    nobody = await house.http.post("/v1/calendar-notifications/nobody/wat_1")
    assert nobody.status_code == 404
    assert good not in counted


async def test_renewed_in_time_the_new_one_before_the_old_one_ends(
    house: House, fake: FakeGoogle, clock: Clock
):
    await connected(house)
    [first] = fake.channels
    await clock.shift(timedelta(days=5, hours=23))
    await house.settle()
    assert list(fake.channels) == [first]
    fake.asked.clear()
    await clock.shift(timedelta(hours=2))
    await house.run(due_now)
    await house.settle()
    [second] = fake.channels
    assert second != first
    calls = [one.split()[1].rsplit("/", 1)[1] for one in fake.asked if one.endswith(("/watch", "/stop"))]
    assert calls == ["watch", "stop"]
    [known] = await watches(house)
    assert (known.id, known.state) == (second, WatchState.OPEN)


async def test_what_lasts_shorter_is_renewed_in_its_last_quarter(house: House, fake: FakeGoogle):
    fake.lasts_max = 3600
    await connected(house)
    [known] = await watches(house)
    left = known.expires_at - known.renew_at
    assert timedelta(minutes=14) < left <= timedelta(minutes=15)


@pytest.mark.parametrize("lost", ["before", "after"])
async def test_a_watch_whose_answer_was_lost_is_asked_again_and_one_is_left(
    house: House, fake: FakeGoogle, clock: Clock, lost: str, monkeypatch: pytest.MonkeyPatch
):
    original = fake.answer
    failed = []

    def answer(method: str, target: str, headers: Any, body: bytes) -> tuple[int, Any]:
        if target.endswith("/watch") and not failed:
            failed.append(target)
            if lost == "after":
                original(method, target, headers, body)
            return 503, {"error": {"code": 503, "message": "later"}}
        return original(method, target, headers, body)

    monkeypatch.setattr(fake, "answer", answer)
    await connected(house)
    assert [one.state for one in await watches(house)] == [WatchState.OPENING]
    # What it says all the same tells its name, and is a reason to read like any other.
    await deliver(house, fake)
    await clock.shift(timedelta(minutes=2))
    for _ in range(3):
        await house.run(due_now)
        await house.settle()
    assert len(fake.channels) == 1
    opened = [one for one in await watches(house) if one.state is WatchState.OPEN]
    assert [one.id for one in opened] == list(fake.channels)


async def test_ended_where_nobody_needs_it(house: House, fake: FakeGoogle):
    connection = await connected(house)
    assert len(fake.channels) == 1
    [calendar] = (await house.ask("GET", f"/v1/calendar-connections/{connection}/calendars"))["data"]
    path = f"/v1/calendar-connections/{connection}"
    await house.ask("PATCH", path, {"blocking": [], "destination": None})
    await house.settle()
    assert (fake.channels, await watches(house)) == ({}, [])
    await house.ask("PATCH", path, {"blocking": [calendar["id"]]})
    await house.settle()
    assert len(fake.channels) == 1
    await house.ask("DELETE", path)
    await house.settle()
    assert fake.channels == {}


async def test_an_address_that_is_not_called_is_said_and_asked_again_tomorrow(
    house: House, fake: FakeGoogle, clock: Clock
):
    fake.uncallable = "book.example.org"
    connection = await connected(house)
    told = await house.ask("GET", f"/v1/calendar-connections/{connection}")
    # It is polled all the same; nobody is shut out because of it.
    assert (told["status"], told["last_error"]) == ("active", None)
    found = await examine(house.parts.world, repair=False)
    assert any("webhookUrlUnauthorized" in note for note in found.notes)
    assert fake.asked.count(f"{WATCH}/watch") == 1
    fake.uncallable = "nowhere"
    for hours in (1, 24):
        await clock.shift(timedelta(hours=hours))
        await house.run(due_now)
        await house.settle()
    assert len(fake.channels) == 1


async def test_without_a_public_address_nobody_is_asked_to_call(
    database: Database, tmp_path: Path, fake: FakeGoogle, outward: Outward
):
    async with open_house(database.url, tmp_path) as house:
        adapter = Google(
            outward, GoogleClient("client", "secret", f"{fake.url}/calendar/v3", f"{fake.url}/token")
        )
        for known in (house.parts.world.calendars, house.parts.world.pushes):
            known["google"] = adapter  # type: ignore[index]
        await connected(house)
        assert (fake.channels, await watches(house)) == ({}, [])
        found = await examine(house.parts.world, repair=False)
        assert any("HOLDFIRST_PUBLIC_URL" in note for note in found.notes)


async def test_doctor_names_a_watch_that_runs_out(house: House, fake: FakeGoogle, clock: Clock):
    await connected(house)
    found = await examine(house.parts.world, repair=False)
    assert found.wrong == []
    assert any("told of changes until" in note for note in found.notes)
    await clock.shift(timedelta(days=6, hours=3))
    found = await examine(house.parts.world, repair=False)
    assert any("runs out" in one for one in found.wrong)
    await clock.shift(DAY)
    found = await examine(house.parts.world, repair=False)
    assert any("ran out" in one for one in found.wrong)


# A company of another kind: a handshake, renewals, and news about the watch itself


class Caller(FakeCalendars):
    """Lengthens its watches, and says so where they end early. Its calls carry `news` and `secret` in the query."""

    def __init__(self) -> None:
        super().__init__()
        self.watches: dict[str, Any] = {}
        self.renewed = 0

    async def watch(self, place: Any, wanted: Any) -> Watch:
        await self.on_call("watch", "before")
        ref = f"sub{next(self.tokens)}"
        self.watches[ref] = wanted
        await self.on_call("watch", "after")
        return Watch(ref=ref, until=wanted.until, reached=True)

    async def renew(self, place: Any, watch: Watch, until: datetime) -> Watch | None:
        if watch.ref not in self.watches:
            return None
        self.renewed += 1
        return Watch(ref=watch.ref, until=until, reached=True)

    async def unwatch(self, place: Any, watch: Watch) -> None:
        await self.on_call("unwatch", "before")
        self.watches.pop(watch.ref, None)
        await self.on_call("unwatch", "after")

    def read_push(self, notification: Notification) -> Any:
        if "validationToken" in notification.query:
            return Handshake(notification.query["validationToken"])
        return [Push(kind=PushKind(notification.query["news"]), secret=notification.query["secret"])]


@pytest.fixture
async def called(database: Database, tmp_path: Path) -> AsyncIterator[tuple[House, Caller]]:
    async with open_house(database.url, tmp_path, url=URL) as house:
        caller = Caller()
        caller.shelves = {"one": {}}
        for known in (house.parts.world.calendars, house.parts.world.pushes):
            known["caldav"] = caller  # type: ignore[index]
        account = {"url": "https://calendar.example/", "username": "u", "password": "p"}
        wish = {"host": house.host, "provider": "caldav", "credentials": account}
        await house.ask("POST", "/v1/calendar-connections", wish)
        await house.settle()
        yield house, caller


async def say(house: House, caller: Caller, news: str) -> None:
    [wanted] = caller.watches.values()
    path = wanted.address.removeprefix(URL)
    answer = await house.http.post(f"{path}?news={news}&secret={wanted.secret}")
    assert answer.status_code == 204


async def test_a_handshake_is_echoed_as_plain_text(called: tuple[House, Caller]):
    house, caller = called
    [wanted] = caller.watches.values()
    told = await house.http.post(f"{wanted.address.removeprefix(URL)}?validationToken=a%2Bb%3Cc%3E+%C3%A9")
    assert (told.status_code, told.text) == (200, "a+b<c> é")
    assert told.headers["content-type"] == "text/plain; charset=utf-8"
    assert told.headers["x-content-type-options"] == "nosniff"
    odd = await house.http.post(f"{wanted.address.removeprefix(URL)}?news=nonsense&secret=x")
    assert odd.status_code == 204


async def test_a_watch_is_renewed_where_the_company_can(called: tuple[House, Caller], clock: Clock):
    house, caller = called
    before = await watches(house)
    await say(house, caller, "renew")
    await house.settle()
    assert (caller.renewed, len(caller.watches)) == (1, 1)
    await clock.shift(timedelta(days=6, hours=1))
    await house.run(due_now)
    await house.settle()
    after = await watches(house)
    assert (caller.renewed, [one.id for one in after]) == (2, [one.id for one in before])
    assert after[0].expires_at - before[0].expires_at > timedelta(days=6)


async def test_a_watch_that_the_company_ended_is_asked_anew_and_the_calendar_read(
    called: tuple[House, Caller],
):
    house, caller = called
    start = datetime.fromisoformat(house.start())
    caller.put("one", "dentist", start, start + timedelta(minutes=30))
    await say(house, caller, "ended")
    caller.watches.clear()
    await house.run(due_now)
    await house.settle()
    assert len(caller.watches) == 1
    assert not await free_at(house, start)


async def test_a_watch_that_is_gone_when_it_is_renewed_is_asked_anew(called: tuple[House, Caller]):
    house, caller = called
    await say(house, caller, "renew")
    caller.watches.clear()
    await house.settle()
    [known] = await watches(house)
    assert known.ref in caller.watches


# What a call, and the promise of calls, asks for


async def test_a_promise_and_a_call_ask_for_a_reading_and_calls_for_one_a_second(database: Database):
    shop = await open_shop(database)
    connection = await shop.connect()
    await shop.work()
    [one, *_] = await database.run(calendars.calendars_of, connection)

    async def due(tx: Tx) -> datetime | None:
        found: datetime | None = await tx.value(
            "select due_at from job where key = $1", f"sync_calendar:{one.id}"
        )
        return found

    async def nobody_reads(tx: Tx) -> None:
        await tx.execute("delete from job")

    await database.run(nobody_reads)
    watch = await database.run(watching.begin, one, URL)
    grant = Watch(ref="name", until=watch.created_at + DAY)
    await database.run(watching.granted, watch.id, grant)
    assert await database.run(due) is not None
    await database.run(nobody_reads)
    await database.run(watching.hear, watch.id, [Push(kind=PushKind.CHANGED, secret="")])
    assert await database.run(due) == one.read_at + watching.READ_AGAIN_AFTER
