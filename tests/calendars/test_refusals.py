# SPDX-License-Identifier: Apache-2.0
"""What one calendar refuses of an account that lets us in. One that takes no events is read like any other, and nobody is told."""

from collections.abc import Mapping
from datetime import timedelta

import pytest

from conftest import Clock
from holdfirst.calendar.calendar_event import CalendarEvent, EventState
from holdfirst.calendar.provider import Access, Place
from holdfirst.effects.world import World
from holdfirst.errors import CalendarRefused
from holdfirst.flows import calendar_connections, calendar_health
from holdfirst.flows.calendar_connections import Roles
from holdfirst.providers.caldav import CalDav
from holdfirst.providers.icalendar_reader import IcalendarReader
from holdfirst.providers.outward import Answer, Outward
from holdfirst.reservation.reservation import CalendarVerdict, Reservation, Status
from holdfirst.store import calendars
from holdfirst.store.calendars import Calendar, Connection, ConnectionStatus
from holdfirst.store.database import Database, Tx
from holdfirst.web.calendar_forms import ConnectionAnswer, calendar_answer, connection_answer
from holdfirst.worker import KINDS, Kind
from shop import Shop

from .test_crashes import Killed, confirm, make, quiet_rounds, release

DAY = timedelta(days=1)


async def of_shop(shop: Shop) -> tuple[Connection, dict[str, Calendar]]:
    [connection] = await shop.database.run(calendars.all_connections)
    found = await shop.database.run(calendars.calendars_of, connection.id)
    return connection, {one.ref: one for one in found}


async def told(shop: Shop) -> ConnectionAnswer:
    connection, found = await of_shop(shop)
    return connection_answer(connection, list(found.values()), livemode=False, authorize_url=None)


async def jobs_to_tell(tx: Tx) -> int:
    count: int = await tx.value("select count(*) from job where kind = 'tell_host'")
    return count


def writes(shop: Shop) -> int:
    return shop.calendars.calls["write"] + shop.calendars.calls["delete"]


async def test_a_calendar_that_refuses_a_hold_is_checked_and_not_locked(database: Database, clock: Clock):
    shop = await make(database, clock)
    shop.calendars.refuses = {"one"}
    held = await shop.held()
    assert held.calendar_verdict is CalendarVerdict.CLEAN
    assert [len(found) for found in shop.calendars.ours().values()] == [0, 1]
    connection, found = await of_shop(shop)
    assert (connection.status, connection.problem) == (ConnectionStatus.ACTIVE, None)
    assert (found["one"].writable, found["two"].writable) == (False, True)
    assert "403: read only" in calendar_answer(found["one"]).notes
    answer = await told(shop)
    assert answer.last_error is not None and answer.last_error.since is not None
    assert (answer.locks, answer.last_error.message) == (False, "one: 403: read only")
    # It is not tried again, and a stranger there is in the way as anywhere.
    asked = writes(shop)
    await quiet_rounds(shop, clock)
    assert writes(shop) == asked
    assert await database.run(jobs_to_tell) == 0
    shop.calendars.put("one", "stranger", shop.slot(11), shop.slot(12))
    assert not hasattr(await shop.reserve(shop.slot(11)), "id")


async def decided_where_one_refuses(shop: Shop) -> Reservation:
    """One that was sold and one that was given up, both held before a calendar took nothing any more; answers the first."""
    sold, given_up = await shop.held(shop.slot(9)), await shop.held(shop.slot(10))
    shop.calendars.refuses = {"one"}
    await confirm(shop, sold)
    await release(shop, given_up)
    await shop.work()
    return sold


async def test_what_stands_there_stays_and_stops_nothing(database: Database, clock: Clock):
    """Neither a confirm nor a release; and no reading wants it away again and again."""
    shop = await make(database, clock)
    sold = await decided_where_one_refuses(shop)
    assert (await shop.read(sold.id)).status is Status.CONFIRMED
    assert [len(found) for found in shop.calendars.ours().values()] == [2, 0]
    shop.calendars.put("one", shop.calendars.ours()["one"][0].uid[:12] + "ab", shop.slot(14), shop.slot(15))
    await quiet_rounds(shop, clock)
    asked = writes(shop)
    await quiet_rounds(shop, clock)
    assert writes(shop) == asked
    connection, _ = await of_shop(shop)
    assert (connection.status, await database.run(jobs_to_tell)) == (ConnectionStatus.ACTIVE, 0)


async def test_a_write_without_answer_is_noted_until_there_is_one(database: Database, clock: Clock):
    shop = await make(database, clock)
    shop.calendars.faults = {"write": ["lost_before"] * 2, "delete": ["lost_before"] * 50}
    assert not hasattr(await shop.reserve(), "id")
    answer = await told(shop)
    assert answer.last_error is not None and "no answer in time" in answer.last_error.message
    assert (answer.locks, answer.status) == (True, ConnectionStatus.ACTIVE)
    # A poll that reads well says nothing of writes.
    await clock.shift(timedelta(seconds=31))
    await shop.work()
    assert (await told(shop)).last_error is not None
    shop.calendars.faults = {}
    await shop.held(shop.slot(12))
    assert (await told(shop)).last_error is None


