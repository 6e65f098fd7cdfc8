# SPDX-License-Identifier: Apache-2.0
"""What holds several of the rules up, each tried with the guard and, where it is a race, without it."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from holdfirst.effects import checkout as opening
from holdfirst.effects.opening import open_at_provider
from holdfirst.flows import pay as paying
from holdfirst.flows import refund as refunding
from holdfirst.flows.cancel import refund_payment
from holdfirst.flows.pay import lock_payment
from holdfirst.payment.money import Money
from holdfirst.payment.payment import Disposition, Late, Mode, PaymentStatus
from holdfirst.payment.provider import Phase, RefundPhase, RefundTruth, Truth
from holdfirst.payment.refund import Refund, RefundStatus, as_seen, matched
from holdfirst.refusal import Code, Refusal
from holdfirst.reservation.reservation import EndedCode, Reservation, Status
from holdfirst.store import payees, payments
from holdfirst.store.database import Database

from .scene import HOLDS, PRICE, Scene, open_scene
from .test_table import confirmed, request_for
from .test_table_after import paid

# Two checkouts for one payment, at a company that keeps no keys: only one address is told


async def addresses(scene: Scene, hour: int = 9) -> set[str]:
    held = await scene.shop.held(scene.shop.slot(hour))
    answers = await asyncio.gather(
        *(opening.open_checkout(scene.shop.world, request_for(scene, held)) for _ in range(4))
    )
    assert not any(isinstance(one, Refusal) for one in answers)
    return {one[1].checkout_url for one in answers}


async def test_four_at_once_are_sent_to_one_checkout(database: Database, clock) -> None:
    async with open_scene(database, clock, Mode.SALE_UNCLOSEABLE) as scene:
        # Who of the four comes when is not ours to say: until more than one of them has been at the company.
        for opened, hour in enumerate(range(6, 18), 1):
            assert len(await addresses(scene, hour)) == 1
            if len(scene.company.refs()) > opened:
                return
        raise AssertionError("the race was never there")


async def test_without_the_guard_they_are_sent_to_several(database: Database, clock, monkeypatch) -> None:
    async def last_one_wins(tx, payment_id, provider_ref, checkout_url):
        reservation, payment = await lock_payment(tx, payment_id)
        payment = replace(payment, provider_ref=provider_ref, checkout_url=checkout_url)
        await payments.save(tx, payment)
        return reservation, payment

    monkeypatch.setattr(paying, "record_checkout", last_one_wins)
    async with open_scene(database, clock, Mode.SALE_UNCLOSEABLE) as scene:
        assert max([len(await addresses(scene, hour)) for hour in range(6, 18)]) > 1


# A refusal that comes after an answer


async def test_a_refusal_takes_no_open_checkout_back(scene: Scene) -> None:
    """Two ask at once; one is sent to the checkout, and the other's call meets a key that was revoked meanwhile."""
    held = await scene.shop.held()
    to_open = await scene.shop.database.run(
        paying.open_payment, request_for(scene, held), scene.shop.world.limits
    )
    payment = await scene.shop.checkout(held)
    scene.company.revoke()
    answer = await open_at_provider(scene.shop.world, to_open)
    assert not isinstance(answer, Refusal)
    assert (answer[1].id, answer[1].checkout_url) == (payment.id, payment.checkout_url)
    assert (await scene.payment(payment)).status is PaymentStatus.OPEN
    scene.company.pay(payment.provider_ref)
    await scene.until_over(held)
    # The customer has paid: where the checkout is closed first, nobody else may have the time.
    assert isinstance(await scene.shop.reserve(held.start), Refusal) is (scene.mode is Mode.SALE)
    scene.company.restore()
    await scene.work()
    await scene.pass_time(120)
    await scene.work()
    assert (scene.money(payment).held, scene.money(payment).charged) in ((0, 0), (0, PRICE))


# What is accepted is not done, and what is refused meanwhile is not refused for good


async def test_a_capture_that_takes_its_time_is_waited_for(database: Database, clock) -> None:
    async with open_scene(database, clock, Mode.AUTHORIZE_UNCLOSEABLE) as scene:
        held, payment = await scene.open()
        scene.company.fake.faults["capture"] = ["slow_result"]
        scene.company.fake.looks_until_done = 8
        scene.company.pay(payment.provider_ref)
        await scene.notify(payment)
        for _ in range(8):
            await scene.work()
            assert await scene.status(held) in (Status.PROCESSING, Status.CONFIRMED)
            await scene.pass_time(70)
        assert scene.company.fake.calls.count("capture") > 1, "it was asked for again, and refused for now"
        assert "void" not in scene.company.fake.calls
        await confirmed(scene, held, payment)


