# SPDX-License-Identifier: Apache-2.0
"""Everybody wants the same slot at the same moment."""

import asyncio
import json
import time
from collections import Counter
from urllib.parse import urlsplit

import msgspec


class Told(msgspec.Struct):
    """How many got which answer, and how long the last of them waited."""

    statuses: dict[int, int]
    codes: dict[str, int]
    seconds: float

    def __str__(self) -> str:
        return f"{self.statuses} {self.codes}, the last after {self.seconds:.2f} s"


async def herd(urls: list[str], key: str, start: str, clients: int, event_type: str = "free") -> Told:
    """Each client has a connection of its own, open before anybody asks; spread over the servers."""
    body = json.dumps({"event_type": event_type, "start": start}).encode()
    request = (
        f"POST /v1/reservations HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode() + body
    streams = []
    for number in range(clients):
        place = urlsplit(urls[number % len(urls)])
        streams.append(await asyncio.open_connection(place.hostname, place.port))
    began = time.monotonic()
    for _, writer in streams:
        writer.write(request)
    answers = await asyncio.gather(*(_answer(reader) for reader, _ in streams))
    seconds = time.monotonic() - began
    for _, writer in streams:
        writer.transport.abort()
    codes = Counter(told["code"] for _, told in answers if "code" in told)
    return Told(dict(Counter(status for status, _ in answers)), dict(codes), seconds)


async def _answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = next(line for line in head.split("\r\n") if line.lower().startswith("content-length: "))
    raw = await reader.readexactly(int(length.partition(": ")[2]))
    return int(head.split()[1]), json.loads(raw)