async def test_listed_again_each_day_it_takes_what_it_lacks(database: Database, clock: Clock):
    shop = await make(database, clock)
    sold = await decided_where_one_refuses(shop)
    shop.calendars.refuses, shop.calendars.read_only = set(), {"two"}
    await quiet_rounds(shop, clock)
    await clock.shift(DAY - timedelta(minutes=3))
    lacking = await shop.held(shop.slot(11), hold_seconds=900)
    assert not (await of_shop(shop))[1]["one"].writable
    await quiet_rounds(shop, clock)
    _, found = await of_shop(shop)
    assert [found[ref].writable for ref in ("one", "two")] == [True, False]
    assert found["one"].write_problem is None
    there = {(one.state, one.start) for one in shop.calendars.ours()["one"]}
    assert there == {(EventState.CONFIRMED, sold.start), (EventState.HOLD, lacking.start)}


@pytest.mark.parametrize("ends", ["a process after its reading", "an answer on the way"])
async def test_nothing_loses_the_listing_of_a_day(
    database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch, ends: str
):
    """Nobody would think of it again before the next day."""
    shop = await make(database, clock)
    await clock.shift(DAY)
    shop.calendars.read_only = {"two"}

    async def ended(*_: object) -> None:
        raise Killed

    if ends == "an answer on the way":
        shop.calendars.faults["discover"] = ["lost_after"]
        await quiet_rounds(shop, clock, rounds=1)
    else:
        with monkeypatch.context() as patch:
            patch.setattr(calendar_health, "answered", ended)
            patch.setattr(shop, "kinds", {"sync_calendar": KINDS["sync_calendar"]})
            await quiet_rounds(shop, clock, rounds=1)
    assert (await of_shop(shop))[1]["two"].writable
    await quiet_rounds(shop, clock)
    assert not (await of_shop(shop))[1]["two"].writable


async def test_a_calendar_that_moved_to_another_zone_is_read_anew(database: Database, clock: Clock):
    shop = await make(database, clock)
    shop.calendars.time_zone = "America/New_York"
    await quiet_rounds(shop, clock)
    assert [one.time_zone for one in (await of_shop(shop))[1].values()] == ["UTC"] * 2
    await clock.shift(DAY)
    await quiet_rounds(shop, clock, rounds=1)
    _, found = await of_shop(shop)
    assert [one.time_zone for one in found.values()] == ["America/New_York"] * 2
    whole = [one.whole_at for one in found.values()]
    await quiet_rounds(shop, clock, rounds=1)
    later = [one.whole_at for one in (await of_shop(shop))[1].values()]
    assert all(one and two and one > two for one, two in zip(later, whole, strict=True))


async def test_the_one_that_receives_may_come_to_be_only_read(database: Database, clock: Clock):
    shop = await make(database, clock)
    shop.calendars.read_only = {"one"}
    await clock.shift(DAY)
    await quiet_rounds(shop, clock)
    answer = await told(shop)
    assert answer.last_error is not None and "can only be read" in answer.last_error.message
    assert (answer.locks, answer.destination is not None) == (False, True)


async def test_one_calendar_that_cannot_be_read_breaks_a_connection_once(database: Database, clock: Clock):
    """Whatever its others say meanwhile: the host is told once, and stays closed until it is read again or used no more."""
    shop = await make(database, clock)
    told_hosts: list[str] = []

    async def tell(_world: World, subject: str) -> None:
        told_hosts.append(subject)

    shop.kinds = dict(KINDS) | {"tell_host": Kind(tell)}
    shop.calendars.unreadable = {"one"}
    for _ in range(4):
        await clock.shift(timedelta(minutes=5))
        await quiet_rounds(shop, clock)
        connection, _ = await of_shop(shop)
        assert connection.status is ConnectionStatus.BROKEN
        assert connection.problem == "404: there is no such calendar"
    assert len(told_hosts) == 1
    shop.calendars.unreadable = set()
    await quiet_rounds(shop, clock)
    assert (await of_shop(shop))[0].status is ConnectionStatus.ACTIVE
    shop.calendars.unreadable = {"one"}
    await quiet_rounds(shop, clock)
    connection, found = await of_shop(shop)
    roles = Roles(blocking=[found["two"].id], destination="")
    await shop.database.run(calendar_connections.change, shop.account_id, connection.id, roles)
    await quiet_rounds(shop, clock)
    assert (await of_shop(shop))[0].status is ConnectionStatus.ACTIVE


class Refusing(Outward):
    def __init__(self, status: int) -> None:
        self.status = status

    async def ask(  # type: ignore[override]
        self, method: str, url: str, headers: Mapping[str, str], content: bytes = b""
    ) -> Answer:
        return Answer(self.status if method in ("PUT", "DELETE") else 404, {}, b"", url)


@pytest.mark.parametrize("status", [400, 403, 405, 413])
async def test_a_caldav_server_that_takes_no_event_lets_us_in_all_the_same(
    status: int, reader: IcalendarReader
):
    provider = CalDav(Refusing(status), reader)
    access = Access(secrets={"url": "https://calendar.example/", "username": "u", "password": "p"})
    place = Place(access=access, ref="https://calendar.example/one/", time_zone="UTC")
    start = Shop.slot(None, 9)  # type: ignore[arg-type]  # of no shop
    event = CalendarEvent(uid="hf1", state=EventState.HOLD, start=start, end=start, title="Hold")
    with pytest.raises(CalendarRefused, match=str(status)):
        await provider.write(place, event, None)
    with pytest.raises(CalendarRefused, match=str(status)):
        await provider.delete(place, "hf1", None)
