# SPDX-License-Identifier: Apache-2.0
"""Stripe's fake on stage, with the adapter in front of it: two accounts, and a customer."""

import json
import time
from datetime import timedelta

import stripe

from holdfirst import ids
from holdfirst.payment.payment import Mode
from holdfirst.payment.provider import Credentials, Notification
from holdfirst.providers.stripe import StripeProvider

from .stripe_fake import StripeFake

KEY, ANOTHER = "sk_test_one", "sk_test_two"


class StripeStage:
    signs = True
    keeps_keys = True
    a_decline_is_final = False

    def __init__(self, mode: Mode) -> None:
        self.mode = mode
        self.fake = StripeFake()
        self.books = self.fake.account(KEY, "acct_one")
        self.fake.account(ANOTHER, "acct_two")
        self.client = self.fake.client()
        self.provider = StripeProvider(self.client)
        self.account = _credentials(KEY, "whsec_one")
        self.another_account = _credentials(ANOTHER, "whsec_two")

    @property
    def method(self) -> str:
        return "ideal" if self.mode.is_sale else "card"

    async def aclose(self) -> None:
        await self.client.aclose()

    async def customer_pays(self, ref: str) -> None:
        self.books.pay(ref, self.method)

    async def customer_is_declined(self, ref: str) -> None:
        self.books.decline(ref)

    async def lose_next(self, operation: str, *, done: bool) -> None:
        self.fake.faults.setdefault(operation, []).append("lost_after" if done else "lost_before")

    def notification(self, ref: str, *, age: timedelta = timedelta(0)) -> Notification:
        about = {"id": ref, "object": "checkout.session"}
        return signed(
            {"type": "checkout.session.completed", "livemode": False, "data": {"object": about}}, age=age
        )


def signed(
    event: dict[str, object], secret: str = "whsec_one", *, age: timedelta = timedelta(0)
) -> Notification:
    """By Stripe's own code."""
    body = json.dumps(event)
    at = int(time.time() - age.total_seconds())
    header = stripe.WebhookSignature.generate_signature_header(body, secret, at)
    return Notification("POST", {"stripe-signature": header}, {}, body.encode())


def _credentials(key: str, *webhook_secrets: str) -> Credentials:
    secrets = {"secret_key": key, "webhook_secrets": " ".join(webhook_secrets)}
    return Credentials(ids.make("pac"), livemode=False, secrets=secrets)
