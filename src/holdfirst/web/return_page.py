# SPDX-License-Identifier: Apache-2.0
"""`GET /r/{reservation}`: where a customer lands after a checkout. It asks us how things stand, never the URL.

Anybody may load it, often: it shows no name and no secret, and each load wishes at most for a question that is asked
at most once a second.
"""

import enum
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

import msgspec
from litestar import Response

from holdfirst.flows.hear import ask_soon
from holdfirst.payment.payment import ASK_AT_MOST_EVERY, Late, Payment
from holdfirst.refusal import Code
from holdfirst.reservation.reservation import Reservation, Status, status_at
from holdfirst.store import payments
from holdfirst.store.database import Tx
from holdfirst.web.instants import Instant, z
from holdfirst.web.languages import words_for
from holdfirst.web.operation import PUBLIC, Answer, Call, Operation
from holdfirst.web.page import HEADERS, WAITING, render, template
from holdfirst.web.reservation_view import Seen, no_such_reservation, paying, see

POPUP = "holdfirst"
PAGE = template("return.html")


class Outcome(enum.StrEnum):
    """How it stands for whoever comes back from a checkout, money included: one word for one sentence."""

    CONFIRMED = "confirmed"
    CONFIRMING = "confirming"
    ASKING = "asking"
    NOT_PAID = "not_paid"
    CANCELLED = "cancelled"
    NOT_BOOKED = "not_booked"


class MoneySays(enum.StrEnum):
    """What became of the money where there is no booking."""

    NONE = "none"
    NOT_CHARGED = "not_charged"
    RELEASED = "released"
    REFUNDING = "refunding"
    REFUNDED = "refunded"
    WATCHED = "watched"


class Standing(msgspec.Struct):
    """Nothing personal: anybody who knows the id may ask."""

    reservation: str
    status: Status
    outcome: Outcome
    money: MoneySays
    waiting: bool
    start: Instant
    end: Instant
    server_time: Instant


async def return_page(call: Call) -> Response[str]:
    """Our own pages tell the rest themselves, so to them it goes on at once; to others when there is a booking."""
    seen = await _asked_again(call)
    payment = paying(seen.reservation, seen.attempts)
    standing = _standing(seen, payment)
    onward = _onward(payment, seen.reservation)
    ours = onward is not None and onward.startswith(f"{call.world.public_url}/b/")
    in_popup = onward is not None and _is_popup(onward)
    if onward is not None and not in_popup and (ours or standing.outcome is Outcome.CONFIRMED):
        return Response("", status_code=303, headers={**HEADERS, "location": onward})
    words = words_for(call.scope, seen.reservation.customer.get("locale"))
    title, below = _sentences(standing)
    page = render(
        PAGE,
        words,
        title=words.say(title),
        text=" ".join(words.say(key) for key in [*below, *(["close_window"] if in_popup else [])]),
        waiting=WAITING if standing.waiting else None,
        onward=onward,
        go_on=words.say("go_on"),
    )
    headers = {**HEADERS, "vary": "Accept-Language"}
    return Response(page, status_code=200, headers=headers, media_type="text/html")


def _is_popup(url: str) -> bool:
    """A window that a page of ours opened for the payment alone: that page goes on, and this window is done."""
    return "popup" in parse_qs(urlsplit(url).query).get(POPUP, [])


async def return_state(call: Call) -> Answer:
    """The same for a program: our own pages ask it while they say "confirming"."""
    seen = await _asked_again(call)
    return Answer(_standing(seen, paying(seen.reservation, seen.attempts)))


async def _asked_again(call: Call) -> Seen:
    seen: Seen | None = await call.world.database.snapshot(see, call.path["reservation"])
    if seen is None:
        raise no_such_reservation()
    payment = paying(seen.reservation, seen.attempts)
    if payment is not None and payment.can_bring_money and payment.provider_ref is not None:
        await call.world.database.run(_ask, payment.id)
    return seen


