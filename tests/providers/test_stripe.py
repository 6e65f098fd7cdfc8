# SPDX-License-Identifier: Apache-2.0
"""Stripe's adapter against a strict fake: what every provider promises, and what only Stripe has."""

import re
import sys
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import stripe
from msgspec.structs import replace
from stripe.params.checkout import SessionCreateParams

from holdfirst.payment.money import Money
from holdfirst.payment.payment import Methods, Mode
from holdfirst.payment.provider import (
    NOT_OURS,
    BadNotification,
    Done,
    Hint,
    Listed,
    ListingPage,
    NotOpen,
    Opened,
    Phase,
    RefundPhase,
    Refused,
    Unknown,
    next_key,
)
from holdfirst.providers.stripe import StripeProvider
from holdfirst.providers.stripe.calls import API_VERSION
from holdfirst.providers.stripe.session import DELAYED, HOLDS

from .payment_contract import PRICE, PaymentContract, authorized, captured, opened, spec_for, truth
from .stripe_fake import Refusing
from .stripe_fake.books import AT_ONCE, CAN_HOLD, REQUESTS
from .stripe_fake.shapes import judge, nested
from .stripe_stage import StripeStage, signed

OPTIONS = "SessionCreateParamsPaymentMethodOptions"


@pytest.fixture(params=[Mode.AUTHORIZE, Mode.SALE], ids=str)
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[StripeStage]:
    stage = StripeStage(request.param)
    yield stage
    await stage.aclose()


@pytest.fixture
async def holding() -> AsyncIterator[StripeStage]:
    stage = StripeStage(Mode.AUTHORIZE)
    yield stage
    await stage.aclose()


@pytest.fixture
async def selling() -> AsyncIterator[StripeStage]:
    stage = StripeStage(Mode.SALE)
    yield stage
    await stage.aclose()


class TestContract(PaymentContract):
    """Under each of its modes."""


def sent(stage: StripeStage, operation: str) -> dict:
    return next(wanted for name, wanted in reversed(stage.fake.calls) if name == operation)


# What a checkout is opened with


def test_the_version_is_pinned_and_known_to_the_package() -> None:
    assert stripe.api_version == API_VERSION, "read the changes, run the opt-in suite, then pin the newer one"


async def test_nothing_may_change_what_was_frozen(stage: StripeStage) -> None:
    spec = spec_for(stage)
    assert isinstance(await stage.provider.open_checkout(spec, stage.account), Opened)
    asked = sent(stage, "create")
    assert asked["after_expiration"]["recovery"]["enabled"] is False
    assert asked["adaptive_pricing"] == {"enabled": False}
    assert asked["allow_promotion_codes"] is False
    assert asked["metadata"] == asked["payment_intent_data"]["metadata"] == {"holdfirst_payment": spec.key}
    assert asked["client_reference_id"] == spec.key
    life = asked["expires_at"] - spec.frozen_at.timestamp()
    assert 30 * 60 < life < 32 * 60


async def test_holds_only_offers_nothing_that_charges_at_once(holding: StripeStage) -> None:
    ref = await opened(holding)
    session = holding.books.sessions[ref]
    assert all(session.holds(method) for method in session.offers())


async def test_sales_hold_where_they_can_and_never_wait_for_days(selling: StripeStage) -> None:
    ref = await opened(selling)
    session = selling.books.sessions[ref]
    held = {method for method in session.offers() if session.holds(method)}
    assert held == CAN_HOLD
    assert session.offers() - held == AT_ONCE


SOLD_AT_ONCE = {
    "alipay", "bancontact", "bizum", "blik", "crypto", "eps", "fpx", "giropay", "grabpay", "ideal", "mb_way", "p24",
    "pay_by_bank", "paynow", "paypay", "promptpay", "swish", "twint", "upi", "wechat_pay", "zip",
}  # fmt: skip


def test_every_method_that_the_package_knows_is_held_sold_or_left_out() -> None:
    """A newer package may bring more: look up which each of them is before it can be on anybody's page."""
    hint = SessionCreateParams.__annotations__["excluded_payment_method_types"]
    known = set(re.findall(r"'([a-z0-9_]+)'", str(hint)))
    assert known == {*HOLDS, *DELAYED} - {"link"} | SOLD_AT_ONCE
    assert not set(HOLDS) & set(DELAYED) and not SOLD_AT_ONCE & {*HOLDS, *DELAYED}


