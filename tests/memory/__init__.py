# SPDX-License-Identifier: Apache-2.0
"""A database in memory, behind the signatures of `holdfirst.store`.

tables.py        rows, transactions, locks, constraints
reservations.py  … the functions of the store's module of the same name, over those tables
payments.py
payees.py
catalog.py
jobs.py
idempotency.py
calendars.py, calendar_access.py, calendar_events.py, calendar_items.py, calendar_watches.py

`in_memory()` puts them in the place of PostgreSQL. The rules are the production's: what is here is only what SQL
does. `tests/simulation/test_memory.py` holds it to PostgreSQL.
"""

import contextlib
import inspect
from collections.abc import Iterator
from types import ModuleType

from holdfirst import store
from memory import (
    calendar_access,
    calendar_events,
    calendar_items,
    calendar_watches,
    calendars,
    catalog,
    idempotency,
    jobs,
    payees,
    payments,
    reservations,
)
from memory.tables import Memory, MemoryTx

__all__ = ["Memory", "MemoryTx", "in_memory"]
FAKES = (
    calendar_access,
    calendar_events,
    calendar_items,
    calendar_watches,
    calendars,
    catalog,
    idempotency,
    jobs,
    payees,
    payments,
    reservations,
)


@contextlib.contextmanager
def in_memory() -> Iterator[None]:
    """Until the end, the store's functions work on `Memory`; one that has no counterpart fails where it asks."""
    before: list[tuple[ModuleType, str, object]] = []
    for fake in FAKES:
        real = getattr(store, fake.__name__.rpartition(".")[2])
        for name, function in vars(fake).items():
            if inspect.iscoroutinefunction(function) and not name.startswith("_"):
                before.append((real, name, getattr(real, name)))
                setattr(real, name, function)
    try:
        yield
    finally:
        for module, name, function in before:
            setattr(module, name, function)
