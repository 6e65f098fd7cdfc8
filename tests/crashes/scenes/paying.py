# SPDX-License-Identifier: Apache-2.0
"""Checkouts, notifications, the worker after a payment, deadlines with money about, late money."""

import time
from typing import Any

import msgspec

from holdfirst.providers.sandbox.provider import NotificationBody
from holdfirst.providers.sandbox.signature import HEADER, sign
from holdfirst.store import jobs, payments
from holdfirst.store.database import Tx
from house import RETURN, House

from .case import Case, later, scene, verb


async def _checkout(house: House, mode: str) -> Case:
    return verb(await house.held(mode), "checkout", RETURN, ends="held")


@scene
async def checkout_authorize(house: House, clock: Any) -> Case:
    return await _checkout(house, "authorize")


@scene
async def checkout_sale(house: House, clock: Any) -> Case:
    return await _checkout(house, "sale")


@scene
async def checkout_whose_answer_is_lost(house: House, clock: Any) -> Case:
    held = await house.held("sale")
    await house.fault("create", "lost_after")
    return verb(held, "checkout", RETURN, ends="held")


@scene
async def checkout_that_is_refused(house: House, clock: Any) -> Case:
    held = await house.held("sale")
    await house.fault("create", "refused")
    return verb(held, "checkout", RETURN, ends="held", statuses=(200, 422))


@scene
async def checkout_after_a_decline(house: House, clock: Any) -> Case:
    held, ref = await house.open("sale")
    await house.act(ref, "decline", notify="never")
    return verb(held, "checkout", RETURN, ends="held")


@scene
async def checkout_again(house: House, clock: Any) -> Case:
    """The one that is open is answered."""
    held, ref = await house.open("sale")
    return verb(held, "checkout", RETURN, ref=ref, ends="held")


@scene
async def checkout_of_what_has_run_out(house: House, clock: Any) -> Case:
    held = await house.held("sale", hold_seconds=30)
    await later(clock, 31)
    return verb(held, "checkout", RETURN, ends="expired", statuses=(409, 410))


async def _somebody_has_the_deadline(tx: Tx) -> None:
    """Another worker, who dies with it: nobody writes down that the hold is over before its lease is over too."""
    await tx.execute(
        "update job set lease_until = the_clock() + interval '60 seconds' where kind = 'deadline'"
    )


@scene
async def checkout_of_a_hold_that_ends_meanwhile(house: House, clock: Any) -> Case:
    """Its end is written down where its answer comes: the new checkout is closed."""
    held = await house.held("authorize", hold_seconds=600)
    await house.fault("create", "lost_after")
    lost = await house.verb(held, "checkout", RETURN)
    assert lost.status_code == 503
    await later(clock, 601)
    await house.run(_somebody_has_the_deadline)
    return Case(held=held, ends="expired")


@scene
async def a_notification(house: House, clock: Any) -> Case:
    held, ref = await house.open("sale")
    await house.act(ref, "pay", notify="never")
    addressed = await house.parts.sandbox._books.notification_of(ref)
    assert addressed is not None
    url, secret = addressed
    body = NotificationBody(ref)
    # By the company's clock, which is not the database's, moved on by the scenes before.
    signed = sign(msgspec.json.encode(body), secret, int(time.time()))
    path = "/" + url.split("/", 3)[3]
    return Case(
        held=held,
        path=path,
        body=msgspec.to_builtins(body),
        key=None,
        headers={HEADER: signed},
        statuses=(200, 202, 204),
        ref=ref,
        ends="confirmed",
        mails=("Confirmed",),
        keyed=False,
    )


async def _hint(tx: Tx, payment_id: str) -> None:
    payment = await payments.load(tx, payment_id)
    assert payment is not None
    await jobs.enqueue(tx, payment.account_id, "hint", payment_id, due=await tx.now())


@scene
async def a_hint_from_anybody(house: House, clock: Any) -> Case:
    """As GoPay's are: nothing is signed, and its question has a job of its own. The second comes when it may be asked again."""
    held, ref = await house.open("sale")
    payment = (await house.read(held))["payment"]["id"]
    await house.run(_hint, payment)
    await house.step(["hint"])
    await house.act(ref, "pay", notify="never")
    await later(clock, 2)
    await house.run(_hint, payment)
    return Case(held=held, ref=ref, ends="confirmed", mails=("Confirmed",), waits=(5, 60))


@scene
async def a_hint_too_soon_after_another(house: House, clock: Any) -> Case:
    """However often anybody calls, its provider is asked once a second."""
    held, ref = await house.open("sale")
    payment = (await house.read(held))["payment"]["id"]
    await house.act(ref, "pay", notify="never")
    await house.run(_hint, payment)

    async def asked_just_now(tx: Tx) -> None:
        # And by a clock that is ahead, so that it stays so for as long as this machine may take.
        await tx.execute("update payment set asked_at = the_clock() + interval '30 seconds'")

    await house.run(asked_just_now)
    return Case(held=held, ref=ref, ends="confirmed", mails=("Confirmed",), waits=(5, 60))


