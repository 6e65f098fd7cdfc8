# SPDX-License-Identifier: Apache-2.0
"""The slot list and its stream of hints."""

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest

from front import code, fields, open_site
from holdfirst.availability.slots import Slot, SlotList
from holdfirst.web.slots import render

SLOTS = "/v1/event-types/consultation/slots"


def day(site, zone: str | None = "UTC", **more) -> dict[str, str]:
    start = site.shop.slot(0)
    zones = {"time_zone": zone} if zone else {}
    return {"start": start.isoformat(), "end": (start + timedelta(days=1)).isoformat()} | zones | more


async def test_what_is_free(site) -> None:
    held = await site.held(9, key="publishable")
    answer = await site.get(SLOTS, params=day(site, "Asia/Kolkata"), key="publishable")
    told = answer.json()
    assert told["event_type"] == site.shop.event_type_id
    assert told["time_zone"] == "Asia/Kolkata"
    assert len(told["slots"]) == 23
    assert told["slots"][0]["start"] == site.shop.slot(0).strftime("%Y-%m-%dT00:00:00.000Z")
    assert told["slots"][0]["seats_left"] == 1
    first, second = told["days"].values()
    assert len(first) == 18  # midnight in Kolkata is 18:30 UTC, and 9:00 is taken
    assert [*first, *second] == list(range(23))
    assert told["next_change_at"] == held["held_until"]
    assert answer.headers["vary"].startswith("Authorization, X-Holdfirst-Hold")

    tag = {"if-none-match": answer.headers["etag"]}
    same = await site.get(SLOTS, params=day(site, "Asia/Kolkata"), headers=tag)
    assert same.status_code == 304
    assert same.headers["etag"] == answer.headers["etag"]
    own = await site.get(SLOTS, params=day(site), headers={"x-holdfirst-hold": held["client_secret"]})
    assert len(own.json()["slots"]) == 24
    assert own.headers["cache-control"] == "private, no-store"
    foreign = await site.get(SLOTS, params=day(site), headers={"x-holdfirst-hold": "hf_cs_x.y"})
    assert len(foreign.json()["slots"]) == 23
    await site.post(f"/v1/reservations/{held['id']}/release")
    assert (await site.get(SLOTS, params=day(site, "Asia/Kolkata"), headers=tag)).status_code == 200
    assert (await site.get(SLOTS, params=day(site, None))).json()["time_zone"] == "UTC"


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"start": "2026-12-07T00:00:00"}, "start"),
        ({"start": "soon"}, "start"),
        ({"start": "1764000000"}, "start"),
        ({"start": "0001-01-01T00:00:00Z"}, "start"),
        ({"end": "2020-01-01T00:00:00Z"}, "end"),
        ({"end": "2099-01-01T00:00:00Z"}, "end"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"time_zone": "localtime"}, "time_zone"),
        ({"time_zone": "\x00"}, "time_zone"),
        ({"seats": "0"}, "seats"),
        ({"seats": "many"}, "seats"),
        ({"host": "hst_of_nobody"}, "host"),
        ({"unheard": "1"}, "unheard"),
    ],
)
async def test_bad_parameters(site, more: dict[str, str], field: str) -> None:
    assert field in fields(await site.get(SLOTS, params=day(site) | more))


async def test_missing_parameters_and_types(site) -> None:
    assert fields(await site.get(SLOTS)) == ["start", "end"]
    nothing = "/v1/event-types/nothing/slots"
    assert code(await site.get(nothing, params=day(site))) == (404, "event_type_not_found")
    await site.call("PATCH", "/v1/event-types/consultation", {"active": False})
    assert code(await site.get(SLOTS, params=day(site))) == (409, "event_type_inactive")


def many(slots_a_day: int, days: int, zone: str = "Europe/Prague"):
    start = int(datetime(2026, 10, 1, 6, tzinfo=UTC).timestamp() * 1000)
    step = 86_400_000 // (2 * slots_a_day)
    slots = [
        Slot(at := start + day * 86_400_000 + n * step, at + step, 1, ("h",))
        for day in range(days)
        for n in range(slots_a_day)
    ]
    offer = SimpleNamespace(event_type=SimpleNamespace(id="ety_x"))
    return SimpleNamespace(offer=offer, slots=SlotList(slots, None)), zone


