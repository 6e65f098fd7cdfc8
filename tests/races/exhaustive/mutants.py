# SPDX-License-Identifier: Apache-2.0
"""The same search without one guard. Each mutant takes away one thing and must be caught by the scenario beside it."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

from msgspec.structs import replace

from holdfirst import store
from holdfirst.effects import advance
from holdfirst.flows import outcome, pay, release
from holdfirst.payment.payment import Mode, Payment
from holdfirst.payment.provider import Done, NotOpen, Phase, Truth
from holdfirst.reservation import lifecycle, reservation, verdict
from holdfirst.reservation.reservation import AtDeadline, Reservation, Status, status_at
from holdfirst.reservation.verdict import Verdict, pinned_by
from memory import reservations as memory_reservations
from races.exhaustive.scenario import TICK, Scenario
from races.exhaustive.scenarios import EVERY_VERB, TWO_EFFECTS, two_payments

RELEASE = frozenset({"release"})
TWO_ON_ONE = {
    mode: Scenario(name=f"two on one slot, {mode}", mode=mode, slots=(0, 0), flights=0, verbs=RELEASE)
    for mode in Mode
}
ONE_STEP_BY_STEP = {
    mode: Scenario(name=f"one, step by step, {mode}", mode=mode, slots=(0,), verbs=RELEASE) for mode in Mode
}


class Mutant(NamedTuple):
    """`broken` takes the place of `guard` everywhere; `says`: a word of the promise that it breaks."""

    name: str
    guard: Callable[..., Any]
    broken: Callable[..., Any]
    scenario: Scenario
    says: str


@contextlib.contextmanager
def without(guard: Callable[..., Any], broken: Callable[..., Any]) -> Iterator[None]:
    """Wherever the production or the memory knows this function, it knows the other one."""
    places = [
        (module, name)
        for module in list(sys.modules.values())
        if module is not None and module.__name__.partition(".")[0] in ("holdfirst", "memory")
        for name, known in list(vars(module).items())
        if known is guard
    ]
    assert places, f"nobody knows {guard}"
    for module, name in places:
        setattr(module, name, broken)
    try:
        yield
    finally:
        for module, name in places:
            setattr(module, name, guard)


async def _nothing(*_: Any, **__: Any) -> None:
    return None


async def _yes(*_: Any, **__: Any) -> bool:
    return True


def _ends_closing_holds(row: Reservation) -> datetime | None:
    if row.status is Status.HELD and row.at_deadline is AtDeadline.CLOSE:
        return row.held_until
    return _lapses_at(row)


_lapses_at = reservation.lapses_at
_judge = verdict.judge
_pin = lifecycle.pin
_find_time = memory_reservations._find_time
_close_open = outcome.close_open


def _claims_processing_time(tx: Any, reservation_id: str, item: Any, now: datetime) -> Any:
    found, refused = _find_time(tx, reservation_id, item, now)
    if found:
        return found, refused
    rivals = [tx.get("reservation", claim.reservation_id) for claim in tx.rows("claim")]
    processing = any(status_at(row, tx.memory.clock()) is Status.PROCESSING for row in rivals)
    return (dict.fromkeys(item["hosts"], (1,)), "") if processing else (found, refused)


def _no_deadline(row: Reservation, *_: Any) -> Reservation:
    return row


def _confirms_again(row: Reservation, payment: Payment, truth: Truth, *more: Any) -> Verdict:
    paid = truth.phase is Phase.CAPTURED and row.paid_by == payment.id
    return Verdict.CONFIRM if paid and row.status is Status.CONFIRMED else _judge(row, payment, truth, *more)


def _believes_old_answers(row: Reservation, payment: Payment, truth: Truth, *more: Any) -> Verdict:
    dead = truth.phase in (Phase.FAILED, Phase.CLOSED)
    return Verdict.UNPIN if dead and pinned_by(row, payment) else _judge(row, payment, truth, *more)


def _confirms_what_is_authorised(row: Reservation, payment: Payment, truth: Truth, *more: Any) -> Verdict:
    judged = _judge(row, payment, truth, *more)
    return Verdict.CONFIRM if judged is Verdict.PIN else judged


def _keeps_all_money(row: Reservation, payment: Payment, truth: Truth, *more: Any) -> Verdict:
    judged = _judge(row, payment, truth, *more)
    return Verdict.WAIT if judged is Verdict.GIVE_BACK else judged


def _pins_nothing(row: Reservation, payment_id: str, now: datetime) -> Reservation:
    pinned = _pin(row, payment_id, now)
    if row.status is not Status.HELD:
        return pinned
    return replace(pinned, status=Status.HELD, cause=None, pinned_at=None)


def _retakes_what_was_released(row: Reservation, payment: Payment, truth: Truth, *more: Any) -> Verdict:
    judged = _judge(row, payment, truth, *more)
    given_up = row.status is Status.RELEASED and truth.phase is Phase.CAPTURED and payment.disposition is None
    return Verdict.RETAKE_AND_CONFIRM if judged is Verdict.GIVE_BACK and given_up else judged


async def _takes_not_open_for_dead(world: Any, payment_id: str) -> None:
    payment, desk = await advance.at_desk(world, payment_id)
    if payment.mode is Mode.SALE_UNCLOSEABLE:
        return
    answer = await advance.asked(desk.provider.close(advance.ref_of(payment), desk.account))
    if isinstance(answer, Done | NotOpen):
        dead = Truth(phase=Phase.CLOSED, amount=payment.amount, livemode=payment.livemode)
        await advance.meet(world, payment_id, dead)


async def _forgets_what_is_owed(tx: Any, payment: Payment, amount_minor: int, now: datetime) -> Payment:
    return replace(payment, refund_due_minor=payment.refund_due_minor + amount_minor)


async def _owes_and_writes_nothing_down(tx: Any, payment: Payment, truth: Truth, now: datetime) -> Payment:
    """Refunds are sent, and what the provider's list says of them is not read."""
    return payment


