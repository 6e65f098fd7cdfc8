# SPDX-License-Identifier: Apache-2.0
"""What holdfirst asks of a payment provider, in our words.

An answer that did not arrive (time-out, 5xx, broken connection) is `Unknown`, an outcome of its own: the thing
may have been done. Decisions rest on `fetch` alone; a notification is a hint to ask and carries no state.
"""

import enum
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from holdfirst.payment.money import Money
from holdfirst.payment.payment import Mode


class Phase(enum.StrEnum):
    """Where a checkout stands, as its provider tells it."""

    OPEN = "open"
    PROCESSING = "processing"
    AUTHORIZED = "authorized"
    CAPTURED = "captured"
    FAILED = "failed"
    CLOSED = "closed"
    VOIDED = "voided"


class RefundPhase(enum.StrEnum):
    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"


class RefundTruth(msgspec.Struct, frozen=True):
    """One refund in the provider's own list; `key` is ours, as sent with the call."""

    key: str
    amount_minor: int
    phase: RefundPhase


class Truth(msgspec.Struct, frozen=True, kw_only=True):
    """What the provider says now. Amounts in minor units of `amount.currency`, cumulative."""

    phase: Phase
    amount: Money
    livemode: bool
    authorized_minor: int = 0
    captured_minor: int = 0
    refunds: Sequence[RefundTruth] = ()
    disputed: bool = False


class CheckoutSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a checkout is opened with: frozen before the call, so that a repeat is the same request.

    `key` is the idempotency key (our payment id). `return_url` is ours; the customer comes back there.
    """

    key: str
    amount: Money
    mode: Mode
    livemode: bool
    description: str
    pay_before: datetime
    return_url: str
    notification_url: str
    customer_email: str | None = None
    locale: str | None = None


class Credentials(msgspec.Struct, frozen=True):
    """One payment account at the provider, unsealed for the length of a call."""

    payment_account_id: str
    livemode: bool
    secrets: Mapping[str, str]


class Opened(msgspec.Struct, frozen=True):
    provider_ref: str
    checkout_url: str


class Done(msgspec.Struct, frozen=True):
    """The provider did it."""


class Accepted(msgspec.Struct, frozen=True):
    """The provider took the order and will tell later; ask again."""


class NotOpen(msgspec.Struct, frozen=True):
    """Nothing to close: paid, failed or closed before. Fetch to learn which."""


class Refused(msgspec.Struct, frozen=True):
    """A final no."""

    reason: str


class Unknown(msgspec.Struct, frozen=True):
    """No answer: it may have been done or not."""

    reason: str


class Hint(msgspec.Struct, frozen=True):
    """A notification, read: ask about this checkout. Never says how it stands."""

    provider_ref: str | None = None
    payment_id: str | None = None


class BadNotification(msgspec.Struct, frozen=True):
    """Not from the provider, or not readable."""

    reason: str


class Notification(msgspec.Struct, frozen=True):
    """A call from the provider, raw. Header names are lower case."""

    method: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes


class PaymentProvider(Protocol):
    """One company. Every call is bounded in time and safe to repeat with the same key."""

    name: str

    async def open_checkout(self, spec: CheckoutSpec, account: Credentials) -> Opened | Refused | Unknown:
        """Open a checkout, or answer the one that the same `spec.key` opened before."""
        ...

    async def fetch(self, provider_ref: str, account: Credentials) -> Truth | Unknown:
        """Ask how a checkout stands. The only source of decisions."""
        ...

    async def close(self, provider_ref: str, account: Credentials) -> Done | NotOpen | Refused | Unknown:
        """Close an open checkout: after `Done` nobody can pay it. `Refused`: this one cannot be closed."""
        ...

    async def capture(
        self, provider_ref: str, key: str, account: Credentials
    ) -> Done | Accepted | Refused | Unknown:
        """Take the authorised money, in full."""
        ...

    async def void(
        self, provider_ref: str, key: str, account: Credentials
    ) -> Done | Accepted | Refused | Unknown:
        """Give the authorisation back."""
        ...

    async def refund(
        self, provider_ref: str, amount: Money, key: str, account: Credentials
    ) -> Done | Accepted | Refused | Unknown:
        """Give captured money back. `key` names this refund in `Truth.refunds`."""
        ...

    def read_notification(self, notification: Notification, account: Credentials) -> Hint | BadNotification:
        """Check the signature and say what to ask about. No I/O."""
        ...
