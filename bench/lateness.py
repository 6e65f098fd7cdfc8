# SPDX-License-Identifier: Apache-2.0
"""How late what must follow a deadline is done: milliseconds from `held_until` to the instant it was written down.

Both instants are the database's; the second is asked for after the commit. Idle, and while 32 clients reserve.
"""

import asyncio
import contextlib
import statistics
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import store as store_bench
from holdfirst import ids
from holdfirst.effects.offers import Offers
from holdfirst.effects.slot_lists import SlotLists
from holdfirst.effects.world import World
from holdfirst.key_ring import KeyRing
from holdfirst.settings import Limits
from holdfirst.store.database import Database
from holdfirst.store.doorbell import Doorbell
from holdfirst.store.jobs import CHANNEL
from holdfirst.store.reservations import reserve
from holdfirst.store.together import Together
from holdfirst.worker import KINDS, Kind, Worker

HOLDS = 200


async def measure(database: Database, slots: store_bench.Slots) -> dict[str, float]:
    async with _worker(database) as watch:
        idle = await _lateness(database, slots, watch)
        loading = asyncio.create_task(store_bench.measure(database, slots, 12))
        await asyncio.sleep(1)
        busy = await _lateness(database, slots, watch)
        await loading
    return {"idle_p50": idle[0], "idle_p99": idle[1], "load_p50": busy[0], "load_p99": busy[1]}


class Stopwatch:
    """The deadline's own effect, and the database's clock right after it."""

    def __init__(self) -> None:
        self.ended: dict[str, datetime] = {}

    async def run(self, world: World, subject: str) -> datetime | None:
        again = await KINDS["deadline"].run(world, subject)
        if again is None:
            async with world.database.statement() as tx:
                self.ended[subject] = await tx.now()
        return again


@contextlib.asynccontextmanager
async def _worker(database: Database) -> AsyncIterator[Stopwatch]:
    world = World(
        database=database,
        claims=Together(database, reserve),
        offers=Offers(database),
        slot_lists=SlotLists(database),
        providers={},
        key_ring=KeyRing([b"b" * 32]),
        limits=Limits(),
        mail=None,
        public_url="",
        mail_from="",
    )
    doorbell = Doorbell(database)
    database.on_announce = doorbell.ring
    watch = Stopwatch()
    worker = Worker(world, doorbell, {**KINDS, "deadline": Kind(watch.run)})
    running = [asyncio.create_task(doorbell.run()), asyncio.create_task(worker.run())]
    try:
        yield watch
    finally:
        worker.stop()
        await running[1]
        running[0].cancel()


async def _lateness(database: Database, slots: store_bench.Slots, watch: Stopwatch) -> tuple[float, float]:
    """(p50, p99) over holds that end one after another, some 20 ms apart."""
    claims = Together(database, reserve)
    due: dict[str, datetime] = {}
    for _ in range(HOLDS):
        item = slots.item() | {"hold_seconds": 2}
        taken = await claims.ask(item)
        assert taken.outcome == "held"
        due[item["id"]] = taken.held_until
        # As the reserve of a hold this short does.
        database.on_announce({(CHANNEL, "")})
        await asyncio.sleep(0.02)
    await asyncio.sleep(3)
    late = sorted((watch.ended[one] - until) / timedelta(milliseconds=1) for one, until in due.items())
    assert late[0] >= 0, "never before"
    return statistics.median(late), late[int(HOLDS * 0.99)]


def account() -> str:
    return ids.make("acc")
