# SPDX-License-Identifier: Apache-2.0
"""A refund whose call nobody answered may still be on its way; one that was taken may be listed late. Whoever asks for the
job meanwhile, it is not sent again.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from holdfirst.doctor import _repair
from holdfirst.effects.refund import ASK_AGAIN, pay_back
from holdfirst.flows import refund
from holdfirst.flows.cancel import refund_payment
from holdfirst.payment.money import Money
from holdfirst.payment.payment import Mode, Payment
from holdfirst.reservation.reservation import Status
from holdfirst.store import payments
from holdfirst.store.database import Database, Tx

from .scene import AtStripe, Scene, open_scene

PART, ANOTHER = Money(1000, "EUR"), Money(500, "EUR")
SECONDS = int(ASK_AGAIN.total_seconds())


async def owe_another(scene: Scene, payment: Payment) -> None:
    await scene.shop.database.run(refund_payment, payment.id, ANOTHER)


async def repair(scene: Scene, payment: Payment) -> None:
    """What `holdfirst doctor --repair` does to the jobs of this database."""
    await scene.shop.database.run(_repair)


async def another_worker(scene: Scene, payment: Payment) -> None:
    """One that has the job while the first still runs it: its lease was over, say."""
    await asyncio.gather(*(pay_back(scene.shop.world, payment.id) for _ in range(3)))


PULLS: dict[str, Callable[[Scene, Payment], Awaitable[None]]] = {
    "another refund is owed": owe_another,
    "doctor repairs": repair,
    "other workers have it too": another_worker,
}


async def in_doubt(scene: Scene, how: str) -> Payment:
    """Paid, confirmed, and a part of it on its way back: our call for that had no answer."""
    held, payment = await scene.open()
    scene.company.pay(payment.provider_ref)
    await scene.notify(payment)
    await scene.work()
    assert await scene.status(held) is Status.CONFIRMED
    scene.down("refund", times=1, how=how)
    await scene.shop.database.run(refund_payment, payment.id, PART)
    await scene.shop.work()
    assert calls(scene) == 1
    return payment


def calls(scene: Scene) -> int:
    made = scene.company.fake.calls
    return sum((one[0] if isinstance(one, tuple) else one) == "refund" for one in made)


def keys(scene: Scene) -> set[str]:
    assert isinstance(scene.company, AtStripe)
    return {key for _, key in scene.company.fake.kept if ":refund:" in key}


@pytest.mark.parametrize("pull", PULLS)
async def test_it_is_not_sent_again_while_it_may_be_on_its_way(scene: Scene, pull: str) -> None:
    payment = await in_doubt(scene, "lost_before")
    for _ in range(3):
        await PULLS[pull](scene, payment)
        await scene.shop.work()
        await scene.pass_time(SECONDS // 4)
    await PULLS[pull](scene, payment)
    await scene.shop.work()
    assert calls(scene) == 1, "nor was another one sent: those of one payment go one at a time"
    keyless = not isinstance(scene.company, AtStripe)
    if keyless:
        # It arrives at last, under no key of ours: it is found, and not made again.
        scene.company.refund_in_dashboard(payment.provider_ref, PART.amount_minor)
    for _ in range(6):
        await scene.pass_time(SECONDS)
        await scene.work()
    after, others = await scene.payment(payment), 4 if pull == "another refund is owed" else 0
    owed = PART.amount_minor + others * ANOTHER.amount_minor
    assert (after.refunded_minor, after.refund_due_minor) == (owed, 0)
    assert scene.money(payment).refunded == owed
    assert calls(scene) == 1 + others + (not keyless)
    if not keyless:
        assert len(keys(scene)) == 1 + others, "what is sent again goes out under its key"


async def test_after_a_day_without_an_answer_their_list_tells(scene: Scene) -> None:
    """By then a company has forgotten the key that the call went out under."""
    payment = await in_doubt(scene, "lost_after")
    scene.down("fetch", "refund", times=10_000)
    for _ in range(3):
        await scene.pass_time(10 * 3600)
        await scene.work()
    made = scene.money(payment).refunded
    scene.up()
    await scene.pass_time(3601)
    await scene.work()
    after = await scene.payment(payment)
    assert made == PART.amount_minor
    assert (after.refunded_minor, after.refund_due_minor) == (PART.amount_minor, 0)
    assert scene.money(payment).refunded == PART.amount_minor


async def test_a_call_of_a_dead_process_has_its_time_too(database: Database, clock) -> None:
    """Written down before the call; then the process dies, and somebody repairs at once."""
    async with open_scene(database, clock, Mode.SALE_UNCLOSEABLE) as scene:
        _, payment = await scene.open()
        scene.company.pay(payment.provider_ref)
        await scene.notify(payment)
        await scene.work()
        await scene.shop.database.run(refund_payment, payment.id, PART)
        due = await database.run(refund.next_due, payment.id)
        assert await database.run(refund.about_to_send, due.refund.id, ASK_AGAIN)
        await repair(scene, payment)
        await scene.shop.work()
        assert calls(scene) == 0
        await scene.pass_time(SECONDS + 1)
        await scene.work()
        assert scene.money(payment).refunded == PART.amount_minor


async def test_without_the_watch_it_is_made_twice(database: Database, clock, monkeypatch) -> None:
    """At a company that keeps no keys: it arrives just after the list was asked."""

    async def at_once(tx: Tx, refund_id: str, least: timedelta) -> bool:
        return await payments.mark_refund_sent(tx, refund_id, timedelta(0))

    monkeypatch.setattr(refund, "about_to_send", at_once)
    async with open_scene(database, clock, Mode.SALE_UNCLOSEABLE) as scene:
        payment = await in_doubt(scene, "lost_before")
        await owe_another(scene, payment)
        await scene.shop.work()
        # The first call arrives now, beside the one that was made for want of it.
        scene.company.refund_in_dashboard(payment.provider_ref, PART.amount_minor)
        assert scene.money(payment).refunded == 2 * PART.amount_minor + ANOTHER.amount_minor
        await scene.work()


@asynccontextmanager
async def listed_late(
    database: Database, clock: Any, after: timedelta
) -> AsyncIterator[tuple[Scene, Payment]]:
    """A part was sent back and taken, at a company that keeps no keys and shows it in its list so much later."""
    async with open_scene(database, clock, Mode.SALE_UNCLOSEABLE) as scene:
        scene.company.fake.lists_refunds_after_seconds = after.total_seconds()
        _, payment = await scene.open()
        scene.company.pay(payment.provider_ref)
        await scene.notify(payment)
        await scene.work()
        await scene.shop.database.run(refund_payment, payment.id, PART)
        await scene.shop.work()
        assert calls(scene) == 1
        yield scene, payment


@pytest.mark.parametrize("pull", PULLS)
async def test_one_that_was_taken_is_not_sent_again_however_late_it_is_listed(
    database: Database, clock, pull: str
) -> None:
    async with listed_late(database, clock, timedelta(hours=5)) as (scene, payment):
        for _ in range(4):
            await scene.pass_time(3600)
            await PULLS[pull](scene, payment)
            await scene.work()
        assert calls(scene) == 1, "nor was another one sent: those of one payment go one at a time"
        for _ in range(2 + 4 * 7):
            await scene.pass_time(3600)
            await scene.work()
        others = 4 if pull == "another refund is owed" else 0
        owed, after = PART.amount_minor + others * ANOTHER.amount_minor, await scene.payment(payment)
        assert (after.refunded_minor, after.refund_due_minor, after.needs_human_code) == (owed, 0, None)
        assert (scene.money(payment).refunded, calls(scene)) == (owed, 1 + others)


async def test_one_that_is_never_listed_is_shown_to_a_human(database: Database, clock) -> None:
    async with listed_late(database, clock, timedelta(days=300)) as (scene, payment):
        told: list[str | None] = []
        for _ in range(33):
            await scene.pass_time(3600)
            await scene.work()
            told.append((await scene.payment(payment)).needs_human_code)
        assert (told[28], told[-1]) == (None, "refund_unlisted")
        assert calls(scene) == 1
        # The human finds it, or makes it by hand: either way it is in their list at last.
        scene.company.fake.lists_refunds_after_seconds = 0
        await scene.pass_time(3601)
        await scene.work()
        assert (
            (await scene.payment(payment)).refunded_minor
            == PART.amount_minor
            == scene.money(payment).refunded
        )


async def test_without_noting_that_it_was_taken_it_is_made_twice(
    database: Database, clock, monkeypatch
) -> None:
    async def forgets(tx: Tx, refund_id: str) -> None:
        pass

    monkeypatch.setattr(refund, "is_taken", forgets)
    async with listed_late(database, clock, timedelta(hours=5)) as (scene, payment):
        await scene.pass_time(SECONDS + 1)
        await scene.work()
        assert scene.money(payment).refunded == 2 * PART.amount_minor
