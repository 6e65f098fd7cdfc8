# SPDX-License-Identifier: Apache-2.0
"""Webhook endpoints, and one delivery after another: what is sent, what became of it, when it is tried again.

The schedule is that of the Standard Webhooks specification
(https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md).
"""

import random
from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from holdfirst.refusal import Code, Refusal, invalid
from holdfirst.store import jobs, webhooks
from holdfirst.store.database import Tx
from holdfirst.store.webhooks import Delivery, DeliveryStatus, Endpoint

TRY_AGAIN = tuple(
    timedelta(seconds=seconds) for seconds in (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
)
"""After each attempt that failed; all together three days and three hours."""
SECRET_BEFORE_LASTS = timedelta(days=1)
ENDPOINTS_MAX = 20
GONE = 410
"""A receiver's word that it wants no more of this: it is not tried again."""


class ToSend(msgspec.Struct, frozen=True):
    """One attempt. `sealed`: the secrets that sign it, newest first."""

    endpoint: Endpoint
    event_id: str
    body: bytes
    sealed: Sequence[bytes]
    now: datetime


class Sent(msgspec.Struct, frozen=True):
    """What became of it: the receiver's status, or why there is none."""

    status: int | None
    error: str | None

    @property
    def taken(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


async def create_endpoint(tx: Tx, wanted: Endpoint) -> Endpoint | Refusal:
    if len(await webhooks.endpoints(tx, wanted.account_id)) >= ENDPOINTS_MAX:
        return invalid("url", f"is one too many: an account has at most {ENDPOINTS_MAX} webhook endpoints")
    now = await tx.now()
    made = replace(wanted, created_at=now)
    await webhooks.insert(tx, made)
    # What is being written down just now, by transactions that do not see this endpoint yet, wishes for nothing.
    await jobs.enqueue(
        tx, made.account_id, "tell", f"{made.account_id}/{made.id}", due=now + timedelta(seconds=5)
    )
    return made


async def change_endpoint(
    tx: Tx, account_id: str, endpoint_id: str, url: str | None, types: Sequence[str] | None
) -> Endpoint | Refusal:
    """For events that are told from now on; those that are on their way go to the new address."""
    endpoint = await _lock(tx, account_id, endpoint_id)
    if isinstance(endpoint, Refusal):
        return endpoint
    changed = replace(
        endpoint, url=endpoint.url if url is None else url, types=endpoint.types if types is None else types
    )
    await webhooks.save(tx, changed)
    return changed


async def rotate_secret(tx: Tx, account_id: str, endpoint_id: str, sealed: bytes) -> Endpoint | Refusal:
    """For a day both sign."""
    endpoint = await _lock(tx, account_id, endpoint_id)
    if isinstance(endpoint, Refusal):
        return endpoint
    changed = replace(
        endpoint,
        sealed_secret=sealed,
        sealed_before=endpoint.sealed_secret,
        before_until=await tx.now() + SECRET_BEFORE_LASTS,
    )
    await webhooks.save(tx, changed)
    return changed


async def delete_endpoint(tx: Tx, account_id: str, endpoint_id: str) -> Refusal | None:
    endpoint = await _lock(tx, account_id, endpoint_id)
    if isinstance(endpoint, Refusal):
        return endpoint
    await webhooks.delete(tx, endpoint_id)
    return None


async def of_account(tx: Tx, account_id: str, endpoint_id: str) -> Endpoint | Refusal:
    endpoint = await webhooks.load(tx, endpoint_id)
    return endpoint if endpoint and endpoint.account_id == account_id else no_such_endpoint()


async def _lock(tx: Tx, account_id: str, endpoint_id: str) -> Endpoint | Refusal:
    endpoint = await webhooks.lock(tx, endpoint_id)
    return endpoint if endpoint and endpoint.account_id == account_id else no_such_endpoint()


async def redeliver(tx: Tx, account_id: str, endpoint_id: str, delivery_id: str) -> Delivery | Refusal:
    """Now, whatever became of it, and then as often as a new one."""
    delivery = await delivery_of(tx, account_id, endpoint_id, delivery_id)
    if isinstance(delivery, Refusal):
        return delivery
    now = await tx.now()
    again = replace(delivery, status=DeliveryStatus.PENDING, attempts=0, due_at=now)
    await webhooks.save_delivery(tx, again)
    await jobs.enqueue(tx, account_id, "deliver", delivery_id, due=now)
    return again


async def delivery_of(tx: Tx, account_id: str, endpoint_id: str, delivery_id: str) -> Delivery | Refusal:
    """Locked."""
    endpoint = await of_account(tx, account_id, endpoint_id)
    if isinstance(endpoint, Refusal):
        return endpoint
    delivery = await webhooks.lock_delivery(tx, delivery_id)
    if delivery is None or delivery.endpoint_id != endpoint_id:
        return Refusal(Code.DELIVERY_NOT_FOUND, "There is no such delivery.")
    return delivery


async def to_send(tx: Tx, delivery_id: str) -> ToSend | None:
    """None: there is nothing to send, or nobody to send it to any more."""
    delivery = await webhooks.lock_delivery(tx, delivery_id)
    if delivery is None or delivery.status is not DeliveryStatus.PENDING:
        return None
    endpoint = await webhooks.load(tx, delivery.endpoint_id)
    if endpoint is None:
        await webhooks.save_delivery(
            tx, replace(delivery, status=DeliveryStatus.FAILED, due_at=None, error="the endpoint was deleted")
        )
        return None
    now = await tx.now()
    sealed = [endpoint.sealed_secret]
    if (
        endpoint.sealed_before is not None
        and endpoint.before_until is not None
        and now < endpoint.before_until
    ):
        sealed.append(endpoint.sealed_before)
    return ToSend(endpoint, delivery.event_id, await webhooks.body_of(tx, delivery.event_id), sealed, now)


async def record(tx: Tx, delivery_id: str, sent: Sent) -> datetime | None:
    """What became of an attempt; answers when the next one is due, if there is to be one."""
    delivery = await webhooks.lock_delivery(tx, delivery_id)
    if delivery is None or delivery.status is not DeliveryStatus.PENDING:
        return None
    now = await tx.now()
    attempts = delivery.attempts + 1
    status, due = DeliveryStatus.DELIVERED, None
    if not sent.taken:
        status = DeliveryStatus.FAILED
        if sent.status != GONE and attempts <= len(TRY_AGAIN):
            # Somewhat spread, so that what failed together does not come back together.
            due = now + TRY_AGAIN[attempts - 1] * random.uniform(1.0, 1.1)  # noqa: S311
            status = DeliveryStatus.PENDING
    await webhooks.save_delivery(
        tx,
        replace(
            delivery,
            status=status,
            attempts=attempts,
            attempted_at=now,
            due_at=due,
            response_status=sent.status,
            error=sent.error,
        ),
    )
    return due


def no_such_endpoint() -> Refusal:
    return Refusal(Code.WEBHOOK_ENDPOINT_NOT_FOUND, "There is no such webhook endpoint.")
