# SPDX-License-Identifier: Apache-2.0
"""The table goes on: refunds, second attempts, other people's hands, keys, clocks."""

import pytest

from holdfirst.effects import checkout as opening
from holdfirst.effects.release import release_with_provider
from holdfirst.flows.cancel import CancelRequest, cancel
from holdfirst.payment.payment import Late, Mode, PaymentStatus
from holdfirst.payment.provider import Credentials
from holdfirst.refusal import Code, Refusal
from holdfirst.reservation.reservation import EndedBy, Reservation, Status
from holdfirst.store import payees
from holdfirst.store.database import Tx

from .scene import CLOSEABLE, HOLDS, PRICE, SALES, Scene
from .test_table import confirmed, given_back, request_for


async def paid(scene: Scene):
    held, payment = await scene.open()
    scene.company.pay(payment.provider_ref)
    await scene.notify(payment)
    await scene.work()
    await confirmed(scene, held, payment)
    return held, payment


async def refunded(scene: Scene, held: Reservation, payment):
    """Called off by the practice: everything goes back."""
    request = CancelRequest(reservation_id=held.id, by=EndedBy.ACCOUNT, reason=None, refund="full")
    answer = await scene.shop.database.run(cancel, request)
    assert isinstance(answer, Reservation), answer
    await scene.work()


async def test_19_the_refund_is_refused_and_never_dropped(scene: Scene) -> None:
    held, payment = await paid(scene)
    scene.company.be_short(short=True)
    await refunded(scene, held, payment)
    after = await scene.payment(payment)
    assert (after.refund_due_minor, after.refunded_minor) == (PRICE, 0)
    assert after.needs_human_code == "refund_refused"
    scene.company.be_short(short=False)
    await scene.pass_time(3601)
    await scene.work()
    after = await scene.payment(payment)
    assert (after.refund_due_minor, after.refunded_minor, scene.money(payment).refunded) == (0, PRICE, PRICE)


async def test_19_a_refund_that_comes_too_early_is_tried_for_a_day_before_anybody_is_told(
    scene: Scene,
) -> None:
    if scene.mode in CLOSEABLE:
        pytest.skip("Stripe refunds at once")
    held, payment = await paid(scene)
    scene.company.fake.refunds_after_seconds = 86_400
    await refunded(scene, held, payment)
    for _ in range(23):
        await scene.pass_time(3601)
        await scene.shop.work()
    assert (await scene.payment(payment)).needs_human_code is None
    for _ in range(2):
        await scene.pass_time(3601)
        await scene.shop.work()
    assert scene.money(payment).refunded == PRICE
    assert (await scene.payment(payment)).needs_human_code is None


@pytest.mark.parametrize("how", ["lost_before", "lost_after", "500"])
async def test_19_the_answer_to_a_refund_is_lost_and_it_is_made_once(scene: Scene, how: str) -> None:
    held, payment = await paid(scene)
    scene.down("refund", times=2, how=how)
    await refunded(scene, held, payment)
    for _ in range(5):
        await scene.pass_time(120)
        await scene.work()
    after = await scene.payment(payment)
    assert (after.refunded_minor, after.refund_due_minor, scene.money(payment).refunded) == (PRICE, 0, PRICE)


async def test_20_a_refund_fails_days_after_it_was_done(scene: Scene) -> None:
    held, payment = await paid(scene)
    await refunded(scene, held, payment)
    assert (await scene.payment(payment)).status is PaymentStatus.REFUNDED
    scene.company.fail_refund(payment.provider_ref)
    # Nobody tells us: it is looked at again a day later.
    await scene.pass_time(86_401)
    await scene.work()
    after = await scene.payment(payment)
    assert (after.status, after.refund_due_minor, after.refunded_minor) == (PaymentStatus.CAPTURED, PRICE, 0)
    assert after.needs_human_code == "refund_failed"
    # And it is not sent again by itself: nobody is paid twice.
    await scene.pass_time(7201)
    await scene.work()
    assert scene.money(payment).refunded == 0


async def test_21_two_attempts_are_paid(scene: Scene) -> None:
    held, first = await scene.open()
    if scene.mode in CLOSEABLE:
        # Left by closing; with GoPay, a declined payment ends.
        assert (await scene.company.provider.close(first.provider_ref, opening_account(scene))) is not None
    else:
        scene.company.decline(first.provider_ref)
    await scene.come_back(first)
    second = await scene.shop.checkout(held)
    assert second.id != first.id
    scene.company.pay(second.provider_ref)
    await scene.notify(second)
    await scene.work()
    await confirmed(scene, held, second)
    if scene.mode not in CLOSEABLE:
        return
    scene.company.pay(first.provider_ref, late=True)
    await scene.notify(first)
    await scene.work()
    assert await scene.status(held) is Status.CONFIRMED
    assert (scene.money(first).held, scene.money(first).charged) == (0, 0)
    assert scene.money(second).charged == PRICE


