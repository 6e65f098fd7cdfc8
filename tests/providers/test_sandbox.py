# SPDX-License-Identifier: Apache-2.0
"""The sandbox as a provider: what every one promises, its ledger, and the faults that it can be told to have."""

import asyncio
import time

import pytest

from holdfirst.payment.money import Money
from holdfirst.payment.provider import (
    Credentials,
    Opened,
    Refused,
    Unknown,
)
from holdfirst.payment.sandbox import Fault, Operation, State
from holdfirst.providers.sandbox import fresh_secrets
from holdfirst.store.database import Database

from .payment_contract import PaymentContract, authorized, captured, opened, spec_for
from .sandbox_stage import SLOW, SandboxStage, ask


class TestContract(PaymentContract):
    """Under each mode."""


# The ledger


async def test_amounts_are_cumulative(stage: SandboxStage) -> None:
    ref = await captured(stage)
    await stage.provider.refund(ref, Money(1500, "EUR"), "one", stage.account)
    ledger = await stage.company.ledger(ref)
    assert ledger is not None
    promised = 0 if stage.mode.is_sale else 6000
    assert (ledger.state, ledger.authorized, ledger.captured, ledger.voided, ledger.refunded) == (
        State.CAPTURED,
        promised,
        6000,
        0,
        1500,
    )
    await stage.provider.refund(ref, Money(4500, "EUR"), "two", stage.account)
    ledger = await stage.company.ledger(ref)
    assert ledger is not None
    assert (ledger.state, ledger.captured, ledger.refunded) == (State.REFUNDED, 6000, 6000)


async def test_every_call_is_written_down_with_its_answer(authorizing: SandboxStage) -> None:
    stage = authorizing
    ref = await authorized(stage)
    await stage.provider.close(ref, stage.account)
    await stage.books.add_fault(Operation.CAPTURE, Fault.LOST_AFTER, 1)
    await stage.provider.capture(ref, "key", stage.account)
    await stage.provider.capture(ref, "key", stage.account)
    await stage.provider.void(ref, "key", stage.account)
    await stage.provider.fetch(ref, stage.account)
    assert await stage.calls(ref) == [
        ("create", "opened"),
        ("close", "not_open"),
        ("capture", "lost_after"),
        ("capture", "done"),
        ("void", "refused"),
        ("fetch", "captured"),
    ]


async def test_a_key_used_for_another_request_is_refused(stage: SandboxStage) -> None:
    spec = spec_for(stage)
    assert isinstance(await stage.provider.open_checkout(spec, stage.account), Opened)
    dearer = spec_for(stage, key=spec.key, amount=Money(9000, "EUR"))
    assert isinstance(await stage.provider.open_checkout(dearer, stage.account), Refused)
    assert isinstance(await stage.provider.open_checkout(dearer, stage.another_account), Opened)
    ref = await captured(stage)
    await stage.provider.refund(ref, Money(1, "EUR"), "key", stage.account)
    assert isinstance(await stage.provider.refund(ref, Money(2, "EUR"), "key", stage.account), Refused)
    assert isinstance(await stage.provider.refund(ref, Money(2, "USD"), "k", stage.account), Refused)


async def test_a_live_account_is_never_served(stage: SandboxStage) -> None:
    live = spec_for(stage, livemode=True)
    assert isinstance(await stage.provider.open_checkout(live, stage.account), Refused)
    account = Credentials("pac_live", livemode=True, secrets=fresh_secrets())
    assert isinstance(await stage.provider.open_checkout(spec_for(stage), account), Refused)


# Faults


def ready(stage: SandboxStage, operation: Operation):
    return (
        authorized(stage)
        if operation in (Operation.CAPTURE, Operation.VOID)
        else (captured(stage) if operation is Operation.REFUND else opened(stage))
    )


DONE_STATE = {
    Operation.CLOSE: State.CLOSED,
    Operation.CAPTURE: State.CAPTURED,
    Operation.VOID: State.VOIDED,
    Operation.REFUND: State.REFUNDED,
}


@pytest.mark.parametrize("fault", list(Fault), ids=str)
@pytest.mark.parametrize("operation", list(Operation), ids=str)
async def test_faults(
    authorizing: SandboxStage, database: Database, operation: Operation, fault: Fault
) -> None:
    stage = authorizing
    ref = await ready(stage, operation)
    before = await stage.state(ref)
    checkouts = await count(database, "sandbox.checkout")
    await stage.books.add_fault(operation, fault, 1)
    started = time.monotonic()
    answer = await ask(stage, operation, ref)

    if fault is Fault.REFUSED and operation is not Operation.FETCH:
        assert isinstance(answer, Refused)
    elif fault is Fault.SLOW:
        assert not isinstance(answer, Refused | Unknown)
        assert time.monotonic() - started >= SLOW
    else:
        assert isinstance(answer, Unknown)
    done = fault in (Fault.LOST_AFTER, Fault.SLOW)
    if operation is Operation.CREATE:
        assert await count(database, "sandbox.checkout") == checkouts + int(done)
    else:
        assert await stage.state(ref) is (DONE_STATE.get(operation, before) if done else before)
        assert (await stage.calls(ref))[-1] == (operation, fault)
    assert not isinstance(await ask(stage, operation, ref), Refused | Unknown), "one fault, one call"


async def count(database: Database, table: str) -> int:
    async with database.statement() as tx:
        return await tx.value(f"select count(*) from {table}")


async def test_faults_meet_just_so_many_calls_on_any_checkout_in_order(stage: SandboxStage) -> None:
    await stage.books.add_fault(Operation.FETCH, Fault.LOST_BEFORE, 5)
    await stage.books.add_fault(Operation.FETCH, Fault.LOST_AFTER, 1)
    refs = [await opened(stage), await opened(stage)]
    answers = await asyncio.gather(*(stage.provider.fetch(refs[i % 2], stage.account) for i in range(12)))
    reasons = [answer.reason for answer in answers if isinstance(answer, Unknown)]
    assert sorted(reasons) == ["the answer was lost"] + ["the call was lost"] * 5