def test_what_is_held_is_what_the_package_says_can_be() -> None:
    options = nested("&".join(f"payment_method_options[{one}][capture_method]=manual" for one in HOLDS))
    assert judge(REQUESTS["create"]).validate_python(options)
    declared = vars(sys.modules[SessionCreateParams.__module__])
    can_hold = {
        name.removeprefix(OPTIONS)
        for name, kind in declared.items()
        if name.startswith(OPTIONS) and "capture_method" in getattr(kind, "__annotations__", {})
    }
    assert {"".join(word.title() for word in one.split("_")) for one in HOLDS} == can_hold


async def test_a_card_under_sales_is_held_all_the_same(selling: StripeStage) -> None:
    ref = await opened(selling)
    selling.books.pay(ref, "card")
    seen = await truth(selling, ref)
    assert (seen.phase, seen.authorized_minor, seen.captured_minor) == (Phase.AUTHORIZED, 6000, 0)
    assert seen.capture_before is not None
    assert await selling.provider.capture(ref, "key", selling.account) == Done()


@pytest.mark.parametrize(
    ("money", "as_stripe_says"),
    [
        (Money(6000, "EUR"), 6000),
        (Money(6000, "JPY"), 6000),
        (Money(6000, "ISK"), 600_000),
        (Money(12_340, "KWD"), 12_340),
    ],
    ids=str,
)
async def test_amounts_are_said_as_stripe_counts_them(
    holding: StripeStage, money: Money, as_stripe_says: int
) -> None:
    answer = await holding.provider.open_checkout(spec_for(holding, amount=money), holding.account)
    assert isinstance(answer, Opened)
    assert sent(holding, "create")["line_items"][0]["price_data"]["unit_amount"] == as_stripe_says
    assert (await truth(holding, answer.provider_ref)).amount == money


@pytest.mark.parametrize(
    ("money", "why"),
    [
        (Money(12_345, "KWD"), "exactly"),
        (Money(150, "MGA"), "exactly"),
        (Money(49, "EUR"), "add up to more"),
        (Money(5000, "KPW"), "Invalid currency"),
    ],
    ids=str,
)
async def test_amounts_that_stripe_cannot_take_are_refused_with_the_reason(
    holding: StripeStage, money: Money, why: str
) -> None:
    answer = await holding.provider.open_checkout(spec_for(holding, amount=money), holding.account)
    assert isinstance(answer, Refused)
    assert why in answer.reason


# Keys: the same request, a kept error, a forgotten key


async def test_a_kept_error_is_left_behind_with_a_new_generation(stage: StripeStage) -> None:
    spec = spec_for(stage)
    stage.fake.faults["create"] = ["500"]
    first = await stage.provider.open_checkout(spec, stage.account)
    assert first == Unknown("HTTP 500")
    # Stripe says that it only repeats itself: now, and not before, another key is right.
    again = await stage.provider.open_checkout(spec, stage.account)
    assert again == Unknown("HTTP 500", key_spent=True)
    spec = replace(spec, key=next_key(spec.key))
    assert isinstance(await stage.provider.open_checkout(spec, stage.account), Opened)
    assert len(stage.books.sessions) == 1


async def test_what_an_error_hid_is_found_and_not_made_twice(stage: StripeStage) -> None:
    spec = spec_for(stage)
    stage.fake.faults["create"] = ["500_after"]
    for _ in range(2):
        assert isinstance(await stage.provider.open_checkout(spec, stage.account), Unknown)
    found = await stage.provider.open_checkout(replace(spec, key=next_key(spec.key)), stage.account)
    assert isinstance(found, Opened)
    assert list(stage.books.sessions) == [found.provider_ref]


