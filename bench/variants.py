# SPDX-License-Identifier: Apache-2.0
"""What was settled by measurement, measured again: the store as it is against the store with one thing other.

`python bench/variants.py` prints the ratio of each to the store as it is, medians of interleaved rounds in one run; each
variant has a database of its own on one server. The decisions are in docs/decisions/.
"""

import contextlib
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

import uvloop

import lateness
import store as store_bench
from ground import CLIENTS, ROUNDS, connection, server
from holdfirst.store import database as database_module
from holdfirst.store import reservations, together
from holdfirst.store.database import Database
from holdfirst.store.migrations import migrate

SECONDS = 2
DROPPED = "alter table claim drop constraint a_host_is_in_one_place, drop constraint a_seat_is_taken_once;"
ON_ALL = (
    DROPPED
    + """
    alter table claim
    add constraint a_host_is_in_one_place exclude using gist (
        host_id with =, tstzrange(starts_at, ends_at) with &&, sitting with <>
    ),
    add constraint a_seat_is_taken_once exclude using gist (host_id with =, sitting with =, places with &&);
"""
)


@dataclass
class Variant:
    """What is other: SQL after the migration, session settings, the constants of together.py, whose locks are taken.

    `after`: what is done after each round, outside of the measured time.
    """

    sql: str = ""
    session: dict[str, str] = field(default_factory=dict)
    together: dict[str, int] = field(default_factory=dict)
    lock_days: bool = False
    hosts: int = store_bench.HOSTS
    processes: int = 1
    after: tuple[str, ...] = ()


FEW = {"hosts": 4, "processes": 4}
"""Four processes on four hosts: what they wait for is each other's locks."""

ENDED = (
    "delete from claim",
    "delete from job",
    (
        "update reservation set status = 'expired', ended_at = held_until,"
        " ended_by = 'clock', ended_code = 'hold_expired' where status = 'held'"
    ),
)
"""As if all that was held had run out, and the worker had been there."""
NEVER = (
    "alter table claim set (autovacuum_enabled = off); alter table job set (autovacuum_enabled = off);"
    " alter table reservation set (autovacuum_enabled = off);"
)
VACUUMED = ("vacuum claim", "vacuum job", "vacuum reservation")

VARIANTS = {
    "as it is": Variant(),
    "no exclusion constraint": Variant(sql=DROPPED),
    "no events": Variant(sql="alter table reservation disable trigger holds_are_told;"),
    "the constraint on all claims": Variant(sql=ON_ALL),
    "one call at a time": Variant(together={"CALLS_MAX": 1}),
    "a second call from 8 waiting": Variant(together={"MANY": 8}),
    "at most 16 a call": Variant(together={"ITEMS_MAX": 16}),
    "at most 256 a call": Variant(together={"ITEMS_MAX": 256}),
    "JIT on": Variant(session={"jit": "on"}),
    "plans for values": Variant(session={"plan_cache_mode": "force_custom_plan"}),
    "plans as PostgreSQL chooses": Variant(session={"plan_cache_mode": "auto"}),
    "fillfactor 100": Variant(
        sql="alter table claim set (fillfactor = 100); alter table reservation set (fillfactor = 100);"
        " alter table job set (fillfactor = 100);"
    ),
    "each round ended": Variant(after=ENDED),
    "each round ended, never vacuumed": Variant(sql=NEVER, after=ENDED),
    "each round ended, vacuumed at once": Variant(after=ENDED + VACUUMED),
    "4 processes, 4 hosts": Variant(**FEW),
    "4 processes, 4 hosts, locks by host and day": Variant(**FEW, lock_days=True),
}


async def measure(url: str, names: list[str], rounds: int = ROUNDS) -> dict[str, float]:
    """Name → median ratio to `as it is` of the same round."""
    rates: dict[str, list[float]] = {name: [] for name in names}
    slots = {}
    for number, name in enumerate(names):
        slots[name] = await _prepare(url, number, VARIANTS[name])
    for _ in range(rounds):
        for number, name in enumerate(names):
            rates[name].append(await _measured(_of(url, number), VARIANTS[name], slots[name]))
            async with connection(_of(url, number)) as link:
                for statement in VARIANTS[name].after:
                    await link.execute(statement)
    base = rates["as it is"]
    return {
        name: statistics.median(rate / one for rate, one in zip(found, base, strict=True))
        for name, found in rates.items()
    }


async def _prepare(url: str, number: int, variant: Variant) -> store_bench.Slots:
    async with connection(url) as link:
        await link.execute(f"create database variant_{number}")
    database = Database(_of(url, number))
    await migrate(database)
    await database.open()
    async with database.statement() as tx:
        for statement in filter(None, (one.strip() for one in variant.sql.split(";"))):
            await tx.execute(statement)
    account = lateness.account()
    hosts = await store_bench.prepare(database, account)
    await database.close()
    return store_bench.Slots(account, hosts[: variant.hosts], catalog=len(hosts))


async def _measured(url: str, variant: Variant, slots: store_bench.Slots) -> float:
    with _patched(variant):
        databases = [Database(url, connections_max=CLIENTS) for _ in range(variant.processes)]
        for one in databases:
            await one.open()
        if variant.lock_days:
            rate = await store_bench.measure_many(databases, slots, SECONDS, _by_host_and_day)
        else:
            rate = await store_bench.measure_many(databases, slots, SECONDS)
        for one in databases:
            await one.close()
    return rate


async def _by_host_and_day(tx, items):
    """`reservations.reserve` with the lock of a host narrowed to the days that an item touches."""
    looked_at = [(host, item["starts_at"], item["ends_at"]) for item in items for host in item["hosts"]]
    days = [f"host:{host} {at:%F}" for host, start, end in looked_at for at in (start, end)]
    return await reservations.claim_under(tx, items, days)


@contextlib.contextmanager
def _patched(variant: Variant) -> Iterator[None]:
    session = dict(database_module.SESSION)
    constants = {name: getattr(together, name) for name in variant.together}
    database_module.SESSION.update(variant.session)
    for name, value in variant.together.items():
        setattr(together, name, value)
    try:
        yield
    finally:
        database_module.SESSION.clear()
        database_module.SESSION.update(session)
        for name, value in constants.items():
            setattr(together, name, value)


def _of(url: str, number: int) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/variant_{number}"))


def main() -> None:
    """With arguments: those whose names have one of these words in them."""
    words = sys.argv[1:]
    names = [
        "as it is",
        *(name for name in list(VARIANTS)[1:] if not words or any(one in name for one in words)),
    ]
    with server() as (url, _):
        for name, ratio in uvloop.run(measure(url, names)).items():
            print(f"{name:50} {ratio:.2f}")


if __name__ == "__main__":
    main()
