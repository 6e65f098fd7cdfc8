# SPDX-License-Identifier: Apache-2.0
"""Payment accounts at a company that tells how they stand, learns our address, lists what it has, and keeps a key's answer."""

import json
import time
from typing import Any

import stripe

from crashes.outside import GOPAY, STRIPE_KEY
from house import CUSTOMER, RETURN, House

from .case import Case, later, scene, wish

ALL = "/v1/payment-accounts"
STRIPE = {"provider": "stripe", "methods": "holds_and_sales", "credentials": {"secret_key": STRIPE_KEY}}


def _books(house: House) -> Any:
    return house.outside.stripe.accounts["acct_platform"]


async def _account(house: House) -> tuple[str, str]:
    """A payment account at the company, and an event type that is paid there; once in a house."""
    if "stripe" not in house.keys:
        payee = (await house.ask("POST", ALL, STRIPE))["id"]
        await house.settle()
        body = {"name": "Stripe", "hosts": [house.host], "duration_minutes": 60, "horizon_days": 365}
        body |= {"price": {"amount_minor": 6000, "currency": "EUR"}, "payment_account": payee}
        house.keys["offer"] = (await house.ask("POST", "/v1/event-types", body))["id"]
        house.keys["stripe"] = payee
    return house.keys["stripe"], house.keys["offer"]


async def _held(house: House) -> dict[str, Any]:
    _, offer = await _account(house)
    told = await house.ask(
        "POST", "/v1/reservations", {"event_type": offer, "start": house.start(), "customer": CUSTOMER}
    )
    return dict(told)


async def _open(house: House, clock: Any) -> tuple[dict[str, Any], str]:
    await _in_step(house)
    held = await _held(house)
    told = await house.ask("POST", f"/v1/reservations/{held['id']}/checkout", RETURN)
    return held, told["payment"]["provider_ref"]


async def _in_step(house: House) -> None:
    """The company's clock with the database's, which each scene moves on."""
    now = await house.run(_now)
    house.outside.stripe.offset = now.timestamp() - time.time()


async def _now(tx: Any) -> Any:
    return await tx.now()


async def _confirmed(house: House, clock: Any) -> tuple[dict[str, Any], str]:
    held, ref = await _open(house, clock)
    _books(house).pay(ref, "ideal")
    await house.ask("POST", f"/v1/reservations/{held['id']}/confirm", {}, held["client_secret"])
    await house.settle()
    return held, ref


# How an account stands


@scene
async def add_an_account_at_a_company(house: House, clock: Any) -> Case:
    return Case(path=ALL, body=STRIPE, statuses=(201,))


@scene
async def look_at_an_account(house: House, clock: Any) -> Case:
    payee = (await house.ask("POST", ALL, STRIPE))["id"]
    await wish(house, "check_payee", payee)

    async def is_registered(house: House) -> None:
        told = await house.ask("GET", f"{ALL}/{payee}")
        assert told["notifications"]["registered"] is True

    return Case(then=is_registered)


@scene
async def other_credentials(house: House, clock: Any) -> Case:
    payee = (await house.ask("POST", ALL, STRIPE))["id"]
    house.outside.stripe.account("sk_test_rolled", "acct_platform")
    body = {"credentials": {"secret_key": "sk_test_rolled"}}
    return Case(path=f"{ALL}/{payee}", method="PATCH", body=body, keyed=False)


async def _connected(house: House) -> tuple[str, str]:
    """A platform, and an account that is connected to it."""
    if "platform" not in house.keys:
        platform = (await house.ask("POST", ALL, STRIPE))["id"]
        house.outside.stripe.connect("acct_platform", "acct_one")
        body = {"platform": platform, "connected_account": "acct_one", "methods": "holds_only"}
        house.keys["connected"] = (await house.ask("POST", ALL, body))["id"]
        house.keys["platform"] = platform
        await house.settle()
    return house.keys["platform"], house.keys["connected"]


@scene
async def add_a_connected_account(house: House, clock: Any) -> Case:
    platform = (await house.ask("POST", ALL, STRIPE))["id"]
    name = f"acct_{next(house.hours)}"
    house.outside.stripe.connect("acct_platform", name)
    body = {"platform": platform, "connected_account": name, "methods": "holds_only"}
    return Case(path=ALL, body=body, statuses=(201,))


