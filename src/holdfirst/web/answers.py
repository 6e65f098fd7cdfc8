# SPDX-License-Identifier: Apache-2.0
"""What goes out: the nouns as JSON. Instants are text already, so that every answer writes them alike."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from holdfirst.availability.schedule import Schedule
from holdfirst.flows.events import EventName
from holdfirst.payment.money import Money
from holdfirst.payment.payment import Late, Methods, Mode, Payment, PaymentStatus
from holdfirst.reservation.event_type import CalendarCheck, EventType, EventTypeRules, Host, Location
from holdfirst.reservation.reservation import EndedBy, EndedCode, Status
from holdfirst.store.payees import PaymentAccount
from holdfirst.web.instants import Instant, z, z_or_none

T = TypeVar("T")
EVENT_TELLS = [
    {"$ref": f"#/components/schemas/{name}"}
    for name in ("ReservationAnswer", "PaymentAccountAnswer", "ConnectionAnswer")
]


class Page(msgspec.Struct, Generic[T]):
    """One page of a list, newest first; `next_cursor` is null on the last."""

    data: list[T]
    next_cursor: str | None


class EventAnswer(msgspec.Struct, kw_only=True):
    """`data`: a reservation; of `payment_account.problem` a payment account, of `calendar_connection.broken` a connection.

    A reservation is told as it was then, and its client secret never.
    """

    id: str
    type: EventName
    created: Instant
    livemode: bool
    data: Annotated[dict[str, Any], Meta(extra_json_schema={"anyOf": EVENT_TELLS})]


class HostAnswer(msgspec.Struct, kw_only=True):
    id: str
    livemode: bool
    slug: str
    name: str
    email: str | None
    time_zone: str
    schedule: Schedule
    payment_account: str | None
    external_id: str | None
    metadata: Mapping[str, Any]
    created_at: Instant
    calendar_feed: str
    """What a calendar subscribes to for this host's confirmed reservations: whoever has it reads them."""
    calendar_feed_webcal: str
    """The same, as a link that opens the calendar program of whoever clicks it."""


class BusyAnswer(msgspec.Struct):
    host: str
    key: str
    start: Instant
    end: Instant


class EventTypeAnswer(EventTypeRules, frozen=True, kw_only=True):
    """An event type; `step_minutes` and `confirm_by` say what holds where nothing was given."""

    id: str
    livemode: bool
    slug: str
    created_at: Instant


class FeeAnswer(msgspec.Struct, kw_only=True):
    percent: float | None
    amount_minor: int | None


class NotificationsAnswer(msgspec.Struct, kw_only=True):
    """Where its provider calls us. `registered` false: enter `url` with `events` there, and PATCH the secret here."""

    url: str
    registered: bool
    events: Sequence[str]


class LinkAnswer(msgspec.Struct, kw_only=True):
    url: str


class PaymentAccountAnswer(msgspec.Struct):
    id: str
    provider: str
    mode: Mode
    methods: Methods | None
    charges_enabled: bool
    problem: str | None
    platform: str | None
    connected_account: str | None
    application_fee: FeeAnswer | None
    notifications: NotificationsAnswer
    livemode: bool
    created_at: Instant


class NeedsHuman(msgspec.Struct):
    code: str
    since: Instant | None


class PaymentAnswer(msgspec.Struct, kw_only=True):
    id: str
    status: PaymentStatus
    provider: str
    provider_ref: str | None
    checkout_url: str | None
    pay_before: Instant
    amount: Money
    captured: Money
    refund_due: Money
    refunded: Money
    late: Late | None
    needs_human: NeedsHuman | None
    disputed: bool
    reservation: str
    payment_account: str
    mode: Mode
    livemode: bool
    created_at: Instant


class EndedAnswer(msgspec.Struct):
    by: EndedBy
    at: Instant
    code: EndedCode


class CalendarsAnswer(msgspec.Struct):
    """`verdict` is `clean`, `pending` or `conflict`; null where no calendar is connected."""

    check: CalendarCheck
    verdict: str | None = None
    verified_at: Instant | None = None
    changed_by_host: str | None = None
    """`moved` or `deleted`: what the host did to it in the calendar itself, and what has not been followed."""


