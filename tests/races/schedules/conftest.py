# SPDX-License-Identifier: Apache-2.0
"""One laboratory for each worker of the run."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop

from races.schedules.bench import Bench, build, open_bench

In = Callable[[Callable[[Bench], Awaitable[Any]]], Any]


@pytest.fixture(scope="session")
def laboratory_url(server_url: str, worker_id: str) -> str:
    """A database of its own: its functions have stops, and its clock stands still."""
    return uvloop.run(build(server_url, f"laboratory_{worker_id}"))


@pytest.fixture
def laboratory(laboratory_url: str) -> In:
    """Runs something on an open bench."""

    async def run(work: Callable[[Bench], Awaitable[Any]]) -> Any:
        async with open_bench(laboratory_url) as bench:
            return await work(bench)

    return lambda work: uvloop.run(run(work))
