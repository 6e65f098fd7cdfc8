# SPDX-License-Identifier: Apache-2.0
"""Every way that paying and expiring can interleave, by number, under each money mode: real flows and effects, a real
database, and fakes of Stripe (which can close a checkout) and GoPay (which cannot). `scene.check()` follows each of them.
"""

import asyncio
from datetime import timedelta

import pytest

from holdfirst.effects import checkout as opening
from holdfirst.effects.world import desk_of
from holdfirst.flows import pay as paying
from holdfirst.payment.payment import Late, Mode, PaymentStatus
from holdfirst.payment.provider import Opened
from holdfirst.refusal import Code, Refusal
from holdfirst.reservation.reservation import EndedBy, EndedCode, Reservation, Status
from holdfirst.store import jobs
from holdfirst.store.database import Database
from holdfirst.worker import KINDS

from .scene import CLOSEABLE, HOLDS, PRICE, Scene, open_scene


def request_for(scene: Scene, held: Reservation) -> paying.CheckoutRequest:
    return paying.CheckoutRequest(
        reservation_id=held.id,
        return_url="https://shop.example/done",
        cancel_url=None,
        public_url=scene.shop.world.public_url,
    )


async def confirmed(scene: Scene, held: Reservation, payment, *, late: Late | None = None) -> None:
    """Confirmed once, charged once, one mail."""
    after, paid = await scene.shop.read(held.id), await scene.payment(payment)
    assert (after.status, after.paid_by, paid.late) == (Status.CONFIRMED, payment.id, late)
    assert (scene.money(payment).charged, paid.status) == (PRICE, PaymentStatus.CAPTURED)
    assert [subject.split()[0] for subject in scene.shop.mail.subjects()] == ["Confirmed:"]


async def given_back(scene: Scene, held: Reservation, payment, ended: Status = Status.EXPIRED) -> None:
    """Not charged, or refunded in full; the customer is told; the slot is not theirs."""
    assert await scene.status(held) is ended
    money, paid = scene.money(payment), await scene.payment(payment)
    assert (money.held, money.charged) == (0, 0)
    if scene.mode in HOLDS:
        assert (money.captured, paid.late) == (0, Late.VOIDED)
    else:
        assert (money.refunded, paid.late) == (PRICE, Late.REFUNDED)
    assert len(scene.shop.mail.sent) >= 1


async def test_01_paid_and_notified_in_time(scene: Scene) -> None:
    held, payment = await scene.open()
    scene.company.pay(payment.provider_ref)
    await scene.notify(payment)
    await scene.work()
    await confirmed(scene, held, payment)


async def test_02_notified_after_the_deadline_and_nobody_swept(scene: Scene) -> None:
    held, payment = await scene.open()
    scene.company.pay(payment.provider_ref)
    await scene.until_over(held)
    await scene.come_back(payment)
    await scene.work()
    await confirmed(scene, held, payment, late=None if scene.mode is Mode.SALE else Late.RETAKEN)


@pytest.mark.parametrize("sold", [False, True], ids=["free", "sold"])
async def test_03_paid_in_time_and_swept_first(scene: Scene, sold: bool) -> None:
    held, payment = await scene.open()
    scene.company.pay(payment.provider_ref)
    await scene.until_over(held)
    if sold:
        rival = await scene.shop.reserve(held.start)
        if scene.mode is Mode.SALE:
            # It is being closed: nobody else can have it.
            assert isinstance(rival, Refusal)
        else:
            assert isinstance(rival, Reservation)
    await scene.work()
    await scene.notify(payment)
    await scene.work()
    if scene.mode is Mode.SALE:
        await confirmed(scene, held, payment)
    elif sold:
        await given_back(scene, held, payment)
    else:
        await confirmed(scene, held, payment, late=Late.RETAKEN)


@pytest.mark.parametrize("rule", ["retake", "return"])
@pytest.mark.parametrize("mode", list(Mode), ids=str)
async def test_04_paid_too_late_and_the_slot_is_free(
    database: Database, clock, mode: Mode, rule: str
) -> None:
    async with open_scene(database, clock, mode, late_payment=rule) as scene:
        held, payment = await scene.open()
        await scene.until_over(held)
        await scene.work()
        assert await scene.status(held) is Status.EXPIRED
        scene.company.pay(payment.provider_ref, late=True)
        await scene.notify(payment)
        await scene.work()
        if rule == "retake":
            await confirmed(scene, held, payment, late=Late.RETAKEN)
        else:
            await given_back(scene, held, payment)


