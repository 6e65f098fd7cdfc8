# SPDX-License-Identifier: Apache-2.0
from collections.abc import AsyncIterator

import pytest

from holdfirst.payment.payment import Mode
from holdfirst.store.database import Database

from .scene import Scene, open_scene


@pytest.fixture(params=list(Mode), ids=str)
async def scene(database: Database, clock, request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    """Each money mode at a company that has it; the money is checked at the end of every test."""
    async with open_scene(database, clock, request.param) as scene:
        yield scene
