# SPDX-License-Identifier: Apache-2.0
"""What is offered: hosts, event types, and time blocked from outside."""

from collections.abc import Sequence
from datetime import datetime

import asyncpg
import msgspec

from holdfirst.availability.schedule import Schedule
from holdfirst.reservation.event_type import EventType, EventTypeRules, Host, Offer
from holdfirst.store.database import Tx

# Hosts

_HOST = """
id, account_id, slug, name, email, time_zone, schedule, payment_account_id, external_id, metadata, created_at
"""


async def insert_host(tx: Tx, host: Host) -> bool:
    """False: the slug is taken."""
    tag = await tx.execute(
        f"insert into host ({_HOST}) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
        " on conflict (account_id, slug) where deleted_at is null do nothing",
        *_host_values(host),
    )
    return tag != "INSERT 0 0"


async def save_host(tx: Tx, host: Host) -> bool:
    """False: the slug is taken."""
    try:
        await tx.execute(
            """
            update host set slug = $3, name = $4, email = $5, time_zone = $6, schedule = $7,
                payment_account_id = $8, external_id = $9, metadata = $10
            where id = $1 and account_id = $2 and created_at = $11
            """,
            *_host_values(host),
        )
    except asyncpg.UniqueViolationError:
        return False
    return True


async def host_slug_taken(tx: Tx, account_id: str, slug: str) -> bool:
    taken: bool = await tx.value(
        "select exists (select from host where account_id = $1 and slug = $2 and deleted_at is null)",
        account_id,
        slug,
    )
    return taken


async def delete_host(tx: Tx, host_id: str) -> None:
    await tx.execute("update host set deleted_at = the_clock() where id = $1", host_id)


async def load_host(tx: Tx, account_id: str, host_id: str) -> Host | None:
    row = await tx.row(
        f"select {_HOST}, feed_version from host where account_id = $1 and id = $2 and deleted_at is null",
        account_id,
        host_id,
    )
    return _host(row) if row else None


async def hosts(tx: Tx, account_id: str, *, before: str | None = None, limit: int = 1000) -> list[Host]:
    """Newest first."""
    rows = await tx.rows(
        f"select {_HOST}, feed_version from host where account_id = $1 and deleted_at is null"
        " and ($2::text is null or id < $2) order by id desc limit $3",
        account_id,
        before,
        limit,
    )
    return [_host(row) for row in rows]


async def host_in_use(tx: Tx, account_id: str, host_id: str) -> bool:
    """Whether an event type names this host, or a live claim takes its time."""
    used: bool = await tx.value(
        """
        select exists (
            select from event_type where account_id = $1 and deleted_at is null and rules -> 'hosts' ? $2
        ) or exists (select from claim where host_id = $2 and live_until > the_clock() and ends_at > the_clock())
        """,
        account_id,
        host_id,
    )
    return used


def _host_values(host: Host) -> tuple[object, ...]:
    return (
        host.id,
        host.account_id,
        host.slug,
        host.name,
        host.email,
        host.time_zone,
        msgspec.json.encode(host.schedule).decode(),
        host.payment_account_id,
        host.external_id,
        msgspec.json.encode(host.metadata).decode(),
        host.created_at,
    )


def _host(row: asyncpg.Record) -> Host:
    return Host(
        id=row["id"],
        account_id=row["account_id"],
        slug=row["slug"],
        name=row["name"],
        email=row["email"],
        time_zone=row["time_zone"],
        schedule=msgspec.json.decode(row["schedule"], type=Schedule),
        payment_account_id=row["payment_account_id"],
        external_id=row["external_id"],
        metadata=msgspec.json.decode(row["metadata"]),
        created_at=row["created_at"],
        connected=row.get("connected", False),
        feed_version=row.get("feed_version", 1),
    )


# Busy


async def put_busy(tx: Tx, account_id: str, host_id: str, key: str, start: datetime, end: datetime) -> None:
    """Under the host's lock, as every taking of its time."""
    await tx.execute(
        """
        insert into busy (account_id, host_id, key, starts_at, ends_at) values ($1, $2, $3, $4, $5)
        on conflict (host_id, source, key) do update set starts_at = excluded.starts_at, ends_at = excluded.ends_at
        """,
        account_id,
        host_id,
        key,
        start,
        end,
    )


async def delete_busy(tx: Tx, host_id: str, key: str) -> None:
    await tx.execute("delete from busy where host_id = $1 and source = '' and key = $2", host_id, key)


# Event types


