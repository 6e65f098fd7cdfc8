# SPDX-License-Identifier: Apache-2.0
"""Payments, refunds, and what providers told us."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import asyncpg
import msgspec

from holdfirst.payment.money import Money
from holdfirst.payment.payment import Disposition, Late, Mode, Payment, PaymentStatus
from holdfirst.payment.provider import CheckoutSpec, Notification
from holdfirst.payment.refund import Refund, RefundStatus
from holdfirst.store import jobs
from holdfirst.store.database import Tx


async def insert(tx: Tx, payment: Payment, spec: CheckoutSpec) -> None:
    await tx.execute(
        """
        insert into payment (
            id, account_id, livemode, reservation_id, payment_account_id, provider, mode, status, amount_minor,
            currency, pay_before, return_url, cancel_url, created_at, spec
        ) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
        """,
        payment.id,
        payment.account_id,
        payment.livemode,
        payment.reservation_id,
        payment.payment_account_id,
        payment.provider,
        payment.mode,
        payment.status,
        payment.amount.amount_minor,
        payment.amount.currency,
        payment.pay_before,
        payment.return_url,
        payment.cancel_url,
        payment.created_at,
        msgspec.json.encode(spec).decode(),
    )


async def load(tx: Tx, payment_id: str) -> Payment | None:
    row = await tx.row("select * from payment where id = $1", payment_id)
    return from_row(row) if row else None


async def lock(tx: Tx, payment_id: str) -> Payment | None:
    """After the reservation's row, never before it."""
    row = await tx.row("select * from payment where id = $1 for update", payment_id)
    return from_row(row) if row else None


async def lock_all(tx: Tx, reservation_id: str) -> list[Payment]:
    """Every payment of a reservation, oldest first, locked."""
    rows = await tx.rows(
        "select * from payment where reservation_id = $1 order by id for update", reservation_id
    )
    return [from_row(row) for row in rows]


async def of_reservations(tx: Tx, reservation_ids: Sequence[str]) -> dict[str, list[Payment]]:
    """Unlocked, oldest first, for answers."""
    found: dict[str, list[Payment]] = {one: [] for one in reservation_ids}
    rows = await tx.rows(
        "select * from payment where reservation_id = any($1) order by id", list(reservation_ids)
    )
    for row in rows:
        found[row["reservation_id"]].append(from_row(row))
    return found


async def spec_of(tx: Tx, payment_id: str) -> CheckoutSpec:
    text: str = await tx.value("select spec from payment where id = $1", payment_id)
    return msgspec.json.decode(text, type=CheckoutSpec)


async def save_spec(tx: Tx, payment_id: str, spec: CheckoutSpec) -> None:
    await tx.execute(
        "update payment set spec = $2 where id = $1", payment_id, msgspec.json.encode(spec).decode()
    )


async def by_ref(tx: Tx, payment_account_id: str, provider_ref: str) -> Payment | None:
    row = await tx.row(
        "select * from payment where payment_account_id = $1 and provider_ref = $2",
        payment_account_id,
        provider_ref,
    )
    return from_row(row) if row else None


async def by_money_ref(tx: Tx, payment_account_id: str, money_ref: str) -> Payment | None:
    row = await tx.row(
        "select * from payment where payment_account_id = $1 and money_ref = $2",
        payment_account_id,
        money_ref,
    )
    return from_row(row) if row else None


async def save(tx: Tx, payment: Payment) -> None:
    """Write the whole row; the provider's phases only ever move it forward."""
    jobs.ring(tx)
    await tx.execute(
        """
        update payment set status = $2, provider_ref = $3, checkout_url = $4, disposition = $5,
            authorized_minor = $6, captured_minor = $7, refund_due_minor = $8, refunded_minor = $9, late = $10,
            needs_human_code = $11, needs_human_since = $12, disputed = $13, asked_at = $14, closed_at = $15,
            answered_at = $16, money_ref = $17, capture_before = $18, refunded_at = $19
        where id = $1
        """,
        payment.id,
        payment.status,
        payment.provider_ref,
        payment.checkout_url,
        payment.disposition,
        payment.authorized_minor,
        payment.captured_minor,
        payment.refund_due_minor,
        payment.refunded_minor,
        payment.late,
        payment.needs_human_code,
        payment.needs_human_since,
        payment.disputed,
        payment.asked_at,
        payment.closed_at,
        payment.answered_at,
        payment.money_ref,
        payment.capture_before,
        payment.refunded_at,
    )


async def note_resolution(tx: Tx, payment_id: str, note: str) -> None:
    await tx.execute("update payment set resolution = $2 where id = $1", payment_id, note)


async def ask_now(tx: Tx, payment_id: str, least: timedelta) -> bool:
    """Whether this payment's provider may be asked again already; if so, it counts as asked now."""
    tag = await tx.execute(
        "update payment set asked_at = the_clock()"
        " where id = $1 and (asked_at is null or asked_at <= the_clock() - $2::interval)",
        payment_id,
        least,
    )
    return tag != "UPDATE 0"


async def can_bring_money(tx: Tx) -> list[tuple[str, str]]:
    """(account, payment) of every payment that can still bring money, for a worker's start."""
    rows = await tx.rows(
        "select account_id, id from payment where status in ('open', 'processing', 'authorized') order by id"
    )
    return [(row["account_id"], row["id"]) for row in rows]