def opening_account(scene: Scene):
    return Credentials(scene.shop.payee_id, livemode=False, secrets=scene.company.secrets)


async def test_22_the_first_card_is_declined(scene: Scene) -> None:
    held, payment = await scene.open()
    scene.company.decline(payment.provider_ref)
    await scene.notify(payment)
    await scene.work()
    assert await scene.status(held) is Status.HELD
    again = await scene.shop.checkout(held)
    assert (again.id == payment.id) is (scene.mode in CLOSEABLE)
    scene.company.pay(again.provider_ref)
    await scene.notify(again)
    await scene.work()
    await confirmed(scene, held, again)


@pytest.mark.parametrize("sold", [False, True], ids=["free", "sold"])
async def test_23_a_method_that_takes_days_slips_in(scene: Scene, sold: bool) -> None:
    if scene.mode is not Mode.SALE:
        pytest.skip("only where Stripe sells")
    held, payment = await scene.open()
    books = scene.company.books
    books.session(payment.provider_ref).params["excluded_payment_method_types"] = []
    books.pay(payment.provider_ref, "sepa_debit")
    await scene.notify(payment)
    await scene.work()
    assert await scene.status(held) is Status.HELD
    await scene.until_over(held)
    await scene.pass_time(scene.shop.world.limits.processing_max.total_seconds())
    await scene.work()
    assert await scene.status(held) is Status.EXPIRED
    if sold:
        await scene.shop.sold(held.start)
    await scene.pass_time(3 * 86_400)
    books.settle(payment.provider_ref)
    await scene.notify(payment)
    await scene.work()
    assert scene.money(payment).charged == (0 if sold else PRICE)
    assert await scene.status(held) is (Status.EXPIRED if sold else Status.CONFIRMED)


async def test_24_given_up_while_the_customer_pays(scene: Scene) -> None:
    held, payment = await scene.open()
    scene.company.pay(payment.provider_ref)
    answer = await release_with_provider(scene.shop.world, held.id, by=EndedBy.CUSTOMER, force=False)
    if scene.mode is Mode.SALE:
        assert isinstance(answer, Refusal)
        assert answer.code is Code.ALREADY_PAID
        assert await scene.status(held) is Status.CONFIRMED
        return
    assert isinstance(answer, Reservation)
    await scene.notify(payment)
    await scene.work()
    await given_back(scene, held, payment, Status.RELEASED)


async def test_25_another_amount_pays_for_nothing(scene: Scene) -> None:
    held, payment = await scene.open()
    scene.company.pay(payment.provider_ref)
    scene.company.tamper(payment.provider_ref)
    await scene.notify(payment)
    await scene.work()
    after = await scene.payment(payment)
    assert await scene.status(held) is not Status.CONFIRMED
    assert after.needs_human_code == "amount_mismatch"
    assert scene.money(payment).held == 0
    assert scene.money(payment).charged == 0


async def test_25_another_reservations_checkout_pays_for_nothing(scene: Scene) -> None:
    held, payment = await scene.open()
    _, other = await scene.open(start=scene.shop.slot(hour=12))
    scene.company.pay(other.provider_ref)

    async def swap(tx: Tx) -> None:
        await tx.execute("update payment set provider_ref = 'x' where id = $1", other.id)
        await tx.execute("update payment set provider_ref = $2 where id = $1", payment.id, other.provider_ref)

    await scene.shop.database.run(swap)
    await scene.come_back(payment)
    await scene.shop.work()
    assert await scene.status(held) is not Status.CONFIRMED
    assert (await scene.payment(payment)).needs_human_code == "amount_mismatch"

    async def swap_back(tx: Tx) -> None:
        await tx.execute("delete from job")
        await tx.execute("delete from refund")
        await tx.execute("delete from payment")

    await scene.shop.database.run(swap_back)
    scene.company.refs = list  # the books of this test are closed


async def test_26_somebody_captures_in_the_dashboard(scene: Scene) -> None:
    if scene.mode not in HOLDS:
        pytest.skip("a sale is captured already")
    held, payment = await scene.open()
    scene.company.pay(payment.provider_ref)
    scene.company.capture_in_dashboard(payment.provider_ref)
    await scene.until_over(held)
    await scene.shop.held(held.start)
    await scene.notify(payment)
    await scene.work()
    assert await scene.status(held) is Status.EXPIRED
    assert scene.money(payment).refunded == PRICE
    assert (await scene.payment(payment)).late is Late.REFUNDED


