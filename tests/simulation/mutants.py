# SPDX-License-Identifier: Apache-2.0
"""The simulated practice without one guard: each must be caught within a few seeds."""

from collections.abc import Callable
from typing import Any, NamedTuple

from holdfirst.flows import outcome, pay
from holdfirst.payment.provider import Phase, Truth
from holdfirst.reservation import lifecycle, verdict
from holdfirst.reservation.verdict import Verdict
from memory import jobs, reservations
from races.exhaustive.mutants import _pins_nothing

AUTHORIZE, SALE, UNCLOSEABLE = range(0, 9, 3), range(1, 9, 3), range(2, 9, 3)
"""Seeds by money mode: see `town.run`."""


class Mutant(NamedTuple):
    name: str
    guard: Callable[..., Any]
    broken: Callable[..., Any]
    seeds: range
    says: str


async def _nothing(*_: Any, **__: Any) -> None:
    return None


async def _yes(*_: Any, **__: Any) -> bool:
    return True


_judge = verdict.judge


def _believes_authorised(row: Any, payment: Any, truth: Truth, *more: Any) -> Verdict:
    judged = _judge(row, payment, truth, *more)
    return Verdict.CONFIRM if judged is Verdict.PIN else judged


def _believes_open(row: Any, payment: Any, truth: Truth, *more: Any) -> Verdict:
    """A notification came, so it must be paid."""
    if truth.phase is Phase.OPEN:
        return Verdict.CONFIRM
    return _judge(row, payment, truth, *more)


MUTANTS = [
    Mutant("no locks on hosts", reservations._lock_names, _nothing, UNCLOSEABLE, "P1"),
    Mutant("late money is kept without taking the time", pay.retake, _yes, UNCLOSEABLE, "P1"),
    Mutant("a notification is believed", verdict.judge, _believes_open, AUTHORIZE, "P3"),
    Mutant("authorised is taken for paid", verdict.judge, _believes_authorised, AUTHORIZE, "P3"),
    Mutant("nothing is closed after an end", outcome.close_open, _nothing, AUTHORIZE, "P2"),
    Mutant("jobs are forgotten", jobs.enqueue, _nothing, SALE, "P"),
    Mutant("captured without a pin", lifecycle.pin, _pins_nothing, AUTHORIZE, "P"),
]