@scene
async def the_return_page(house: House, clock: Any) -> Case:
    held, ref = await house.open("sale")
    await house.act(ref, "pay", notify="never")
    path = f"/r/{held['id']}"
    case = Case(held=held, path=path, method="GET", key=None, ref=ref, ends="confirmed", keyed=False)
    case.mails, case.statuses = ("Confirmed",), (200, 303)
    return case


async def _work_after_paying(house: House, mode: str) -> Case:
    """A worker asks, pins, captures, confirms, mails."""
    held, ref = await house.open(mode)
    await house.pay(ref, mode)
    return Case(held=held, ref=ref, ends="confirmed", mails=("Confirmed",))


@scene
async def work_authorize(house: House, clock: Any) -> Case:
    return await _work_after_paying(house, "authorize")


@scene
async def work_sale(house: House, clock: Any) -> Case:
    return await _work_after_paying(house, "sale")


@scene
async def work_with_a_lost_capture(house: House, clock: Any) -> Case:
    held, ref = await house.open("authorize")
    await house.fault("capture", "lost_after")
    await house.pay(ref, "authorize")
    return Case(held=held, ref=ref, ends="confirmed", mails=("Confirmed",))


@scene
async def work_with_a_capture_that_was_not_heard(house: House, clock: Any) -> Case:
    held, ref = await house.open("authorize")
    await house.fault("capture", "lost_before")
    await house.fault("fetch", "lost_before", 2)
    await house.pay(ref, "authorize")
    # Killed before the first call, three calls are still to be lost.
    return Case(held=held, ref=ref, ends="confirmed", mails=("Confirmed",), waits=(5, 5, 5, 5))


@scene
async def work_with_a_capture_that_did_not_arrive(house: House, clock: Any) -> Case:
    """What was to be captured is still only authorised: it is asked for once more."""
    held, ref = await house.open("authorize")
    await house.fault("capture", "lost_before")
    await house.pay(ref, "authorize")
    return Case(held=held, ref=ref, ends="confirmed", mails=("Confirmed",), waits=(5, 5))


async def _pinned(house: House) -> tuple[dict[str, Any], str]:
    """The capture has been lost once."""
    held, ref = await house.open("authorize")
    await house.fault("capture", "lost_before")
    await house.pay(ref, "authorize")
    while "capture" not in [one["operation"] for one in (await house.ledger(ref))["calls"]]:
        await house.step()
    assert (await house.read(held))["status"] == "processing"
    return held, ref


@scene
async def work_on_a_capture_that_nobody_answers_for(house: House, clock: Any) -> Case:
    """A human is told after ten minutes; and it is captured when it can be."""
    held, ref = await _pinned(house)
    await later(clock, 601)
    await house.fault("capture", "lost_before")
    await house.fault("fetch", "lost_before", 3)
    return Case(held=held, ref=ref, ends="confirmed", mails=("Confirmed",), waits=(5, 61, 61, 61))


async def books_say_otherwise(house: House, ref: str) -> None:
    """Another amount was taken there than was agreed."""

    async def change(tx: Tx) -> None:
        await tx.execute(
            "update sandbox.checkout set state = 'captured', amount_minor = 5000, authorized_minor = 5000,"
            " captured_minor = 5000 where ref = $1",
            ref,
        )

    await house.run(change)


@scene
async def work_on_a_capture_of_another_amount(house: House, clock: Any) -> Case:
    """It pays for nothing: the time is free, the money goes back, and a human is told."""
    held, ref = await _pinned(house)
    await books_say_otherwise(house, ref)
    case = Case(held=held, ref=ref, ends="expired", mails=("Not booked, refunded",), refunds=5000)
    case.human = True
    return case


@scene
async def work_on_a_sale_of_another_amount(house: House, clock: Any) -> Case:
    """The hold lasts, and its deadline waits for no checkout any more."""
    held, ref = await house.open("sale")
    await books_say_otherwise(house, ref)
    return Case(held=held, ref=ref, ends="held", refunds=5000, human=True)


@scene
async def work_on_a_payment_that_had_died(house: House, clock: Any) -> Case:
    """Another checkout is open by then: it is closed, so that nobody pays twice."""
    held, ref = await house.open("sale")
    await house.act(ref, "decline", notify="never")
    again = await house.ask("POST", f"/v1/reservations/{held['id']}/checkout", RETURN)
    other = again["payment"]["provider_ref"]
    await house.act(ref, "pay", force=True)
    case = Case(held=held, ref=ref, ends="confirmed", mails=("Confirmed",))

    async def other_is_closed(house: House) -> None:
        assert (await house.ledger(other))["state"] == "closed"

    case.then = other_is_closed
    return case


