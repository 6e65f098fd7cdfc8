# SPDX-License-Identifier: Apache-2.0
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from counter import Counter, open_counter
from front import Site, open_site
from holdfirst.store.database import Database
from house import House, open_house


@pytest.fixture
async def counter(database: Database) -> AsyncIterator[Counter]:
    """The fake provider in every money mode, and short waits."""
    counter = await open_counter(database)
    yield counter
    await counter.site.http.aclose()


@pytest.fixture
async def site(database: Database) -> AsyncIterator[Site]:
    site = await open_site(database)
    yield site
    await site.http.aclose()


@pytest.fixture
async def house(database: Database, tmp_path: Path) -> AsyncIterator[House]:
    """The server as wiring composes it, with the sandbox's seam open."""
    async with open_house(database.url, tmp_path) as house:
        yield house
