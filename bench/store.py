# SPDX-License-Identifier: Apache-2.0
"""Reserve at the store, one item a call: claim, reservation, job and idempotency key rows, one commit."""

import asyncio
import itertools
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta

from ground import CLIENTS, SECONDS
from holdfirst import ids
from holdfirst.store.database import Database, Tx
from holdfirst.store.reservations import Taken, key_of, reserve
from holdfirst.store.together import Together

AskAll = Callable[[Tx, Sequence[dict]], Awaitable[Sequence[Taken]]]
HOSTS = 400
START = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(days=1)


async def prepare(database: Database, account: str) -> list[str]:
    hosts = [ids.make("hst") for _ in range(HOSTS)]
    async with database.statement() as tx:
        await tx.execute(
            "insert into account (id, slug, mode, created_at) values ($1, $1, 'test', the_clock())", account
        )
        await tx.execute(
            "insert into host (id, account_id, slug, name, time_zone, schedule, created_at)"
            " select id, $1, id, 'Host', 'UTC', '{}', the_clock() from unnest($2::text[]) id",
            account,
            hosts,
        )
    return hosts


class Slots:
    """Never the same slot twice, over all hosts in turn."""

    def __init__(self, account: str, hosts: list[str], catalog: int = HOSTS) -> None:
        self._account = account
        self._catalog = catalog
        self._hosts = hosts
        self._event_type = ids.make("ety")
        self._numbers = itertools.count()

    def item(self) -> dict:
        number = next(self._numbers)
        host = self._hosts[number % len(self._hosts)]
        start = START + timedelta(minutes=30 * (number // len(self._hosts)))
        end = start + timedelta(minutes=30)
        return {
            "locks": [],
            "id": ids.make("res"),
            "account_id": self._account,
            "catalog": self._catalog,
            "decided_at": datetime.now(UTC),
            "livemode": False,
            "event_type_id": self._event_type,
            "hosts": [host],
            "all_hosts": False,
            "start": start,
            "end": end,
            "starts_at": start,
            "ends_at": end,
            "buffer_before_minutes": 0,
            "buffer_after_minutes": 0,
            "seats": 1,
            "seats_max": 1,
            "hold_seconds": 900,
            "price_minor": 6000,
            "currency": "EUR",
            "payees": {},
            "customer": {"name": "Ada", "email": "ada@example.org"},
            "guests": [],
            "answers": {},
            "metadata": {},
            "scope": "bench",
            "key": secrets.token_hex(8),
            "fingerprint": "00" * 32,
        }


async def measure(database: Database, slots: Slots, seconds: float = SECONDS) -> float:
    """Reservations a second, by as many clients as the floor has."""
    return await measure_many([database], slots, seconds)


async def measure_many(
    databases: list[Database], slots: Slots, seconds: float = SECONDS, ask_all: AskAll = reserve
) -> float:
    """The same, the clients spread over as many API processes as there are databases."""
    end = time.perf_counter() + seconds

    async def client(claims: Together) -> int:
        count = 0
        while time.perf_counter() < end:
            taken = await claims.ask(slots.item())
            assert taken.outcome == "held", taken
            count += 1
        return count

    began = time.perf_counter()
    together = [Together(database, ask_all, key_of) for database in databases]
    counts = await asyncio.gather(*(client(together[number % len(together)]) for number in range(CLIENTS)))
    return sum(counts) / (time.perf_counter() - began)
