# SPDX-License-Identifier: Apache-2.0
"""What a host offers: duration, rules, price, form and policies.

These structs are the wire form and the stored form at once; unknown fields are refused in both.
"""

import enum
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from holdfirst.availability.schedule import Schedule
from holdfirst.availability.schedule import problems as schedule_problems
from holdfirst.availability.slots import Assignment
from holdfirst.payment.money import AMOUNT_MINOR_MAX, Money, currency_exists
from holdfirst.reservation.text import (
    Line,
    LongText,
    Url,
    email_fault,
    is_line,
    is_lines,
    origin_fault,
    size_fault,
    url_fault,
)


class ConfirmBy(enum.StrEnum):
    """On whose word a hold becomes firm."""

    PAYMENT = "payment"
    SECRET_KEY = "secret_key"
    CLIENT_SECRET = "client_secret"


class LatePayment(enum.StrEnum):
    """What happens to money that arrives after `held_until`."""

    RETAKE = "retake"
    RETURN = "return"


class CalendarCheck(enum.StrEnum):
    LOCAL = "local"
    FAST = "fast"
    VERIFIED = "verified"
    STRICT = "strict"


class OnConflict(enum.StrEnum):
    CONFIRM_AND_FLAG = "confirm_and_flag"
    REFUND = "refund"


class QuestionKind(enum.StrEnum):
    TEXT = "text"
    LONG_TEXT = "long_text"
    EMAIL = "email"
    PHONE = "phone"
    NUMBER = "number"
    CHOICE = "choice"
    CHOICES = "choices"
    YES_NO = "yes_no"


Instant = Annotated[datetime, Meta(tz=True)]


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One field of the form. `options` for `choice` and `choices` only."""

    key: Annotated[str, Meta(pattern=r"\A[a-z][a-z0-9_]{0,63}\Z")]
    label: Line
    kind: QuestionKind = QuestionKind.TEXT
    required: bool = False
    options: Annotated[list[Line], Meta(max_length=100)] | None = None


class Location(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kind: Literal["address", "phone", "link", "customer"]
    value: LongText | None = None


class RefundStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Cancelled at least `until_minutes_before` the start: `refund_percent` of what was paid goes back."""

    until_minutes_before: Annotated[int, Meta(ge=0, le=527_040)]
    refund_percent: Annotated[int, Meta(ge=0, le=100)]


class ReschedulePolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    until_minutes_before: Annotated[int, Meta(ge=0, le=527_040)] = 0
    times_max: Annotated[int, Meta(ge=0, le=1000)] = 3


Minutes = Annotated[int, Meta(ge=0, le=1440)]


HOLD_SECONDS = 900
"""Where an event type says nothing; bounded by the settings when it is used."""


class EventTypeRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything about an event type but its id, slug and account; stored as one JSON document."""

    name: Line
    description: LongText | None = None
    hosts: Annotated[list[str], Meta(min_length=1, max_length=200)]
    assignment: Assignment = "one_of"
    duration_minutes: Annotated[int, Meta(ge=1, le=10_080)]
    step_minutes: Annotated[int, Meta(ge=1, le=10_080)] | None = None
    buffer_before_minutes: Minutes = 0
    buffer_after_minutes: Minutes = 0
    notice_minutes: Annotated[int, Meta(ge=0, le=527_040)] = 0
    horizon_days: Annotated[int, Meta(ge=1, le=1830)] = 60
    seats: Annotated[int, Meta(ge=1, le=10_000)] = 1
    guests_max: Annotated[int, Meta(ge=0, le=100)] = 0
    per_day_max: Annotated[int, Meta(ge=1, le=1000)] | None = None
    schedule: Schedule | None = None
    starts: Annotated[list[Instant], Meta(max_length=1000)] | None = None
    location: Location | None = None
    price: Money | None = None
    payment_account: str | None = None
    hold_seconds: Annotated[int, Meta(ge=1, le=86_400)] = HOLD_SECONDS
    extensions_max: Annotated[int, Meta(ge=0, le=100)] = 1
    confirm_by: ConfirmBy | None = None
    late_payment: LatePayment = LatePayment.RETAKE
    cancellation: Annotated[list[RefundStep], Meta(max_length=20)] | None = None
    reschedule: ReschedulePolicy | None = None
    calendar_check: CalendarCheck = CalendarCheck.VERIFIED
    on_conflict: OnConflict = OnConflict.CONFIRM_AND_FLAG
    questions: Annotated[list[Question], Meta(max_length=50)] = []
    allowed_origins: Annotated[list[Url], Meta(max_length=100)] = []
    success_url: Url | None = None
    metadata: dict[str, Any] = {}
    active: bool = True

    @property
    def priced(self) -> bool:
        """A price of 0 is no price."""
        return self.price is not None and self.price.amount_minor > 0

    @property
    def confirmed_by(self) -> ConfirmBy:
        """`confirm_by`, or its default: by payment where there is a price, else by the customer."""
        return self.confirm_by or (ConfirmBy.PAYMENT if self.priced else ConfirmBy.CLIENT_SECRET)

    @property
    def duration(self) -> timedelta:
        return timedelta(minutes=self.duration_minutes)

    @property
    def step(self) -> timedelta:
        return timedelta(minutes=self.step_minutes or self.duration_minutes)

    @property
    def buffer_before(self) -> timedelta:
        return timedelta(minutes=self.buffer_before_minutes)

    @property
    def buffer_after(self) -> timedelta:
        return timedelta(minutes=self.buffer_after_minutes)


class EventType(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    account_id: str
    slug: str
    rules: EventTypeRules
    created_at: datetime


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """A person whose time is reserved."""

    id: str
    account_id: str
    slug: str
    name: str
    email: str | None
    time_zone: str
    schedule: Schedule
    payment_account_id: str | None
    external_id: str | None
    metadata: Mapping[str, Any]
    created_at: datetime
    connected: bool = False
    """Whether a calendar of theirs is asked; known where an offer is read."""
    feed_version: int = 1
    """The address of their feed is made of it; known where a host is read."""


class Offer(msgspec.Struct, frozen=True):
    """An event type with its hosts, in the order the event type names them, as read at `now`.

    `catalog`: the account's version at that moment; it changes with any host or event type.
    """

    event_type: EventType
    hosts: Sequence[Host]
    livemode: bool
    catalog: int
    now: datetime
    has_webhooks: bool = False

    @property
    def time_zone(self) -> str:
        """The first host's: what local days are told in where nobody asked for another zone."""
        return self.hosts[0].time_zone if self.hosts else "UTC"


