# SPDX-License-Identifier: Apache-2.0
"""All pairs of the operations, from each state, in every schedule; in the long run all triples."""

import os
from collections.abc import Callable

import pytest

from races.schedules.bench import Bench
from races.schedules.conftest import In
from races.schedules.explore import Bounds, Figures
from races.schedules.operations import OPERATIONS
from races.schedules.scenario import LONG, NORMAL, Scenario, explore, replay, scenarios
from races.schedules.states import STATES, prepare


def explored(laboratory: In, state: str, chosen: list[Scenario], bounds: Bounds) -> Figures:
    async def work(bench: Bench) -> Figures:
        subject = await prepare(bench, STATES[state])
        figures = Figures()
        for scenario in chosen:
            figures += await explore(bench, scenario, subject, bounds=bounds)
        return figures

    figures: Figures = laboratory(work)
    return figures


@pytest.mark.parametrize("state", [name for name, state in STATES.items() if not state.long])
def test_every_pair(laboratory: In, state: str, record_property: Callable[[str, object], None]) -> None:
    figures = explored(laboratory, state, scenarios(STATES[state], core=True), NORMAL)
    assert figures.scenarios == len(scenarios(STATES[state], core=True))
    assert figures.complete > 0
    for name in Figures.__dataclass_fields__:
        record_property(name, getattr(figures, name))


@pytest.mark.long
@pytest.mark.parametrize("many", [2, 3])
@pytest.mark.parametrize("state", STATES)
def test_every_triple(
    laboratory: In, state: str, many: int, record_property: Callable[[str, object], None]
) -> None:
    """And all pairs of all operations, with wider bounds."""
    figures = explored(laboratory, state, scenarios(STATES[state], many, core=many == 3), LONG)
    for name in Figures.__dataclass_fields__:
        record_property(name, getattr(figures, name))


def parsed(words: str) -> tuple[Scenario, str]:
    """`reserve + extend @ held : aabbt`, as a failure prints it."""
    race, _, letters = words.rpartition(" : ")
    operations, _, state = race.partition(" @ ")
    scenario = Scenario(state, tuple(operations.split(" + ")))
    assert state in STATES, f"there is no state {state}"
    assert set(scenario.operations) <= OPERATIONS.keys(), f"there is no such operation in {operations}"
    return scenario, letters


@pytest.mark.skipif("SCHEDULE" not in os.environ, reason="plays the one schedule that SCHEDULE names")
def test_this_schedule(laboratory: In) -> None:
    scenario, letters = parsed(os.environ["SCHEDULE"])

    async def work(bench: Bench) -> str:
        return await replay(bench, scenario, await prepare(bench, STATES[scenario.state]), letters)

    print(laboratory(work))


def test_a_schedule_is_replayed_as_it_was_printed(laboratory: In) -> None:
    """Twice the same words: what a failure prints is enough to see it again."""
    scenario, letters = parsed("reserve + extend @ held : aaaabbtbbbbb")

    async def work(bench: Bench) -> list[str]:
        subject = await prepare(bench, STATES[scenario.state])
        return [await replay(bench, scenario, subject, letters) for _ in range(2)]

    first, second = laboratory(work)
    assert first == second
    assert "a due_expired" in first and "t tick" in first
