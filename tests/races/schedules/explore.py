# SPDX-License-Identifier: Apache-2.0
"""Every schedule of a race, once each up to steps that commute: depth first, played again from the start each time.

Dynamic partial order reduction: a schedule that was played says which of its steps could have come the other way round
and matter to each other; only there something else is tried (source sets: Abdulla, Aronis, Jonsson, Sagonas, 2014), and
nothing that sleep sets (Godefroid, 1996) know to be the same again. `reduced=False` plays every order there is: the
two must come to the same outcomes (test_reduction.py).
"""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Self

from races.schedules.bench import Bench
from races.schedules.driver import Race, Taken
from races.schedules.steps import commute

Start = Callable[[], Awaitable[Race]]
Judge = Callable[[Race, str], Awaitable[None]]


@dataclass
class Node:
    """A place in a schedule. `wanted`: who is to be tried here; `sleep`, `tried`: with what each of them did."""

    enabled: tuple[str, ...]
    sleep: dict[str, Taken]
    wanted: set[str]
    chosen: str
    preempted: int
    taken: Taken | None = None
    tried: dict[str, Taken] = field(default_factory=dict)


@dataclass
class Figures:
    """`complete`: schedules of scenarios that were played completely, no two of them equal up to steps that commute.
    `bounded`: of the others. `redundant`: played to the end and judged, and equal to one that was counted. `diverged`: the
    same choices led elsewhere, below the level of statements.
    """

    scenarios: int = 0
    complete: int = 0
    bounded: int = 0
    redundant: int = 0
    diverged: int = 0
    outcomes: int = 0

    def __iadd__(self, other: Self) -> Self:
        for name in self.__dataclass_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        return self


@dataclass(frozen=True)
class Bounds:
    """After `complete` schedules nobody who could go on is made to wait more than `preemptions` times; after `bounded`
    more it is enough.
    """

    complete: int
    bounded: int
    preemptions: int = 3


