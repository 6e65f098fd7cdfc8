# SPDX-License-Identifier: Apache-2.0
"""`holdfirst.store.idempotency` in memory."""

from datetime import timedelta
from typing import Any

from msgspec.structs import replace

from memory.tables import KeyRow, MemoryTx

DAY = timedelta(hours=24)


async def begin(
    tx: MemoryTx, scope: str, key: str, fingerprint: bytes, lease: timedelta
) -> tuple[str, int | None, Any]:
    await tx.turn()
    now, name = tx.memory.clock(), (scope, key)
    if not tx.lock_free("name", f"key:{scope} {key}"):
        return "in_progress", None, None
    row: KeyRow | None = tx.get("key", name)
    if row is None or row.created_at <= now - DAY:
        tx.put("key", name, KeyRow(fingerprint=fingerprint, lease_until=now + lease, created_at=now))
        return "fresh", None, None
    if row.fingerprint != fingerprint:
        return "reused", None, None
    if row.http_status is not None:
        tx.put("key", name, replace(row, replays=row.replays + 1))
        return "replay", row.http_status, row.result
    if row.lease_until > now:
        return "in_progress", None, None
    tx.put("key", name, replace(row, lease_until=now + lease))
    return "taken_up", None, row.result


async def finish(tx: MemoryTx, scope: str, key: str, http_status: int, result: Any) -> None:
    await tx.turn()
    row = tx.get("key", (scope, key))
    tx.put("key", (scope, key), replace(row, http_status=http_status, result=result))


async def answer(tx: MemoryTx, scope: str, key: str, http_status: int, result: Any) -> bool:
    await tx.turn()
    row: KeyRow | None = tx.get("key", (scope, key))
    if row is None or row.result != result:
        return False
    tx.put("key", (scope, key), replace(row, http_status=http_status))
    return True


async def give_up(tx: MemoryTx, scope: str, key: str, result: Any) -> bool:
    await tx.turn()
    row: KeyRow | None = tx.get("key", (scope, key))
    if row is None or row.result != result or row.http_status is not None:
        return False
    tx.delete("key", (scope, key))
    return True


async def forget(tx: MemoryTx, scope: str, key: str) -> None:
    await tx.turn()
    tx.delete("key", (scope, key))
