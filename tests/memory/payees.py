# SPDX-License-Identifier: Apache-2.0
"""`holdfirst.store.payees` in memory."""

from msgspec.structs import replace

from holdfirst.store.payees import PaymentAccount
from memory.tables import MemoryTx


async def load(tx: MemoryTx, payment_account_id: str) -> PaymentAccount | None:
    await tx.turn()
    payee: PaymentAccount | None = tx.get("payee", payment_account_id)
    return payee


async def load_even_deleted(tx: MemoryTx, payment_account_id: str) -> PaymentAccount:
    await tx.turn()
    payee: PaymentAccount = tx.get("payee", payment_account_id)
    return payee


async def of_account(tx: MemoryTx, account_id: str) -> list[PaymentAccount]:
    await tx.turn()
    ours = (one for one in tx.rows("payee") if one.account_id == account_id)
    return sorted(ours, key=lambda one: one.id)


async def set_standing(
    tx: MemoryTx, payment_account_id: str, charges_enabled: bool, problem: str | None
) -> None:
    await tx.turn()
    seen = {"charges_enabled": charges_enabled, "problem": problem, "checked_at": tx.memory.clock()}
    tx.put("payee", payment_account_id, replace(tx.get("payee", payment_account_id), **seen))
