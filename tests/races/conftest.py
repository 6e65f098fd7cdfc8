# SPDX-License-Identifier: Apache-2.0
"""Twins: the same race without one guard. A race test proves something only if its twin fails."""

from collections.abc import AsyncIterator, Awaitable, Callable
from importlib import resources

import pytest

from holdfirst.store.database import Database

FUNCTIONS = (resources.files("holdfirst.store") / "functions.sql").read_text()
CLOCK_ENDS = "-- Locks by name"

Break = Callable[..., Awaitable[None]]


def without_clock(text: str) -> str:
    """All functions but the clock, which the tests have their own of."""
    return text[text.index(CLOCK_ENDS) :]


@pytest.fixture
async def break_functions(database: Database) -> AsyncIterator[Break]:
    """Replace a guard in functions.sql by something else, until the test is over."""

    async def apply(*guards: tuple[str, str]) -> None:
        text = FUNCTIONS
        for guard, by in guards:
            assert text.count(guard) == 1, f"the guard is not there once: {guard}"
            text = text.replace(guard, by)
        async with database.statement() as tx:
            await tx.execute(without_clock(text))

    yield apply
    async with database.statement() as tx:
        await tx.execute(without_clock(FUNCTIONS))


@pytest.fixture
async def drop_constraint(database: Database) -> AsyncIterator[Callable[[str, str], Awaitable[None]]]:
    """Drop a constraint of a table until the test is over."""
    dropped: list[tuple[str, str, str]] = []

    async def drop(table: str, name: str) -> None:
        async with database.statement() as tx:
            text = await tx.value(
                "select pg_get_constraintdef(oid) from pg_constraint where conname = $1 and conrelid = $2::text::regclass",
                name,
                table,
            )
            await tx.execute(f"alter table {table} drop constraint {name}")
        dropped.append((table, name, text))

    yield drop
    async with database.statement() as tx:
        for table, name, text in dropped:
            await tx.execute(f"truncate {table}")
            await tx.execute(f"alter table {table} add constraint {name} {text}")