async def insert_event_type(tx: Tx, event_type: EventType) -> bool:
    """False: the slug is taken."""
    tag = await tx.execute(
        "insert into event_type (id, account_id, slug, rules, created_at) values ($1, $2, $3, $4, $5)"
        " on conflict (account_id, slug) where deleted_at is null do nothing",
        event_type.id,
        event_type.account_id,
        event_type.slug,
        msgspec.json.encode(event_type.rules).decode(),
        event_type.created_at,
    )
    return tag != "INSERT 0 0"


async def save_event_type(tx: Tx, event_type: EventType) -> bool:
    """False: the slug is taken."""
    try:
        await tx.execute(
            "update event_type set slug = $2, rules = $3 where id = $1",
            event_type.id,
            event_type.slug,
            msgspec.json.encode(event_type.rules).decode(),
        )
    except asyncpg.UniqueViolationError:
        return False
    return True


async def lock_event_type(tx: Tx, event_type_id: str) -> None:
    """One change at a time."""
    await tx.execute("select lock_names(array['event_type:' || $1])", event_type_id)


async def event_type_slug_taken(tx: Tx, account_id: str, slug: str) -> bool:
    taken: bool = await tx.value(
        "select exists (select from event_type where account_id = $1 and slug = $2 and deleted_at is null)",
        account_id,
        slug,
    )
    return taken


async def delete_event_type(tx: Tx, event_type_id: str) -> None:
    await tx.execute("update event_type set deleted_at = the_clock() where id = $1", event_type_id)


async def load_event_type(tx: Tx, account_id: str, name: str) -> EventType | None:
    """By id or slug."""
    row = await tx.row(
        "select id, account_id, slug, rules, created_at from event_type"
        " where account_id = $1 and deleted_at is null and (id = $2 or slug = $2)",
        account_id,
        name,
    )
    return _event_type(row) if row else None


async def event_type_by_id(tx: Tx, event_type_id: str) -> EventType | None:
    """Also one that was deleted: reservations outlive it."""
    row = await tx.row(
        "select id, account_id, slug, rules, created_at from event_type where id = $1", event_type_id
    )
    return _event_type(row) if row else None


async def event_type_is_live(tx: Tx, event_type_id: str) -> bool:
    live: bool = await tx.value(
        "select coalesce((rules ->> 'active')::boolean, true) and deleted_at is null from event_type where id = $1",
        event_type_id,
    )
    return live


async def hosts_are_live(tx: Tx, host_ids: Sequence[str]) -> bool:
    count = await tx.value(
        "select count(*) from host where id = any($1) and deleted_at is null", list(host_ids)
    )
    return bool(count == len(set(host_ids)))


async def event_types(
    tx: Tx, account_id: str, *, before: str | None = None, limit: int = 1000
) -> list[EventType]:
    """Newest first."""
    rows = await tx.rows(
        "select id, account_id, slug, rules, created_at from event_type where account_id = $1"
        " and deleted_at is null and ($2::text is null or id < $2) order by id desc limit $3",
        account_id,
        before,
        limit,
    )
    return [_event_type(row) for row in rows]


async def load_offer(tx: Tx, account_id: str, name: str) -> Offer | None:
    """An event type, by id or slug, with its hosts in order."""
    [offer] = await load_offers(tx, [(account_id, name)])
    return offer


async def load_offers(tx: Tx, asked: Sequence[tuple[str, str]]) -> list[Offer | None]:
    """For many (account, id or slug) at once: one round trip, as each slot list and each reserve needs it.

    A slug has no `_`, an id has one; each is looked up by its own index.
    """
    rows = await tx.rows(
        r"""
        select asked.number, type.account_id as type_account_id, type.id as type_id, type.slug as type_slug, rules, type.created_at as type_created_at,
            account.mode = 'live' as livemode, account.catalog_version as catalog, the_clock() as now,
            exists (select from webhook_endpoint where webhook_endpoint.account_id = asked.account_id and deleted_at is null) as has_webhooks,
            host.id, host.account_id, host.slug, host.name, host.email, host.time_zone, host.schedule, host.connected,
            host.payment_account_id, host.external_id, host.metadata, host.created_at
        from unnest($1::text[], $2::text[]) with ordinality as asked(account_id, name, number)
        cross join lateral (
            select * from event_type
            where event_type.id = case when asked.name like '%\_%' then asked.name else (
                select one.id from event_type one
                where one.account_id = asked.account_id and one.slug = asked.name and one.deleted_at is null
            ) end and event_type.account_id = asked.account_id and event_type.deleted_at is null
        ) type
        cross join lateral (select * from account where account.id = asked.account_id) account
        left join lateral jsonb_array_elements_text(rules -> 'hosts') with ordinality as named(host_id, position) on true
        left join lateral (
            select * from host
            where host.id = named.host_id and host.account_id = asked.account_id and host.deleted_at is null
        ) host on true
        order by asked.number, position
        """,
        [account_id for account_id, _ in asked],
        [name for _, name in asked],
    )
    by_number: dict[int, list[asyncpg.Record]] = {}
    for row in rows:
        by_number.setdefault(row["number"], []).append(row)
    return [_offer(by_number[number]) if number in by_number else None for number in range(1, len(asked) + 1)]