@scene
async def lead_an_account_through_a_companys_questions(house: House, clock: Any) -> Case:
    _, connected = await _connected(house)
    body = {"return_url": "https://shop.example/a", "refresh_url": "https://shop.example/b"}
    return Case(path=f"{ALL}/{connected}/onboarding-link", body=body, keyed=False)


# What a company calls us about


async def _call(house: House, payee: str, event: dict[str, Any]) -> Case:
    books = house.outside.stripe
    secret = next(
        one["secret"]
        for one in books.endpoints.values()
        if one["url"].endswith(f"/v1/notifications/stripe/{payee}")
    )
    # Sent as it is signed.
    text = json.dumps(event, separators=(",", ":"))
    header = stripe.WebhookSignature.generate_signature_header(text, secret, int(time.time()))
    path = f"/v1/notifications/stripe/{payee}"
    case = Case(path=path, body=event, key=None, headers={"stripe-signature": header}, keyed=False)
    case.statuses = (200, 202, 204)
    return case


@scene
async def a_call_about_an_account(house: House, clock: Any) -> Case:
    platform, _ = await _connected(house)
    about = {"object": "account", "id": "acct_one"}
    event = {"type": "account.updated", "livemode": False, "account": "acct_one", "data": {"object": about}}
    return await _call(house, platform, event)


@scene
async def a_call_about_money(house: House, clock: Any) -> Case:
    """By the name of the money, which is all that it says."""
    payee, _ = await _account(house)
    held, ref = await _confirmed(house, clock)
    about = {"object": "charge", "payment_intent": _books(house).session(ref).intent.id}
    event = {"type": "charge.refunded", "livemode": False, "data": {"object": about}}
    case = await _call(house, payee, event)
    case.held, case.ends = held, "confirmed"
    return case


@scene
async def a_call_about_a_payment_by_our_name(house: House, clock: Any) -> Case:
    payee, _ = await _account(house)
    held, _ = await _confirmed(house, clock)
    payment = (await house.read(held))["payment"]["id"]
    about = {"object": "payment_intent", "id": "pi_unheard", "metadata": {"holdfirst_payment": payment}}
    event = {"type": "payment_intent.succeeded", "livemode": False, "data": {"object": about}}
    case = await _call(house, payee, event)
    case.held, case.ends = held, "confirmed"
    return case


# Where nothing is signed, and no money is given back on the day


async def _at_gopay(house: House) -> tuple[dict[str, Any], str]:
    if "at_gopay" not in house.keys:
        wish = {"provider": "gopay", "methods": "holds_and_sales", "credentials": GOPAY}
        house.keys["gopay"] = (await house.ask("POST", ALL, wish))["id"]
        body = {"name": "GoPay", "hosts": [house.host], "duration_minutes": 60, "horizon_days": 365}
        body |= {
            "price": {"amount_minor": 6000, "currency": "EUR"},
            "payment_account": house.keys["gopay"],
            "slug": "gopay",
        }
        house.keys["at_gopay"] = (await house.ask("POST", "/v1/event-types", body))["id"]
    return await house.open("gopay")


@scene
async def a_call_that_anybody_can_make(house: House, clock: Any) -> Case:
    held, ref = await _at_gopay(house)
    path = f"/v1/notifications/gopay/{house.keys['gopay']}?id={ref}"
    case = Case(held=held, path=path, method="GET", key=None, keyed=False, ends="held")
    case.statuses = (200, 202, 204)
    return case


@scene
async def a_refund_that_is_too_young(house: House, clock: Any) -> Case:
    """Tried again in an hour, and nobody is told."""
    held, ref = await _at_gopay(house)
    gopay = house.outside.gopay
    gopay.pay(ref)
    await house.ask("POST", f"/v1/reservations/{held['id']}/confirm", {}, held["client_secret"])
    await house.settle()
    await house.verb(held, "cancel", {"refund": "full"})
    gopay.faults["refund"] = ["refused"]

    async def given_back_once(house: House) -> None:
        assert gopay.payments[int(ref)].given_back == 6000

    return Case(held=held, ends="cancelled", mails=("Cancelled",), waits=(31, 3601), then=given_back_once)


