# SPDX-License-Identifier: Apache-2.0
"""A refusal on the wire: RFC 9457 problem details. The one table from code to HTTP status and title."""

from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from holdfirst.refusal import Code, Refusal
from holdfirst.web.instants import z

MEDIA_TYPE = "application/problem+json"


class Meaning(NamedTuple):
    status: int
    title: str


MEANINGS: dict[Code, Meaning] = {
    Code.UNAUTHENTICATED: Meaning(401, "No valid key"),
    Code.FORBIDDEN_FOR_KEY: Meaning(403, "This key may not do that"),
    Code.SECRET_IN_URL: Meaning(400, "A secret in a URL"),
    Code.BODY_TOO_LARGE: Meaning(413, "The body is too large"),
    Code.UNSUPPORTED_MEDIA_TYPE: Meaning(415, "The body must be JSON"),
    Code.MALFORMED_JSON: Meaning(400, "The body is not JSON"),
    Code.MALFORMED_REQUEST: Meaning(400, "The request cannot be read"),
    Code.INVALID_REQUEST: Meaning(422, "The request is not valid"),
    Code.METHOD_NOT_ALLOWED: Meaning(405, "Not with this method"),
    Code.IDEMPOTENCY_KEY_REUSED: Meaning(422, "This Idempotency-Key was used for another request"),
    Code.IDEMPOTENCY_IN_PROGRESS: Meaning(
        409, "The first request with this Idempotency-Key is still running"
    ),
    Code.NOT_FOUND: Meaning(404, "Nothing is here"),
    Code.EVENT_TYPE_NOT_FOUND: Meaning(404, "No such event type"),
    Code.HOST_NOT_FOUND: Meaning(404, "No such host"),
    Code.RESERVATION_NOT_FOUND: Meaning(404, "No such reservation"),
    Code.PAYMENT_NOT_FOUND: Meaning(404, "No such payment"),
    Code.PAYMENT_ACCOUNT_NOT_FOUND: Meaning(404, "No such payment account"),
    Code.CALENDAR_CONNECTION_NOT_FOUND: Meaning(404, "No such calendar connection"),
    Code.WEBHOOK_ENDPOINT_NOT_FOUND: Meaning(404, "No such webhook endpoint"),
    Code.DELIVERY_NOT_FOUND: Meaning(404, "No such delivery"),
    Code.SLUG_TAKEN: Meaning(409, "This slug is taken"),
    Code.STILL_IN_USE: Meaning(409, "Something still needs it"),
    Code.NO_PAYMENT_ACCOUNT: Meaning(422, "There is a price and nobody to be paid"),
    Code.PAYEE_AMBIGUOUS: Meaning(422, "Several could be paid"),
    Code.UNSAFE_CONFIRMATION: Meaning(422, "A browser may not confirm what has a price"),
    Code.EVENT_TYPE_INACTIVE: Meaning(409, "This event type takes no reservations now"),
    Code.SLOT_NOT_OFFERED: Meaning(422, "This time is not offered"),
    Code.SLOT_TAKEN: Meaning(409, "Somebody else has this time"),
    Code.TOO_MANY_HOLDS: Meaning(429, "Too many holds are open"),
    Code.DETAILS_MISSING: Meaning(422, "Details are missing"),
    Code.EXTENSION_REFUSED: Meaning(409, "This hold cannot be extended"),
    Code.HOLD_EXPIRED: Meaning(409, "This hold ran out"),
    Code.ALREADY_RELEASED: Meaning(409, "This hold was given up"),
    Code.ALREADY_CONFIRMED: Meaning(409, "This reservation is confirmed"),
    Code.ALREADY_CANCELLED: Meaning(409, "This reservation was cancelled"),
    Code.NOT_CONFIRMED: Meaning(409, "This reservation is not confirmed"),
    Code.CALENDAR_CONFLICT: Meaning(409, "A calendar says that this time is taken"),
    Code.TOO_LATE_TO_CANCEL: Meaning(409, "Too late to cancel"),
    Code.TOO_LATE_TO_RESCHEDULE: Meaning(409, "Too late to move it"),
    Code.PAYMENT_REQUIRED: Meaning(402, "It is not paid"),
    Code.PAYMENT_IN_PROGRESS: Meaning(409, "The payment provider's answer is on its way"),
    Code.NOTHING_TO_PAY: Meaning(409, "It costs nothing"),
    Code.TOO_LATE_TO_PAY: Meaning(409, "Too little time is left to pay"),
    Code.ALREADY_PAID: Meaning(409, "It turned out to be paid"),
    Code.CHECKOUT_OPEN: Meaning(409, "A checkout is open"),
    Code.CHECKOUT_REFUSED: Meaning(422, "The payment provider opened no checkout"),
    Code.RETURN_URL_NOT_ALLOWED: Meaning(422, "This return_url is not allowed"),
    Code.REFUND_EXCEEDS_PAYMENT: Meaning(422, "More than can be given back"),
    Code.REFUND_NOT_OURS: Meaning(422, "It was paid elsewhere"),
    Code.SANDBOX_ACTION_REFUSED: Meaning(409, "The sandbox refuses this action"),
    Code.BUSY: Meaning(503, "Too busy, try again"),
    Code.DATABASE_UNAVAILABLE: Meaning(503, "The database does not answer"),
    Code.PROVIDER_UNAVAILABLE: Meaning(503, "The payment provider does not answer"),
    Code.CALENDAR_UNREACHABLE: Meaning(503, "A calendar does not answer"),
}

