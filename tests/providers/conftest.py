# SPDX-License-Identifier: Apache-2.0
from collections.abc import AsyncIterator

import pytest

from holdfirst.payment.payment import Mode
from holdfirst.store.database import Database

from .sandbox_stage import SandboxStage


@pytest.fixture(params=list(Mode), ids=str)
async def stage(database: Database, request: pytest.FixtureRequest) -> AsyncIterator[SandboxStage]:
    """The sandbox's; another provider's test file has a fixture of this name of its own."""
    stage = SandboxStage(database.url, request.param)
    yield stage
    await stage.aclose()


@pytest.fixture
async def authorizing(database: Database) -> AsyncIterator[SandboxStage]:
    stage = SandboxStage(database.url, Mode.AUTHORIZE)
    yield stage
    await stage.aclose()
