# SPDX-License-Identifier: Apache-2.0
"""At a worker's start: ask about all money that may be on its way, as if every notification had been lost."""

from collections.abc import Sequence

from holdfirst.store import jobs, payments
from holdfirst.store.database import Tx


async def wake(tx: Tx, money_kinds: Sequence[str]) -> None:
    """Jobs about money are due now, whoever held them; a payment without one gets one."""
    await jobs.take_over(tx, money_kinds)
    now = await tx.now()
    for account_id, payment_id in await payments.can_bring_money(tx):
        await jobs.enqueue(tx, account_id, "advance", payment_id, due=now)
