# SPDX-License-Identifier: Apache-2.0
"""Reservations and the time they take."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import msgspec

from holdfirst.payment.money import Money
from holdfirst.reservation.reservation import (
    AtDeadline,
    CalendarVerdict,
    Cause,
    Ended,
    EndedBy,
    EndedCode,
    Reservation,
    Status,
    has_time,
    lapses_at,
)
from holdfirst.store import jobs
from holdfirst.store.database import Tx

SLOTS_CHANNEL = "holdfirst_slots"


class Taken(msgspec.Struct, frozen=True):
    """What the claim answered for one item."""

    outcome: str
    hosts: Sequence[str] | None
    created_at: datetime | None
    held_until: datetime | None
    result: Any


class TimeLost(Exception):
    """The exclusion constraint had the last word: this time is firmly somebody else's."""


async def reserve(tx: Tx, items: Sequence[dict[str, Any]]) -> list[Taken]:
    """Claim and insert many reservations in one round trip; each item has an outcome of its own.

    The members of an item are told in functions.sql; `locks` are the names it needs locked besides its hosts.
    """
    return await claim_under(tx, items, [f"host:{host}" for item in items for host in item["hosts"]])


async def claim_under(tx: Tx, items: Sequence[dict[str, Any]], locks: Sequence[str]) -> list[Taken]:
    """`reserve` under these locks for its hosts, and each item's own (bench/variants.py asks with others)."""
    looked_at = [(host, item["starts_at"], item["ends_at"]) for item in items for host in item["hosts"]]
    rows = await tx.rows(
        "select * from reserve($1, $2, $3, $4, $5)",
        [name for item in items for name in item["locks"]] + list(locks),
        [host for host, _, _ in looked_at],
        [start for _, start, _ in looked_at],
        [end for _, _, end in looked_at],
        msgspec.json.encode(items).decode(),
    )
    return [
        Taken(
            row["outcome"],
            row["hosts"],
            row["created_at"],
            row["held_until"],
            msgspec.json.decode(row["result"]) if row["result"] else None,
        )
        for row in rows
    ]


def key_of(item: dict[str, Any]) -> tuple[str, str] | None:
    """Two items of one call must not have the same idempotency key."""
    return (item["scope"], item["key"]) if item.get("key") else None


async def load(tx: Tx, reservation_id: str) -> Reservation | None:
    """Unlocked: for reads, and to learn which locks to take."""
    row = await tx.row("select * from reservation where id = $1", reservation_id)
    return from_row(row) if row else None


async def owner(tx: Tx, reservation_id: str) -> str | None:
    """The account of a reservation, if there is one."""
    account_id: str | None = await tx.value(
        "select account_id from reservation where id = $1", reservation_id
    )
    return account_id


async def lock(tx: Tx, reservation_id: str) -> Reservation | None:
    """FOR UPDATE; compare with the clock only after this, in a second statement."""
    row = await tx.row("select * from reservation where id = $1 for update", reservation_id)
    return from_row(row) if row else None


async def lock_hosts(tx: Tx, hosts: Sequence[str]) -> None:
    """The first locks of a call that may need time; before anything is read for a decision."""
    await tx.execute("select lock_names($1)", [f"host:{host}" for host in hosts])


async def save(tx: Tx, reservation: Reservation) -> None:
    """Write the whole row, and bring its claims in line with it: that is what `live_until` and `firm` say."""
    jobs.ring(tx)
    await tx.execute(
        """
        update reservation set status = $2, start = $3, "end" = $4, hosts = $5, held_until = $6,
            at_deadline = $7, processing_until = $8, cause = $9, pinned_at = $10, extensions_used = $11,
            confirmed_at = $12, price_minor = $13, currency = $14, payment_account_id = $15, paid_by = $16,
            payment_reference = $17, customer = $18, guests = $19, answers = $20, metadata = $21, sequence = $22,
            ended_by = $23, ended_at = $24, ended_code = $25, cancel_arguments = $26, secret_version = $27,
            in_calendars = $28, calendar_verdict = $29, verified_at = $30, taken_at = $31
        where id = $1
        """,
        *_values(reservation),
    )
    if not has_time(reservation):
        await tx.execute("delete from claim where reservation_id = $1", reservation.id)
        return
    try:
        await tx.execute(
            """
            update claim set live_until = coalesce($2::timestamptz, 'infinity'), firm = $3
            where reservation_id = $1
              and (live_until, firm) is distinct from (coalesce($2::timestamptz, 'infinity'), $3::boolean)
            """,
            reservation.id,
            lapses_at(reservation),
            reservation.status is not Status.HELD,
        )
    except asyncpg.ExclusionViolationError as error:
        raise TimeLost(reservation.id) from error


