# SPDX-License-Identifier: Apache-2.0
"""Whoever lost a claim has no word, however often the same wish came and went meanwhile."""

from datetime import timedelta

from holdfirst.store import jobs
from holdfirst.store.database import Database
from holdfirst.store.jobs import Job
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
    assert await database.run(jobs.finish, await claimed(OVER_AT_ONCE))
    await wished()
    running = await claimed(timedelta(minutes=1))
    assert not await database.run(jobs.finish, stalled)
    assert await database.run(jobs.finish, running)
