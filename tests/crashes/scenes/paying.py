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
async def checkout_of_a_hold_that_ends_meanwhile(house: House, clock: Any) -> Case:
    """Written down before its answer came: the new checkout is closed."""
    held = await house.held("authorize", hold_seconds=600)
    await house.fault("create", "lost_after")
    lost = await house.verb(held, "checkout", RETURN)
    assert lost.status_code == 503
    await later(clock, 601)
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
    """As GoPay's are: nothing is signed, and its question has a job of its own. The second comes too soon."""
    held, ref = await house.open("sale")
    payment = (await house.read(held))["payment"]["id"]
    await house.run(_hint, payment)
    await house.step(["hint"])
    await house.act(ref, "pay", notify="never")
    await house.run(_hint, payment)
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
