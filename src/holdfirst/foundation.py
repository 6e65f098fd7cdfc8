# SPDX-License-Identifier: Apache-2.0
"""What every command stands on: the database, embedded or named, at this version's schema; and the keys it is sealed with.

Knows nothing of HTTP and of companies: `holdfirst keys` and its like are there at once.
"""

import contextlib
from collections.abc import AsyncIterator, Iterator

import msgspec

from holdfirst.embedded_postgres import EmbeddedPostgres
from holdfirst.errors import ConfigurationError
from holdfirst.flows import accounts, at_rest
from holdfirst.key_ring import KeyRing, open_ring
from holdfirst.settings import Settings
from holdfirst.store.database import Database
from holdfirst.store.migrations import migrate, pending


class Foundation(msgspec.Struct, frozen=True):
    settings: Settings
    database: Database
    key_ring: KeyRing


@contextlib.contextmanager
def database_url(settings: Settings) -> Iterator[tuple[str, EmbeddedPostgres | None]]:
    """The URL of the database to use: the one named, or the embedded one, started or joined."""
    if settings.database_url:
        yield settings.database_url, None
        return
    with EmbeddedPostgres(settings.data_dir) as embedded:
        yield embedded.start(), embedded


async def prepare(url: str) -> list[str]:
    """Migrate; answers what was applied."""
    return await migrate(Database(url))


@contextlib.asynccontextmanager
async def open_foundation(settings: Settings, url: str) -> AsyncIterator[Foundation]:
    """A migrated database, opened; the accounts `test` and `live` exist; it is closed at the end."""
    database = Database(url, connections_max=settings.database_connections_max)
    await database.open()
    try:
        if missing := await pending(database):
            raise ConfigurationError(
                f"The database is not at this version's schema (missing: {', '.join(missing)}). Run: holdfirst migrate"
            )
        key_ring = await _known_ring(settings, database)
        await database.run(accounts.found, key_ring)
        yield Foundation(settings, database, key_ring)
    finally:
        await database.close()


async def _known_ring(settings: Settings, database: Database) -> KeyRing:
    """A ring without a key that this database is sealed with is the wrong ring: say so before it signs."""
    ring = open_ring(settings.secret_key, settings.data_dir)
    known = await database.run(at_rest.known_ring, ring.fingerprints)
    if not known:
        raise ConfigurationError(
            "This database is sealed with another HOLDFIRST_SECRET_KEY; without it, credentials cannot be opened"
            " and customers' links do not work. Set that key (a new one may stand before it, separated by a comma)."
        )
    return ring
