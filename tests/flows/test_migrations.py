# SPDX-License-Identifier: Apache-2.0
"""The schema is brought up once, in order, and file by file as a whole; by however many ask at once. What the files say is made
up here.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest

from conftest import first_column, make_database
from holdfirst.errors import ConfigurationError
from holdfirst.store import migrations
from holdfirst.store.database import Database
from holdfirst.store.migrations import LOCK, migrate, pending

ONE = ("0001_one.sql", "create table one ()")
TWO = ("0002_two.sql", "create table two ()")


class Impatient(Database):
    """Whose connections wait for no lock, unless they are told to."""

    async def connect(self) -> Any:
        connection = await super().connect()
        await connection.execute("set lock_timeout = '10ms'")
        return connection


@pytest.fixture
async def bare(server_url: str, worker_id: str) -> AsyncIterator[Database]:
    """Without a schema."""
    database = Impatient(await make_database(server_url, f"bare_{worker_id}"))
    await database.open()
    yield database
    await database.close()


def say(monkeypatch: pytest.MonkeyPatch, *files: tuple[str, str], functions: str = "select 1") -> None:
    monkeypatch.setattr(migrations, "_files", lambda: list(files))
    monkeypatch.setattr(migrations, "_functions", lambda: functions)


async def migrated(database: Database) -> list[str]:
    async with asyncio.timeout(10):
        return await migrate(database)


async def tables(database: Database) -> list[str]:
    return await first_column(
        database, "select tablename from pg_tables where schemaname = 'public' order by 1"
    )


async def test_who_comes_second_waits_and_finds_nothing_to_do(
    bare: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it takes."""
    say(monkeypatch, ONE)
    first = await bare.connect()
    await first.execute("select pg_advisory_lock($1)", LOCK)
    several = [asyncio.create_task(migrated(bare)) for _ in range(3)]
    await asyncio.sleep(0.2)
    assert not any(one.done() for one in several)
    await first.close()
    told = await asyncio.gather(*several)
    assert sorted(told) == [[], [], [ONE[0], "functions.sql"]]
    # Nor does anybody keep the lock.
    assert await migrated(bare) == []


async def test_each_file_is_applied_once_and_the_functions_whenever_they_differ(
    bare: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    applied_at = "select applied_at from schema_migration where name = 'functions.sql'"
    say(monkeypatch, ONE)
    assert await pending(bare) == [ONE[0]]
    assert await migrated(bare) == [ONE[0], "functions.sql"]
    [before] = await first_column(bare, applied_at)
    say(monkeypatch, ONE, TWO)
    assert await pending(bare) == [TWO[0]]
    assert await migrated(bare) == [TWO[0]]
    assert await first_column(bare, applied_at) == [before]
    say(monkeypatch, ONE, TWO, functions="select 2")
    assert await pending(bare) == []
    assert await migrated(bare) == ["functions.sql"]
    assert await migrated(bare) == []
    assert await first_column(bare, applied_at) > [before]
    assert await tables(bare) == ["one", "schema_migration", "two"]


async def test_a_file_that_says_something_else_by_now_is_refused(
    bare: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(monkeypatch, ONE)
    await migrated(bare)
    say(monkeypatch, (ONE[0], "create table another ()"), TWO)
    with pytest.raises(ConfigurationError, match=ONE[0]):
        await migrated(bare)
    assert await tables(bare) == ["one", "schema_migration"]


async def test_what_cannot_be_written_down_is_not_done(
    bare: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = "; alter table schema_migration add check (name <> '0002_two.sql')"
    say(monkeypatch, ONE, (TWO[0], TWO[1] + stop))
    with pytest.raises(asyncpg.CheckViolationError):
        await migrated(bare)
    assert await tables(bare) == ["one", "schema_migration"]
    say(monkeypatch, ONE, TWO)
    assert await migrated(bare) == [TWO[0], "functions.sql"]


def test_what_is_applied_is_sql_in_the_order_of_its_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "migrations").mkdir()
    for name in ("0002_two.sql", "0001_one.sql", "notes.md"):
        (tmp_path / "migrations" / name).write_text(name)
    listed = [tmp_path / "migrations" / name for name in ("0002_two.sql", "notes.md", "0001_one.sql")]
    monkeypatch.setattr(Path, "iterdir", lambda _: iter(listed))
    monkeypatch.setattr(migrations, "resources", SimpleNamespace(files=lambda _: tmp_path))
    assert [name for name, _ in migrations._files()] == ["0001_one.sql", "0002_two.sql"]
