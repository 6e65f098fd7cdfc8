# SPDX-License-Identifier: Apache-2.0
"""One laboratory for each worker of the run, and one line of figures at the end of it."""

import re
from collections import Counter
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


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What the tests counted, added up."""
    sums: Counter[str] = Counter()
    for kind in ("passed", "failed"):
        for report in terminalreporter.stats.get(kind, []):
            if report.when == "call":
                sums.update({name: count for name, count in report.user_properties if isinstance(count, int)})
    if not sums:
        return
    words = {name: f"{count:,}" for name, count in sums.items()}
    line = (
        "races: {scenarios} scenarios, {complete} schedules (complete, no two equal up to steps that commute)"
        " + {bounded} of larger scenarios (not complete) + {redundant} played and not counted;"
        " {outcomes} outcomes, all allowed; {diverged} diverged; {killed} of {guards} broken guards caught;"
        " naive: {naive_double} double bookings, {naive_ghosts} ghost payments in {naive_schedules} schedules;"
        " holdfirst: {ours_double} and {ours_ghosts} in {ours_schedules}"
    )
    names = set(re.findall(r"\{(\w+)\}", line))
    terminalreporter.write_line(line.format(**{name: words.get(name, "0") for name in names}))
