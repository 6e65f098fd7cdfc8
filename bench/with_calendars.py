# SPDX-License-Identifier: Apache-2.0
"""What calendars cost: `python bench/with_calendars.py`, by itself, on a PostgreSQL of its own. JSON goes to bench/results/.

A reserve that waits for its calendars writes and reads each of them, all at the same time: two round trips. Our share is
what is left when those are taken off; of a confirm, the time until the event is on its way to the calendar.
"""

import asyncio
import ipaddress
import json
import logging
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from calendars.fake_google import REFRESH, FakeGoogle, serving
from calendars.practice import open_practice
from calendars.servers import Server, radicale, send, vevent, xandikos
from fake_calendars import FakeCalendars
from holdfirst.calendar.calendar_event import EventState
from holdfirst.effects import confirm as confirming
from holdfirst.embedded_postgres import EmbeddedPostgres
from holdfirst.flows.confirm import Asks, ConfirmRequest
from holdfirst.logs import set_up_logs
from holdfirst.providers.caldav import CalDav
from holdfirst.providers.google import Google, GoogleClient, pace
from holdfirst.providers.outward import Outward
from holdfirst.reservation.reservation import Reservation
from holdfirst.store.database import Database
from holdfirst.store.doorbell import Doorbell
from holdfirst.store.migrations import migrate
from holdfirst.worker import Worker
from house import open_house
from shop import Shop, open_shop

CALENDARS = 10
EVENTS = 1000
LATENCY = 0.2
RESERVES = 20
ALONE = 100
RATE = 50
SECONDS = float(os.environ.get("BENCH_SECONDS", "6"))
HOSTS = 25
PUSHES = 8
Figures = dict[str, float]


def spread(name: str, seconds: list[float]) -> Figures:
    """In milliseconds."""
    ordered = sorted(one * 1000 for one in seconds)
    p99 = ordered[math.ceil(len(ordered) * 0.99) - 1]
    return {f"{name}_p50": statistics.median(ordered), f"{name}_p99": p99, f"{name}_count": len(ordered)}


@asynccontextmanager
async def working(shop: Shop) -> AsyncIterator[None]:
    doorbell = Doorbell(shop.database)
    shop.database.on_announce = doorbell.ring
    worker = Worker(shop.world, doorbell)
    running = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        worker.stop()
        await running


class Sent:
    """When the confirmed event of each start was on its way to its calendar: `write` of a provider, watched."""

    def __init__(self, provider: type) -> None:
        self._at: dict[datetime, asyncio.Future[float]] = {}
        self._provider = provider
        self._original = provider.write

    def __enter__(self) -> Self:
        original, at = self._original, self.at

        async def write(provider: Any, place: Any, event: Any, etag: str | None) -> str:
            if event.state is EventState.CONFIRMED and not at(event.start).done():
                at(event.start).set_result(time.perf_counter())
            return await original(provider, place, event, etag)

        self._provider.write = write
        return self

    def __exit__(self, *_: object) -> None:
        self._provider.write = self._original

    def at(self, start: datetime) -> asyncio.Future[float]:
        return self._at.setdefault(start.astimezone(UTC), asyncio.get_running_loop().create_future())


async def one_at_a_time(database: Database) -> Figures:
    """Ten calendars of a thousand events each: what a reserve takes beyond two round trips. The first one, on a connection that
    has not claimed anything yet, is told by itself: the database compiles the claim for it.
    """
    shop = await open_shop(database, rules={"price": None, "horizon_days": 365, "duration_minutes": 10})
    shop.calendars.shelves = {f"c{number}": {} for number in range(CALENDARS)}
    far = datetime.now(UTC) + timedelta(days=300)
    for ref in shop.calendars.shelves:
        for number in range(EVENTS):
            start = far + timedelta(minutes=10 * number)
            shop.calendars.put(ref, f"{ref}x{number}", start, start + timedelta(minutes=10))
    await shop.connect()
    await shop.work()
    shop.calendars.latency = LATENCY
    beyond, cpu = await _beyond_two_round_trips(shop)
    first = {"reserve_beyond_first": beyond[0] * 1000, "reserve_cpu": cpu * 1000}
    return first | spread("reserve_beyond", beyond[1:])


