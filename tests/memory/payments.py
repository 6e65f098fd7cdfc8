# SPDX-License-Identifier: Apache-2.0
"""`holdfirst.store.payments` in memory."""

from collections.abc import Sequence
from datetime import timedelta

from msgspec.structs import replace

from holdfirst.payment.payment import CAN_BRING_MONEY, Disposition, Payment, PaymentStatus
from holdfirst.payment.provider import CheckoutSpec, Notification
from holdfirst.payment.refund import Refund
from memory.tables import MemoryTx, require


async def insert(tx: MemoryTx, payment: Payment, spec: CheckoutSpec) -> None:
    await tx.turn()
    _put(tx, payment)
    tx.put("spec", payment.id, spec)


def _put(tx: MemoryTx, row: Payment) -> None:
    """The constraints of `payment` (0001_first.sql)."""
    given = row.refunded_minor + row.refund_due_minor
    fits = row.refunded_minor >= 0 <= row.refund_due_minor and given <= row.captured_minor
    require("nothing_is_given_back_that_was_not_taken", fits)
    for other in tx.rows("payment"):
        if other.id == row.id:
            continue
        ref = (row.payment_account_id, row.provider_ref)
        same = row.provider_ref is not None and ref == (other.payment_account_id, other.provider_ref)
        require("a_checkout_belongs_to_one_payment", not same)
        if other.reservation_id != row.reservation_id:
            continue
        both_open = row.status is other.status is PaymentStatus.OPEN
        require("one_checkout_is_open_per_reservation", not both_open)
        both_kept = row.disposition is other.disposition is Disposition.KEEP
        require("one_payment_is_kept_per_reservation", not both_kept)
    tx.put("payment", row.id, row)


async def load(tx: MemoryTx, payment_id: str) -> Payment | None:
    await tx.turn()
    found: Payment | None = tx.get("payment", payment_id)
    return found


async def lock(tx: MemoryTx, payment_id: str) -> Payment | None:
    await tx.turn()
    await tx.lock("payment", payment_id)
    found: Payment | None = tx.get("payment", payment_id)
    return found


async def lock_all(tx: MemoryTx, reservation_id: str) -> list[Payment]:
    await tx.turn()
    found = []
    for payment in _of(tx, reservation_id):
        await tx.lock("payment", payment.id)
        found.append(tx.get("payment", payment.id))
    return found


def _of(tx: MemoryTx, reservation_id: str) -> list[Payment]:
    ours = (one for one in tx.rows("payment") if one.reservation_id == reservation_id)
    return sorted(ours, key=lambda one: one.id)


async def of_reservations(tx: MemoryTx, reservation_ids: Sequence[str]) -> dict[str, list[Payment]]:
    await tx.turn()
    return {one: _of(tx, one) for one in reservation_ids}


async def spec_of(tx: MemoryTx, payment_id: str) -> CheckoutSpec:
    await tx.turn()
    spec: CheckoutSpec = tx.get("spec", payment_id)
    return spec


async def save_spec(tx: MemoryTx, payment_id: str, spec: CheckoutSpec) -> None:
    await tx.turn()
    await tx.lock("payment", payment_id)
    tx.put("spec", payment_id, spec)


async def by_money_ref(tx: MemoryTx, payment_account_id: str, money_ref: str) -> Payment | None:
    await tx.turn()
    wanted = (payment_account_id, money_ref)
    found = (one for one in tx.rows("payment") if (one.payment_account_id, one.money_ref) == wanted)
    return next(found, None)


async def by_ref(tx: MemoryTx, payment_account_id: str, provider_ref: str) -> Payment | None:
    await tx.turn()
    wanted = (payment_account_id, provider_ref)
    found = (one for one in tx.rows("payment") if (one.payment_account_id, one.provider_ref) == wanted)
    return next(found, None)


async def save(tx: MemoryTx, payment: Payment) -> None:
    await tx.turn()
    await tx.lock("payment", payment.id)
    _put(tx, payment)


async def note_resolution(tx: MemoryTx, payment_id: str, note: str) -> None:
    await tx.turn()
    await tx.lock("payment", payment_id)


async def ask_now(tx: MemoryTx, payment_id: str, least: timedelta) -> bool:
    await tx.turn()
    await tx.lock("payment", payment_id)
    row, now = tx.get("payment", payment_id), tx.memory.clock()
    if row is None or (row.asked_at is not None and row.asked_at > now - least):
        return False
    tx.put("payment", payment_id, replace(row, asked_at=now))
    return True


async def can_bring_money(tx: MemoryTx) -> list[tuple[str, str]]:
    await tx.turn()
    return sorted(
        ((one.account_id, one.id) for one in tx.rows("payment") if one.status in CAN_BRING_MONEY),
        key=lambda pair: pair[1],
    )


async def find(
    tx: MemoryTx,
    account_id: str,
    *,
    status: str | None,
    reservation_id: str | None,
    needs_human: bool | None,
    before: str | None,
    limit: int,
) -> list[Payment]:
    """Newest first."""
    await tx.turn()
    found = [
        one
        for one in tx.rows("payment")
        if one.account_id == account_id
        and status in (None, one.status)
        and reservation_id in (None, one.reservation_id)
        and needs_human in (None, one.needs_human_code is not None)
        and (before is None or one.id < before)
    ]
    return sorted(found, key=lambda one: one.id, reverse=True)[:limit]


async def insert_refund(tx: MemoryTx, refund: Refund) -> None:
    await tx.turn()
    tx.put("refund", refund.id, refund)


async def refunds_of(tx: MemoryTx, payment_id: str) -> list[Refund]:
    await tx.turn()
    ours = (one for one in tx.rows("refund") if one.payment_id == payment_id)
    return sorted(ours, key=lambda one: one.id)


async def mark_refund_sent(tx: MemoryTx, refund_id: str, least: timedelta) -> bool:
    await tx.turn()
    await tx.lock("refund", refund_id)
    sent_at, now = tx.get("refund_sent", refund_id), tx.memory.clock()
    if sent_at is not None and sent_at > now - least:
        return False
    tx.put("refund_sent", refund_id, now)
    tx.put("refund", refund_id, replace(tx.get("refund", refund_id), sent=True))
    return True


async def mark_refund_taken(tx: MemoryTx, refund_id: str) -> None:
    await tx.turn()
    await tx.lock("refund", refund_id)
    tx.put("refund", refund_id, replace(tx.get("refund", refund_id), taken_at=tx.memory.clock()))


async def save_refund(tx: MemoryTx, refund: Refund) -> None:
    await tx.turn()
    await tx.lock("refund", refund.id)
    for other in tx.rows("refund"):
        named = (refund.payment_id, refund.provider_ref)
        same = other.id != refund.id and named == (other.payment_id, other.provider_ref)
        require("a_refund_at_the_provider_is_counted_once", refund.provider_ref is None or not same)
    before = tx.get("refund", refund.id)
    tx.put("refund", refund.id, replace(refund, sent=before.sent, taken_at=before.taken_at))


async def store_notification(tx: MemoryTx, provider: str, payment_account_id: str, raw: Notification) -> None:
    await tx.turn()
    tx.put("notification", tx.next_number(), raw)
