# SPDX-License-Identifier: Apache-2.0
"""What every payment provider promises, and every fake of one: one suite, run by each provider's test file.

A test file makes a `Stage` for its provider and inherits `PaymentContract`.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Protocol

import pytest
from msgspec.structs import replace

from holdfirst import ids
from holdfirst.payment.money import Money
from holdfirst.payment.payment import Mode
from holdfirst.payment.provider import (
    Accepted,
    BadNotification,
    CheckoutSpec,
    Credentials,
    Done,
    Hint,
    Notification,
    NotOpen,
    Opened,
    PaymentProvider,
    Phase,
    RefundPhase,
    Refused,
    Truth,
    Unknown,
)

PRICE = Money(6000, "EUR")


class Stage(Protocol):
    """A provider, two accounts at it, and a customer."""

    provider: PaymentProvider
    mode: Mode
    account: Credentials
    another_account: Credentials
    signs: bool
    """Whether this provider signs its notifications."""
    keeps_keys: bool
    """Whether it knows our keys: the same one again is the same checkout, the same refund."""
    a_decline_is_final: bool
    """Or may another card be tried at the same checkout?"""

    async def customer_pays(self, ref: str) -> None: ...

    async def customer_is_declined(self, ref: str) -> None: ...

    async def lose_next(self, operation: str, *, done: bool) -> None:
        """The next call of this operation gets no answer, after it was done or before."""
        ...

    def notification(self, ref: str, *, age: timedelta = timedelta(0)) -> Notification:
        """As the provider would send it to `account`."""
        ...


def spec_for(stage: Stage, **changes) -> CheckoutSpec:
    spec = CheckoutSpec(
        key=ids.make("pay"),
        frozen_at=datetime.now(UTC),
        amount=PRICE,
        mode=stage.mode,
        livemode=False,
        description="An hour of coaching",
        pay_before=datetime.now(UTC) + timedelta(minutes=10),
        return_url="https://book.example/r/res_1",
        notification_url="https://book.example/v1/notifications/x/pac_1",
        customer_email="customer@example.com",
        locale="cs",
    )
    return replace(spec, **changes)


async def opened(stage: Stage) -> str:
    answer = await stage.provider.open_checkout(spec_for(stage), stage.account)
    assert isinstance(answer, Opened)
    return answer.provider_ref


async def truth(stage: Stage, ref: str) -> Truth:
    answer = await stage.provider.fetch(ref, stage.account)
    assert isinstance(answer, Truth)
    return answer


async def captured(stage: Stage) -> str:
    ref = await opened(stage)
    await stage.customer_pays(ref)
    if not stage.mode.is_sale:
        assert isinstance(await stage.provider.capture(ref, f"{ref}:capture", stage.account), Done | Accepted)
    assert (await truth(stage, ref)).phase is Phase.CAPTURED
    return ref


async def authorized(stage: Stage) -> str:
    if stage.mode.is_sale:
        pytest.skip("a sale is never only authorised")
    ref = await opened(stage)
    await stage.customer_pays(ref)
    return ref


class PaymentContract:
    # Opening

    async def test_a_fresh_checkout_is_open_and_nothing_is_paid(self, stage: Stage) -> None:
        spec = spec_for(stage)
        answer = await stage.provider.open_checkout(spec, stage.account)
        assert isinstance(answer, Opened)
        assert answer.checkout_url is not None
        assert answer.checkout_url.startswith(("http://", "https://"))
        seen = await truth(stage, answer.provider_ref)
        assert seen.reference in (None, spec.key)
        bare = Truth(phase=Phase.OPEN, amount=PRICE, livemode=False)
        assert replace(seen, reference=None, refunds=()) == bare
        assert not seen.refunds

    async def test_one_key_opens_one_checkout(self, stage: Stage) -> None:
        _only_with_keys(stage)
        spec = spec_for(stage)
        answers = await asyncio.gather(*(stage.provider.open_checkout(spec, stage.account) for _ in range(4)))
        assert isinstance(answers[0], Opened)
        assert all(answer == answers[0] for answer in answers)

    async def test_two_keys_open_two(self, stage: Stage) -> None:
        assert await opened(stage) != await opened(stage)

    @pytest.mark.parametrize("done", [False, True], ids=["lost before", "lost after"])
    async def test_an_unanswered_opening_repeated_opens_one(self, stage: Stage, done: bool) -> None:
        spec = spec_for(stage)
        await stage.lose_next("create", done=done)
        assert isinstance(await stage.provider.open_checkout(spec, stage.account), Unknown)
        first = await stage.provider.open_checkout(spec, stage.account)
        assert isinstance(first, Opened)
        if stage.keeps_keys:
            assert await stage.provider.open_checkout(spec, stage.account) == first

    # The customer

    async def test_a_paid_checkout_tells_how_much(self, stage: Stage) -> None:
        ref = await opened(stage)
        await stage.customer_pays(ref)
        seen = await truth(stage, ref)
        assert seen.amount == PRICE
        if not stage.mode.is_sale:
            assert (seen.phase, seen.authorized_minor, seen.captured_minor) == (Phase.AUTHORIZED, 6000, 0)
        else:
            assert (seen.phase, seen.captured_minor) == (Phase.CAPTURED, 6000)

    async def test_a_declined_checkout_has_failed(self, stage: Stage) -> None:
        ref = await opened(stage)
        await stage.customer_is_declined(ref)
        seen = await truth(stage, ref)
        declined = Phase.FAILED if stage.a_decline_is_final else Phase.OPEN
        assert (seen.phase, seen.authorized_minor, seen.captured_minor) == (declined, 0, 0)

    async def test_an_unanswered_question_can_be_asked_again(self, stage: Stage) -> None:
        ref = await opened(stage)
        await stage.lose_next("fetch", done=False)
        assert isinstance(await stage.provider.fetch(ref, stage.account), Unknown)
        assert (await truth(stage, ref)).phase is Phase.OPEN

    async def test_a_reference_of_nobody_is_no_answer(self, stage: Stage) -> None:
        ref = await opened(stage)
        for account, wrong in [(stage.account, "no-such-checkout"), (stage.another_account, ref)]:
            assert isinstance(await stage.provider.fetch(wrong, account), Unknown)
            for verb in (stage.provider.capture, stage.provider.void):
                assert isinstance(await verb(wrong, "key", account), Refused | Unknown)
            assert isinstance(await stage.provider.close(wrong, account), Refused | Unknown)
        assert (await truth(stage, ref)).phase is Phase.OPEN

    # Closing

    async def test_a_closed_checkout_stays_closed(self, stage: Stage) -> None:
        ref = await opened(stage)
        if not stage.mode.can_be_closed:
            assert isinstance(await stage.provider.close(ref, stage.account), Refused)
            assert (await truth(stage, ref)).phase is Phase.OPEN
            return
        assert await stage.provider.close(ref, stage.account) == Done()
        assert (await truth(stage, ref)).phase is Phase.CLOSED
        assert await stage.provider.close(ref, stage.account) == NotOpen()

    async def test_what_is_paid_is_not_open(self, stage: Stage) -> None:
        if not stage.mode.can_be_closed:
            pytest.skip("never closed")
        ref = await opened(stage)
        await stage.customer_pays(ref)
        before = await truth(stage, ref)
        assert await stage.provider.close(ref, stage.account) == NotOpen()
        assert await truth(stage, ref) == before

    @pytest.mark.parametrize("done", [False, True], ids=["lost before", "lost after"])
    async def test_an_unanswered_close_repeated_leaves_it_closed(self, stage: Stage, done: bool) -> None:
        if not stage.mode.can_be_closed:
            pytest.skip("never closed")
        ref = await opened(stage)
        await stage.lose_next("close", done=done)
        assert isinstance(await stage.provider.close(ref, stage.account), Unknown)
        assert await stage.provider.close(ref, stage.account) == (NotOpen() if done else Done())
        assert (await truth(stage, ref)).phase is Phase.CLOSED

    # Capture and void

    async def test_capturing_twice_captures_once(self, stage: Stage) -> None:
        ref = await authorized(stage)
        for _ in range(2):
            assert isinstance(await stage.provider.capture(ref, "key", stage.account), Done | Accepted)
        seen = await truth(stage, ref)
        assert (seen.phase, seen.authorized_minor, seen.captured_minor) == (Phase.CAPTURED, 6000, 6000)

    @pytest.mark.parametrize("done", [False, True], ids=["lost before", "lost after"])
    async def test_an_unanswered_capture_repeated_captures_once(self, stage: Stage, done: bool) -> None:
        ref = await authorized(stage)
        await stage.lose_next("capture", done=done)
        assert isinstance(await stage.provider.capture(ref, "key", stage.account), Unknown)
        assert (await truth(stage, ref)).phase is (Phase.CAPTURED if done else Phase.AUTHORIZED)
        assert isinstance(await stage.provider.capture(ref, "key", stage.account), Done | Accepted)
        assert (await truth(stage, ref)).captured_minor == 6000

    @pytest.mark.parametrize("done", [False, True], ids=["lost before", "lost after"])
    async def test_an_unanswered_void_repeated_voids_once(self, stage: Stage, done: bool) -> None:
        ref = await authorized(stage)
        await stage.lose_next("void", done=done)
        assert isinstance(await stage.provider.void(ref, "key", stage.account), Unknown)
        for _ in range(2):
            assert isinstance(await stage.provider.void(ref, "key", stage.account), Done | Accepted)
        seen = await truth(stage, ref)
        assert (seen.phase, seen.captured_minor) == (Phase.VOIDED, 0)

    async def test_void_and_capture_exclude_each_other(self, stage: Stage) -> None:
        voided = await authorized(stage)
        await stage.provider.void(voided, "key", stage.account)
        assert isinstance(await stage.provider.capture(voided, "key", stage.account), Refused)
        assert (await truth(stage, voided)).captured_minor == 0
        taken = await captured(stage)
        assert isinstance(await stage.provider.void(taken, "key", stage.account), Refused)
        assert (await truth(stage, taken)).phase is Phase.CAPTURED

    async def test_nothing_is_taken_or_given_back_before_it_is_promised(self, stage: Stage) -> None:
        ref = await opened(stage)
        assert isinstance(await stage.provider.capture(ref, "key", stage.account), Refused)
        assert isinstance(await stage.provider.void(ref, "key", stage.account), Refused)
        assert isinstance(await stage.provider.refund(ref, PRICE, "key", stage.account), Refused)
        assert (await truth(stage, ref)).phase is Phase.OPEN

    # Refunds

    async def test_a_refund_is_listed_under_our_key(self, stage: Stage) -> None:
        ref = await captured(stage)
        key = ids.make("rfd")
        assert isinstance(await stage.provider.refund(ref, PRICE, key, stage.account), Done | Accepted)
        seen = await truth(stage, ref)
        assert [(one.key, one.amount_minor) for one in seen.refunds] == [
            (key if stage.keeps_keys else None, 6000)
        ]
        assert seen.refunds[0].ref
        assert seen.refunds[0].phase in (RefundPhase.DONE, RefundPhase.PENDING)
        assert (seen.phase, seen.captured_minor) == (Phase.CAPTURED, 6000)

    async def test_one_key_refunds_once(self, stage: Stage) -> None:
        _only_with_keys(stage)
        ref = await captured(stage)
        part, key = Money(1000, "EUR"), ids.make("rfd")
        answers = await asyncio.gather(
            *(stage.provider.refund(ref, part, key, stage.account) for _ in range(4))
        )
        assert all(isinstance(answer, Done | Accepted) for answer in answers)
        assert [one.amount_minor for one in (await truth(stage, ref)).refunds] == [1000]

    @pytest.mark.parametrize("done", [False, True], ids=["lost before", "lost after"])
    async def test_an_unanswered_refund_repeated_refunds_once(self, stage: Stage, done: bool) -> None:
        ref = await captured(stage)
        key = ids.make("rfd")
        await stage.lose_next("refund", done=done)
        assert isinstance(await stage.provider.refund(ref, PRICE, key, stage.account), Unknown)
        assert len((await truth(stage, ref)).refunds) == int(done)
        if done and not stage.keeps_keys:
            # Only the list says that it was done; who calls has to look there first.
            return
        assert isinstance(await stage.provider.refund(ref, PRICE, key, stage.account), Done | Accepted)
        assert [one.amount_minor for one in (await truth(stage, ref)).refunds] == [6000]

    async def test_no_more_is_refunded_than_was_captured(self, stage: Stage) -> None:
        ref = await captured(stage)
        over = Money(6001, "EUR")
        assert isinstance(await stage.provider.refund(ref, over, ids.make("rfd"), stage.account), Refused)
        part = Money(4000, "EUR")
        answers = [await stage.provider.refund(ref, part, ids.make("rfd"), stage.account) for _ in range(2)]
        assert isinstance(answers[0], Done | Accepted)
        assert isinstance(answers[1], Refused)
        assert sum(one.amount_minor for one in (await truth(stage, ref)).refunds) == 4000

    async def test_refunds_add_up_to_all_of_it(self, stage: Stage) -> None:
        ref = await captured(stage)
        for amount in (2500, 3500):
            answer = await stage.provider.refund(ref, Money(amount, "EUR"), ids.make("rfd"), stage.account)
            assert isinstance(answer, Done | Accepted)
        seen = await truth(stage, ref)
        assert sum(one.amount_minor for one in seen.refunds) == seen.captured_minor == 6000

    # Notifications

    async def test_a_notification_says_what_to_ask_about(self, stage: Stage) -> None:
        ref = await opened(stage)
        read = stage.provider.read_notification(stage.notification(ref), stage.account)
        assert isinstance(read, Hint)
        assert read.provider_ref == ref
        assert read.unsigned is not stage.signs

    async def test_an_altered_notification_is_not_believed(self, stage: Stage) -> None:
        _only_signed(stage)
        true = stage.notification("ref-one")
        altered = replace(true, body=true.body.replace(b"ref-one", b"ref-two"))
        assert altered.body != true.body
        assert _not_believed(stage, altered)
        assert _not_believed(stage, replace(true, body=b""))

    async def test_an_unsigned_notification_is_not_believed(self, stage: Stage) -> None:
        _only_signed(stage)
        true = stage.notification("ref-one")
        for signature in ("", "nonsense", "\x00", "é" * 80, "t=,v1=", "t=1,v1=" + "0" * 64, "9" * 5000):
            assert _not_believed(stage, replace(true, headers=dict.fromkeys(true.headers, signature)))
        assert _not_believed(stage, replace(true, headers={}))

    async def test_an_old_notification_is_not_believed(self, stage: Stage) -> None:
        _only_signed(stage)
        assert _not_believed(stage, stage.notification("ref-one", age=timedelta(hours=1)))
        assert _not_believed(stage, stage.notification("ref-one", age=timedelta(hours=-1)))

    async def test_a_notification_to_another_account_is_not_believed(self, stage: Stage) -> None:
        _only_signed(stage)
        read = stage.provider.read_notification(stage.notification("ref-one"), stage.another_account)
        assert isinstance(read, BadNotification)


def _only_with_keys(stage: Stage) -> None:
    if not stage.keeps_keys:
        pytest.skip("this provider keeps no keys of ours")


def _only_signed(stage: Stage) -> None:
    if not stage.signs:
        pytest.skip("this provider does not sign")


def _not_believed(stage: Stage, notification: Notification) -> bool:
    return isinstance(stage.provider.read_notification(notification, stage.account), BadNotification)
