# SPDX-License-Identifier: Apache-2.0
"""Some operations from one state: every schedule, judged. What it may come to is what whole transactions come to."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations_with_replacement

import msgspec

from races.schedules import judging
from races.schedules.bench import Bench
from races.schedules.driver import TICK, Race
from races.schedules.explore import Bounds, Explorer, Figures, Start, play_units
from races.schedules.operations import OPERATIONS, fits
from races.schedules.states import STATES, State, Subject


class Broken(AssertionError):
    """A schedule that breaks a promise; its words replay it."""


@dataclass(frozen=True)
class Scenario:
    state: str
    operations: tuple[str, ...]
    ticks: bool = True

    def __str__(self) -> str:
        return f"{' + '.join(self.operations)} @ {self.state}"


def scenarios(state: State, many: int = 2, *, core: bool = False) -> list[Scenario]:
    """Every set of `many` operations that make sense in this state; with the clock, where it decides something.

    `core`: of a state with calendars, what these have a part in; the rest is as in the state without.
    """
    fitting = [one for one in OPERATIONS.values() if fits(one, state) and (one.core or not core)]
    names = [one.name for one in fitting]
    asked = {one.name for one in fitting if "calendars" in one.needs}
    return [
        Scenario(state.name, chosen)
        for chosen in combinations_with_replacement(names, many)
        if not (core and asked) or asked & set(chosen)
    ]


@dataclass
class Allowed:
    """What whole transactions (and whole calls) come to, in any order: what is known of it, and whether it is all."""

    essences: dict[str, str] = field(default_factory=dict)
    complete: bool = False
    by_order: dict[str, str] = field(default_factory=dict)
    """What this very order comes to: what runs one after the other must come to that, and to nothing else."""


@dataclass
class Judged:
    """One scenario's outcomes so far. `allowed` None: they are being collected."""

    bench: Bench
    scenario: Scenario
    subject: Subject
    allowed: Allowed | None
    seen: dict[str, str] = field(default_factory=dict)
    by_order: dict[str, str] = field(default_factory=dict)

    async def judge(self, race: Race, letters: str) -> None:
        told, answers, essence = await self.came_to(race)
        order = "".join(race.units)
        if race.one_by_one:
            self.by_order[order] = essence
            if self.allowed is not None and self.allowed.by_order.get(order, essence) != essence:
                raise Broken(
                    self.words(race, letters, ["one after the other, they come to something else"], essence)
                )
        if essence in self.seen:
            return
        self.seen[essence] = letters
        found = judging.faults(told, answers)
        if race.deadlocked:
            found.append("a deadlock")
        if not found:
            found = await self._at_rest(told)
        if not found and self.allowed is not None and not await self._is_allowed(race, essence, self.allowed):
            found.append("no order of whole transactions comes to this")
        if found:
            raise Broken(self.words(race, letters, found, essence))

    async def came_to(self, race: Race) -> tuple[judging.Told, dict[str, str], str]:
        told = await self.bench.tell()
        answers = {
            letter: judging.answer_in(one.task)
            for letter, one in sorted(race.participants.items())
            if one.task is not None and letter != TICK
        }
        return told, answers, f"{judging.essence(told, answers)}\ndeadlock {race.deadlocked}"

    async def _is_allowed(self, race: Race, essence: str, allowed: Allowed) -> bool:
        """In the order of their ends the same transactions, whole, nearly always come to the same; else all orders are
        looked at.
        """
        if essence not in allowed.essences and not allowed.complete:
            start = starter(self.bench, self.scenario, self.subject)
            whole, letters = await play_units(self.bench, start, race.units)
            _, _, one = await self.came_to(whole)
            allowed.essences.setdefault(one, letters)
            if essence not in allowed.essences:
                every = await outcomes_of_whole_transactions(self.bench, self.scenario, self.subject)
                allowed.essences |= every.essences
                allowed.complete = True
        return essence in allowed.essences

    async def _at_rest(self, told: judging.Told) -> list[str]:
        """What is found wrong then; rows that are the same come to the same."""
        rows = msgspec.json.encode(told, order="sorted")
        if rows not in self.bench.rested:
            self.bench.rested[rows] = await self._rest()
        return self.bench.rested[rows]

    async def _rest(self) -> list[str]:
        shop = self.bench.shop_on(self.bench.free)
        for wait in judging.REST:
            await self.bench.move_clock(wait)
            await shop.work()
        return judging.faults_at_rest(await self.bench.tell())

    def words(self, race: Race, letters: str, found: Sequence[str], essence: str) -> str:
        steps = "\n".join(f"  {letter} {label}" for letter, label in race.taken)
        return (
            f"{self.scenario}: {'; '.join(found)}\n{steps}\n{essence}\n"
            f"replay: SCHEDULE='{self.scenario} : {letters}' make races"
        )


def starter(bench: Bench, scenario: Scenario, subject: Subject) -> Start:
    operations = [OPERATIONS[name].run for name in scenario.operations]
    ticks = list(STATES[scenario.state].ticks) if scenario.ticks else []

    async def start() -> Race:
        return await bench.start(subject, operations, ticks)

    return start


async def outcomes_of_whole_transactions(bench: Bench, scenario: Scenario, subject: Subject) -> Allowed:
    judged = Judged(bench, scenario, subject, None)
    start = starter(bench, scenario, subject)
    await Explorer(bench, start, judged.judge, whole_transactions=True).run()
    return Allowed(judged.seen, complete=True, by_order=judged.by_order)


NORMAL = Bounds(complete=21, bounded=6)
TEETH = Bounds(complete=2000, bounded=1)
TRIPLES = Bounds(complete=20, bounded=12)
LONG = Bounds(complete=3000, bounded=1000)


async def explore(
    bench: Bench,
    scenario: Scenario,
    subject: Subject,
    *,
    allowed: Allowed | None = None,
    bounds: Bounds = NORMAL,
) -> Figures:
    """Raises `Broken` at the first schedule that breaks a promise."""
    judged = Judged(bench, scenario, subject, allowed or Allowed())
    explorer = Explorer(bench, starter(bench, scenario, subject), judged.judge, bounds=bounds)
    await explorer.run()
    return Figures(
        scenarios=1,
        complete=explorer.schedules if explorer.complete else 0,
        bounded=0 if explorer.complete else explorer.schedules,
        redundant=explorer.redundant,
        diverged=explorer.diverged,
        outcomes=len(judged.seen),
    )


async def replay(bench: Bench, scenario: Scenario, subject: Subject, letters: str) -> str:
    """One schedule again, step by step; answers its words, or raises `Broken`."""
    judged = Judged(bench, scenario, subject, Allowed())
    race = await starter(bench, scenario, subject)()
    for letter in letters:
        # The code may have changed since: who cannot go is passed over.
        if letter in race.enabled():
            await race.take(letter, bench.changed)
    while enabled := race.enabled():
        await race.take(next(iter(enabled)), bench.changed)
    _, _, essence = await judged.came_to(race)
    await judged.judge(race, letters)
    return judged.words(race, letters, [], essence)
