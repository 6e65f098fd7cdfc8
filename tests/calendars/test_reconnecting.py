# SPDX-License-Identifier: Apache-2.0
"""An account is let in again, and is not what it was: which of its calendars are asked, and which one receives."""

from collections.abc import Sequence

from holdfirst.effects import connect_calendar
from holdfirst.effects.examine_calendars import examine
from holdfirst.flows import calendar_connections
from holdfirst.flows.calendar_connections import Roles
from holdfirst.refusal import Code, Refusal
from holdfirst.store import calendars
from holdfirst.store.calendars import Calendar
from holdfirst.store.database import Database
from shop import Shop, open_shop

from .test_two_ways import HOUR, confirmed, open_practice


async def of(shop: Shop, connection: str) -> dict[str, Calendar]:
    return {one.ref: one for one in await shop.database.run(calendars.calendars_of, connection)}


async def reconnected(shop: Shop, connection: str, refs: Sequence[str]) -> dict[str, Calendar]:
    """The account has these calendars by now; what stood in the others is gone."""
    shop.calendars.shelves = {ref: shop.calendars.shelves.get(ref, {}) for ref in refs}
    before = await shop.database.run(calendars.load_connection, connection)
    assert before is not None
    answer = await connect_calendar.reconnect(shop.world, before, {}, "credentials")
    assert not isinstance(answer, Refusal)
    await shop.work()
    return await of(shop, connection)


async def choose(shop: Shop, connection: str, blocking: Sequence[str], destination: str) -> None:
    known = await of(shop, connection)
    roles = Roles(
        blocking=[known[ref].id for ref in blocking],
        destination=known[destination].id if destination else "",
    )
    answer = await shop.database.run(calendar_connections.change, shop.account_id, connection, roles)
    assert not isinstance(answer, Refusal)


def roles_of(known: dict[str, Calendar]) -> dict[str, tuple[bool, bool]]:
    return {ref: (one.blocking, one.destination) for ref, one in known.items()}


async def test_another_account_is_asked_as_the_first_one_was(database: Database):
    """The host chose another one at the consent page: without this, all of their time was free."""
    shop, connection = await open_practice(database)
    one = await confirmed(shop)
    shop.calendars.shelves |= {"three": {}, "four": {}}
    shop.calendars.put("four", "stranger", shop.slot(11), shop.slot(11) + HOUR)
    known = await reconnected(shop, connection, ["three", "four"])
    assert roles_of(known) == {"three": (True, True), "four": (True, False)}
    answer = await shop.reserve(shop.slot(11))
    assert isinstance(answer, Refusal) and answer.code is Code.SLOT_TAKEN
    assert [entry.start for entry in shop.calendars.ours()["three"]] == [one.start]


async def test_where_the_one_that_receives_is_gone_another_one_does(database: Database):
    shop, connection = await open_practice(database)
    one = await confirmed(shop)
    known = await reconnected(shop, connection, ["two"])
    assert roles_of(known) == {"two": (True, True)}
    assert [entry.start for entry in shop.calendars.ours()["two"]] == [one.start]


async def test_where_the_only_one_that_blocked_is_gone_all_that_are_left_do(database: Database):
    shop, connection = await open_practice(database)
    await choose(shop, connection, ["one"], "one")
    known = await reconnected(shop, connection, ["two", "three"])
    assert roles_of(known) == {"two": (True, True), "three": (True, False)}


async def test_what_was_chosen_stays_while_it_is_there(database: Database):
    shop, connection = await open_practice(database)
    await choose(shop, connection, ["one"], "one")
    known = await reconnected(shop, connection, ["one", "two", "three"])
    assert roles_of(known) == {"one": (True, True), "two": (False, False), "three": (False, False)}


async def test_who_chose_that_none_blocks_is_left_alone(database: Database):
    shop, connection = await open_practice(database)
    await choose(shop, connection, [], "")
    known = await reconnected(shop, connection, ["one", "three"])
    assert roles_of(known) == {"one": (False, False), "three": (False, False)}


async def test_of_very_many_calendars_it_is_said_how_many_are_left_out(database: Database):
    for count, said in ((26, "1 more calendars"), (25, None)):
        shop = await open_shop(database, rules={"price": None})
        shop.calendars.shelves = {f"c{number}": {} for number in range(count)}
        connection = await shop.connect()
        known = await shop.database.run(calendars.calendars_of, connection)
        note = calendar_connections.left_out(known)
        assert note is None if said is None else said in (note or "")
        found = await examine(shop.world, repair=False)
        assert any("more calendars" in one for one in found.notes) == (said is not None)
        await shop.database.run(calendar_connections.disconnect, shop.account_id, connection)
