# SPDX-License-Identifier: Apache-2.0
"""Microsoft calls us when a calendar changes: the handshake, the secret, what becomes of a subscription. What holds for every
company that calls is in test_pushes.py.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest

from conftest import Clock
from holdfirst.calendar.provider import Access, CannotWatch, Handshake, Place, PushKind, WantedWatch, Watch
from holdfirst.effects.examine_calendars import examine
from holdfirst.flows import calendar_watches as watching
from holdfirst.payment.provider import Notification
from holdfirst.providers.microsoft import Microsoft
from holdfirst.providers.microsoft.subscriptions import LASTS_MAX
from holdfirst.providers.outward import Outward
from holdfirst.store.calendar_watches import WatchState
from holdfirst.store.database import Database
from house import House, due_now, open_house

from .fake_graph import HOME, SHARED, FakeGraph
from .test_microsoft import adapter_of
from .test_pushes import URL, free_at, polls, watches

DAY = timedelta(days=1)
ACCESS = Access(secrets={"refresh_token": "M.refresh0"}, server={"mailbox": "host@example.org"})
PLACE = Place(access=ACCESS, ref=HOME, time_zone="Europe/Prague")


@pytest.fixture
async def house(
    database: Database, tmp_path: Path, fake: FakeGraph, outward: Outward
) -> AsyncIterator[House]:
    """Graph reaches the server by its public address."""
    async with open_house(database.url, tmp_path, url=URL) as house:
        adapter = adapter_of(fake, outward)
        for known in (house.parts.world.calendars, house.parts.world.consents, house.parts.world.pushes):
            known["microsoft"] = adapter  # type: ignore[index]

        async def call(address: str, body: Any) -> tuple[int, str, str]:
            assert address.startswith(f"{URL}/v1/calendar-notifications/microsoft/wat_")
            answer = await house.http.post(address.removeprefix(URL), json=body)
            return answer.status_code, answer.headers.get("content-type", ""), answer.text

        fake.call = call
        yield house


async def connected(house: House) -> str:
    wish = {"host": house.host, "provider": "microsoft", "refresh_token": "M.refresh0"}
    told = await house.ask("POST", "/v1/calendar-connections", wish)
    await house.settle()
    return str(told["id"])


async def deliver(fake: FakeGraph) -> list[int]:
    sent, fake.pushes = fake.pushes, []
    assert fake.call is not None
    return [(await fake.call(address, body))[0] for address, body in sent]


async def test_an_address_is_proved_ours_before_anything_is_promised(house: House, fake: FakeGraph):
    await connected(house)
    assert sorted(one["calendar"] for one in fake.subscriptions.values()) == sorted([HOME, SHARED])
    opened = await watches(house)
    assert {one.state for one in opened} == {WatchState.OPEN}
    # The handshake was a call that came through.
    assert all(one.heard_at is not None for one in opened)
    assert sorted(one.ref for one in opened) == sorted(fake.subscriptions)
    for one in fake.subscriptions.values():
        assert one["lifecycleNotificationUrl"] == one["notificationUrl"]
        assert len(one["clientState"]) >= 40


async def test_a_push_changes_the_slots_and_nobody_waits_for_a_poll(house: House, fake: FakeGraph):
    await connected(house)
    start = datetime.fromisoformat(house.start())
    fake.put(HOME, start, start + timedelta(minutes=30))
    assert await house.step() == 0
    assert await free_at(house, start)
    assert await deliver(fake) == [204]
    await house.run(due_now)
    await house.settle()
    assert not await free_at(house, start)


async def test_doubled_pushes_are_one_reading_and_a_lost_one_is_found_by_a_poll(
    house: House, fake: FakeGraph
):
    await connected(house)
    await house.run(due_now)
    await house.settle()
    readings = sum(one.endswith("/delta") for one in fake.asked)
    fake.doubled_pushes = 10
    start = datetime.fromisoformat(house.start())
    for number in range(10):
        begins = start + number * timedelta(hours=1)
        fake.put(HOME, begins, begins + timedelta(minutes=5))
    assert await deliver(fake) == [204] * 20
    assert len([one for one in await polls(house) if one <= watching.READ_AGAIN_AFTER]) == 1
    await house.run(due_now)
    await house.settle()
    # One of each of the two calendars: everything was made due.
    assert sum(one.endswith("/delta") for one in fake.asked) == readings + 2
    assert not await free_at(house, start)
    fake.lost_pushes = 1
    later = start + timedelta(days=1)
    fake.put(HOME, later, later + timedelta(minutes=30))
    assert await deliver(fake) == []
    assert await free_at(house, later)
    for _ in range(2):
        await house.run(due_now)
        await house.settle()
    assert not await free_at(house, later)
    assert min(await polls(house)) <= house.parts.world.limits.calendar_poll


async def test_whoever_calls_without_the_secret_changes_and_learns_nothing(house: House, fake: FakeGraph):
    await connected(house)
    await house.settle()
    one = next(iter(fake.subscriptions))
    fake.tell(one, lifecycleEvent="subscriptionRemoved")
    [(address, good)] = fake.pushes
    before = await watches(house)
    said = good["value"][0]
    other = next(ref for ref in fake.subscriptions if ref != one)
    wrong: list[Any] = [
        {"value": [said | {"clientState": "x"}]},
        {"value": [said | {"clientState": "é"}]},
        # The secret of another of our watches is none of this one's.
        {"value": [said | {"clientState": fake.subscriptions[other]["clientState"]}]},
        {"value": [{name: value for name, value in said.items() if name != "clientState"}]},
        {"value": [said | {"clientState": 5}]},
        {"value": 5},
        {"value": []},
        [],
        None,
        "x" * 10_000,
    ]
    assert fake.call is not None
    for body in wrong:
        assert (await fake.call(address, body))[::2] == (204, ""), body
    assert await watches(house) == before
    assert (await fake.call(address, good))[::2] == (204, "")
    assert len(await watches(house)) == len(before) - 1


async def test_a_batch_counts_by_what_in_it_is_proved(house: House, fake: FakeGraph):
    await connected(house)
    one = next(iter(fake.subscriptions))
    fake.tell(one, lifecycleEvent="subscriptionRemoved")
    [(address, good)] = fake.pushes
    forged = good["value"][0] | {"clientState": "x", "lifecycleEvent": "reauthorizationRequired"}
    assert fake.call is not None
    await fake.call(address, {"value": [forged, good["value"][0] | {"lifecycleEvent": "missed"}]})
    known = next(found for found in await watches(house) if found.ref == one)
    assert known.renew_at > datetime.now(UTC) + DAY


async def test_that_calls_were_missed_is_a_reason_to_read(house: House, fake: FakeGraph):
    await connected(house)
    start = datetime.fromisoformat(house.start())
    fake.put(HOME, start, start + timedelta(minutes=30))
    fake.pushes.clear()
    [home] = [ref for ref, one in fake.subscriptions.items() if one["calendar"] == HOME]
    fake.tell(home, lifecycleEvent="missed")
    assert await deliver(fake) == [204]
    await house.run(due_now)
    await house.settle()
    assert not await free_at(house, start)


async def test_asked_to_authorize_again_the_same_one_is_lengthened(house: House, fake: FakeGraph):
    await connected(house)
    before = {one.ref: one for one in await watches(house)}
    home = next(iter(fake.subscriptions))
    fake.tell(home, lifecycleEvent="reauthorizationRequired")
    await deliver(fake)
    fake.asked.clear()
    await house.settle()
    assert f"PATCH /v1.0/subscriptions/{home}" in fake.asked
    after = {one.ref: one for one in await watches(house)}
    assert after.keys() == before.keys()
    assert after[home].renew_at > datetime.now(UTC) + DAY


async def test_one_that_was_removed_is_asked_for_anew_and_the_calendar_read(house: House, fake: FakeGraph):
    await connected(house)
    [home] = [ref for ref, one in fake.subscriptions.items() if one["calendar"] == HOME]
    start = datetime.fromisoformat(house.start())
    fake.put(HOME, start, start + timedelta(minutes=30))
    fake.pushes.clear()
    fake.tell(home, lifecycleEvent="subscriptionRemoved")
    del fake.subscriptions[home]
    await deliver(fake)
    await house.run(due_now)
    await house.settle()
    assert not await free_at(house, start)
    assert sorted(one["calendar"] for one in fake.subscriptions.values()) == sorted([HOME, SHARED])
    assert sorted(one.ref for one in await watches(house)) == sorted(fake.subscriptions)


async def test_lengthened_in_time_for_as_long_as_microsoft_lets_us(
    house: House, fake: FakeGraph, clock: Clock, monkeypatch: pytest.MonkeyPatch
):
    await connected(house)
    before = {one.ref: one for one in await watches(house)}
    now = datetime.now(UTC)
    assert all(now + 6 * DAY < one.expires_at < now + 7 * DAY for one in before.values())
    later = LASTS_MAX - watching.RENEWED_BEFORE + timedelta(minutes=1)
    await clock.shift(later)
    fake.now = lambda: datetime.now(UTC) + later
    wall = (datetime.now(UTC) + later).timestamp()
    monkeypatch.setattr("holdfirst.providers.microsoft.subscriptions.wall", lambda: wall)
    fake.access_tokens.clear()
    await house.run(due_now)
    await house.settle()
    after = {one.ref: one for one in await watches(house)}
    assert after.keys() == before.keys()
    assert all(after[ref].expires_at - before[ref].expires_at > 5 * DAY for ref in before)


async def test_one_that_ran_out_before_it_was_lengthened_is_asked_for_anew(house: House, fake: FakeGraph):
    await connected(house)
    fake.tell(next(iter(fake.subscriptions)), lifecycleEvent="reauthorizationRequired")
    await deliver(fake)
    del fake.subscriptions[next(iter(fake.subscriptions))]
    await house.settle()
    assert len(fake.subscriptions) == 2
    assert sorted(one.ref for one in await watches(house)) == sorted(fake.subscriptions)


async def test_a_calendar_that_is_not_watched_is_read_all_the_same(house: House, fake: FakeGraph):
    fake.watchable = {HOME}
    connection = await connected(house)
    told = await house.ask("GET", f"/v1/calendar-connections/{connection}")
    assert (told["status"], told["last_error"]) == ("active", None)
    found = await examine(house.parts.world, repair=False)
    assert any("ExtensionError" in note for note in found.notes)
    fake.pushes.clear()
    start = datetime.fromisoformat(house.start())
    fake.put(SHARED, start, start + timedelta(minutes=30))
    assert await deliver(fake) == []
    await house.run(due_now)
    await house.settle()
    assert not await free_at(house, start)


async def test_ended_where_nobody_needs_it(house: House, fake: FakeGraph):
    connection = await connected(house)
    assert len(fake.subscriptions) == 2
    await house.ask("DELETE", f"/v1/calendar-connections/{connection}")
    await house.settle()
    assert fake.subscriptions == {}


# The adapter by itself


def wanted(**more: Any) -> WantedWatch:
    until = datetime.now(UTC) + 7 * DAY
    wish = WantedWatch(id="wat_1", address="https://book.example.org/w", secret="s" * 43, until=until)
    return msgspec.structs.replace(wish, **more)


async def echo(address: str, _: Any) -> tuple[int, str, str]:
    return 200, "text/plain", unquote(address.partition("?validationToken=")[2])


@pytest.fixture
def adapter(fake: FakeGraph, outward: Outward) -> Microsoft:
    return adapter_of(fake, outward)


async def test_a_handshake_that_fails_is_no_watch(fake: FakeGraph, adapter: Microsoft):
    async def slowly(address: str, body: Any) -> tuple[int, str, str]:
        await asyncio.sleep(0.2)
        return await echo(address, body)

    async def encoded(address: str, _: Any) -> tuple[int, str, str]:
        return 200, "text/plain", address.partition("=")[2]

    fake.handshake_seconds = 0.05
    for call in (None, slowly, encoded):
        fake.call = call
        with pytest.raises(CannotWatch, match="ValidationError"):
            await adapter.watch(PLACE, wanted())
    fake.call = echo
    assert (await adapter.watch(PLACE, wanted())).reached


async def test_a_watch_that_is_gone_is_not_lengthened_and_ended_twice(fake: FakeGraph, adapter: Microsoft):
    fake.call = echo
    until = datetime.now(UTC) + 3 * DAY
    promised = await adapter.watch(PLACE, wanted(until=until))
    assert abs(promised.until - until) < timedelta(seconds=2)
    longer = await adapter.renew(PLACE, promised, datetime.now(UTC) + 30 * DAY)
    assert longer is not None and longer.until - promised.until > 3 * DAY
    for _ in range(2):
        await adapter.unwatch(PLACE, promised)
    assert await adapter.renew(PLACE, promised, until) is None
    assert await adapter.renew(PLACE, Watch(ref="sub-99", until=until), until) is None


def notification(body: Any = None, query: Mapping[str, str] = {}) -> Notification:
    return Notification(method="POST", headers={}, query=query, body=msgspec.json.encode(body))


@pytest.mark.parametrize(
    ("news", "kind"),
    [
        ({"changeType": "created"}, PushKind.CHANGED),
        ({"changeType": "deleted", "lifecycleEvent": None}, PushKind.CHANGED),
        ({"lifecycleEvent": "missed"}, PushKind.CHANGED),
        ({"lifecycleEvent": "reauthorizationRequired"}, PushKind.RENEW),
        ({"lifecycleEvent": "subscriptionRemoved"}, PushKind.ENDED),
        ({"lifecycleEvent": "somethingNew"}, PushKind.CHANGED),
    ],
)
def test_what_a_call_says(adapter: Microsoft, news: dict[str, Any], kind: PushKind):
    said = {"subscriptionId": "sub-1", "clientState": "s"} | news
    told = adapter.read_push(notification({"value": [said, said | {"subscriptionId": "sub-2"}]}))
    assert not isinstance(told, Handshake)
    assert [(one.kind, one.secret, one.ref) for one in told] == [(kind, "s", "sub-1"), (kind, "s", "sub-2")]


def test_a_handshake_is_told_as_it_is(adapter: Microsoft):
    told = adapter.read_push(notification(query={"validationToken": "a+b é"}))
    assert told == Handshake("a+b é")
