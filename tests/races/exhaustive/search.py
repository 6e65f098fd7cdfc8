# SPDX-License-Identifier: Apache-2.0
"""Breadth first through every state that a scenario can reach, until there is none left.

A state is the clock and the clients, as a sorted tuple of numbers: clients who want the same slot are the same but for
their names (a client's slot is part of it), so sorting loses nothing. A violated promise ends the search; breadth first makes its path one of the shortest.
"""

import time
from array import array
from collections.abc import Iterator
from typing import Any, NamedTuple

from races.exhaustive import promises
from races.exhaustive.client import Client, View, key_of, plain_reservation, view_of
from races.exhaustive.moves import Happened, LooksAround, Moves
from races.exhaustive.scenario import Scenario

State = tuple[int, ...]
"""The clock, then the clients' numbers in ascending order."""


class Figures(NamedTuple):
    scenario: str
    states: int
    transitions: int
    depth: int
    seconds: float

    def line(self) -> str:
        return (
            f"{self.scenario}: {self.states:,} states, {self.transitions:,} transitions, depth {self.depth},"
            f" {self.seconds:.1f} s, complete"
        )


class Violation(Exception):
    """A promise, and the shortest way to break it."""

    def __init__(self, scenario: str, promise: str, schedule: list[str]) -> None:
        super().__init__(promise)
        self.promise, self.schedule = promise, schedule
        steps = "\n".join(f"  {number:2} {step}" for number, step in enumerate(schedule, start=1))
        self.text = f"{scenario}: {promise}\n{steps}"

    def __str__(self) -> str:
        return self.text


class NotKept(Exception):
    """Found while the successors of a state were made."""

    def __init__(self, promise: str, label: str) -> None:
        super().__init__(promise)
        self.promise, self.label = promise, label


class Outcome(NamedTuple):
    label: str
    after: int
    others: tuple[int | None, ...]


