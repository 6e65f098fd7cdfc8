# SPDX-License-Identifier: Apache-2.0
"""For how long an event of somebody else's goes unseen: `python bench/exposure.py`, by itself. JSON goes to bench/results/.

Two calendars of one host, on Radicale and on Xandikos, each call 200 ms longer than these take. For each strictness, customers
who decide after 0 to 14 seconds; from the last time that a calendar was asked about theirs to the point of no return: the commit
of a confirm, or the call that captures. Under `local` no calendar is asked: there, from the last poll that the hold stood on.
"""

import asyncio
import functools
import ipaddress
import json
import logging
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from calendars.on_servers import OnServers, ServerCalendars
from calendars.servers import radicale, xandikos
from holdfirst.effects import confirm as confirming
from holdfirst.embedded_postgres import EmbeddedPostgres
from holdfirst.flows.confirm import Asks, ConfirmRequest
from holdfirst.logs import set_up_logs
from holdfirst.payment.payment import Payment
from holdfirst.providers.icalendar_reader import IcalendarReader
from holdfirst.providers.outward import Outward
from holdfirst.reservation.event_type import CalendarCheck
from holdfirst.reservation.reservation import Reservation, Status
from holdfirst.store import jobs
from holdfirst.store.database import Database, Tx
from holdfirst.store.doorbell import Doorbell
from holdfirst.store.migrations import migrate
from holdfirst.worker import Worker
from shop import Shop, open_shop

LATENCY = 0.2
CUSTOMERS = int(os.environ.get("BENCH_CUSTOMERS", "30"))
DECIDE_SECONDS = 14.0
EVERY_SECONDS = 1.1
"""So that the first and the last poll period, of 30 s, are both met."""


@dataclass
class Looks:
    """When which calendar was last asked: about one start, and for changes."""

    about: dict[datetime, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    changes: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def watch(self, calendars: ServerCalendars) -> None:
        calendars.latency = LATENCY
        before = calendars.ask

        async def ask(name: str, *asked: Any) -> Any:
            if name == "busy":
                self.about[asked[1]][asked[0].ref] = time.perf_counter()
            if name == "changes":
                self.changes[asked[0].ref].append(time.perf_counter())
            return await before(name, *asked)

        calendars.ask = ask  # type: ignore[method-assign]

    def last(self, start: datetime, held_at: float, *, asked: bool) -> float:
        """The older one, where the two calendars were asked one after the other."""
        if asked:
            return min(self.about[start].values())
        return min(max(at for at in polls if at < held_at) for polls in self.changes.values())


@asynccontextmanager
async def practice(
    database: Database, on_servers: OnServers, check: str, looks: Looks
) -> AsyncIterator[Shop]:
    rules = {"horizon_days": 365, "duration_minutes": 10, "calendar_check": check}
    shop = await open_shop(database, rules=rules)
    await on_servers(shop)
    looks.watch(shop.calendars)  # type: ignore[arg-type]
    await shop.work()
    doorbell = Doorbell(database)
    database.on_announce = doorbell.ring
    worker = Worker(shop.world, doorbell)
    running = asyncio.create_task(worker.run())
    try:
        yield shop
    finally:
        worker.stop()
        await running
        on_servers.drop()


async def confirmed(shop: Shop, held: Reservation) -> float:
    """Paid elsewhere: when the confirm had committed."""
    request = ConfirmRequest(reservation_id=held.id, asks=Asks.SECRET_KEY, payment_reference="till 1")
    answer = await confirming.confirm_with_provider(shop.world, request, back_end_confirms=False)
    assert isinstance(answer, Reservation), answer
    return time.perf_counter()


async def captured(shop: Shop, held: Reservation, captures: dict[str, float]) -> float:
    """Authorised by a card: when the capture was asked for."""
    payment = await shop.checkout(held)
    assert payment.provider_ref is not None
    shop.provider.authorize(payment.provider_ref)
    await shop.database.run(_notified, payment)
    async with asyncio.timeout(60):
        while (await shop.read(held.id)).status is not Status.CONFIRMED:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return captures[payment.provider_ref]


async def _notified(tx: Tx, payment: Payment) -> None:
    await jobs.enqueue(tx, payment.account_id, "advance", payment.id, due=await tx.now(), lane=payment.id)


def note_captures(shop: Shop) -> dict[str, float]:
    captures: dict[str, float] = {}
    original = shop.provider.capture

    @functools.wraps(original)
    async def capture(ref: str, *rest: Any) -> Any:
        captures[ref] = time.perf_counter()
        return await original(ref, *rest)

    shop.provider.capture = capture  # type: ignore[method-assign]
    return captures


async def exposures(shop: Shop, looks: Looks, check: str) -> dict[str, list[float]]:
    captures = note_captures(shop)
    found: dict[str, list[float]] = {"confirm": [], "capture": []}

    async def once(number: int) -> None:
        start = shop.slot() + timedelta(minutes=10 * number)
        held_at = time.perf_counter()
        held = await shop.held(start, hold_seconds=900)
        await asyncio.sleep(DECIDE_SECONDS * (number // 2) / max(1, CUSTOMERS // 2 - 1))
        way = ("confirm", "capture")[number % 2]
        no_return = await (confirmed(shop, held) if way == "confirm" else captured(shop, held, captures))
        found[way].append(no_return - looks.last(start, held_at, asked=check != CalendarCheck.LOCAL))

    running = []
    for number in range(CUSTOMERS):
        running.append(asyncio.create_task(once(number)))
        await asyncio.sleep(EVERY_SECONDS)
    await asyncio.gather(*running)
    return found


async def measured(on_servers: OnServers, check: CalendarCheck) -> dict[str, list[float]]:
    with (
        tempfile.TemporaryDirectory(prefix="hf-bench-") as folder,
        EmbeddedPostgres(Path(folder)) as server,
    ):
        database, looks = Database(server.start()), Looks()
        await migrate(database)
        await database.open()
        async with practice(database, on_servers, check, looks) as shop:
            found = await exposures(shop, looks, check)
        await database.close()
        return found


async def main() -> None:
    set_up_logs(logging.WARNING)
    figures: dict[str, Any] = {
        "cpu": f"{os.cpu_count()} ×",
        "at": time.strftime("%Y-%m-%d"),
        "latency": LATENCY,
    }
    outward, reader = Outward([ipaddress.ip_network("127.0.0.0/8")]), IcalendarReader()
    with radicale() as one, xandikos() as two:
        for check in CalendarCheck:
            on_servers = OnServers((one, two), outward, reader, f"exposed-{check}")
            for way, seconds in (await measured(on_servers, check)).items():
                ordered = figures[f"{check}_{way}"] = sorted(seconds)
                middle, longest = ordered[len(ordered) // 2], ordered[-1]
                print(f"{check:9} {way:8} median {middle:5.1f} s   longest {longest:5.1f} s", flush=True)
    await outward.aclose()
    await reader.aclose()
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    path = results / f"{time.strftime('%Y%m%d-%H%M%S')}-exposure.json"
    path.write_text(json.dumps(figures, indent=2, ensure_ascii=False))
    print(path, file=sys.stderr)


if __name__ == "__main__":
    asyncio.run(main())
