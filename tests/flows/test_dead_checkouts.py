# SPDX-License-Identifier: Apache-2.0
"""A checkout that has come to nothing: whether a deadline waits for another one still, and what is closed."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from conftest import Clock, first_column
from holdfirst.effects import advance
from holdfirst.flows import outcome, pay
from holdfirst.flows.pay import write_down_expiry
from holdfirst.payment.payment import Disposition, Mode, PaymentStatus
from holdfirst.reservation.reservation import AtDeadline, Reservation, Status
from holdfirst.store import reservations
from holdfirst.store.database import Database, Tx
from holdfirst.store.reservations import SLOTS_CHANNEL
from shop import Shop, open_shop


def listened_to(database: Database) -> list[list[str]]:
    """What is said of slots from now on, at each commit that says anything."""
    rings: list[list[str]] = []

    def hear(announcements: set[tuple[str, str]]) -> None:
        rings.append([payload for channel, payload in announcements if channel == SLOTS_CHANNEL])

    database.on_announce = hear
    return rings


async def one_dead_and_one_open(database: Database) -> tuple[Shop, Reservation, str, str]:
    """Of one hold; the second was opened when the first had failed."""
    shop = await open_shop(database, mode=Mode.SALE)
    held = await shop.held(hold_seconds=300)
    first = await shop.checkout(held)
    shop.provider.decline(first.provider_ref or "")
    await advance.advance(shop.world, first.id)
    assert (await shop.read(held.id)).at_deadline is AtDeadline.EXPIRE
    second = await shop.checkout(held)
    assert (await shop.read(held.id)).at_deadline is AtDeadline.CLOSE
    return shop, held, first.id, second.id


@pytest.mark.parametrize(
    ("second", "waits"),
    [
        ("status = 'open'", True),
        ("status = 'processing'", True),
        ("status = 'failed', closed_at = the_clock()", False),
        # What can be freed without asking anybody, and what nobody can close.
        ("mode = 'authorize'", False),
        ("mode = 'sale_uncloseable'", False),
    ],
)
async def test_a_deadline_waits_for_what_can_still_be_paid(
    database: Database, second: str, waits: bool
) -> None:
    """The first one is asked about again, and is as dead as it was."""
    shop, held, dead, still = await one_dead_and_one_open(database)
    await first_column(database, f"update payment set {second} where id = $1 returning id", still)
    rings = listened_to(database)
    await advance.advance(shop.world, dead)
    now = await shop.read(held.id)
    assert not any(rings), "its time is taken as it was"
    assert (now.status, now.at_deadline) == (Status.HELD, AtDeadline.CLOSE if waits else AtDeadline.EXPIRE)


async def test_who_dies_last_frees_the_time(database: Database, clock: Clock) -> None:
    """Past its deadline it is over at once; a calendar, and whoever looks at slots, is told."""
    shop, held, dead, still = await one_dead_and_one_open(database)
    await first_column(
        database, "update reservation set in_calendars = true, calendar_verdict = 'clean' returning id"
    )
    rings = listened_to(database)
    await clock.shift(timedelta(seconds=301))
    await first_column(database, "delete from job returning key")
    shop.provider.decline(f"fake_{still}")
    for payment, status, tells in (
        (dead, "held", False),
        (still, "expired", True),
        # Asked about once more there is nothing to tell.
        (still, "expired", False),
    ):
        rings.clear()
        await advance.advance(shop.world, payment)
        assert await first_column(database, "select status from reservation") == [status]
        told = await first_column(database, "delete from job where kind = 'calendars' returning subject")
        assert (told, any(rings)) == ([held.id] * tells, tells)


async def test_a_capture_that_nobody_answers_for_is_an_alarm_at_its_own_payment(
    database: Database, clock: Clock
) -> None:
    """Ten minutes after it was pinned, once."""
    _, _, dead, still = await one_dead_and_one_open(database)
    await first_column(
        database,
        "update reservation set status = 'processing', cause = 'capture', paid_by = $1, pinned_at = the_clock(),"
        " at_deadline = 'expire', processing_until = null returning id",
        still,
    )

    async def alarms() -> dict[str, object]:
        for payment in (dead, still):
            await database.run(pay.note_unanswered, payment)
        async with database.statement() as tx:
            rows = await tx.rows(
                "select id, needs_human_since from payment where needs_human_code is not null"
            )
        return {row["id"]: row["needs_human_since"] for row in rows}

    await clock.shift(timedelta(minutes=9))
    assert await alarms() == {}
    await clock.shift(timedelta(minutes=2))
    seen = await alarms()
    assert list(seen) == [still]
    await clock.shift(timedelta(minutes=1))
    assert await alarms() == seen


async def test_what_becomes_of_money_is_decided_once(database: Database, clock: Clock) -> None:
    """Late, and to be voided; taken all the same, by hand: it goes back, and was never to be kept."""
    shop = await open_shop(database)
    held = await shop.held(hold_seconds=300)
    payment = await shop.checkout(held)
    await clock.shift(timedelta(seconds=301))
    await shop.sold(held.start)
    for happens in (shop.provider.authorize, shop.provider.pay):
        happens(payment.provider_ref or "")
        await advance.advance(shop.world, payment.id)
        assert (await shop.payment(payment.id)).disposition is Disposition.VOID
    assert (await shop.payment(payment.id)).refund_due_minor == 6000


async def test_what_is_not_over_is_not_written_down(database: Database) -> None:
    shop = await open_shop(database)
    held = await shop.held()
    await first_column(database, "delete from job returning key")

    async def write_down(tx: Tx) -> None:
        reservation = await reservations.lock(tx, held.id)
        assert reservation is not None
        assert await write_down_expiry(tx, reservation, [], await tx.now()) is reservation

    await database.run(write_down)
    assert await first_column(database, "select key from job") == []


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("status", PaymentStatus)
async def test_what_is_closed(database: Database, status: PaymentStatus, mode: Mode) -> None:
    """What can still bring money, where its company can close it; what a reservation was paid by is not asked."""
    shop = await open_shop(database)
    held = await shop.held()
    payment = replace(await shop.checkout(held), status=status, mode=mode)
    others = [payment, replace(payment, id="pay_other")]
    firm = replace(held, status=Status.CONFIRMED, paid_by=payment.id)

    async def closed(tx: Tx) -> list[str]:
        rows = await tx.rows("delete from job where kind = 'close' returning subject")
        return sorted(row["subject"] for row in rows)

    async def ends(tx: Tx) -> list[list[str]]:
        await outcome.became_free(tx, held, others, await tx.now())
        free = await closed(tx)
        await outcome.became_firm(tx, firm, others, await tx.now())
        return [free, await closed(tx)]

    open_still = (PaymentStatus.OPEN, PaymentStatus.PROCESSING, PaymentStatus.AUTHORIZED)
    asked = status in open_still and mode in (Mode.AUTHORIZE, Mode.SALE)
    assert await database.run(ends) == [sorted([payment.id, "pay_other"]) * asked, ["pay_other"] * asked]