async def test_after_a_day_it_is_looked_for_and_never_made_blindly(stage: StripeStage) -> None:
    spec = spec_for(stage)
    await stage.lose_next("create", done=True)
    assert isinstance(await stage.provider.open_checkout(spec, stage.account), Unknown)
    stage.fake.offset += 25 * 3600
    late = replace(spec, key=next_key(spec.key))
    found = await stage.provider.open_checkout(late, stage.account)
    assert isinstance(found, Opened)
    assert found.checkout_url is None
    assert (await truth(stage, found.provider_ref)).phase is Phase.CLOSED
    never = replace(spec_for(stage), frozen_at=spec.frozen_at)
    nothing = await stage.provider.open_checkout(replace(never, key=next_key(never.key)), stage.account)
    assert isinstance(nothing, Refused)
    assert len(stage.books.sessions) == 1


async def test_another_program_version_never_opens_a_second_one(stage: StripeStage) -> None:
    spec = spec_for(stage)
    first = await stage.provider.open_checkout(spec, stage.account)
    assert isinstance(first, Opened)
    changed = replace(spec, description="Another wording")
    assert await stage.provider.open_checkout(changed, stage.account) == Unknown(
        "the key was used for another request", key_spent=True
    )
    again = await stage.provider.open_checkout(replace(changed, key=next_key(spec.key)), stage.account)
    assert again == first


async def test_a_capture_is_not_held_up_by_an_error_kept_before(holding: StripeStage) -> None:
    ref = await authorized(holding)
    holding.fake.faults["capture"] = ["500"]
    assert isinstance(await holding.provider.capture(ref, "key", holding.account), Unknown)
    assert await holding.provider.capture(ref, "key", holding.account) == Done()


async def test_a_refund_whose_error_is_kept_goes_out_under_the_next_key(stage: StripeStage) -> None:
    ref = await captured(stage)
    stage.fake.faults["refund"] = ["500"]
    assert await stage.provider.refund(ref, PRICE, "rfd_1", stage.account) == Unknown("HTTP 500")
    assert await stage.provider.refund(ref, PRICE, "rfd_1", stage.account) == Unknown(
        "HTTP 500", key_spent=True
    )
    assert await stage.provider.refund(ref, PRICE, "rfd_1:2", stage.account) == Done()
    assert [one.key for one in (await truth(stage, ref)).refunds] == ["rfd_1"]


# The truth


async def test_a_declined_card_is_not_the_end(stage: StripeStage) -> None:
    ref = await opened(stage)
    stage.books.decline(ref)
    assert (await truth(stage, ref)).phase is Phase.OPEN
    await stage.customer_pays(ref)
    assert (await truth(stage, ref)).phase in (Phase.AUTHORIZED, Phase.CAPTURED)


async def test_a_session_that_ends_by_itself_is_closed(stage: StripeStage) -> None:
    ref = await opened(stage)
    stage.books.decline(ref)
    stage.fake.offset += 32 * 60
    assert (await truth(stage, ref)).phase is Phase.CLOSED
    assert await stage.provider.close(ref, stage.account) == NotOpen()


async def test_money_that_came_through_a_closed_session_is_seen(stage: StripeStage) -> None:
    ref = await opened(stage)
    assert await stage.provider.close(ref, stage.account) == Done()
    stage.books.pay(ref, stage.method, force=True)
    seen = await truth(stage, ref)
    assert seen.phase is (Phase.CAPTURED if stage.mode.is_sale else Phase.AUTHORIZED)
    assert await stage.provider.close(ref, stage.account) == NotOpen()


async def test_a_hold_that_lapsed_is_void_and_cannot_be_captured(holding: StripeStage) -> None:
    ref = await authorized(holding)
    holding.fake.offset += 8 * 86_400
    assert (await truth(holding, ref)).phase is Phase.VOIDED
    assert isinstance(await holding.provider.capture(ref, "key", holding.account), Refused)
    assert await holding.provider.void(ref, "key", holding.account) == Done()


async def test_a_capture_that_the_issuer_declines_is_refused(holding: StripeStage) -> None:
    ref = await authorized(holding)
    holding.books.refuses_capture = True
    assert isinstance(await holding.provider.capture(ref, "key", holding.account), Refused)
    assert (await truth(holding, ref)).phase is Phase.AUTHORIZED


async def test_a_total_that_was_changed_shows(stage: StripeStage) -> None:
    ref = await opened(stage)
    await stage.customer_pays(ref)
    stage.books.sessions[ref].tampered_total = 1
    assert (await truth(stage, ref)).amount == Money(1, "EUR")


