# SPDX-License-Identifier: Apache-2.0
"""One PostgreSQL for the whole run, one database for each worker of it, emptied before each test.

`HOLDFIRST_TEST_DATABASE_URL` names another server (15 to 18) to run the same tests on.
"""

import asyncio
import gc
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
import uvloop

from holdfirst.embedded_postgres import EmbeddedPostgres
from holdfirst.store.database import Database
from holdfirst.store.migrations import migrate

# Every test may move the database's clock; production has the same function without the offset.
TEST_CLOCK = """
create table if not exists test_clock (shift interval not null);
create or replace function the_clock() returns timestamptz language sql volatile as
$$ select date_trunc('milliseconds', clock_timestamp() + (select shift from test_clock)) $$;
"""


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """A PostgreSQL server; the tests make databases of their own in it."""
    if url := os.environ.get("HOLDFIRST_TEST_DATABASE_URL"):
        yield url
        return
    with tempfile.TemporaryDirectory(prefix="hf-tests-") as folder, EmbeddedPostgres(Path(folder)) as server:
        yield server.start()


async def make_database(server_url: str, name: str) -> str:
    connection = await asyncpg.connect(server_url)
    try:
        await connection.execute(f'drop database if exists "{name}" with (force)')
        await connection.execute(f'create database "{name}"')
    finally:
        await connection.close()
    return with_database(server_url, name)


def with_database(url: str, name: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"/{name}"))


@pytest.fixture(scope="session")
def database_url(server_url: str, worker_id: str) -> str:
    """A migrated database for this worker of the test run, with a clock that tests can move."""

    async def build() -> str:
        name = f"holdfirst_{worker_id}"
        url = await make_database(server_url, name)
        database = Database(url)
        await migrate(database)
        connection = await database.connect()
        await connection.execute(TEST_CLOCK)
        await make_empty_function(connection)
        # Nobody pulls the plug on this one.
        await connection.execute(f'alter database "{name}" set synchronous_commit = off')
        await connection.close()
        return url

    return asyncio.run(build())


@pytest.fixture(scope="session")
def worker_id() -> str:
    return os.environ.get("PYTEST_XDIST_WORKER", "main")


ROWS_MANY = 5000
"""So many dead rows are not left lying about."""


class Clock:
    """The database's clock, as this test wants it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def shift(self, by: timedelta) -> None:
        async with self._database.statement() as tx:
            await tx.execute("update test_clock set shift = shift + $1", by)

    async def reset(self) -> None:
        async with self._database.statement() as tx:
            await tx.execute("delete from test_clock")
            await tx.execute("insert into test_clock values ('0')")


async def make_empty_function(connection: "asyncpg.Connection[Any]") -> None:
    """`for_tests.test_empty()` deletes from every table, whoever refers to others first: a hundred times cheaper than truncating
    what is almost empty already. Answers how many rows there were.
    """
    tables = await connection.fetch(
        "select oid, oid::regclass::text as name from pg_class where relkind = 'r'"
        " and relnamespace::regnamespace::text in ('public', 'sandbox')"
        " and relname not in ('schema_migration', 'test_clock')"
    )
    references = await connection.fetch(
        "select conrelid, confrelid from pg_constraint where contype = 'f' and conrelid <> confrelid"
    )
    graph: dict[int, set[int]] = {row["oid"]: set() for row in tables}
    for row in references:
        graph[row["confrelid"]].add(row["conrelid"])
    names = {row["oid"]: row["name"] for row in tables}
    deletes = " ".join(
        f"delete from {names[oid]}; get diagnostics n = row_count; seen := seen + n;"
        for oid in TopologicalSorter(graph).static_order()
    )
    sequences = await connection.fetchval(
        "select string_agg(format('perform setval(%L, 1, false);', oid::regclass), ' ') from pg_class where relkind = 'S'"
        " and relnamespace::regnamespace::text in ('public', 'sandbox')"
    )
    await connection.execute(
        "create schema if not exists for_tests; create or replace function for_tests.test_empty() returns bigint language plpgsql as"
        f" $$ declare n bigint; seen bigint := 0; begin {deletes} {sequences} return seen; end $$"
    )


async def empty(database: Database) -> None:
    async with database.statement() as tx:
        if await tx.value("select for_tests.test_empty()") < ROWS_MANY:
            return
        tables = await tx.value(
            "select string_agg(format('%I.%I', schemaname, tablename), ', ') from pg_tables"
            " where schemaname in ('public', 'sandbox') and tablename not in ('schema_migration', 'test_clock')"
        )
        await tx.execute(f"truncate {tables}")


@pytest.fixture(scope="session")
async def kept_database(database_url: str) -> AsyncIterator[Database]:
    """One pool for all tests of this worker: a new connection compiles each function of ours again."""
    database = Database(database_url)
    yield database
    await database.close()


@pytest.fixture
async def database(kept_database: Database) -> AsyncIterator[Database]:
    """An empty database, its clock set to the real time."""
    database = kept_database
    connections, idle = database.pool_size()
    if not idle or idle < connections:
        await database.close()
        await database.open()
    await empty(database)
    await Clock(database).reset()
    yield database
    database.on_announce = lambda _: None


async def first_column(database: Database, statement: str, *values: object) -> list[Any]:
    """Of what this statement answers."""
    async with database.statement() as tx:
        return [row[0] for row in await tx.rows(statement, *values)]


@pytest.fixture
async def clock(database: Database) -> Clock:
    return Clock(database)


@pytest.fixture
def figures(record_property) -> Callable[..., None]:
    """Numbers that a laboratory adds up over its tests; printed in one line when the run is over."""

    def add(laboratory: str, **numbers: float) -> None:
        record_property("figures", (laboratory, numbers))

    return add


def pytest_terminal_summary(terminalreporter) -> None:
    sums: dict[str, dict[str, float]] = {}
    for report in terminalreporter.stats.get("passed", []):
        for name, told in report.user_properties:
            if name == "figures":
                laboratory, numbers = told
                line = sums.setdefault(laboratory, {})
                for what, number in numbers.items():
                    line[what] = line.get(what, 0) + number
    for laboratory, line in sorted(sums.items()):
        told = ", ".join(f"{number:,.0f} {what.replace('_', ' ')}" for what, number in line.items())
        terminalreporter.write_line(f"{laboratory}: {told}")


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that the server runs on."""
    return {"uvloop": uvloop.new_event_loop}


def pytest_collection_finish() -> None:
    """What was imported and collected stays to the end: the garbage collector need not look at it again and again."""
    gc.collect()
    gc.freeze()
