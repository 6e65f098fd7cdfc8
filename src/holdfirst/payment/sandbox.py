# SPDX-License-Identifier: Apache-2.0
"""The sandbox's words: what the made-up company in `providers/sandbox` and its pages in `web/sandbox.py` share."""

import enum
from collections.abc import Sequence
from datetime import datetime

import msgspec

from holdfirst.payment.money import Money
from holdfirst.payment.payment import Mode


class State(enum.StrEnum):
    """open ──► authorized ──► captured | voided; a sale: open ──► captured; captured ──► refunded.

    open ──► failed | abandoned | closed, where only a payment already under way can still go through.
    """

    OPEN = "open"
    CLOSED = "closed"
    AUTHORIZED = "authorized"
    CAPTURED = "captured"
    FAILED = "failed"
    ABANDONED = "abandoned"
    VOIDED = "voided"
    REFUNDED = "refunded"


class Action(enum.StrEnum):
    """What a customer does at the checkout. *Authorize* and *pay* are the same button under different modes."""

    AUTHORIZE = "authorize"
    DECLINE = "decline"
    ABANDON = "abandon"
    PAY = "pay"


class Operation(enum.StrEnum):
    """What holdfirst asks of the company."""

    CREATE = "create"
    FETCH = "fetch"
    CLOSE = "close"
    CAPTURE = "capture"
    VOID = "void"
    REFUND = "refund"


class Fault(enum.StrEnum):
    """How a call can go wrong."""

    LOST_BEFORE = "lost_before"
    """Nothing done, no answer."""
    LOST_AFTER = "lost_after"
    """Done, no answer."""
    SERVER_ERROR = "500"
    """Nothing done, and an answer that says nothing."""
    REFUSED = "refused"
    """Nothing done: a final no."""
    SLOW = "slow"
    """Done, and answered after a while."""


class GivenBack(msgspec.Struct, frozen=True):
    """One refund; `key` is the caller's."""

    key: str
    amount_minor: int


class Checkout(msgspec.Struct, frozen=True, kw_only=True):
    """A checkout as its books have it. Amounts in minor units of `amount.currency`, cumulative.

    `seen_at` is the database's time when it was read; `completes_at`, when a late payment goes through.
    """

    ref: str
    payment_account_id: str
    key: str
    mode: Mode
    state: State
    amount: Money
    livemode: bool
    description: str
    pay_before: datetime
    return_url: str
    notification_url: str
    authorized_minor: int = 0
    captured_minor: int = 0
    voided_minor: int = 0
    refunds: tuple[GivenBack, ...] = ()
    completes_at: datetime | None = None
    seen_at: datetime | None = None

    @property
    def refunded_minor(self) -> int:
        return sum(refund.amount_minor for refund in self.refunds)


class Call(msgspec.Struct, frozen=True):
    """One call that holdfirst made, and what it was answered (or the fault it met)."""

    operation: str
    answer: str
    at: datetime


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one checkout. Amounts in minor units and cumulative: a refund leaves `captured`."""

    state: State
    authorized: int
    captured: int
    voided: int
    refunded: int
    calls: Sequence[Call]