# Money that was given back before it was heard of


async def test_money_that_somebody_gave_back_pays_for_nothing(scene: Scene) -> None:
    held, payment = await scene.open()
    scene.company.pay(payment.provider_ref)
    if scene.mode in HOLDS:
        scene.company.capture_in_dashboard(payment.provider_ref)
    scene.company.refund_in_dashboard(payment.provider_ref, PRICE)
    await scene.notify(payment)
    await scene.work()
    assert await scene.status(held) is Status.HELD
    after = await scene.payment(payment)
    assert (after.status, after.refunded_minor, after.refund_due_minor) == (PaymentStatus.REFUNDED, PRICE, 0)
    again = await scene.shop.checkout(held)
    scene.company.pay(again.provider_ref)
    await scene.notify(again)
    await scene.work()
    await confirmed(scene, held, again)


# A refund that nobody answered may still be on its way


@pytest.mark.parametrize("restarts", [False, True], ids=["the same worker", "another worker"])
async def test_a_refund_is_not_sent_again_while_it_may_be_on_its_way(
    database: Database, clock, restarts: bool
) -> None:
    """At a company that keeps no keys: it arrives there after we have given up waiting, and is not in the list until then."""
    async with open_scene(database, clock, Mode.SALE_UNCLOSEABLE) as scene:
        held, payment = await scene.open()
        scene.company.pay(payment.provider_ref)
        await scene.notify(payment)
        await scene.work()
        scene.down("refund", times=1)
        part = Money(1000, "EUR")
        await scene.shop.database.run(refund_payment, payment.id, part)
        await scene.shop.work()
        await (scene.restart() if restarts else scene.work())
        assert scene.company.fake.calls.count("refund") == 1
        scene.company.refund_in_dashboard(payment.provider_ref, 1000)
        await scene.pass_time(31)
        await scene.work()
        after = await scene.payment(payment)
        assert (after.refunded_minor, after.refund_due_minor) == (1000, 0)
        assert scene.money(payment).refunded == 1000
        assert await scene.status(held) is Status.CONFIRMED


async def test_no_more_goes_back_than_was_taken_and_a_human_sees_who_gave_it(
    database: Database, clock
) -> None:
    async with open_scene(database, clock, Mode.SALE) as scene:
        _, payment = await paid(scene)
        await scene.shop.database.run(refund_payment, payment.id, None)
        scene.company.refund_in_dashboard(payment.provider_ref, 1000)
        await scene.notify(payment)
        await scene.come_back(payment)
        after = await scene.payment(payment)
        assert (after.needs_human_code, after.refunded_minor) == ("refunded_elsewhere", 1000)
        assert after.refund_due_minor == PRICE - 1000


async def test_what_a_human_was_told_first_stays_until_it_is_seen_to(database: Database, clock) -> None:
    async with open_scene(database, clock, Mode.SALE) as scene:
        _, payment = await paid(scene)
        for why in ("first", "second"):
            await database.run(refunding.tell_a_human, payment.id, why)
        assert (await scene.payment(payment)).needs_human_code == "first"


# What differs from what was frozen


@pytest.mark.parametrize("phase", [Phase.AUTHORIZED, Phase.CAPTURED])
@pytest.mark.parametrize(
    "other",
    [
        {"amount": Money(PRICE + 1, "EUR")},
        {"amount": Money(PRICE, "USD")},
        {"livemode": True},
        {"authorized_minor": PRICE - 1, "captured_minor": PRICE - 1},
        {"reference": "pay_another"},
    ],
    ids=["amount", "currency", "live", "less", "somebody else's"],
)
async def test_what_was_not_agreed_never_confirms(
    database: Database, clock, phase: Phase, other: dict[str, Any]
) -> None:
    async with open_scene(database, clock, Mode.AUTHORIZE) as scene:
        _, payment = await scene.open()
        agreed = Truth(
            phase=phase,
            amount=payment.amount,
            livemode=False,
            reference=payment.id,
            authorized_minor=PRICE,
            captured_minor=PRICE if phase is Phase.CAPTURED else 0,
        )
        if phase is Phase.AUTHORIZED:
            other = other | ({"captured_minor": 0} if "captured_minor" in other else {})
        reservation, after = await database.run(paying.advance, payment.id, replace(agreed, **other))
        assert reservation.status is Status.HELD
        assert after.needs_human_code == "amount_mismatch"
        assert after.disposition is (Disposition.REFUND if phase is Phase.CAPTURED else Disposition.VOID)
        async with database.statement() as tx:
            await tx.execute("delete from job; delete from refund; delete from payment")
        scene.company.refs = list  # the books of this test are closed