async def test_05_paid_too_late_and_the_slot_is_sold(scene: Scene) -> None:
    held, payment = await scene.open()
    await scene.until_over(held)
    await scene.work()
    rival = await scene.shop.held(held.start)
    scene.company.pay(payment.provider_ref, late=True)
    await scene.notify(payment)
    await scene.work()
    await given_back(scene, held, payment)
    assert await scene.status(rival) is Status.HELD


async def test_06_the_customer_is_back_first_and_reloads(scene: Scene) -> None:
    held, payment = await scene.open()
    scene.company.pay(payment.provider_ref)
    await asyncio.gather(*(scene.come_back(payment) for _ in range(5)))
    await scene.work()
    await scene.notify(payment)
    await scene.come_back(payment)
    await scene.work()
    await confirmed(scene, held, payment)


async def test_07_twice_under_two_names_and_played_back(scene: Scene) -> None:
    held, payment = await scene.open()
    scene.company.pay(payment.provider_ref)
    await scene.notify(payment, times=3)
    await scene.work()
    await scene.notify(payment, times=3)
    await scene.work()
    await confirmed(scene, held, payment)


async def test_08_in_another_order(scene: Scene) -> None:
    held, payment = await scene.open()
    if scene.mode in CLOSEABLE:
        scene.company.decline(payment.provider_ref)
    scene.company.pay(payment.provider_ref)
    for one in reversed(scene.company.notifications(payment.provider_ref)):
        await scene.hear(one)
        await scene.work()
    await confirmed(scene, held, payment)


async def test_09_no_notification_ever(scene: Scene) -> None:
    held, payment = await scene.open()
    scene.company.pay(payment.provider_ref)
    await scene.pass_time(11)
    await scene.work()
    await confirmed(scene, held, payment)


async def test_09_no_notification_of_late_money_ever(scene: Scene) -> None:
    held, payment = await scene.open()
    await scene.until_over(held)
    await scene.work()
    scene.company.pay(payment.provider_ref, late=True)
    await scene.pass_time(62)
    await scene.work()
    await confirmed(scene, held, payment, late=Late.RETAKEN)


async def test_10_notified_before_we_know_the_reference(scene: Scene) -> None:
    held = await scene.shop.held()
    scene.down("create", times=1, how="lost_after")
    answer = await opening.open_checkout(scene.shop.world, request_for(scene, held))
    assert isinstance(answer, Refusal)
    assert answer.code is Code.PROVIDER_UNAVAILABLE
    [ref] = scene.company.refs()
    if scene.mode in CLOSEABLE:
        # At GoPay nobody was told where to pay; at Stripe neither, and its event names our payment all the same.
        scene.company.pay(ref)
    for one in scene.company.notifications(ref):
        await scene.hear(one)
    await scene.pass_time(11)
    await scene.work()
    payment = await scene.shop.checkout(held) if scene.mode not in CLOSEABLE else None
    if payment is not None:
        assert payment.provider_ref != ref
        scene.company.pay(payment.provider_ref)
        await scene.notify(payment)
        await scene.work()
    assert await scene.status(held) is Status.CONFIRMED


async def test_11_closing_against_paying(scene: Scene) -> None:
    held, payment = await scene.open()
    await scene.until_over(held)
    claimed = await scene.shop.database.run(jobs.claim, ["deadline"], timedelta(seconds=60), 10)
    for job in claimed:
        await KINDS[job.kind].run(scene.shop.world, job.subject)
        await scene.shop.database.run(jobs.finish, job)
    # The order to close is out, and the customer is quicker.
    scene.company.pay(payment.provider_ref)
    await scene.work()
    await scene.pass_time(62)
    await scene.work()
    await confirmed(scene, held, payment, late=None if scene.mode is Mode.SALE else Late.RETAKEN)


@pytest.mark.parametrize("how", ["lost_before", "lost_after"])
async def test_12_the_answer_to_closing_is_lost(scene: Scene, how: str) -> None:
    held, _ = await scene.open()
    await scene.until_over(held)
    scene.down("close", times=1, how=how)
    rival = await scene.shop.reserve(held.start)
    assert isinstance(rival, Refusal) is (scene.mode is Mode.SALE)
    await scene.work()
    assert await scene.status(held) is Status.EXPIRED