async def _closes_the_dead_sale_for_all(
    tx: Any, row: Reservation, payment: Payment, attempts: Any, now: datetime
) -> Reservation:
    return await _let_deadline_expire(tx, row, payment, [], now)


_let_deadline_expire = pay._let_deadline_expire


async def _frees_at_once(tx: Any, reservation_id: str, *, by: Any, force: bool, limits: Any) -> Any:
    """Does not ask whether a sale that can be closed is open."""
    row = await store.reservations.lock(tx, reservation_id)
    attempts = await store.payments.lock_all(tx, reservation_id)
    now = await tx.now()
    done = lifecycle.release(row, now, by=by, force=force)
    if isinstance(done, Reservation) and status_at(row, now) is Status.HELD:
        await store.reservations.save(tx, done)
        await outcome.became_free(tx, done, attempts, now)
    return done


def _ends_early(row: Reservation, now: datetime) -> Status:
    return _status_at(row, now + TICK)


_status_at = reservation.status_at

MUTANTS = [
    Mutant("a claim ignores processing", _find_time, _claims_processing_time, TWO_ON_ONE[Mode.SALE], "P1"),
    Mutant(
        "expire ends holds that are to be closed",
        reservation.lapses_at,
        _ends_closing_holds,
        TWO_ON_ONE[Mode.SALE],
        "P1",
    ),
    Mutant(
        "at_deadline is not set before the provider is called",
        lifecycle.closing_at_deadline,
        _no_deadline,
        TWO_ON_ONE[Mode.SALE],
        "P2",
    ),
    Mutant(
        "late money confirms without taking the time again",
        pay.retake,
        _yes,
        TWO_ON_ONE[Mode.SALE_UNCLOSEABLE],
        "P1",
    ),
    Mutant(
        "a second notification confirms again", verdict.judge, _confirms_again, TWO_ON_ONE[Mode.SALE], "P5"
    ),
    Mutant("an older answer unpins", verdict.judge, _believes_old_answers, TWO_EFFECTS, "P2"),
    Mutant(
        "authorised is taken for paid",
        verdict.judge,
        _confirms_what_is_authorised,
        ONE_STEP_BY_STEP[Mode.AUTHORIZE],
        "P3",
    ),
    Mutant(
        "money without a slot is kept",
        verdict.judge,
        _keeps_all_money,
        ONE_STEP_BY_STEP[Mode.SALE_UNCLOSEABLE],
        "P2",
    ),
    Mutant("captured without a pin", lifecycle.pin, _pins_nothing, ONE_STEP_BY_STEP[Mode.AUTHORIZE], "P2"),
    Mutant(
        "released is taken again by late money",
        verdict.judge,
        _retakes_what_was_released,
        ONE_STEP_BY_STEP[Mode.SALE_UNCLOSEABLE],
        "released is final",
    ),
    Mutant(
        "nothing is closed after an end", outcome.close_open, _nothing, ONE_STEP_BY_STEP[Mode.AUTHORIZE], "P2"
    ),
    Mutant(
        "release frees an open sale at once",
        release.release,
        _frees_at_once,
        ONE_STEP_BY_STEP[Mode.SALE],
        "P2",
    ),
    Mutant(
        "not open is taken for dead",
        advance.close,
        _takes_not_open_for_dead,
        ONE_STEP_BY_STEP[Mode.SALE],
        "P2",
    ),
    Mutant(
        "a debt without a refund",
        pay.owe,
        _forgets_what_is_owed,
        ONE_STEP_BY_STEP[Mode.SALE_UNCLOSEABLE],
        "P2",
    ),
    Mutant(
        "the provider's list of refunds is not read",
        pay.apply_refunds,
        _owes_and_writes_nothing_down,
        EVERY_VERB,
        "",
    ),
    Mutant(
        "one dead sale frees the time of another",
        pay._let_deadline_expire,
        _closes_the_dead_sale_for_all,
        two_payments(Mode.SALE),
        "P2",
    ),
    Mutant(
        "a deadline comes early", reservation.status_at, _ends_early, ONE_STEP_BY_STEP[Mode.AUTHORIZE], "P4"
    ),
]
