# SPDX-License-Identifier: Apache-2.0
"""What a Checkout Session is opened with: a pure function of the frozen request, so that a repeat is the same."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from holdfirst.payment.payment import Mode
from holdfirst.payment.provider import CheckoutSpec
from holdfirst.providers.stripe.minor_units import to_stripe

if TYPE_CHECKING:
    from stripe.params.checkout import SessionCreateParams

PAYMENT = "holdfirst_payment"
"""The metadata member that names our payment: on the session, and on the PaymentIntent (it does not get it from there)."""
REFUND = "holdfirst_refund"

LIFE_MIN = timedelta(minutes=31)
"""Stripe wants at least 30 minutes; one more for clocks that differ. The checkout outlives the hold, and is closed by us."""
NAME_LENGTH_MAX = 250

# Methods that Stripe can hold: those whose options have a `capture_method`.
HOLDS = (
    "affirm", "afterpay_clearpay", "alma", "amazon_pay", "billie", "card", "cashapp", "kakao_pay", "klarna", "kr_card",
    "link", "mobilepay", "naver_pay", "payco", "paypal", "revolut_pay", "samsung_pay", "satispay", "scalapay", "sequra",
    "sunbit",
)  # fmt: skip
# Methods whose money arrives long after the page (Pix: a code that can be paid for a day): nobody's slot waits for those.
DELAYED = (
    "acss_debit", "au_becs_debit", "bacs_debit", "boleto", "customer_balance", "konbini", "multibanco",
    "nz_bank_account", "oxxo", "payto", "pix", "sepa_debit", "sofort", "us_bank_account",
)  # fmt: skip

_LOCALES = {
    one.lower(): one
    for one in [
        "bg",
        "cs",
        "da",
        "de",
        "el",
        "en",
        "en-GB",
        "es",
        "es-419",
        "et",
        "fi",
        "fil",
        "fr",
        "fr-CA",
        "hr",
        "hu",
        "id",
        "it",
        "ja",
        "ko",
        "lt",
        "lv",
        "ms",
        "mt",
        "nb",
        "nl",
        "pl",
        "pt",
        "pt-BR",
        "ro",
        "ru",
        "sk",
        "sl",
        "sv",
        "th",
        "tr",
        "vi",
        "zh",
        "zh-HK",
        "zh-TW",
    ]
}


def session_params(spec: CheckoutSpec) -> "SessionCreateParams | None":
    """None: Stripe cannot take exactly this amount."""
    amount = to_stripe(spec.amount)
    fee = to_stripe(type(spec.amount)(spec.application_fee_minor, spec.amount.currency))
    if amount is None or fee is None:
        return None
    reference = {PAYMENT: spec.reference}
    intent: dict[str, Any] = {"metadata": reference, "description": spec.description[:NAME_LENGTH_MAX]}
    if fee:
        intent["application_fee_amount"] = fee
    params: SessionCreateParams = {
        "mode": "payment",
        "ui_mode": "hosted_page",
        "submit_type": "book",
        "client_reference_id": spec.reference,
        "metadata": reference,
        "payment_intent_data": intent,  # type: ignore[typeddict-item]  # built member by member above
        "line_items": [
            {
                "quantity": 1,
                "price_data": {
                    "currency": spec.amount.currency.lower(),
                    "unit_amount": amount,
                    "product_data": {"name": spec.description[:NAME_LENGTH_MAX] or "Booking"},
                },
            }
        ],
        "success_url": spec.return_url,
        "cancel_url": spec.return_url,
        "locale": _locale(spec.locale),
        "expires_at": int(max(spec.frozen_at + LIFE_MIN, spec.pay_before).timestamp()),
        # A recovered session could be paid, and no reservation would stand behind it.
        "after_expiration": {"recovery": {"enabled": False, "allow_promotion_codes": False}},
        # What is paid is what was frozen: nothing may change the total.
        "adaptive_pricing": {"enabled": False},
        "allow_promotion_codes": False,
        "automatic_tax": {"enabled": False},
    }
    if spec.customer_email:
        params["customer_email"] = spec.customer_email
    if spec.mode is Mode.AUTHORIZE:
        # Methods that cannot hold disappear from the page.
        intent["capture_method"] = "manual"
    else:
        options: Any = {method: {"capture_method": "manual"} for method in HOLDS}
        params["payment_method_options"] = options
        params["excluded_payment_method_types"] = list(DELAYED)
    return params


def _locale(tag: str | None) -> str:
    """The nearest that Stripe speaks; `auto`: the browser's."""
    wanted = (tag or "").lower()
    return _LOCALES.get(wanted) or _LOCALES.get(wanted.partition("-")[0]) or "auto"
