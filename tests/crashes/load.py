# SPDX-License-Identifier: Apache-2.0
"""Many clients on a few slots at a time, who write down what they asked and what they were told.

`python -m crashes.load FILE` with a `Plan` as JSON on the first line of stdin; on the line `sweep` it stops once it has
enough, asks about every reservation once more, and writes the history, an operation a line.
"""

import asyncio
import contextlib
import json
import random
import sys
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from crashes.history import Op

ANSWER_SECONDS = 30
INSIST_SECONDS = 90
WEIGHTS = {"read": 48, "reserve": 26, "release": 19, "confirm": 4, "cancel": 3}


class Plan(msgspec.Struct):
    """`groups` of clients are at one slot each at any time, and stay for `stay` operations each."""

    urls: list[str]
    secret: str
    event_types: list[str]
    operations: int
    seed: int
    groups: int = 12
    clients: int = 4
    stay: int = 6
    hold_seconds: int = 900
    address: str | None = None


class Wrong(msgspec.Struct):
    """An answer that no client should ever see."""

    path: str
    status: int
    body: str


class Client:
    """One keep-alive connection, to whichever server answers; asks again until it is answered."""

    def __init__(self, urls: list[str], key: str, counts: Counter[str], wrong: list[Wrong]) -> None:
        self._places = [(urlsplit(url).hostname or "", urlsplit(url).port or 80) for url in urls]
        self._key = key
        self._counts = counts
        self._wrong = wrong
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.slowest = 0.0
        self.last_asked = 0.0
        self.unanswered = 0
        """Of the last request: when it was sent for the last time, and how often nobody can say what became of it."""

    async def ask(
        self, method: str, path: str, body: Any = None, key: str | None = None, *, insist: bool = True
    ) -> tuple[int, dict[str, Any]] | None:
        """(status, body); None: no answer, and nobody knows what became of it."""
        give_up = time.monotonic() + INSIST_SECONDS
        self.unanswered = 0
        while True:
            began = self.last_asked = time.monotonic()
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    status, headers, raw = await self._once(method, path, body, key)
            except (OSError, EOFError, TimeoutError, asyncio.IncompleteReadError) as error:
                self._counts[f"no answer ({type(error).__name__})"] += 1
                self.close()
            else:
                self.slowest = max(self.slowest, time.monotonic() - began)
                told = json.loads(raw) if raw else {}
                busy = status == 409 and told.get("code") == "idempotency_in_progress"
                if status < 500 and not busy:
                    return status, told
                self._counts[f"{status} {told.get('code')}"] += 1
                if (status != 503 and not busy) or "retry-after" not in headers:
                    self._wrong.append(Wrong(f"{method} {path}", status, raw.decode()[:500]))
                    return None
            self.unanswered += 1
            if not insist or time.monotonic() > give_up:
                return None
            await asyncio.sleep(0.05)

    async def _once(
        self, method: str, path: str, body: Any, key: str | None
    ) -> tuple[int, dict[str, str], bytes]:
        reader, writer = await self._connected()
        content = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", "host: x", f"authorization: Bearer {self._key}"]
        if body is not None:
            lines += ["content-type: application/json"]
        if key is not None:
            lines += [f"idempotency-key: {key}"]
        lines += [f"content-length: {len(content)}", "", ""]
        writer.write("\r\n".join(lines).encode() + content)
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
        raw = await reader.readexactly(int(headers.get("content-length", 0)))
        if headers.get("connection") == "close":
            self.close()
        return int(head[0].split()[1]), headers, raw

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None:
            # The next one, where there are several: whoever has lost its server goes elsewhere.
            self._places.append(self._places.pop(0))
            self._streams = await asyncio.open_connection(*self._places[-1])
        return self._streams

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None


REFUSED = {
    "slot_taken": "taken",
    "already_released": "already_released",
    "already_confirmed": "already_confirmed",
    "already_cancelled": "already_cancelled",
    "not_confirmed": "not_confirmed",
}


