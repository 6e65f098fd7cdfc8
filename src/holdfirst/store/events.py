# SPDX-License-Identifier: Apache-2.0
"""What happened: first in an outbox, which triggers fill (migration 0009); then in the order in which it was told."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import asyncpg
import msgspec

from holdfirst.payment.payment import Payment
from holdfirst.reservation.reservation import Reservation
from holdfirst.store import payments, reservations
from holdfirst.store.database import Tx

KEPT_DAYS = 30


class Happened(msgspec.Struct, frozen=True, kw_only=True):
    """Something that nobody was told yet. `reservation` and `payments` as they were when it happened; what is about
    neither has in `said` the row that it is about.
    """

    number: int
    account_id: str
    type: str
    subject: str
    happened_at: datetime
    said: dict[str, Any]
    reservation: Reservation | None = None
    payments: Sequence[Payment] = ()


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """`body`: as it is sent, JSON."""

    id: str
    account_id: str
    type: str
    happened_at: datetime
    body: bytes


async def lock(tx: Tx, account_id: str) -> None:
    """One at a time gives an account's events their order."""
    await tx.execute("select lock_names(array[$1])", f"events:{account_id}")


async def untold(tx: Tx, account_id: str, limit: int) -> list[Happened]:
    """In the order in which it was written down, of what is committed."""
    rows = await tx.rows(
        "select number, account_id, type, subject, happened_at, was from outbox"
        " where account_id = $1 order by number limit $2",
        account_id,
        limit,
    )
    numbers = [row["number"] for row in rows]
    seen = await tx.rows(_RESERVATIONS, account_id, numbers)
    paid = await tx.rows(_PAYMENTS, account_id, numbers)
    reservation_of = {row["outbox_number"]: reservations.from_row(row) for row in seen}
    payments_of: dict[int, list[Payment]] = {}
    for row in paid:
        payments_of.setdefault(row["outbox_number"], []).append(payments.from_row(row))
    return [_happened(row, reservation_of, payments_of) for row in rows]


_THEN = """
select outbox.number as outbox_number, one.*
from outbox cross join lateral {read} one
where outbox.account_id = $1 and number = any($2) and payments is not null
order by outbox.number, one.id
"""
_RESERVATIONS = _THEN.format(read="json_populate_record(null::reservation, was)")
_PAYMENTS = _THEN.format(read="json_populate_recordset(null::payment, payments)")
"""Rows of another day, read as rows of today's table: columns that came since are null."""


def _happened(
    row: asyncpg.Record, reservation_of: dict[int, Reservation], payments_of: dict[int, list[Payment]]
) -> Happened:
    number = row["number"]
    reservation = reservation_of.get(number)
    return Happened(
        number=number,
        account_id=row["account_id"],
        type=row["type"],
        subject=row["subject"],
        happened_at=row["happened_at"],
        said={} if reservation else msgspec.json.decode(row["was"]),
        reservation=reservation,
        payments=payments_of.get(number, ()),
    )


async def tell(tx: Tx, account_id: str, numbers: Sequence[int], told: Sequence[Event]) -> None:
    """Out of the outbox, and into the order that readers see. The caller holds the lock."""
    await tx.execute(
        "delete from outbox where account_id = $1 and number = any($2)", account_id, list(numbers)
    )
    await tx.execute(
        """
        insert into event (id, account_id, type, happened_at, told_at, body)
        select id, $1, type, happened_at, the_clock(), body
        from unnest($2::text[], $3::text[], $4::timestamptz[], $5::bytea[]) with ordinality
            one(id, type, happened_at, body, place)
        order by place
        """,
        account_id,
        [one.id for one in told],
        [one.type for one in told],
        [one.happened_at for one in told],
        [one.body for one in told],
    )


async def exists(tx: Tx, account_id: str, event_id: str) -> bool:
    found: bool = await tx.value(
        "select exists (select from event where account_id = $1 and id = $2)", account_id, event_id
    )
    return found


async def after(tx: Tx, account_id: str, event_id: str | None, limit: int) -> list[Event]:
    """In the order in which they were told, from the one after `event_id` on."""
    rows = await tx.rows(
        """
        select id, account_id, type, happened_at, body from event
        where account_id = $1 and position > coalesce((select position from event where id = $2), 0)
        order by position limit $3
        """,
        account_id,
        event_id,
        limit,
    )
    return [Event(**row) for row in rows]


async def sweep(tx: Tx) -> None:
    """Forget what is older than thirty days, told or not, with its deliveries."""
    await tx.execute("delete from event where told_at < the_clock() - make_interval(days => $1)", KEPT_DAYS)
    await tx.execute(
        "delete from outbox where happened_at < the_clock() - make_interval(days => $1)", KEPT_DAYS
    )
