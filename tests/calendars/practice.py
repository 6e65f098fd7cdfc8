# SPDX-License-Identifier: Apache-2.0
"""The whole server over HTTP, and one host with two calendars on two servers that nobody here wrote."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from holdfirst.calendar.calendar_event import marker
from house import CUSTOMER, House, open_house

from .servers import Server, events_in, send, vevent

names = count()


@dataclass
class Practice:
    """`calendars`: the URL of the host's calendar on each server; the first one receives."""

    house: House
    servers: list[Server]
    calendars: list[str]
    connections: list[str]

    def start(self) -> datetime:
        return datetime.fromisoformat(self.house.start()).astimezone(UTC)

    async def reserve(self, start: datetime, offer: str = "free", **more: Any) -> Any:
        body = {"event_type": offer, "start": start.isoformat(), "customer": CUSTOMER} | more
        return await self.house.call("POST", "/v1/reservations", body)

    async def held(self, start: datetime | None = None, offer: str = "free", **more: Any) -> dict[str, Any]:
        answer = await self.reserve(start or self.start(), offer, **more)
        assert answer.status_code == 201, answer.text
        told: dict[str, Any] = answer.json()
        return told

    async def ours(self) -> list[list[str]]:
        """The events that bear our marker: by calendar, their status."""
        account = (await self.house.parts.world.database.single(_account)) or ""
        return [[one for one in texts_in(url, marker(account))] for url in self.calendars]

    def stranger(self, start: datetime, name: str | None = None, which: int = 0, minutes: int = 30) -> str:
        """Another program of the host's writes an event."""
        name = name or f"stranger{next(names)}"
        url = f"{self.calendars[which]}{name}.ics"
        end = start + timedelta(minutes=minutes)
        answer = send("PUT", url, vevent(name, f"{start:%Y%m%dT%H%M%SZ}", f"{end:%Y%m%dT%H%M%SZ}"))
        assert answer[0] in (201, 204), answer
        return url

    async def sync(self) -> None:
        for one in self.connections:
            told = await self.house.ask("POST", f"/v1/calendar-connections/{one}/sync", {})
            assert told["last_error"] is None, told

    async def slots(self, start: datetime, offer: str = "free") -> list[str]:
        day = start.replace(hour=0, minute=0, second=0, microsecond=0)
        end = day + timedelta(days=1)
        told = await self.house.ask(
            "GET",
            f"/v1/event-types/{offer}/slots?start={day:%Y-%m-%dT%H:%M:%SZ}&end={end:%Y-%m-%dT%H:%M:%SZ}",
        )
        return [one["start"] for one in told["slots"]]


async def _account(tx: Any) -> str | None:
    found: str | None = await tx.value("select id from account where slug = 'test'")
    return found


def texts_in(url: str, prefix: str = "") -> list[str]:
    """What stands in a calendar, as its server tells any client."""
    texts = events_in(url).decode().split("BEGIN:VEVENT")[1:]
    return [one for one in texts if f"UID:{prefix}" in one]


def statuses(texts: list[list[str]]) -> list[list[str]]:
    return [
        [
            next(line for line in one.splitlines() if line.startswith("STATUS:"))
            .removeprefix("STATUS:")
            .removesuffix("&#13;")
            for one in calendar
        ]
        for calendar in texts
    ]


@asynccontextmanager
async def open_practice(
    database_url: str, data_dir: Any, servers: list[Server], **settings: Any
) -> AsyncIterator[Practice]:
    async with open_house(database_url, data_dir, allow_private="127.0.0.0/8", **settings) as house:
        practice = Practice(house, servers, [], [])
        made = []
        try:
            for server in servers:
                name = f"practice{next(names)}"
                made.append((server, name))
                url = server.make_calendar(name)
                connection = await house.ask(
                    "POST",
                    "/v1/calendar-connections",
                    {"host": house.host, "provider": "caldav", "credentials": server.secrets},
                )
                found = await house.ask("GET", f"/v1/calendar-connections/{connection['id']}/calendars")
                mine = next(one["id"] for one in found["data"] if name in one["name"])
                patch = {"blocking": [mine], "destination": None if practice.calendars else mine}
                told = await house.ask("PATCH", f"/v1/calendar-connections/{connection['id']}", patch)
                assert told["locks"] is True and told["blocking"] == [mine]
                practice.calendars.append(url)
                practice.connections.append(connection["id"])
            await house.settle()
            yield practice
        finally:
            for server, name in made:
                server.drop_calendar(name)