async def at_a_company(database: Database) -> Figures:
    """The same with all that a company's calls cost us, over HTTP: ten calendars of one account."""
    command = [sys.executable, str(Path(__file__).parent / "company.py"), str(LATENCY), str(CALENDARS)]
    company = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    outward = Outward([ipaddress.ip_network("127.0.0.0/8")])
    # Google's quota for one account is met after twenty-seven of them in a minute.
    quota, pace.PER_MINUTE_MAX = pace.PER_MINUTE_MAX, sys.maxsize
    try:
        assert company.stdout is not None
        url = f"http://127.0.0.1:{int(await company.stdout.readline())}"
        shop = await open_shop(database, rules={"price": None, "horizon_days": 365, "duration_minutes": 10})
        google = Google(outward, GoogleClient("client", "secret", f"{url}/calendar/v3", f"{url}/token"))
        shop.world.calendars["caldav"] = google  # type: ignore[index]
        await shop.connect(secrets={"refresh_token": REFRESH})
        beyond, cpu = await _beyond_two_round_trips(shop)
    finally:
        pace.PER_MINUTE_MAX = quota
        await outward.aclose()
        company.terminate()
        await company.wait()
    return {"company_cpu": cpu * 1000} | spread("company_beyond", beyond[1:])


async def _beyond_two_round_trips(shop: Shop) -> tuple[list[float], float]:
    """Of each reserve, in seconds; and the CPU of this process for one of them."""
    beyond = []
    began_cpu = time.process_time()
    for number in range(ALONE + 1):
        began = time.perf_counter()
        answer = await shop.reserve(shop.slot() + timedelta(minutes=10 * number), hold_seconds=900)
        beyond.append(time.perf_counter() - began - 2 * LATENCY)
        assert isinstance(answer, Reservation), answer
    return beyond, (time.process_time() - began_cpu) / len(beyond)


async def at_a_rate(
    rate: float, reserve_and_confirm: Callable[[int], Awaitable[float]], seconds: float = SECONDS
) -> list[float]:
    """So many a second, whether or not the ones before are done."""
    running = []
    began = time.perf_counter()
    for number in range(max(10, int(rate * seconds))):
        await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
        running.append(asyncio.create_task(reserve_and_confirm(number)))
    return list(await asyncio.gather(*running))


async def fifty_a_second(database: Database) -> Figures:
    shop = await open_shop(
        database, hosts=HOSTS, rules={"price": None, "horizon_days": 365, "duration_minutes": 10, "assignment": "one_of"}
    )  # fmt: skip
    for number in range(HOSTS):
        shop.calendars.shelves = {f"c{number}": {}}
        await shop.connect(host=number)
    shop.calendars.shelves = {f"c{number}": {} for number in range(HOSTS)}
    await shop.work()
    shop.calendars.latency = LATENCY

    async def once(number: int) -> float:
        # A time of its own for each, so that its event is known by it.
        start = shop.slot() + timedelta(minutes=10 * number)
        held = await shop.held(start, host_id=shop.hosts[number % HOSTS], hold_seconds=900)
        request = ConfirmRequest(reservation_id=held.id, asks=Asks.SECRET_KEY)
        answer = await confirming.confirm_with_provider(shop.world, request, back_end_confirms=False)
        confirmed = time.perf_counter()
        assert isinstance(answer, Reservation), answer
        return max(0.0, await sent.at(start) - confirmed)

    with Sent(FakeCalendars) as sent:
        async with working(shop):
            return spread("fifty_share", await at_a_rate(RATE, once))


def sustained(server: Server, seconds: float = 4.0) -> float:
    """How many events a second the server takes by itself, from one client."""
    url = server.make_calendar("alone")
    began, number = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        body = vevent(f"alone{number}", "20300101T100000Z", "20300101T103000Z")
        assert send("PUT", f"{url}alone{number}.ics", body)[0] == 201
        number += 1
    server.drop_calendar("alone")
    return number / seconds


async def at_half_of_what_a_server_sustains(database: Database) -> Figures:
    with radicale() as one, tempfile.TemporaryDirectory() as folder:
        rate = await asyncio.to_thread(sustained, one)
        async with open_practice(database.url, Path(folder), [one]) as practice:
            house = practice.house

            # A confirm is one write of ours, and so is its hold: a quarter of the rate is half of the server.
            async def once(_: int) -> float:
                held = await practice.held()
                answer = await house.verb(held, "confirm")
                confirmed = time.perf_counter()
                assert answer.status_code == 200, answer.text
                return max(0.0, await sent.at(datetime.fromisoformat(held["start"])) - confirmed)

            with Sent(CalDav) as sent:
                async with house.working():
                    shares = await at_a_rate(rate / 4, once)
    return {"server_sustains": rate} | spread("half_share", shares)


async def two_servers(database: Database) -> Figures:
    with radicale() as one, xandikos() as two, tempfile.TemporaryDirectory() as folder:
        async with open_practice(database.url, Path(folder), [one, two]) as practice:
            took = []
            for _ in range(RESERVES):
                began = time.perf_counter()
                held = await practice.held()
                took.append(time.perf_counter() - began)
                await practice.house.verb(held, "release")
    return spread("two_servers", took)