@pytest.mark.parametrize("paid", [False, True], ids=["unpaid", "paid"])
async def test_13_the_company_is_down_for_an_hour_at_the_deadline(scene: Scene, paid: bool) -> None:
    held, payment = await scene.open()
    if paid:
        scene.company.pay(payment.provider_ref)
    scene.down("fetch", "close", times=10_000)
    await scene.until_over(held)
    await scene.work()
    if scene.mode is Mode.SALE:
        assert isinstance(await scene.shop.reserve(held.start), Refusal)
        await scene.pass_time(scene.shop.world.limits.processing_max.total_seconds())
    assert isinstance(await scene.shop.reserve(held.start), Reservation)
    await scene.pass_time(3600)
    scene.up()
    await scene.work()
    await scene.pass_time(120)
    await scene.work()
    if paid:
        # The rival's hold ran out long ago; so the time is taken again.
        await confirmed(scene, held, payment, late=Late.RETAKEN)
    else:
        assert await scene.status(held) is Status.EXPIRED


async def test_14_the_capture_is_refused(scene: Scene) -> None:
    if scene.mode not in HOLDS:
        pytest.skip("a sale is captured by the customer's click")
    held, payment = await scene.open()
    scene.company.refuse_captures()
    scene.company.pay(payment.provider_ref)
    await scene.notify(payment)
    await scene.work()
    after = await scene.shop.read(held.id)
    assert (after.status, after.ended.by, after.ended.code) == (
        Status.EXPIRED,
        EndedBy.PAYMENT,
        EndedCode.PAYMENT_FAILED,
    )
    assert (scene.money(payment).held, scene.money(payment).captured) == (0, 0)
    assert scene.shop.mail.subjects() == []
    assert isinstance(await scene.shop.reserve(held.start), Reservation)


@pytest.mark.parametrize("how", ["lost_before", "lost_after", "500"])
async def test_15_the_answer_to_the_capture_is_lost(scene: Scene, how: str) -> None:
    held, payment = await scene.open()
    scene.down("capture", times=2, how=how)
    scene.company.pay(payment.provider_ref)
    await scene.notify(payment)
    for _ in range(5):
        await scene.work()
        await scene.pass_time(30)
    await confirmed(scene, held, payment)


async def test_16_nobody_is_there_to_capture(scene: Scene) -> None:
    held, payment = await scene.open()
    scene.company.pay(payment.provider_ref)
    await scene.come_back(payment)
    if scene.mode in HOLDS:
        assert await scene.status(held) is Status.PROCESSING
        # A worker takes the job and dies with it; the deadline passes, and frees nothing.
        assert await scene.shop.database.run(jobs.claim, ["capture"], timedelta(seconds=60), 10)
    await scene.until_over(held)
    assert isinstance(await scene.shop.reserve(held.start), Refusal)
    await scene.restart()
    await confirmed(scene, held, payment)


async def test_17_we_die_between_the_company_and_writing_it_down(scene: Scene) -> None:
    held = await scene.shop.held()
    to_open = await scene.shop.database.run(
        paying.open_payment, request_for(scene, held), scene.shop.world.limits
    )
    assert isinstance(to_open, paying.ToOpen)
    desk = desk_of(scene.shop.world, to_open.payee)
    lost = await desk.provider.open_checkout(to_open.spec, desk.account)
    assert isinstance(lost, Opened)
    payment = await scene.shop.checkout(held)
    assert (payment.provider_ref == lost.provider_ref) is (scene.mode in CLOSEABLE)
    scene.company.pay(payment.provider_ref)
    await scene.notify(payment)
    await scene.work()
    await confirmed(scene, held, payment)


@pytest.mark.parametrize("how", ["lost_before", "lost_after", "500"])
async def test_18_the_answer_to_the_void_is_lost(scene: Scene, how: str) -> None:
    held, payment = await scene.open()
    await scene.until_over(held)
    await scene.work()
    await scene.shop.held(held.start)
    scene.down("void", "refund", times=1, how=how)
    scene.company.pay(payment.provider_ref, late=True)
    await scene.notify(payment)
    for _ in range(4):
        await scene.work()
        await scene.pass_time(60)
    await scene.work()
    await given_back(scene, held, payment)


async def test_18_what_was_to_be_voided_is_captured_already(scene: Scene) -> None:
    if scene.mode not in HOLDS:
        pytest.skip("nothing to void")
    held, payment = await scene.open()
    await scene.until_over(held)
    await scene.work()
    await scene.shop.held(held.start)
    scene.down("void", times=3)
    scene.company.pay(payment.provider_ref, late=True)
    await scene.notify(payment)
    await scene.shop.work()
    scene.company.capture_in_dashboard(payment.provider_ref)
    for _ in range(4):
        await scene.work()
        await scene.pass_time(60)
    await scene.work()
    assert scene.money(payment).refunded == PRICE
    assert (await scene.payment(payment)).status is PaymentStatus.REFUNDED