class Explorer:
    """`whole_transactions`: a step is a whole transaction, or a whole call to a provider."""

    def __init__(
        self,
        bench: Bench,
        start: Start,
        judge: Judge,
        *,
        whole_transactions: bool = False,
        bounds: Bounds | None = None,
        reduced: bool = True,
    ) -> None:
        self._bench = bench
        self._start = start
        self._judge = judge
        self._whole = whole_transactions
        self._bounds = bounds
        self._reduced = reduced
        self._stack: list[Node] = []
        self.complete = True
        """Whether nothing was left out but what is equal."""
        self.schedules = 0
        self.redundant = 0
        self.diverged = 0

    async def run(self) -> None:
        while True:
            await self._play()
            if not self._next():
                return
            played = self.schedules + self.redundant
            if self._bounds is not None and played >= self._bounds.complete:
                self.complete = False
                if played >= self._bounds.complete + self._bounds.bounded:
                    return

    async def _play(self) -> None:
        race = await self._start()
        letters: list[str] = []
        changed_at = max(len(self._stack) - 1, 0)
        redundant = False
        while enabled := tuple(race.enabled()):
            depth = len(letters)
            if not redundant and depth < len(self._stack) and self._stack[depth].enabled != enabled:
                self.diverged += 1
                del self._stack[depth:]
            if not redundant and depth == len(self._stack):
                node = self._new(enabled, letters[-1] if letters else None)
                redundant = node is None
                if node is not None:
                    self._stack.append(node)
            if redundant:
                # Nothing new is down here; it is played to its end, because transactions are open.
                letters.append(enabled[0])
                await self._take(race, enabled[0])
                continue
            node = self._stack[depth]
            letters.append(node.chosen)
            node.taken = await self._take(race, node.chosen)
        self.redundant += redundant
        self.schedules += not redundant
        if self._reduced:
            self._want_reversed(changed_at)
        await self._judge(race, "".join(letters))

    async def _take(self, race: Race, letter: str) -> Taken:
        taken = await race.take(letter, self._bench.changed)
        while self._whole and race.goes_on(letter):
            taken |= await race.take(letter, self._bench.changed)
        return taken

    def _new(self, enabled: tuple[str, ...], last: str | None) -> Node | None:
        sleep: dict[str, Taken] = {}
        preempted = 0
        if self._stack:
            above = self._stack[-1]
            assert above.taken is not None
            preempted = above.preempted + self._preempts()
            if self._reduced:
                sleep = {
                    letter: taken
                    for letter, taken in (above.sleep | above.tried).items()
                    if letter != above.chosen and commute(taken.touched, above.taken.touched)
                }
        awake = [one for one in enabled if one not in sleep]
        if not awake:
            return None
        first = last if last in awake else awake[0]
        wanted = {first} if self._reduced else set(enabled)
        return Node(enabled, sleep, wanted, first, preempted)

    def _preempts(self) -> int:
        above, before = self._stack[-1], self._stack[-2].chosen if len(self._stack) > 1 else None
        return int(before is not None and before != above.chosen and before in above.enabled)

    def _preempts_too_often(self, node: Node) -> bool:
        """Whether anybody but the one who was going on would be one too many."""
        before = self._stack[-2].chosen if len(self._stack) > 1 else None
        return (
            self._bounds is not None
            and not self.complete
            and before in node.enabled
            and node.preempted >= self._bounds.preemptions
        )

    def _want_reversed(self, changed_at: int) -> None:
        """Where two steps of this schedule could come the other way round and matter to each other, try that."""
        steps = [node.taken for node in self._stack if node.taken is not None]
        before = _happens_before(steps)
        for first, then in _races(steps, before, changed_at):
            node = self._stack[first]
            without = [one for one in range(first + 1, then) if not before[one] >> first & 1] + [then]
            mask = sum(1 << one for one in without)
            initials = {steps[one].letter for one in without if not before[one] & mask}
            if initials & (node.wanted | node.sleep.keys()):
                continue
            can = initials & set(node.enabled)
            node.wanted |= {min(can)} if can else set(node.enabled)

    def _next(self) -> bool:
        """To the deepest place where something else is to be tried."""
        while self._stack:
            node = self._stack[-1]
            assert node.taken is not None
            node.tried[node.chosen] = node.taken
            rest = sorted(node.wanted - node.tried.keys() - node.sleep.keys())
            if rest and not self._preempts_too_often(node):
                node.chosen = rest[0]
                return True
            self._stack.pop()
        return False


async def play_units(bench: Bench, start: Start, units: list[str]) -> tuple[Race, str]:
    """Whole transactions, and whole calls, in this order; then whoever is left."""
    race = await start()
    letters = ""
    wanted = list(units)
    while enabled := race.enabled():
        letter = wanted.pop(0) if wanted else next(iter(enabled))
        if letter not in enabled:
            continue
        await race.take(letter, bench.changed)
        letters += letter
        while race.goes_on(letter):
            await race.take(letter, bench.changed)
            letters += letter
    return race, letters


def _happens_before(steps: list[Taken]) -> list[int]:
    """For each step, the set (as bits) of those that it must come after."""
    before: list[int] = []
    for number, step in enumerate(steps):
        bits = 0
        for earlier in range(number - 1, -1, -1):
            known = bits >> earlier & 1
            if not known and (
                step.who & steps[earlier].who or not commute(step.touched, steps[earlier].touched)
            ):
                bits |= before[earlier] | 1 << earlier
        before.append(bits)
    return before


def _races(steps: list[Taken], before: list[int], changed_at: int) -> Iterator[tuple[int, int]]:
    """Pairs of different participants in which the second comes after the first for no other reason than the first."""
    for then in range(changed_at, len(steps)):
        covered = 0
        for first in range(then - 1, -1, -1):
            if before[then] >> first & 1 and not covered >> first & 1:
                covered |= before[first]
                # Whom the first let go on could not have gone before it.
                if steps[then].letter not in steps[first].who:
                    yield first, then
