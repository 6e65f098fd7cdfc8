# SPDX-License-Identifier: Apache-2.0
from holdfirst.store.database import Database


async def test_clock(database: Database) -> None:
    async with database.statement() as tx:
        assert (await tx.now()).microsecond % 1000 == 0
