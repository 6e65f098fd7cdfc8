# SPDX-License-Identifier: Apache-2.0
"""holdfirst's side of GoPay. It keeps no keys of ours: what was done is read from its own state, before and after."""

import re
from collections.abc import Mapping
from typing import Any, ClassVar

import httpx
from msgspec.structs import replace

from holdfirst.payment.money import Money
from holdfirst.payment.payment import Methods, Mode
from holdfirst.payment.provider import (
    Accepted,
    BadNotification,
    CheckoutSpec,
    CredentialFault,
    Credentials,
    Done,
    Hint,
    Notification,
    NotOpen,
    Opened,
    Refused,
    Standing,
    Truth,
    Unknown,
)
from holdfirst.providers.gopay.calls import LIVE_URL, SECONDS_MAX, TEST_URL, Failed, GoPayCalls
from holdfirst.providers.gopay.truth import truth_of

CURRENCIES = frozenset({"CZK", "EUR", "PLN", "HUF", "GBP", "USD", "RON", "BGN"})
LANGUAGES = frozenset({"CS", "EN", "SK", "DE", "PL", "HU", "FR", "RO", "BG", "HR", "SL"})
HOLDS = ("PAYMENT_CARD",)
"""Instruments that can promise. Wallets may, but GoPay does not say so."""
NAME_LENGTH_MAX = 128
CAME_TO_NOTHING = Refused("GoPay says that it failed")
_ID = re.compile(r"[0-9]{1,20}")
_MEMBERS = ("goid", "client_id", "client_secret")


class GoPayProvider:
    """`http` is closed by whoever made it; addresses and time limit of a call are others in tests."""

    name = "gopay"
    modes: ClassVar[Mapping[Methods, Mode]] = {
        Methods.HOLDS_ONLY: Mode.AUTHORIZE_UNCLOSEABLE,
        Methods.HOLDS_AND_SALES: Mode.SALE_UNCLOSEABLE,
    }

    def __init__(
        self,
        http: httpx.AsyncClient,
        *,
        test_url: str = TEST_URL,
        live_url: str = LIVE_URL,
        seconds_max: float = SECONDS_MAX,
    ) -> None:
        self._calls = GoPayCalls(http, test_url=test_url, live_url=live_url, seconds_max=seconds_max)

    def read_credentials(
        self,
        given: Mapping[str, Any],
        *,
        livemode: bool,  # noqa: ARG002  # live and test have the same form, and hosts of their own
    ) -> Mapping[str, str] | CredentialFault:
        """`goid`, `client_id`, `client_secret`; a test account's are tried at GoPay's sandbox, a live one's at its gate."""
        for member in given:
            if member not in _MEMBERS:
                return CredentialFault(member, "is not a known field")
        read = {name: str(given.get(name, "")) for name in _MEMBERS}
        for name, value in read.items():
            if not value or len(value) > NAME_LENGTH_MAX or not value.isascii() or not value.isprintable():
                return CredentialFault(name, "must be as GoPay gave it")
        if _ID.fullmatch(read["goid"]) is None:
            return CredentialFault("goid", "must be a number")
        return read

    async def open_checkout(self, spec: CheckoutSpec, account: Credentials) -> Opened | Refused | Unknown:
        """A repeat opens another one; the first whose address is written down is the one that anybody is told."""
        if spec.livemode is not account.livemode:
            return Refused("live and test never meet")
        if spec.amount.currency not in CURRENCIES:
            return Refused(f"GoPay takes no {spec.amount.currency}")
        if not spec.customer_email:
            return Refused("GoPay asks for the customer's e-mail")
        answer = await self._calls.call("POST", "/payments/payment", account, json=_asked_for(spec, account))
        if isinstance(answer, Failed):
            return answer.refusal()
        if isinstance(answer, Refused | Unknown):
            return answer
        if not answer.get("id") or not answer.get("gw_url"):
            return Unknown("an answer without id and gw_url")
        return Opened(str(answer["id"]), str(answer["gw_url"]).strip())

    async def fetch(self, provider_ref: str, account: Credentials) -> Truth | Unknown:
        payment = await self._payment(provider_ref, account)
        if not isinstance(payment, dict):
            return Unknown(payment.reason)
        refunds: Any = []
        if payment.get("state") in ("PAID", "PARTIALLY_REFUNDED", "REFUNDED"):
            refunds = await self._calls.call("GET", f"/payments/payment/{provider_ref}/refunds", account)
            if isinstance(refunds, Failed):
                return Unknown(refunds.refusal().reason)
            if isinstance(refunds, Refused | Unknown):
                return Unknown(refunds.reason)
        listed = refunds if isinstance(refunds, list) else []
        return truth_of(payment, listed, livemode=account.livemode, goid=account.secrets["goid"])

    async def close(self, provider_ref: str, account: Credentials) -> Done | NotOpen | Refused | Unknown:  # noqa: ARG002  # there is nothing to call
        return Refused("GoPay closes a payment by itself, after half a day")

    async def capture(
        self,
        provider_ref: str,
        key: str,  # noqa: ARG002  # its state lets it happen once
        account: Credentials,
    ) -> Done | Accepted | Refused | Unknown:
        return await self._move(
            provider_ref, "capture", account, already=("PAID", "PARTIALLY_REFUNDED", "REFUNDED")
        )

    async def void(
        self,
        provider_ref: str,
        key: str,  # noqa: ARG002  # its state lets it happen once
        account: Credentials,
    ) -> Done | Accepted | Refused | Unknown:
        return await self._move(provider_ref, "void-authorization", account, already=("CANCELED",))

    async def refund(
        self,
        provider_ref: str,
        amount: Money,
        key: str,  # noqa: ARG002  # it keeps none
        account: Credentials,
    ) -> Done | Accepted | Refused | Unknown:
        """Who calls has looked at the list before: the same again would be another refund."""
        if _ID.fullmatch(provider_ref) is None:
            return Refused("not a payment of GoPay's")
        form = {"amount": str(amount.amount_minor)}
        answer = await self._calls.call(
            "POST", f"/payments/payment/{provider_ref}/refund", account, form=form
        )
        # One that came to nothing may go through later; a capture or a void never does.
        return _result(answer, replace(CAME_TO_NOTHING, for_now=True))

    def read_notification(self, notification: Notification, account: Credentials) -> Hint | BadNotification:  # noqa: ARG002  # nothing is signed
        """`?id=…`, from anybody: a hint about a payment that we know, or nothing."""
        ref = notification.query.get("id", "")
        if _ID.fullmatch(ref) is None:
            return BadNotification("no id of a payment")
        return Hint(provider_ref=ref, unsigned=True)

    async def standing(self, account: Credentials) -> Standing | Unknown:
        token = await self._calls.token(account, fresh=True)
        if isinstance(token, Unknown):
            return token
        if isinstance(token, Refused):
            return Standing(charges_enabled=False, problem="key_refused", identity=account.secrets["goid"])
        return Standing(charges_enabled=True, identity=account.secrets["goid"])

    async def _payment(self, ref: str, account: Credentials) -> dict[str, Any] | Refused | Unknown:
        if _ID.fullmatch(ref) is None:
            return Refused("not a payment of GoPay's")
        answer = await self._calls.call("GET", f"/payments/payment/{ref}", account)
        if isinstance(answer, Failed):
            return answer.refusal()
        return answer if isinstance(answer, dict | Refused | Unknown) else Unknown("not a payment")

    async def _move(
        self, ref: str, verb: str, account: Credentials, *, already: tuple[str, ...]
    ) -> Done | Accepted | Refused | Unknown:
        before = await self._payment(ref, account)
        if not isinstance(before, dict):
            return before
        promised = bool((before.get("preauthorization") or {}).get("requested"))
        if promised and before.get("state") in already and not str(before.get("sub_state")).startswith("_5"):
            return Done()
        if before.get("state") != "AUTHORIZED":
            return Refused(f"the payment is {before.get('state')}")
        return _result(
            await self._calls.call("POST", f"/payments/payment/{ref}/{verb}", account, form={}),
            CAME_TO_NOTHING,
        )


