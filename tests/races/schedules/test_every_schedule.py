# SPDX-License-Identifier: Apache-2.0
"""All pairs of the operations, from each state, in every schedule; in the long run all triples."""

import os
from collections.abc import Callable
from dataclasses import asdict

import pytest

from races.schedules.bench import Bench
from races.schedules.conftest import In
from races.schedules.explore import Bounds, Figures
from races.schedules.operations import OPERATIONS
from races.schedules.scenario import LONG, NORMAL, TRIPLES, Scenario, explore, replay, scenarios
from races.schedules.states import STATES, prepare

Print = Callable[..., None]


def explored(laboratory: In, state: str, chosen: list[Scenario], bounds: Bounds, figures: Print) -> Figures:
    async def work(bench: Bench) -> Figures:
        subject = await prepare(bench, STATES[state])
        found = Figures()
        for scenario in chosen:
            found += await explore(bench, scenario, subject, bounds=bounds)
        return found

    found: Figures = laboratory(work)
    figures("every schedule", **asdict(found))
    return found


@pytest.mark.parametrize("state", [name for name, state in STATES.items() if not state.long])
def test_every_pair(laboratory: In, state: str, figures: Print) -> None:
    chosen = scenarios(STATES[state], core=True)
    found = explored(laboratory, state, chosen, NORMAL, figures)
    assert found.scenarios == len(chosen)
    assert found.complete + found.bounded >= len(chosen)


def test_every_state_can_be_made(laboratory: In) -> None:
    """Those of the long searches too, which are not run each time."""

    async def work(bench: Bench) -> None:
        for state in STATES.values():
            if state.long:
                await prepare(bench, state)

    laboratory(work)


@pytest.mark.long
@pytest.mark.parametrize("state", STATES)
def test_every_triple(laboratory: In, state: str, figures: Print) -> None:
    explored(laboratory, state, scenarios(STATES[state], 3, core=True), TRIPLES, figures)


@pytest.mark.long
@pytest.mark.parametrize("state", STATES)
def test_every_pair_of_all(laboratory: In, state: str, figures: Print) -> None:
    """Of all operations, with the widest bounds."""
    explored(laboratory, state, scenarios(STATES[state], 2), LONG, figures)


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
