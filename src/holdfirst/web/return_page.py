# SPDX-License-Identifier: Apache-2.0
"""`GET /r/{reservation}`: where a customer lands after a checkout. It asks us how things stand, never the URL.

Anybody may load it, often: it shows no name and no secret, and each load wishes at most for a question that is asked
at most once a second.
"""

from urllib.parse import urlencode, urlsplit, urlunsplit

from litestar import Response

from holdfirst.effects.advance import ASK_AT_MOST_EVERY
from holdfirst.flows.hear import ask_soon
from holdfirst.payment.payment import Late, Payment
from holdfirst.refusal import Code
from holdfirst.reservation.reservation import Reservation, Status, status_at
from holdfirst.store import payments
from holdfirst.store.database import Tx
from holdfirst.web.operation import PUBLIC, Call, Operation
from holdfirst.web.page import HEADERS, render, template
from holdfirst.web.reservation_view import no_such_reservation, paying, see

REFRESH_SECONDS = 2
PAGE = template("return.html")


async def return_page(call: Call) -> Response[str]:
    seen = await call.world.database.run(see, call.path["reservation"])
    if seen is None:
        raise no_such_reservation()
    payment = paying(seen.reservation, seen.attempts)
    if payment is not None and payment.can_bring_money and payment.provider_ref is not None:
        await call.world.database.run(_ask, payment.id)
    status = status_at(seen.reservation, seen.now)
    onward = _onward(payment, seen.reservation)
    if status is Status.CONFIRMED and onward is not None:
        return Response("", status_code=303, headers={**HEADERS, "location": onward})
    title, words = _words(status, payment)
    waiting = payment is not None and payment.can_bring_money and status in (Status.HELD, Status.PROCESSING)
    page = render(PAGE, title=title, words=words, refresh=REFRESH_SECONDS if waiting else None, onward=onward)
    return Response(page, status_code=200, headers=HEADERS, media_type="text/html")


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


def _words(status: Status, payment: Payment | None) -> tuple[str, str]:
    match status:
        case Status.CONFIRMED:
            return "Confirmed", "Your booking is confirmed."
        case Status.PROCESSING:
            return "Confirming …", "Your payment is being confirmed. This page goes on by itself."
        case Status.HELD if payment is not None and payment.can_bring_money:
            return "Confirming …", "We are asking your bank. Your time is held meanwhile."
        case Status.HELD:
            return (
                "Not paid",
                "The payment did not go through, and nothing was charged. Your time is still held.",
            )
        case Status.CANCELLED:
            return "Cancelled", "This booking was cancelled." + _money(payment)
        case Status.EXPIRED | Status.RELEASED:
            return "This time was not booked", "The time is no longer held for you." + _money(payment)


def _money(payment: Payment | None) -> str:
    """Honest about money that came too late."""
    if payment is None:
        return ""
    if payment.refunded_minor:
        return " What you paid has been sent back to you."
    if payment.refund_due_minor or payment.late is Late.REFUNDED:
        return " What you paid is being sent back to you in full."
    if payment.late is Late.VOIDED or (payment.authorized_minor and not payment.captured_minor):
        return " You have not been charged: the amount your bank set aside is released."
    if payment.can_bring_money:
        return " Should your payment still arrive, you get the time if it is free, and the money back if it is not."
    return " You have not been charged." if not payment.captured_minor else ""


OPERATIONS: list[Operation] = [
    Operation(
        method="GET",
        path="/r/{reservation:str}",
        summary="Where a customer lands after a checkout",
        who=PUBLIC,
        endpoint=return_page,
        any_query=True,
        missing=Code.RESERVATION_NOT_FOUND,
        goes_on=True,
        refusals=(Code.RESERVATION_NOT_FOUND, Code.BUSY, Code.DATABASE_UNAVAILABLE),
    ),
]
