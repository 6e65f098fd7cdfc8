# SPDX-License-Identifier: Apache-2.0
"""The sandbox's hosted page, as HTML: no script, no cookie, nothing from elsewhere."""

from datetime import datetime

from holdfirst.payment.sandbox import Checkout, State
from holdfirst.web.languages import ENGLISH
from holdfirst.web.page import HEADERS, template
from holdfirst.web.page import render as rendered

__all__ = ["HEADERS", "render"]

PAGE = template("sandbox.html")

_ENDED = {
    State.CLOSED: ("Closed", "This checkout was closed. It can no longer be paid."),
    State.AUTHORIZED: ("Approved", "The payment is approved. Nothing is charged until your time is certain."),
    State.CAPTURED: ("Paid", "The payment went through."),
    State.FAILED: ("Declined", "The payment was declined. Go back to try again."),
    State.ABANDONED: ("Left", "You left this checkout without paying."),
    State.VOIDED: ("Not charged", "The approval was given back. Nothing was charged."),
    State.REFUNDED: ("Refunded", "The payment was given back in full."),
}


def render(checkout: Checkout) -> str:
    """The page for a checkout as it was seen."""
    assert checkout.seen_at is not None
    title, sentence = _ENDED.get(checkout.state, ("Pay", ""))
    return rendered(
        PAGE,
        ENGLISH,
        title=title,
        sentence=sentence,
        is_open=checkout.state is State.OPEN,
        under_way=_to_come(checkout),
        overdue=checkout.seen_at >= checkout.pay_before,
        checkout=checkout,
        in_words=_in_words,
    )


def _to_come(checkout: Checkout) -> datetime | None:
    """When a late payment will go through, if one will."""
    dead = checkout.state in (State.OPEN, State.CLOSED, State.FAILED, State.ABANDONED)
    return checkout.completes_at if dead else None


def _in_words(moment: datetime) -> str:
    """Absolute, to the second: this page does not know the reader's time zone."""
    return f"{moment.day} {moment:%B %Y, %H:%M:%S} UTC"
