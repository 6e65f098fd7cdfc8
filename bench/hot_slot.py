# SPDX-License-Identifier: Apache-2.0
"""1,000 clients at once over HTTP: on one slot, and on 1,000 slots. One winner; how long the losers wait."""

import asyncio
import json
import multiprocessing
import statistics
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import uvloop

CLIENTS = 1000
ROUNDS = 3


def measure(address: str, key: str, event_types: list[str]) -> dict[str, float]:
    """Interleaved rounds; the clients run in a process of their own. Raises where not exactly one wins."""
    queue: multiprocessing.Queue = multiprocessing.get_context("spawn").Queue()
    clients = multiprocessing.get_context("spawn").Process(
        target=_clients, args=(queue, address, key, event_types)
    )
    clients.start()
    figures = queue.get()
    clients.join()
    return figures


def _clients(queue, address: str, key: str, event_types: list[str]) -> None:
    queue.put(uvloop.run(_rounds(address, key, event_types)))


async def _rounds(address: str, key: str, event_types: list[str]) -> dict[str, float]:
    # Far from what the other measurements book.
    day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=900)
    one, many = [], []
    for number in range(ROUNDS):
        at = day + timedelta(days=number)
        won, waited = await _burst(address, key, [(event_types[0], at)] * CLIENTS)
        assert won == 1, f"{won} of {CLIENTS} won one slot"
        one.append(waited)
        each = [
            (
                event_types[index % len(event_types)],
                at + timedelta(minutes=15 * (1 + index // len(event_types))),
            )
            for index in range(CLIENTS)
        ]
        won, waited = await _burst(address, key, each)
        assert won == CLIENTS, f"{won} of {CLIENTS} won a slot of their own"
        many.append(waited)
    p99 = [
        statistics.median(sorted(waited)[int(CLIENTS * 0.99)] for waited in kind) * 1e3
        for kind in (one, many)
    ]
    return {"one_slot_p99_ms": p99[0], "many_slots_p99_ms": p99[1], "ratio": p99[0] / p99[1]}


async def _burst(address: str, key: str, wanted: list[tuple[str, datetime]]) -> tuple[int, list[float]]:
    """How many were held, and how long each waited. Everybody is connected before anybody asks."""
    host, port = address.removeprefix("http://").split(":")
    links = [await asyncio.open_connection(host, int(port)) for _ in wanted]
    statuses: Counter[int] = Counter()

    async def ask(
        link: tuple[asyncio.StreamReader, asyncio.StreamWriter], event_type: str, at: datetime
    ) -> float:
        reader, writer = link
        body = json.dumps({"event_type": event_type, "start": at.isoformat()})
        began = time.perf_counter()
        writer.write(
            f"POST /v1/reservations HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\nconnection: close\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()
        )
        answer = await reader.read()
        statuses[int(answer[9:12])] += 1
        writer.close()
        return time.perf_counter() - began

    waited = await asyncio.gather(*(ask(link, *one) for link, one in zip(links, wanted, strict=True)))
    assert set(statuses) <= {201, 409}, statuses
    return statuses[201], waited