# Keys whose answer settles nothing: it went wrong once, and that is all that will ever be said under them


async def _spent(house: House, fault: str) -> Case:
    await _in_step(house)
    held = await _held(house)
    house.outside.stripe.faults["create"] = [fault]
    path = f"/v1/reservations/{held['id']}/checkout"
    assert (await house.call("POST", path, RETURN)).status_code == 503
    return Case(held=held, path=path, body=RETURN, ends="held", statuses=(200,))


@scene
async def checkout_whose_key_is_spent(house: House, clock: Any) -> Case:
    return await _spent(house, "500")


@scene
async def checkout_whose_key_is_spent_though_it_was_opened(house: House, clock: Any) -> Case:
    case = await _spent(house, "500_after")
    held = case.held
    assert held is not None

    async def one_is_open(house: House) -> None:
        told = (await house.read(held))["payment"]["provider_ref"]
        assert _books(house).session(told).status == "open"

    case.then = one_is_open
    return case


@scene
async def checkout_after_a_day_without_an_answer(house: House, clock: Any) -> Case:
    """A key older than a day is not trusted to name what it once did."""
    await _in_step(house)
    held = await _held(house)
    house.outside.stripe.faults["create"] = ["slow", "lost_before"]
    house.outside.stripe.slow_seconds = 0.0
    house.outside.stripe.faults["create"] = ["lost_before"]
    path = f"/v1/reservations/{held['id']}/checkout"
    assert (await house.call("POST", path, RETURN)).status_code == 503
    await later(clock, 24 * 3600)
    await _in_step(house)
    return Case(held=held, ends="expired")


async def _owed(house: House, clock: Any) -> Case:
    held, ref = await _confirmed(house, clock)
    await house.verb(held, "cancel", {"refund": "full"})
    case = Case(held=held, ends="cancelled", mails=("Cancelled",), waits=(31, 31, 3601))

    async def given_back_once(house: House) -> None:
        payment = (await house.read(held))["payment"]
        assert _books(house).session(ref).intent.given_back == 6000
        assert payment["refunded"]["amount_minor"] == 6000, payment

    case.then = given_back_once
    return case


@scene
async def a_refund_whose_key_is_spent(house: House, clock: Any) -> Case:
    case = await _owed(house, clock)
    house.outside.stripe.faults["refund"] = ["500"]
    await house.settle()
    await later(clock, 31)
    case.mails = ()
    return case


@scene
async def a_refund_that_was_made_and_not_told(house: House, clock: Any) -> Case:
    case = await _owed(house, clock)
    house.outside.stripe.faults["refund"] = ["500_after"]
    return case


@scene
async def a_refund_that_fails_days_later(house: House, clock: Any) -> Case:
    """It is owed again, and a person is told: whether it may be sent again is theirs to say."""
    case = await _owed(house, clock)
    await house.settle()
    [*_, made] = _books(house).refunds
    _books(house).fail_refund(made)
    assert case.held is not None
    payment = (await house.read(case.held))["payment"]["id"]
    await wish(house, "advance", payment)
    case.then, case.mails, case.human = None, (), True
    return case


@scene
async def a_refund_made_elsewhere(house: House, clock: Any) -> Case:
    held, ref = await _confirmed(house, clock)
    _books(house).dashboard_refund(ref, 1000)
    payment = (await house.read(held))["payment"]["id"]
    await wish(house, "advance", payment)
    return Case(held=held, ends="confirmed")


# Doctor


async def _differ(house: House, clock: Any) -> dict[str, Any]:
    """Money given back elsewhere, and nobody to ask about it."""
    held, ref = await _confirmed(house, clock)
    _books(house).dashboard_refund(ref, 1000)
    return held


@scene
async def doctor_compares_books(house: House, clock: Any) -> Case:
    held = await _differ(house, clock)
    return Case(held=held, ends="confirmed", deed="compare")


@scene
async def doctor_puts_books_right(house: House, clock: Any) -> Case:
    held = await _differ(house, clock)
    case = Case(held=held, ends="confirmed", deed="repair")

    async def is_known(house: House) -> None:
        assert (await house.read(held))["payment"]["refunded"]["amount_minor"] == 1000

    case.then = is_known
    return case
