# SPDX-License-Identifier: Apache-2.0
"""The simulated practice without one guard: each must be caught within a few seeds."""

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import count
from typing import Any, NamedTuple

import msgspec

from holdfirst.calendar import wanted
from holdfirst.calendar.calendar_event import CalendarEvent, EventState
from holdfirst.flows import outcome, pay
from holdfirst.payment.provider import Phase, Truth
from holdfirst.reservation import calendar_gate, lifecycle, verdict
from holdfirst.reservation.calendar_gate import Gate
from holdfirst.reservation.verdict import Verdict
from holdfirst.store.jobs import Job
from memory import idempotency, jobs, reservations
from memory.tables import JobRow, KeyRow, MemoryTx
from races.exhaustive.mutants import _pins_nothing

AUTHORIZE, SALE, UNCLOSEABLE = range(0, 9, 3), range(1, 9, 3), range(2, 9, 3)
"""Seeds by money mode: see `town.practice_of`."""
ASKED, WRITTEN = range(6, 12, 3), range(6, 12)
STRICT = range(262, 263)
"""Where hosts have calendars; the first with money that is authorised, the last with a move under `strict`."""


class Mutant(NamedTuple):
    name: str
    guard: Callable[..., Any]
    broken: Callable[..., Any]
    seeds: range
    says: str


async def _nothing(*_: Any, **__: Any) -> None:
    return None


def _nothing_at_once(*_: Any) -> None:
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


_wanted_state, _wanted_event = wanted.wanted_state, wanted.wanted_event
_numbers = count()


async def _always_fresh(tx: MemoryTx, scope: str, key: str, fingerprint: bytes, lease: timedelta) -> Any:
    """Every click is the first one."""
    now = tx.memory.clock()
    tx.put("key", (scope, key), KeyRow(fingerprint=fingerprint, lease_until=now + lease, created_at=now))
    return "fresh", None, None


async def _newest(tx: MemoryTx, job: Job) -> JobRow | None:
    """Whoever says that it ran the job is believed."""
    await tx.turn()
    await tx.lock("job", job.key)
    row: JobRow | None = tx.get("job", job.key)
    return row


def _open(*_: Any) -> Gate:
    return Gate.OPEN


def _settled_since_it_was_made(row: Any) -> datetime:
    return calendar_gate.SETTLE + row.created_at  # type: ignore[no-any-return]


def _stays(row: Any, now: Any, *, destination: bool) -> EventState | None:
    return _wanted_state(row, now, destination=destination) or EventState.HOLD


def _under_another_id(*arguments: Any) -> CalendarEvent:
    event = _wanted_event(*arguments)
    return msgspec.structs.replace(event, uid=f"{event.uid[:-6]}{next(_numbers):06}")


MUTANTS = [
    Mutant("no locks on hosts", reservations._lock_names, _nothing, UNCLOSEABLE, "P1"),
    Mutant("late money is kept without taking the time", pay.retake, _yes, range(14, 21, 3), "P1"),
    Mutant("a notification is believed", verdict.judge, _believes_open, AUTHORIZE, "P3"),
    Mutant("authorised is taken for paid", verdict.judge, _believes_authorised, AUTHORIZE, "P3"),
    Mutant("nothing is closed after an end", outcome.close_open, _nothing, AUTHORIZE, "P2"),
    Mutant("jobs are forgotten", jobs.enqueue, _nothing, SALE, "P"),
    Mutant("captured without a pin", lifecycle.pin, _pins_nothing, range(3, 7, 3), "P"),
    Mutant("a reserve does not keep its key", idempotency.begin, _always_fresh, SALE, "P5"),
    Mutant(
        "a repeat is told before the calendars have answered",
        reservations._leave_unanswered,
        _nothing_at_once,
        ASKED,
        "P7",
    ),
    Mutant("a job is finished without its token", jobs._mine, _newest, range(6), "P6"),
    Mutant("nobody asks the calendars before a capture", calendar_gate.gate, _open, ASKED, "P7"),
    Mutant(
        "strict asks at once after a move",
        calendar_gate.settled_at,
        _settled_since_it_was_made,
        STRICT,
        "P7",
    ),
    Mutant("an event has no stable id", wanted.wanted_event, _under_another_id, WRITTEN, "P4"),
    Mutant("events stay after an end", wanted.wanted_state, _stays, range(20, 21), "P7"),
]
