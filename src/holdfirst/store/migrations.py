# SPDX-License-Identifier: Apache-2.0
"""Migrations: plain SQL files, in order, forward only; safe when ten processes start at once.

The functions are one file, applied again whenever it differs from what the database has: a function has no
data to migrate, and one copy of its text is enough.
"""

import hashlib
from importlib import resources

import asyncpg

from holdfirst.errors import ConfigurationError
from holdfirst.store.database import Database

LOCK = 0x686F6C646669  # "holdfi": one migrator at a time, whoever asks
SERVER_VERSION_MIN = 15

_LEDGER = """
create table if not exists schema_migration (
    name text primary key, digest bytea not null, applied_at timestamptz not null default clock_timestamp()
)
"""


def _files() -> list[tuple[str, str]]:
    folder = resources.files("holdfirst.store") / "migrations"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return [(name, (folder / name).read_text()) for name in names]


def _functions() -> str:
    return (resources.files("holdfirst.store") / "functions.sql").read_text()


async def migrate(database: Database) -> list[str]:
    """Bring the schema up to this version; answers the names applied, in order."""
    connection = await database.connect()
    try:
        await connection.execute("set lock_timeout = 0")
        await connection.execute("select pg_advisory_lock($1)", LOCK)
        return await _apply(connection)
    finally:
        await connection.close()


async def _apply(connection: "asyncpg.Connection[asyncpg.Record]") -> list[str]:
    version = connection.get_server_version().major
    if version < SERVER_VERSION_MIN:
        raise ConfigurationError(
            f"PostgreSQL {SERVER_VERSION_MIN} or newer is needed; this server is {version}."
        )
    await connection.execute(_LEDGER)
    known = {row["name"]: row["digest"] for row in await connection.fetch("select * from schema_migration")}
    if known.keys() - {name for name, _ in _files()} - {"functions.sql"}:
        # A newer version's schema: its functions are not to be put back to ours.
        return []
    applied = []
    functions = ("functions.sql", _functions())
    # The first schema uses the clock in no default, so the functions may come last.
    for name, text in [*_files(), functions]:
        digest = hashlib.sha256(text.encode()).digest()
        if known.get(name) == digest:
            continue
        if name in known and name != "functions.sql":
            raise ConfigurationError(f"Migration {name} is not the one that this database was built with.")
        async with connection.transaction():
            await connection.execute(text)
            await connection.execute(
                "insert into schema_migration (name, digest) values ($1, $2)"
                " on conflict (name) do update set digest = excluded.digest, applied_at = clock_timestamp()",
                name,
                digest,
            )
        applied.append(name)
    return applied


async def pending(database: Database) -> list[str]:
    """What `migrate` would apply; empty when the schema is this version's (or newer)."""
    async with database.statement() as tx:
        if not await tx.value("select to_regclass('schema_migration')"):
            return [name for name, _ in _files()]
        known = {row["name"] for row in await tx.rows("select name from schema_migration")}
    return [name for name, _ in _files() if name not in known]
