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
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from ground import CLIENTS, SECONDS

HOSTS = 200


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
    queue.put(asyncio.run(_load(address, key, event_types, first, seconds)))


async def _load(
    address: str, key: str, event_types: list[str], first: int, seconds: float
) -> tuple[int, float]:
    host, port = address.removeprefix("http://").split(":")
    slots, numbers = Slots(event_types), iter(range(first, 1 << 60))
    end = time.perf_counter() + seconds

    async def one() -> int:
        reader, writer = await asyncio.open_connection(host, int(port))
        count = 0
        while time.perf_counter() < end:
            body = slots.body(next(numbers))
            writer.write(
                f"POST /v1/reservations HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n"
                f"content-type: application/json\r\nidempotency-key: {first}-{time.perf_counter_ns()}-{id(reader)}\r\n"
                f"content-length: {len(body)}\r\n\r\n".encode()
                + body
            )
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(re.search(rb"content-length: (\d+)", head, re.IGNORECASE)[1])
            answer = await reader.readexactly(length)
            assert head.startswith(b"HTTP/1.1 201"), head + answer
            count += 1
        writer.close()
        return count

    began = time.perf_counter()
    counts = await asyncio.gather(*(one() for _ in range(CLIENTS)))
    return sum(counts), time.perf_counter() - began