@scene
async def work_on_a_payment_for_time_that_is_lost(house: House, clock: Any) -> Case:
    """The database has the last word: the time is firmly somebody else's, however that came about."""
    held, ref = await house.open("sale_uncloseable")
    rival = await house.held("free")
    assert (await house.verb(rival, "confirm", {})).status_code == 200
    await house.settle()

    async def move_there(tx: Tx) -> None:
        await tx.execute(
            "update claim theirs set start = ours.start, starts_at = ours.starts_at, ends_at = ours.ends_at"
            " from claim ours where theirs.reservation_id = $1 and ours.reservation_id = $2",
            rival["id"],
            held["id"],
        )
        await tx.execute(
            'update reservation theirs set start = ours.start, "end" = ours."end"'
            " from reservation ours where theirs.id = $1 and ours.id = $2",
            rival["id"],
            held["id"],
        )

    await house.run(move_there)
    await house.pay(ref, "sale_uncloseable", notify="never")
    return Case(held=held, ref=ref, ends="expired", mails=("Not booked, refunded",), refunds=6000)


@scene
async def work_with_a_refused_capture(house: House, clock: Any) -> Case:
    held, ref = await house.open("authorize")
    await house.fault("capture", "refused", 9)
    await house.pay(ref, "authorize")
    return Case(held=held, ref=ref, ends="expired")


@scene
async def work_after_a_decline(house: House, clock: Any) -> Case:
    held, ref = await house.open("sale")
    await house.act(ref, "decline")
    return Case(held=held, ref=ref, ends="held")


async def _deadline_with_a_checkout(house: House, clock: Any, mode: str) -> Case:
    held, ref = await house.open(mode, hold_seconds=600)
    await later(clock, 601)
    return Case(held=held, ref=ref, ends="expired")


@scene
async def a_deadline_with_an_open_authorization(house: House, clock: Any) -> Case:
    return await _deadline_with_a_checkout(house, clock, "authorize")


@scene
async def a_deadline_with_an_open_sale(house: House, clock: Any) -> Case:
    return await _deadline_with_a_checkout(house, clock, "sale")


@scene
async def a_deadline_with_a_sale_that_is_paid(house: House, clock: Any) -> Case:
    held, ref = await house.open("sale", hold_seconds=600)
    await house.act(ref, "pay", notify="never")
    await later(clock, 601)
    return Case(held=held, ref=ref, ends="confirmed", mails=("Confirmed",))


# Late money


async def _late(house: House, clock: Any, mode: str, *, taken: bool) -> Case:
    held, ref = await house.open(mode, hold_seconds=600)
    await house.pay(ref, mode, notify="never")
    await later(clock, 601)
    if taken:
        await house.held("free", start=held["start"])
    case = Case(held=held, ref=ref, ends="expired" if taken else "confirmed", mails=("Confirmed",))
    if taken and mode == "authorize":
        case.mails = ("Not booked, not charged",)
    elif taken:
        case.mails, case.refunds = ("Not booked, refunded",), 6000
    return case


@scene
async def late_authorization_of_free_time(house: House, clock: Any) -> Case:
    return await _late(house, clock, "authorize", taken=False)


@scene
async def late_authorization_of_taken_time(house: House, clock: Any) -> Case:
    return await _late(house, clock, "authorize", taken=True)


@scene
async def late_sale_of_free_time(house: House, clock: Any) -> Case:
    return await _late(house, clock, "sale_uncloseable", taken=False)


@scene
async def late_sale_of_taken_time(house: House, clock: Any) -> Case:
    return await _late(house, clock, "sale_uncloseable", taken=True)


@scene
async def late_sale_that_is_to_go_back(house: House, clock: Any) -> Case:
    """The event type takes no time again; and the one who asks is the one who writes the end down."""
    if "returns" not in house.keys:
        told = await house.ask("GET", "/v1/event-types/sale-uncloseable")
        body = {name: told[name] for name in ("hosts", "price", "payment_account", "duration_minutes")}
        body |= {"name": "Returns", "slug": "returns", "horizon_days": 365, "late_payment": "return"}
        house.keys["returns"] = (await house.ask("POST", "/v1/event-types", body))["id"]
    held, ref = await house.open("returns", hold_seconds=600)
    await house.pay(ref, "sale_uncloseable", notify="never")
    await later(clock, 601)
    await house.run(_somebody_has_the_deadline)
    return Case(held=held, ref=ref, ends="expired", mails=("Not booked, refunded",), refunds=6000)
