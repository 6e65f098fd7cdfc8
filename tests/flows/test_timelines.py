# SPDX-License-Identifier: Apache-2.0
"""The stories that the product is for, over the real flows and effects, on a real database."""

from datetime import timedelta
from functools import partial

import pytest
from msgspec.structs import replace

from holdfirst.effects import advance
from holdfirst.effects import confirm as confirming
from holdfirst.flows import cancel as cancelling
from holdfirst.flows import change
from holdfirst.flows.confirm import Asks, ConfirmRequest, confirm
from holdfirst.flows.expire import expire
from holdfirst.flows.locked import lock_reservation_with_hosts
from holdfirst.flows.reschedule import RescheduleRequest, reschedule
from holdfirst.payment.payment import Late, Mode, PaymentStatus
from holdfirst.payment.provider import Phase
from holdfirst.refusal import Code, Refusal
from holdfirst.reservation.reservation import EndedBy, Reservation, Status
from holdfirst.store import catalog, jobs, payments, reservations
from holdfirst.store.database import Database, TryAgain
from shop import Shop, open_shop

MODES = [Mode.AUTHORIZE, Mode.SALE, Mode.SALE_UNCLOSEABLE]


@pytest.mark.parametrize("mode", MODES)
async def test_reserve_pay_confirm(database: Database, mode: Mode) -> None:
    shop = await open_shop(database, mode=mode)
    held = await shop.held()
    rival = await shop.reserve()
    assert isinstance(rival, Refusal)
    assert rival.code is Code.SLOT_TAKEN
    assert len(rival.members["slots"]) == 23

    payment = await shop.checkout(held)
    assert (await shop.checkout(held)).id == payment.id
    shop.provider.bring_money(payment.provider_ref)
    for _ in range(5):
        await advance.advance(shop.world, payment.id)
    await shop.work()

    confirmed = await shop.read(held.id)
    assert confirmed.status is Status.CONFIRMED
    assert confirmed.paid_by == payment.id
    assert (await shop.payment(payment.id)).status is PaymentStatus.CAPTURED
    assert shop.mail.subjects() == [s for s in shop.mail.subjects() if s.startswith("Confirmed")]
    assert len(shop.mail.sent) == 1


async def test_unpaid_is_back_to_the_millisecond(database: Database, clock) -> None:
    shop = await open_shop(database)
    held = await shop.held(hold_seconds=60)
    await clock.shift(held.held_until - held.created_at - timedelta(seconds=30))
    assert isinstance(await shop.reserve(), Refusal)
    await clock.shift(timedelta(seconds=31))
    rival = await shop.held()
    assert rival.id != held.id
    assert (await shop.read(held.id)).status is Status.EXPIRED
    await shop.work()
    assert (await shop.read(held.id)).ended.by is EndedBy.CLOCK