def _offer(rows: list[asyncpg.Record]) -> Offer:
    first = rows[0]
    hosts = [_host(row) for row in rows if row["id"]]
    return Offer(
        _event_type(first, "type_"),
        hosts,
        **{name: first[name] for name in ("livemode", "catalog", "now", "has_webhooks")},
    )


def _event_type(row: asyncpg.Record, named: str = "") -> EventType:
    return EventType(
        id=row[f"{named}id"],
        account_id=row[f"{named}account_id"],
        slug=row[f"{named}slug"],
        rules=msgspec.json.decode(row["rules"], type=EventTypeRules),
        created_at=row[f"{named}created_at"],
    )


# Time taken, for the slot list


class TakenTime(msgspec.Struct, frozen=True):
    """One host's taken time as rows of epoch milliseconds; see `availability.slots.Claim`."""

    busy: list[tuple[int, int]]
    claims: list[asyncpg.Record]


async def taken_time(
    tx: Tx, host_ids: Sequence[str], start: datetime, end: datetime, but_reservation: str | None
) -> dict[str, TakenTime]:
    """Busy time and live claims of hosts around [start, end), each sorted by start.

    LATERAL and OFFSET 0, so that each host is asked for by equality: else the planner may drop the index.
    """
    found = {host_id: TakenTime([], []) for host_id in host_ids}
    for row in await tx.rows(
        """
        select host_id, starts_at, ends_at
        from unnest($1::text[]) named(id) cross join lateral (
            select host_id, (extract(epoch from busy.starts_at) * 1000)::bigint as starts_at,
                (extract(epoch from busy.ends_at) * 1000)::bigint as ends_at
            from busy where host_id = named.id and busy.ends_at > $2 and busy.starts_at < $3
            offset 0
        ) time order by starts_at
        """,
        list(host_ids),
        start,
        end,
    ):
        found[row["host_id"]].busy.append((row["starts_at"], row["ends_at"]))
    for row in await tx.rows(
        """
        select time.*
        from unnest($1::text[]) named(id) cross join lateral (
            select host_id, (extract(epoch from claim.starts_at) * 1000)::bigint as starts_at,
                (extract(epoch from claim.ends_at) * 1000)::bigint as ends_at,
                case when live_until = 'infinity' then null
                    else (extract(epoch from live_until) * 1000)::bigint end as live_until,
                (extract(epoch from start) * 1000)::bigint as start, event_type_id, seats_of(places) as seats
            from claim
            where host_id = named.id and claim.ends_at > $2 and claim.starts_at < $3 and live_until > the_clock()
              and ($4::text is null or reservation_id <> $4)
            offset 0
        ) time order by starts_at
        """,
        list(host_ids),
        start,
        end,
        but_reservation,
    ):
        found[row["host_id"]].claims.append(row)
    return found


class TimeMark(msgspec.Struct, frozen=True):
    """What a slot list was made from, in short: equal marks, equal hosts, event types and taken time."""

    catalog: int
    taken: int


async def time_mark(
    tx: Tx, account_id: str, host_ids: Sequence[str], start: datetime, end: datetime
) -> tuple[TimeMark, datetime]:
    """The mark of what `taken_time` and `load_offer` would read, and the clock. Whatever they read is in it."""
    row = await tx.row(
        """
        select (select catalog_version from account where id = $1) as catalog, the_clock() as now,
            coalesce(bit_xor(one.mark), 0) as taken
        from unnest($2::text[]) named(id) cross join lateral (
            select hash_record_extended(busy, 0) as mark
            from busy where host_id = named.id and ends_at > $3 and starts_at < $4
            union all
            select hash_record_extended(claim, 1)
            from claim
            where host_id = named.id and ends_at > $3 and starts_at < $4 and live_until > the_clock()
            offset 0
        ) one
        """,
        account_id,
        list(host_ids),
        start,
        end,
    )
    assert row is not None
    return TimeMark(row["catalog"], row["taken"]), row["now"]
