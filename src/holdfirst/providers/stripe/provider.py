# SPDX-License-Identifier: Apache-2.0
"""holdfirst's side of Stripe: the same protocol as any payment company's."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, cast

import httpx
import stripe
from msgspec.structs import replace
from stripe.checkout import Session

from holdfirst.clock import wall
from holdfirst.payment.money import Money
from holdfirst.payment.payment import Methods, Mode
from holdfirst.payment.provider import (
    BadNotification,
    CheckoutSpec,
    CredentialFault,
    Credentials,
    Done,
    Hint,
    Link,
    ListingPage,
    Notification,
    NotOpen,
    Opened,
    Refused,
    Registered,
    Standing,
    Truth,
    Unknown,
    key_generation,
    key_name,
)
from holdfirst.providers.stripe import standing
from holdfirst.providers.stripe.calls import API_URL, SECONDS_MAX, OverHttpx, TooMany, client_for, told
from holdfirst.providers.stripe.credentials import read_credentials
from holdfirst.providers.stripe.minor_units import to_stripe
from holdfirst.providers.stripe.session import PAYMENT, REFUND, session_params
from holdfirst.providers.stripe.truth import truth_of

TOLERANCE_SECONDS = 300
FIND_WITHIN = timedelta(hours=26)
LISTED_MAX = 10_000


class StripeProvider:
    """`http` is closed by whoever made it; address and time limit of a call are others in tests."""

    name = "stripe"
    modes: ClassVar[Mapping[Methods, Mode]] = {
        Methods.HOLDS_ONLY: Mode.AUTHORIZE,
        Methods.HOLDS_AND_SALES: Mode.SALE,
    }
    notification_events: ClassVar[Sequence[str]] = standing.EVENTS

    def __init__(
        self, http: httpx.AsyncClient, *, api_url: str = API_URL, seconds_max: float = SECONDS_MAX
    ) -> None:
        self._http = OverHttpx(http, seconds_max)
        self._api_url = api_url

    def read_credentials(
        self, given: Mapping[str, Any], *, livemode: bool
    ) -> Mapping[str, str] | CredentialFault:
        return read_credentials(given, livemode=livemode)

    async def open_checkout(self, spec: CheckoutSpec, account: Credentials) -> Opened | Refused | Unknown:
        if spec.livemode is not account.livemode:
            return Refused("live and test never meet")
        params = session_params(spec)
        if params is None:
            return Refused(f"Stripe cannot take exactly {spec.amount}")
        client = self._client(account)
        if key_generation(spec.key) > 1:
            found = await self._found(client, spec)
            if found is not None:
                return found
        key = f"{spec.reference}:open:{key_generation(spec.key)}"
        opened = await told(
            lambda: client.v1.checkout.sessions.create_async(params, {"idempotency_key": key})
        )
        return Opened(opened.id, opened.url) if isinstance(opened, Session) else opened

    async def fetch(self, provider_ref: str, account: Credentials) -> Truth | Unknown:
        client = self._client(account)
        session = await self._session(client, provider_ref)
        if not isinstance(session, Session):
            return Unknown(session.reason)
        refunds: list[stripe.Refund] = []
        intent = session.payment_intent
        if isinstance(intent, stripe.PaymentIntent) and intent.amount_received:
            listed = await told(
                lambda: client.v1.refunds.list_async({"payment_intent": intent.id, "limit": 100})
            )
            if isinstance(listed, Refused | Unknown):
                return Unknown(listed.reason)
            refunds = [one async for one in listed.auto_paging_iter()]
        return truth_of(session, refunds)

    async def close(self, provider_ref: str, account: Credentials) -> Done | NotOpen | Refused | Unknown:
        client = self._client(account)
        closed = await told(lambda: client.v1.checkout.sessions.expire_async(provider_ref))
        if isinstance(closed, Session):
            return Done() if closed.status == "expired" else Unknown(f"it is {closed.status}")
        if isinstance(closed, Unknown):
            return closed
        # Refused: it is not open, or not there, or the key is no good. Only its own word tells which.
        session = await self._session(client, provider_ref)
        if not isinstance(session, Session):
            return Unknown(session.reason)
        return Unknown(closed.reason) if session.status == "open" else NotOpen()

    async def capture(self, provider_ref: str, key: str, account: Credentials) -> Done | Refused | Unknown:  # noqa: ARG002  # an intent is captured once, by its own state, whatever the key
        client = self._client(account)

        async def take(intent: stripe.PaymentIntent) -> stripe.PaymentIntent:
            return await client.v1.payment_intents.capture_async(intent.id)

        return await self._move(client, provider_ref, take, "succeeded")

    async def void(self, provider_ref: str, key: str, account: Credentials) -> Done | Refused | Unknown:  # noqa: ARG002  # an intent is cancelled once, by its own state, whatever the key
        client = self._client(account)

        async def give_back(intent: stripe.PaymentIntent) -> stripe.PaymentIntent:
            return await client.v1.payment_intents.cancel_async(
                intent.id, {"cancellation_reason": "abandoned"}
            )

        return await self._move(client, provider_ref, give_back, "canceled")

    async def refund(
        self, provider_ref: str, amount: Money, key: str, account: Credentials
    ) -> Done | Refused | Unknown:
        client = self._client(account)
        minor = to_stripe(amount)
        session = await self._session(client, provider_ref)
        if not isinstance(session, Session):
            return session
        intent = session.payment_intent
        if not isinstance(intent, stripe.PaymentIntent) or not intent.amount_received or minor is None:
            return Refused("nothing is captured" if minor is not None else "not an amount that Stripe knows")
        reference = {REFUND: key_name(key), PAYMENT: session.client_reference_id or ""}
        params: stripe.params.RefundCreateParams = {
            "payment_intent": intent.id,
            "amount": minor,
            "metadata": reference,
        }
        if intent.application_fee_amount:
            # Else the platform keeps its share of what the customer got back.
            params["refund_application_fee"] = True
        options: stripe.RequestOptions = {"idempotency_key": f"{key_name(key)}:refund:{key_generation(key)}"}
        made = await told(lambda: client.v1.refunds.create_async(params, options))
        return Done() if isinstance(made, stripe.Refund) else made

    def read_notification(self, notification: Notification, account: Credentials) -> Hint | BadNotification:
        header = notification.headers.get("stripe-signature", "")
        known = account.secrets.get("webhook_secrets", "").split()
        if not any(_signed(notification.body, header, secret) for secret in known):
            return BadNotification("the signature does not fit")
        try:
            event = json.loads(notification.body)
            if event["livemode"] is not account.livemode:
                # A platform's live address is told of test events too: nothing of ours, and no reason to send it again.
                return Hint()
            return _hint(event["type"], event["data"]["object"], event.get("account"))
        except (ValueError, KeyError, TypeError, AttributeError):
            return BadNotification("the body is not an event")

    async def standing(self, account: Credentials) -> Standing | Unknown:
        return await standing.standing(self._platform(account), account)

    async def register_notifications(self, url: str, account: Credentials) -> Registered | Refused | Unknown:
        return await standing.register(self._client(account), url)

    async def onboarding_link(
        self, return_url: str, refresh_url: str, account: Credentials
    ) -> Link | Refused | Unknown:
        return await standing.onboarding_link(self._platform(account), return_url, refresh_url, account)

    async def checkouts_since(
        self, since: datetime, account: Credentials, page: str | None = None
    ) -> ListingPage | Unknown:
        return await standing.checkouts_since(self._client(account), since, page)

    def _client(self, account: Credentials) -> stripe.StripeClient:
        return client_for(self._http, self._api_url, account)

    def _platform(self, account: Credentials) -> stripe.StripeClient:
        """As the platform itself, about the account that is connected to it."""
        return self._client(replace(account, connected_account=None))

    async def _session(self, client: stripe.StripeClient, ref: str) -> Session | Refused | Unknown:
        return await told(
            lambda: client.v1.checkout.sessions.retrieve_async(
                ref, {"expand": ["payment_intent.latest_charge"]}
            )
        )

    async def _found(
        self, client: stripe.StripeClient, spec: CheckoutSpec
    ) -> Opened | Refused | Unknown | None:
        """What an earlier call opened for this payment; None: nothing."""
        since = int((spec.frozen_at - timedelta(minutes=10)).timestamp())
        until = int((spec.frozen_at + FIND_WITHIN).timestamp())

        async def look() -> Session | None:
            listed = await client.v1.checkout.sessions.list_async(
                {"created": {"gte": since, "lte": until}, "limit": 100}
            )
            looked = 0
            async for session in listed.auto_paging_iter():
                if session.client_reference_id == spec.reference:
                    return session
                looked += 1
                if looked >= LISTED_MAX:
                    raise TooMany
            return None

        found = await told(look)
        return Opened(found.id, found.url) if isinstance(found, Session) else found

    async def _move(
        self,
        client: stripe.StripeClient,
        ref: str,
        move: Callable[[stripe.PaymentIntent], Awaitable[stripe.PaymentIntent]],
        wanted: str,
    ) -> Done | Refused | Unknown:
        """Capture or cancel. An intent's own state lets each happen once; each call has a key of its own, so that an
        error kept under one never stands in the way of the next.
        """
        session = await self._session(client, ref)
        if not isinstance(session, Session):
            return session
        intent = session.payment_intent
        if not isinstance(intent, stripe.PaymentIntent) or intent.status not in ("requires_capture", wanted):
            return Refused(f"the payment is {getattr(intent, 'status', None) or session.status}")
        if intent.status == wanted:
            return Done()
        moved = await told(lambda: move(intent))
        if isinstance(moved, stripe.PaymentIntent):
            return Done() if moved.status == wanted else Unknown(f"the payment is {moved.status}")
        if isinstance(moved, Refused):
            # Somebody else may have been first.
            now = await self._session(client, ref)
            after = now.payment_intent if isinstance(now, Session) else None
            if isinstance(after, stripe.PaymentIntent) and after.status == wanted:
                return Done()
        return moved


def _signed(body: bytes, header: str, secret: str) -> bool:
    try:
        stripe.WebhookSignature.verify_header(body, header, secret, tolerance=TOLERANCE_SECONDS)
        # The package believes the future, however far.
        at = next(int(part[2:]) for part in header.split(",") if part.startswith("t="))
        return at - wall() <= TOLERANCE_SECONDS
    except (stripe.SignatureVerificationError, ValueError, TypeError):
        return False


def _hint(kind: str, about: dict[str, Any], connected: str | None) -> Hint:
    """What to ask about. An event of another kind, or about nothing of ours, says nothing."""
    if kind.startswith(("account.", "capability.")):
        return Hint(connected_account=connected, account_changed=True)
    metadata = cast("dict[str, Any]", about.get("metadata") or {})
    payment_id = metadata.get(PAYMENT)
    money_ref = about.get("id") if about.get("object") == "payment_intent" else about.get("payment_intent")
    return Hint(
        provider_ref=about["id"] if about.get("object") == "checkout.session" else None,
        payment_id=payment_id if isinstance(payment_id, str) else None,
        money_ref=money_ref if isinstance(money_ref, str) else None,
        connected_account=connected,
    )