def _asked_for(spec: CheckoutSpec, account: Credentials) -> dict[str, Any]:
    goid = account.secrets["goid"]
    payer: dict[str, Any] = {"contact": {"email": spec.customer_email}}
    body: dict[str, Any] = {
        "payer": payer,
        "target": {"type": "ACCOUNT", "goid": int(goid)},
        "amount": spec.amount.amount_minor,
        "currency": spec.amount.currency,
        "order_number": spec.reference,
        "order_description": spec.description[:NAME_LENGTH_MAX],
        "items": [
            {
                "type": "ITEM",
                "name": spec.description[:NAME_LENGTH_MAX] or "Booking",
                "amount": spec.amount.amount_minor,
                "count": 1,
            }
        ],
        "callback": {"return_url": spec.return_url, "notification_url": spec.notification_url},
        "lang": _language(spec.locale),
    }
    if not spec.mode.is_sale:
        body["preauthorization"] = True
        payer["allowed_payment_instruments"] = list(HOLDS)
        payer["default_payment_instrument"] = HOLDS[0]
    return body


def _language(tag: str | None) -> str:
    wanted = (tag or "").partition("-")[0].upper()
    return wanted if wanted in LANGUAGES else "EN"


def _result(answer: Any, failed: Refused) -> Done | Accepted | Refused | Unknown:
    if isinstance(answer, Failed):
        return answer.refusal()
    if isinstance(answer, Refused | Unknown):
        return answer
    match answer.get("result") if isinstance(answer, dict) else None:
        case "FINISHED":
            return Done()
        case "ACCEPTED":
            return Accepted()
        case "FAILED":
            return failed
        case other:
            return Unknown(f"not known: result {other}")
