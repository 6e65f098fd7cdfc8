# SPDX-License-Identifier: Apache-2.0
"""What comes in, about reservations and money. Unknown members are refused; texts are kept as they came."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from holdfirst.availability.windows import is_zone
from holdfirst.payment.money import AMOUNT_MINOR_MAX, Money
from holdfirst.payment.payment import Methods, Mode, PaymentStatus
from holdfirst.refusal import invalid_fields
from holdfirst.reservation.event_type import instant_fault
from holdfirst.reservation.reservation import Status
from holdfirst.reservation.text import LINE, Line, LongText, Url, email_fault, size_fault, url_fault
from holdfirst.web.problems import Problem

Instant = Annotated[
    datetime,
    Meta(tz=True, description="RFC 3339 with an offset; what is finer than a millisecond is cut off."),
]
Email = Annotated[str, Meta(min_length=1, max_length=320)]
Phone = Annotated[str, Meta(min_length=1, max_length=50, pattern=LINE)]
Locale = Annotated[str, Meta(max_length=35, pattern=r"\A[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*\Z")]
Seats = Annotated[int, Meta(ge=1, le=10_000)]
Limit = Annotated[int, Meta(ge=1, le=100)]
Free = dict[str, Any]
ANSWERS_BYTES_MAX = 65_536


class Closed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A body that holds nothing but what is named."""


class Customer(Closed, frozen=True, kw_only=True):
    """Who reserves. All of it may follow later, while the hold lasts; null takes a member away."""

    name: Line | UnsetType | None = UNSET
    email: Email | UnsetType | None = UNSET
    phone: Phone | UnsetType | None = UNSET
    time_zone: str | UnsetType | None = UNSET
    locale: Locale | UnsetType | None = UNSET
    billing: Free | UnsetType | None = UNSET

    def given(self) -> dict[str, Any]:
        """What was said, nulls included."""
        return {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not UNSET}


class Details(Closed, frozen=True, kw_only=True):
    """What can be added while held, member by member."""

    customer: Customer | None = None
    guests: Annotated[list[Line], Meta(max_length=100)] | None = None
    answers: Free | None = None
    metadata: Free | None = None


class Reserve(Closed, frozen=True, kw_only=True):
    event_type: str
    start: Instant
    seats: Seats = 1
    host: str | None = None
    customer: Customer | None = None
    guests: Annotated[list[Line], Meta(max_length=100)] | None = None
    answers: Free | None = None
    metadata: Free | None = None
    hold_seconds: Annotated[int, Meta(ge=1, le=86_400)] | None = None
    outside_rules: bool = False


class Checkout(Closed, frozen=True, kw_only=True):
    return_url: Url
    cancel_url: Url | None = None


class Release(Closed, frozen=True, kw_only=True):
    force: bool = False


class Confirm(Closed, frozen=True, kw_only=True):
    if_still_free: bool = False
    payment_reference: Line | None = None


class Cancel(Closed, frozen=True, kw_only=True):
    """`refund` by a secret key only: the policy's share, all, nothing, or an amount."""

    reason: LongText | None = None
    refund: Literal["policy", "full", "none"] | Money | None = None


class Reschedule(Closed, frozen=True, kw_only=True):
    start: Instant


class Refund(Closed, frozen=True, kw_only=True):
    """Without `amount`: all that is kept."""

    amount: Money | None = None


class Resolve(Closed, frozen=True, kw_only=True):
    note: Annotated[LongText, Meta(min_length=1)]


class Busy(Closed, frozen=True, kw_only=True):
    start: Instant
    end: Instant


class ApplicationFee(Closed, frozen=True, kw_only=True):
    """The platform's share of each payment: a percentage with at most two decimals, or an amount."""

    percent: Annotated[float, Meta(ge=0.01, le=100)] | None = None
    amount_minor: Annotated[int, Meta(ge=1, le=AMOUNT_MINOR_MAX)] | None = None


class PaymentAccountForm(Closed, frozen=True, kw_only=True):
    """`credentials` as the provider's page in the docs says; or `platform` and `connected_account`, with `application_fee`.

    `mode` is the sandbox's alone; elsewhere `methods` decides how money moves.
    """

    provider: str | None = None
    credentials: Free | None = None
    methods: Methods = Methods.HOLDS_ONLY
    mode: Mode | None = None
    platform: str | None = None
    connected_account: Annotated[str, Meta(min_length=1, max_length=255, pattern=LINE)] | None = None
    application_fee: ApplicationFee | None = None


class PaymentAccountPatch(Closed, frozen=True, kw_only=True):
    """`credentials`: the members that change."""

    credentials: Free | None = None
    methods: Methods | None = None
    mode: Mode | None = None
    application_fee: ApplicationFee | UnsetType | None = UNSET


class OnboardingLink(Closed, frozen=True, kw_only=True):
    return_url: Url
    refresh_url: Url


class Paging(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    limit: Limit = 20
    cursor: str | None = None


class ReservationQuery(Paging, frozen=True, kw_only=True, rename={"start_from": "from", "start_to": "to"}):
    status: Status | None = None
    event_type: str | None = None
    host: str | None = None
    start_from: Instant | None = None
    start_to: Instant | None = None
    customer_email: str | None = None


class PaymentQuery(Paging, frozen=True, kw_only=True):
    status: PaymentStatus | None = None
    needs_human: bool | None = None
    reservation: str | None = None


class SlotsAsked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    start: Instant
    end: Instant
    time_zone: str | None = None
    seats: Seats = 1
    host: str | None = None


class StreamAsked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    time_zone: str | None = None


def check_details(details: Details | Reserve) -> None:
    """What the shape alone does not show."""
    faults: list[tuple[str, str | None]] = []
    if details.customer is not None:
        customer = details.customer
        if isinstance(customer.email, str):
            faults.append(("customer.email", email_fault(customer.email)))
        if isinstance(customer.time_zone, str) and not is_zone(customer.time_zone):
            faults.append(("customer.time_zone", "is not a zone of the IANA database"))
        if isinstance(customer.billing, dict):
            faults.append(("customer.billing", size_fault(customer.billing)))
    if details.answers is not None:
        faults.append(("answers", size_fault(details.answers, ANSWERS_BYTES_MAX)))
    if details.metadata is not None:
        faults.append(("metadata", size_fault(details.metadata)))
    raise_faults(faults)


def check_instants(**instants: datetime | None) -> None:
    """Years that calendars agree about."""
    raise_faults([(name, instant_fault(one)) for name, one in instants.items() if one is not None])


def check_urls(**urls: str | None) -> None:
    raise_faults([(name, url_fault(url)) for name, url in urls.items() if url is not None])


def raise_faults(faults: list[tuple[str, str | None]]) -> None:
    found = [(field, fault) for field, fault in faults if fault is not None]
    if found:
        raise Problem(invalid_fields(found))
