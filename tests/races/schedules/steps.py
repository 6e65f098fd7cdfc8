# SPDX-License-Identifier: Apache-2.0
"""Steps, and which of them commute: what a statement reads, what it locks or writes, what a commit makes known.

Under READ COMMITTED a write is seen by others at its commit, and waited for before it. So two steps commute unless
both lock (or write) one thing, or one of them makes known what the other reads or locks. A *thing* is a table, a row
of `reservation` or `job`, a named lock, the clock, or a checkout in a provider's books; where a statement does not say
which row it means, it means the whole table.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

Thing = tuple[str, str | None]

# What is never written by a verb is not worth a place here: accounts, event types, payees.
TABLES = frozenset(
    [
        "reservation",
        "claim",
        "payment",
        "refund",
        "job",
        "idempotency_key",
        "notification",
        "busy",
        "worker",
        "naive_booking",
        "calendar_connection",
        "calendar",
        "calendar_item",
        "calendar_event",
    ]
)
NAMED = re.compile(r"\b(from|join|update|into|using)\s+(\w+)")
BY_ID = re.compile(r"\bwhere id = \$1(?!\d)")

# What a function touches: (reads, locks or writes). Of a host only `newest_end` is written, by these alone.
FUNCTIONS = {
    "the_clock": ({"clock"}, set()),
    "clock_at_begin": ({"clock"}, set()),
    "reserve": ({"busy", "clock"}, {"claim", "reservation", "job", "idempotency_key", "host"}),
    "take_time": ({"busy", "clock"}, {"claim", "reservation", "host"}),
    "begin_keyed": ({"clock"}, {"idempotency_key"}),
}
# What lies between a stop and the next one.
SEGMENTS = {
    "due_found": ((), ("reservation",)),
    "due_locked": ((), ("claim", "reservation", "host")),
    "retake_due_expired": (("claim", "host", "busy"), ()),
    "retake_time_found": ((), ("claim",)),
    "retake_time_given_up": ((), ("claim",)),
    "key_locked": (("clock",), ("idempotency_key",)),
    "key_read": ((), ("idempotency_key",)),
    "locked": (("clock", "host", "claim"), ()),
    "due_expired": (("clock",), ("idempotency_key",)),
    "keys_written": (("clock", "host", "claim", "busy", "account"), ("idempotency_key",)),
    "key_written": (("clock", "claim", "host", "busy", "reservation"), ()),
    "time_taken": ((), ("claim", "reservation", "job", "idempotency_key")),
}
# And before the first one.
BEGINNINGS = {
    "reserve": ((), ()),
    "take_time": (("clock", "host", "claim"), ()),
    "begin_keyed": ((), ("idempotency_key",)),
}
# What these find only advises (is the start on the grid? what is left of a day that is taken?): nothing that is
# written rests on it, and the claim asks again (at most once more: see `judging.essence`). They are not permuted.
ADVICE = re.compile(r"asked\.number|named\(id\)")
CALLED = re.compile(r"\b(the_clock|clock_at_begin|reserve|take_time|begin_keyed|enqueue|lock_names)\(")


@dataclass(frozen=True)
class Touched:
    """`made_known`: what others can see, or get hold of, from this step on."""

    reads: frozenset[Thing] = frozenset()
    locks: frozenset[Thing] = frozenset()
    made_known: frozenset[Thing] = frozenset()

    def __or__(self, other: "Touched") -> "Touched":
        return Touched(self.reads | other.reads, self.locks | other.locks, self.made_known | other.made_known)


@dataclass(frozen=True)
class Step:
    label: str
    touched: Touched
    opens: bool = False
    """Whether it is the first of a transaction, or a transaction (or a call) of its own."""
    whole: Touched | None = None
    """Of a function with stops: everything; `touched` is then what lies before the first stop."""
    alone: bool = False
    """A statement that is its own transaction: at its end it makes known what it wrote."""


def commute(one: Touched, two: Touched) -> bool:
    return not (
        _meet(one.locks, two.locks)
        or _meet(one.made_known, two.reads | two.locks)
        or _meet(two.made_known, one.reads | one.locks)
    )


def _meet(one: Iterable[Thing], two: Iterable[Thing]) -> bool:
    return any(
        name == other and (row is None or other_row is None or row == other_row)
        for name, row in one
        for other, other_row in two
    )


@cache
def _shape(sql: str) -> tuple[frozenset[str], frozenset[str], bool, bool, bool]:
    """(tables read, tables locked or written, by id?, enqueues?, locks names?)"""
    text = " ".join(sql.lower().split())
    reads: set[str] = set()
    writes: set[str] = set()
    all_locked = "for update" in text
    for word, table in NAMED.findall(text):
        if table in TABLES:
            written = all_locked or word in ("update", "into") or f"delete from {table}" in text
            (writes if written else reads).add(table)
    if "insert into payment" in text or "insert into refund" in text:
        # A foreign key locks the row that it names.
        writes |= {"reservation", "payment"}
    called = set(CALLED.findall(text))
    for function in called & FUNCTIONS.keys():
        reads |= FUNCTIONS[function][0]
        writes |= FUNCTIONS[function][1]
    by_id = BY_ID.search(text) is not None
    return frozenset(reads), frozenset(writes), by_id, "enqueue" in called, "lock_names" in called


def touched_by(sql: str, arguments: Sequence[Any]) -> Touched:
    if ADVICE.search(sql):
        return Touched()
    reads, writes, by_id, enqueues, locks_names = _shape(sql)
    row = arguments[0] if by_id and arguments else None

    def thing(table: str) -> Thing:
        return (table, row if table == "reservation" else None)

    locks = {thing(table) for table in writes}
    seen = {thing(table) for table in reads}
    if enqueues:
        locks.add(("job", f"{arguments[1]}:{arguments[2]}"))
        seen.add(("clock", None))
    if locks_names or "reserve(" in sql:
        locks |= {("name", name) for name in arguments[0]}
    return Touched(frozenset(seen), frozenset(locks))


def beginning(sql: str, touched: Touched) -> Touched:
    """Of a statement with stops in it: what lies before the first one."""
    before = _before_the_first_stop(sql)
    if before is None:
        return touched
    names = frozenset(thing for thing in touched.locks if thing[0] == "name")
    return Touched(before.reads, before.locks | names)


@cache
def _before_the_first_stop(sql: str) -> Touched | None:
    called = set(CALLED.findall(sql)) & BEGINNINGS.keys()
    return _of_tables(BEGINNINGS[called.pop()]) if called else None


@cache
def segment(gate: str) -> Touched:
    return _of_tables(SEGMENTS[gate])


def _of_tables(reads_and_locks: tuple[Sequence[str], Sequence[str]]) -> Touched:
    reads, locks = reads_and_locks
    return Touched(tables(reads), tables(locks))


def tables(names: Iterable[str]) -> frozenset[Thing]:
    return frozenset((name, None) for name in names)


@cache
def words_of(sql: str) -> str:
    """A statement as a failure names it."""
    return " ".join(sql.split())[:70]
