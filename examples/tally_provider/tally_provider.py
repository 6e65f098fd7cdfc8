# SPDX-License-Identifier: Apache-2.0
"""A whole payment provider, as a package of its own: install it beside holdfirst, and `provider: "tally"` is there.

Tally is a made-up company with the best of manners: orders and refunds are PUT under our own keys, so that the same again is the same.
"""

import hashlib
import hmac
import json
import os
import time
from collections.abc import Mapping
from typing import Any, ClassVar

import httpx

from holdfirst.payment.money import Money
from holdfirst.payment.payment import Methods, Mode
from holdfirst.payment.provider import (
    BadNotification, CheckoutSpec, CredentialFault, Credentials, Done, Hint, Notification, NotOpen, Opened, Phase,
    RefundPhase, RefundTruth, Refused, Truth, Unknown, key_name,
)  # fmt: skip

PHASES = {
    "open": Phase.OPEN, "closed": Phase.CLOSED, "declined": Phase.FAILED, "held": Phase.AUTHORIZED,
    "paid": Phase.CAPTURED, "voided": Phase.VOIDED,
}  # fmt: skip
TOLERANCE_SECONDS = 300
Answer = dict[str, Any] | Refused | Unknown


class TallyProvider:
    name = "tally"
    modes: ClassVar = {Methods.HOLDS_ONLY: Mode.AUTHORIZE, Methods.HOLDS_AND_SALES: Mode.SALE}

    def __init__(self, client: httpx.AsyncClient | None = None) -> None:
        url = os.environ.get("TALLY_URL", "https://api.tally.example")
        self._client = client or httpx.AsyncClient(base_url=url, timeout=10)

    def read_credentials(
        self, given: Mapping[str, Any], *, livemode: bool
    ) -> Mapping[str, str] | CredentialFault:
        token = str(given.get("token", ""))
        if not token.startswith("live_" if livemode else "test_"):
            return CredentialFault("token", "must be a live token" if livemode else "must be a test token")
        return {"token": token, "signing_secret": str(given.get("signing_secret", ""))}

    async def open_checkout(self, spec: CheckoutSpec, account: Credentials) -> Opened | Refused | Unknown:
        order = {
            "amount": spec.amount.amount_minor, "currency": spec.amount.currency, "hold": not spec.mode.is_sale,
            "about": spec.description, "back": spec.return_url, "notify": spec.notification_url,
        }  # fmt: skip
        opened = await self._ask(account, "PUT", f"/orders/{spec.reference}", order)
        return Opened(opened["id"], opened["url"]) if isinstance(opened, dict) else opened

    async def fetch(self, provider_ref: str, account: Credentials) -> Truth | Unknown:
        order = await self._ask(account, "GET", f"/orders/{provider_ref}")
        if not isinstance(order, dict) or order["state"] not in PHASES:
            return Unknown("Tally gave no answer that we know")
        paid = order["amount"] if order["state"] == "paid" else 0
        held = order["amount"] if order["hold"] and order["state"] in ("held", "paid") else 0
        return Truth(
            phase=PHASES[order["state"]],
            amount=Money(order["amount"], order["currency"]),
            livemode=order["live"],
            authorized_minor=held,
            captured_minor=paid,
            refunds=[
                RefundTruth(key, amount, RefundPhase.DONE, key) for key, amount in order["refunds"].items()
            ],
            reference=order["id"],
        )

    async def close(self, provider_ref: str, account: Credentials) -> Done | NotOpen | Refused | Unknown:
        closed = await self._ask(account, "POST", f"/orders/{provider_ref}/close")
        # "No" may mean many things; only an order that is there and not open is one that nobody can pay.
        if isinstance(closed, Refused):
            seen = await self.fetch(provider_ref, account)
            return NotOpen() if isinstance(seen, Truth) and seen.phase is not Phase.OPEN else closed
        return Done() if isinstance(closed, dict) else closed

    async def capture(self, provider_ref: str, key: str, account: Credentials) -> Done | Refused | Unknown:
        return _done(await self._ask(account, "POST", f"/orders/{provider_ref}/capture"))

    async def void(self, provider_ref: str, key: str, account: Credentials) -> Done | Refused | Unknown:
        return _done(await self._ask(account, "POST", f"/orders/{provider_ref}/void"))

    async def refund(
        self, provider_ref: str, amount: Money, key: str, account: Credentials
    ) -> Done | Refused | Unknown:
        path = f"/orders/{provider_ref}/refunds/{key_name(key)}"
        return _done(await self._ask(account, "PUT", path, {"amount": amount.amount_minor}))

    def read_notification(self, notification: Notification, account: Credentials) -> Hint | BadNotification:
        at, _, given = notification.headers.get("tally-signature", "").partition(".")
        fits = hmac.compare_digest(given.encode(), _sign(at, notification.body, account).encode())
        if not fits or not at.isdigit() or abs(time.time() - int(at)) > TOLERANCE_SECONDS:
            return BadNotification("the signature does not fit")
        return Hint(provider_ref=json.loads(notification.body)["order"])

    async def _ask(self, account: Credentials, method: str, path: str, body: Any = None) -> Answer:
        headers = {"authorization": f"Bearer {account.secrets['token']}"}
        try:
            answer = await self._client.request(method, path, json=body, headers=headers)
        except httpx.HTTPError as error:
            return Unknown(type(error).__name__)  # it may have been done
        if answer.status_code >= 500:
            return Unknown(f"HTTP {answer.status_code}")
        said: dict[str, Any] = answer.json()
        return Refused(said["why"]) if answer.status_code >= 400 else said


def _done(answer: Answer) -> Done | Refused | Unknown:
    return Done() if isinstance(answer, dict) else answer


def _sign(at: str, body: bytes, account: Credentials) -> str:
    secret = account.secrets.get("signing_secret", "").encode()
    return hmac.new(secret, at.encode() + b"." + body, hashlib.sha256).hexdigest()
