# SPDX-License-Identifier: Apache-2.0
"""What holdfirst asks of a payment provider, in our words.

An answer that did not arrive (time-out, 5xx, broken connection) is `Unknown`, an outcome of its own: the thing
may have been done. Decisions rest on `fetch` alone; a notification is a hint to ask and carries no state.
"""

import enum
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

import msgspec

from holdfirst.payment.money import Money
from holdfirst.payment.payment import Methods, Mode


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


NOT_OURS = ""


class RefundTruth(msgspec.Struct, frozen=True):
    """One refund in the provider's own list; `ref` is the provider's own id of it.

    `key` is ours without its generation, `NOT_OURS` where somebody else refunded, None where this provider keeps no keys.
    """

    key: str | None
    amount_minor: int
    phase: RefundPhase
    ref: str = ""


class Truth(msgspec.Struct, frozen=True, kw_only=True):
    """What the provider says now. Amounts in minor units of `amount.currency`, cumulative.

    `reference` is our payment id as the provider has it (None: it keeps none); `money_ref`, the provider's id of the
    money itself where that is not the checkout's; `capture_before`, when a promise ends by itself.
    """

    phase: Phase
    amount: Money
    livemode: bool
    reference: str | None = None
    money_ref: str | None = None
    capture_before: datetime | None = None
    authorized_minor: int = 0
    captured_minor: int = 0
    refunds: Sequence[RefundTruth] = ()
    disputed: bool = False


class CheckoutSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a checkout is opened with: frozen before the call, so that a repeat is the same request.

    `key` is the idempotency key: our payment id, with a generation (`pay_…:2`) once an answer that settles nothing was
    kept under the first one, or that one may be forgotten. From the second generation on, what an earlier call may have
    opened is looked for first. `return_url` is ours; the customer comes back there.
    """

    key: str
    frozen_at: datetime
    amount: Money
    mode: Mode
    livemode: bool
    description: str
    pay_before: datetime
    return_url: str
    notification_url: str
    customer_email: str | None = None
    locale: str | None = None
    application_fee_minor: int = 0

    @property
    def reference(self) -> str:
        """Our payment id: what the checkout is told to belong to."""
        return key_name(self.key)


def key_name(key: str) -> str:
    """What an idempotency key names, without its generation."""
    return key.partition(":")[0]


def key_generation(key: str) -> int:
    return int(key.partition(":")[2] or 1)


def next_key(key: str) -> str:
    return f"{key_name(key)}:{key_generation(key) + 1}"


class Credentials(msgspec.Struct, frozen=True):
    """One payment account at the provider, unsealed for the length of a call.

    `connected_account`: whose money it is, where a platform's credentials act for somebody else.
    """

    payment_account_id: str
    livemode: bool
    secrets: Mapping[str, str]
    connected_account: str | None = None


class Opened(msgspec.Struct, frozen=True):
    """`checkout_url` is None for one that was found again and cannot be paid any more."""

    provider_ref: str
    checkout_url: str | None


class Done(msgspec.Struct, frozen=True):
    """The provider did it."""


class Accepted(msgspec.Struct, frozen=True):
    """The provider took the order and will tell later; ask again."""


class NotOpen(msgspec.Struct, frozen=True):
    """Nothing to close: paid, failed or closed before. Fetch to learn which."""


class Refused(msgspec.Struct, frozen=True):
    """A final no; `for_now`: as things stand, and the same may go through later."""

    reason: str
    for_now: bool = False


class Unknown(msgspec.Struct, frozen=True):
    """No answer: it may have been done or not.

    `key_spent`: the provider keeps an answer under this key that settles nothing, and would only repeat it.
    """

    reason: str
    key_spent: bool = False


class Hint(msgspec.Struct, frozen=True):
    """A notification, read: ask about this checkout (by its reference, our payment's id, or the money's reference).

    Never says how it stands. `connected_account`: whose it is, where one address hears for many. `unsigned`: anybody
    may have sent it. `account_changed`: ask about the account itself.
    """

    provider_ref: str | None = None
    payment_id: str | None = None
    money_ref: str | None = None
    connected_account: str | None = None
    unsigned: bool = False
    account_changed: bool = False


class BadNotification(msgspec.Struct, frozen=True):
    """Not from the provider, or not readable."""

    reason: str


class CredentialFault(msgspec.Struct, frozen=True):
    """What is wrong with which member of the credentials."""

    member: str
    problem: str


class Standing(msgspec.Struct, frozen=True):
    """Whether a payment account can take money, and if not, why not (a short code).

    `identity`: which account it is there, where its provider says so, whatever the credentials of the day.
    """

    charges_enabled: bool
    problem: str | None = None
    identity: str | None = None


class Registered(msgspec.Struct, frozen=True):
    """Our notification address is known to the provider; `secrets` are to be kept with the credentials."""

    secrets: Mapping[str, str]


class Link(msgspec.Struct, frozen=True):
    url: str


class Listed(msgspec.Struct, frozen=True):
    """One checkout in the provider's own listing that names a payment of ours."""

    provider_ref: str
    payment_id: str


class ListingPage(msgspec.Struct, frozen=True):
    """A part of the provider's listing; `next_page` is what the following one is asked for by. None: this is the last."""

    listed: Sequence[Listed]
    next_page: str | None = None


class Notification(msgspec.Struct, frozen=True):
    """A call from the provider, raw. Header names are lower case."""

    method: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes


class PaymentProvider(Protocol):
    """One company. Every call is bounded in time and safe to repeat with the same key."""

    name: str

    @property
    def modes(self) -> Mapping[Methods, Mode]:
        """How the money of each choice of methods moves here."""
        ...

    def read_credentials(
        self, given: Mapping[str, Any], *, livemode: bool
    ) -> Mapping[str, str] | CredentialFault:
        """What a caller sends as credentials, judged without asking anybody. Live and test never meet.

        At a change, together with the members that were answered here before and are not sent again.
        """
        ...

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


# What a provider may offer besides


@runtime_checkable
class TellsStanding(Protocol):
    """Can say whether an account is able to take money."""

    async def standing(self, account: Credentials) -> Standing | Unknown: ...


@runtime_checkable
class RegistersNotifications(Protocol):
    """Can be told our notification address by ourselves, where the credentials allow it."""

    @property
    def notification_events(self) -> Sequence[str]:
        """What has to be chosen where a person enters the address."""
        ...

    async def register_notifications(
        self, url: str, account: Credentials
    ) -> Registered | Refused | Unknown: ...


@runtime_checkable
class OnboardsAccounts(Protocol):
    """A platform's: leads a connected account through what the provider wants to know of it."""

    async def onboarding_link(
        self, return_url: str, refresh_url: str, account: Credentials
    ) -> Link | Refused | Unknown: ...


@runtime_checkable
class ListsCheckouts(Protocol):
    """Can list what it has on its own books, for comparing."""

    async def checkouts_since(
        self, since: datetime, account: Credentials, page: str | None = None
    ) -> ListingPage | Unknown:
        """Those that may hold money, newest first: one page of them, and all of them page by page."""
        ...
