# SPDX-License-Identifier: Apache-2.0
"""One attempt to collect a price: its states, its money mode, and which way its money goes.

open ──► processing ──► authorized ──► captured ──► refunded
  │                          └──► voided
  ├──► failed        declined; a customer may try again with another checkout
  └──► abandoned     closed by us, or left by the customer
       (late money moves failed and abandoned on: dead is not final)
"""

import enum
from datetime import datetime, timedelta

import msgspec

from holdfirst.payment.money import Money


class Mode(enum.StrEnum):
    """Who decides when money moves, and whether an open checkout can be closed."""

    AUTHORIZE = "authorize"
    """Authorised by the customer, captured by us: nothing is charged before the slot is pinned."""
    AUTHORIZE_UNCLOSEABLE = "authorize_uncloseable"
    """The same, and nobody can close the checkout: a late promise is given back."""
    SALE = "sale"
    """The customer's click is the capture; an open checkout can be closed with authority."""
    SALE_UNCLOSEABLE = "sale_uncloseable"
    """The customer's click is the capture, and nobody can close the checkout."""

    @property
    def is_sale(self) -> bool:
        """Whether a customer's click may move money; under `SALE` some methods may still only promise it."""
        return self in (Mode.SALE, Mode.SALE_UNCLOSEABLE)

    @property
    def can_be_closed(self) -> bool:
        return self in (Mode.AUTHORIZE, Mode.SALE)


class Methods(enum.StrEnum):
    """Which ways to pay a payment account offers."""

    HOLDS_ONLY = "holds_only"
    """Only those that promise first and are captured by us: nobody is charged without a slot."""
    HOLDS_AND_SALES = "holds_and_sales"
    """Also those where the customer's click is the charge."""


class PaymentStatus(enum.StrEnum):
    OPEN = "open"
    PROCESSING = "processing"
    AUTHORIZED = "authorized"
    CAPTURED = "captured"
    FAILED = "failed"
    ABANDONED = "abandoned"
    VOIDED = "voided"
    REFUNDED = "refunded"


class Disposition(enum.StrEnum):
    """Which way this payment's money goes. Assigned once."""

    KEEP = "keep"
    VOID = "void"
    REFUND = "refund"


class Late(enum.StrEnum):
    """What became of money that our transaction saw after `held_until`."""

    RETAKEN = "retaken"
    VOIDED = "voided"
    REFUNDED = "refunded"


CAN_BRING_MONEY = frozenset({PaymentStatus.OPEN, PaymentStatus.PROCESSING, PaymentStatus.AUTHORIZED})
"""While a payment is in one of these, its checkout counts as open."""

ASK_AT_MOST_EVERY = timedelta(seconds=1)
"""However many ask us or call us unsigned, a provider is asked about one payment no more often for their sake."""

OPEN_CHECKS = (timedelta(seconds=10), timedelta(seconds=30), timedelta(seconds=60))
"""After the checkout opened: when its provider is asked without being hinted at; then each minute."""
DEAD_CHECKS = (timedelta(minutes=1), timedelta(minutes=10), timedelta(hours=1), timedelta(days=1))
"""After a checkout closed or failed: when it is asked again, because dead is not final."""

REFUND_CHECKS = (timedelta(days=1), timedelta(days=7), timedelta(days=30))
"""After money went back: when its provider is asked again, because a refund can fail days after it succeeded."""


class Payment(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `payment`. Amounts in minor units of `amount.currency`, cumulative."""

    id: str
    account_id: str
    livemode: bool
    reservation_id: str
    payment_account_id: str
    provider: str
    mode: Mode
    status: PaymentStatus
    amount: Money
    pay_before: datetime
    return_url: str
    created_at: datetime
    cancel_url: str | None = None
    provider_ref: str | None = None
    checkout_url: str | None = None
    disposition: Disposition | None = None
    authorized_minor: int = 0
    captured_minor: int = 0
    refund_due_minor: int = 0
    refunded_minor: int = 0
    late: Late | None = None
    needs_human_code: str | None = None
    needs_human_since: datetime | None = None
    disputed: bool = False
    asked_at: datetime | None = None
    answered_at: datetime | None = None
    closed_at: datetime | None = None
    money_ref: str | None = None
    capture_before: datetime | None = None
    refunded_at: datetime | None = None

    @property
    def can_bring_money(self) -> bool:
        return self.status in CAN_BRING_MONEY

    @property
    def never_opened(self) -> bool:
        """Its provider refused to open a checkout: there is nothing to ask about, and nothing to close."""
        return self.provider_ref is None and self.status is PaymentStatus.FAILED

    @property
    def answered(self) -> bool:
        """Whether the provider has answered since it was last asked for somebody's sake."""
        return self.asked_at is None or (self.answered_at is not None and self.answered_at >= self.asked_at)

    @property
    def kept_minor(self) -> int:
        """What of the captured money is neither given back nor owed back."""
        return self.captured_minor - self.refunded_minor - self.refund_due_minor


def next_check(payment: Payment, now: datetime) -> datetime | None:
    """When the provider is to be asked again without a hint; None when this payment is at rest."""
    if payment.can_bring_money:
        for after in OPEN_CHECKS:
            if (due := payment.created_at + after) > now:
                return due
        return now + timedelta(minutes=1)
    if payment.status in (PaymentStatus.FAILED, PaymentStatus.ABANDONED) and payment.closed_at:
        return next((due for after in DEAD_CHECKS if (due := payment.closed_at + after) > now), None)
    if payment.refunded_at:
        return next((due for after in REFUND_CHECKS if (due := payment.refunded_at + after) > now), None)
    return None
