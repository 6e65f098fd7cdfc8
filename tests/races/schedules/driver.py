# SPDX-License-Identifier: Apache-2.0
"""One race on real PostgreSQL: lets one participant take one step, and knows when everybody stands still again.

Who waits is what the server says, never a guess: a participant stands at one of our gates, or at a stop in a function
(which it says in a notice), or waits (`pg_locks`) for a lock of another participant, who stands still; so it cannot go on
by itself.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from races.schedules.gates import Participant
from races.schedules.steps import Step, Touched, commute, segment

TICK = "t"
LISTEN_SECONDS = (0.0005, 0.005)
"""How long the driver listens before it asks the server who waits: where somebody else has what is wanted, and where nobody
seems to. Decides nothing: it only saves questions.
"""
STUCK_SECONDS = 20.0

PASS = "select pg_advisory_lock($1::int, 1 - $2::int), pg_advisory_unlock($1::int, $2::int)"
# Not at a stop: that is heard.
WAITING = """
select pid from pg_locks
where not granted and pid = any($1) and not (locktype = 'advisory' and classid = any($2::int[]::oid[]) and objsubid = 2)
"""


class Stuck(AssertionError):
    """Nobody stands at a gate and nothing happens: the driver, or the database, is not understood."""


@dataclass(frozen=True)
class Taken:
    """One step: whose, with those whom it let go on, and everything that it touched."""

    letter: str
    who: frozenset[str]
    touched: Touched

    def __or__(self, other: "Taken") -> "Taken":
        return Taken(self.letter, self.who | other.who, self.touched | other.touched)


class Race:
    """Participants on their way. `take` is one step of one of them."""

    def __init__(self, control: "asyncpg.Connection[Any]", participants: Sequence[Participant]) -> None:
        self._control = control
        self.participants = {one.letter: one for one in participants}
        self.taken: list[tuple[str, str]] = []
        self.units: list[str] = []
        """Whose transaction, or call, came to its end, in this order."""
        self.deadlocked = False
        self.one_by_one = True
        """Whether nobody did anything while another one was in the midst of something; a tick may, where nothing that the
        other one had done by then asked for the time: it might as well have come before.
        """
        self._begun: dict[str, Touched] = {}

    def enabled(self) -> dict[str, str]:
        """Who may take a step now, and which."""
        return {
            letter: one.gate if one.gate is not None else one.pending.label  # type: ignore[union-attr]
            for letter, one in self.participants.items()
            if one.can_go
        }

    async def take(self, letter: str, changed: asyncio.Event) -> Taken:
        """One step of this participant, and nobody else's."""
        one = self.participants[letter]
        self.taken.append((letter, self.enabled()[letter]))
        changed.clear()
        step = one.pending if one.gate is None else one.inside
        assert step is not None
        touched = step.touched if one.gate is None else segment(one.gate)
        waited = self._look_again() if step.alone or touched.made_known else []
        if one.gate is None:
            one.let_go()
        else:
            one.gate = None
            await self._control.execute(PASS, one.number, one.turn)
        between = [done for other, done in self._begun.items() if other != letter]
        if between and not (letter == TICK and all(commute(touched, done) for done in between)):
            self.one_by_one = False
        self._begun[letter] = self._begun.get(letter, Touched()) | touched
        await self.settle(changed)
        self._note_ends(letter)
        gone_on = [(other, inside) for other, inside in waited if not other.waits]
        for _, inside in gone_on:
            touched |= inside.whole or inside.touched
        for other, inside in ((one, step), *gone_on):
            if inside.alone and inside.whole is not None and other.inside is not inside:
                touched |= Touched(made_known=inside.whole.locks)
        return Taken(letter, frozenset({letter, *(other.letter for other, _ in gone_on)}), touched)

    def _note_ends(self, letter: str) -> None:
        for one in sorted(self._begun, key=lambda other: other != letter):
            if not self.goes_on(one) and not self.participants[one].waits:
                del self._begun[one]
                self.units.append(one)

    def _look_again(self) -> list[tuple[Participant, Step]]:
        """Whoever waits may go on after this step; with what they wait in."""
        waited = []
        for one in self.participants.values():
            if one.waits and one.inside is not None:
                one.waits = False
                waited.append((one, one.inside))
        return waited

    async def settle(self, changed: asyncio.Event) -> None:
        """Return when everybody stands still."""
        loop = asyncio.get_running_loop()
        until = loop.time() + STUCK_SECONDS
        while moving := self._moving():
            enough = loop.call_later(LISTEN_SECONDS[not self._may_wait(moving)], changed.set)
            await changed.wait()
            enough.cancel()
            changed.clear()
            if not (moving := self._moving()):
                return
            await self._ask(moving)
            if not self._moving() and self._all_wait():
                # A deadlock: the server ends it by itself, and says so to one of them.
                self.deadlocked = True
                for one in self.participants.values():
                    one.waits = False
                await asyncio.sleep(0.002)
            if loop.time() > until:
                raise Stuck(f"nobody moves after {self.taken}")

    def _may_wait(self, moving: Sequence[Participant]) -> bool:
        """Whether somebody who is in the midst of something has what one of these wants."""
        return any(
            not commute(one.inside.whole or one.inside.touched, has)
            for one in moving
            if one.inside is not None
            for other, has in self._begun.items()
            if other != one.letter
        )

    def _moving(self) -> list[Participant]:
        return [
            one
            for one in self.participants.values()
            if not (one.finished or one.waits or one.gate is not None or one.pending is not None)
        ]

    def _all_wait(self) -> bool:
        alive = [one for one in self.participants.values() if not one.finished]
        return bool(alive) and all(one.waits for one in alive)

    async def _ask(self, moving: Sequence[Participant]) -> None:
        rows = await self._control.fetch(
            WAITING, [one.pid for one in moving if one.pid], [one.number for one in moving]
        )
        waiting = {row["pid"] for row in rows}
        if all(one.pid in waiting for one in moving):
            for one in moving:
                one.waits = True
        # Else somebody runs (or has run since we asked), and may let go whom the others wait for.

    def goes_on(self, letter: str) -> bool:
        """Whether this participant is in the midst of a transaction, and can go on."""
        one = self.participants[letter]
        return one.can_go and (one.gate is not None or (one.pending is not None and not one.pending.opens))