# What is open when its payment account is removed


async def test_an_open_checkout_outlives_its_payment_account(scene: Scene) -> None:
    held, payment = await scene.open()
    await scene.shop.database.run(payees.delete, scene.shop.payee_id)
    again = await scene.shop.checkout(held)
    assert (again.id, again.checkout_url) == (payment.id, payment.checkout_url)
    scene.company.pay(payment.provider_ref)
    await scene.notify(payment)
    await scene.work()
    await confirmed(scene, held, payment)


# A card is held where other methods are sales


@pytest.mark.parametrize("when", ["in time", "at the deadline", "after the close"])
async def test_a_card_under_sales(database: Database, clock, when: str) -> None:
    async with open_scene(database, clock, Mode.SALE) as scene:
        held, payment = await scene.open()
        if when == "after the close":
            await scene.until_over(held)
            await scene.work()
        scene.company.books.pay(payment.provider_ref, "card", force=when == "after the close")
        if when == "at the deadline":
            await scene.until_over(held)
        else:
            await scene.notify(payment)
        await scene.work()
        await confirmed(scene, held, payment, late=Late.RETAKEN if when == "after the close" else None)
        assert scene.money(payment).captured == PRICE


async def test_a_card_under_sales_whose_capture_is_refused(database: Database, clock) -> None:
    async with open_scene(database, clock, Mode.SALE) as scene:
        held, payment = await scene.open()
        scene.company.refuse_captures()
        scene.company.books.pay(payment.provider_ref, "card")
        await scene.notify(payment)
        await scene.work()
        assert await scene.status(held) is Status.EXPIRED
        assert scene.money(payment).captured == 0


# A promise that ended by itself is not pinned


async def test_a_promise_that_has_ended_is_not_captured(database: Database, clock) -> None:
    async with open_scene(database, clock, Mode.AUTHORIZE) as scene:
        held, payment = await scene.open()
        scene.company.pay(payment.provider_ref)
        async with database.statement() as tx:
            now = await tx.now()
        truth = Truth(
            phase=Phase.AUTHORIZED,
            amount=payment.amount,
            livemode=False,
            authorized_minor=PRICE,
            capture_before=now - timedelta(seconds=1),
        )
        await database.run(paying.advance, payment.id, truth)
        await scene.shop.work()
        assert await scene.status(held) is Status.HELD
        assert scene.money(payment).held == 0


async def test_when_a_promise_ends_is_the_charges_own_word(database: Database, clock) -> None:
    async with open_scene(database, clock, Mode.AUTHORIZE) as scene:
        held, payment = await scene.open()
        scene.company.pay(payment.provider_ref)
        intent = scene.company.books.session(payment.provider_ref).intent
        intent.capture_before -= 4321
        await scene.come_back(payment)
        after = await scene.payment(payment)
        assert after.capture_before == datetime.fromtimestamp(intent.capture_before, UTC)
        await scene.work()
        await confirmed(scene, held, payment)


@pytest.mark.parametrize("mode", HOLDS, ids=str)
async def test_a_promise_that_ends_before_it_could_be_captured(database: Database, clock, mode: Mode) -> None:
    """Pinned, and the company takes no capture until the hold is gone: nobody is charged, and the time is free."""
    async with open_scene(database, clock, mode) as scene:
        held, payment = await scene.open(start=scene.shop.slot(day=30))
        scene.down("capture", times=10_000)
        scene.company.pay(payment.provider_ref)
        await scene.notify(payment)
        await scene.work()
        assert await scene.status(held) is Status.PROCESSING
        await scene.pass_time(9 * 86_400)
        await scene.work()
        after = await scene.shop.read(held.id)
        assert (after.status, after.ended.code) == (Status.EXPIRED, EndedCode.PAYMENT_FAILED)
        assert (scene.money(payment).held, scene.money(payment).captured) == (0, 0)
        assert isinstance(await scene.shop.reserve(held.start), Reservation)


# Keys that are old


