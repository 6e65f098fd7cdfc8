# SPDX-License-Identifier: Apache-2.0
"""`doctor` against the company's own books: what happened there while nobody listened is found, and put right where that is safe."""

import pytest

from holdfirst.effects.compare import compare, repair
from holdfirst.payment.payment import Mode
from holdfirst.reservation.reservation import Status
from holdfirst.store import checks
from holdfirst.store.database import Database, Tx
from holdfirst.web.metrics import Metrics

from .scene import HOLDS, PRICE, Scene, open_scene


async def found(scene: Scene) -> list[tuple[str, str]]:
    return [(one.check, one.subject) for one in await compare(scene.shop.world)]


async def forgotten(scene: Scene) -> None:
    """Every wish is lost: nothing but `doctor` will ever look again."""

    async def forget(tx: Tx) -> None:
        await tx.execute("delete from job")

    await scene.shop.database.run(forget)


async def confirmed(scene: Scene):
    held, payment = await scene.open()
    scene.company.pay(payment.provider_ref)
    await scene.come_back(payment)
    await scene.work()
    return held, payment


async def test_books_that_agree_say_nothing(scene: Scene) -> None:
    await confirmed(scene)
    await scene.open(start=scene.shop.slot(hour=12))
    assert await found(scene) == []


async def test_money_that_nobody_told_us_of(scene: Scene) -> None:
    held, payment = await scene.open()
    scene.company.pay(payment.provider_ref)
    if scene.mode in HOLDS:
        scene.company.capture_in_dashboard(payment.provider_ref)
    await scene.until_over(held)
    await forgotten(scene)
    assert await found(scene) == [("captured_unknown", payment.id)]
    assert await repair(scene.shop.world, await compare(scene.shop.world)) == 1
    await scene.work()
    assert await found(scene) == []
    assert await scene.status(held) is Status.CONFIRMED


async def test_a_refund_made_by_hand(scene: Scene) -> None:
    _, payment = await confirmed(scene)
    scene.company.refund_in_dashboard(payment.provider_ref, 1000)
    assert await found(scene) == [("refund_unknown", payment.id)]
    await repair(scene.shop.world, await compare(scene.shop.world))
    assert await found(scene) == []
    assert (await scene.payment(payment)).refunded_minor == 1000


async def test_a_promise_that_was_left(scene: Scene) -> None:
    if scene.mode not in HOLDS:
        pytest.skip("a sale promises nothing")
    held, payment = await scene.open()
    await scene.until_over(held)
    await scene.work()

    async def dead(tx: Tx) -> None:
        await tx.execute(
            "update payment set status = 'abandoned', closed_at = the_clock() where id = $1", payment.id
        )

    await scene.shop.database.run(dead)
    await scene.shop.held(held.start)
    scene.company.pay(payment.provider_ref, late=True)
    await forgotten(scene)
    assert await found(scene) == [("authorization_unvoided", payment.id)]
    await repair(scene.shop.world, await compare(scene.shop.world))
    await scene.work()
    assert await found(scene) == []
    assert scene.money(payment).held == 0


async def test_what_a_restored_backup_does_not_know(scene: Scene) -> None:
    if scene.mode is not Mode.SALE:
        pytest.skip("only Stripe lists")
    _, payment = await confirmed(scene)

    async def restore(tx: Tx) -> None:
        await tx.execute("delete from job")
        await tx.execute("delete from payment")
        await tx.execute("delete from reservation")

    await scene.shop.database.run(restore)
    assert await found(scene) == [("payment_lost", payment.id)]
    assert await repair(scene.shop.world, await compare(scene.shop.world)) == 0
    scene.company.refs = list  # the books of this test are closed


MANY = 2050


async def of_another_database(scene: Scene, number: int) -> list[str]:
    """Checkouts that were paid at the same company, under ids that this database does not have."""
    _, payment = await confirmed(scene)
    like = scene.company.books.session(payment.provider_ref).params
    names = [f"pay_lost{one:05}" for one in range(number)]
    for name in names:
        made = scene.company.books.create(like | {"client_reference_id": name})
        scene.company.books.pay(made.id, "ideal")
    scene.company.refs = list  # the books of this test are closed
    return names


async def test_a_long_listing_is_read_to_its_end(database: Database, clock) -> None:
    """The first of them are the oldest, and the last to be listed."""
    async with open_scene(database, clock, Mode.SALE) as scene:
        lost = await of_another_database(scene, MANY)
        assert sorted(await found(scene)) == [("payment_lost", name) for name in lost]
        pages = [name for name, _ in scene.company.fake.calls].count("list")
        assert pages == MANY // 100 + 1


async def test_a_listing_that_breaks_off_is_said_to(database: Database, clock) -> None:
    async with open_scene(database, clock, Mode.SALE) as scene:
        lost = await of_another_database(scene, 250)
        scene.company.fake.slow_seconds = 0
        scene.company.fake.faults["list"] = ["slow", "slow", "lost_before"]
        told = await found(scene)
        assert told[-1] == ("provider_silent", scene.shop.payee_id)
        assert sorted(told[:-1]) == [("payment_lost", name) for name in lost[50:]]


async def test_a_company_that_is_silent_is_said_to_be(scene: Scene) -> None:
    _, payment = await confirmed(scene)
    scene.down("fetch", "list")
    told = await found(scene)
    assert ("provider_silent", payment.id) in told
    assert {check for check, _ in told} == {"provider_silent"}


async def test_every_check_is_a_gauge(scene: Scene) -> None:
    held, payment = await confirmed(scene)

    async def lose_money(tx: Tx) -> None:
        await tx.execute("update payment set captured_minor = 0 where id = $1", payment.id)

    async def find_it(tx: Tx) -> None:
        await tx.execute("update payment set captured_minor = $2 where id = $1", payment.id, PRICE)

    metrics = Metrics()
    await scene.shop.database.run(lose_money)
    text = (await metrics.scrape(scene.shop.database)).decode()
    for check in checks.CHECKS:
        count = 1.0 if check == "reservation_without_money" else 0.0
        assert f'holdfirst_check{{check="{check}"}} {count}' in text
    await scene.shop.database.run(find_it)
    again = (await metrics.scrape(scene.shop.database)).decode()
    assert 'holdfirst_check{check="reservation_without_money"} 1.0' in again, "read at most once a minute"
    assert await scene.status(held) is Status.CONFIRMED
