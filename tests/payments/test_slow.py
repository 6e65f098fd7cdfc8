# SPDX-License-Identifier: Apache-2.0
"""An answer that comes after we have given up on it, in each operation of one life: paid once, given back once."""

import pytest

from holdfirst.effects import world
from holdfirst.flows.cancel import CancelRequest, cancel
from holdfirst.refusal import Code, Refusal
from holdfirst.reservation.reservation import EndedBy, Reservation, Status

from .scene import PRICE, Scene
from .test_table import confirmed

GIVEN_UP_AFTER = 0.3


@pytest.mark.parametrize("times", [1, 2])
async def test_every_answer_comes_too_late(scene: Scene, times: int, monkeypatch) -> None:
    monkeypatch.setattr(world, "CALL_SECONDS_MAX", GIVEN_UP_AFTER)
    scene.company.fake.slow_seconds = 10.0
    held = await scene.shop.held()
    scene.down("create", times=times, how="slow")
    for _ in range(times):
        unanswered = await scene.shop.try_checkout(held)
        assert isinstance(unanswered, Refusal)
        assert unanswered.code is Code.PROVIDER_UNAVAILABLE
    payment = await scene.shop.checkout(held)
    scene.down("fetch", "capture", times=times, how="slow")
    scene.company.pay(payment.provider_ref)
    await scene.notify(payment)
    for _ in range(times + 2):
        await scene.work()
        await scene.pass_time(30)
    await confirmed(scene, held, payment)
    scene.down("fetch", "refund", times=times, how="slow")
    request = CancelRequest(reservation_id=held.id, by=EndedBy.ACCOUNT, refund="full")
    assert isinstance(await scene.shop.database.run(cancel, request), Reservation)
    for _ in range(times + 4):
        await scene.work()
        await scene.pass_time(60)
    assert await scene.status(held) is Status.CANCELLED
    after = await scene.payment(payment)
    assert (after.refunded_minor, after.refund_due_minor, scene.money(payment).refunded) == (PRICE, 0, PRICE)


@pytest.mark.parametrize("times", [1, 2])
async def test_the_answers_to_closing_and_voiding_come_too_late(
    scene: Scene, times: int, monkeypatch
) -> None:
    monkeypatch.setattr(world, "CALL_SECONDS_MAX", GIVEN_UP_AFTER)
    scene.company.fake.slow_seconds = 10.0
    held, payment = await scene.open()
    await scene.until_over(held)
    scene.down("close", times=times, how="slow")
    for _ in range(times + 2):
        await scene.work()
        await scene.pass_time(30)
    assert await scene.status(held) is Status.EXPIRED
    await scene.shop.held(held.start)
    scene.company.pay(payment.provider_ref, late=True)
    scene.down("void", "refund", times=times, how="slow")
    await scene.notify(payment)
    for _ in range(times + 4):
        await scene.work()
        await scene.pass_time(60)
    assert (scene.money(payment).held, scene.money(payment).charged) == (0, 0)
