# SPDX-License-Identifier: Apache-2.0
"""Payment accounts at real companies, over HTTP: credentials go in and never come out; live and test never meet; the account
tells whether it can be paid, because its company is asked.
"""

import json
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import msgspec
import pytest

from front import Site, code, fields, open_site
from holdfirst.effects import payees as at_provider
from holdfirst.flows import at_rest
from holdfirst.key_ring import KeyRing
from holdfirst.providers.gopay import GoPayProvider
from holdfirst.providers.stripe import StripeProvider
from holdfirst.store import jobs
from holdfirst.store.database import Database
from providers.gopay_fake import GoPayFake
from providers.stripe_fake import StripeFake
from providers.stripe_stage import signed

KEY, LIVE_KEY = "sk_test_platform", "sk_live_platform"
WHSEC = "whsec_handmade"
STRIPE = {"provider": "stripe", "credentials": {"secret_key": KEY}}
GOPAY = {
    "provider": "gopay",
    "credentials": {"goid": 8123456789, "client_id": "one", "client_secret": "s3cret"},
}
ACCOUNTS = "/v1/payment-accounts"


class Street:
    """A site, and the companies that it is paid by."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.stripe, self.gopay = StripeFake(), GoPayFake()
        self.books = self.stripe.account(KEY, "acct_platform")
        self.stripe.account(LIVE_KEY, "acct_live", livemode=True)
        self.gopay.shop("one", "s3cret", 8123456789)

    async def add(self, body: dict[str, Any] = STRIPE, **more: Any) -> dict[str, Any]:
        answer = await self.site.post(ACCOUNTS, body | more)
        assert answer.status_code == 201, answer.text
        told: dict[str, Any] = answer.json()
        return told

    async def refused(self, body: dict[str, Any], key: str = "secret") -> list[str]:
        answer = await self.site.post(ACCOUNTS, body, key=key)
        assert answer.status_code == 422, answer.text
        return list(fields(answer))


@pytest.fixture
async def street(database: Database) -> AsyncIterator[Street]:
    site = await open_site(database)
    street = Street(site)
    stripe_http, gopay_http = street.stripe.client(), street.gopay.client()
    providers = site.shop.world.providers
    assert isinstance(providers, dict)
    providers |= {"stripe": StripeProvider(stripe_http), "gopay": GoPayProvider(gopay_http)}
    yield street
    for http in (site.http, stripe_http, gopay_http):
        await http.aclose()


async def test_stripe_in_one_call(street: Street) -> None:
    told = await street.add()
    assert (told["mode"], told["methods"], told["charges_enabled"]) == ("authorize", "holds_only", True)
    assert told["problem"] is None
    # The public address of this test is no https: a person has to enter it, and is told what.
    assert told["notifications"]["registered"] is False
    assert told["notifications"]["url"].endswith(f"/v1/notifications/stripe/{told['id']}")
    assert "checkout.session.completed" in told["notifications"]["events"]
    path = f"{ACCOUNTS}/{told['id']}"
    given = await street.site.call("PATCH", path, {"credentials": {"webhook_secrets": [WHSEC]}})
    assert given.json()["notifications"]["registered"] is True
    sales = await street.site.call("PATCH", path, {"methods": "holds_and_sales"})
    assert (sales.json()["mode"], sales.json()["methods"]) == ("sale", "holds_and_sales")


async def test_our_address_is_registered_where_the_key_allows(street: Street) -> None:
    shop = street.site.shop
    world = msgspec.structs.replace(shop.world, public_url="https://book.example")
    told = await street.add()
    assert await at_provider.check(world, told["id"]) is not None
    [endpoint] = street.stripe.endpoints.values()
    assert endpoint["url"] == f"https://book.example/v1/notifications/stripe/{told['id']}"
    seen = (await street.site.get(f"{ACCOUNTS}/{told['id']}")).json()
    assert seen["notifications"]["registered"] is True
    event = {"type": "charge.refunded", "livemode": False, "data": {"object": {"object": "charge"}}}
    assert await heard(street, told, event, endpoint["secret"]) == 200


async def test_gopay_in_one_call(street: Street) -> None:
    told = await street.add(GOPAY)
    assert (told["mode"], told["charges_enabled"]) == ("authorize_uncloseable", True)
    assert told["notifications"]["registered"] is True
    sales = await street.add(GOPAY, methods="holds_and_sales")
    assert sales["mode"] == "sale_uncloseable"


async def test_credentials_are_tried_before_they_are_kept(street: Street) -> None:
    for body, field in [
        ({"provider": "stripe"}, "credentials.secret_key"),
        (STRIPE | {"credentials": {"secret_key": "sk_test_nobody"}}, "credentials"),
        (STRIPE | {"credentials": {"secret_key": LIVE_KEY}}, "credentials.secret_key"),
        (STRIPE | {"credentials": {"secret_key": KEY, "more": 1}}, "credentials.more"),
        (STRIPE | {"mode": "sale"}, "mode"),
        (STRIPE | {"methods": "all"}, "methods"),
        (STRIPE | {"application_fee": {"percent": 5}}, "platform"),
        (STRIPE | {"connected_account": "acct_1"}, "platform"),
        (GOPAY | {"credentials": {**GOPAY["credentials"], "client_secret": "x"}}, "credentials"),
        ({"credentials": {"secret_key": KEY}}, "provider"),
    ]:
        assert await street.refused(body) == [field], body
    assert await street.refused(STRIPE, key="live") == ["credentials.secret_key"]
    street.stripe.faults["standing"] = ["lost_before"]
    away = await street.site.post(ACCOUNTS, STRIPE)
    assert code(away) == (503, "provider_unavailable")
    assert "retry-after" in away.headers


async def test_other_credentials_are_those_of_the_same_account(street: Street) -> None:
    """Else what is open or owed there would be left behind."""
    told, shop = await street.add(), await street.add(GOPAY)
    street.stripe.account("sk_test_rolled", "acct_platform")
    street.stripe.account("rk_test_narrow", "acct_platform", restricted=True)
    street.stripe.account("sk_test_strange", "acct_strange")
    street.gopay.shop("two", "s3cret", 8987654321)

    async def changed(payee: dict[str, Any], **credentials: Any) -> httpx.Response:
        return await street.site.call("PATCH", f"{ACCOUNTS}/{payee['id']}", {"credentials": credentials})

    assert (await changed(told, secret_key="sk_test_rolled")).status_code == 200
    strange = await changed(told, secret_key="sk_test_strange")
    assert (strange.status_code, fields(strange)) == (422, ["credentials"])
    other_shop = await changed(shop, goid=8987654321, client_id="two")
    assert (other_shop.status_code, fields(other_shop)) == (422, ["credentials"])
    held = await pay(street, told)
    assert held["payment"]["provider_ref"] in street.books.sessions
    # A narrow key may not say whose it is; and with one that was revoked nobody can be asked.
    assert (await changed(told, secret_key="rk_test_narrow")).status_code == 200
    street.stripe.keys["rk_test_narrow"].revoked = True
    assert (await changed(told, secret_key="sk_test_rolled")).status_code == 200


async def test_secrets_are_never_told_and_never_logged(street: Street, caplog, capsys) -> None:
    caplog.set_level(logging.DEBUG)
    told = await street.add(STRIPE | {"credentials": {"secret_key": KEY, "webhook_secrets": [WHSEC]}})
    also = await street.add(GOPAY)
    street.stripe.keys[KEY].revoked = True
    answers = [
        told,
        also,
        (await street.site.get(ACCOUNTS)).json(),
        (
            await street.site.call("PATCH", f"{ACCOUNTS}/{told['id']}", {"credentials": {"secret_key": KEY}})
        ).json(),
    ]
    out = json.dumps(answers) + caplog.text + "".join(capsys.readouterr())
    for secret in (KEY, WHSEC, "s3cret"):
        assert secret not in out
    async with street.site.shop.database.statement() as tx:
        sealed = await tx.rows("select sealed_credentials from payment_account")
    assert not any(KEY.encode() in row["sealed_credentials"] for row in sealed)


async def test_another_key_of_the_ring_seals_them_again(street: Street) -> None:
    told = await street.add()
    database, newer = street.site.shop.database, KeyRing([b"n" * 32, b"k" * 32])
    assert await database.run(at_rest.reseal, newer) >= 2
    assert await database.run(at_rest.reseal, newer) == 0
    alone = msgspec.structs.replace(street.site.shop.world, key_ring=KeyRing([b"n" * 32]))
    assert await at_provider.check(alone, told["id"]) is not None


async def test_a_replay_tells_the_same_account(street: Street) -> None:
    first, again = [
        await street.site.call("POST", ACCOUNTS, STRIPE, headers={"idempotency-key": "k"}) for _ in range(2)
    ]
    assert first.json()["id"] == again.json()["id"]
    assert again.headers["idempotency-replayed"] == "true"


async def test_standing_is_kept_true_by_asking(street: Street) -> None:
    told = await street.add()
    street.books.charges_enabled = False
    event = {"type": "account.updated", "livemode": False, "data": {"object": {"id": "acct_platform"}}}
    path = f"{ACCOUNTS}/{told['id']}"
    await street.site.call("PATCH", path, {"credentials": {"webhook_secrets": [WHSEC]}})
    street.books.charges_enabled = True
    await street.site.shop.work()
    street.books.charges_enabled = False
    assert await heard(street, told, event, WHSEC) == 200
    await street.site.shop.work()
    seen = (await street.site.get(path)).json()
    assert (seen["charges_enabled"], seen["problem"]) == (False, "requirements.past_due")
    street.books.charges_enabled = True
    again = await at_provider.check(street.site.shop.world, told["id"])
    assert again is not None
    assert (await street.site.get(path)).json()["problem"] is None


# Platforms


async def platform(street: Street) -> tuple[dict[str, Any], dict[str, Any]]:
    """A platform, and a coach whose account is connected to it."""
    told = await street.add(STRIPE | {"credentials": {"secret_key": KEY, "webhook_secrets": [WHSEC]}})
    street.stripe.connect("acct_platform", "acct_coach")
    body = {"platform": told["id"], "connected_account": "acct_coach", "application_fee": {"percent": 12.5}}
    answer = await street.site.post(ACCOUNTS, body)
    assert answer.status_code == 201, answer.text
    return told, answer.json()


async def test_a_connected_account_is_paid_with_the_platforms_key(street: Street) -> None:
    told, coach = await platform(street)
    assert coach["provider"] == "stripe"
    assert coach["application_fee"] == {"percent": 12.5, "amount_minor": None}
    assert coach["notifications"]["url"] == told["notifications"]["url"]
    paid = await pay(street, coach)
    session = street.stripe.accounts["acct_coach"].sessions[paid["payment"]["provider_ref"]]
    assert session.params["payment_intent_data"]["application_fee_amount"] == 750
    assert not street.books.sessions


async def test_one_address_hears_for_all_that_are_connected(street: Street) -> None:
    told, coach = await platform(street)
    held = await pay(street, coach)
    theirs = street.stripe.accounts["acct_coach"]
    theirs.pay(held["payment"]["provider_ref"])
    event = theirs.events[-1]
    for account, due in [(None, False), ("acct_stranger", False), ("acct_coach", True)]:
        await quiet(street)
        assert await heard(street, told, event | {"account": account}, WHSEC) == 200
        assert await advance_is_due(street) is due, account


async def test_what_a_platform_cannot_be(street: Street) -> None:
    told, coach = await platform(street)
    street.stripe.connect("acct_platform", "acct_two")
    for body, field in [
        ({"platform": coach["id"], "connected_account": "acct_two"}, "platform"),
        ({"platform": "pac_none", "connected_account": "acct_two"}, "platform"),
        ({"platform": told["id"]}, "connected_account"),
        ({"platform": told["id"], "connected_account": "acct_coach"}, "connected_account"),
        ({"platform": told["id"], "connected_account": "acct_unknown"}, "connected_account"),
        ({"platform": told["id"], "connected_account": "acct_two", "provider": "gopay"}, "provider"),
        (
            {"platform": told["id"], "connected_account": "acct_two", "application_fee": {"percent": 1, "amount_minor": 2}},
            "application_fee",
        ),
        ({"platform": told["id"], "connected_account": "acct_two", "application_fee": {"percent": 0.001}}, "application_fee.percent"),
    ]:  # fmt: skip
        assert await street.refused(body) == [field], body
    theirs = {"platform": told["id"], "connected_account": "acct_two"}
    assert await street.refused(theirs, key="other") == ["platform"]
    assert code(await street.site.call("DELETE", f"{ACCOUNTS}/{told['id']}")) == (409, "still_in_use")
    changed = await street.site.call("PATCH", f"{ACCOUNTS}/{coach['id']}", {"application_fee": None})
    assert changed.json()["application_fee"] is None
    own = await street.site.call("PATCH", f"{ACCOUNTS}/{coach['id']}", {"credentials": {"secret_key": KEY}})
    assert fields(own) == ["credentials"]


async def test_a_link_leads_the_coach_through_stripes_questions(street: Street) -> None:
    told, coach = await platform(street)
    urls = {"return_url": "https://shop.example/back", "refresh_url": "https://shop.example/again"}
    link = await street.site.post(f"{ACCOUNTS}/{coach['id']}/onboarding-link", urls)
    assert link.json() == {"url": "https://connect.stripe.com/setup/acct_coach"}
    own = await street.site.post(f"{ACCOUNTS}/{told['id']}/onboarding-link", urls)
    assert code(own) == (422, "invalid_request")


# Bad notifications


async def test_forged_old_cut_and_foreign_notifications_change_nothing(street: Street) -> None:
    told, coach = await platform(street)
    held = await pay(street, coach)
    ref = held["payment"]["provider_ref"]
    event = {
        "type": "checkout.session.completed",
        "livemode": False,
        "account": "acct_coach",
        "data": {"object": {"id": ref, "object": "checkout.session"}},
    }
    good = signed(event, WHSEC)
    path = f"/v1/notifications/stripe/{told['id']}"
    await quiet(street)
    before = await counted(street)
    for body, headers, status in [
        (good.body, {"stripe-signature": "t=1,v1=" + "0" * 64}, 400),
        (good.body[:-9], good.headers, 400),
        (b"", good.headers, 400),
        (b"{" * 900_000, good.headers, 400),
        (b"x" * 5_000_000, good.headers, 413),
        (good.body, {}, 400),
        (signed(event, "whsec_other").body, signed(event, "whsec_other").headers, 400),
    ]:
        answer = await street.site.call("POST", path, key=None, content=body, headers=dict(headers))
        assert answer.status_code == status, answer.text
    assert await heard(street, told, event | {"livemode": True}, WHSEC) == 200
    assert await heard(street, told, event | {"account": "acct_elsewhere"}, WHSEC) == 200
    assert not await advance_is_due(street)
    assert await counted(street) == before + 9, "each of them, the one too large as well"
    assert await heard(street, told, event, WHSEC) == 200
    assert await advance_is_due(street)


@pytest.mark.parametrize(
    ("price", "why"),
    [
        ({"amount_minor": 10, "currency": "EUR"}, "must add up to more"),
        ({"amount_minor": 10_000, "currency": "LBP"}, "Invalid currency"),
        ({"amount_minor": 12_345, "currency": "KWD"}, "exactly"),
    ],
)
async def test_what_stripe_cannot_take_is_said_and_the_hold_stays(
    street: Street, price: Any, why: str
) -> None:
    told, site = await street.add(), street.site
    path = f"/v1/event-types/{site.shop.event_type_id}"
    await site.call("PATCH", path, {"payment_account": told["id"], "price": price})
    held = await site.held()
    answer = await site.post(
        f"/v1/reservations/{held['id']}/checkout", {"return_url": "https://shop.example/"}
    )
    assert code(answer) == (422, "checkout_refused")
    assert why in answer.json()["detail"]
    seen = (await site.get(f"/v1/reservations/{held['id']}")).json()
    assert (seen["status"], seen["payment"]["status"]) == ("held", "failed")


async def test_who_calls_for_gopay_names_a_payment_of_ours_or_nothing(street: Street) -> None:
    told = await street.add(GOPAY)
    held = await pay(street, told)
    database, path = street.site.shop.database, f"/v1/notifications/gopay/{told['id']}"
    before = await counted(street)
    assert (await street.site.get(f"{path}?id=999", key=None)).status_code == 200
    assert (await street.site.get(f"{path}?id=x", key=None)).status_code == 400
    beside = await street.add(GOPAY)
    theirs = f"/v1/notifications/gopay/{beside['id']}?id={held['payment']['provider_ref']}"
    assert (await street.site.get(theirs, key=None)).status_code == 200, (
        "another account's: silent, so that it ends"
    )
    assert await counted(street) == before + 3
    assert not await database.run(jobs.claim, ["hint"], timedelta(milliseconds=1), 10)
    for _ in range(5):
        heard = await street.site.get(f"{path}?id={held['payment']['provider_ref']}", key=None)
        assert heard.status_code == 200
    assert len(await database.run(jobs.claim, ["hint"], timedelta(milliseconds=1), 10)) == 1
    async with database.statement() as tx:
        assert await tx.value("select count(*) from notification") == 1


async def pay(street: Street, payee: dict[str, Any]) -> dict[str, Any]:
    """A hold whose checkout is open at this payment account."""
    site = street.site
    changed = await site.call(
        "PATCH", f"/v1/event-types/{site.shop.event_type_id}", {"payment_account": payee["id"]}
    )
    assert changed.status_code == 200, changed.text
    held = await site.held()
    opened = await site.post(
        f"/v1/reservations/{held['id']}/checkout", {"return_url": "https://shop.example/"}
    )
    assert opened.status_code == 200, opened.text
    return opened.json()


async def heard(street: Street, payee: dict[str, Any], event: dict[str, Any], secret: str) -> int:
    one = signed(event, secret)
    path = f"/v1/notifications/stripe/{payee['id']}"
    answer = await street.site.call("POST", path, key=None, content=one.body, headers=dict(one.headers))
    return int(answer.status_code)


async def quiet(street: Street) -> None:
    async with street.site.shop.database.statement() as tx:
        await tx.execute("update job set due_at = the_clock() + interval '1 hour'")


async def advance_is_due(street: Street) -> bool:
    claimed = await street.site.shop.database.run(jobs.claim, ["advance"], timedelta(milliseconds=1), 10)
    return bool(claimed)


async def counted(street: Street) -> float:
    text = (await street.site.get("/metrics", key=None)).text
    lines = [
        line for line in text.splitlines() if line.startswith(("holdfirst_bad_not", "holdfirst_foreign_not"))
    ]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if "_total" in line)