def _values(reservation: Reservation) -> tuple[object, ...]:
    """In the order in which `save` writes them."""
    price, end = reservation.price, reservation.ended
    return (
        reservation.id,
        reservation.status,
        reservation.start,
        reservation.end,
        list(reservation.hosts),
        reservation.held_until,
        reservation.at_deadline,
        reservation.processing_until,
        reservation.cause,
        reservation.pinned_at,
        reservation.extensions_used,
        reservation.confirmed_at,
        price.amount_minor if price else None,
        price.currency if price else None,
        reservation.payment_account_id,
        reservation.paid_by,
        reservation.payment_reference,
        to_json(reservation.customer),
        to_json(reservation.guests),
        to_json(reservation.answers),
        to_json(reservation.metadata),
        reservation.sequence,
        end.by if end else reservation.released_by,
        end.at if end else None,
        end.code if end else None,
        to_json(reservation.cancel_arguments) if reservation.cancel_arguments is not None else None,
        reservation.secret_version,
        reservation.in_calendars,
        reservation.calendar_verdict,
        reservation.verified_at,
        reservation.taken_at,
    )


async def touch(tx: Tx, reservation_id: str) -> None:
    """A repeat commits a write of its own before it answers."""
    await tx.execute("update reservation set replays = replays + 1 where id = $1", reservation_id)


async def take_time(
    tx: Tx, reservation: Reservation, hosts: Sequence[str], *, seats_max: int, live_until: datetime | None
) -> bool:
    """Take (again, or elsewhere) all of `hosts` for this reservation; their locks are held. False: not free.

    `live_until` None: for good, and so under the exclusion constraint at once.
    """
    try:
        taken: bool = await tx.value(
            """
            select take_time(
                $1, $2, $3, $4, $5, $6, $7, $8, $9, coalesce($10, 'infinity'::timestamptz), $10::timestamptz is null
            )
            """,
            reservation.account_id,
            reservation.id,
            reservation.event_type_id,
            list(hosts),
            reservation.start,
            reservation.start - timedelta(minutes=reservation.buffer_before_minutes),
            reservation.end + timedelta(minutes=reservation.buffer_after_minutes),
            reservation.seats,
            seats_max,
            live_until,
        )
    except asyncpg.ExclusionViolationError as error:
        raise TimeLost(reservation.id) from error
    return taken


async def find(  # noqa: PLR0913
    tx: Tx,
    account_id: str,
    *,
    status: str | None,
    event_type_id: str | None,
    host_id: str | None,
    start_from: datetime | None,
    start_to: datetime | None,
    customer_email: str | None,
    before: str | None,
    limit: int,
) -> list[Reservation]:
    """Newest first. `status` is compared as it reads now, by the same clock that `lapses_at` is compared with."""
    rows = await tx.rows(
        """
        select * from reservation
        where account_id = $1 and ($2::text is null or $2 = case
                when status = 'held' and held_until <= the_clock() and coalesce(processing_until, held_until) <= the_clock()
                    then 'expired'
                when status = 'held' and held_until <= the_clock() then 'processing'
                when status = 'processing' and cause = 'close' and processing_until <= the_clock() then 'released'
                else status end)
          and ($3::text is null or event_type_id = $3)
          and ($4::text is null or $4 = any(hosts))
          and ($5::timestamptz is null or start >= $5)
          and ($6::timestamptz is null or start < $6)
          and ($7::text is null or lower(customer ->> 'email') = lower($7))
          and ($8::text is null or id < $8)
        order by id desc limit $9
        """,
        account_id,
        status,
        event_type_id,
        host_id,
        start_from,
        start_to,
        customer_email,
        before,
        limit,
    )
    return [from_row(row) for row in rows]