async def test_a_delayed_method_that_slips_in_is_processing_until_it_settles(selling: StripeStage) -> None:
    ref = await opened(selling)
    selling.books.sessions[ref].params["excluded_payment_method_types"] = []
    selling.books.pay(ref, "sepa_debit")
    assert (await truth(selling, ref)).phase is Phase.PROCESSING
    selling.books.settle(ref)
    assert (await truth(selling, ref)).phase is Phase.CAPTURED


async def test_a_status_nobody_knows_decides_nothing(stage: StripeStage) -> None:
    ref = await opened(stage)
    await stage.customer_pays(ref)
    intent = stage.books.sessions[ref].intent
    assert intent is not None
    intent.status = "invented_next_year"
    answer = await stage.provider.fetch(ref, stage.account)
    assert isinstance(answer, Unknown)
    assert "invented_next_year" in answer.reason


async def test_refunds_fail_after_they_succeeded(stage: StripeStage) -> None:
    ref = await captured(stage)
    await stage.provider.refund(ref, PRICE, "rfd_1", stage.account)
    [done] = (await truth(stage, ref)).refunds
    assert done.phase is RefundPhase.DONE
    stage.books.fail_refund(done.ref)
    [failed] = (await truth(stage, ref)).refunds
    assert (failed.phase, failed.key) == (RefundPhase.FAILED, "rfd_1")


async def test_refunds_from_the_dashboard_are_listed_without_a_key_of_ours(stage: StripeStage) -> None:
    ref = await captured(stage)
    made = stage.books.dashboard_refund(ref, 500)
    [seen] = (await truth(stage, ref)).refunds
    assert (seen.key, seen.ref, seen.amount_minor) == (NOT_OURS, made.id, 500)


async def test_more_refunds_than_a_page_holds_are_all_seen(selling: StripeStage) -> None:
    ref = await captured(selling)
    for _ in range(130):
        selling.books.dashboard_refund(ref, 1)
    assert len((await truth(selling, ref)).refunds) == 130


async def test_a_dispute_is_told(stage: StripeStage) -> None:
    ref = await captured(stage)
    stage.books.dispute(ref)
    seen = await truth(stage, ref)
    assert seen.disputed
    assert seen.phase is Phase.CAPTURED
    assert isinstance(await stage.provider.refund(ref, PRICE, "rfd_1", stage.account), Refused)


# Keys of the account


async def test_a_revoked_key_changes_nothing_and_is_never_quoted(stage: StripeStage) -> None:
    ref = await opened(stage)
    stage.fake.keys["sk_test_one"].revoked = True
    answers = [
        await stage.provider.open_checkout(spec_for(stage), stage.account),
        await stage.provider.fetch(ref, stage.account),
        await stage.provider.close(ref, stage.account),
        await stage.provider.capture(ref, "key", stage.account),
        await stage.provider.refund(ref, PRICE, "key", stage.account),
    ]
    assert all(isinstance(one, Refused | Unknown) for one in answers)
    assert not any("sk_" in str(one) for one in answers)
    assert isinstance(answers[1], Unknown)
    standing = await stage.provider.standing(stage.account)
    assert (standing.charges_enabled, standing.problem) == (False, "key_refused")


async def test_live_and_test_never_meet(stage: StripeStage) -> None:
    live = replace(stage.account, livemode=True)
    assert isinstance(await stage.provider.open_checkout(spec_for(stage), live), Refused)
    assert isinstance(
        await stage.provider.open_checkout(spec_for(stage, livemode=True), stage.account), Refused
    )


