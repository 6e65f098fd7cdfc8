# SPDX-License-Identifier: Apache-2.0
"""A server that dies at its k-th await, by SIGKILL: forked from a process that has imported everything.

`python -m crashes.victim URL DATA_DIR` reads an order a line and answers a line. An order is a request to the real
application, a worker's work, or what an operator does, and where to die. "Await" means: the event loop takes over. Nothing that others can see
happens between two of them.
"""

import asyncio
import gc
import json
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import AsyncGeneratorType
from typing import Any, TypeAlias

import httpx

import holdfirst
from crashes.deeds import DEEDS, START
from crashes.outside import PUBLIC, SETTINGS, move_in
from holdfirst import wiring
from holdfirst.logs import set_up_logs
from holdfirst.providers import ics
from holdfirst.settings import Settings
from holdfirst.store import jobs
from holdfirst.store.database import Tx
from holdfirst.store.doorbell import Doorbell
from holdfirst.worker import KINDS, Worker
from house import URL, House

SOURCE = str(Path(holdfirst.__file__).parent) + os.sep
FLOWS_AND_EFFECTS = ("flows/", "effects/")
Place: TypeAlias = tuple[str, int, int]
"""Of an `await`: its file, line and column."""


class Dying:
    """Counts the awaits of our own coroutines, and kills this process at one of them.

    `at`: at which; or (`None`) at the first that stands at a place of a flow or an effect that is not in `spared`.
    `answered`: when the first that comes of what was awaited is there, and before anything is made of it. Else as soon as
    it is asked for. `each`: one `await` of ours may go to the event loop many times, in the driver; each counts, or all
    of them as one.
    """

    def __init__(
        self,
        at: int | None,
        say: Callable[[dict[str, Any]], None],
        *,
        spared: frozenset[Place] = frozenset(),
        answered: bool,
        each: bool,
    ) -> None:
        self._at = at
        self._say = say
        self._spared = spared
        self._answered = answered
        self._each = each
        self._count = 0
        self._doomed: list[Place] = []
        self.stood_at: set[Place] = set()

    def task(self, loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **named: Any) -> Any:
        """A task factory."""
        return asyncio.Task(self._stepped(coro), loop=loop, **named)

    async def _stepped(self, coro: Coroutine[Any, Any, Any]) -> Any:
        return await _Steps(self, coro)

    def suspended(self, coro: Any, before: list[Place]) -> list[Place]:
        """Where it stands; counted, unless it stands where it stood before."""
        places = awaits_of(coro)
        if places and (self._each or places != before):
            self._count += 1
            self.stood_at.update(places)
            if not self._doomed and self._dies_at(places):
                self._doomed = places
                if not self._answered:
                    self._die()
        return places

    def _dies_at(self, places: list[Place]) -> bool:
        if self._at is not None:
            return self._count == self._at
        return any(one not in self._spared and one[0].startswith(FLOWS_AND_EFFECTS) for one in places)

    def resumed(self, places: list[Place]) -> None:
        if places and self._doomed:
            self._die()

    def _die(self) -> None:
        self._say({"died_at": self._doomed})
        os.kill(os.getpid(), signal.SIGKILL)


class _Steps:
    """Steps a coroutine by hand, and tells of each await."""

    def __init__(self, dying: Dying, coro: Any) -> None:
        self._dying = dying
        self._coro = coro

    def __await__(self) -> Any:
        coro, error = self._coro, None
        places: list[Place] = []
        while True:
            try:
                waits_for = coro.send(None) if error is None else coro.throw(error)
            except StopIteration as end:
                return end.value
            places = self._dying.suspended(coro, places)
            error = None
            try:
                yield waits_for
            except GeneratorExit:
                coro.close()
                raise
            except BaseException as raised:
                error = raised
            self._dying.resumed(places)


