# SPDX-License-Identifier: Apache-2.0
"""Payment accounts: where money goes, and whose credentials open it."""

from datetime import datetime

import asyncpg
import msgspec

from holdfirst.payment.money import Money
from holdfirst.payment.payment import Methods, Mode
from holdfirst.store import jobs
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
    methods: Methods | None = None
    platform_id: str | None = None
    connected_account: str | None = None
    fee_basis_points: int | None = None
    fee_minor: int | None = None
    checked_at: datetime | None = None
    notifies: bool = True

    @property
    def sealed_for(self) -> str:
        """Whose credentials these are: a connected account's are its platform's."""
        return self.platform_id or self.id

    def fee_on(self, amount: Money) -> int:
        """The platform's share, in minor units; what is not a whole one stays with the connected account."""
        if self.fee_basis_points is not None:
            return amount.amount_minor * self.fee_basis_points // 10_000
        return min(self.fee_minor or 0, amount.amount_minor)


_PAYEE = """
select own.id, own.account_id, account.mode = 'live' as livemode, own.provider, own.mode, own.methods,
    coalesce(platform.sealed_credentials, own.sealed_credentials) as sealed_credentials,
    own.charges_enabled and coalesce(platform.charges_enabled, true) as charges_enabled,
    coalesce(own.problem, platform.problem) as problem, own.created_at, own.platform_id, own.connected_account,
    own.fee_basis_points, own.fee_minor, own.checked_at, own.notifies
from payment_account own join account on account.id = own.account_id
left join payment_account platform on platform.id = own.platform_id
"""
_IN_USE = " where own.deleted_at is null"


def _payee(row: asyncpg.Record) -> PaymentAccount:
    said = dict(row) | {"mode": Mode(row["mode"])}
    return PaymentAccount(**said | {"methods": Methods(row["methods"]) if row["methods"] else None})


async def load(tx: Tx, payment_account_id: str) -> PaymentAccount | None:
    row = await tx.row(_PAYEE + _IN_USE + " and own.id = $1", payment_account_id)
    return _payee(row) if row else None


async def load_even_deleted(tx: Tx, payment_account_id: str) -> PaymentAccount:
    """For money that is already on its way: removing a payment account does not remove what it owes."""
    row = await tx.row(_PAYEE + " where own.id = $1", payment_account_id)
    assert row is not None, payment_account_id
    return _payee(row)


async def of_account(tx: Tx, account_id: str) -> list[PaymentAccount]:
    """Oldest first."""
    rows = await tx.rows(_PAYEE + _IN_USE + " and own.account_id = $1 order by own.id", account_id)
    return [_payee(row) for row in rows]


async def connected_to(tx: Tx, platform_id: str, connected_account: str) -> str | None:
    """The payment account of a platform's connected one; removed ones too, for money that is still on its way."""
    found: str | None = await tx.value(
        "select id from payment_account where platform_id = $1 and connected_account = $2"
        " order by deleted_at nulls first limit 1",
        platform_id,
        connected_account,
    )
    return found


async def at_companies(tx: Tx) -> list[PaymentAccount]:
    """Of all accounts, those where money moves; removed ones too."""
    return [_payee(row) for row in await tx.rows(_PAYEE + " where own.provider <> 'sandbox' order by own.id")]


async def own_credentials(tx: Tx) -> list[tuple[str, bytes]]:
    """(payment account, sealed) of all accounts, locked. Deleted ones too: they are to be sealed with the newest key."""
    rows = await tx.rows("select id, sealed_credentials from payment_account order by id for update")
    return [(row["id"], row["sealed_credentials"]) for row in rows]


async def sealing_fingerprints(tx: Tx) -> set[str]:
    """Of the keys that stored credentials are sealed with: see `key_ring.py`."""
    rows = await tx.rows(
        "select distinct encode(substring(sealed_credentials from 2 for 4), 'hex') as mark from payment_account"
    )
    return {row["mark"] for row in rows}


async def insert(tx: Tx, payee: PaymentAccount) -> bool:
    """False: the same connected account has one already."""
    tag = await tx.execute(
        """
        insert into payment_account (
            id, account_id, provider, mode, sealed_credentials, charges_enabled, problem, created_at, methods,
            platform_id, connected_account, fee_basis_points, fee_minor, checked_at, notifies
        ) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
        on conflict (platform_id, connected_account) where deleted_at is null do nothing
        """,
        payee.id,
        payee.account_id,
        payee.provider,
        payee.mode,
        payee.sealed_credentials,
        payee.charges_enabled,
        payee.problem,
        payee.created_at,
        payee.methods,
        payee.platform_id,
        payee.connected_account,
        payee.fee_basis_points,
        payee.fee_minor,
        payee.checked_at,
        payee.notifies,
    )
    return tag != "INSERT 0 0"


async def set_credentials(tx: Tx, payment_account_id: str, sealed: bytes) -> None:
    await tx.execute(
        "update payment_account set sealed_credentials = $2 where id = $1", payment_account_id, sealed
    )


async def set_terms(tx: Tx, payee: PaymentAccount) -> None:
    """For payments from now on; one that is open keeps what it was opened with."""
    await tx.execute(
        "update payment_account set mode = $2, methods = $3, fee_basis_points = $4, fee_minor = $5 where id = $1",
        payee.id,
        payee.mode,
        payee.methods,
        payee.fee_basis_points,
        payee.fee_minor,
    )


async def set_standing(tx: Tx, payment_account_id: str, charges_enabled: bool, problem: str | None) -> None:
    jobs.ring(tx)
    await tx.execute(
        "update payment_account set charges_enabled = $2, problem = $3, checked_at = the_clock() where id = $1",
        payment_account_id,
        charges_enabled,
        problem,
    )


async def set_notifies(tx: Tx, payment_account_id: str, notifies: bool) -> None:
    await tx.execute("update payment_account set notifies = $2 where id = $1", payment_account_id, notifies)


async def in_use(tx: Tx, account_id: str, payment_account_id: str) -> bool:
    """Whether an event type, a host, or a connected account names it."""
    used: bool = await tx.value(
        """
        select exists (
            select from event_type
            where account_id = $1 and deleted_at is null and rules ->> 'payment_account' = $2
        ) or exists (
            select from host where account_id = $1 and deleted_at is null and payment_account_id = $2
        ) or exists (
            select from payment_account where platform_id = $2 and deleted_at is null
        )
        """,
        account_id,
        payment_account_id,
    )
    return used


async def delete(tx: Tx, payment_account_id: str) -> None:
    """Kept as a row: payments that name it stay true."""
    await tx.execute("update payment_account set deleted_at = the_clock() where id = $1", payment_account_id)