def _standing(seen: Seen, payment: Payment | None) -> Standing:
    status = status_at(seen.reservation, seen.now)
    paying_now = payment is not None and payment.can_bring_money
    return Standing(
        reservation=seen.reservation.id,
        status=status,
        outcome=_outcome(status, paying_now=paying_now),
        money=_money(payment),
        waiting=paying_now and status in (Status.HELD, Status.PROCESSING),
        start=z(seen.reservation.start),
        end=z(seen.reservation.end),
        server_time=z(seen.now),
    )


def _outcome(status: Status, *, paying_now: bool) -> Outcome:
    match status:
        case Status.CONFIRMED:
            return Outcome.CONFIRMED
        case Status.PROCESSING:
            return Outcome.CONFIRMING
        case Status.HELD:
            return Outcome.ASKING if paying_now else Outcome.NOT_PAID
        case Status.CANCELLED:
            return Outcome.CANCELLED
        case Status.EXPIRED | Status.RELEASED:
            return Outcome.NOT_BOOKED


def _money(payment: Payment | None) -> MoneySays:
    """Honest about money that came too late."""
    if payment is None:
        return MoneySays.NONE
    if 0 < payment.refunded_minor + payment.refund_due_minor < payment.captured_minor:
        # A part comes back: how much is for the customer alone, by the mail and on the page behind its link.
        return MoneySays.NONE
    if payment.refunded_minor:
        return MoneySays.REFUNDED
    if payment.refund_due_minor or payment.late is Late.REFUNDED:
        return MoneySays.REFUNDING
    if payment.late is Late.VOIDED or (payment.authorized_minor and not payment.captured_minor):
        return MoneySays.RELEASED
    if payment.can_bring_money:
        return MoneySays.WATCHED
    return MoneySays.NOT_CHARGED if not payment.captured_minor else MoneySays.NONE


async def _ask(tx: Tx, payment_id: str) -> None:
    """At most once a second, however often the page is loaded: `asked_at` is shared with confirm."""
    if await payments.ask_now(tx, payment_id, ASK_AT_MOST_EVERY):
        await ask_soon(tx, payment_id)


def _onward(payment: Payment | None, reservation: Reservation) -> str | None:
    """The integrator's page, with the reservation's id and no status: one in a URL would be believed."""
    if payment is None:
        return None
    parts = urlsplit(payment.return_url)
    query = "&".join(part for part in (parts.query, urlencode({"reservation": reservation.id})) if part)
    return urlunsplit(parts._replace(query=query))


def _sentences(standing: Standing) -> tuple[str, list[str]]:
    """What is said of it: a title, and what stands below; the same keys as in the booking page."""
    money = [] if standing.money is MoneySays.NONE else [f"money_{standing.money}"]
    match standing.outcome:
        case Outcome.CONFIRMED:
            return "confirmed", []
        case Outcome.CONFIRMING | Outcome.ASKING:
            return "confirming", ["confirming_text"]
        case Outcome.NOT_PAID:
            return "not_paid", ["not_paid_text"]
        case Outcome.CANCELLED:
            return "cancelled", money
        case Outcome.NOT_BOOKED if standing.status is Status.RELEASED:
            return "released", money
        case Outcome.NOT_BOOKED:
            return "expired", ["expired_text", *money]


_return: Any = partial(
    Operation,
    method="GET",
    who=PUBLIC,
    any_query=True,
    missing=Code.RESERVATION_NOT_FOUND,
    refusals=(Code.RESERVATION_NOT_FOUND, Code.BUSY, Code.DATABASE_UNAVAILABLE),
)

OPERATIONS: list[Operation] = [
    _return(
        path="/r/{reservation:str}",
        summary="Where a customer lands after a checkout",
        endpoint=return_page,
        goes_on=True,
        for_people=True,
    ),
    _return(
        path="/r/{reservation:str}/state",
        summary="How it stands after a checkout, for whoever knows the id",
        endpoint=return_state,
        answer=Standing,
    ),
]
