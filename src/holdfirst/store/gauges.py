# SPDX-License-Identifier: Apache-2.0
"""What an operator watches: a few counts, each by an index or over few rows."""

import msgspec

from holdfirst.store.database import Tx


class Gauges(msgspec.Struct, frozen=True):
    """As of one moment."""

    jobs_due: int
    jobs_dead: int
    payments_needing_a_human: int
    refunds_due: int
    workers: int


async def gauges(tx: Tx) -> Gauges:
    """One statement."""
    row = await tx.row(
        """
        select
            (select count(*) from job where dead_at is null and due_at <= (select the_clock())) as jobs_due,
            (select count(*) from job where dead_at is not null) as jobs_dead,
            (select count(*) from payment where needs_human_code is not null) as payments_needing_a_human,
            (select count(*) from refund where status = 'due') as refunds_due,
            (select count(*) from worker where seen_at > the_clock() - interval '30 seconds') as workers
        """
    )
    assert row is not None
    return Gauges(**row)