@pytest.mark.parametrize("verb", ["extend", "cancel", "details", "checkout", "reschedule"])
async def test_who_is_told_that_it_is_over_has_it_in_writing(database: Database, clock, verb: str) -> None:
    """A clock that steps back revives nothing."""
    shop = await open_shop(database)
    held = await shop.held(hold_seconds=60)
    await clock.shift(timedelta(seconds=61))
    limits = shop.world.limits
    match verb:
        case "extend":
            answer = await database.run(change.extend, held.id, limits)
        case "cancel":
            request = cancelling.CancelRequest(reservation_id=held.id, by=EndedBy.ACCOUNT)
            answer = await database.run(cancelling.cancel, request)
        case "details":
            asked = partial(change.set_details, by_secret_key=True, limits=limits)
            answer = await database.run(asked, held.id, change.Details(metadata={"a": 1}))
        case "checkout":
            answer = await shop.try_checkout(held)
        case "reschedule":
            onto = RescheduleRequest(reservation_id=held.id, start=shop.slot(10), by=EndedBy.ACCOUNT)
            answer = await database.run(reschedule, onto)
    assert isinstance(answer, Refusal)
    assert (await shop.read(held.id)).status is Status.EXPIRED


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("sold", [False, True])
async def test_late_money(database: Database, clock, mode: Mode, sold: bool) -> None:
    shop = await open_shop(database, mode=mode)
    held = await shop.held(hold_seconds=300)
    payment = await shop.checkout(held)
    await clock.shift(timedelta(seconds=301))
    await shop.work()  # the deadline closes what can be closed
    assert (await shop.read(held.id)).status is Status.EXPIRED
    if sold:
        await shop.held()
    shop.provider.bring_money(payment.provider_ref)  # 3-D Secure was under way
    await advance.advance(shop.world, payment.id)
    await shop.work()

    after, paid = await shop.read(held.id), await shop.payment(payment.id)
    if not sold:
        assert after.status is Status.CONFIRMED
        assert paid.late is Late.RETAKEN
        assert len(shop.mail.sent) == 1
        return
    assert after.status is Status.EXPIRED
    assert len(shop.mail.sent) == 1
    if mode is Mode.AUTHORIZE:
        assert (paid.late, paid.status, paid.captured_minor) == (Late.VOIDED, PaymentStatus.VOIDED, 0)
    else:
        assert (paid.late, paid.status, paid.refunded_minor) == (Late.REFUNDED, PaymentStatus.REFUNDED, 6000)


@pytest.mark.parametrize("gone", ["event type", "host"])
async def test_late_money_takes_nothing_that_is_offered_no_more(database: Database, clock, gone: str) -> None:
    shop = await open_shop(database, mode=Mode.SALE_UNCLOSEABLE)
    held = await shop.held(hold_seconds=300)
    payment = await shop.checkout(held)
    await clock.shift(timedelta(hours=1))
    if gone == "host":
        await database.run(catalog.delete_host, shop.hosts[0])
    else:
        await database.run(catalog.delete_event_type, shop.event_type_id)
    shop.provider.bring_money(payment.provider_ref)
    await advance.advance(shop.world, payment.id)
    await shop.work()
    assert (await shop.read(held.id)).status is Status.EXPIRED
    paid = await shop.payment(payment.id)
    assert (paid.late, paid.refunded_minor) == (Late.REFUNDED, 6000)


async def if_still_free(shop: Shop, held: Reservation) -> Refusal:
    request = ConfirmRequest(
        reservation_id=held.id, asks=Asks.SECRET_KEY, if_still_free=True, payment_reference="till 1"
    )
    answer = await shop.database.run(confirm, request)
    assert isinstance(answer, Refusal), answer
    return answer


async def test_what_a_rival_expired_is_closed_all_the_same(database: Database, clock) -> None:
    """Their claim wrote the end down and nothing more; the job of the deadline does what follows."""
    shop = await open_shop(database)
    held = await shop.held(hold_seconds=300)
    payment = await shop.checkout(held)
    await clock.shift(timedelta(seconds=301))
    await shop.held(held.start)
    assert (await shop.read(held.id)).status is Status.EXPIRED
    await database.run(expire, held.id)
    [job] = await database.run(jobs.claim, ["close"], timedelta(minutes=1), 10)
    assert job.subject == payment.id


async def test_time_that_has_begun_is_not_taken_again(database: Database, clock) -> None:
    shop = await open_shop(database)
    held = await shop.held(hold_seconds=60)
    await clock.shift(held.start - held.created_at)
    assert (await if_still_free(shop, held)).code is Code.HOLD_EXPIRED
    assert (await shop.read(held.id)).status is Status.EXPIRED


async def test_time_that_was_tried_on_is_given_up_where_something_is_missing(
    database: Database, clock
) -> None:
    shop = await open_shop(database)
    held = await shop.held(hold_seconds=60, customer={})
    await clock.shift(timedelta(seconds=61))
    assert (await if_still_free(shop, held)).code is Code.DETAILS_MISSING
    assert isinstance(await shop.reserve(held.start), Reservation)