class Search:
    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.moves = Moves(scenario)
        self.clients: list[Client] = []
        self._numbers: dict[bytes, int] = {}
        self._views: list[View | None] = []
        self._view_numbers: dict[bytes, int] = {}
        self._view_of: list[int] = []
        self._alone: dict[tuple[int, int], tuple[list[Outcome], list[tuple[Any, ...]]]] = {}
        self._among: dict[tuple[Any, ...], tuple[list[Outcome], list[Any]]] = {}
        self._taken: dict[tuple[int, int], Any] = {}

    # Numbers

    def number_of(self, client: Client) -> int:
        key = key_of(client)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self.clients)
            self.clients.append(client)
            view = view_of(client)
            seen = key_of(view)
            if seen not in self._view_numbers:
                self._view_numbers[seen] = len(self._views)
                self._views.append(view)
            self._view_of.append(self._view_numbers[seen])
        return number

    # Successors

    def successors(self, state: State) -> Iterator[tuple[str, int, State]]:
        """What happens, to which of the state's clients, and what then is (not sorted)."""
        clock = state[0]
        if clock < self.scenario.ticks:
            yield f"the clock: tick {clock + 1}", -1, (clock + 1, *state[1:])
        for place in range(1, len(state)):
            yield from self.of_client(state, place)

    def of_client(self, state: State, place: int) -> Iterator[tuple[str, int, State]]:
        clock, number = state[0], state[place]
        known = self._alone.get((clock, number))
        if known is None:
            known = self._alone[clock, number] = self._compute_alone(clock, number)
        outcomes, looking = known
        before, behind = state[:place], state[place + 1 :]
        for outcome in outcomes:
            yield outcome.label, place, (*before, outcome.after, *behind)
        for move in looking:
            others = [other for at, other in enumerate(state) if at not in (0, place)]
            key = (clock, number, move, *(self._view_of[other] for other in others))
            found = self._among.get(key)
            if found is None:
                found = self._among[key] = self._compute_among(clock, number, move, others)
            for outcome, changes in zip(*found, strict=True):
                if changes is None:
                    yield outcome.label, place, (*before, outcome.after, *behind)
                    continue
                after = list(others)
                for at, row in enumerate(changes):
                    if row is not None:
                        ended = self.clients[after[at]]._replace(reservation=row, claim=None)
                        after[at] = self.number_of(ended)
                after.insert(place - 1, outcome.after)
                yield outcome.label, place, (clock, *after)

    def _compute_alone(self, clock: int, number: int) -> tuple[list[Outcome], list[tuple[Any, ...]]]:
        client, now = self.clients[number], self.scenario.at(clock)
        if promises.resting(client, now):
            for promise in promises.at_rest(client):
                raise NotKept(promise, "at rest")
        outcomes: dict[int, Outcome] = {}
        looking = []
        for move in self.moves.names(client):
            try:
                happened = self.moves.happen(clock, client, move, None)
            except LooksAround:
                looking.append(move)
                continue
            for one in happened:
                after = self._checked(client, one, clock)
                if after != number:
                    outcomes.setdefault(after, Outcome(one.label, after, ()))
        return list(outcomes.values()), looking

    def _compute_among(
        self, clock: int, number: int, move: tuple[Any, ...], others: list[int]
    ) -> tuple[list[Outcome], list[Any]]:
        client, now = self.clients[number], self.scenario.at(clock)
        views = [self._views[self._view_of[other]] for other in others]
        outcomes, changes = [], []
        for one in self.moves.happen(clock, client, move, views):
            after = self._checked(client, one, clock)
            if move == ("reserve",) and one.answer == "taken":
                self._check_refusal(client, views, clock, one.label)
            ended = False
            for view, row in zip(views, one.others, strict=False):
                if row is not None and view is not None:
                    ended = True
                    for promise in promises.of_end(view.reservation, row, now):
                        raise NotKept(promise, one.label)
            if after != number or ended:
                plain = tuple(row and plain_reservation(row) for row in one.others)
                outcomes.append(Outcome(one.label, after, ()))
                changes.append(plain if ended else None)
        return outcomes, changes

    def _check_refusal(self, client: Client, views: list[View | None], clock: int, label: str) -> None:
        """P4: time is refused only where somebody has it."""
        start, now = self.scenario.start_of(client.slot), self.scenario.at(clock)
        rows = [view.reservation for view in views if view is not None]
        hour = self.scenario.rules().duration
        if not any(promises.live(row, now) and row.start < start + hour and start < row.end for row in rows):
            raise NotKept("P4: free time was refused", label)

    def _checked(self, before: Client, done: Happened, clock: int) -> int:
        for promise in promises.of_move(before, done, self.scenario.at(clock)):
            raise NotKept(promise, done.label)
        return self.number_of(done.after)

    def broken_together(self, state: State) -> str | None:
        """P1, of all who are there."""
        clock = state[0]
        taken = []
        for number in state[1:]:
            known = self._taken.get((clock, number), 0)
            if known == 0:
                known = promises.taken_by(self.clients[number], self.scenario.at(clock))
                self._taken[clock, number] = known
            if known is not None:
                taken.append(known)
        return promises.of_all(taken, self.scenario.seats) if len(taken) > 1 else None

    # The search

    def run(self) -> Figures:
        """All states, or `Violation`."""
        began = time.process_time()
        first = self.first()
        seen = {first: 0}
        order: list[State] = [first]
        parents = array("q", [-1])
        transitions = depth = at = 0
        level_ends = 1
        while at < len(order):
            if at == level_ends:
                depth, level_ends = depth + 1, len(order)
            state = order[at]
            try:
                for label, _, raw in self.successors(state):
                    transitions += 1
                    after = (raw[0], *sorted(raw[1:]))
                    if after in seen:
                        continue
                    seen[after] = len(order)
                    order.append(after)
                    parents.append(at)
                    if (broken := self.broken_together(after)) is not None:
                        raise NotKept(broken, label)  # noqa: TRY301
            except NotKept as broken:
                path = self._schedule(order, parents, at)
                raise Violation(self.scenario.name, broken.promise, [*path, broken.label]) from None
            at += 1
        return Figures(self.scenario.name, len(order), transitions, depth, time.process_time() - began)

    def first(self) -> State:
        return (0, *sorted(self.number_of(Client(slot)) for slot in self.scenario.slots))

    def _schedule(self, order: list[State], parents: "array[int]", at: int) -> list[str]:
        """The steps from the beginning, with the clients by name: replayed, so it is what does happen."""
        way = []
        while at >= 0:
            way.append(order[at])
            at = parents[at]
        way.reverse()
        concrete, steps = way[0], []
        for wanted in way[1:]:
            for label, place, raw in self.successors(concrete):
                if (raw[0], *sorted(raw[1:])) == wanted:
                    who = f"client {'ABCDE'[place - 1]}: " if place > 0 else ""
                    steps.append(f"{who}{label}")
                    concrete = raw
                    break
            else:
                raise AssertionError("a step of the path cannot be taken again")
        return steps
