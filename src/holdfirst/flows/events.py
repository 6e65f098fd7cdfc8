# SPDX-License-Identifier: Apache-2.0
"""Tell what happened: give it an id, an order and a body that never changes, and wish for its deliveries.

Where nobody listens, it waits in the outbox until somebody asks (`GET /v1/events`) or until it is too old.
"""

import enum
from collections.abc import Sequence
from typing import Protocol

from holdfirst import ids
from holdfirst.refusal import Refusal, invalid
from holdfirst.store import events, jobs, webhooks
from holdfirst.store.database import Tx
from holdfirst.store.events import Event, Happened

BATCH = 100
"""Told in one transaction."""


class EventName(enum.StrEnum):
    """Types may be added: whoever is told ignores what they do not know."""

    HELD = "reservation.held"
    CONFIRMED = "reservation.confirmed"
    RELEASED = "reservation.released"
    EXPIRED = "reservation.expired"
    CANCELLED = "reservation.cancelled"
    RESCHEDULED = "reservation.rescheduled"
    CAPTURED = "payment.captured"
    REFUNDED = "payment.refunded"
    NEEDS_HUMAN = "payment.needs_human"
    ACCOUNT_PROBLEM = "payment_account.problem"
    CONNECTION_BROKEN = "calendar_connection.broken"


class WriteBody(Protocol):
    async def __call__(self, tx: Tx, event_id: str, happened: Happened) -> bytes:
        """What is told, as JSON."""
        ...


async def tell(tx: Tx, account_id: str, write: WriteBody, limit: int = BATCH) -> int:
    """Up to `limit` events, in the order in which they were written down; answers how many that were.

    The lock is what makes the order one that a reader can go by: what commits later gets a later place.
    """
    await events.lock(tx, account_id)
    found = await events.untold(tx, account_id, limit)
    if not found:
        return 0
    told = []
    for happened in found:
        event_id = ids.make("evt")
        told.append(
            Event(
                id=event_id,
                account_id=account_id,
                type=happened.type,
                happened_at=happened.happened_at,
                body=await write(tx, event_id, happened),
            )
        )
    await events.tell(tx, account_id, [one.number for one in found], told)
    await _deliver(tx, account_id, told)
    return len(told)


async def _deliver(tx: Tx, account_id: str, told: Sequence[Event]) -> None:
    """To each endpoint that wants it and that was there when it happened."""
    endpoints = await webhooks.endpoints(tx, account_id)
    pairs = [
        (endpoint.id, event.id)
        for event in told
        for endpoint in endpoints
        if endpoint.wants(event.type) and endpoint.created_at <= event.happened_at
    ]
    if not pairs:
        return
    now = await tx.now()
    deliveries = [ids.make("dlv") for _ in pairs]
    await webhooks.insert_deliveries(tx, account_id, deliveries, pairs, now)
    for delivery_id in deliveries:
        await jobs.enqueue(tx, account_id, "deliver", delivery_id, due=now)


async def page(
    tx: Tx, account_id: str, after: str | None, limit: int, write: WriteBody
) -> list[Event] | Refusal:
    """Oldest first. What nobody was told yet is told now, as far as this page reaches."""
    if after is not None and not await events.exists(tx, account_id, after):
        return invalid("after", "is not an event of the last 30 days")
    found = await events.after(tx, account_id, after, limit)
    if len(found) < limit and await tell(tx, account_id, write, limit - len(found)):
        found = await events.after(tx, account_id, after, limit)
    return found
