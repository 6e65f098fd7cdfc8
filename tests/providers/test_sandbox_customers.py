# SPDX-License-Identifier: Apache-2.0
"""What customers do at the sandbox, in time and late, and what it notifies of it."""

import asyncio
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from holdfirst.payment.provider import (
    Done,
    Hint,
    Notification,
    Opened,
    Phase,
)
from holdfirst.payment.sandbox import Action, Checkout, State
from holdfirst.providers.sandbox import Books, SandboxProvider
from holdfirst.refusal import Code, Refusal

from .payment_contract import PRICE, captured, opened, spec_for, truth
from .sandbox_stage import DEAD, SandboxStage

# At the checkout


@pytest.mark.parametrize("action", list(Action), ids=str)
async def test_an_action_fits_the_mode_or_is_refused(stage: SandboxStage, action: Action) -> None:
    ref = await opened(stage)
    after = await stage.act(ref, action)
    expected = {
        stage.way_to_pay: State.CAPTURED if stage.mode.is_sale else State.AUTHORIZED,
        Action.DECLINE: State.FAILED,
        Action.ABANDON: State.ABANDONED,
    }.get(action)
    if expected is None:
        assert isinstance(after, Refusal)
        assert isinstance(await stage.act(ref, action, force=True), Refusal)
        assert await stage.state(ref) is State.OPEN
        return
    assert await stage.state(ref) is expected
    for another in Action:
        again = await stage.act(ref, another)
        assert isinstance(again, Refusal)
        assert again.code is Code.SANDBOX_ACTION_REFUSED


@pytest.mark.parametrize("state", DEAD, ids=str)
async def test_force_goes_through_what_is_dead(stage: SandboxStage, state: State) -> None:
    if state is State.CLOSED and not stage.mode.can_be_closed:
        pytest.skip("never closed")
    ref = await stage.brought_to(state)
    assert isinstance(await stage.act(ref, stage.way_to_pay), Refusal)
    assert isinstance(await stage.act(ref, Action.DECLINE, force=True), Refusal)
    assert isinstance(await stage.act(ref, stage.way_to_pay, force=True), Checkout)
    assert (await truth(stage, ref)).phase in (Phase.AUTHORIZED, Phase.CAPTURED)
    assert isinstance(await stage.act(ref, stage.way_to_pay, force=True), Refusal), "paid once"


async def test_force_does_not_revive_what_was_given_back(stage: SandboxStage) -> None:
    ref = await captured(stage)
    await stage.provider.refund(ref, PRICE, "key", stage.account)
    assert isinstance(await stage.act(ref, stage.way_to_pay, force=True), Refusal)
    assert await stage.state(ref) is State.REFUNDED


@pytest.mark.parametrize("ref", ["", "sbx_", "sbx_" + "0" * 26, "a\x00b", "';--", "é", "x" * 10_000])
async def test_a_reference_of_nobody(stage: SandboxStage, ref: str) -> None:
    assert await stage.company.look(ref) is None
    assert await stage.company.ledger(ref) is None
    for answer in (await stage.act(ref, stage.way_to_pay), await stage.company.pay_late(ref)):
        assert isinstance(answer, Refusal)
        assert answer.code is Code.NOT_FOUND
    await stage.company.notify(ref.replace("\x00", ""))
    assert not stage.sent


# Pay late


@pytest.mark.parametrize("state", [State.OPEN, *DEAD], ids=str)
async def test_a_late_payment_goes_through_whatever_happened(
    stage: SandboxStage, clock, state: State
) -> None:
    if state is State.CLOSED and not stage.mode.can_be_closed:
        pytest.skip("never closed")
    ref = await opened(stage)
    late = await stage.company.pay_late(ref)
    assert isinstance(late, Checkout)
    assert late.completes_at == late.pay_before + timedelta(seconds=2)
    assert isinstance(await stage.company.pay_late(ref), Refusal)
    match state:
        case State.CLOSED:
            assert await stage.provider.close(ref, stage.account) == Done()
        case State.FAILED:
            await stage.act(ref, Action.DECLINE)
        case State.ABANDONED:
            await stage.act(ref, Action.ABANDON)
    await clock.shift(timedelta(minutes=9, seconds=59))
    assert await stage.state(ref) is state

    await clock.shift(timedelta(seconds=4))
    survivor = Books(stage.books._url)
    seen = await SandboxProvider(survivor, public_url="").fetch(ref, stage.account)
    await survivor.aclose()
    assert seen.phase is (Phase.CAPTURED if stage.mode.is_sale else Phase.AUTHORIZED)


async def test_a_late_payment_goes_through_once(authorizing: SandboxStage, clock) -> None:
    stage = authorizing
    ref = await opened(stage)
    await stage.company.pay_late(ref)
    await clock.shift(timedelta(minutes=11))
    assert await stage.provider.void(ref, "key", stage.account) == Done()
    assert await stage.state(ref) is State.VOIDED


async def test_paying_late_after_the_time_to_pay(stage: SandboxStage, clock) -> None:
    ref = await opened(stage)
    await clock.shift(timedelta(minutes=20))
    late = await stage.company.pay_late(ref)
    assert isinstance(late, Checkout)
    assert late.seen_at is not None
    assert late.completes_at == late.seen_at + timedelta(seconds=2)


async def test_a_late_payment_is_notified(stage: SandboxStage) -> None:
    spec = spec_for(stage, pay_before=datetime.now(UTC) - timedelta(seconds=1))
    answer = await stage.provider.open_checkout(spec, stage.account)
    assert isinstance(answer, Opened)
    await stage.company.pay_late(answer.provider_ref)
    assert not stage.sent
    await asyncio.wait_for(asyncio.gather(*stage.company._late), 5)
    assert len(stage.sent) == 1
    assert (await truth(stage, answer.provider_ref)).phase in (Phase.AUTHORIZED, Phase.CAPTURED)


# Notifications


@pytest.mark.parametrize("times", [0, 1, 2])
async def test_notifications_are_signed_and_say_nothing_but_where_to_look(
    stage: SandboxStage, times: int
) -> None:
    ref = await opened(stage)
    await stage.company.act(ref, stage.way_to_pay, notifications=times)
    assert len(stage.sent) == times
    for request in stage.sent:
        assert str(request.url) == "https://book.example/v1/notifications/x/pac_1"
        assert request.content == b'{"ref":"%s"}' % ref.encode()
        raw = Notification("POST", dict(request.headers), {}, request.content)
        assert stage.provider.read_notification(raw, stage.account) == Hint(ref)


async def test_a_refused_action_notifies_nobody(stage: SandboxStage) -> None:
    ref = await opened(stage)
    await stage.customer_is_declined(ref)
    await stage.company.act(ref, Action.DECLINE)
    assert not stage.sent


@pytest.mark.parametrize("answer", [500, 302, httpx.ConnectError, httpx.ReadTimeout], ids=str)
async def test_a_notification_that_nobody_takes_is_lost(stage: SandboxStage, answer) -> None:
    ref = await opened(stage)
    stage.answers = [answer, answer]
    assert isinstance(await stage.company.act(ref, stage.way_to_pay, notifications=2), Checkout)
    assert len(stage.sent) == 2