class Run:
    """One run of a plan: its clients, their operations, and what went wrong."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.chance = random.Random(plan.seed)
        self.ops: list[Op] = []
        self.counts: Counter[str] = Counter()
        self.wrong: list[Wrong] = []
        self.made: dict[str, str] = {}
        self.clients: list[Client] = []
        self._first = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        self._slots = self._next_slots()

    async def until(self, enough: Callable[[], bool]) -> None:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self.plan.groups):
                tasks.create_task(self._group(enough))

    def _next_slots(self) -> Any:
        for number in range(10_000_000):
            event_type = self.plan.event_types[number % len(self.plan.event_types)]
            hours = 24 * 2 + number // len(self.plan.event_types)
            yield event_type, (self._first + timedelta(hours=hours)).isoformat()

    async def _group(self, enough: Callable[[], bool]) -> None:
        clients = [self.client() for _ in range(self.plan.clients)]
        while not enough():
            event_type, start = next(self._slots)
            known: list[str] = []
            await asyncio.gather(*(self._stay(client, event_type, start, known) for client in clients))
        for client in clients:
            client.close()

    def client(self) -> Client:
        client = Client(self.plan.urls, self.plan.secret, self.counts, self.wrong)
        self.clients.append(client)
        return client

    async def _stay(self, client: Client, event_type: str, start: str, known: list[str]) -> None:
        slot = f"{event_type}@{start}"
        for _ in range(self.plan.stay):
            verb = self.chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0] if known else "reserve"
            about = self.chance.choice(known) if verb != "reserve" else None
            await self.one(client, slot, verb, about, known)

    async def one(
        self, client: Client, slot: str, verb: str, about: str | None, known: list[str] | None = None
    ) -> None:
        """One operation; what made a reservation, or was never answered, is kept as that."""
        event_type, start = slot.split("@")
        invoked = time.monotonic()
        if verb == "reserve":
            body = {"event_type": event_type, "start": start, "hold_seconds": self.plan.hold_seconds}
            body |= {"customer": {"name": "Ada", "email": "ada@example.org"}}
            answer = await client.ask("POST", "/v1/reservations", body, uuid.uuid4().hex)
        elif verb == "read":
            answer = await client.ask("GET", f"/v1/reservations/{about}")
        else:
            answer = await client.ask("POST", f"/v1/reservations/{about}/{verb}", {})
        returned = time.monotonic()
        if answer is None:
            if verb != "read":
                self.ops.append(Op(slot, verb, about, invoked, None, None))
            return
        status, told = answer
        outcome = REFUSED.get(told.get("code", "")) if status >= 400 else "done"
        if verb == "reserve" and status == 201:
            about, outcome = told["id"], "held"
            self.made[told["id"]] = slot
            if known is not None:
                known.append(told["id"])
        elif verb == "read" and status == 200:
            outcome = told["status"]
        if outcome is None:
            self.wrong.append(Wrong(f"{verb} {about}", status, json.dumps(told)[:500]))
            return
        if client.unanswered and verb != "read" and outcome != "held":
            # Each time it was sent is an operation of its own; what is done twice is done once.
            self.ops.append(Op(slot, verb, about, invoked, None, None))
            invoked = client.last_asked
        self.ops.append(Op(slot, verb, about, invoked, returned, outcome))

    async def sweep(self) -> None:
        """When all is quiet: how does everything stand that anybody was ever told of?"""
        waiting = list(self.made.items())

        async def work() -> None:
            client = self.client()
            while waiting:
                reservation, slot = waiting.pop()
                await self.one(client, slot, "read", reservation)
            client.close()

        await asyncio.gather(*(work() for _ in range(16)))


async def _lines() -> AsyncIterator[str]:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while line := await reader.readline():
        yield line.decode().strip()


async def _main(path: str) -> None:
    lines = _lines()
    run = Run(msgspec.json.decode(await anext(lines), type=Plan))
    told_to_end = asyncio.Event()

    async def listen() -> None:
        async for _ in lines:
            told_to_end.set()

    async def tell() -> None:
        while True:
            await asyncio.sleep(0.2)
            print(json.dumps({"operations": len(run.ops)}), flush=True)

    listening, telling = asyncio.create_task(listen()), asyncio.create_task(tell())
    began = time.monotonic()
    # The sweep asks once more about each.
    await run.until(lambda: told_to_end.is_set() and len(run.ops) + len(run.made) >= run.plan.operations)
    seconds = time.monotonic() - began
    telling.cancel()
    await run.sweep()
    listening.cancel()
    with Path(path).open("wb") as file:  # noqa: ASYNC230  # nothing else runs any more
        file.writelines(msgspec.json.encode(op) + b"\n" for op in run.ops)
    slowest = max(client.slowest for client in run.clients)
    figures = {"seconds": seconds, "counts": run.counts, "slowest": slowest, "operations": len(run.ops)}
    print(json.dumps(figures | {"wrong": [msgspec.to_builtins(one) for one in run.wrong]}), flush=True)


if __name__ == "__main__":
    with contextlib.suppress(ImportError):
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(_main(sys.argv[1]))