async def test_who_moves_a_hold_is_sent_nothing_and_whose_booking_moves_is(database: Database) -> None:
    """Nor has anybody a calendar to bring in line."""
    shop = await open_shop(database, rules={"price": None})
    held = await shop.held()

    async def moved(hour: int) -> list[str]:
        onto = RescheduleRequest(reservation_id=held.id, start=shop.slot(hour), by=EndedBy.ACCOUNT)
        assert isinstance(await database.run(reschedule, onto), Reservation)
        async with database.statement() as tx:
            assert await tx.rows("select key from job where kind = 'calendars'") == []
        await shop.work()
        return [subject.partition(":")[0] for subject in shop.mail.subjects()]

    assert await moved(10) == []
    request = ConfirmRequest(reservation_id=held.id, asks=Asks.SECRET_KEY)
    assert isinstance(await database.run(confirm, request), Reservation)
    assert await moved(11) == ["Confirmed", "Moved"]


async def test_what_is_priced_moves_to_no_other_host(database: Database) -> None:
    """Who is paid was settled with its price."""
    shop = await open_shop(database, hosts=2)
    mine = await shop.held(shop.slot(9))
    await shop.held(shop.slot(10), host_id=mine.hosts[0])
    onto = RescheduleRequest(reservation_id=mine.id, start=shop.slot(10), by=EndedBy.ACCOUNT)
    answer = await database.run(reschedule, onto)
    assert isinstance(answer, Refusal) and answer.code is Code.SLOT_TAKEN
    assert (await shop.read(mine.id)).hosts == mine.hosts


async def test_who_moved_to_another_host_between_two_looks_is_looked_at_again(
    database: Database, monkeypatch
) -> None:
    """The locks that were taken are those of the host before."""
    shop = await open_shop(database, hosts=2)
    held = await shop.held()

    async def as_it_was(tx, reservation_id):
        return replace(held, hosts=tuple(set(shop.hosts) - set(held.hosts)))

    monkeypatch.setattr(reservations, "load", as_it_was)
    async with database.transaction() as tx:
        with pytest.raises(TryAgain):
            await lock_reservation_with_hosts(tx, held.id)


async def test_a_closable_sale_keeps_its_time_until_it_is_closed(database: Database, clock) -> None:
    shop = await open_shop(database, mode=Mode.SALE)
    held = await shop.held(hold_seconds=300)
    payment = await shop.checkout(held)
    await clock.shift(timedelta(seconds=301))
    assert isinstance(await shop.reserve(), Refusal), "the checkout can still be paid"
    shop.provider.faults["close"] = ["lost_before"]
    await shop.work()
    assert isinstance(await shop.reserve(), Refusal)
    shop.provider.pay(payment.provider_ref)
    await clock.shift(timedelta(seconds=2))
    await shop.work()
    assert (await shop.read(held.id)).status is Status.CONFIRMED


async def test_an_unanswered_close_frees_the_time_in_the_end(database: Database, clock) -> None:
    shop = await open_shop(database, mode=Mode.SALE)
    held = await shop.held(hold_seconds=300)
    await shop.checkout(held)
    shop.provider.faults["close"] = ["lost_before"] * 1000
    shop.provider.faults["fetch"] = ["lost_before"] * 1000
    await clock.shift(timedelta(seconds=899))
    assert isinstance(await shop.reserve(), Refusal)
    await clock.shift(timedelta(seconds=3))
    await shop.held()
    assert (await shop.read(held.id)).status is Status.EXPIRED


