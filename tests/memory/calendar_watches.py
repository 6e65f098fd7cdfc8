# SPDX-License-Identifier: Apache-2.0
"""What a reading asks of `holdfirst.store.calendar_watches` where no company calls us, in memory."""

from datetime import datetime

from holdfirst.store.calendar_watches import Told
from memory.tables import MemoryTx


async def told(tx: MemoryTx, calendar_id: str) -> Told:
    await tx.turn()
    return Told(watched=False, listening=False)


async def doubt(tx: MemoryTx, calendar_id: str, since: datetime | None) -> None:
    await tx.turn()