async def confirmed_of_host(tx: Tx, host_id: str, back: timedelta) -> list[Reservation]:
    """In the order of their times, from `back` ago on."""
    rows = await tx.rows(
        """
        select reservation.* from claim join reservation on reservation.id = reservation_id
        where host_id = $1 and claim.ends_at > the_clock() - $2::interval and firm and status = 'confirmed'
        order by reservation.start, reservation.id
        """,
        host_id,
        back,
    )
    return [from_row(row) for row in rows]


async def holds_of_email(tx: Tx, account_id: str, digest: bytes, but: str) -> int:
    """Live holds made with publishable keys under this e-mail, besides `but`."""
    count: int = await tx.value(
        "select count(*) from reservation where account_id = $1 and holder_email = $2 and status = 'held'"
        " and held_until > the_clock() and id <> $3",
        account_id,
        digest,
        but,
    )
    return count


async def is_counted(tx: Tx, reservation_id: str) -> bool:
    """Whether it was made with a publishable key, and so counts among its holder's holds."""
    counted: bool = await tx.value(
        "select holder_address is not null from reservation where id = $1", reservation_id
    )
    return counted


async def set_holder_email(tx: Tx, reservation_id: str, digest: bytes) -> None:
    """Count this hold under another e-mail, if it is one that is counted."""
    await tx.execute(
        "update reservation set holder_email = $2 where id = $1 and holder_address is not null",
        reservation_id,
        digest,
    )


def announce_slots(tx: Tx, reservation: Reservation) -> None:
    """Tell open slot lists, after the commit, that something changed on these hosts around that day."""
    for channel, payload in slot_announcements(reservation):
        tx.announce(channel, payload)


def slot_announcements(reservation: Reservation) -> set[tuple[str, str]]:
    """What `announce_slots` announces, for whoever has no transaction to attach it to."""
    day = reservation.start.date().isoformat()
    return {(SLOTS_CHANNEL, f"{host} {day}") for host in reservation.hosts}


def announce_host(tx: Tx, host: str) -> None:
    """Anything may have changed on this host: its hours, its busy time, an event type of it."""
    tx.announce(SLOTS_CHANNEL, f"{host} *")


def to_json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def from_row(row: asyncpg.Record) -> Reservation:
    return Reservation(
        id=row["id"],
        account_id=row["account_id"],
        livemode=row["livemode"],
        event_type_id=row["event_type_id"],
        status=Status(row["status"]),
        start=row["start"],
        end=row["end"],
        buffer_before_minutes=row["buffer_before_minutes"],
        buffer_after_minutes=row["buffer_after_minutes"],
        hosts=tuple(row["hosts"]),
        seats=row["seats"],
        held_until=row["held_until"],
        hold_seconds=row["hold_seconds"],
        created_at=row["created_at"],
        at_deadline=AtDeadline(row["at_deadline"]),
        processing_until=row["processing_until"],
        cause=Cause(row["cause"]) if row["cause"] else None,
        pinned_at=row["pinned_at"],
        extensions_used=row["extensions_used"],
        confirmed_at=row["confirmed_at"],
        price=Money(row["price_minor"], row["currency"]) if row["currency"] else None,
        payment_account_id=row["payment_account_id"],
        paid_by=row["paid_by"],
        payment_reference=row["payment_reference"],
        customer=msgspec.json.decode(row["customer"]),
        guests=msgspec.json.decode(row["guests"]),
        answers=msgspec.json.decode(row["answers"]),
        metadata=msgspec.json.decode(row["metadata"]),
        sequence=row["sequence"],
        ended=Ended(EndedBy(row["ended_by"]), row["ended_at"], EndedCode(row["ended_code"]))
        if row["ended_at"]
        else None,
        released_by=EndedBy(row["ended_by"]) if row["ended_by"] and not row["ended_at"] else None,
        cancel_arguments=msgspec.json.decode(row["cancel_arguments"]) if row["cancel_arguments"] else None,
        secret_version=row["secret_version"],
        in_calendars=row["in_calendars"],
        calendar_verdict=CalendarVerdict(row["calendar_verdict"]) if row["calendar_verdict"] else None,
        verified_at=row["verified_at"],
        taken_at=row["taken_at"],
    )
