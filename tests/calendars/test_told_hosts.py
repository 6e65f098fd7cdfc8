# SPDX-License-Identifier: Apache-2.0
"""Where nothing follows from what a host did to an event of ours, they are told, once; and little follows at once."""

from datetime import timedelta
from typing import Any

from conftest import Clock
from holdfirst.flows.outcome import tell_of_change
from holdfirst.reservation.reservation import Status
from holdfirst.store import calendars
from holdfirst.store.calendars import WhenDeleted, WhenMoved
from holdfirst.store.database import Database, Tx
from shop import Shop

from .test_two_ways import confirmed, flag, move, open_practice, read_calendars

MOVED, DELETED = (
    f"A booking was {what} in your calendar, and is still booked" for what in ("moved", "deleted")
)


async def practice(database: Database, **policy: Any) -> Shop:
    shop, _ = await open_practice(database, **policy)

    async def with_mail(tx: Tx) -> None:
        await tx.execute("update host set email = 'host@example.org'")

    await shop.database.run(with_mail)
    return shop


def told(shop: Shop) -> list[str]:
    return [str(one["Subject"]) for one in shop.mail.sent if one["To"] == "host@example.org"]


async def test_a_move_that_is_flagged_is_told_once(database: Database):
    shop = await practice(database)
    one = await confirmed(shop)
    for hour in (15, 16):
        move(shop, shop.slot(hour))
        await read_calendars(shop)
        assert told(shop) == [MOVED]
    text = shop.mail.sent[-1].get_content()
    assert all(word in text for word in ("Consultation", "Anna", "9:00")), text
    move(shop, one.start)
    await read_calendars(shop)
    move(shop, shop.slot(15))
    await read_calendars(shop)
    assert told(shop) == [MOVED] * 2
    assert len({one["Message-ID"] for one in shop.mail.sent}) == len(shop.mail.sent)


async def test_another_length_is_told(database: Database):
    shop = await practice(database, when_moved=WhenMoved.FOLLOW)
    one = await confirmed(shop)
    move(shop, one.start, hours=2)
    await read_calendars(shop)
    assert told(shop) == [MOVED]


async def test_a_move_that_is_followed_is_not_told_and_one_that_cannot_be_is(database: Database):
    shop = await practice(database, when_moved=WhenMoved.FOLLOW)
    await confirmed(shop)
    move(shop, shop.slot(15))
    await read_calendars(shop)
    assert told(shop) == []
    await shop.held(shop.slot(17), hold_seconds=900)
    entry = next(entry for entry in shop.calendars.ours()["one"] if entry.start == shop.slot(15))
    shop.calendars.put("one", entry.uid, shop.slot(17), shop.slot(18), state=entry.state)
    await read_calendars(shop)
    assert told(shop) == [MOVED]


async def test_a_deletion_that_is_flagged_is_told_once(database: Database):
    shop = await practice(database)
    await confirmed(shop)
    [entry] = shop.calendars.ours()["one"]
    shop.calendars.take("one", entry.uid)
    for _ in range(2):
        await read_calendars(shop)
        assert told(shop) == [DELETED]


async def test_a_host_who_has_put_it_back_meanwhile_is_not_told(database: Database):
    """The mail waits until a mail server takes it; by then there may be nothing to tell."""
    shop = await practice(database)
    one = await confirmed(shop)
    what_of = (one.id, (await shop.database.run(calendars.calendars_of_hosts, shop.hosts))[0][0].id, "moved")
    await shop.database.run(tell_of_change, shop.account_id, what_of, one.created_at)
    await shop.work()
    assert told(shop) == []


async def test_an_account_that_is_emptied_slowly_cancels_three_a_day(database: Database, clock: Clock):
    shop = await practice(database, when_deleted=WhenDeleted.CANCEL)
    several = [await confirmed(shop, hour) for hour in range(9, 15)]
    for one in several[:5]:
        entry = next(entry for entry in shop.calendars.ours()["one"] if entry.start == one.start)
        shop.calendars.take("one", entry.uid)
        await read_calendars(shop)
    after = [await shop.read(one.id) for one in several]
    assert [one.status for one in after].count(Status.CANCELLED) == 3
    assert [await flag(shop, one) for one in after[3:]] == ["deleted", "deleted", None]
    assert told(shop) == [DELETED] * 2
    await clock.shift(timedelta(days=1, minutes=1))
    [entry] = shop.calendars.ours()["one"]
    shop.calendars.take("one", entry.uid)
    await read_calendars(shop)
    assert (await shop.read(several[5].id)).status is Status.CANCELLED
