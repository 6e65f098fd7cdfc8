# SPDX-License-Identifier: Apache-2.0
"""A host drags an event of ours into another calendar of the same account: it is gone from one, and called off by nobody."""

from datetime import timedelta
from typing import Any

import pytest

from conftest import Clock
from holdfirst.flows.cancel import CancelRequest, cancel
from holdfirst.reservation.reservation import EndedBy, Reservation, Status
from holdfirst.store.calendars import WhenDeleted
from holdfirst.store.database import Database
from shop import Shop

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
