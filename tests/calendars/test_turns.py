# SPDX-License-Identifier: Apache-2.0
"""A mailbox answers few calls at once: all processes of one database take turns."""

import asyncio
from datetime import timedelta

import msgspec
import pytest

from conftest import Clock
from holdfirst.effects import calendar_desk
from holdfirst.effects.calendar_desk import calling, turns_of
from holdfirst.effects.world import World
from holdfirst.errors import ProviderUnavailable
from holdfirst.providers.microsoft.graph import AT_ONCE_MAX
from holdfirst.providers.outward import Outward
from holdfirst.store import calendar_turns, calendars
from holdfirst.store.database import Database
from shop import Shop, open_shop

from .fake_graph import HOME, FakeGraph
from .test_microsoft import END, START, adapter_of


@pytest.fixture
async def shop(database: Database, fake: FakeGraph, outward: Outward, personal: bool) -> Shop:
    fake.personal = personal
    shop = await open_shop(database, rules={"price": None})
    shop.world.calendars["caldav"] = adapter_of(fake, outward)  # type: ignore[index]
    await shop.connect(secrets={"refresh_token": "M.refresh0"})
    return shop


def another_process(world: World, fake: FakeGraph, outward: Outward) -> World:
    """It knows nothing of what the first one has under way."""
    return msgspec.structs.replace(world, calendars={"caldav": adapter_of(fake, outward)})


@pytest.mark.parametrize("personal", [False, True])
async def test_two_processes_together_ask_a_mailbox_three_things_at_once(
    shop: Shop, fake: FakeGraph, outward: Outward
):
    """Where its address is known, and where it is not and the refresh token changes with each use."""
    [connection] = await shop.database.run(calendars.all_connections)
    [home] = [
        one for one in await shop.database.run(calendars.calendars_of, connection.id) if one.ref == HOME
    ]

    async def read(world: World) -> None:
        async with calling(world, home, connection, 20) as desk:
            await desk.provider.busy(desk.place, START, END)

    fake.latency, fake.most = 0.05, 0
    worlds = [shop.world, another_process(shop.world, fake, outward)]
    await asyncio.gather(*[read(world) for world in worlds for _ in range(6)])
    assert fake.most == AT_ONCE_MAX


@pytest.mark.parametrize("personal", [False])
async def test_a_turn_that_a_process_died_with_ends_by_itself(shop: Shop, clock: Clock):
    lasts = calendar_desk.TURN_LASTS
    lost = [
        await shop.database.single(calendar_turns.take, "mailbox", AT_ONCE_MAX, lasts)
        for _ in range(AT_ONCE_MAX)
    ]
    assert None not in lost and len({one.number for one in lost if one}) == AT_ONCE_MAX
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2), turns_of(shop.world)("mailbox", AT_ONCE_MAX):
            raise AssertionError("it is nobody's turn")
    async with turns_of(shop.world)("another", AT_ONCE_MAX):
        pass
    await clock.shift(lasts + timedelta(seconds=1))
    async with turns_of(shop.world)("mailbox", 1):
        # Who comes back late gives back nothing that is somebody else's by now.
        for one in lost:
            assert one is not None
            await shop.database.single(calendar_turns.give_back, one)
        assert await shop.database.single(calendar_turns.take, "mailbox", 1, lasts) is None


@pytest.mark.parametrize("personal", [False])
async def test_whoever_gets_no_turn_in_time_had_no_answer(shop: Shop, fake: FakeGraph):
    [connection] = await shop.database.run(calendars.all_connections)
    [home, *_] = await shop.database.run(calendars.calendars_of, connection.id)
    for _ in range(AT_ONCE_MAX):
        await shop.database.single(
            calendar_turns.take, "host@example.org", AT_ONCE_MAX, calendar_desk.TURN_LASTS
        )
    asked = len(fake.asked)
    with pytest.raises(ProviderUnavailable):
        async with calling(shop.world, home, connection, 0.3) as desk:
            await desk.provider.busy(desk.place, START, END)
    assert len(fake.asked) == asked
