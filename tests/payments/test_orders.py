# SPDX-License-Identifier: Apache-2.0
"""Every order of what a company can tell, with copies, losses and delays, at three places around the deadline; and any history
at all: money that was taken is kept by a confirmed reservation, given back, or owed back.
"""

import enum
import itertools
import random
from functools import partial

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from holdfirst.effects import advance
from holdfirst.errors import ProviderUnavailable
from holdfirst.payment.payment import Mode
from holdfirst.refusal import Refusal
from holdfirst.reservation.reservation import Reservation, Status
from holdfirst.store.database import Database

from .quick import open_quick_scene, quickly
from .scene import HOLDS, PRICE, Scene, open_scene

STEPS = ("created", "authorised", "captured", "failed", "expired", "refunded")
"""What happens at the company, and is told: each when its turn comes and it still can happen."""


class End(enum.StrEnum):
    """How the money of one checkout ended."""

    KEPT = "kept"
    KEPT_THEN_REFUNDED = "kept, and refunded by somebody's hand since"
    NEVER_PROMISED = "never promised"
    VOIDED = "promised, and never charged"
    REFUNDED = "charged, and given back in full"


def happen(scene: Scene, ref: str, step: str, *, late: bool = False) -> None:
    """The company's side of one step, where its own rules let it happen; its notification goes out in any case.

    `late`: 3-D Secure was under way when the checkout was closed.
    """
    money = scene.company.money(ref)
    untouched = money.held == money.captured == 0
    if step == "authorised" and untouched:
        _if_it_can(partial(scene.company.pay, late=late), ref)
    elif step == "captured" and money.held:
        scene.company.capture_in_dashboard(ref)
    elif step == "failed" and untouched:
        _if_it_can(scene.company.decline, ref)
    elif step == "refunded" and money.captured > money.refunded:
        scene.company.refund_in_dashboard(ref, money.captured - money.refunded)


def _if_it_can(act, ref: str) -> None:
    try:
        act(ref)
    except AssertionError:
        # The page says that it is over.
        return


async def at_rest(scene: Scene, held, payment, *, by_hand: bool) -> End:
    """Exactly one: captured and confirmed, or not charged (or all of it given back).

    `by_hand`: somebody at the company's dashboard refunded what was confirmed already; then the booking stays.
    """
    for _ in range(3):
        await scene.work()
        await scene.pass_time(700)
    await scene.work()
    money, after = scene.money(payment), await scene.shop.read(held.id)
    told = (after.status, money, (await scene.payment(payment)).status)
    if after.status is Status.CONFIRMED and after.paid_by == payment.id:
        assert (money.captured, money.refunded) == (PRICE, PRICE if by_hand else 0), told
        return End.KEPT_THEN_REFUNDED if by_hand else End.KEPT
    assert (money.held, money.charged) == (0, 0), told
    assert not by_hand, told
    if money.captured:
        return End.REFUNDED
    return End.VOIDED if (await scene.payment(payment)).authorized_minor else End.NEVER_PROMISED


PLACES = ["before", "around", "after"]
LONG = {"horizon_days": 365}
ORDERS = list(enumerate(itertools.permutations(STEPS)))
SHARE = 48


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("mode", list(Mode), ids=str)
async def test_all_orders(mode: Mode, place: str) -> None:
    """All 720, in memory, each with one of the modes; which notifications are lost, doubled or late, and whether somebody else
    wants the time, is drawn from its number.
    """
    ends = set()
    with quickly():
        for number, order in ORDERS[list(Mode).index(mode) :: len(Mode)]:
            async with open_quick_scene(mode, **LONG) as scene:
                ends.add(await play(scene, order, place, random.Random(number), scene.shop.slot()))
    assert ends >= _can_end(mode, place), "a way to end that was never come to"


def _can_end(mode: Mode, place: str) -> set[End]:
    """What at the least has to be among them, or they try less than they say."""
    ends = {End.KEPT, End.KEPT_THEN_REFUNDED, End.REFUNDED}
    if place != "before":
        ends |= {End.NEVER_PROMISED} | ({End.VOIDED} if mode in HOLDS else set())
    return ends


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("mode", list(Mode), ids=str)
async def test_a_share_of_them_on_postgresql(database: Database, clock, mode: Mode, place: str) -> None:
    """Each order somebody's, over the twelve (`make crash` plays all of them everywhere)."""
    mine = PLACES.index(place) + 3 * list(Mode).index(mode)
    await play_all(database, clock, mode, place, lambda number: number % SHARE == mine)


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("mode", list(Mode), ids=str)
async def test_all_orders_on_postgresql(database: Database, clock, mode: Mode, place: str) -> None:
    await play_all(database, clock, mode, place, lambda _: True)


