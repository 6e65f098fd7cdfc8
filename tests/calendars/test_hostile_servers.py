# SPDX-License-Identifier: Apache-2.0
"""Servers that turn on us once they are connected: their connection says so in words, their host is closed, and another
host, who has a calendar as well, is reserved as before.
"""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from holdfirst.providers import ics
from holdfirst.store.database import Database
from house import CUSTOMER, HOURS, House, open_house

from .odd_caldav import OddCalDav, odd_caldav
from .servers import vevent
from .test_feeds import DENTIST, Publisher, publishing
from .test_outward import BOMB, certificate

NAME = "calendar.example"
ENDLESS = "rules that never end"
NEVER = "RRULE:FREQ=DAILY;INTERVAL=0"
AGES_AGO = ("19700101T100000Z", "19700101T110000Z")


class World:
    """A feed for each that turns, a CalDAV server, a server whose certificate is by nobody, and what the DNS says."""

    def __init__(self, feeds: dict[str, Publisher], odd: OddCalDav, untrusted: str) -> None:
        self.feeds, self.odd, self.untrusted = feeds, odd, untrusted
        self.address = "127.0.0.1"

    def redirect(self, feed: str, target: str) -> None:
        self.feeds[feed].status, self.feeds[feed].location = 302, target


TURNS: dict[str, tuple[Callable[[World], None], str]] = {
    "a document that expands": (lambda world: setattr(world.odd, "hostile", BOMB.decode()), "cannot be read"),
    "a certificate by nobody": (
        lambda world: world.redirect("a certificate by nobody", world.untrusted),
        "certificate",
    ),
    "a redirect into our network": (
        lambda world: world.redirect("a redirect into our network", "http://10.0.0.1/"),
        "another domain: 10.0.0.1",
    ),
    "a name that means another address": (
        lambda world: setattr(world, "address", "169.254.169.254"),
        "is not called",
    ),
}


async def test_whoever_turns_on_us_closes_nobody_else(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ics, "FRESH_SECONDS", 0)
    monkeypatch.setattr(ics, "GOOD_SECONDS", 0)
    async with AsyncExitStack() as stack:
        house = await stack.enter_async_context(
            open_house(database.url, tmp_path, allow_private="127.0.0.0/8")
        )
        feeds = {
            what: await stack.enter_async_context(publishing(DENTIST)) for what in (*TURNS, ENDLESS, "good")
        }
        odd = await stack.enter_async_context(odd_caldav(OddCalDav()))
        server = await asyncio.start_server(
            lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=certificate(tmp_path, "127.0.0.1", days=1)
        )
        await stack.enter_async_context(server)
        world = World(feeds, odd, f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        _resolve(world, monkeypatch)
        made: dict[str, Any] = {}
        for number, what in enumerate(feeds):
            made[what] = await _connected(house, f"h{number}", _credentials(world, what))
        for what, (turn, words) in TURNS.items():
            turn(world)
            path = f"/v1/calendar-connections/{made[what]}"
            assert (await house.call("POST", f"{path}/sync", {})).status_code == 200, what
            told = await house.ask("GET", path)
            assert words in told["last_error"]["message"], (what, told)
            answer = await _reserve(house, f"h{list(feeds).index(what)}")
            assert answer.json()["code"] in ("calendar_unreachable", "slot_taken"), what
            await _is_well(house, f"h{len(TURNS) + 1}")
        feeds[ENDLESS].body = b"".join(vevent(f"b{one}", *AGES_AGO, NEVER) for one in range(20))
        path = f"/v1/calendar-connections/{made[ENDLESS]}"
        reading = asyncio.create_task(house.call("POST", f"{path}/sync", {}))
        await _is_well(house, f"h{len(TURNS) + 1}")
        assert (await reading).status_code == 200
        assert (await house.ask("GET", path))["last_error"] is None
        [calendar] = (await house.ask("GET", f"{path}/calendars"))["data"]
        assert all("takes too long" in one for one in calendar["notes"]) and calendar["notes"]
        await _is_well(house, f"h{len(TURNS) + 1}")


async def _is_well(house: House, slug: str) -> None:
    good = await _reserve(house, slug)
    assert (good.status_code, good.json()["calendars"]["verdict"]) == (201, "clean"), good.text


def _resolve(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    original = loop.getaddrinfo

    async def resolved(host: Any, *asked: Any, **more: Any) -> Any:
        return await original(world.address if host == NAME else host, *asked, **more)

    monkeypatch.setattr(loop, "getaddrinfo", resolved)


def _credentials(world: World, what: str) -> dict[str, Any]:
    if what == "a document that expands":
        account = {"url": world.odd.url, "username": "u", "password": "p"}
        return {"provider": "caldav", "credentials": account}
    name = NAME if what == "a name that means another address" else "127.0.0.1"
    return {"provider": "ics", "url": world.feeds[what].url.replace("127.0.0.1", name)}


async def _connected(house: House, slug: str, credentials: dict[str, Any]) -> str:
    host = await house.ask("POST", "/v1/hosts", {"name": slug, "time_zone": "UTC", "schedule": HOURS})
    offer = {"name": slug, "slug": slug, "hosts": [host["id"]], "duration_minutes": 30, "horizon_days": 365}
    await house.ask("POST", "/v1/event-types", offer)
    told = await house.ask("POST", "/v1/calendar-connections", {"host": host["id"]} | credentials)
    connection: str = told["id"]
    return connection


async def _reserve(house: House, slug: str) -> Any:
    body = {"event_type": slug, "start": house.start(), "customer": CUSTOMER}
    return await house.call("POST", "/v1/reservations", body)
