# SPDX-License-Identifier: Apache-2.0
"""Payments, refunds, what providers told us, and the payees."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import msgspec

from holdfirst.payment.money import Money
from holdfirst.payment.payment import Disposition, Late, Mode, Payment, PaymentStatus
from holdfirst.payment.provider import CheckoutSpec, Notification
from holdfirst.store.database import Tx


class PaymentAccount(msgspec.Struct, frozen=True, kw_only=True):
    """Where money goes. The credentials are sealed; `effects` unseal them for the length of a call."""

    id: str
    account_id: str
    livemode: bool
    provider: str
    mode: Mode
    sealed_credentials: bytes
    charges_enabled: bool
    problem: str | None
    created_at: datetime


class Refund(msgspec.Struct, frozen=True, kw_only=True):
    """Money owed back, or given back. `sent`: a call was made, and the provider's list is asked before another."""

    id: str
    account_id: str
    payment_id: str
    amount_minor: int
    status: str
    sent: bool
    created_at: datetime


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


async def by_ref(tx: Tx, payment_account_id: str, provider_ref: str) -> Payment | None:
    row = await tx.row(
        "select * from payment where payment_account_id = $1 and provider_ref = $2",
        payment_account_id,
        provider_ref,
    )
    return from_row(row) if row else None


async def save(tx: Tx, payment: Payment) -> None:
    """Write the whole row; the provider's phases only ever move it forward."""
    await tx.execute(
        """
        update payment set status = $2, provider_ref = $3, checkout_url = $4, disposition = $5,
            authorized_minor = $6, captured_minor = $7, refund_due_minor = $8, refunded_minor = $9, late = $10,
            needs_human_code = $11, needs_human_since = $12, disputed = $13, asked_at = $14, closed_at = $15,
            answered_at = $16
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
        "insert into refund (id, account_id, payment_id, amount_minor, created_at) values ($1, $2, $3, $4, $5)",
        refund.id,
        refund.account_id,
        refund.payment_id,
        refund.amount_minor,
        refund.created_at,
    )


async def refunds_of(tx: Tx, payment_id: str) -> list[Refund]:
    """Oldest first."""
    rows = await tx.rows(
        "select id, account_id, payment_id, amount_minor, status, sent, created_at"
        " from refund where payment_id = $1 order by id",
        payment_id,
    )
    return [Refund(**row) for row in rows]


async def mark_refund_sent(tx: Tx, refund_id: str) -> None:
    await tx.execute("update refund set sent = true where id = $1", refund_id)


async def mark_refund_done(tx: Tx, refund_id: str, at: datetime) -> None:
    await tx.execute("update refund set status = 'done', done_at = $2 where id = $1", refund_id, at)


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


# Payees

_PAYEE = """
select payment_account.id, account_id, account.mode = 'live' as livemode, provider, payment_account.mode,
    sealed_credentials, charges_enabled, problem, payment_account.created_at
from payment_account join account on account.id = account_id
"""
_IN_USE = " where deleted_at is null"


def _payee(row: asyncpg.Record) -> PaymentAccount:
    fields: dict[str, Any] = dict(row)
    return PaymentAccount(**fields | {"mode": Mode(row["mode"])})


async def load_payee(tx: Tx, payment_account_id: str) -> PaymentAccount | None:
    row = await tx.row(_PAYEE + _IN_USE + " and payment_account.id = $1", payment_account_id)
    return _payee(row) if row else None


async def load_payee_even_deleted(tx: Tx, payment_account_id: str) -> PaymentAccount:
    """For money that is already on its way: removing a payment account does not remove what it owes."""
    row = await tx.row(_PAYEE + " where payment_account.id = $1", payment_account_id)
    assert row is not None, payment_account_id
    return _payee(row)


async def payees(tx: Tx, account_id: str) -> list[PaymentAccount]:
    rows = await tx.rows(_PAYEE + _IN_USE + " and account_id = $1 order by payment_account.id", account_id)
    return [_payee(row) for row in rows]


async def payees_of_all_accounts(tx: Tx) -> list[PaymentAccount]:
    """Deleted ones too: what is still sealed is to be sealed with the newest key."""
    return [_payee(row) for row in await tx.rows(_PAYEE + " for update")]


async def sealing_fingerprints(tx: Tx) -> set[str]:
    """Of the keys that stored credentials are sealed with: see `key_ring.py`."""
    rows = await tx.rows(
        "select distinct encode(substring(sealed_credentials from 2 for 4), 'hex') as mark from payment_account"
    )
    return {row["mark"] for row in rows}


async def insert_payee(tx: Tx, payee: PaymentAccount) -> None:
    await tx.execute(
        """
        insert into payment_account (id, account_id, provider, mode, sealed_credentials, charges_enabled, problem, created_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8)
        """,
        payee.id,
        payee.account_id,
        payee.provider,
        payee.mode,
        payee.sealed_credentials,
        payee.charges_enabled,
        payee.problem,
        payee.created_at,
    )


async def set_payee_credentials(tx: Tx, payment_account_id: str, sealed: bytes) -> None:
    await tx.execute(
        "update payment_account set sealed_credentials = $2 where id = $1", payment_account_id, sealed
    )


async def set_payee_mode(tx: Tx, payment_account_id: str, mode: Mode) -> None:
    await tx.execute("update payment_account set mode = $2 where id = $1", payment_account_id, mode)


async def payee_in_use(tx: Tx, account_id: str, payment_account_id: str) -> bool:
    """Whether an event type or a host names it."""
    used: bool = await tx.value(
        """
        select exists (
            select from event_type
            where account_id = $1 and deleted_at is null and rules ->> 'payment_account' = $2
        ) or exists (
            select from host where account_id = $1 and deleted_at is null and payment_account_id = $2
        )
        """,
        account_id,
        payment_account_id,
    )
    return used


async def delete_payee(tx: Tx, payment_account_id: str) -> None:
    """Kept as a row: payments that name it stay true."""
    await tx.execute("update payment_account set deleted_at = the_clock() where id = $1", payment_account_id)


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
    )
