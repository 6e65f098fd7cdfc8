# SPDX-License-Identifier: Apache-2.0
"""Seeds of the simulated practice. `make simulate SEED=7` runs one again, `make simulate EVENTS=… STEPS=…` more of them."""

import os
import re
import subprocess
import sys

import pytest

from holdfirst.payment.payment import Mode
from races.exhaustive.mutants import without
from simulation import town
from simulation.mutants import MUTANTS, Mutant
from simulation.town import run
from simulation.walks import SHARE, walk

SEEDS = (*range(2), *range(6, 9))
"""Without calendars, and with."""
REGRESSIONS: list[int] = []
"""Seeds that once showed a fault."""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", [*SEEDS, *REGRESSIONS])
async def test_no_promise_is_broken(seed: int, figures, apart) -> None:
    course = await apart(run, seed)
    assert course.answers > 0 and course.crashes > 0
    # Where calendars are asked, courses are short: not each has somebody who moves.
    assert course.moves > 0 or course.readings > 0
    figures(
        "simulation",
        steps=course.steps,
        transactions=course.transactions,
        answers=course.answers,
        moves=course.moves,
        crashes=course.crashes,
        days=course.days,
        readings=course.readings,
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mode", list(Mode))
async def test_random_walks_through_the_core(mode: Mode, figures, apart) -> None:
    walked = await apart(walk, 7, 50_000, mode)
    figures("simulation", events_of_the_core=walked.events)


def test_the_command_of_the_long_run_plays() -> None:
    command = [sys.executable, "-m", "simulation", "--events", "1", "--steps", "1", "--first", "0"]
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    events, steps = re.findall(r"([\d,]+) (?:events|steps)", done.stdout)
    assert int(events.replace(",", "")) >= SHARE and int(steps.replace(",", "")) > 1000


@pytest.mark.filterwarnings("ignore")
async def test_the_same_seed_takes_the_same_course(apart) -> None:
    """One of those above, once more: with calendars."""
    assert await apart(run, 7) == await apart(run, 7)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
async def test_a_missing_guard_is_found(mutant: Mutant, figures, apart) -> None:
    """Within so many seeds."""

    def caught() -> str | None:
        with without(mutant.guard, mutant.broken):
            for seed in mutant.seeds:
                try:
                    town.run(seed)
                except Exception as error:
                    return f"{type(error).__name__}: {error}"
        return None

    told = await apart(caught)
    assert told is not None and mutant.says in told, told
    figures("simulation", mutants_caught=1)
