# SPDX-License-Identifier: Apache-2.0
"""A host drags an event of ours into another calendar of the same account: it is gone from one, and called off by nobody."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from conftest import Clock
from holdfirst.calendar.provider import CalendarProvider
from holdfirst.flows.cancel import CancelRequest, cancel
from holdfirst.providers.google import Google, GoogleClient
from holdfirst.providers.microsoft import Microsoft, MicrosoftClient
from holdfirst.providers.outward import Outward
from holdfirst.reservation.reservation import EndedBy, Reservation, Status
from holdfirst.store.calendars import WhenDeleted
from holdfirst.store.database import Database
from house import House, open_house
from shop import Shop

from . import fake_google, fake_graph
from .practice import texts_in
from .servers import Server, send
from .test_reconnecting import reconnected
from .test_two_ways import confirmed, flag, move_to, open_practice, read_calendars


def drag(shop: Shop, to: str = "two") -> None:
    [entry] = shop.calendars.ours()["one"]
    shop.calendars.take("one", entry.uid)
    shop.calendars.put(to, entry.uid, entry.start, entry.end, state=entry.state, title=entry.title)


def there(shop: Shop) -> dict[str, list[Any]]:
    return {ref: [one.start for one in entries] for ref, entries in shop.calendars.ours().items()}


@pytest.fixture(params=list(WhenDeleted))
async def dragged(request: pytest.FixtureRequest, database: Database) -> tuple[Shop, Reservation]:
    shop, _ = await open_practice(database, when_deleted=request.param)
    one = await confirmed(shop)
    await read_calendars(shop)
    drag(shop)
    await read_calendars(shop)
    return shop, one


async def test_it_is_moved_and_not_deleted(dragged: tuple[Shop, Reservation], clock: Clock):
    """When all is read again, too; and it is asked about then, and not with each reading."""
    shop, one = dragged
    for days in (0, 1, 1):
        await clock.shift(timedelta(days=days))
        await read_calendars(shop)
        assert (await shop.read(one.id)).status is Status.CONFIRMED
        assert await flag(shop, one) == "moved"
        assert there(shop) == {"one": [], "two": [one.start]}
        asked = shop.calendars.calls["find"]
        await read_calendars(shop)
        assert shop.calendars.calls["find"] == asked


async def test_put_back_it_is_as_it_was(dragged: tuple[Shop, Reservation]):
    shop, one = dragged
    [entry] = shop.calendars.ours()["two"]
    shop.calendars.take("two", entry.uid)
    shop.calendars.put("one", entry.uid, entry.start, entry.end, state=entry.state, title=entry.title)
    await read_calendars(shop)
    assert await flag(shop, one) is None


async def test_what_we_write_next_stands_where_we_write_it_alone(dragged: tuple[Shop, Reservation]):
    shop, one = dragged
    moved = await move_to(shop, one, shop.slot(15))
    assert isinstance(moved, Reservation), moved
    await read_calendars(shop)
    assert there(shop) == {"one": [shop.slot(15)], "two": []}
    assert await flag(shop, one) is None


async def test_called_off_it_is_nowhere(dragged: tuple[Shop, Reservation]):
    shop, one = dragged
    answer = await shop.database.run(cancel, CancelRequest(reservation_id=one.id, by=EndedBy.ACCOUNT))
    assert isinstance(answer, Reservation)
    await read_calendars(shop)
    assert there(shop) == {"one": [], "two": []}


async def test_called_off_while_another_calendar_does_not_answer_it_is_nowhere_in_the_end(
    dragged: tuple[Shop, Reservation], clock: Clock
):
    shop, one = dragged
    shop.calendars.faults = {"find": ["lost_before"]}
    answer = await shop.database.run(cancel, CancelRequest(reservation_id=one.id, by=EndedBy.ACCOUNT))
    assert isinstance(answer, Reservation)
    await shop.work()
    await clock.shift(timedelta(seconds=2))
    await shop.work()
    assert there(shop) == {"one": [], "two": []}


async def test_deleted_there_it_is_deleted(database: Database, clock: Clock):
    """Found when all is read again."""
    shop, _ = await open_practice(database, when_deleted=WhenDeleted.CANCEL)
    one = await confirmed(shop)
    await read_calendars(shop)
    drag(shop)
    await read_calendars(shop)
    [entry] = shop.calendars.ours()["two"]
    shop.calendars.take("two", entry.uid)
    await clock.shift(timedelta(days=1))
    await read_calendars(shop)
    assert (await shop.read(one.id)).status is Status.CANCELLED


async def test_a_hold_is_put_back(database: Database):
    shop, connection = await open_practice(database)
    held = await shop.held(hold_seconds=900)
    shop.calendars.shelves["other"] = {}
    await reconnected(shop, connection, ["one", "two", "other"])
    drag(shop, "other")
    await read_calendars(shop)
    assert there(shop) == {"one": [held.start], "two": [held.start], "other": []}
    assert await flag(shop, held) is None


async def test_while_nobody_can_say_where_it_is_nothing_follows(database: Database):
    """The next reading asks again: what it does not know it does not forget."""
    shop, _ = await open_practice(database, when_deleted=WhenDeleted.CANCEL)
    one = await confirmed(shop)
    await read_calendars(shop)
    [entry] = shop.calendars.ours()["one"]
    shop.calendars.take("one", entry.uid)
    shop.calendars.faults = {"find": ["", "lost_before", "", "lost_before"]}
    await read_calendars(shop)
    assert await flag(shop, one) is None
    await read_calendars(shop)
    assert (await shop.read(one.id)).status is Status.CANCELLED


# Before any reading has noticed; over the whole server, with one of the account's calendars in use


@dataclass
class Account:
    """Of a host who drags whatever of ours stands in the calendar that is in use into another one, which nobody asks."""

    house: House
    drag: Callable[[], None]
    ours: Callable[[], list[int]]
    """How many of our events stand in each of the two."""


@asynccontextmanager
async def _caldav(house: House, server: Server) -> AsyncIterator[Account]:
    used, other = (server.make_calendar(name) for name in ("in-use", "nobody-asks"))

    def drag() -> None:
        for text in texts_in(used, "hf"):
            name = text.partition("UID:")[2].split()[0].removesuffix("&#13;") + ".ics"
            event = send("GET", used + name)[2]
            assert send("DELETE", used + name)[0] in (200, 204)
            assert send("PUT", other + name, event)[0] == 201

    try:
        await _use(house, {"provider": "caldav", "credentials": server.secrets}, "in-use")
        yield Account(house, drag, lambda: [len(texts_in(url, "hf")) for url in (used, other)])
    finally:
        for name in ("in-use", "nobody-asks"):
            server.drop_calendar(name)


@asynccontextmanager
async def _google(house: House, outward: Outward) -> AsyncIterator[Account]:
    with fake_google.serving(fake_google.FakeGoogle()) as fake:
        client = GoogleClient("client", "secret", f"{fake.url}/calendar/v3", f"{fake.url}/token")
        _open(house, Google(outward, client))
        used, other = fake.calendars.values()
        wish = {"provider": "google", "refresh_token": fake_google.REFRESH}
        await _use(house, wish, next(iter(fake.calendars)))

        def drag() -> None:
            for uid, event in list(used.items()):
                if event["status"] != "cancelled":
                    other[uid] = dict(event)
                    fake.take(next(iter(fake.calendars)), uid)

        yield Account(
            house,
            drag,
            lambda: [sum(one["status"] != "cancelled" for one in each.values()) for each in (used, other)],
        )
        assert fake.fouls == []


@asynccontextmanager
async def _microsoft(house: House, outward: Outward) -> AsyncIterator[Account]:
    async with fake_graph.serving(fake_graph.FakeGraph()) as fake:
        client = MicrosoftClient(
            client_id="client", client_secret="secret", api=f"{fake.url}/v1.0", login=fake.url
        )
        _open(house, Microsoft(outward, client))
        await _use(house, {"provider": "microsoft", "refresh_token": "M.refresh0"}, "Calendar")

        def drag() -> None:
            for event in fake.within(fake_graph.HOME):
                fake.change(event["id"], calendar=fake_graph.SHARED)

        yield Account(
            house,
            drag,
            lambda: [len(fake.within(one)) for one in (fake_graph.HOME, fake_graph.SHARED)],
        )
        assert fake.fouls == []


def _open(house: House, provider: CalendarProvider) -> None:
    house.parts.world.calendars[provider.name] = provider  # type: ignore[index]


async def _use(house: House, wish: dict[str, Any], name: str) -> None:
    """Nothing of the account but the calendar of that name."""
    told = await house.ask("POST", "/v1/calendar-connections", {"host": house.host} | wish)
    found = await house.ask("GET", f"/v1/calendar-connections/{told['id']}/calendars")
    [used] = [one["id"] for one in found["data"] if name in one["name"]]
    await house.ask(
        "PATCH", f"/v1/calendar-connections/{told['id']}", {"blocking": [used], "destination": used}
    )
    await house.settle()


@pytest.fixture(params=["radicale", "xandikos", "google", "microsoft"])
async def account(
    request: pytest.FixtureRequest, database: Database, tmp_path: Path, outward: Outward
) -> AsyncIterator[Account]:
    async with open_house(database.url, tmp_path, allow_private="127.0.0.0/8") as house:
        match request.param:
            case "google":
                opened = _google(house, outward)
            case "microsoft":
                opened = _microsoft(house, outward)
            case kind:
                opened = _caldav(house, request.getfixturevalue(f"{kind}_server"))
        async with opened as account:
            yield account


async def test_called_off_before_anybody_noticed_it_is_nowhere(account: Account):
    held = await account.house.held("free")
    await account.house.ask("POST", f"/v1/reservations/{held['id']}/confirm", {})
    await account.house.settle()
    account.drag()
    assert account.ours() == [0, 1]
    await account.house.ask("POST", f"/v1/reservations/{held['id']}/cancel", {})
    await account.house.settle()
    assert account.ours() == [0, 0]


async def test_a_hold_that_ended_before_anybody_noticed_is_nowhere(account: Account):
    held = await account.house.held("free")
    account.drag()
    await account.house.ask("POST", f"/v1/reservations/{held['id']}/release", {})
    await account.house.settle()
    assert account.ours() == [0, 0]


async def test_written_anew_before_anybody_noticed_it_stands_where_we_write_it_alone(account: Account):
    held = await account.house.held("free")
    account.drag()
    await account.house.ask("POST", f"/v1/reservations/{held['id']}/confirm", {})
    await account.house.settle()
    assert account.ours() == [1, 0]