async def play_all(database: Database, clock, mode: Mode, place: str, wanted) -> None:
    async with open_scene(database, clock, mode, **LONG) as scene:
        for number, order in ORDERS:
            if wanted(number):
                start = scene.shop.slot(9 + number % 3, day=7 + number // 3)
                await play(scene, order, place, random.Random(number), start)


async def play(scene: Scene, order, place: str, chance: random.Random, start) -> End:
    held, payment = await scene.open(start=start, hold_seconds=300)
    over_at = {"before": 6, "around": 3, "after": 0}[place]
    late, by_hand = [], False
    for number, step in enumerate(order):
        if number == over_at:
            await _time_is_up(scene, held, chance)
        confirmed = await scene.status(held) is Status.CONFIRMED
        before = scene.money(payment).refunded
        happen(scene, payment.provider_ref, step, late=chance.random() < 0.5)
        by_hand = by_hand or (confirmed and scene.money(payment).refunded > before)
        match chance.choice(["once", "twice", "lost", "late"]):
            case "once":
                await tell(scene, payment, 1)
            case "twice":
                await tell(scene, payment, 2)
            case "late":
                late.append(step)
        if chance.random() < 0.6:
            await scene.shop.work()
    for _ in late:
        await tell(scene, payment, 1)
    return await at_rest(scene, held, payment, by_hand=by_hand)


async def _time_is_up(scene: Scene, held, chance: random.Random) -> None:
    await scene.until_over(held)
    if chance.random() < 0.5:
        await scene.shop.work()
    if chance.random() < 0.5:
        # Somebody else wants the same time; while a sale is being closed, it is not to be had.
        rival = await scene.shop.reserve(held.start)
        if isinstance(rival, Reservation):
            await scene.shop.confirm_as_paid(rival)


async def tell(scene: Scene, payment, times: int) -> None:
    notifications = scene.company.notifications(payment.provider_ref)[-1:]
    for _ in range(times):
        for one in notifications:
            await scene.hear(one)


# Any history


ACTIONS = st.lists(
    st.one_of(
        st.sampled_from(
            [
                "pay", "pay late", "decline", "notify", "work", "look", "capture by hand", "refund by hand",
                "deadline", "minute", "rival", "checkout again", "release",
            ]
        ),
        st.tuples(
            st.sampled_from(["create", "fetch", "close", "capture", "void", "refund"]),
            st.sampled_from(["lost_before", "lost_after", "500", "refused"]),
        ),
    ),
    min_size=4,
    max_size=25,
)  # fmt: skip


@pytest.mark.parametrize("mode", list(Mode), ids=str)
async def test_money_is_conserved_over_ten_thousand_steps(mode: Mode) -> None:
    """In memory; each history is another practice, looked at whenever it is at rest."""
    steps = 0
    with quickly():
        for history in histories(1250):
            steps += len(history)
            async with open_quick_scene(mode, **LONG) as scene:
                await live_through(scene, history, scene.shop.slot())
    assert steps > 10_000


@pytest.mark.parametrize("mode", list(Mode), ids=str)
async def test_money_is_conserved_on_postgresql(database: Database, clock, mode: Mode) -> None:
    assert await live_many(database, clock, mode, histories_max=25) > 150


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(Mode), ids=str)
async def test_money_is_conserved_over_ten_thousand_steps_on_postgresql(
    database: Database, clock, mode: Mode
) -> None:
    assert await live_many(database, clock, mode, histories_max=1400) > 10_000


def histories(number: int) -> list[list]:
    drawn: list[list] = []

    @settings(
        max_examples=number,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(ACTIONS)
    def draw(history) -> None:
        drawn.append(history)

    draw()
    return drawn


async def live_many(database: Database, clock, mode: Mode, histories_max: int) -> int:
    """How many steps were taken."""
    steps = 0
    async with open_scene(database, clock, mode, **LONG) as scene:
        for number, history in enumerate(histories(histories_max)):
            steps += len(history)
            await live_through(scene, history, scene.shop.slot(9 + number % 4, day=7 + number // 4))
    return steps


async def live_through(scene: Scene, history: list, start) -> None:
    held = await scene.shop.held(start, hold_seconds=300)
    payments: list = []
    for action in history:
        await act(scene, action, held, payments, start)
    scene.up()
    for _ in range(3):
        await scene.work()
        await scene.pass_time(3700)
    await scene.work()
    kept = [one for one in payments if scene.money(one).charged > 0 and await pays(scene, held, one)]
    assert len(kept) <= 1
    for one in payments:
        if one not in kept:
            due = (await scene.payment(one)).refund_due_minor
            assert scene.money(one).charged == due, (scene.money(one), due)


async def pays(scene: Scene, held, payment) -> bool:
    after = await scene.shop.read(held.id)
    return after.status is Status.CONFIRMED and after.paid_by == payment.id


async def act(scene: Scene, action, held, payments: list, start) -> None:
    newest = payments[-1] if payments else None
    match action:
        case (operation, fault):
            scene.company.fake.faults.setdefault(operation, []).append(fault)
        case "checkout again":
            await _checkout(scene, held, payments)
        case "work":
            await scene.shop.work(rounds=60)
        case "deadline":
            await scene.pass_time(301)
        case "minute":
            await scene.pass_time(61)
        case "rival":
            await scene.shop.reserve(start, hold_seconds=60)
        case _ if newest is None:
            await _checkout(scene, held, payments)
        case "pay" | "pay late":
            _bring(scene, newest.provider_ref)
        case "decline":
            _if_it_can(scene.company.decline, newest.provider_ref)
        case "notify":
            await tell(scene, newest, 2)
        case "look":
            try:
                await advance.advance(scene.shop.world, newest.id)
            except ProviderUnavailable:
                return
        case "capture by hand":
            happen(scene, newest.provider_ref, "captured")
        case "refund by hand":
            happen(scene, newest.provider_ref, "refunded")
        case "release":
            await scene.shop.release(held)


def _bring(scene: Scene, ref: str) -> None:
    money = scene.company.money(ref)
    if money.held or money.captured:
        return
    try:
        scene.company.pay(ref, late=True)
    except AssertionError:
        return


async def _checkout(scene: Scene, held, payments: list) -> None:
    answer = await scene.shop.try_checkout(held)
    if (
        not isinstance(answer, Refusal)
        and answer.provider_ref
        and answer.id not in {one.id for one in payments}
    ):
        payments.append(answer)