async def test_connected_accounts_are_paid_directly_with_the_platforms_fee(stage: StripeStage) -> None:
    theirs = stage.fake.connect("acct_one", "acct_coach")
    account = replace(stage.account, connected_account="acct_coach")
    spec = spec_for(stage, application_fee_minor=500)
    answer = await stage.provider.open_checkout(spec, account)
    assert isinstance(answer, Opened)
    assert answer.provider_ref in theirs.sessions
    assert not stage.books.sessions
    assert sent(stage, "create")["payment_intent_data"]["application_fee_amount"] == 500
    theirs.pay(answer.provider_ref, stage.method)
    if not stage.mode.is_sale:
        assert await stage.provider.capture(answer.provider_ref, "key", account) == Done()
    assert await stage.provider.refund(answer.provider_ref, PRICE, "rfd_1", account) == Done()
    assert sent(stage, "refund")["refund_application_fee"] is True
    stranger = replace(stage.account, connected_account="acct_two")
    assert isinstance(await stage.provider.fetch(answer.provider_ref, stranger), Unknown)


async def test_a_connected_account_has_a_standing_and_a_link(holding: StripeStage) -> None:
    theirs = holding.fake.connect("acct_one", "acct_coach")
    account = replace(holding.account, connected_account="acct_coach")
    assert (await holding.provider.standing(account)).charges_enabled
    theirs.charges_enabled = False
    assert (await holding.provider.standing(account)).problem == "requirements.past_due"
    link = await holding.provider.onboarding_link("https://a.example/", "https://b.example/", account)
    assert link.url.endswith("acct_coach")
    assert isinstance(
        await holding.provider.onboarding_link("https://a.example/", "https://b.example/", holding.account),
        Refused,
    )


async def test_our_address_is_registered_once_with_what_we_listen_to(holding: StripeStage) -> None:
    url = "https://book.example/v1/notifications/stripe/pac_1"
    for _ in range(2):
        made = await holding.provider.register_notifications(url, holding.account)
    [endpoint] = holding.fake.endpoints.values()
    assert endpoint["api_version"] == API_VERSION
    account = replace(
        holding.account,
        secrets={**holding.account.secrets, "webhook_secrets": made.secrets["webhook_secrets"]},
    )
    heard = signed(
        {"type": "checkout.session.expired", "livemode": False, "data": {"object": {"object": "other"}}},
        endpoint["secret"],
    )
    assert isinstance(holding.provider.read_notification(heard, account), Hint)
    assert isinstance(
        await holding.provider.register_notifications("http://localhost/x", holding.account), Refused
    )


async def test_a_restricted_key_takes_payments_and_says_what_it_may_not(holding: StripeStage) -> None:
    holding.fake.keys["sk_test_one"].restricted = True
    assert isinstance(await holding.provider.open_checkout(spec_for(holding), holding.account), Opened)
    assert (await holding.provider.standing(holding.account)).charges_enabled
    url = "https://book.example/hook"
    assert isinstance(await holding.provider.register_notifications(url, holding.account), Refused)


async def test_what_is_on_their_books_is_listed(stage: StripeStage) -> None:
    spec = spec_for(stage)
    answer = await stage.provider.open_checkout(spec, stage.account)
    assert isinstance(answer, Opened)
    since = spec.frozen_at - timedelta(hours=1)
    assert await stage.provider.checkouts_since(since, stage.account) == ListingPage([])
    await stage.customer_pays(answer.provider_ref)
    seen = await stage.provider.checkouts_since(since, stage.account)
    assert seen == ListingPage([Listed(answer.provider_ref, spec.key)])


def test_credentials_are_judged_before_anybody_is_asked() -> None:
    read = StripeProvider.read_credentials
    provider = StripeProvider.__new__(StripeProvider)
    good = {"secret_key": "rk_test_abc", "webhook_secrets": ["whsec_a1b2", "whsec_c3d4"]}
    assert read(provider, good, livemode=False)["webhook_secrets"] == "whsec_a1b2 whsec_c3d4"
    for bad, member in [
        ({}, "secret_key"),
        ({"secret_key": "pk_test_abc"}, "secret_key"),
        ({"secret_key": "sk_live_abc"}, "secret_key"),
        ({"secret_key": "sk_test_abc\n"}, "secret_key"),
        ({"secret_key": 7}, "secret_key"),
        ({"secret_key": "sk_test_abc", "webhook_secrets": "whsec_a"}, "webhook_secrets"),
        ({"secret_key": "sk_test_abc", "webhook_secrets": ["a b"]}, "webhook_secrets"),
        ({"secret_key": "sk_test_abc", "colour": "red"}, "colour"),
    ]:
        assert read(provider, bad, livemode=False).member == member
    assert read(provider, {"secret_key": "sk_test_abc"}, livemode=True).member == "secret_key"
    assert provider.modes == {Methods.HOLDS_ONLY: Mode.AUTHORIZE, Methods.HOLDS_AND_SALES: Mode.SALE}


