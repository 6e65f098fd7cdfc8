# SPDX-License-Identifier: Apache-2.0
"""A payment provider and a mail server that do what a test says. Held to the same contract as the real ones."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any, ClassVar

from holdfirst.payment.money import Money
from holdfirst.payment.payment import Methods, Mode
from holdfirst.payment.provider import (
    BadNotification,
    CheckoutSpec,
    Credentials,
    Done,
    Hint,
    Link,
    Notification,
    NotOpen,
    Opened,
    Phase,
    RefundPhase,
    RefundTruth,
    Refused,
    Truth,
    Unknown,
    key_name,
)


@dataclass
class FakeCheckout:
    """One checkout in the fake's books."""

    spec: CheckoutSpec
    phase: Phase = Phase.OPEN
    authorized: int = 0
    captured: int = 0
    refunds: dict[str, RefundTruth] = field(default_factory=dict)


class FakePayments:
    """In memory. `faults[operation]` is a list of answers for the next calls: `lost_before`, `lost_after`, `refused`."""

    name = "fake"
    modes: ClassVar[dict[Methods, Mode]] = {
        Methods.HOLDS_ONLY: Mode.AUTHORIZE,
        Methods.HOLDS_AND_SALES: Mode.SALE,
    }

    def __init__(self) -> None:
        self.checkouts: dict[str, FakeCheckout] = {}
        self.calls: list[tuple[str, str]] = []
        self.faults: dict[str, list[str]] = {}

    # What the customer does

    def authorize(self, ref: str) -> None:
        checkout = self.checkouts[ref]
        checkout.phase = Phase.AUTHORIZED
        checkout.authorized = checkout.spec.amount.amount_minor

    def pay(self, ref: str) -> None:
        checkout = self.checkouts[ref]
        checkout.phase = Phase.CAPTURED
        checkout.captured = checkout.spec.amount.amount_minor

    def decline(self, ref: str) -> None:
        self.checkouts[ref].phase = Phase.FAILED

    def bring_money(self, ref: str) -> None:
        """As this checkout's mode does."""
        if self.checkouts[ref].spec.mode.is_sale:
            self.pay(ref)
        else:
            self.authorize(ref)

    # What we ask

    def read_credentials(self, given: Mapping[str, Any], *, livemode: bool) -> dict[str, str]:
        return {name: str(value) for name, value in given.items()}

    def _fault(self, operation: str, key: str) -> str | None:
        self.calls.append((operation, key))
        waiting = self.faults.get(operation, [])
        return waiting.pop(0) if waiting else None

    async def open_checkout(self, spec: CheckoutSpec, account: Credentials) -> Opened | Refused | Unknown:
        fault = self._fault("create", spec.key)
        if fault == "refused":
            return Refused("no")
        if fault == "lost_before":
            return Unknown("lost")
        ref = f"fake_{spec.key}"
        self.checkouts.setdefault(ref, FakeCheckout(spec))
        if fault == "lost_after":
            return Unknown("lost")
        return Opened(ref, f"https://fake.example/{ref}")

    async def fetch(self, provider_ref: str, account: Credentials) -> Truth | Unknown:
        if self._fault("fetch", provider_ref) is not None:
            return Unknown("lost")
        checkout = self.checkouts[provider_ref]
        return Truth(
            phase=checkout.phase,
            amount=checkout.spec.amount,
            livemode=checkout.spec.livemode,
            authorized_minor=checkout.authorized,
            captured_minor=checkout.captured,
            refunds=tuple(checkout.refunds.values()),
        )

    async def close(self, provider_ref: str, account: Credentials) -> Done | NotOpen | Refused | Unknown:
        fault = self._fault("close", provider_ref)
        checkout = self.checkouts[provider_ref]
        if fault == "lost_before":
            return Unknown("lost")
        if fault == "refused" or not checkout.spec.mode.can_be_closed:
            return Refused("cannot be closed")
        if checkout.phase is not Phase.OPEN:
            return NotOpen()
        checkout.phase = Phase.CLOSED
        return Unknown("lost") if fault == "lost_after" else Done()

    async def capture(self, provider_ref: str, key: str, account: Credentials) -> Done | Refused | Unknown:
        fault = self._fault("capture", key)
        checkout = self.checkouts[provider_ref]
        if fault == "lost_before":
            return Unknown("lost")
        if fault == "refused":
            return Refused("no")
        if checkout.phase is Phase.AUTHORIZED:
            checkout.phase = Phase.CAPTURED
            checkout.captured = checkout.authorized
        if checkout.phase is not Phase.CAPTURED:
            return Refused(f"it is {checkout.phase}")
        return Unknown("lost") if fault == "lost_after" else Done()

    async def void(self, provider_ref: str, key: str, account: Credentials) -> Done | Refused | Unknown:
        fault = self._fault("void", key)
        checkout = self.checkouts[provider_ref]
        if fault == "lost_before":
            return Unknown("lost")
        if fault == "refused":
            return Refused("no")
        if checkout.phase is Phase.AUTHORIZED:
            checkout.phase = Phase.VOIDED
        if checkout.phase is not Phase.VOIDED:
            return Refused(f"it is {checkout.phase}")
        return Unknown("lost") if fault == "lost_after" else Done()

    async def refund(
        self, provider_ref: str, amount: Money, key: str, account: Credentials
    ) -> Done | Refused | Unknown:
        fault = self._fault("refund", key)
        key = key_name(key)
        checkout = self.checkouts[provider_ref]
        if fault == "lost_before":
            return Unknown("lost")
        if fault == "refused":
            return Refused("no")
        if key not in checkout.refunds:
            given = sum(one.amount_minor for one in checkout.refunds.values())
            if given + amount.amount_minor > checkout.captured:
                return Refused("more than was captured")
            checkout.refunds[key] = RefundTruth(key, amount.amount_minor, RefundPhase.DONE, key)
        return Unknown("lost") if fault == "lost_after" else Done()

    async def onboarding_link(self, return_url: str, refresh_url: str, account: Credentials) -> Link:
        return Link(f"https://fake.example/setup/{account.payment_account_id}")

    def read_notification(self, notification: Notification, account: Credentials) -> Hint | BadNotification:
        return Hint(provider_ref=notification.query["ref"])


class FakeMail:
    """Keeps what was sent, by Message-ID."""

    def __init__(self) -> None:
        self.sent: list[EmailMessage] = []

    async def send(self, message: EmailMessage) -> None:
        self.sent.append(message)

    def subjects(self) -> list[str]:
        return [str(message["Subject"]) for message in self.sent]
