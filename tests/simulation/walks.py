# SPDX-License-Identifier: Apache-2.0
"""Random walks through the core: the moves of the exhaustive search, with a longer clock than any search can finish."""

import random
import time
from typing import NamedTuple

import structlog

from holdfirst.payment.payment import Mode
from races.exhaustive.scenario import Scenario
from races.exhaustive.search import NotKept, Search, Violation
from races.exhaustive.steps import laboratory

CLOCK_SHARE = 0.03
"""How often the clock strikes: every other move has its turn before it does."""
VERBS = frozenset({"release", "decline", "cancel", "extend"})


class Walked(NamedTuple):
    events: int
    walks: int
    clients: int
    seconds: float


def scenario_of(mode: Mode) -> Scenario:
    return Scenario(
        name=f"walks, {mode}",
        mode=mode,
        slots=(0, 1, 2, 2),
        verbs=VERBS,
        flights=1,
        ticks=6,
        start_tick=5,
    )


def walk(seed: int, events: int, mode: Mode) -> Walked:
    """Raises `Violation` with the whole walk."""
    began, chance, walks, count = time.process_time(), random.Random(seed), 0, 0
    with laboratory():
        search = Search(scenario_of(mode))
        while count < events:
            walks += 1
            count += _one(search, chance)
    return Walked(count, walks, len(search.clients), time.process_time() - began)


SHARE = 250_000
"""Events of one walk's process before it is asked for more."""


def walk_share(number: int) -> Walked:
    """The walk of this number, in one of the modes. (A spawned process finds it here; it does not find a `__main__`.)"""
    return walk(number, SHARE, list(Mode)[number % len(Mode)])


def quietly() -> None:
    """What companies do to us here is no news."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))


def _one(search: Search, chance: random.Random) -> int:
    state, steps = search.first(), []
    for _ in range(400):
        clients = len(state) - 1
        try:
            if chance.random() < CLOCK_SHARE and state[0] < search.scenario.ticks:
                choices = [next(search.successors(state))]
            else:
                choices = list(search.of_client(state, chance.randrange(clients) + 1))
        except NotKept as broken:
            raise Violation(search.scenario.name, broken.promise, [*steps, broken.label]) from None
        if not choices:
            continue
        label, place, after = chance.choice(choices)
        steps.append(f"client {'ABCDE'[place - 1]}: {label}" if place > 0 else label)
        state = after
        if (broken_now := search.broken_together(state)) is not None:
            raise Violation(search.scenario.name, broken_now, steps)
    return len(steps)
