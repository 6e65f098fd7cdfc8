# SPDX-License-Identifier: Apache-2.0
"""How late what must follow a deadline is done: milliseconds from `held_until` to the instant it was written down.

Both instants are the database's. Idle, and while 32 clients reserve.
"""

import asyncio
import contextlib
import statistics
from collections.abc import AsyncIterator

import store as store_bench
from holdfirst import ids
from holdfirst.effects.world import World
from holdfirst.key_ring import KeyRing
from holdfirst.settings import Limits
from holdfirst.store.catalog import load_offers
from holdfirst.store.database import Database
from holdfirst.store.doorbell import Doorbell
from holdfirst.store.reservations import reserve
from holdfirst.store.together import Together
from holdfirst.worker import Worker

HOLDS = 200


async def measure(database: Database, slots: store_bench.Slots) -> dict[str, float]:
    async with _worker(database):
        idle = await _lateness(database, slots)
        loading = asyncio.create_task(store_bench.measure(database, slots, 12))
        await asyncio.sleep(1)
        busy = await _lateness(database, slots)
        await loading
    return {"idle_p50": idle[0], "idle_p99": idle[1], "load_p50": busy[0], "load_p99": busy[1]}


@contextlib.asynccontextmanager
async def _worker(database: Database) -> AsyncIterator[None]:
    world = World(
        database=database,
        claims=Together(database, reserve),
        offers=Together(database, load_offers),
        providers={},
        key_ring=KeyRing([b"b" * 32]),
        limits=Limits(),
        mail=None,
        public_url="",
        mail_from="",
    )
    doorbell = Doorbell(database)
    database.on_announce = doorbell.ring
    worker = Worker(world, doorbell)
    running = [asyncio.create_task(doorbell.run()), asyncio.create_task(worker.run())]
    try:
        yield
    finally:
        worker.stop()
        await running[1]
        running[0].cancel()


async def _lateness(database: Database, slots: store_bench.Slots) -> tuple[float, float]:
    """(p50, p99) over holds that end one after another, some 20 ms apart."""
    claims = Together(database, reserve)
    made = []
    for number in range(HOLDS):
        item = slots.item() | {"hold_seconds": 2}
        taken = await claims.ask(item)
        assert taken.outcome == "held"
        made.append(item["id"])
        if number % 20 == 0:
            database.on_announce({("holdfirst_jobs", "")})
        await asyncio.sleep(0.02)
    await asyncio.sleep(3)
    async with database.statement() as tx:
        rows = await tx.rows(
            "select extract(epoch from ended_at - held_until) * 1000 as late from reservation where id = any($1)",
            made,
        )
    late = sorted(float(row["late"]) for row in rows)
    assert len(late) == HOLDS
    assert late[0] >= 0, "never before"
    return statistics.median(late), late[int(HOLDS * 0.99)]


def account() -> str:
    return ids.make("acc")