RETRY_SECONDS = 2
"""What a 503 says where nobody said otherwise: it never comes without `Retry-After`."""


class Problem(Exception):  # a refusal, not an error
    """A refusal on its way out of the web layer; below it, refusals are values."""

    def __init__(self, refusal: Refusal, headers: dict[str, str] | None = None) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal
        self.headers = headers or {}


def refuse(code: Code, detail: str = "", *, retry_after: int | None = None, **members: Any) -> Problem:
    """A problem in one line, to be raised."""
    return Problem(Refusal(code, detail, members, retry_after))


def type_url(public_url: str, code: Code) -> str:
    return f"{public_url}/docs/refusals#{code}"


class _Written:
    """The refusal that was written last. All who lose one slot are told the same one: a thousand times the same work."""

    refusal: Refusal | None = None
    public_url = ""
    body = b""


def body_of(refusal: Refusal, public_url: str) -> bytes:
    if refusal is not _Written.refusal or public_url != _Written.public_url:
        _Written.body = _body_of(refusal, public_url)
        _Written.refusal, _Written.public_url = refusal, public_url
    return _Written.body


def _body_of(refusal: Refusal, public_url: str) -> bytes:
    meaning = MEANINGS[refusal.code]
    return msgspec.json.encode(
        {
            "type": type_url(public_url, refusal.code),
            "title": meaning.title,
            "status": meaning.status,
            "code": refusal.code,
            "detail": refusal.detail or f"{meaning.title}.",
            **{name: _plain(value) for name, value in refusal.members.items()},
        }
    )


def headers_of(refusal: Refusal) -> dict[str, str]:
    wait = refusal.retry_after
    if wait is None and MEANINGS[refusal.code].status == 503:
        wait = RETRY_SECONDS
    headers = {"cache-control": "no-store"}
    if wait is not None:
        headers["retry-after"] = str(wait)
    if refusal.code is Code.UNAUTHENTICATED:
        headers["www-authenticate"] = "Bearer"
    return headers


def listed(public_url: str) -> list[dict[str, Any]]:
    """The closed vocabulary, for `GET /v1/refusals` and the page of the docs."""
    return [
        {"code": code, "status": meaning.status, "title": meaning.title, "type": type_url(public_url, code)}
        for code, meaning in MEANINGS.items()
    ]


def _plain(value: Any) -> Any:
    match value:
        case datetime():
            return z(value)
        case dict():
            return {name: _plain(one) for name, one in value.items()}
        case list() | tuple():
            return [_plain(one) for one in value]
        case _:
            return value
