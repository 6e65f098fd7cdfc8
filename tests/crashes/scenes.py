# SPDX-License-Identifier: Apache-2.0
"""What a server is killed in the middle of: each scene is a few lines, and says how it must end all the same.

To add one: write an `async def` that prepares, and answers a `Case`: the request (or, without one, the worker's work)
during which the process dies, and what must be true when the clock has moved past all leases and another worker is at
rest.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeAlias

import msgspec

from holdfirst.providers.sandbox.provider import NotificationBody
from holdfirst.providers.sandbox.signature import HEADER, sign
from holdfirst.store import jobs, payments
from holdfirst.store.database import Tx
from house import CUSTOMER, HOURS, RETURN, House


@dataclass
class Case:
    """`held`: the reservation that this is about, whose status must become `ends`; `mails`: their subjects, once each.

    `statuses`: what the request may be answered with, repeated after the crash.
    """

    held: dict[str, Any] | None = None
    ends: str | None = None
    mails: tuple[str, ...] = ()
    path: str | None = None
    body: Any = None
    method: str = "POST"
    key: str | None = "secret"
    headers: dict[str, str] = field(default_factory=dict)
    statuses: tuple[int, ...] = (200,)
    ref: str | None = None
    beside: bool = False
    """A worker works meanwhile, in another process."""
    refunds: int = 0
    keyed: bool = True
    waits: tuple[int, ...] = (5,)
    """After another worker has done what is due: the seconds that pass before it looks again, once for each."""
    human: bool = False
    """Whether somebody is told to look, which nothing but a person takes back."""


Scene: TypeAlias = Callable[[House, Any], Awaitable[Case]]
SCENES: dict[str, Scene] = {}


def scene(work: Scene) -> Scene:
    SCENES[work.__name__] = work
    return work


def verb(held: dict[str, Any], name: str, body: Any = None, **more: Any) -> Case:
    return Case(held=held, path=f"/v1/reservations/{held['id']}/{name}", body=body, **more)


async def later(clock: Any, seconds: int) -> None:
    await clock.shift(timedelta(seconds=seconds))


async def paid(house: House, mode: str) -> tuple[dict[str, Any], str]:
    """Confirmed, and its mail sent."""
    held, ref = await house.open(mode)
    await house.pay(ref, mode)
    async with house.working():
        await house.until(held, lambda told: told["status"] == "confirmed")
    await house.settle()
    return held, ref


def slot_wish(house: House, **more: Any) -> dict[str, Any]:
    return {"event_type": "free", "start": house.start(), "customer": CUSTOMER} | more


# Hold


@scene
async def reserve(house: House, clock: Any) -> Case:
    return Case(path="/v1/reservations", body=slot_wish(house), statuses=(201,), ends="held")


@scene
async def reserve_priced_with_a_publishable_key(house: House, clock: Any) -> Case:
    wish = slot_wish(house, event_type="sale")
    return Case(path="/v1/reservations", body=wish, key="publishable", statuses=(201,), ends="held")


@scene
async def reserve_what_is_taken(house: House, clock: Any) -> Case:
    wish = slot_wish(house)
    held = await house.ask("POST", "/v1/reservations", wish)
    return Case(held=held, path="/v1/reservations", body=wish, statuses=(409,), ends="held")


@scene
async def reserve_what_has_run_out(house: House, clock: Any) -> Case:
    wish = slot_wish(house)
    held = await house.ask("POST", "/v1/reservations", wish | {"hold_seconds": 30})
    await later(clock, 31)
    return Case(held=held, path="/v1/reservations", body=wish, statuses=(201,), ends="expired")


@scene
async def extend(house: House, clock: Any) -> Case:
    return verb(await house.held("free"), "extend", ends="held", statuses=(200, 409))


@scene
async def change_details(house: House, clock: Any) -> Case:
    held = await house.held("free")
    path = f"/v1/reservations/{held['id']}"
    return Case(held=held, path=path, method="PATCH", body={"metadata": {"a": "b"}}, ends="held", keyed=False)


@scene
async def rotate_a_client_secret(house: House, clock: Any) -> Case:
    return verb(await house.held("free"), "client-secret/rotate", ends="held")


@scene
async def move_a_hold(house: House, clock: Any) -> Case:
    return verb(await house.held("free"), "reschedule", {"start": house.start()}, ends="held")


@scene
async def a_deadline(house: House, clock: Any) -> Case:
    held = await house.held("free", hold_seconds=30)
    await later(clock, 31)
    return Case(held=held, ends="expired")


# Make firm, or let go


@scene
async def confirm_what_costs_nothing(house: House, clock: Any) -> Case:
    held = await house.held("free")
    return verb(held, "confirm", {}, key=held["client_secret"], ends="confirmed", mails=("Confirmed",))


@scene
async def confirm_a_sale_that_is_paid(house: House, clock: Any) -> Case:
    held, ref = await house.open("sale")
    await house.act(ref, "pay", notify="never")
    secret = held["client_secret"]
    return verb(held, "confirm", {}, key=secret, ref=ref, ends="confirmed", mails=("Confirmed",))


@scene
async def confirm_what_is_authorized(house: House, clock: Any) -> Case:
    """Another process captures while the confirm waits."""
    held, ref = await house.open("authorize")
    await house.act(ref, "authorize", notify="never")
    return verb(
        held,
        "confirm",
        {},
        key=held["client_secret"],
        ref=ref,
        ends="confirmed",
        mails=("Confirmed",),
        beside=True,
    )


@scene
async def confirm_by_reference_beside_an_open_sale(house: House, clock: Any) -> Case:
    held, ref = await house.open("sale")
    body = {"payment_reference": "till 1"}
    return verb(held, "confirm", body, ref=ref, ends="confirmed", mails=("Confirmed",))


@scene
async def confirm_by_reference_what_was_paid_unheard(house: House, clock: Any) -> Case:
    held, ref = await house.open("sale_uncloseable")
    await house.act(ref, "pay", notify="never")
    body = {"payment_reference": "till 1"}
    # Repeated when the payment has been heard it is a repeat; before that somebody was about to pay twice.
    return verb(held, "confirm", body, ref=ref, ends="confirmed", mails=("Confirmed",), statuses=(200, 409))


@scene
async def confirm_if_still_free(house: House, clock: Any) -> Case:
    held = await house.held("free", hold_seconds=30)
    await later(clock, 31)
    return verb(held, "confirm", {"if_still_free": True}, ends="confirmed", mails=("Confirmed",))


@scene
async def confirm_nothing_paid(house: House, clock: Any) -> Case:
    held, ref = await house.open("sale")
    return verb(held, "confirm", {}, key=held["client_secret"], ref=ref, ends="held", statuses=(402,))


@scene
async def release(house: House, clock: Any) -> Case:
    return verb(await house.held("free"), "release", ends="released")


@scene
async def release_beside_an_open_sale(house: House, clock: Any) -> Case:
    held, ref = await house.open("sale")
    return verb(held, "release", ref=ref, ends="released", beside=True)


@scene
async def release_by_force_what_does_not_close(house: House, clock: Any) -> Case:
    held, ref = await house.open("sale")
    await house.fault("close", "lost_before", 2)
    return verb(held, "release", {"force": True}, ref=ref, ends="released")


@scene
async def release_beside_an_open_authorization(house: House, clock: Any) -> Case:
    held, ref = await house.open("authorize")
    return verb(held, "release", ref=ref, ends="released")


# Pay


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


# Call off, and give back


@scene
async def cancel_and_give_back(house: House, clock: Any) -> Case:
    held, ref = await paid(house, "authorize")
    case = verb(held, "cancel", {"refund": "full"}, ref=ref, ends="cancelled", refunds=6000)
    case.mails = ("Cancelled",)
    return case


@scene
async def work_on_a_refund(house: House, clock: Any) -> Case:
    held, ref = await paid(house, "sale")
    await house.verb(held, "cancel", {"refund": "full"})
    return Case(held=held, ref=ref, ends="cancelled", mails=("Cancelled",), refunds=6000)


@scene
async def work_on_a_refund_whose_answer_is_lost(house: House, clock: Any) -> Case:
    held, ref = await paid(house, "sale")
    await house.fault("refund", "lost_after")
    await house.verb(held, "cancel", {"refund": "full"})
    case = Case(held=held, ref=ref, ends="cancelled", mails=("Cancelled",), refunds=6000)
    case.waits = (31, 31)
    return case


@scene
async def work_on_a_refund_that_is_refused(house: House, clock: Any) -> Case:
    held, ref = await paid(house, "sale")
    await house.fault("refund", "refused")
    await house.verb(held, "cancel", {"refund": "full"})
    case = Case(held=held, ref=ref, ends="cancelled", mails=("Cancelled",), refunds=6000)
    case.waits, case.human = (3601,), True
    return case


@scene
async def refund_a_part(house: House, clock: Any) -> Case:
    held, ref = await paid(house, "sale")
    told = await house.read(held)
    path = f"/v1/payments/{told['payment']['id']}/refund"
    body = {"amount": {"amount_minor": 1500, "currency": "EUR"}}
    return Case(held=held, ref=ref, path=path, body=body, ends="confirmed", refunds=1500)


@scene
async def move_what_is_confirmed(house: House, clock: Any) -> Case:
    held, ref = await paid(house, "sale")
    return verb(held, "reschedule", {"start": house.start()}, ref=ref, ends="confirmed")


# Set-up


@scene
async def make_a_host(house: House, clock: Any) -> Case:
    body = {"name": "Another", "time_zone": "UTC", "schedule": HOURS}
    return Case(path="/v1/hosts", body=body, statuses=(201,))


@scene
async def change_a_host(house: House, clock: Any) -> Case:
    path = f"/v1/hosts/{house.host}"
    return Case(path=path, method="PATCH", body={"name": "Renamed"}, keyed=False)


@scene
async def make_an_event_type(house: House, clock: Any) -> Case:
    slug = f"more-{next(house.hours)}"
    body = {"name": "More", "slug": slug, "hosts": [house.host], "duration_minutes": 30}
    return Case(path="/v1/event-types", body=body, statuses=(201,))


@scene
async def make_a_payment_account(house: House, clock: Any) -> Case:
    body = {"provider": "sandbox", "mode": "sale"}
    return Case(path="/v1/payment-accounts", body=body, statuses=(201,))


@scene
async def take_time_elsewhere(house: House, clock: Any) -> Case:
    start = house.start()
    path = f"/v1/hosts/{house.host}/busy/block-{next(house.hours)}"
    body = {"start": start, "end": start.replace(":00:00+", ":30:00+")}
    return Case(path=path, method="PUT", body=body, keyed=False)