async def since(tx: Tx, payment_account_id: str, earliest: datetime) -> list[Payment]:
    """A payment account's, oldest first."""
    rows = await tx.rows(
        "select * from payment where payment_account_id = $1 and created_at >= $2 order by id",
        payment_account_id,
        earliest,
    )
    return [from_row(row) for row in rows]


async def find(  # noqa: PLR0913  # one argument a filter
    tx: Tx,
    account_id: str,
    *,
    status: str | None,
    reservation_id: str | None,
    needs_human: bool | None,
    before: str | None,
    limit: int,
) -> list[Payment]:
    rows = await tx.rows(
        """
        select * from payment
        where account_id = $1 and ($2::text is null or status = $2)
          and ($3::text is null or reservation_id = $3)
          and ($4::boolean is null or (needs_human_code is not null) = $4)
          and ($5::text is null or id < $5)
        order by id desc limit $6
        """,
        account_id,
        status,
        reservation_id,
        needs_human,
        before,
        limit,
    )
    return [from_row(row) for row in rows]


async def insert_refund(tx: Tx, refund: Refund) -> None:
    await tx.execute(
        "insert into refund (id, account_id, payment_id, amount_minor, created_at, key, sent)"
        " values ($1, $2, $3, $4, $5, $6, $7)",
        refund.id,
        refund.account_id,
        refund.payment_id,
        refund.amount_minor,
        refund.created_at,
        refund.key,
        refund.sent,
    )
    await save_refund(tx, refund)


async def refunds_of(tx: Tx, payment_id: str) -> list[Refund]:
    """Oldest first."""
    rows = await tx.rows(
        "select id, account_id, payment_id, amount_minor, created_at, key, status, sent, taken_at, failed, elsewhere,"
        " provider_ref from refund where payment_id = $1 order by id",
        payment_id,
    )
    return [Refund(**dict(row) | {"status": RefundStatus(row["status"])}) for row in rows]


async def save_refund(tx: Tx, refund: Refund) -> None:
    """All but `sent` and `taken_at`, which only ever come true, without the payment's lock."""
    await tx.execute(
        """
        update refund set status = $2, failed = $3, elsewhere = $4, provider_ref = $5, key = $6,
            done_at = case when $2 = 'done' then coalesce(done_at, the_clock()) end
        where id = $1
        """,
        refund.id,
        refund.status,
        refund.failed,
        refund.elsewhere,
        refund.provider_ref,
        refund.key,
    )


async def mark_refund_sent(tx: Tx, refund_id: str, least: timedelta) -> bool:
    """Whether a call for it may be made, the last one at least so long ago; if so, it counts as made now."""
    tag = await tx.execute(
        "update refund set sent = true, sent_at = the_clock()"
        " where id = $1 and (sent_at is null or sent_at <= the_clock() - $2::interval)",
        refund_id,
        least,
    )
    return tag != "UPDATE 0"


async def mark_refund_taken(tx: Tx, refund_id: str) -> None:
    await tx.execute("update refund set taken_at = the_clock() where id = $1", refund_id)


async def store_notification(tx: Tx, provider: str, payment_account_id: str, raw: Notification) -> None:
    await tx.execute(
        """
        insert into notification (provider, payment_account_id, received_at, method, query, headers, body)
        values ($1, $2, the_clock(), $3, $4, $5, $6)
        """,
        provider,
        payment_account_id,
        raw.method,
        msgspec.json.encode(raw.query).decode(),
        msgspec.json.encode(raw.headers).decode(),
        raw.body,
    )


async def last_notification(tx: Tx) -> tuple[str, dict[str, str], bytes]:
    """(path, headers, body) of the newest notification, as it came."""
    row = await tx.row("select * from notification order by id desc limit 1")
    assert row is not None
    headers = msgspec.json.decode(row["headers"], type=dict[str, str])
    kept = {name: value for name, value in headers.items() if name not in ("host", "content-length")}
    return f"/v1/notifications/{row['provider']}/{row['payment_account_id']}", kept, row["body"]


def from_row(row: asyncpg.Record) -> Payment:
    return Payment(
        id=row["id"],
        account_id=row["account_id"],
        livemode=row["livemode"],
        reservation_id=row["reservation_id"],
        payment_account_id=row["payment_account_id"],
        provider=row["provider"],
        mode=Mode(row["mode"]),
        status=PaymentStatus(row["status"]),
        amount=Money(row["amount_minor"], row["currency"]),
        pay_before=row["pay_before"],
        return_url=row["return_url"],
        cancel_url=row["cancel_url"],
        created_at=row["created_at"],
        provider_ref=row["provider_ref"],
        checkout_url=row["checkout_url"],
        disposition=Disposition(row["disposition"]) if row["disposition"] else None,
        authorized_minor=row["authorized_minor"],
        captured_minor=row["captured_minor"],
        refund_due_minor=row["refund_due_minor"],
        refunded_minor=row["refunded_minor"],
        late=Late(row["late"]) if row["late"] else None,
        needs_human_code=row["needs_human_code"],
        needs_human_since=row["needs_human_since"],
        disputed=row["disputed"],
        asked_at=row["asked_at"],
        answered_at=row["answered_at"],
        closed_at=row["closed_at"],
        money_ref=row["money_ref"],
        capture_before=row["capture_before"],
        refunded_at=row["refunded_at"],
    )
