# SPDX-License-Identifier: Apache-2.0
"""Idempotency keys: what was asked under which key, and what was answered."""

from datetime import timedelta
from typing import Any

import msgspec

from holdfirst.store.database import Tx


async def begin(
    tx: Tx, scope: str, key: str, fingerprint: bytes, lease: timedelta
) -> tuple[str, int | None, Any]:
    """(outcome, HTTP status, result): see `begin_keyed` in functions.sql."""
    row = await tx.row("select * from begin_keyed($1, $2, $3, $4)", scope, key, fingerprint, lease)
    assert row is not None
    result = msgspec.json.decode(row["result"]) if row["result"] else None
    return row["outcome"], row["http_status"], result


async def finish(tx: Tx, scope: str, key: str, http_status: int, result: Any) -> None:
    await tx.execute(
        "update idempotency_key set http_status = $3, result = $4 where scope = $1 and key = $2",
        scope,
        key,
        http_status,
        msgspec.json.encode(result).decode(),
    )


async def answer(tx: Tx, scope: str, key: str, http_status: int, result: Any) -> bool:
    """Of a key that says `result` already. False: it says something else by now, or nothing."""
    return bool(
        await tx.value(
            "update idempotency_key set http_status = $3 where scope = $1 and key = $2 and result = $4 returning true",
            scope,
            key,
            http_status,
            msgspec.json.encode(result).decode(),
        )
    )


async def give_up(tx: Tx, scope: str, key: str, result: Any) -> bool:
    """Forget a key that says `result` and was not answered. False: it was, or it is somebody else's by now."""
    return bool(
        await tx.value(
            "delete from idempotency_key where scope = $1 and key = $2 and result = $3 and http_status is null"
            " returning true",
            scope,
            key,
            msgspec.json.encode(result).decode(),
        )
    )


async def forget(tx: Tx, scope: str, key: str) -> None:
    await tx.execute("delete from idempotency_key where scope = $1 and key = $2", scope, key)
