# SPDX-License-Identifier: Apache-2.0
"""The sandbox under many at once, broken connections and kill -9."""

import asyncio
import os
import subprocess
import sys

import asyncpg
import pytest

from holdfirst.errors import DatabaseUnavailable
from holdfirst.payment.money import Money
from holdfirst.payment.payment import Mode
from holdfirst.payment.provider import (
    Done,
    NotOpen,
    Unknown,
)
from holdfirst.payment.sandbox import Checkout, Fault, Operation, State
from holdfirst.providers.sandbox import books
from holdfirst.store.database import Database

from .payment_contract import authorized, captured, opened, truth
from .sandbox_stage import SandboxStage, ask


async def test_eight_at_once_pay_one_checkout_once(stage: SandboxStage) -> None:
    ref = await opened(stage)
    answers = await asyncio.gather(*(stage.act(ref, stage.way_to_pay) for _ in range(8)))
    assert sum(isinstance(answer, Checkout) for answer in answers) == 1


async def test_either_captured_or_voided(authorizing: SandboxStage) -> None:
    stage = authorizing
    ref = await authorized(stage)
    calls = [stage.provider.capture(ref, f"c{i}", stage.account) for i in range(8)]
    calls += [stage.provider.void(ref, f"v{i}", stage.account) for i in range(8)]
    answers = await asyncio.gather(*calls)
    ledger = await stage.company.ledger(ref)
    assert ledger is not None
    assert ledger.captured + ledger.voided == 6000
    assert sum(answer == Done() for answer in answers) == 8


async def test_either_closed_or_paid(stage: SandboxStage) -> None:
    if not stage.mode.can_be_closed:
        pytest.skip("never closed")
    for _ in range(5):
        ref = await opened(stage)
        closing, paying = await asyncio.gather(
            stage.provider.close(ref, stage.account), stage.act(ref, stage.way_to_pay)
        )
        assert (closing == NotOpen()) == isinstance(paying, Checkout)


async def test_refunds_at_once_never_exceed(stage: SandboxStage) -> None:
    ref = await captured(stage)
    part = Money(1000, "EUR")
    answers = await asyncio.gather(
        *(stage.provider.refund(ref, part, f"key{i}", stage.account) for i in range(8))
    )
    assert sum(answer == Done() for answer in answers) == 6
    assert await stage.state(ref) is State.REFUNDED


async def test_without_the_lock_refunds_exceed(authorizing: SandboxStage, monkeypatch) -> None:
    """The twin: the race above is real, and the lock is what ends it."""
    monkeypatch.setattr(books, "LOCK", "")
    stage = authorizing
    for _ in range(20):
        ref = await captured(stage)
        calls = [stage.provider.refund(ref, Money(4000, "EUR"), f"key{i}", stage.account) for i in range(4)]
        if sum(answer == Done() for answer in await asyncio.gather(*calls)) > 1:
            return
    pytest.fail("never more than was captured, even without the lock")


async def test_broken_connections_are_no_answer_and_then_made_anew(
    stage: SandboxStage, database: Database
) -> None:
    ref = await captured(stage)
    async with database.statement() as tx:
        await tx.value(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity"
            " where application_name = 'holdfirst sandbox'"
        )
    for _ in range(3):
        if not isinstance(await stage.provider.fetch(ref, stage.account), Unknown):
            break
    assert (await truth(stage, ref)).captured_minor == 6000


async def test_without_a_database_every_answer_is_unknown() -> None:
    nowhere = SandboxStage("postgresql://nobody@127.0.0.1:1/nothing", Mode.SALE)
    for operation in Operation:
        assert isinstance(await ask(nowhere, operation, "sbx_" + "0" * 26), Unknown)
    with pytest.raises(DatabaseUnavailable):
        await nowhere.company.look("sbx_" + "0" * 26)
    await nowhere.aclose()


KILLED_IN_THE_MIDDLE = """
import asyncio, os, signal, sys
from holdfirst.providers.sandbox import Books
from holdfirst.providers.sandbox.checkout import capture
from holdfirst.payment.sandbox import Operation

def capture_and_die(checkout):
    after = capture(checkout)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(Books(sys.argv[1]).call(Operation.CAPTURE, sys.argv[2], sys.argv[3], capture_and_die))
"""


async def test_a_process_killed_in_the_middle_of_a_call_leaves_all_or_nothing(
    authorizing: SandboxStage, database: Database
) -> None:
    stage = authorizing
    ref = await authorized(stage)
    await stage.books.add_fault(Operation.CAPTURE, Fault.SLOW, 1)
    arguments = [sys.executable, "-c", KILLED_IN_THE_MIDDLE, database.url, ref]
    arguments.append(stage.account.payment_account_id)
    died = await asyncio.to_thread(
        subprocess.run, arguments, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, check=False
    )
    assert died.returncode == -9
    assert await stage.calls(ref) == [("create", "opened")]
    assert await stage.state(ref) is State.AUTHORIZED
    async with database.statement() as tx:
        assert await tx.value("select times from sandbox.fault") == 1, "the fault is still to come"
    assert await stage.provider.capture(ref, "key", stage.account) == Done()


async def test_the_schema_itself_keeps_refunds_below_the_capture(stage: SandboxStage, database) -> None:
    ref = await captured(stage)
    with pytest.raises(asyncpg.CheckViolationError, match="no_more_is_refunded_than_was_captured"):
        async with database.statement() as tx:
            await tx.execute("update sandbox.checkout set refunded_minor = 6001 where ref = $1", ref)