@pytest.mark.parametrize("fault", ["lost_before", "lost_after"])
@pytest.mark.parametrize("operation", ["create", "fetch", "capture", "refund", "void", "close"])
@pytest.mark.parametrize("mode", MODES)
async def test_lost_answers_are_healed(
    database: Database, clock, mode: Mode, operation: str, fault: str
) -> None:
    """Paid late, after the slot was sold, with every kind of call lost once: all money goes back, once."""
    shop = await open_shop(database, mode=mode)
    shop.provider.faults[operation] = [fault, fault]
    held = await shop.held(hold_seconds=300)
    try:
        payment = await shop.checkout(held)
    except AssertionError:
        payment = None
    await clock.shift(timedelta(seconds=310))
    for _ in range(10):
        await clock.shift(timedelta(seconds=90))
        await shop.work()
    await shop.sold()
    ref = next(iter(shop.provider.checkouts))
    shop.provider.bring_money(ref)
    payment_id = ref.removeprefix("fake_")
    for _ in range(30):
        await clock.shift(timedelta(minutes=61))
        await shop.work()
    paid, checkout = await shop.payment(payment_id), shop.provider.checkouts[ref]
    assert (await shop.read(held.id)).status is Status.EXPIRED
    if mode is Mode.AUTHORIZE:
        assert checkout.phase is Phase.VOIDED
        assert paid.status is PaymentStatus.VOIDED
    else:
        assert [one.amount_minor for one in checkout.refunds.values()] == [6000]
        assert paid.status is PaymentStatus.REFUNDED
    assert paid.refund_due_minor == 0
    assert payment is None or payment.id == payment_id


async def test_refused_capture_charges_nobody(database: Database) -> None:
    shop = await open_shop(database)
    held = await shop.held()
    payment = await shop.checkout(held)
    shop.provider.faults["capture"] = ["refused"]
    shop.provider.authorize(payment.provider_ref)
    await advance.advance(shop.world, payment.id)
    assert (await shop.read(held.id)).status is Status.PROCESSING
    await shop.work()
    lost = await shop.read(held.id)
    assert (lost.status, lost.ended.code) == (Status.EXPIRED, "payment_failed")
    assert (await shop.payment(payment.id)).status is PaymentStatus.VOIDED
    await shop.held()


async def test_money_that_came_in_time_and_could_not_be_taken_is_not_called_late(database: Database) -> None:
    """Asked about again before the authorisation is given back."""
    shop = await open_shop(database)
    payment = await shop.checkout(await shop.held())
    shop.provider.faults["capture"] = ["refused"]
    shop.provider.authorize(payment.provider_ref)
    await advance.advance(shop.world, payment.id)
    await advance.capture(shop.world, payment.id)
    await advance.advance(shop.world, payment.id)
    await shop.work()
    after = await shop.payment(payment.id)
    assert (after.status, after.late, shop.mail.sent) == (PaymentStatus.VOIDED, None, [])


async def test_cancel_by_policy_refunds_its_part(database: Database) -> None:
    steps = [{"until_minutes_before": 1440, "refund_percent": 50}]
    shop = await open_shop(database, mode=Mode.SALE, rules={"cancellation": steps})
    held = await shop.held()
    payment = await shop.checkout(held)
    shop.provider.pay(payment.provider_ref)
    await advance.advance(shop.world, payment.id)
    request = cancelling.CancelRequest(reservation_id=held.id, by=EndedBy.CUSTOMER)
    done = await database.run(cancelling.cancel, request)
    assert isinstance(done, Reservation)
    again = await database.run(cancelling.cancel, request)
    assert isinstance(again, Reservation)
    await shop.work()
    paid = await shop.payment(payment.id)
    assert (paid.refunded_minor, paid.refund_due_minor, paid.captured_minor) == (3000, 0, 6000)
    await shop.held()


