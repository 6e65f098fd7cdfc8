# SPDX-License-Identifier: Apache-2.0
"""What one search is about: who wants what, what they may do, and how coarse the clock is.

A tick is five minutes. A hold lasts one, a close may keep the time for one more, the slot begins at the third: so
each deadline is seen before, at and after, and money arrives while held, late, and after the start.
"""

from datetime import UTC, datetime, timedelta

import msgspec

from holdfirst.payment.money import Money
from holdfirst.payment.payment import Mode
from holdfirst.reservation.event_type import EventType, EventTypeRules, Host, LatePayment
from holdfirst.settings import Limits
from holdfirst.store.payees import PaymentAccount
from shop import always_open

TICK = timedelta(minutes=5)
HOLD_TICKS = 1
PROCESSING_TICKS = 1
BEGIN = datetime(2027, 1, 4, 9, 0, tzinfo=UTC)
PRICE = Money(6000, "EUR")
HOST, EVENT_TYPE, PAYEE, ACCOUNT = "hst_0", "ety_0", "pac_0", "acc_0"
LIMITS = Limits(
    hold_seconds_min=1,
    total_max=2 * TICK,
    checkout_min=TICK,
    processing_max=PROCESSING_TICKS * TICK,
    holds_per_address_max=0,
    holds_per_email_max=0,
)
CUSTOMER = {"name": "Anna", "email": "anna@example.org"}


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """`slots`: each client's start, in half hours; slots last an hour. `verbs`: what else clients and accounts do.
    `flights`: effects of one client that are under way at once, each between any two of its steps.
    """

    name: str
    mode: Mode
    slots: tuple[int, ...] = (0, 0, 0)
    late: LatePayment = LatePayment.RETAKE
    seats: int = 1
    verbs: frozenset[str] = frozenset()
    payments_max: int = 1
    flights: int = 1
    ticks: int = 3
    start_tick: int = 3
    faults: frozenset[str] = frozenset({"lost", "refused"})

    @property
    def clients(self) -> int:
        return len(self.slots)

    def at(self, tick: int) -> datetime:
        return BEGIN + tick * TICK

    def start_of(self, slot: int) -> datetime:
        return self.at(self.start_tick) + slot * timedelta(minutes=30)

    def rules(self) -> EventTypeRules:
        return EventTypeRules(
            name="Consultation",
            hosts=[HOST],
            duration_minutes=60,
            step_minutes=5,
            price=PRICE,
            payment_account=PAYEE,
            hold_seconds=int(HOLD_TICKS * TICK.total_seconds()),
            late_payment=self.late,
            seats=self.seats,
        )

    def event_type(self) -> EventType:
        return EventType(
            id=EVENT_TYPE, account_id=ACCOUNT, slug="consultation", rules=self.rules(), created_at=BEGIN
        )

    def host(self) -> Host:
        return always_open(HOST, ACCOUNT, "host", "Host", BEGIN)

    def payee(self) -> PaymentAccount:
        return PaymentAccount(
            id=PAYEE,
            account_id=ACCOUNT,
            livemode=False,
            provider="sandbox",
            mode=self.mode,
            sealed_credentials=b"",
            charges_enabled=True,
            problem=None,
            created_at=BEGIN,
        )
