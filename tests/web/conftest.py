# SPDX-License-Identifier: Apache-2.0
from collections.abc import AsyncIterator

import pytest

from front import Site, open_site
from holdfirst.store.database import Database


@pytest.fixture
async def site(database: Database) -> AsyncIterator[Site]:
    """A priced consultation, one hour, one seat, every hour of the day."""
    site = await open_site(database)
    yield site
    await site.http.aclose()


@pytest.fixture
async def free_site(database: Database) -> AsyncIterator[Site]:
    """The same, for nothing, for a party, with questions."""
    rules = {
        "price": None,
        "guests_max": 3,
        "questions": [
            {"key": "why", "label": "Why?", "kind": "long_text"},
            {"key": "shoe", "label": "Shoe size", "kind": "number"},
        ],
    }
    site = await open_site(database, rules=rules)
    yield site
    await site.http.aclose()