async def pushed(database: Database) -> Figures:
    """From a company's call to a slot list without that time: over HTTP, with the worker, the calendar's server beside."""
    url = "https://book.example.org"
    with (
        serving(FakeGoogle(calendars={"host@example.org": {}})) as fake,
        tempfile.TemporaryDirectory() as folder,
    ):
        outward = Outward([ipaddress.ip_network("127.0.0.0/8")])
        async with open_house(database.url, Path(folder), url=url) as house, house.working():
            google = Google(
                outward, GoogleClient("client", "secret", f"{fake.url}/calendar/v3", f"{fake.url}/token")
            )
            for known in (house.parts.world.calendars, house.parts.world.consents, house.parts.world.pushes):
                known["google"] = google  # type: ignore[index]
            wish = {"host": house.host, "provider": "google", "refresh_token": REFRESH}
            await house.ask("POST", "/v1/calendar-connections", wish)
            for _ in range(500):
                if fake.pushes:
                    break
                await asyncio.sleep(0.02)
            took = []
            for number in range(PUSHES):
                await _deliver(house, fake, url)
                await asyncio.sleep(1.2)
                start = datetime.fromisoformat(house.start())
                end = start + timedelta(minutes=30)
                fake.put(
                    "host@example.org",
                    f"event{number}",
                    start={"dateTime": start.isoformat()},
                    end={"dateTime": end.isoformat()},
                )
                began = time.perf_counter()
                await _deliver(house, fake, url)
                while await _is_free(house, start):
                    assert time.perf_counter() - began < 20, "the push came to nothing"
                    await asyncio.sleep(0.005)
                took.append(time.perf_counter() - began)
        await outward.aclose()
    return spread("push_to_slots", took) | {"push_to_slots_max": max(took) * 1000}


async def _deliver(house: Any, fake: FakeGoogle, url: str) -> None:
    sent, fake.pushes = fake.pushes, []
    for address, headers in sent:
        assert (await house.http.post(address.removeprefix(url), headers=headers)).status_code == 204


async def _is_free(house: Any, start: datetime) -> bool:
    span = f"start={start:%Y-%m-%dT%H:%M:%SZ}&end={start + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
    return bool((await house.ask("GET", f"/v1/event-types/free/slots?{span}"))["slots"])


TABLE = [
    (f"reserve, {CALENDARS} calendars of {EVENTS} events: beyond two round trips, p50", "reserve_beyond_p50", "≤ 20 ms"),
    ("— p99", "reserve_beyond_p99", ""),
    ("— the first on a new connection to the database", "reserve_beyond_first", ""),
    ("— CPU of our process", "reserve_cpu", ""),
    ("the same at Google's API, over HTTP: beyond two round trips, p50", "company_beyond_p50", "≤ 20 ms"),
    ("— p99", "company_beyond_p99", ""),
    ("— CPU of our process", "company_cpu", ""),
    (f"confirm to the calendar, {RATE} reservations/s, {LATENCY * 1000:.0f} ms away: our share, p50", "fifty_share_p50", ""),
    ("— p99", "fifty_share_p99", "≤ 200 ms"),
    ("confirm to the calendar, Radicale at half of what it sustains: our share, p50", "half_share_p50", ""),
    ("— p99", "half_share_p99", "≤ 200 ms"),
    ("reserve over HTTP, Radicale and Xandikos on this machine, p50", "two_servers_p50", ""),
    ("a push to a changed slot list, p50", "push_to_slots_p50", ""),
    ("— the longest", "push_to_slots_max", "≤ 2000 ms"),
]  # fmt: skip


async def main() -> None:
    set_up_logs(logging.WARNING)
    figures: dict[str, object] = {"cpu": f"{os.cpu_count()} ×", "at": time.strftime("%Y-%m-%d")}
    for measured in (
        one_at_a_time,
        at_a_company,
        fifty_a_second,
        at_half_of_what_a_server_sustains,
        two_servers,
        pushed,
    ):
        with (
            tempfile.TemporaryDirectory(prefix="hf-bench-") as folder,
            EmbeddedPostgres(Path(folder)) as server,
        ):
            database = Database(server.start())
            await migrate(database)
            await database.open()
            figures |= await measured(database)
            await database.close()
    for what, name, wanted in TABLE:
        print(f"{what:82} {figures[name]:>7.0f} ms  {wanted}")
    print(f"{'what Radicale sustains alone':82} {figures['server_sustains']:>7.0f} /s")
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    path = results / f"{time.strftime('%Y%m%d-%H%M%S')}-calendars.json"
    path.write_text(json.dumps(figures, indent=2, ensure_ascii=False))
    print(path, file=sys.stderr)


if __name__ == "__main__":
    asyncio.run(main())