def test_days_are_local_ones_across_a_change_of_clocks() -> None:
    offered, zone = many(20, 60)
    told = json.loads(render(offered, zone))
    for date, indexes in told["days"].items():
        for index in indexes:
            start = datetime.fromisoformat(told["slots"][index]["start"])
            assert start.astimezone(ZoneInfo(zone)).date().isoformat() == date
    assert sum(len(indexes) for indexes in told["days"].values()) == len(told["slots"]) == 1200


def test_rendering_is_cheap() -> None:
    offered, zone = many(200 // 60 + 1, 60)
    render(offered, zone)
    began = time.process_time()
    for _ in range(20):
        render(offered, zone)
    assert (
        time.process_time() - began
    ) / 20 < 0.003  # measured: 0.2 ms for 240 slots; room for a busy machine


# The stream. httpx's ASGI transport gathers a whole answer, so this speaks ASGI itself.


class Reader:
    def __init__(self, site, query: str = "", headers: dict[str, str] | None = None) -> None:
        given = {"authorization": f"Bearer {site.keys['publishable']}"} | (headers or {})
        self.site = site
        self.scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
            "path": f"{SLOTS}/stream", "raw_path": b"", "query_string": query.encode(), "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in given.items()],
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
        }  # fmt: skip
        self.gone = asyncio.Event()
        self.sent: asyncio.Queue = asyncio.Queue()

    async def __aenter__(self):
        self.task = asyncio.create_task(
            self.site.http._transport.app(self.scope, self._receive, self.sent.put)
        )
        self.start = await asyncio.wait_for(self.sent.get(), 5)
        assert (await self.line()).startswith("retry:")
        return self

    async def __aexit__(self, *_) -> None:
        self.gone.set()
        await asyncio.wait_for(self.task, 5)

    async def _receive(self):
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def line(self) -> str:
        return (await asyncio.wait_for(self.sent.get(), 5))["body"].decode()

    async def hint(self) -> dict:
        while not (text := await self.line()).startswith("id:"):
            assert text.startswith(":")
        return json.loads(text.split("data: ")[1])


async def test_hints(site) -> None:
    async with Reader(site) as reader:
        assert dict(reader.start["headers"])[b"content-type"].startswith(b"text/event-stream")
        held = await site.held(9)
        assert await reader.hint() == {"days": [held["start"][:10]]}
        assert (await reader.line()).startswith(": ")  # a heartbeat
        await site.call("PATCH", "/v1/event-types/consultation", {"name": "Other"})
        assert await reader.hint() == {"days": None}
    assert not site.context.doorbell._listeners


async def test_whoever_comes_back_asks_for_all(site) -> None:
    async with Reader(site, headers={"last-event-id": "1"}) as reader:
        assert await reader.hint() == {"days": None}


async def test_days_in_the_zone_asked_for(site) -> None:
    async with Reader(site, "time_zone=Pacific/Kiritimati") as reader:
        held = await site.held(9)
        days = (await reader.hint())["days"]
        assert len(days) == 2
        local = datetime.fromisoformat(held["start"]) + timedelta(hours=14)
        assert local.date().isoformat() in days


async def test_the_stream_ends_when_the_server_does(site) -> None:
    async with Reader(site) as reader:
        site.context.closing.set()
        while (message := await asyncio.wait_for(reader.sent.get(), 5)).get("more_body"):
            pass
        assert message["more_body"] is False


async def test_a_stream_that_cannot_be(site) -> None:
    assert fields(await site.get(f"{SLOTS}/stream?time_zone=x")) == ["time_zone"]
    assert code(await site.get("/v1/event-types/nothing/slots/stream")) == (404, "event_type_not_found")


async def test_a_full_day_has_room_at_a_sitting_that_is_there(database) -> None:
    site = await open_site(database, rules={"price": None, "seats": 2, "per_day_max": 1})
    await site.held(9)
    assert code(await site.post("/v1/reservations", site.wish(11))) == (422, "slot_not_offered")
    await site.held(9)
    await site.http.aclose()