async def test_a_key_that_may_be_forgotten_is_not_sent_blindly(database: Database, clock) -> None:
    async with open_scene(database, clock, Mode.AUTHORIZE) as scene:
        held = await scene.shop.held()
        scene.down("create", times=1, how="lost_after")
        answer = await opening.open_checkout(scene.shop.world, request_for(scene, held))
        assert isinstance(answer, Refusal)
        assert answer.code is Code.PROVIDER_UNAVAILABLE
        await scene.pass_time(24 * 3600 + 10)
        await scene.work()
        async with database.statement() as tx:
            [payment] = (await payments.of_reservations(tx, [held.id]))[held.id]
            spec = await payments.spec_of(tx, payment.id)
        assert spec.key == f"{payment.id}:2"
        assert scene.company.refs() == [payment.provider_ref]


async def test_a_kept_error_is_left_behind(database: Database, clock) -> None:
    async with open_scene(database, clock, Mode.AUTHORIZE) as scene:
        held = await scene.shop.held()
        scene.down("create", times=1, how="500")
        tried = [await opening.open_checkout(scene.shop.world, request_for(scene, held)) for _ in range(3)]
        assert [isinstance(one, Refusal) for one in tried] == [True, True, False]
        assert len(scene.company.refs()) == 1


async def test_two_that_meet_one_kept_error_go_on_under_one_key(database: Database, clock) -> None:
    async with open_scene(database, clock, Mode.AUTHORIZE) as scene:
        _, payment = await scene.open()
        for _ in range(2):
            await database.run(paying.take_next_key, payment.id, payment.id)
        async with database.statement() as tx:
            assert (await payments.spec_of(tx, payment.id)).key == f"{payment.id}:2"


async def test_two_that_meet_one_kept_error_of_a_refund_go_on_under_one_key(
    database: Database, clock
) -> None:
    async with open_scene(database, clock, Mode.SALE) as scene:
        _, payment = await paid(scene)
        await database.run(refund_payment, payment.id, Money(1000, "EUR"))
        due = await database.run(refunding.next_due, payment.id)
        for _ in range(2):
            await database.run(refunding.take_next_key, due)
        assert (await database.run(refunding.next_due, payment.id)).refund.key == f"{due.refund.id}:2"


# Whose refund is whose


def row(name: str, amount: int = 1000, **more) -> Refund:
    return Refund(
        id=name, account_id="a", payment_id="p", amount_minor=amount, created_at=None, key=name, **more
    )


def seen(key: str | None, ref: str, amount: int = 1000, phase: RefundPhase = RefundPhase.DONE) -> RefundTruth:
    return RefundTruth(key, amount, phase, ref)


@pytest.mark.parametrize(
    ("ours", "listed", "expected"),
    [
        ([row("a")], [seen("a", "1")], {"a": "1"}),
        ([row("a"), row("b")], [seen("b", "1"), seen("a", "2")], {"a": "2", "b": "1"}),
        ([row("a", sent=True)], [seen("", "1")], {}),
        ([row("a", sent=True)], [seen(None, "1")], {"a": "1"}),
        ([row("a", sent=False)], [seen(None, "1")], {}),
        ([row("a", sent=True)], [seen(None, "1", 999)], {}),
        ([row("a", sent=True), row("b", sent=True)], [seen(None, "1")], {"a": "1"}),
        ([row("a", sent=True, provider_ref="1"), row("b", sent=True)], [seen(None, "1"), seen(None, "2")], {"a": "1", "b": "2"}),
        ([row("a", sent=True, provider_ref="1"), row("b", sent=True)], [seen(None, "1")], {"a": "1"}),
        ([], [seen(None, "1")], {}),
    ],
)  # fmt: skip
def test_refunds_are_matched(ours, listed, expected) -> None:
    assert {name: one.ref for name, one in matched(ours, listed).items()} == expected


def test_a_refund_that_failed_is_not_done_again_by_an_older_answer() -> None:
    done = as_seen(row("a", sent=True), seen("a", "1"))
    assert done.status is RefundStatus.DONE
    failed = as_seen(done, seen("a", "1", phase=RefundPhase.FAILED))
    assert (failed.status, failed.failed) == (RefundStatus.DUE, True)
    assert as_seen(failed, seen("a", "1")).status is RefundStatus.DUE
    theirs = as_seen(row("a", elsewhere=True), seen("", "1", phase=RefundPhase.FAILED))
    assert theirs.status is RefundStatus.FAILED
