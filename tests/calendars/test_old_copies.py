# SPDX-License-Identifier: Apache-2.0
"""A calendar whose publisher does not answer is told from a copy: how old that is, is known, and counts."""

from datetime import timedelta

import pytest

from conftest import Clock
from holdfirst.refusal import Code, Refusal
from holdfirst.reservation.reservation import Reservation
from holdfirst.store import calendars
from holdfirst.store.calendars import ConnectionStatus
from holdfirst.store.database import Database
from shop import Shop, open_shop

from .test_two_ways import read_calendars, status_of

DOWN = "the feed's address answers 503"


async def open_practice(database: Database, check: str) -> tuple[Shop, str]:
    shop = await open_shop(database, rules={"price": None, "calendar_check": check})
    connection = await shop.connect()
    await shop.work()
    return shop, connection


async def test_what_we_know_is_as_old_as_the_copy(database: Database, clock: Clock):
    shop, connection = await open_practice(database, "verified")
    [before, _] = await shop.database.run(calendars.calendars_of, connection)
    age = timedelta(minutes=5)
    await clock.shift(age)
    shop.calendars.age, shop.calendars.problem = age, DOWN
    await read_calendars(shop)
    [after, _] = await shop.database.run(calendars.calendars_of, connection)
    told = await shop.database.run(calendars.load_connection, connection)
    assert before.read_at is not None and after.read_at is not None and told is not None
    assert after.read_at - before.read_at < timedelta(seconds=10)
    assert (told.problem, told.status) == (DOWN, ConnectionStatus.ACTIVE)


async def test_after_a_quarter_of_an_hour_the_host_is_closed(database: Database, clock: Clock):
    """Though a copy is there, and is read: nobody takes it for an answer."""
    shop, connection = await open_practice(database, "verified")
    shop.calendars.problem = DOWN
    await clock.shift(timedelta(minutes=14))
    await read_calendars(shop)
    assert await status_of(shop, connection) is ConnectionStatus.ACTIVE
    await clock.shift(timedelta(minutes=2))
    await read_calendars(shop)
    assert await status_of(shop, connection) is ConnectionStatus.BROKEN
    await read_calendars(shop)
    assert await status_of(shop, connection) is ConnectionStatus.BROKEN
    shop.calendars.problem = None
    await read_calendars(shop)
    assert await status_of(shop, connection) is ConnectionStatus.ACTIVE


@pytest.mark.parametrize("check", ["strict", "verified", "local"])
async def test_strict_does_not_go_by_a_copy(database: Database, check: str):
    shop, connection = await open_practice(database, check)
    shop.calendars.problem = DOWN
    answer = await shop.reserve()
    if check == "strict":
        assert isinstance(answer, Refusal) and answer.code is Code.CALENDAR_UNREACHABLE
        told = await shop.database.run(calendars.load_connection, connection)
        assert told is not None and told.problem == DOWN
    else:
        assert isinstance(answer, Reservation)
