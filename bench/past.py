# SPDX-License-Identifier: Apache-2.0
"""Reserve at the store with many past reservations, against an empty database of the same server, in one run.

`python bench/past.py` alone, or as a part of `make bench`. BENCH_PAST sets how many (5,000,000 for the figure in
docs/performance.md; it takes some minutes and 4 GB).
"""

import os
import statistics
from urllib.parse import urlsplit, urlunsplit

import uvloop

import lateness
import store as store_bench
from ground import CLIENTS, connection, server
from holdfirst.store.database import Database
from holdfirst.store.migrations import migrate

PAST = int(os.environ.get("BENCH_PAST", "200000"))
ROUNDS = 5
CHUNK = 100_000

# Ended years ago: half were kept (their claims stand), half ran out.
FILL = """
with past as (
    insert into reservation (
        id, account_id, livemode, event_type_id, status, start, "end", buffer_before_minutes, buffer_after_minutes,
        hosts, seats, held_until, hold_seconds, created_at, confirmed_at, ended_at, ended_by, ended_code
    )
    select 'res_' || lpad(number::text, 26, '0'), $1, false, 'ety_past',
        case when number % 2 = 0 then 'confirmed' else 'expired' end,
        at, at + interval '30 minutes', 0, 0, array[host], 1, at, 900, at,
        case when number % 2 = 0 then at end, case when number % 2 = 1 then at end,
        case when number % 2 = 1 then 'clock' end, case when number % 2 = 1 then 'hold_expired' end
    from (
        select number, ($2::text[])[1 + number % cardinality($2::text[])] as host,
            '2010-01-01'::timestamptz + number / cardinality($2::text[]) * interval '30 minutes' as at
        from generate_series($3::bigint, $4::bigint - 1) number
    ) one
    returning id, account_id, event_type_id, hosts, start, "end", status
)
insert into claim (
    account_id, host_id, reservation_id, event_type_id, start, starts_at, ends_at, sitting, seats_max, places,
    live_until, firm
)
select account_id, hosts[1], id, event_type_id, start, start, "end", id, 1, '{[1,2)}', 'infinity', true
from past where status = 'confirmed'
"""


async def measure(url: str) -> dict[str, float]:
    """Interleaved rounds on two databases of one server."""
    rates: dict[str, list[float]] = {"empty": [], "filled": []}
    places = {}
    for name in rates:
        async with connection(url) as link:
            await link.execute(f"create database {name}")
        one = urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
        database = Database(one, connections_max=CLIENTS)
        await migrate(database)
        await database.open()
        account = lateness.account()
        hosts = await store_bench.prepare(database, account)
        if name == "filled":
            await _fill(one, account, hosts)
        places[name] = database, store_bench.Slots(account, hosts)
        await store_bench.measure(database, places[name][1], 1)
    for _ in range(ROUNDS):
        for name, (database, slots) in places.items():
            rates[name].append(await store_bench.measure(database, slots, 2))
    for database, _ in places.values():
        await database.close()
    ratios = [filled / empty for empty, filled in zip(rates["empty"], rates["filled"], strict=True)]
    return {
        "rows": PAST,
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
    }


async def _fill(url: str, account: str, hosts: list[str]) -> None:
    async with connection(url) as link:
        for first in range(0, PAST, CHUNK):
            await link.execute(FILL, account, hosts, first, min(first + CHUNK, PAST))
        await link.execute("vacuum analyze reservation")
        await link.execute("vacuum analyze claim")
        await link.execute("checkpoint")


if __name__ == "__main__":
    with server() as (url, _):
        print(uvloop.run(measure(url)))
