# SPDX-License-Identifier: Apache-2.0
"""A second floor: the same rows as a reserve writes, in one plain multi-row insert for each batch, nothing checked."""

import statistics
import time

import msgspec

import store as store_bench
from holdfirst.store.database import Database
from holdfirst.store.reservations import reserve

BATCH = 32
CALLS = 20
ROUNDS = 15

# The columns of write_held in functions.sql, and of the idempotency key.
PLAIN = """
with wanted as materialized (
    select one.*, the_clock() as now, the_clock() + interval '900 seconds' as until
    from jsonb_to_recordset($1::jsonb) as one (
        id text, account_id text, livemode boolean, event_type_id text, hosts text[], start timestamptz,
        "end" timestamptz, starts_at timestamptz, ends_at timestamptz, buffer_before_minutes integer,
        buffer_after_minutes integer, seats integer, seats_max integer, hold_seconds integer, price_minor bigint,
        currency text, customer jsonb, guests jsonb, answers jsonb, metadata jsonb, scope text, key text,
        fingerprint text
    )
), keyed as (
    insert into idempotency_key (scope, key, fingerprint, http_status, result, lease_until, created_at)
    select scope, key, decode(fingerprint, 'hex'), 201, jsonb_build_object('id', id), now, now from wanted
), claimed as (
    insert into claim (
        account_id, host_id, reservation_id, event_type_id, start, starts_at, ends_at, sitting, seats_max, places,
        live_until
    )
    select account_id, hosts[1], id, event_type_id, start, starts_at, ends_at, id, 1, '{[1,2)}', until from wanted
), reserved as (
    insert into reservation (
        id, account_id, livemode, event_type_id, status, start, "end", buffer_before_minutes, buffer_after_minutes,
        hosts, seats, held_until, hold_seconds, created_at, price_minor, currency, customer, guests, answers, metadata
    )
    select id, account_id, livemode, event_type_id, 'held', start, "end", buffer_before_minutes, buffer_after_minutes,
        hosts, seats, until, hold_seconds, now, price_minor, currency, customer, guests, answers, metadata
    from wanted
)
insert into job (key, account_id, kind, subject, due_at, created_at)
select 'deadline:' || id, account_id, 'deadline', id, until, now from wanted
"""


async def measure(database: Database, slots: store_bench.Slots) -> dict[str, float]:
    """One connection, batches of 32, interleaved: microseconds a reservation, and the ratio of the medians."""
    spent: dict[str, list[float]] = {"claim": [], "plain": []}
    async with database.statement() as tx:
        for _ in range(ROUNDS):
            for name, times in spent.items():
                batches = [[slots.item() for _ in range(BATCH)] for _ in range(CALLS)]
                began = time.perf_counter()
                for batch in batches:
                    if name == "claim":
                        await reserve(tx, batch)
                    else:
                        await tx.execute(PLAIN, msgspec.json.encode(batch).decode())
                times.append((time.perf_counter() - began) / CALLS / BATCH * 1e6)
    claim, plain = (statistics.median(spent[name]) for name in ("claim", "plain"))
    return {"claim_us": claim, "plain_us": plain, "ratio": plain / claim}