@pytest.mark.parametrize("amount", [1000, PRICE], ids=["part", "all"])
async def test_26_somebody_refunds_in_the_dashboard(scene: Scene, amount: int) -> None:
    held, payment = await paid(scene)
    scene.company.refund_in_dashboard(payment.provider_ref, amount)
    await scene.notify(payment)
    await scene.come_back(payment)
    await scene.work()
    after = await scene.payment(payment)
    assert await scene.status(held) is Status.CONFIRMED
    assert (after.refunded_minor, after.refund_due_minor) == (amount, 0)
    await refunded(scene, held, payment)
    assert scene.money(payment).refunded == PRICE


async def test_27_a_dispute_is_flagged_and_the_booking_stays(scene: Scene) -> None:
    if scene.mode not in CLOSEABLE:
        pytest.skip("GoPay tells of none")
    held, payment = await paid(scene)
    scene.company.books.dispute(payment.provider_ref)
    # Its event names neither our payment nor the checkout.
    await scene.hear(scene.company.notifications(payment.provider_ref)[-1])
    await scene.work()
    assert (await scene.payment(payment)).disputed
    assert await scene.status(held) is Status.CONFIRMED


async def test_28_the_key_is_revoked_in_mid_flight(scene: Scene) -> None:
    held, _ = await scene.open()
    scene.company.revoke()
    another = await scene.shop.held(scene.shop.slot(hour=15))
    answer = await opening.open_checkout(scene.shop.world, request_for(scene, another))
    assert isinstance(answer, Refusal)
    assert answer.code is Code.CHECKOUT_REFUSED
    assert "sk_" not in answer.detail
    await scene.shop.work()
    async with scene.shop.database.statement() as tx:
        payee = await payees.load(tx, scene.shop.payee_id)
    assert (payee.charges_enabled, payee.problem) == (False, "key_refused")
    # From now on nobody is sent there, and what was open ends as it would with a company that is down.
    refused = await opening.open_checkout(scene.shop.world, request_for(scene, another))
    assert "key_refused" in refused.detail
    await scene.until_over(held)
    await scene.pass_time(scene.shop.world.limits.processing_max.total_seconds())
    assert isinstance(await scene.shop.reserve(held.start), Reservation)


async def test_28_the_key_is_revoked_between_pin_and_capture(scene: Scene) -> None:
    if scene.mode not in HOLDS:
        pytest.skip("a sale is captured by the customer's click")
    held, payment = await scene.open()
    scene.company.pay(payment.provider_ref)
    await scene.come_back(payment)
    scene.company.revoke()
    await scene.work()
    # Nobody knows: the time stays theirs, nothing is given away and nothing said that is not so.
    await scene.until_over(held)
    await scene.pass_time(700)
    await scene.work()
    assert await scene.status(held) is Status.PROCESSING
    assert isinstance(await scene.shop.reserve(held.start), Refusal)
    assert (await scene.payment(payment)).needs_human_code == "capture_unanswered"
    assert (scene.money(payment).held, scene.shop.mail.sent) == (PRICE, [])
    scene.company.restore()
    await scene.pass_time(120)
    await scene.work()
    await confirmed(scene, held, payment)
    assert (await scene.payment(payment)).needs_human_code is None


async def test_28_the_key_is_revoked_while_a_refund_is_owed(scene: Scene) -> None:
    held, payment = await paid(scene)
    scene.company.revoke()
    await refunded(scene, held, payment)
    for _ in range(3):
        await scene.pass_time(3601)
        await scene.work()
    after = await scene.payment(payment)
    assert (await scene.status(held), after.refund_due_minor) == (Status.CANCELLED, PRICE)
    scene.company.restore()
    for _ in range(2):
        await scene.pass_time(3601)
        await scene.work()
    after = await scene.payment(payment)
    assert (after.refunded_minor, after.refund_due_minor, scene.money(payment).refunded) == (PRICE, 0, PRICE)


@pytest.mark.parametrize("seconds", [-40, 40], ids=["behind", "ahead"])
async def test_29_the_companys_clock_differs(scene: Scene, seconds: int) -> None:
    scene.company.fake.offset += seconds
    held, payment = await scene.open()
    scene.company.pay(payment.provider_ref)
    await scene.notify(payment)
    await scene.work()
    await confirmed(scene, held, payment)


async def test_30_the_price_changes_between_reserving_and_paying(scene: Scene) -> None:
    held = await scene.shop.held()

    async def dearer(tx: Tx) -> None:
        await tx.execute("update event_type set rules = jsonb_set(rules, '{price,amount_minor}', '9900')")

    await scene.shop.database.run(dearer)
    payment = await scene.shop.checkout(held)
    assert payment.amount.amount_minor == PRICE
    scene.company.pay(payment.provider_ref)
    await scene.notify(payment)
    await scene.work()
    await confirmed(scene, held, payment)
    assert scene.mode in HOLDS + SALES