# Notifications


async def test_every_event_of_the_fake_leads_to_its_payment(stage: StripeStage) -> None:
    spec = spec_for(stage)
    answer = await stage.provider.open_checkout(spec, stage.account)
    assert isinstance(answer, Opened)
    ref = answer.provider_ref
    stage.books.decline(ref)
    await stage.customer_pays(ref)
    await stage.provider.capture(ref, "key", stage.account)
    await stage.provider.refund(ref, Money(100, "EUR"), "rfd_1", stage.account)
    stage.books.fail_refund(next(iter(stage.books.refunds)))
    stage.books.dispute(ref)
    money_ref = (await truth(stage, ref)).money_ref
    assert len({event["type"] for event in stage.books.events}) >= 5
    for event in stage.books.events:
        hint = stage.provider.read_notification(signed(event), stage.account)
        assert isinstance(hint, Hint)
        assert ref == hint.provider_ref or spec.key == hint.payment_id or money_ref == hint.money_ref


async def test_both_secrets_are_believed_while_one_is_rolled(holding: StripeStage) -> None:
    event = {"type": "charge.refunded", "livemode": False, "data": {"object": {"object": "charge"}}}
    both = replace(holding.account, secrets={"webhook_secrets": "whsec_next whsec_one"})
    for secret in ("whsec_one", "whsec_next"):
        assert isinstance(holding.provider.read_notification(signed(event, secret), both), Hint)
    assert isinstance(holding.provider.read_notification(signed(event, "whsec_other"), both), BadNotification)
    none = replace(holding.account, secrets={"webhook_secrets": ""})
    assert isinstance(holding.provider.read_notification(signed(event, ""), none), BadNotification)


async def test_what_is_signed_and_not_an_event_changes_nothing(holding: StripeStage) -> None:
    for event in ({}, {"type": 7}, {"type": "x", "livemode": False, "data": []}):
        read = holding.provider.read_notification(signed(event), holding.account)
        assert isinstance(read, BadNotification)
    live = {"type": "x", "livemode": True, "data": {"object": {"id": "cs_1", "object": "checkout.session"}}}
    assert holding.provider.read_notification(signed(live), holding.account) == Hint()


# The fake itself: it must refuse what Stripe refuses


@pytest.mark.parametrize(
    "form",
    [
        "colour=red",
        "mode=pay",
        "submit_type=buy",
        "payment_method_types[0]=card",
        "ui_mode=hosted",
        "expires_at=soon",
        "line_items[0][price_data][unit_amount]=1.5",
        "line_items[0][price_data][unit_amount]=5",
        "payment_intent_data[capture_method]=later",
        "payment_method_options[card][capture_method]=automatic",
    ],
)
def test_the_fake_refuses_what_the_package_does_not_declare(form: str) -> None:
    with pytest.raises(ValueError, match="validation error"):
        judge(REQUESTS["create"]).validate_python(nested(form))
    assert judge(REQUESTS["create"]).validate_python(nested("mode=payment&submit_type=book"))


async def test_the_fake_keeps_stripes_rules(selling: StripeStage) -> None:
    books = selling.books
    ref = await opened(selling)
    with pytest.raises(Refusing, match="between 30 minutes"):
        books.create(books.sessions[ref].params | {"expires_at": books.clock() + 1700})
    books.expire(ref)
    with pytest.raises(Refusing, match="can be expired"):
        books.expire(ref)
    taken = await captured(selling)
    intent = books.sessions[taken].intent
    assert intent is not None
    for wrong in (books.capture, books.cancel):
        with pytest.raises(Refusing, match="status of succeeded"):
            wrong(intent.id)
    with pytest.raises(Refusing, match="greater than"):
        books.refund({"payment_intent": intent.id, "amount": 6001})
    books.refund({"payment_intent": intent.id})
    with pytest.raises(Refusing, match="already been refunded"):
        books.refund({"payment_intent": intent.id})