def awaits_of(coro: Any) -> list[Place]:
    """Every `await` of ours that this coroutine stands at, from the outside in; also in what begins and ends an `async with`."""
    found = []
    while coro is not None:
        frame = getattr(coro, "cr_frame", None) or getattr(coro, "ag_frame", None)
        if frame is not None and frame.f_code.co_filename.startswith(SOURCE):
            position = list(frame.f_code.co_positions())[frame.f_lasti // 2]
            found.append((frame.f_code.co_filename.removeprefix(SOURCE), position[0] or 0, position[2] or 0))
        coro = getattr(coro, "cr_await", None) or getattr(coro, "ag_await", None) or _generator_of(coro)
    return found


def _generator_of(step: Any) -> Any:
    """What stands between a coroutine and an asynchronous generator tells only the collector which one that is."""
    if type(step).__name__ not in ("async_generator_asend", "async_generator_athrow"):
        return None
    return next(one for one in gc.get_referents(step) if isinstance(one, AsyncGeneratorType))


async def _request(parts: wiring.Parts, order: dict[str, Any]) -> dict[str, Any]:
    transport = httpx.ASGITransport(app=wiring.web_app(parts, asyncio.Event()))
    async with httpx.AsyncClient(transport=transport, base_url=URL, timeout=30) as http:
        house = House(parts, http)
        answer = await house.call(
            order["method"], order["path"], order["body"], order["key"], **order["headers"]
        )
    return {"status": answer.status_code, "body": answer.text}


async def work_to_rest(worker: Worker, parts: wiring.Parts) -> None:
    """A worker's own start and rounds, until nothing is due."""
    await worker._take_over()
    while await parts.world.database.run(due):
        await worker.start_due()
        if worker._running:
            await asyncio.wait(worker._running)


async def due(tx: Tx) -> bool:
    seconds = await jobs.seconds_to_next(tx, [*KINDS, "tell", "deliver"])
    return seconds is not None and seconds <= 0


async def _act(url: str, settings: Settings, order: dict[str, Any], say: Callable[..., None]) -> None:
    loop = asyncio.get_running_loop()
    spared = frozenset((file, line, column) for file, line, column in order["spared"])
    dying = Dying(order["die_at"], say, spared=spared, answered=order["answered"], each=order["each"])
    if order["deed"] == START:
        loop.set_task_factory(dying.task)
        await loop.create_task(_start(url, settings))
        _end(dying, say, {})
    async with wiring.open_parts(settings, url, PUBLIC) as parts:
        move_in(parts.world, order["addresses"])
        for before in order["before"]:
            await _request(parts, before)
        loop.set_task_factory(dying.task)
        told: dict[str, Any] = {}
        if order["path"]:
            told = await loop.create_task(_request(parts, order))
        elif order["deed"]:
            await loop.create_task(_do(parts, order["deed"]))
        else:
            await loop.create_task(work_to_rest(wiring.worker(parts), parts))
        _end(dying, say, told)


async def _start(url: str, settings: Settings) -> None:
    async with wiring.open_parts(settings, url, PUBLIC):
        pass


async def _do(parts: wiring.Parts, deed: str) -> None:
    await DEEDS[deed](parts)


def _end(dying: Dying, say: Callable[..., None], told: dict[str, Any]) -> None:
    say({"died_at": None, "stood_at": sorted(dying.stood_at), "answer": told})
    os._exit(0)


def _fork(url: str, settings: Settings, order: dict[str, Any]) -> dict[str, Any]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            asyncio.run(_act(url, settings, order, lambda told: os.write(writing, json.dumps(told).encode())))
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as said:
        text = said.read()
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    if not text or not (killed or (os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0)):
        return {"broken": f"status {status}, {text}"}
    return json.loads(text)


async def _warm_up(url: str, settings: Settings) -> None:
    """What is imported and worked out at a first use, once and not in every child."""
    order = {"method": "GET", "path": "/healthz", "body": None, "key": None, "headers": {}}
    async with wiring.open_parts(settings, url, PUBLIC) as parts:
        await _request(parts, order)
    gc.freeze()
    # However young a copy of a feed is, its publisher is asked for another.
    ics.FRESH_SECONDS = 0.0
    # It only wakes others sooner, on a connection of its own.
    Doorbell.run = _never  # type: ignore[method-assign]


async def _never(_: Doorbell) -> None:
    await asyncio.Event().wait()


def main() -> None:
    set_up_logs()
    url, data_dir = sys.argv[1:]
    settings = Settings(data_dir=Path(data_dir), sandbox=True, **SETTINGS)
    asyncio.run(_warm_up(url, settings))
    for line in sys.stdin:
        print(json.dumps(_fork(url, settings, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
