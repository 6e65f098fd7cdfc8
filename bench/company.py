# SPDX-License-Identifier: Apache-2.0
"""Google's answers to the calls that a reserve makes, each after a while and at next to no cost: `python bench/company.py 0.2 10`
prints its port. In a process of its own, so that what it does is not counted as ours.
"""

import asyncio
import json
import sys
from datetime import UTC, datetime, timedelta

SECONDS, CALENDARS = float(sys.argv[1]), int(sys.argv[2])
FAR = datetime.now(UTC) + timedelta(days=300)
TOKEN = json.dumps({"access_token": "a", "expires_in": 3600}).encode()
LISTED = json.dumps(
    {
        "items": [
            {"id": f"c{one}", "summary": f"c{one}", "timeZone": "UTC", "accessRole": "owner"}
            for one in range(CALENDARS)
        ]
    }
).encode()
WRITTEN = json.dumps({"id": "x", "etag": '"1"', "status": "tentative"}).encode()
NEAR = json.dumps(
    {
        "items": [
            {
                "id": f"event{one}",
                "etag": f'"{one}"',
                "status": "confirmed",
                "eventType": "default",
                "start": {"dateTime": (FAR + timedelta(hours=one)).isoformat()},
                "end": {"dateTime": (FAR + timedelta(hours=one + 1)).isoformat()},
            }
            for one in range(8)
        ],
        "nextSyncToken": "t",
    }
).encode()
"""What a calendar has within a day of a slot."""


class Caller(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._heard = b""

    def data_received(self, heard: bytes) -> None:
        self._heard += heard
        while b"\r\n\r\n" in self._heard:
            head, rest = self._heard.split(b"\r\n\r\n", 1)
            length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
            body = int(length or 0)
            if len(rest) < body:
                return
            self._heard = rest[body:]
            told, seconds = answer(head)
            asyncio.get_running_loop().call_later(seconds, self._tell, told)

    def _tell(self, told: bytes) -> None:
        start = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(told)}\r\n\r\n"
        self._transport.write(start.encode() + told)


def answer(head: bytes) -> tuple[bytes, float]:
    if b"/token" in head.split(b"\r\n")[0]:
        return TOKEN, 0
    if b"/calendarList" in head:
        return LISTED, 0
    return (NEAR if head.startswith(b"GET") else WRITTEN), SECONDS


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Caller, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
