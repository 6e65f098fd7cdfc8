# SPDX-License-Identifier: Apache-2.0
"""Webhook endpoints, and what is delivered to each."""

import enum
from collections.abc import Sequence
from datetime import datetime

import msgspec

from holdfirst.store.database import Tx


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """`types` empty: all of them. `sealed_before` signs too until `before_until`."""

    id: str
    account_id: str
    url: str
    types: Sequence[str]
    sealed_secret: bytes
    created_at: datetime
    sealed_before: bytes | None = None
    before_until: datetime | None = None

    def wants(self, event_type: str) -> bool:
        return not self.types or event_type in self.types


class DeliveryStatus(enum.StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """`due_at`: of the next attempt, while it is pending."""

    id: str
    account_id: str
    endpoint_id: str
    event_id: str
    event_type: str
    status: DeliveryStatus
    attempts: int
    created_at: datetime
    attempted_at: datetime | None
    due_at: datetime | None
    response_status: int | None
    error: str | None


_ENDPOINT = """
select id, account_id, url, types, sealed_secret, created_at, sealed_before, before_until
from webhook_endpoint where deleted_at is null
"""
_DELIVERY = """
select webhook_delivery.id, webhook_delivery.account_id, endpoint_id, event_id, type as event_type, status, attempts,
    created_at, attempted_at, due_at, response_status, error
from webhook_delivery join event on event.id = event_id
"""


async def insert(tx: Tx, endpoint: Endpoint) -> None:
    await tx.execute(
        "insert into webhook_endpoint (id, account_id, url, types, sealed_secret, created_at)"
        " values ($1, $2, $3, $4, $5, $6)",
        endpoint.id,
        endpoint.account_id,
        endpoint.url,
        list(endpoint.types),
        endpoint.sealed_secret,
        endpoint.created_at,
    )


async def endpoints(tx: Tx, account_id: str) -> list[Endpoint]:
    """Oldest first."""
    rows = await tx.rows(_ENDPOINT + " and account_id = $1 order by id", account_id)
    return [Endpoint(**row) for row in rows]


async def load(tx: Tx, endpoint_id: str) -> Endpoint | None:
    row = await tx.row(_ENDPOINT + " and id = $1", endpoint_id)
    return Endpoint(**row) if row else None


async def lock(tx: Tx, endpoint_id: str) -> Endpoint | None:
    row = await tx.row(_ENDPOINT + " and id = $1 for update", endpoint_id)
    return Endpoint(**row) if row else None


async def save(tx: Tx, endpoint: Endpoint) -> None:
    await tx.execute(
        "update webhook_endpoint set url = $2, types = $3, sealed_secret = $4, sealed_before = $5, before_until = $6"
        " where id = $1",
        endpoint.id,
        endpoint.url,
        list(endpoint.types),
        endpoint.sealed_secret,
        endpoint.sealed_before,
        endpoint.before_until,
    )


async def delete(tx: Tx, endpoint_id: str) -> None:
    """Kept as a row, for what was delivered to it."""
    await tx.execute("update webhook_endpoint set deleted_at = the_clock() where id = $1", endpoint_id)


async def sealed_of_all_accounts(tx: Tx) -> list[tuple[str, bytes, bytes | None]]:
    """(endpoint, its sealed secret, the one before), deleted ones too."""
    rows = await tx.rows(
        "select id, sealed_secret, sealed_before from webhook_endpoint order by id for update"
    )
    return [(row["id"], row["sealed_secret"], row["sealed_before"]) for row in rows]


async def set_secrets(tx: Tx, endpoint_id: str, sealed: bytes, before: bytes | None) -> None:
    await tx.execute(
        "update webhook_endpoint set sealed_secret = $2, sealed_before = $3 where id = $1",
        endpoint_id,
        sealed,
        before,
    )


async def sealing_fingerprints(tx: Tx) -> set[str]:
    """Of the keys that stored secrets are sealed with: see `key_ring.py`."""
    rows = await tx.rows(
        """
        select distinct encode(substring(sealed from 2 for 4), 'hex') as mark
        from webhook_endpoint, unnest(array[sealed_secret, sealed_before]) sealed where sealed is not null
        """
    )
    return {row["mark"] for row in rows}


async def insert_deliveries(
    tx: Tx, account_id: str, ids: Sequence[str], pairs: Sequence[tuple[str, str]], now: datetime
) -> None:
    """Of (endpoint, event), due now."""
    await tx.execute(
        """
        insert into webhook_delivery (id, account_id, endpoint_id, event_id, created_at, due_at)
        select id, $1, endpoint, event, $5, $5 from unnest($2::text[], $3::text[], $4::text[]) one(id, endpoint, event)
        """,
        account_id,
        list(ids),
        [endpoint for endpoint, _ in pairs],
        [event for _, event in pairs],
        now,
    )


async def deliveries(tx: Tx, endpoint_id: str, before: str | None, limit: int) -> list[Delivery]:
    """Newest first."""
    rows = await tx.rows(
        _DELIVERY
        + " where endpoint_id = $1 and ($2::text is null or webhook_delivery.id < $2)"
        + " order by webhook_delivery.id desc limit $3",
        endpoint_id,
        before,
        limit,
    )
    return [Delivery(**dict(row) | {"status": DeliveryStatus(row["status"])}) for row in rows]


async def lock_delivery(tx: Tx, delivery_id: str) -> Delivery | None:
    row = await tx.row(
        _DELIVERY + " where webhook_delivery.id = $1 for update of webhook_delivery", delivery_id
    )
    return Delivery(**dict(row) | {"status": DeliveryStatus(row["status"])}) if row else None


async def body_of(tx: Tx, event_id: str) -> bytes:
    body: bytes = await tx.value("select body from event where id = $1", event_id)
    return body


async def save_delivery(tx: Tx, delivery: Delivery) -> None:
    await tx.execute(
        "update webhook_delivery set status = $2, attempts = $3, attempted_at = $4, due_at = $5,"
        " response_status = $6, error = $7 where id = $1",
        delivery.id,
        delivery.status,
        delivery.attempts,
        delivery.attempted_at,
        delivery.due_at,
        delivery.response_status,
        delivery.error,
    )