@pytest.mark.parametrize("mode", [Mode.AUTHORIZE, Mode.SALE])
async def test_money_that_is_not_what_was_agreed_pays_for_nothing(database: Database, mode: Mode) -> None:
    """Captured in part by somebody: refunded, a human told, and the time is free."""
    shop = await open_shop(database, mode=mode)
    held = await shop.held()
    payment = await shop.checkout(held)
    checkout = shop.provider.checkouts[payment.provider_ref]
    if mode is Mode.AUTHORIZE:
        shop.provider.authorize(payment.provider_ref)
        await advance.advance(shop.world, payment.id)
    checkout.phase, checkout.captured = Phase.CAPTURED, 100
    await advance.advance(shop.world, payment.id)
    await shop.work()
    paid = await shop.payment(payment.id)
    assert (paid.captured_minor, paid.refunded_minor, paid.needs_human_code) == (100, 100, "amount_mismatch")
    assert (await shop.read(held.id)).status is (Status.EXPIRED if mode is Mode.AUTHORIZE else Status.HELD)

    resolved = await database.run(cancelling.resolve, payment.id, "called the bank")
    assert resolved.needs_human_code is None
    async with database.statement() as tx:
        note = await tx.value("select resolution from payment where id = $1", payment.id)
    assert note == "called the bank"


async def test_a_confirmed_reservation_stands_whatever_the_dashboard_does(database: Database) -> None:
    shop = await open_shop(database, mode=Mode.SALE)
    held = await shop.held()
    payment = await shop.checkout(held)
    shop.provider.pay(payment.provider_ref)
    await advance.advance(shop.world, payment.id)
    shop.provider.checkouts[payment.provider_ref].captured = 7000
    await advance.advance(shop.world, payment.id)
    await shop.work()
    assert (await shop.read(held.id)).status is Status.CONFIRMED
    assert (await shop.payment(payment.id)).refunded_minor == 0


async def test_not_paid_is_said_only_when_the_provider_has_said_so(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paid, and the provider does not answer for a while: 402 would be a lie."""
    monkeypatch.setattr(confirming, "WAIT_SECONDS", 0.5)
    shop = await open_shop(database)
    held = await shop.held()
    payment = await shop.checkout(held)
    request = ConfirmRequest(reservation_id=held.id, asks=Asks.CLIENT_SECRET)

    async def confirm() -> Reservation | Refusal:
        return await confirming.confirm_with_provider(shop.world, request, back_end_confirms=False)

    shop.provider.faults["fetch"] = ["lost_before"] * 3
    for _ in range(2):
        unknown = await confirm()
        assert isinstance(unknown, Refusal)
        assert unknown.code is Code.PROVIDER_UNAVAILABLE
    shop.provider.faults["fetch"] = []
    await advance.advance(shop.world, payment.id)
    unpaid = await confirm()
    assert isinstance(unpaid, Refusal)
    assert unpaid.code is Code.PAYMENT_REQUIRED


async def test_a_refused_checkout_is_not_opened_after_all(database: Database, clock) -> None:
    """The customer was told no; nobody may open it behind their back, where it would stay open."""
    shop = await open_shop(database)
    held = await shop.held()
    shop.provider.faults["create"] = ["refused"]
    with pytest.raises(AssertionError):
        await shop.checkout(held)
    await clock.shift(timedelta(seconds=11))
    await shop.work()
    assert shop.provider.checkouts == {}
    [payment] = (await database.run(payments.of_reservations, [held.id]))[held.id]
    assert (payment.status, payment.provider_ref) == (PaymentStatus.FAILED, None)
    async with database.statement() as tx:
        assert await tx.value("select count(*) from job where kind = 'advance'") == 0


async def test_what_is_still_open_is_closed_when_the_payment_that_pinned_is_lost(database: Database) -> None:
    """Declined, tried again with another checkout, then the first one goes through after all and is not captured."""
    shop = await open_shop(database)
    held = await shop.held()
    first = await shop.checkout(held)
    shop.provider.decline(first.provider_ref)
    second = await shop.checkout(held)
    assert second.id != first.id
    shop.provider.faults["capture"] = ["refused"]
    shop.provider.authorize(first.provider_ref)
    await advance.advance(shop.world, first.id)
    await shop.work()
    assert (await shop.read(held.id)).status is Status.EXPIRED
    assert shop.provider.checkouts[second.provider_ref].phase is Phase.CLOSED
