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


async def forget(tx: Tx, scope: str, key: str) -> None:
    await tx.execute("delete from idempotency_key where scope = $1 and key = $2", scope, key)
