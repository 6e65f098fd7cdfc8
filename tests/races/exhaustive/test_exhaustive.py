# SPDX-License-Identifier: Apache-2.0
"""Every state that the production's decisions can reach, with three clients, a clock, late money and crashes.

`make races` runs this and prints the figures; `make races-all` adds the long searches (marked slow).
"""

from collections.abc import Iterator

import pytest

from races.exhaustive.mutants import MUTANTS, Mutant, without
from races.exhaustive.scenario import Scenario
from races.exhaustive.scenarios import LONG, NORMAL
from races.exhaustive.search import Search, Violation
from races.exhaustive.steps import laboratory

STATES_MIN = 400_000
"""What a normal run must have seen of three clients, in all: fewer would mean that something is not tried any more."""
STATES_OF_FOUR_MIN = 3_000_000
"""Of each long search with four clients."""


@pytest.fixture(autouse=True)
def in_the_laboratory() -> Iterator[None]:
    with laboratory():
        yield


def explore(scenarios: list[Scenario], figures) -> dict[str, int]:
    found = [Search(scenario).run() for scenario in scenarios]
    for one in found:
        figures("exhaustive core", states=one.states, transitions=one.transitions, seconds=one.seconds)
    return {one.scenario: one.states for one in found}


def test_three_clients_break_no_promise(figures) -> None:
    three = [scenario for scenario in NORMAL if scenario.clients == 3]
    assert sum(explore(three, figures).values()) >= STATES_MIN


@pytest.mark.parametrize(
    "scenario", [one for one in NORMAL if one.clients < 3], ids=lambda scenario: scenario.name
)
def test_no_step_of_an_effect_breaks_a_promise(scenario: Scenario, figures) -> None:
    explore([scenario], figures)


@pytest.mark.slow
@pytest.mark.parametrize("scenario", LONG, ids=lambda scenario: scenario.name)
def test_long_searches(scenario: Scenario, figures) -> None:
    [states] = explore([scenario], figures).values()
    assert scenario.clients < 4 or states >= STATES_OF_FOUR_MIN


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_missing_guard_is_found(mutant: Mutant, figures) -> None:
    with without(mutant.guard, mutant.broken), pytest.raises(Violation) as found:
        Search(mutant.scenario).run()
    assert found.value.promise.startswith(mutant.says), found.value
    assert len(found.value.schedule) > 1
    figures("exhaustive core", mutants_caught=1)


OF_MUTANTS_ALONE = {one.scenario.name: one.scenario for one in MUTANTS if one.scenario not in NORMAL}
"""The others are among the searches above."""


@pytest.mark.parametrize("scenario", OF_MUTANTS_ALONE.values(), ids=lambda one: one.name)
def test_with_all_guards_the_same_scenario_breaks_nothing(scenario: Scenario) -> None:
    Search(scenario).run()
