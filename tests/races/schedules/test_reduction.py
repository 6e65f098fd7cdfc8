# SPDX-License-Identifier: Apache-2.0
"""Leaving out what is equal leaves out no outcome: every order there is comes to the same ones."""

import pytest

from races.schedules.bench import Bench
from races.schedules.breaking import broken
from races.schedules.conftest import In
from races.schedules.explore import Explorer
from races.schedules.guards import LOCK_RESERVATION
from races.schedules.scenario import Allowed, Judged, Scenario, starter
from races.schedules.states import STATES, prepare
from races.schedules.steps import Touched, commute, touched_by

SMALL = [
    Scenario("free", ("reserve", "reserve"), ticks=False),
    Scenario("held", ("expire", "cancel")),
    Scenario("lapsed", ("extend", "reserve"), ticks=False),
    Scenario("job due", ("work that is done", "wish again"), ticks=False),
]


class Collected(Judged):
    """Outcomes, right or wrong."""

    async def judge(self, race, letters: str) -> None:
        _, _, essence = await self.came_to(race)
        self.seen.setdefault(essence, letters)


async def outcomes(bench: Bench, scenario: Scenario, *, reduced: bool) -> tuple[set[str], int]:
    subject = await prepare(bench, STATES[scenario.state])
    judged = Collected(bench, scenario, subject, Allowed())
    explorer = Explorer(bench, starter(bench, scenario, subject), judged.judge, reduced=reduced)
    await explorer.run()
    return set(judged.seen), explorer.schedules


@pytest.mark.parametrize("scenario", SMALL, ids=str)
def test_every_order_comes_to_the_same(laboratory: In, scenario: Scenario) -> None:
    async def work(bench: Bench) -> None:
        few, played = await outcomes(bench, scenario, reduced=True)
        all_of_them, all_played = await outcomes(bench, scenario, reduced=False)
        assert few == all_of_them
        assert played < all_played

    laboratory(work)


def test_and_so_it_is_where_a_lock_is_missing(laboratory: In) -> None:
    """Here wrong outcomes are among them, and none of those is left out either."""
    scenario = Scenario("lapsed", ("extend", "cancel"), ticks=False)

    async def work(bench: Bench) -> None:
        await prepare(bench, STATES[scenario.state])
        async with broken(bench, (LOCK_RESERVATION,)):
            few, _ = await outcomes(bench, scenario, reduced=True)
            all_of_them, _ = await outcomes(bench, scenario, reduced=False)
        assert few == all_of_them

    laboratory(work)


LOCK_ONE = touched_by("select * from reservation where id = $1 for update", ["res_1"])
LOCK_TWO = touched_by("select * from reservation where id = $1 for update", ["res_2"])
READ_ONE = touched_by("select * from reservation where id = $1", ["res_1"])
CLOCK = touched_by("select the_clock()", [])
TICK = Touched(locks=frozenset({("clock", None)}), made_known=frozenset({("clock", None)}))
NAMES = touched_by("select lock_names($1)", [["host:1"]])
OTHER_NAMES = touched_by("select lock_names($1)", [["host:2"]])
CLAIM = touched_by("update claim set live_until = $2 where reservation_id = $1", ["res_1"])
COMMIT_ONE = Touched(made_known=LOCK_ONE.locks)


@pytest.mark.parametrize(
    ("one", "two", "commutes"),
    [
        (LOCK_ONE, LOCK_TWO, True),
        (LOCK_ONE, LOCK_ONE, False),
        (LOCK_ONE, READ_ONE, True),
        (COMMIT_ONE, READ_ONE, False),
        (COMMIT_ONE, LOCK_ONE, False),
        (COMMIT_ONE, LOCK_TWO, True),
        (CLOCK, CLOCK, True),
        (CLOCK, TICK, False),
        (NAMES, OTHER_NAMES, True),
        (NAMES, NAMES, False),
        (CLAIM, CLAIM, False),
    ],
)
def test_what_commutes(one: Touched, two: Touched, commutes: bool) -> None:
    assert commute(one, two) is commutes and commute(two, one) is commutes
