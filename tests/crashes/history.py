# SPDX-License-Identifier: Apache-2.0
"""Whether what clients were told about a slot can be told of a slot that does one thing at a time.

A slot is the register: who has it, and how each reservation of it stands. An operation lasts from its question to its
answer; it took effect at one moment between. One that was never answered may have taken effect at any later moment, or
never. The search is Wing and Gong's, with Lowe's memory of what was tried; slots are independent of each other, so that
each is searched alone.
"""

from collections.abc import Iterable
from typing import TypeAlias

import msgspec

NOBODY = "?"
"""The holder, where a reserve was never answered: nobody knows its id."""


class Op(msgspec.Struct, frozen=True, array_like=True):
    """`outcome`: what was answered, None: nothing was. `reservation`: what it was about, or what a reserve made."""

    slot: str
    verb: str
    reservation: str | None
    invoked: float
    returned: float | None
    outcome: str | None


State: TypeAlias = frozenset[tuple[str, str]]
"""(reservation, status) of all that ever held the slot."""

# What each verb may be answered, by the status before; and the status after.
VERBS: dict[str, dict[str, dict[str, str]]] = {
    "confirm": {
        "held": {"done": "confirmed"},
        "confirmed": {"done": "confirmed"},
        "released": {"already_released": "released"},
        "cancelled": {"already_cancelled": "cancelled"},
    },
    "release": {
        "held": {"done": "released"},
        "released": {"done": "released"},
        "confirmed": {"already_confirmed": "confirmed"},
        "cancelled": {"already_cancelled": "cancelled"},
    },
    "cancel": {
        "held": {"not_confirmed": "held"},
        "confirmed": {"done": "cancelled"},
        "cancelled": {"done": "cancelled"},
        "released": {"not_confirmed": "released"},
    },
    "read": {status: {status: status} for status in ("held", "confirmed", "released", "cancelled")},
}
LIVE = ("held", "confirmed")


def after(state: State, op: Op) -> list[State]:
    """The states that may follow, if `op` takes effect now; none: it cannot have been answered like this."""
    if op.verb == "reserve":
        taken = any(status in LIVE for _, status in state)
        if op.outcome == "taken":
            return [state] if taken else []
        if taken:
            # Unanswered, it may have been refused.
            return [state] if op.outcome is None else []
        return [state | {(op.reservation or NOBODY, "held")}]
    standing = dict(state)
    status = standing.get(op.reservation or "")
    if status is None:
        return []
    possible = VERBS[op.verb][status]
    follow = set(possible.values()) if op.outcome is None else {possible.get(op.outcome)} - {None}
    return [state - {(op.reservation, status)} | {(op.reservation, one)} for one in follow]  # type: ignore[misc]


def linearizable(operations: Iterable[Op]) -> bool:
    """Whether these operations on one slot can have happened one after another."""
    ops = sorted(operations, key=lambda op: op.invoked)
    answered = sum(1 << number for number, op in enumerate(ops) if op.returned is not None)
    everything = (1 << len(ops)) - 1
    start: tuple[int, State] = (everything, frozenset())
    tried, waiting = {start}, [start]
    while waiting:
        left, state = waiting.pop()
        if not left & answered:
            return True
        for number in _may_be_next(ops, left):
            for following in after(state, ops[number]):
                step = (left & ~(1 << number), following)
                if step not in tried:
                    tried.add(step)
                    waiting.append(step)
    return False


def _may_be_next(ops: list[Op], left: int) -> list[int]:
    """Those that were asked before any other that is left was answered."""
    candidates: list[int] = []
    first_answer = float("inf")
    rest = left
    while rest:
        number = (rest & -rest).bit_length() - 1
        rest &= rest - 1
        op = ops[number]
        if op.invoked > first_answer:
            break
        candidates.append(number)
        if op.returned is not None and op.returned < first_answer:
            first_answer = op.returned
    return [number for number in candidates if ops[number].invoked <= first_answer]


def by_slot(operations: Iterable[Op]) -> dict[str, list[Op]]:
    found: dict[str, list[Op]] = {}
    for op in operations:
        found.setdefault(op.slot, []).append(op)
    return found