class CancellationAnswer(msgspec.Struct):
    """What a customer who cancels now may do and gets back; `until`: when that gets worse."""

    allowed: bool
    refund: Money | None
    until: Instant | None


class Links(msgspec.Struct):
    page: str
    manage: str


class ReservationAnswer(msgspec.Struct, kw_only=True):
    id: str
    livemode: bool
    status: Status
    event_type: str
    hosts: Sequence[str]
    start: Instant
    end: Instant
    seats: int
    held_until: Instant
    hold_seconds: int
    server_time: Instant
    created_at: Instant
    confirmed_at: Instant | None
    processing_until: Instant | None
    extensions_left: int
    price: Money | None
    payment: PaymentAnswer | None
    payment_open: bool
    customer: Mapping[str, Any]
    guests: Sequence[str]
    answers: Mapping[str, Any]
    metadata: Mapping[str, Any]
    sequence: int
    ended: EndedAnswer | None
    calendars: CalendarsAnswer
    location: Location | None
    cancellation: CancellationAnswer
    links: Links
    payment_reference: str | UnsetType | None = UNSET
    client_secret: str | UnsetType = UNSET


def host_answer(host: Host, *, livemode: bool, calendar_feed: str) -> HostAnswer:
    return HostAnswer(
        id=host.id,
        livemode=livemode,
        slug=host.slug,
        name=host.name,
        email=host.email,
        time_zone=host.time_zone,
        schedule=host.schedule,
        payment_account=host.payment_account_id,
        external_id=host.external_id,
        metadata=host.metadata,
        created_at=z(host.created_at),
        calendar_feed=calendar_feed,
        calendar_feed_webcal=f"webcal://{calendar_feed.partition('://')[2]}",
    )


def event_type_answer(event_type: EventType, *, livemode: bool, for_account: bool) -> dict[str, Any]:
    """In the shape of `EventTypeAnswer`. What is the account's own business is left out for a publishable key."""
    rules = event_type.rules
    answer: dict[str, Any] = {
        "id": event_type.id,
        "livemode": livemode,
        "slug": event_type.slug,
        "created_at": z(event_type.created_at),
        **msgspec.to_builtins(rules),
        "step_minutes": rules.step_minutes or rules.duration_minutes,
        "confirm_by": rules.confirmed_by,
        "starts": None if rules.starts is None else [z(start) for start in rules.starts],
    }
    if not for_account:
        del answer["metadata"], answer["payment_account"]
    return answer


def payment_account_answer(payee: PaymentAccount, url: str, events: Sequence[str]) -> PaymentAccountAnswer:
    """Never its credentials, sealed or not."""
    fee = None
    if payee.fee_basis_points or payee.fee_minor:
        percent = payee.fee_basis_points / 100 if payee.fee_basis_points else None
        fee = FeeAnswer(percent=percent, amount_minor=payee.fee_minor)
    return PaymentAccountAnswer(
        methods=payee.methods,
        platform=payee.platform_id,
        connected_account=payee.connected_account,
        application_fee=fee,
        notifications=NotificationsAnswer(url=url, registered=payee.notifies, events=events),
        id=payee.id,
        provider=payee.provider,
        mode=payee.mode,
        charges_enabled=payee.charges_enabled,
        problem=payee.problem,
        livemode=payee.livemode,
        created_at=z(payee.created_at),
    )


def payment_answer(payment: Payment) -> PaymentAnswer:
    currency = payment.amount.currency
    needs_human = (
        NeedsHuman(payment.needs_human_code, z_or_none(payment.needs_human_since))
        if payment.needs_human_code is not None
        else None
    )
    return PaymentAnswer(
        id=payment.id,
        status=payment.status,
        provider=payment.provider,
        provider_ref=payment.provider_ref,
        checkout_url=payment.checkout_url,
        pay_before=z(payment.pay_before),
        amount=payment.amount,
        captured=Money(payment.captured_minor, currency),
        refund_due=Money(payment.refund_due_minor, currency),
        refunded=Money(payment.refunded_minor, currency),
        late=payment.late,
        needs_human=needs_human,
        disputed=payment.disputed,
        reservation=payment.reservation_id,
        payment_account=payment.payment_account_id,
        mode=payment.mode,
        livemode=payment.livemode,
        created_at=z(payment.created_at),
    )
