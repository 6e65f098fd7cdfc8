# SPDX-License-Identifier: Apache-2.0
"""What calendars cost: `python bench/with_calendars.py`, by itself, on a PostgreSQL of its own.

A reserve that waits for its calendars writes and reads each of them, all at the same time: two round trips. Measured is our
share, which is what is left when two round trips of the (fake) company are taken off; and the whole of it against two
CalDAV servers on this machine.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from calendars.practice import open_practice
from calendars.servers import radicale, xandikos
from fake_calendars import FakeCalendars
from holdfirst.effects import confirm as confirming
from holdfirst.embedded_postgres import EmbeddedPostgres
from holdfirst.flows.confirm import Asks, ConfirmRequest
from holdfirst.reservation.reservation import Reservation
from holdfirst.store.database import Database
from holdfirst.store.doorbell import Doorbell
from holdfirst.store.migrations import migrate
from holdfirst.worker import Worker
from shop import Shop, open_shop

CALENDARS = 10
EVENTS = 1000
LATENCY = 0.2
RESERVES = 100


def told(name: str, milliseconds: list[float]) -> None:
    ordered = sorted(milliseconds)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    print(f"{name}: p50 {statistics.median(ordered):.0f} ms, p99 {p99:.0f} ms, of {len(ordered)}")


async def against_the_fake(database: Database) -> None:
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
    starts = [shop.slot() + timedelta(minutes=10 * number) for number in range(3 * RESERVES)]
    alone = [await reserved(shop, start) for start in starts[:20]]
    told(f"reserve, {CALENDARS} calendars of {EVENTS} events, one at a time: beyond two round trips", alone)
    await confirmations(shop, starts[RESERVES:])


async def reserved(shop: Shop, start: datetime) -> float:
    began = time.perf_counter()
    assert isinstance(await shop.reserve(start, hold_seconds=900), Reservation)
    return (time.perf_counter() - began - 2 * LATENCY) * 1000


async def confirmations(shop: Shop, starts: list[datetime]) -> None:
    """From the confirm's answer to the event in the calendar, one round trip taken off; the worker runs beside."""
    held = [await shop.held(start, hold_seconds=900) for start in starts[:30]]
    seen: dict[str, asyncio.Future[float]] = {}
    original = FakeCalendars.put

    def put(fake: FakeCalendars, ref: str, uid: str, start: Any, end: Any, **more: Any) -> None:
        original(fake, ref, uid, start, end, **more)
        if more.get("state") == "confirmed":
            seen[str(start)].set_result(time.perf_counter())

    FakeCalendars.put = put  # type: ignore[method-assign]
    doorbell = Doorbell(shop.database)
    shop.database.on_announce = doorbell.ring
    worker = Worker(shop.world, doorbell)
    running = asyncio.create_task(worker.run())
    lags = []
    for one in held:
        seen[str(one.start)] = asyncio.get_running_loop().create_future()
        await confirming.confirm_with_provider(
            shop.world, ConfirmRequest(reservation_id=one.id, asks=Asks.SECRET_KEY), back_end_confirms=False
        )
        began = time.perf_counter()
        lags.append((await seen[str(one.start)] - began - LATENCY) * 1000)
    worker.stop()
    await running
    told("confirm to the event in the calendar: our share", lags)


async def against_real_servers(database: Database) -> None:
    with radicale() as one, xandikos() as two, tempfile.TemporaryDirectory() as folder:
        async with open_practice(database.url, Path(folder), [one, two]) as practice:
            took = []
            for _ in range(50):
                start = practice.start()
                began = time.perf_counter()
                answer = await practice.reserve(start)
                took.append((time.perf_counter() - began) * 1000)
                assert answer.status_code == 201, answer.text
                await practice.house.verb(answer.json(), "release")
            told("reserve over HTTP, Radicale and Xandikos on this machine, calendars nearly empty", took)
            start = practice.start()
            practice.stranger(start)
            began = time.perf_counter()
            await practice.sync()
            gone = f"{start:%Y-%m-%dT%H:%M:%S.000Z}" not in await practice.slots(start)
            assert gone
            print(
                f"a reading that is asked for, to a changed slot list: {(time.perf_counter() - began) * 1000:.0f} ms"
            )


async def main() -> None:
    for measured in (against_the_fake, against_real_servers):
        with (
            tempfile.TemporaryDirectory(prefix="hf-bench-") as folder,
            EmbeddedPostgres(Path(folder)) as server,
        ):
            database = Database(server.start())
            await migrate(database)
            await database.open()
            await measured(database)
            await database.close()


if __name__ == "__main__":
    asyncio.run(main())
