# SPDX-License-Identifier: Apache-2.0
"""Sessions, intents, charges and refunds of one Stripe account, and the rules that they keep."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import stripe
from stripe import params
from stripe.checkout import Session as SessionResource

from .catalog import Catalog, PageConfirmParams, PageParams
from .shapes import resource

MINUTE, HOUR, DAY = 60, 3600, 86_400
CAN_HOLD = {"card", "klarna", "paypal", "revolut_pay", "mobilepay", "link"}
AT_ONCE = {"ideal", "bancontact", "blik", "p24", "eps", "twint"}
DELAYED = {"sepa_debit", "customer_balance", "bacs_debit", "pix"}
LEAST = {
    "eur": 50,
    "usd": 50,
    "czk": 1500,
    "huf": 17500,
    "pln": 200,
    "jpy": 50,
    "isk": 100,
    "gbp": 30,
    "kwd": 200,
}


class Refusing(Exception):
    """An error answer. `executed`: the endpoint had begun, so that it is kept under the idempotency key."""

    def __init__(self, status: int, message: str, code: str | None = None, *, executed: bool = True) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.executed = status, message, code, executed


@dataclass
class Refund:
    id: str
    intent: "Intent"
    amount: int
    metadata: dict[str, str]
    created: int
    status: str = "succeeded"
    failure_reason: str | None = None

    def view(self) -> dict[str, Any]:
        return resource(
            stripe.Refund,
            id=self.id,
            object="refund",
            amount=self.amount,
            charge=self.intent.charge_id,
            created=self.created,
            currency=self.intent.currency,
            metadata=self.metadata,
            payment_intent=self.intent.id,
            status=self.status,
            failure_reason=self.failure_reason,
        )


@dataclass
class Intent:
    id: str
    session: "Session"
    amount: int
    currency: str
    metadata: dict[str, str]
    created: int
    method: str = "card"
    held: bool = False
    status: str = "requires_payment_method"
    charge_id: str | None = None
    capture_before: int | None = None
    received: int = 0
    disputed: bool = False
    refunds: list[Refund] = field(default_factory=list)

    @property
    def given_back(self) -> int:
        return sum(one.amount for one in self.refunds if one.status in ("succeeded", "pending"))

    def charge(self) -> dict[str, Any]:
        card = {"capture_before": self.capture_before, "brand": "visa"} if self.method == "card" else None
        details = {"type": self.method} | ({self.method: card} if card else {})
        return resource(
            stripe.Charge,
            id=self.charge_id,
            object="charge",
            amount=self.amount,
            amount_captured=self.received,
            amount_refunded=self.given_back,
            billing_details={},
            captured=self.received > 0,
            created=self.created,
            currency=self.currency,
            disputed=self.disputed,
            livemode=self.session.livemode,
            metadata=self.metadata,
            paid=True,
            payment_intent=self.id,
            payment_method_details=details,
            refunded=self.given_back >= self.amount > 0 and self.received > 0,
            status="succeeded",
        )

    def view(self, *, expand: bool = False) -> dict[str, Any]:
        return resource(
            stripe.PaymentIntent,
            id=self.id,
            object="payment_intent",
            amount=self.amount,
            amount_capturable=self.amount if self.status == "requires_capture" else 0,
            amount_received=self.received,
            application_fee_amount=self.session.params.get("payment_intent_data", {}).get(
                "application_fee_amount"
            ),
            capture_method="manual" if self.session.all_manual else "automatic_async",
            confirmation_method="automatic",
            created=self.created,
            currency=self.currency,
            latest_charge=self.charge() if expand and self.charge_id else self.charge_id,
            livemode=self.session.livemode,
            metadata=self.metadata,
            payment_method_types=[self.method],
            status=self.status,
        )


@dataclass
class Session:
    id: str
    params: dict[str, Any]
    created: int
    livemode: bool
    status: str = "open"
    intent: Intent | None = None
    tampered_total: int | None = None

    @property
    def total(self) -> int:
        line = self.params["line_items"][0]
        price = line["price_data"]["unit_amount"] * line["quantity"]
        return self.tampered_total if self.tampered_total is not None else price

    @property
    def currency(self) -> str:
        return self.params["line_items"][0]["price_data"]["currency"]

    @property
    def all_manual(self) -> bool:
        return self.params.get("payment_intent_data", {}).get("capture_method") == "manual"

    def offers(self) -> set[str]:
        """The methods on the page."""
        if self.all_manual:
            return set(CAN_HOLD)
        excluded = set(self.params.get("excluded_payment_method_types") or [])
        return (CAN_HOLD | AT_ONCE | DELAYED) - excluded

    def holds(self, method: str) -> bool:
        options = self.params.get("payment_method_options", {}).get(method, {})
        return self.all_manual or options.get("capture_method") == "manual"

    def view(self, *, expand: bool = False) -> dict[str, Any]:
        intent = self.intent
        paid = intent is not None and intent.status == "succeeded"
        return resource(
            SessionResource,
            id=self.id,
            object="checkout.session",
            amount_subtotal=self.total,
            amount_total=self.total,
            automatic_tax={"enabled": False},
            client_reference_id=self.params.get("client_reference_id"),
            created=self.created,
            currency=self.currency,
            custom_fields=[],
            custom_text={},
            customer_email=self.params.get("customer_email"),
            expires_at=self.params["expires_at"],
            livemode=self.livemode,
            locale=self.params.get("locale"),
            metadata=self.params.get("metadata", {}),
            mode="payment",
            payment_intent=(intent.view(expand=True) if expand else intent.id) if intent else None,
            payment_method_types=sorted(self.offers()),
            payment_status="paid" if paid else "unpaid",
            shipping_options=[],
            status=self.status,
            success_url=self.params.get("success_url"),
            ui_mode=self.params.get("ui_mode", "hosted_page"),
            url=f"https://checkout.stripe.com/c/pay/{self.id}" if self.status == "open" else None,
        )


class Books:
    """One account. `now` may be moved; `tell` hears of each event (type, object)."""

    def __init__(self, account_id: str, *, livemode: bool, now: Callable[[], float] = time.time) -> None:
        self.account_id, self.livemode, self.now = account_id, livemode, now
        self.charges_enabled = True
        self.sessions: dict[str, Session] = {}
        self.intents: dict[str, Intent] = {}
        self.refunds: dict[str, Refund] = {}
        self.events: list[dict[str, Any]] = []
        self.refund_outcomes: list[str] = []
        self.refuses_capture = False
        self.catalog = Catalog()
        self._number = count(1)

    def id(self, prefix: str) -> str:
        return f"{prefix}_{'live' if self.livemode else 'test'}_{self.account_id[5:]}{next(self._number):06}"

    def clock(self) -> int:
        return int(self.now())

    # What we ask of it

    def create(self, wanted: dict[str, Any]) -> Session:
        now, expires = self.clock(), wanted.get("expires_at", self.clock() + DAY)
        if not self.charges_enabled:
            raise Refusing(400, "Your account cannot currently make live charges.", executed=False)
        if wanted.get("mode") != "payment":
            raise Refusing(400, "Only payments are played here.", executed=False)
        if not now + 30 * MINUTE <= expires <= now + DAY:
            raise Refusing(
                400,
                "The `expires_at` timestamp must be between 30 minutes and 24 hours from Checkout Session creation.",
                executed=False,
            )
        if len(wanted.get("client_reference_id", "")) > 200:
            raise Refusing(400, "client_reference_id is too long", executed=False)
        if wanted.get("ui_mode", "hosted_page") == "hosted_page" and "success_url" not in wanted:
            raise Refusing(400, "Missing required param: success_url.", executed=False)
        lines = self.catalog.with_prices(wanted.get("line_items") or [])
        wanted = wanted | {"expires_at": expires, "line_items": lines}
        session = Session(self.id("cs"), wanted, now, self.livemode)
        least = LEAST.get(session.currency)
        if least is None:
            raise Refusing(400, f"Invalid currency: {session.currency}.", executed=False)
        if session.total < least:
            raise Refusing(
                400,
                "The Checkout Session's total amount due must add up to more.",
                "amount_too_small",
                executed=False,
            )
        self.sessions[session.id] = session
        return session

    def session(self, ref: str) -> Session:
        if (session := self.sessions.get(ref)) is None:
            raise Refusing(404, f"No such checkout.session: {ref}", "resource_missing", executed=False)
        if session.status == "open" and self.clock() >= session.params["expires_at"]:
            self._end(session)
        intent = session.intent
        if intent and intent.status == "requires_capture" and self.clock() >= (intent.capture_before or 0):
            self._cancel(intent)
        return session

    def expire(self, ref: str) -> Session:
        session = self.session(ref)
        if session.status != "open":
            raise Refusing(
                400,
                'Only Checkout Sessions with a status in ["open"] can be expired. This Checkout Session has a status of'
                f" {session.status}.",
            )
        self._end(session)
        return session

    def intent(self, ref: str) -> Intent:
        if (intent := self.intents.get(ref)) is None:
            raise Refusing(404, f"No such payment_intent: {ref}", "resource_missing", executed=False)
        if intent.session.id in self.sessions:
            self.session(intent.session.id)
        return intent

    def create_intent(self, wanted: dict[str, Any]) -> Intent:
        """One without a session, paid by a card at once where it is confirmed."""
        line = {
            "quantity": 1,
            "price_data": {"currency": wanted["currency"], "unit_amount": wanted["amount"]},
        }
        data = {"capture_method": wanted.get("capture_method")}
        params = {"line_items": [line], "payment_intent_data": data}
        intent = self._intent_of(Session("", params, self.clock(), self.livemode), "card")
        if wanted.get("confirm"):
            self._go_through(intent)
        return intent

    def confirm_page(self, ref: str, wanted: dict[str, Any]) -> Session:
        """The customer's click, with the amount that the page showed."""
        session = self.session(ref)
        if wanted["expected_amount"] != session.total:
            raise Refusing(400, "The amount is not the one that was shown.")
        self.pay(ref, self.catalog.methods[wanted["payment_method"]])
        return session

    def capture(self, ref: str) -> Intent:
        intent = self.intent(ref)
        if intent.status != "requires_capture":
            raise Refusing(
                400,
                f"This PaymentIntent could not be captured because it has a status of {intent.status}.",
                "payment_intent_unexpected_state",
            )
        if self.refuses_capture:
            raise Refusing(402, "The card was declined at capture.", "capture_charge_authorization_expired")
        intent.status, intent.received = "succeeded", intent.amount
        self.tell("payment_intent.succeeded", intent.view())
        return intent

    def cancel(self, ref: str) -> Intent:
        intent = self.intent(ref)
        if intent.status != "requires_capture":
            # One of a Checkout Session can be canceled in no other state.
            raise Refusing(
                400,
                f"You cannot cancel this PaymentIntent because it has a status of {intent.status}.",
                "payment_intent_unexpected_state",
            )
        self._cancel(intent)
        return intent

    def refund(self, wanted: dict[str, Any]) -> Refund:
        intent = self.intent(wanted.get("payment_intent", ""))
        left = intent.received - intent.given_back
        amount = wanted.get("amount", left)
        if intent.disputed:
            raise Refusing(400, "This charge has been charged back.", "charge_disputed")
        if intent.received == 0:
            raise Refusing(400, "This PaymentIntent does not have a successful charge to refund.")
        if left == 0:
            raise Refusing(400, "This charge has already been refunded.", "charge_already_refunded")
        if amount < 1 or amount > left:
            raise Refusing(
                400, f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})"
            )
        outcome = self.refund_outcomes.pop(0) if self.refund_outcomes else "succeeded"
        if outcome == "refused":
            raise Refusing(
                400,
                "Insufficient funds in your Stripe balance to refund this amount.",
                "balance_insufficient",
            )
        refund = Refund(
            self.id("re"), intent, amount, dict(wanted.get("metadata") or {}), self.clock(), status=outcome
        )
        intent.refunds.append(refund)
        self.refunds[refund.id] = refund
        self.tell("refund.created", refund.view())
        self.tell("charge.refunded", intent.charge())
        return refund

    # What customers, banks and people at the dashboard do

    def pay(self, ref: str, method: str = "card", *, force: bool = False) -> None:
        """`force`: 3-D Secure was under way when the session ended, and goes through all the same."""
        session = self.session(ref)
        assert force or session.status == "open", f"the page says: {session.status}"
        assert method in session.offers(), f"{method} is not on the page"
        intent = self._intent_of(session, method)
        if not force:
            session.status = "complete"
        self._go_through(intent)
        self.tell("checkout.session.completed", session.view())

    def _go_through(self, intent: Intent) -> None:
        """As the method of payment does: held, taken, or on its way for days."""
        intent.charge_id = self.id("ch")
        if intent.method in DELAYED:
            intent.status = "processing"
        elif intent.session.holds(intent.method):
            intent.status, intent.held = "requires_capture", True
            intent.capture_before = self.clock() + 7 * DAY
            self.tell("payment_intent.amount_capturable_updated", intent.view())
        else:
            intent.status, intent.received = "succeeded", intent.amount
            self.tell("payment_intent.succeeded", intent.view())

    def settle(self, ref: str) -> None:
        """A delayed method's money arrives."""
        intent = self.session(ref).intent
        assert intent is not None and intent.status == "processing"
        intent.status, intent.received = "succeeded", intent.amount
        self.tell("checkout.session.async_payment_succeeded", self.session(ref).view())

    def decline(self, ref: str) -> None:
        """A card that is declined. The session stays open, for another one."""
        session = self.session(ref)
        assert session.status == "open"
        intent = self._intent_of(session, "card")
        intent.status = "requires_payment_method"
        self.tell("payment_intent.payment_failed", intent.view())

    def dashboard_refund(self, ref: str, amount: int) -> Refund:
        intent = self.session(ref).intent
        assert intent is not None
        return self.refund({"payment_intent": intent.id, "amount": amount})

    def fail_refund(self, refund_id: str) -> None:
        """Days later: the card was closed."""
        refund = self.refunds[refund_id]
        refund.status, refund.failure_reason = "failed", "lost_or_stolen_card"
        self.tell("refund.failed", refund.view())

    def dispute(self, ref: str) -> None:
        intent = self.session(ref).intent
        assert intent is not None and intent.received
        intent.disputed = True
        self.tell(
            "charge.dispute.created",
            resource(
                stripe.Dispute,
                id=self.id("du"),
                object="dispute",
                amount=intent.amount,
                balance_transactions=[],
                charge=intent.charge_id,
                created=self.clock(),
                currency=intent.currency,
                enhanced_eligibility_types=[],
                evidence={},
                evidence_details={},
                is_charge_refundable=False,
                livemode=self.livemode,
                metadata={},
                payment_intent=intent.id,
                reason="fraudulent",
                status="needs_response",
            ),
        )

    def tell(self, kind: str, about: dict[str, Any]) -> None:
        self.events.append(
            {
                "id": self.id("evt"),
                "object": "event",
                "api_version": stripe.api_version,
                "created": self.clock(),
                "data": {"object": about},
                "livemode": self.livemode,
                "pending_webhooks": 1,
                "request": None,
                "type": kind,
            }
        )

    def _intent_of(self, session: Session, method: str) -> Intent:
        """Made when the customer confirms, not before."""
        if session.intent is None:
            data = session.params.get("payment_intent_data", {})
            session.intent = Intent(
                self.id("pi"),
                session,
                session.total,
                session.currency,
                dict(data.get("metadata") or {}),
                self.clock(),
            )
            self.intents[session.intent.id] = session.intent
        session.intent.method = method
        return session.intent

    def _end(self, session: Session) -> None:
        session.status = "expired"
        if session.intent is not None and session.intent.status == "requires_payment_method":
            session.intent.status = "canceled"
        self.tell("checkout.session.expired", session.view())

    def _cancel(self, intent: Intent) -> None:
        intent.status = "canceled"
        self.tell("payment_intent.canceled", intent.view())


REQUESTS: dict[str, type] = {
    "create": params.checkout.SessionCreateParams,
    "fetch": params.checkout.SessionRetrieveParams,
    "list": params.checkout.SessionListParams,
    "close": params.checkout.SessionExpireParams,
    "fetch_intent": params.PaymentIntentRetrieveParams,
    "capture": params.PaymentIntentCaptureParams,
    "void": params.PaymentIntentCancelParams,
    "refund": params.RefundCreateParams,
    "list_refunds": params.RefundListParams,
    "standing": params.AccountRetrieveParams,
    "list_endpoints": params.WebhookEndpointListParams,
    "create_endpoint": params.WebhookEndpointCreateParams,
    "delete_endpoint": params.WebhookEndpointDeleteParams,
    "link": params.AccountLinkCreateParams,
    "product": params.ProductCreateParams,
    "price": params.PriceCreateParams,
    "method": params.PaymentMethodCreateParams,
    "create_intent": params.PaymentIntentCreateParams,
    "page": PageParams,
    "confirm_page": PageConfirmParams,
}
"""Operation → what a request of it may hold."""