def rule_problems(rules: EventTypeRules) -> Iterator[tuple[str, str]]:
    """Every fault that the shape alone does not show, as (field, message); empty: fit to be stored."""
    if len(set(rules.hosts)) < len(rules.hosts):
        yield "hosts", "names a host twice"
    if rules.schedule is not None:
        for path, message in schedule_problems(rules.schedule):
            yield f"schedule.{path}", message
    for index, start in enumerate(rules.starts or []):
        if (fault := instant_fault(start)) is not None:
            yield f"starts[{index}]", fault
    yield from _price_problems(rules)
    yield from _url_problems(rules)
    if (fault := size_fault(rules.metadata)) is not None:
        yield "metadata", fault
    yield from _question_problems(rules.questions)


def _price_problems(rules: EventTypeRules) -> Iterator[tuple[str, str]]:
    if rules.price is None:
        return
    if not currency_exists(rules.price.currency):
        yield "price.currency", "is not a currency of ISO 4217"
    if rules.price.amount_minor * rules.seats > AMOUNT_MINOR_MAX:
        yield "price.amount_minor", "is too much for that many seats"


def _url_problems(rules: EventTypeRules) -> Iterator[tuple[str, str]]:
    if rules.success_url is not None and (fault := url_fault(rules.success_url)) is not None:
        yield "success_url", fault
    for index, origin in enumerate(rules.allowed_origins):
        if (fault := origin_fault(origin)) is not None:
            yield f"allowed_origins[{index}]", fault


def _question_problems(questions: Sequence[Question]) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for index, question in enumerate(questions):
        if question.key in seen:
            yield f"questions[{index}].key", "is used twice"
        seen.add(question.key)
        chosen = question.kind in (QuestionKind.CHOICE, QuestionKind.CHOICES)
        if chosen and not question.options:
            yield f"questions[{index}].options", "is what a choice is made from"
        if not chosen and question.options is not None:
            yield f"questions[{index}].options", "is for choice and choices only"


def instant_fault(instant: datetime) -> str | None:
    """Instants that calendars and clocks agree about."""
    return None if 1970 <= instant.year <= 2100 else "must lie between the years 1970 and 2100"


def answer_problems(questions: Sequence[Question], answers: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Faults of the answers given, as (field, message). What is missing is asked for later, at checkout."""
    known = {question.key: question for question in questions}
    for key, answer in answers.items():
        question = known.get(key)
        if question is None:
            yield f"answers.{key}", "is not a question of this event type"
        elif (fault := _answer_fault(question, answer)) is not None:
            yield f"answers.{key}", fault


def _answer_fault(question: Question, answer: Any) -> str | None:
    options = question.options or []
    match question.kind:
        case QuestionKind.NUMBER:
            good = isinstance(answer, int | float) and not isinstance(answer, bool)
            return None if good else "must be a number"
        case QuestionKind.YES_NO:
            return None if isinstance(answer, bool) else "must be true or false"
        case QuestionKind.CHOICE:
            return None if answer in options else "must be one of the options"
        case QuestionKind.CHOICES:
            good = isinstance(answer, list) and all(one in options for one in answer)
            return None if good else "must be a list of the options"
        case QuestionKind.TEXT | QuestionKind.LONG_TEXT | QuestionKind.EMAIL | QuestionKind.PHONE:
            if not isinstance(answer, str) or len(answer) > 10_000:
                return "must be a text"
            return _text_fault(question.kind, answer)


def _text_fault(kind: QuestionKind, answer: str) -> str | None:
    if kind is QuestionKind.EMAIL and answer:
        return email_fault(answer)
    good = is_lines(answer) if kind is QuestionKind.LONG_TEXT else is_line(answer)
    return None if good else "must have no control characters"


def details_missing(
    rules: EventTypeRules, customer: Mapping[str, Any], answers: Mapping[str, Any]
) -> list[str]:
    """What must be known before anyone pays or confirms: name, e-mail and each required question."""
    missing = [f"customer.{field}" for field in ("name", "email") if not customer.get(field)]
    return missing + [
        f"answers.{question.key}"
        for question in rules.questions
        if question.required and answers.get(question.key) in (None, "", [])
    ]
