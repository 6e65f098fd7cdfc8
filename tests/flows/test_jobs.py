# SPDX-License-Identifier: Apache-2.0
"""Whoever lost a claim has no word, however often the same wish came and went meanwhile; and who wakes a worker."""

import asyncio
from datetime import timedelta
from typing import Any

from holdfirst.effects.world import World
from holdfirst.flows.wake import wake
from holdfirst.store import jobs
from holdfirst.store.database import Database
from holdfirst.store.doorbell import Doorbell
from holdfirst.store.jobs import LOOK_SECONDS_MAX, Finished, Job
from holdfirst.worker import Kind, Worker
from shop import open_shop

OVER_AT_ONCE = timedelta(0)


async def test_a_claim_of_a_wish_that_came_again_is_another_claim(database: Database) -> None:
    shop = await open_shop(database)

    async def wished() -> None:
        async with database.transaction() as tx:
            await jobs.enqueue(tx, shop.account_id, "deadline", "one", due=await tx.now())

    async def claimed(lease: timedelta) -> Job:
        [job] = await database.run(jobs.claim, ["deadline"], lease, 1)
        return job

    await wished()
    stalled = await claimed(OVER_AT_ONCE)
    assert await database.run(jobs.finish, await claimed(OVER_AT_ONCE)) is Finished.GONE
    await wished()
    running = await claimed(timedelta(minutes=1))
    assert await database.run(jobs.finish, stalled) is Finished.LOST
    await wished()
    assert await database.run(jobs.finish, running) is Finished.AGAIN


async def test_a_worker_is_woken_for_what_no_bell_rings_for(database: Database) -> None:
    """What waits in a lane, and what is asked for again while it runs, is run when that ends, not at the next look."""
    shop = await open_shop(database)
    ran: list[str] = []

    async def wish(subject: str, lane: str | None = None) -> None:
        async def flow(tx: Any) -> None:
            await jobs.enqueue(tx, shop.account_id, "try", subject, due=await tx.now(), lane=lane)

        await database.run(flow)

    async def run(_: World, subject: str) -> None:
        ran.append(subject)
        if subject == "again" and ran.count("again") == 1:
            await wish("again")
        await asyncio.sleep(0.05)

    for number in range(3):
        await wish(f"{number}", lane="one")
    await wish("again")
    worker = Worker(shop.world, Doorbell(database), {"try": Kind(run)})
    running = asyncio.create_task(worker.run())
    async with asyncio.timeout(LOOK_SECONDS_MAX / 2):
        while len(ran) < 5:
            await asyncio.sleep(0.01)
    worker.stop()
    await running
    assert sorted(ran) == ["0", "1", "2", "again", "again"]
    assert [one for one in ran if one != "again"] == ["0", "1", "2"]


async def test_money_that_no_job_asks_about_is_asked_about_at_a_workers_start(database: Database) -> None:
    shop = await open_shop(database)
    payment = await shop.checkout(await shop.held())

    async def without_jobs(tx: Any) -> None:
        await tx.execute("delete from job")

    await database.run(without_jobs)
    await database.run(wake, ["advance"])
    [job] = await database.run(jobs.claim, ["advance"], timedelta(minutes=1), 10)
    assert job.subject == payment.id


async def test_who_held_a_job_about_money_before_a_worker_began_has_no_word(database: Database) -> None:
    shop = await open_shop(database)
    await shop.checkout(await shop.held())
    await database.run(wake, ["advance"])
    [before] = await database.run(jobs.claim, ["advance"], timedelta(minutes=1), 10)
    await database.run(wake, ["advance"])
    assert await database.run(jobs.finish, before) is Finished.LOST
