# SPDX-License-Identifier: Apache-2.0
"""Whoever lost a claim has no word, however often the same wish came and went meanwhile; and who wakes a worker."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from conftest import Clock
from holdfirst.effects.world import World
from holdfirst.flows.wake import wake
from holdfirst.store import jobs
from holdfirst.store.database import Database, Tx
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


async def wished(database: Database, account_id: str, *wishes: tuple[str, str, int, str | None]) -> None:
    """Of (kind, subject, seconds until it is due, lane)."""
    async with database.transaction() as tx:
        for kind, subject, seconds, lane in wishes:
            due = await tx.now() + timedelta(seconds=seconds)
            await jobs.enqueue(tx, account_id, kind, subject, due=due, lane=lane)


async def claimed(database: Database, limit: int = 10, *kinds: str) -> list[str]:
    found = await database.run(jobs.claim, kinds or ["try"], timedelta(minutes=1), limit)
    return sorted(one.subject for one in found)


async def given_up(database: Database, account_id: str, subject: str, lane: str | None = None) -> None:
    await wished(database, account_id, ("try", subject, -90, lane))
    [job] = await database.run(jobs.claim, ["try"], timedelta(minutes=1), 1)
    assert job.subject == subject
    await database.run(jobs.give_up, job, "no")


async def test_what_is_claimed(database: Database) -> None:
    """What is due, of its kinds, the oldest first; nothing that was given up, and of a lane one at a time."""
    account = (await open_shop(database)).account_id
    await given_up(database, account, "dead", "with a dead one")
    await wished(
        database,
        account,
        ("try", "new", -1, None),
        ("try", "old", -60, None),
        ("try", "ahead", 60, None),
        ("other", "another kind", -60, None),
        ("try", "first", -20, "lane"),
        ("try", "second", -30, "lane"),
        ("try", "behind a dead one", -10, "with a dead one"),
    )
    assert await claimed(database, 1) == ["old"]
    assert await claimed(database) == ["behind a dead one", "first", "new"]
    assert await claimed(database) == []
    assert await claimed(database, 10, "try", "other") == ["another kind"]


async def test_the_oldest_is_claimed_first(database: Database) -> None:
    account = (await open_shop(database)).account_id
    ages = [5, 2, 8, 1, 9, 4, 7, 3, 6]
    await wished(database, account, *(("try", str(age), -age, None) for age in ages))

    async def one_by_one(tx: Tx) -> None:
        # In the order of this index they would come by themselves; it is back when all of it is undone.
        await tx.execute("drop index job_due")
        found = [await jobs.claim(tx, ["try"], timedelta(minutes=1), 1) for _ in ages]
        assert [job.subject for [job] in found] == [str(age) for age in sorted(ages, reverse=True)]
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await database.run(one_by_one)


async def test_the_same_wish_again_pulls_the_first_forward(database: Database) -> None:
    account = (await open_shop(database)).account_id

    async def seconds() -> int:
        return round(await database.single(jobs.seconds_to_next, ["try"]) or 0)

    for due, then in ((60, 60), (90, 60), (10, 10)):
        await wished(database, account, ("try", "one", due, None))
        assert await seconds() == then


@pytest.mark.parametrize("dead", [False, True])
async def test_a_wish_that_failed_goes_on_and_one_that_was_given_up_begins_anew(
    database: Database, dead: bool
) -> None:
    account = (await open_shop(database)).account_id
    for attempts in (1, 1 if dead else 2):
        await wished(database, account, ("try", "one", -1, None))
        [job] = await database.run(jobs.claim, ["try"], timedelta(minutes=1), 1)
        assert job.attempts == attempts
        if dead:
            await database.run(jobs.give_up, job, "no")
        else:
            await database.run(jobs.retry, job, timedelta(hours=1), "no")


async def test_an_error_is_kept_as_far_as_it_is_worth_reading(database: Database) -> None:
    account = (await open_shop(database)).account_id
    for ends in (
        lambda job: jobs.retry(tx, job, OVER_AT_ONCE, "x" * 9000),
        lambda job: jobs.give_up(tx, job, "x" * 9000),
    ):
        await wished(database, account, ("try", "fails", -1, None))
        async with database.transaction() as tx:
            [job] = await jobs.claim(tx, ["try"], timedelta(minutes=1), 1)
            await ends(job)
            assert await tx.value("select length(last_error) from job") == 500


async def test_when_the_next_is_due(database: Database, clock: Clock) -> None:
    """Nobody is woken for what cannot be claimed then."""
    account = (await open_shop(database)).account_id

    async def seconds() -> int | None:
        found = await database.single(jobs.seconds_to_next, ["try"])
        return None if found is None else round(found)

    await given_up(database, account, "dead")
    await wished(database, account, ("other", "another kind", 1, None))
    assert await seconds() is None
    await wished(database, account, ("try", "first", 100, "lane"), ("try", "second", 50, "lane"))
    assert await seconds() == 100
    await wished(database, account, ("try", "alone", 70, None))
    assert await seconds() == 70
    await clock.shift(timedelta(seconds=71))
    [job] = await database.run(jobs.claim, ["try"], timedelta(seconds=20), 5)
    assert await seconds() == 20
    await database.run(jobs.give_up, job, "no")
    assert await seconds() == 29


async def test_a_worker_takes_over_what_is_about_money_alone(database: Database) -> None:
    account = (await open_shop(database)).account_id
    await given_up(database, account, "dead")
    await wished(
        database, account, ("try", "ahead", 60, None), ("try", "old", -60, None), ("other", "x", 60, None)
    )
    assert await claimed(database, 1) == ["old"]
    await wished(database, account, ("try", "older", -30, None))
    await database.run(jobs.take_over, ["try"])
    async with database.statement() as tx:
        late = await tx.value("select the_clock() - due_at >= '30 seconds' from job where key = 'try:older'")
    assert late, "what waits for long comes first, as before"
    assert await claimed(database, 10, "try", "other") == ["ahead", "dead", "old", "older"]


async def test_workers_sign_on_and_off(database: Database, clock: Clock) -> None:
    async def known() -> list[str]:
        async with database.statement() as tx:
            return [row["id"] for row in await tx.rows("select id from worker order by seen_at, id")]

    for worker in ("one", "two", "died"):
        await database.run(jobs.beat, worker)
    await clock.shift(timedelta(minutes=40))
    await database.run(jobs.beat, "two")
    await clock.shift(timedelta(minutes=1))
    await database.run(jobs.beat, "one")
    assert await known() == ["died", "two", "one"]
    await database.run(jobs.sign_off, "one")
    assert await known() == ["died", "two"]
    await clock.shift(timedelta(minutes=30))
    await database.run(jobs.sign_off, "one")
    assert await known() == ["two"]


async def test_what_is_swept_is_old(database: Database, clock: Clock) -> None:
    async def left() -> list[int]:
        async with database.statement() as tx:
            return [
                await tx.value(f"select count(*) from {one}") for one in ("idempotency_key", "notification")
            ]

    async with database.statement() as tx:
        await tx.execute(
            "insert into idempotency_key (scope, key, fingerprint, lease_until, created_at)"
            " values ('s', 'k', '', the_clock(), the_clock())"
        )
        await tx.execute(
            "insert into notification (provider, payment_account_id, received_at, method, query, headers, body)"
            " values ('sandbox', 'pac', the_clock(), 'POST', '{}', '{}', '')"
        )
    for hours, kept in ((24, [1, 1]), (2, [0, 1]), (24 * 28, [0, 1]), (24 * 2, [0, 0])):
        await clock.shift(timedelta(hours=hours))
        await database.run(jobs.sweep)
        assert await left() == kept
