# SPDX-License-Identifier: Apache-2.0
"""The least that a server in Python could do for a reserve over HTTP: what is left of the floor before any work of ours.

`python bench/least.py URL insert|claim` serves: uvicorn without a framework, the body decoded, what arrives together in one
call, a fixed answer. `insert`: the rows of a reserve in one plain statement, nothing checked. `claim`: our claim, by items
that are made without looking at the request. No key, no rules, no price, no counters, no log.
"""

import contextlib
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import uvicorn

import lateness
import store as store_bench
from holdfirst.store.database import Database, Tx
from holdfirst.store.reservations import key_of, reserve
from holdfirst.store.together import Together
from plain import PLAIN

ANSWER = b'{"id":"' + b"x" * 700 + b'"}'
"""About as long as what a reserve is answered."""
START = {
    "type": "http.response.start",
    "status": 201,
    "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(ANSWER)).encode())],
}
BODY = {"type": "http.response.body", "body": ANSWER}


class Wish(msgspec.Struct):
    event_type: str
    start: str
    customer: dict[str, str]


async def insert(tx: Tx, items: Sequence[dict]) -> list[None]:
    await tx.execute(PLAIN, msgspec.json.encode(items).decode())
    return [None] * len(items)


class Least:
    """An ASGI application."""

    def __init__(self, url: str, how: str) -> None:
        self._database = Database(url)
        self._together = Together(self._database, insert if how == "insert" else reserve, key_of)
        self._decoder = msgspec.json.Decoder(Wish)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await self._database.open()
            account = lateness.account()
            self._slots = store_bench.Slots(account, await store_bench.prepare(self._database, account))
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await self._database.close()
            await send({"type": "lifespan.shutdown.complete"})
            return
        body = b""
        while True:
            message = await receive()
            body += message["body"]
            if not message["more_body"]:
                break
        self._decoder.decode(body)
        await self._together.ask(self._slots.item())
        await send(START)
        await send(BODY)


@contextlib.contextmanager
def app(url: str, how: str) -> Iterator[tuple[str, int]]:
    """(address, pid) of one such server in a process of its own."""
    serving = subprocess.Popen([sys.executable, __file__, url, how], stdout=subprocess.PIPE, text=True)
    try:
        yield re.search(r"listening on (\S+)", serving.stdout.readline())[1], serving.pid
    finally:
        serving.terminate()
        serving.wait()


def main() -> None:
    listening = socket.create_server(("127.0.0.1", 0), backlog=2048)
    server = uvicorn.Server(
        uvicorn.Config(Least(*sys.argv[1:]), loop="uvloop", http="httptools", log_level="critical")
    )
    print(f"listening on http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
    server.run([listening])


if __name__ == "__main__":
    main()
