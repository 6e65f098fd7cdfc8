# SPDX-License-Identifier: Apache-2.0
"""Killed at every await that leaves the process: each call to the company and each transaction, before it and after it. Another
process takes over, and the end is the same.
"""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from holdfirst.effects import checkout as opening
from holdfirst.payment.payment import Mode
from holdfirst.refusal import Refusal
from holdfirst.reservation.reservation import Status
from holdfirst.store import jobs
from holdfirst.store.database import Database
from holdfirst.worker import KINDS

from .scene import PRICE, Scene, open_scene
from .test_table import request_for


class Died(BaseException):
    """Nothing in the process lives on: no `except` catches it."""


class Fate:
    """Counts what leaves the process, and ends it at one of them."""

    def __init__(self) -> None:
        self.count, self.at, self.after = 0, -1, False

    def around(self, inner: Any) -> Any:
        async def call(*arguments: Any, **named: Any) -> Any:
            self.count += 1
            mine = self.count == self.at
            if mine and not self.after:
                raise Died
            answer = await inner(*arguments, **named)
            if mine:
                raise Died
            return answer

        return call


class Mortal:
    """The database or the company, as a process that may die sees it."""

    def __init__(self, inner: Any, fate: Fate, names: tuple[str, ...]) -> None:
        self._inner, self._fate, self._names = inner, fate, names

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        return self._fate.around(found) if name in self._names else found


CALLS = ("open_checkout", "fetch", "close", "capture", "void", "refund")


async def live(scene: Scene, held, fate: Fate, story: str) -> None:
    """One process: opens the checkout, and does what is due; the customer pays meanwhile."""
    world = scene.shop.world
    mortal = msgspec.structs.replace(
        world,
        database=Mortal(world.database, fate, ("run",)),
        providers={name: Mortal(provider, fate, CALLS) for name, provider in world.providers.items()},
    )
    answer = await opening.open_checkout(mortal, request_for(scene, held))
    assert not isinstance(answer, Refusal)
    payment = answer[1]
    if story == "sold":
        await scene.until_over(held)
        await work_as(scene, mortal)
        await scene.shop.held(held.start)
    scene.company.pay(payment.provider_ref, late=story == "sold")
    await scene.notify(payment)
    await work_as(scene, mortal)


async def work_as(scene: Scene, mortal: Any) -> None:
    """A worker's rounds; what it holds when it dies stays leased, as with a kill."""
    for _ in range(12):
        claimed = await scene.shop.database.run(jobs.claim, list(KINDS), timedelta(seconds=60), 1)
        if not claimed:
            return
        again = await KINDS[claimed[0].kind].run(mortal, claimed[0].subject)
        if again is None:
            await scene.shop.database.run(jobs.finish, claimed[0])
        else:
            await scene.shop.database.run(jobs.snooze, claimed[0], again)


async def another_process(scene: Scene, held, story: str) -> None:
    """Starts after the death, and is told nothing; the customer pays if they had not yet."""
    await scene.restart()
    if await scene.status(held) is Status.HELD:
        payment = await scene.shop.try_checkout(held)
        money = None if isinstance(payment, Refusal) else scene.money(payment)
        if money is not None and money.held == money.captured == 0:
            if story == "sold":
                await scene.until_over(held)
                await scene.work()
                await scene.shop.reserve(held.start)
            scene.company.pay(payment.provider_ref, late=story == "sold")
            await scene.notify(payment)
    for _ in range(3):
        await scene.restart()
        await scene.pass_time(61)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("story", ["kept", "sold"])
@pytest.mark.parametrize("mode", list(Mode), ids=str)
async def test_the_end_is_the_same(database: Database, clock, mode: Mode, story: str, after: bool) -> None:
    async with open_scene(database, clock, mode) as scene:
        fate = Fate()
        await live(scene, await scene.shop.held(), fate, story)
        points = fate.count
        assert points >= 6
        for point in range(1, points + 1):
            held = await scene.shop.held(scene.shop.slot(hour=point % 24, day=10 + point // 24))
            fate = Fate()
            fate.at, fate.after = point, after
            with pytest.raises(Died):
                await live(scene, held, fate, story)
            await another_process(scene, held, story)
            await at_rest(scene, held, story, point)


async def at_rest(scene: Scene, held, story: str, point: int) -> None:
    reservation = await scene.shop.read(held.id)
    where = (scene.mode, story, point, reservation.status)
    async with scene.shop.database.statement() as tx:
        refs = await tx.rows("select provider_ref from payment where reservation_id = $1", held.id)
    monies = [scene.company.money(row["provider_ref"]) for row in refs if row["provider_ref"]]
    charged = sum(one.charged for one in monies)
    assert sum(one.held for one in monies) == 0, where
    if reservation.status is Status.CONFIRMED:
        assert charged == PRICE, where
    else:
        assert charged == 0, where
        assert story == "sold", where
