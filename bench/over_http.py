# SPDX-License-Identifier: Apache-2.0
"""Reserve over HTTP, one application process, as many clients as the floor has; and what an answer costs.

The client is a few lines on asyncio streams with keep-alive, in a process of its own: a general HTTP client would
cost more than the server that it measures.
"""

import asyncio
import contextlib
import json
import multiprocessing
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import uvloop

from ground import CLIENTS, SECONDS

HOSTS = 200
REQUESTS_MAX = 40_000
"""A second, per run: more than any server here has answered."""


@contextlib.contextmanager
def app(url: str, folder: Path) -> Iterator[tuple[str, int, str]]:
    """(address, pid, secret key) of one `holdfirst serve` on this database."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HOLDFIRST_")}
    environment |= {
        "HOLDFIRST_DATABASE_URL": url,
        "HOLDFIRST_DATA_DIR": str(folder / "app"),
        "HOLDFIRST_SANDBOX": "1",
    }
    run = [sys.executable, "-m", "holdfirst"]
    subprocess.run([*run, "migrate"], env=environment, check=True, capture_output=True)
    key = subprocess.run(
        [*run, "keys", "create", "--kind", "secret"],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    serving = subprocess.Popen(
        [*run, "serve", "--port", "0"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        address = re.search(r"listening on (\S+)", serving.stdout.readline())[1]
        yield address, serving.pid, key
    finally:
        serving.terminate()
        serving.wait()


def set_up(address: str, key: str, hosts: int = HOSTS) -> list[str]:
    """One event type for each host, always open; answers their ids."""
    days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    always = {"weekly": [{"days": days, "start": "00:00", "end": "24:00"}]}
    ids = []
    with httpx.Client(base_url=address, headers={"authorization": f"Bearer {key}"}) as client:
        for number in range(hosts):
            host = client.post(
                "/v1/hosts", json={"name": f"Host {number}", "time_zone": "UTC", "schedule": always}
            )
            host.raise_for_status()
            made = client.post(
                "/v1/event-types",
                json={
                    "name": f"Type {number}",
                    "hosts": [host.json()["id"]],
                    "duration_minutes": 15,
                    "horizon_days": 1000,
                    "price": {"amount_minor": 6000, "currency": "EUR"},
                    "payment_account": "pac_sandbox",
                },
            )
            made.raise_for_status()
            ids.append(made.json()["id"])
    return ids


class Slots:
    """Never the same slot twice; each round begins where the one before ended."""

    def __init__(self, event_types: list[str]) -> None:
        self.event_types = event_types
        self.next = 0
        self._first = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)

    def body(self, number: int) -> bytes:
        start = self._first + timedelta(minutes=15 * (number // len(self.event_types)))
        event_type = self.event_types[number % len(self.event_types)]
        customer = {"name": "Ada", "email": "ada@example.org"}
        return json.dumps(
            {"event_type": event_type, "start": start.isoformat(), "customer": customer}
        ).encode()


def measure(address: str, key: str, slots: Slots, seconds: float = SECONDS) -> float:
    """Reservations a second; the client runs in a process of its own."""
    queue: multiprocessing.Queue = multiprocessing.get_context("spawn").Queue()
    client = multiprocessing.get_context("spawn").Process(
        target=_client, args=(queue, address, key, slots.event_types, slots.next, seconds)
    )
    client.start()
    count, took = queue.get()
    client.join()
    slots.next += count + CLIENTS
    return count / took


def _client(queue, address: str, key: str, event_types: list[str], first: int, seconds: float) -> None:
    queue.put(uvloop.run(_load(address, key, event_types, first, seconds)))


class _Client(asyncio.Protocol):
    """One connection: the next request goes out when the answer to the last one has come."""

    def __init__(self, requests: Iterator[bytes], end: float, done: asyncio.Future) -> None:
        self._requests = requests
        self._end = end
        self._done = done
        self._answer = b""
        self.count = 0

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head = self._answer.find(b"\r\n\r\n")
        at = self._answer.find(b"content-length: ")
        if head < 0 or len(self._answer) < head + 4 + int(self._answer[at + 16 : at + 24].split(b"\r", 1)[0]):
            return
        if not self._answer.startswith(b"HTTP/1.1 201"):
            self._done.set_exception(AssertionError(self._answer.decode()))
            return
        self._answer = b""
        self.count += 1
        if time.perf_counter() < self._end:
            self._transport.write(next(self._requests))
        else:
            self._transport.close()
            self._done.set_result(None)


async def _load(
    address: str, key: str, event_types: list[str], first: int, seconds: float
) -> tuple[int, float]:
    host, port = address.removeprefix("http://").split(":")
    slots, run = Slots(event_types), secrets.token_hex(4)

    def request(number: int) -> bytes:
        body = slots.body(number)
        return (
            f"POST /v1/reservations HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n"
            f"content-type: application/json\r\nidempotency-key: {run}-{number}\r\n"
            f"content-length: {len(body)}\r\n\r\n".encode()
            + body
        )

    # Made before the clock runs: what is measured is the server.
    requests = iter([request(number) for number in range(first, first + int(REQUESTS_MAX * seconds))])
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    clients = []
    for _ in range(CLIENTS):
        done = loop.create_future()
        _, client = await loop.create_connection(
            lambda done=done: _Client(requests, began + seconds, done), host, int(port)
        )
        clients.append((client, done))
    await asyncio.gather(*(done for _, done in clients))
    return sum(client.count for client, _ in clients), time.perf_counter() - began
