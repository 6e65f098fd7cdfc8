# SPDX-License-Identifier: Apache-2.0
"""Hints that anybody may send: however many come, and whether or not the company answers, they make one question a second."""

from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from holdfirst.payment.payment import ASK_AT_MOST_EVERY, Mode, Payment
from holdfirst.reservation.reservation import Status
from holdfirst.store import jobs, payments
from holdfirst.store.database import Database, Tx

from .quick import open_quick_scene, quickly
from .scene import PRICE, Scene, open_scene
from .test_table import confirmed

SECOND = int(ASK_AT_MOST_EVERY.total_seconds())


def questions(scene: Scene) -> int:
    """Each is one fetch, and a list of refunds where there is money."""
    count: int = scene.company.fake.calls.count("fetch")
    return count


async def hint(scene: Scene, payment: Payment) -> None:
    [one] = scene.company.notifications(payment.provider_ref)
    await scene.hear(one)


async def by_itself(scene: Scene) -> None:
    """What would be asked without any hint is put off, so that what is counted is the hints' alone."""

    async def put_off(tx: Tx) -> None:
        await tx.execute("update job set due_at = due_at + interval '1 day' where kind <> 'hint'")

    await scene.shop.database.run(put_off)


async def stored(scene: Scene) -> int:
    async with scene.shop.database.statement() as tx:
        count: int = await tx.value("select count(*) from notification")
    return count


@pytest.mark.parametrize("down", [False, True], ids=["up", "down"])
async def test_a_flood_makes_one_question_a_second(database: Database, clock, down: bool) -> None:
    async with open_scene(database, clock, Mode.AUTHORIZE_UNCLOSEABLE) as scene:
        _, payment = await scene.open()
        await by_itself(scene)
        if down:
            scene.down("fetch", times=10_000)
        began = await now(scene)
        for _ in range(12):
            # Each with a worker that is there at once.
            for _ in range(10):
                await hint(scene, payment)
                await scene.shop.work()
            await scene.pass_time(0.25)
        seconds = (await now(scene) - began).total_seconds()
        assert 3 <= questions(scene) <= seconds / SECOND + 1
        assert await stored(scene) <= questions(scene) + 1
        scene.up()


async def now(scene: Scene) -> Any:
    async with scene.shop.database.statement() as tx:
        return await tx.now()


async def test_a_flood_while_the_question_is_on_its_way(database: Database, clock) -> None:
    """As long as the company takes to say nothing, each hint wishes for one more; it comes a second after the first."""
    async with open_scene(database, clock, Mode.AUTHORIZE_UNCLOSEABLE) as scene:
        _, payment = await scene.open()
        await by_itself(scene)
        await hint(scene, payment)
        before = await stored(scene)
        inner = scene.company.provider.fetch

        async def slow(ref: str, account: Any) -> Any:
            for _ in range(20):
                await hint(scene, payment)
            return await inner(ref, account)

        scene.company.provider.fetch = slow
        await scene.shop.work()
        assert questions(scene) == 1
        assert await stored(scene) == before
        scene.company.provider.fetch = inner
        await scene.pass_time(SECOND)
        await scene.shop.work()
        assert questions(scene) == 2, "what came while it was asked is asked about once more"
        await scene.pass_time(60)
        await scene.shop.work()
        assert questions(scene) == 2


async def test_people_who_wait_and_hints_share_the_second(database: Database, clock) -> None:
    async with open_scene(database, clock, Mode.AUTHORIZE_UNCLOSEABLE) as scene:
        _, payment = await scene.open()
        await by_itself(scene)
        assert await scene.shop.database.run(payments.ask_now, payment.id, ASK_AT_MOST_EVERY)
        await hint(scene, payment)
        await scene.shop.work()
        assert questions(scene) == 0
        await scene.pass_time(SECOND)
        await scene.shop.work()
        assert questions(scene) == 1


async def test_a_true_one_is_heeded_at_once_and_when_the_company_is_back(database: Database, clock) -> None:
    async with open_scene(database, clock, Mode.AUTHORIZE_UNCLOSEABLE) as scene:
        held, payment = await scene.open()
        await by_itself(scene)
        scene.down("fetch", times=10_000)
        await hint(scene, payment)
        for _ in range(8):
            await scene.shop.work()
            await scene.pass_time(30)
        scene.company.pay(payment.provider_ref)
        scene.up()
        # Its own next try may be a minute away; a new hint does not wait for that.
        await hint(scene, payment)
        await scene.shop.work()
        assert await scene.status(held) is Status.CONFIRMED
        await scene.work()
        await confirmed(scene, held, payment)


async def test_money_at_rest_is_asked_about_where_somebody_says_so(database: Database, clock) -> None:
    """No other job is there for it any more."""
    async with open_scene(database, clock, Mode.SALE_UNCLOSEABLE) as scene:
        _, payment = await scene.open()
        scene.company.pay(payment.provider_ref)
        await hint(scene, payment)
        await scene.work()
        scene.company.refund_in_dashboard(payment.provider_ref, PRICE)
        await hint(scene, payment)
        await scene.work()
        assert (await scene.payment(payment)).refunded_minor == PRICE


async def test_the_rule_is_the_same_in_memory() -> None:
    with quickly():
        async with open_quick_scene(Mode.SALE_UNCLOSEABLE) as scene:
            _, payment = await scene.open()
            for _ in range(30):
                await hint(scene, payment)
                await scene.shop.work()
            assert questions(scene) <= 2


@asynccontextmanager
async def leased(database: Database, kind: str) -> Any:
    [job] = await database.run(jobs.claim, [kind], timedelta(seconds=60), 1)
    yield job
    await database.run(jobs.finish, job)


async def test_when_a_wish_starts(database: Database, clock) -> None:
    """`jobs.starts_by`, row by row."""
    async with open_scene(database, clock, Mode.SALE_UNCLOSEABLE) as scene:
        account = scene.shop.account_id

        async def wish(after: int) -> None:
            async with database.transaction() as tx:
                await jobs.enqueue(tx, account, "hint", "x", due=await tx.now() + timedelta(seconds=after))

        async def starts(within: int) -> bool | None:
            async with database.statement() as tx:
                return await jobs.starts_by(tx, "hint", "x", await tx.now() + timedelta(seconds=within))

        assert await starts(1) is None
        await wish(60)
        assert (await starts(1), await starts(61)) == (False, True)
        await wish(0)
        assert await starts(1) is True
        async with leased(database, "hint"):
            assert await starts(1) is False
        assert await starts(1) is None
        await wish(0)
        [job] = await database.run(jobs.claim, ["hint"], timedelta(seconds=60), 1)
        await database.run(jobs.give_up, job, "no")
        assert await starts(1) is False, "nobody runs what was given up"
