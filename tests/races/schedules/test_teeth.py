# SPDX-License-Identifier: Apache-2.0
"""Each guard taken out, the scenario that must notice does; and with it in place, the same scenario finds nothing."""

from collections.abc import Callable

import pytest

from races.schedules.bench import Bench
from races.schedules.breaking import broken
from races.schedules.conftest import In
from races.schedules.guards import GUARDS, Guard
from races.schedules.scenario import TEETH, Broken, explore, outcomes_of_whole_transactions
from races.schedules.states import STATES, prepare


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_a_broken_guard_is_caught(laboratory: In, guard: Guard, figures: Callable[..., None]) -> None:
    async def work(bench: Bench) -> str | None:
        subject = await prepare(bench, STATES[guard.scenario.state])
        # Raises `Broken` where anything is wrong with the guard in place.
        allowed = await outcomes_of_whole_transactions(bench, guard.scenario, subject)
        async with broken(bench, guard.without):
            try:
                await explore(bench, guard.scenario, subject, allowed=allowed, bounds=TEETH)
            except Broken as caught:
                return str(caught)
        return None

    caught = laboratory(work)
    assert caught is not None, f"without the guard '{guard.name}', {guard.scenario} finds nothing"
    figures("every schedule", broken_guards_caught=1)


def test_guards_have_names_of_their_own() -> None:
    assert len({guard.name for guard in GUARDS}) == len(GUARDS)
