# SPDX-License-Identifier: Apache-2.0
"""What most booking software does: a soft lock in the row, a cron job that frees it, a webhook that confirms it.

Written with care, in transactions, on the same database; only with nothing that keeps two of them apart.
"""

from datetime import timedelta
from typing import Any

from holdfirst.store.database import Tx
from races.schedules.bench import Bench
from races.schedules.judging import Told, rows
from races.schedules.states import Subject
from shop import Shop

HOLD = timedelta(seconds=600)


async def _book(tx: Tx, booking: str, slot: Any) -> str:
    taken = await tx.value(
        "select count(*) from naive_booking where slot = $1"
        " and (status = 'confirmed' or status = 'locked' and locked_until > the_clock())",
        slot,
    )
    if taken:
        return "taken"
    await tx.execute(
        "insert into naive_booking (id, slot, status, locked_until, paid) values ($1, $2, 'locked', the_clock() + $3, false)",
        booking,
        slot,
        HOLD,
    )
    return "locked"


async def reserve(shop: Shop, subject: Subject) -> str:
    return await shop.database.run(_book, "second", subject.slot)


async def reserve_too(shop: Shop, subject: Subject) -> str:
    return await shop.database.run(_book, "third", subject.slot)


async def cron(shop: Shop, subject: Subject) -> str:
    async def free(tx: Tx) -> str:
        return await tx.execute(
            "update naive_booking set status = 'expired' where status = 'locked' and locked_until <= the_clock()"
        )

    return await shop.database.run(free)


async def webhook(shop: Shop, subject: Subject) -> str:
    """The provider says that it was paid; the money is there already."""

    async def confirm(tx: Tx) -> str:
        status = await tx.value("select status from naive_booking where id = $1", "first")
        if status != "locked":
            return "too late"
        await tx.execute("update naive_booking set status = 'confirmed' where id = $1", "first")
        return "confirmed"

    return await shop.database.run(confirm)


async def prepare_naive(bench: Bench, *, held: bool) -> None:
    """On the kept practice: nothing, or a lock whose customer has paid, a second before it runs out."""
    assert bench.shop is not None
    await bench.control.execute("delete from naive_booking")
    if held:
        await bench.control.execute(
            "insert into naive_booking values ('first', $1, 'locked', the_clock() + interval '1 second', true)",
            bench.shop.slot(),
        )
    await bench.keep(bench.shop)


def double_booked(told: Told) -> bool:
    """Two who were both told that the slot is theirs, and neither's lock is over."""
    live = [
        row
        for row in rows(told, "naive_booking")
        if row["status"] == "confirmed" or (row["status"] == "locked" and row["locked_until"] > told["now"])
    ]
    return len(live) > 1


def ghost_payment(told: Told) -> bool:
    """Paid, and no booking; nobody owes it back."""
    return any(row["paid"] and row["status"] != "confirmed" for row in rows(told, "naive_booking"))
