# SPDX-License-Identifier: Apache-2.0
"""Every "no" holdfirst can say: a closed vocabulary. A refusal is a value, never an exception.

`web/problems.py` gives each code its HTTP status and title, `docs/refusals.md` its page.
"""

import enum
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec


class Code(enum.StrEnum):
    """Stable codes. One may be added, none may change its meaning."""

    # who asks
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN_FOR_KEY = "forbidden_for_key"
    SECRET_IN_URL = "secret_in_url"
    # what is asked
    BODY_TOO_LARGE = "body_too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    MALFORMED_JSON = "malformed_json"
    MALFORMED_REQUEST = "malformed_request"
    INVALID_REQUEST = "invalid_request"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"
    IDEMPOTENCY_IN_PROGRESS = "idempotency_in_progress"
    # of what
    NOT_FOUND = "not_found"
    EVENT_TYPE_NOT_FOUND = "event_type_not_found"
    HOST_NOT_FOUND = "host_not_found"
    RESERVATION_NOT_FOUND = "reservation_not_found"
    PAYMENT_NOT_FOUND = "payment_not_found"
    PAYMENT_ACCOUNT_NOT_FOUND = "payment_account_not_found"
    CALENDAR_CONNECTION_NOT_FOUND = "calendar_connection_not_found"
    WEBHOOK_ENDPOINT_NOT_FOUND = "webhook_endpoint_not_found"
    DELIVERY_NOT_FOUND = "delivery_not_found"
    # setting up
    SLUG_TAKEN = "slug_taken"
    STILL_IN_USE = "still_in_use"
    NO_PAYMENT_ACCOUNT = "no_payment_account"
    PAYEE_AMBIGUOUS = "payee_ambiguous"
    UNSAFE_CONFIRMATION = "unsafe_confirmation"
    # taking time
    EVENT_TYPE_INACTIVE = "event_type_inactive"
    SLOT_NOT_OFFERED = "slot_not_offered"
    SLOT_TAKEN = "slot_taken"
    TOO_MANY_HOLDS = "too_many_holds"
    # the life of a reservation
    DETAILS_MISSING = "details_missing"
    EXTENSION_REFUSED = "extension_refused"
    HOLD_EXPIRED = "hold_expired"
    ALREADY_RELEASED = "already_released"
    ALREADY_CONFIRMED = "already_confirmed"
    ALREADY_CANCELLED = "already_cancelled"
    NOT_CONFIRMED = "not_confirmed"
    CALENDAR_CONFLICT = "calendar_conflict"
    TOO_LATE_TO_CANCEL = "too_late_to_cancel"
    TOO_LATE_TO_RESCHEDULE = "too_late_to_reschedule"
    # money
    PAYMENT_REQUIRED = "payment_required"
    PAYMENT_IN_PROGRESS = "payment_in_progress"
    NOTHING_TO_PAY = "nothing_to_pay"
    TOO_LATE_TO_PAY = "too_late_to_pay"
    ALREADY_PAID = "already_paid"
    CHECKOUT_OPEN = "checkout_open"
    CHECKOUT_REFUSED = "checkout_refused"
    RETURN_URL_NOT_ALLOWED = "return_url_not_allowed"
    REFUND_EXCEEDS_PAYMENT = "refund_exceeds_payment"
    REFUND_NOT_OURS = "refund_not_ours"
    SANDBOX_ACTION_REFUSED = "sandbox_action_refused"
    # the world
    BUSY = "busy"
    DATABASE_UNAVAILABLE = "database_unavailable"
    PROVIDER_UNAVAILABLE = "provider_unavailable"
    CALENDAR_UNREACHABLE = "calendar_unreachable"


class Refusal(msgspec.Struct, frozen=True):
    """A "no": its code, a sentence for people, and the members that the code needs.

    `retry_after` (seconds) is what the `Retry-After` header will say, where trying again can help.
    """

    code: Code
    detail: str = ""
    members: Mapping[str, Any] = {}
    retry_after: int | None = None


def invalid(field: str, message: str) -> Refusal:
    """One field that cannot be accepted, in the form that every `invalid_request` has."""
    return invalid_fields([(field, message)])


def invalid_fields(problems: Iterable[tuple[str, str]]) -> Refusal:
    """Fields that cannot be accepted, at least one, as (field, message)."""
    errors = [{"field": field, "message": message} for field, message in problems]
    first = f"{errors[0]['field']} {errors[0]['message']}.".lstrip()
    return Refusal(Code.INVALID_REQUEST, first, {"errors": errors})
