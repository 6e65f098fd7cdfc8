# SPDX-License-Identifier: Apache-2.0
"""Accounts, their keys, and the keys this database was sealed with."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from holdfirst.store.database import Tx


class Account(msgspec.Struct, frozen=True):
    id: str
    slug: str
    mode: str
    created_at: datetime


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it is known here: its digest, never itself."""

    id: str
    account_id: str
    kind: str
    livemode: bool
    origins: Sequence[str]
    created_at: datetime
    revoked_at: datetime | None


async def insert_account(tx: Tx, account: Account) -> bool:
    """False: the slug is taken."""
    tag = await tx.execute(
        "insert into account (id, slug, mode, created_at) values ($1, $2, $3, $4) on conflict (slug) do nothing",
        account.id,
        account.slug,
        account.mode,
        account.created_at,
    )
    return tag != "INSERT 0 0"


async def accounts(tx: Tx) -> list[Account]:
    return [
        Account(**row)
        for row in await tx.rows("select id, slug, mode, created_at from account order by created_at, slug")
    ]


async def account_by_slug(tx: Tx, slug: str) -> Account | None:
    row = await tx.row("select id, slug, mode, created_at from account where slug = $1", slug)
    return Account(**row) if row else None


async def account_by_id(tx: Tx, account_id: str) -> Account | None:
    row = await tx.row("select id, slug, mode, created_at from account where id = $1", account_id)
    return Account(**row) if row else None


_KEY = """
select api_key.id, account_id, kind, mode = 'live' as livemode, origins, api_key.created_at, revoked_at
from api_key join account on account.id = account_id
"""


async def key_by_digest(tx: Tx, digest: bytes) -> ApiKey | None:
    row = await tx.row(_KEY + " where digest = $1 and revoked_at is null", digest)
    return ApiKey(**row) if row else None


async def keys(tx: Tx, account_id: str) -> list[ApiKey]:
    rows = await tx.rows(_KEY + " where account_id = $1 order by api_key.created_at", account_id)
    return [ApiKey(**row) for row in rows]


async def insert_key(tx: Tx, key: ApiKey, digest: bytes) -> None:
    await tx.execute(
        "insert into api_key (id, account_id, kind, digest, origins, created_at) values ($1, $2, $3, $4, $5, $6)",
        key.id,
        key.account_id,
        key.kind,
        digest,
        list(key.origins),
        key.created_at,
    )


async def revoke_key(tx: Tx, key_id: str) -> bool:
    tag = await tx.execute(
        "update api_key set revoked_at = the_clock() where id = $1 and revoked_at is null", key_id
    )
    return tag != "UPDATE 0"


async def ring_fingerprints(tx: Tx) -> set[str]:
    return {row["fingerprint"] for row in await tx.rows("select fingerprint from key_ring")}


async def add_ring_fingerprint(tx: Tx, fingerprint: str) -> None:
    await tx.execute(
        "insert into key_ring (fingerprint, created_at) values ($1, the_clock()) on conflict do nothing",
        fingerprint,
    )
