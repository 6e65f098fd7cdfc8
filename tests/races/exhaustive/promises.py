# SPDX-License-Identifier: Apache-2.0
"""P1 to P5, said of rows and of the provider's books, without asking the code that is under test.

`of_all`     everybody's time at one moment
`of_move`    one client before and after a move
`at_rest`    one client for whom nothing is left to be done
"""

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from holdfirst.payment.payment import Disposition, Mode
from holdfirst.payment.provider import Phase
from holdfirst.payment.sandbox import Checkout, State
from holdfirst.providers.sandbox import checkout as books
from holdfirst.reservation.reservation import AtDeadline, Cause, EndedBy, Reservation, Status
from races.exhaustive.client import Attempt, Client
from races.exhaustive.moves import Happened
from races.exhaustive.scenario import PROCESSING_TICKS, TICK

OVER = (Status.RELEASED, Status.EXPIRED, Status.CANCELLED)
DIES_WITH_AUTHORITY = (Mode.AUTHORIZE, Mode.SALE)


def live(row: Reservation, now: datetime) -> bool:
    """Held before its deadline; held past it with a checkout to be closed first; processing; confirmed."""
    match row.status, row.cause:
        case Status.CONFIRMED, _:
            return True
        case Status.PROCESSING, Cause.CAPTURE:
            return True
        case Status.PROCESSING, _:
            return row.processing_until is not None and now < row.processing_until
        case Status.HELD, _:
            closing = row.at_deadline is AtDeadline.CLOSE and row.processing_until is not None
            return now < row.held_until or (closing and now < row.processing_until)
        case _:
            return False


class Taken(NamedTuple):
    """Time that somebody has."""

    start: datetime
    end: datetime
    event_type: str
    seats: int


def taken_by(client: Client, now: datetime) -> Taken | None:
    row = client.reservation
    if row is None or not live(row, now):
        return None
    return Taken(row.start, row.end, row.event_type_id, row.seats)


def of_all(taken: list[Taken], seats: int) -> str | None:
    """P1: no two overlap, but for those who share a sitting; and of a sitting no more seats are taken than there are."""
    for number, one in enumerate(taken):
        sitting = one.seats
        for two in taken[number + 1 :]:
            if (one.event_type, one.start) == (two.event_type, two.start):
                sitting += two.seats
            elif one.start < two.end and two.start < one.end:
                return "P1: two live reservations overlap"
        if sitting > seats:
            return "P1: more seats are taken than there are"
    return None


def of_move(before: Client, done: Happened, now: datetime) -> Iterator[str]:
    if done.problem is not None:
        yield f"a bug showed itself: {done.problem}"
        return
    after = done.after
    if after.reservation is not None:
        yield from _of_row(before.reservation, after.reservation, done, now)
        yield from _of_word(after)
    for number, attempt in enumerate(after.attempts):
        was = before.attempts[number] if number < len(before.attempts) else None
        yield from _of_attempt(after, was, attempt, now)


def _of_row(before: Reservation | None, after: Reservation, done: Happened, now: datetime) -> Iterator[str]:
    if before is None:
        if not live(after, now):
            yield "P4: a hold is over when it begins"
        return
    was, is_ = before.status, after.status
    if was in (Status.RELEASED, Status.CANCELLED) and is_ is not was:
        yield f"{was} is final, and it became {is_}"
    if was is Status.CONFIRMED and is_ not in (Status.CONFIRMED, Status.CANCELLED):
        yield f"P5: a confirmed reservation became {is_}"
    ended_by_clock = is_ is Status.EXPIRED and after.ended is not None and after.ended.by is EndedBy.CLOCK
    if was is Status.HELD and ended_by_clock and now < before.held_until:
        yield "P4: a hold ended before its deadline"
    if before.paid_by is not None and after.paid_by not in (before.paid_by, None):
        yield "P5: paid_by was assigned twice"
    if was is Status.CONFIRMED and after.paid_by != before.paid_by:
        yield "P2: a confirmed reservation lost its payment"
    if "confirmed" in done.mails and was in (Status.CONFIRMED, Status.CANCELLED):
        yield "P5: confirmed, and told so, twice"
    if "confirmed" not in done.mails and is_ is Status.CONFIRMED and was is not Status.CONFIRMED:
        yield "P6: confirmed, and nobody is told"


def of_end(before: Reservation, after: Reservation, now: datetime) -> Iterator[str]:
    """Somebody else's claim wrote this one's end down."""
    if live(before, now):
        yield f"P1, P4: a live reservation ({before.status}) was ended by somebody else's claim"
    if after.status is not (Status.RELEASED if before.status is Status.PROCESSING else Status.EXPIRED):
        yield f"a claim made it {after.status}"


def _of_word(after: Client) -> Iterator[str]:
    """P3: confirmed by the provider's word or by a secret key's."""
    row = after.reservation
    assert row is not None
    if row.status is not Status.CONFIRMED or row.payment_reference is not None:
        return
    paying = next((one for one in after.attempts if one.payment.id == row.paid_by), None)
    if paying is None or paying.checkout is None:
        yield "P3: confirmed, and nothing paid for it"
    elif paying.checkout.captured_minor != paying.payment.amount.amount_minor:
        yield "P3: confirmed, and the provider has not captured its price"


def _of_attempt(client: Client, was: Attempt | None, attempt: Attempt, now: datetime) -> Iterator[str]:
    payment, checkout = attempt.payment, attempt.checkout
    if was is not None:
        first, then = was.payment.disposition, payment.disposition
        if first in (Disposition.VOID, Disposition.REFUND) and then is not first:
            yield f"P2: money was to {first}, and then to {then}"
        if payment.captured_minor < was.payment.captured_minor:
            yield "P2: captured money was forgotten"
    if checkout is None:
        return
    believed = was is not None and was.payment.can_bring_money and not payment.can_bring_money
    paid_in_time = checkout.state is State.CAPTURED and not attempt.after_all
    if believed and paid_in_time and payment.captured_minor == 0:
        yield "P2: paid in time, and taken for dead"
    if checkout.refunded_minor > checkout.captured_minor:
        yield "P2: more was given back than was taken"
    if payment.captured_minor > checkout.captured_minor:
        yield "P3: our books have more than the provider's"
    sent = sum(one.amount_minor for one in attempt.refunds)
    if checkout.refunded_minor > sent:
        yield "P2: given back what nobody owed"
    took = (
        was is not None and was.checkout is not None and checkout.captured_minor > was.checkout.captured_minor
    )
    if took and was is not None and was.checkout is not None:
        yield from _of_charge(client, was.checkout, payment.id, now)


def _of_charge(client: Client, before: Checkout, payment_id: str, now: datetime) -> Iterator[str]:
    """P2: a customer is never charged without a slot, where the mode can promise it."""
    row = client.reservation
    assert row is not None
    owned = row.paid_by == payment_id and row.status in (Status.PROCESSING, Status.CONFIRMED)
    forced = row.ended is not None and row.ended.by is EndedBy.ACCOUNT
    if before.mode is Mode.AUTHORIZE and not owned and not forced:
        yield f"P2: captured while the reservation is {row.status} and not pinned by it"
    if before.mode is Mode.SALE and before.state is State.OPEN and not forced and not live(row, now):
        until = row.processing_until or row.held_until + PROCESSING_TICKS * TICK
        lapsed = now >= until
        given_up = row.status is Status.RELEASED and row.ended is not None and row.ended.by is EndedBy.CLOCK
        if not lapsed and not given_up:
            yield f"P2: paid at an open checkout, and the time is not kept any more ({row.status})"


def resting(client: Client, now: datetime) -> bool:
    """Nothing under way, nothing wished for, every provider heard, every deadline written down."""
    row = client.reservation
    if row is None or client.flights:
        return False
    if any(wish.kind != "deadline" or now >= row.held_until for wish in client.wishes):
        return False
    if row.status in (Status.HELD, Status.PROCESSING) and not (now < row.held_until and live(row, now)):
        return False
    return all(_heard(one) for one in client.attempts)


def _heard(attempt: Attempt) -> bool:
    if attempt.checkout is None:
        return attempt.payment.provider_ref is not None or attempt.payment.status == "failed"
    _, truth = books.fetch(attempt.checkout)
    payment = attempt.payment
    said = {
        Phase.OPEN: ("open",),
        Phase.AUTHORIZED: ("authorized",),
        Phase.CAPTURED: ("captured", "refunded"),
    }
    told = said.get(truth.phase)
    return (
        payment.provider_ref is not None
        and payment.captured_minor == truth.captured_minor
        and payment.authorized_minor == truth.authorized_minor
        and payment.refunded_minor == sum(one.amount_minor for one in truth.refunds)
        and (told is None or payment.status in told)
        and (told is not None or payment.status not in ("open", "processing"))
    )


def at_rest(client: Client) -> Iterator[str]:
    row = client.reservation
    assert row is not None
    if row.status is Status.PROCESSING:
        yield "it is processing, and nobody is working on it"
    for attempt in client.attempts:
        payment, checkout = attempt.payment, attempt.checkout
        if checkout is None:
            continue
        kept = checkout.captured_minor - checkout.refunded_minor
        owns = row.paid_by == payment.id and row.status in (Status.CONFIRMED, Status.CANCELLED)
        if payment.refund_due_minor:
            yield "P2: money is owed, and nobody is giving it back"
        if kept != payment.kept_minor:
            yield "P2: captured is not kept + refunded + refund due"
        if kept and not owns:
            yield "P2: money is kept, and no reservation owns it"
        if kept and row.status is Status.CANCELLED and (row.cancel_arguments or {}).get("refund") == "full":
            yield "P2: cancelled with a full refund, and money is kept"
        if checkout.state is State.AUTHORIZED:
            yield "P2: an authorisation hangs: neither captured nor given back"
        closable = checkout.mode in DIES_WITH_AUTHORITY
        done = row.status in (*OVER, Status.CONFIRMED)
        if checkout.state is State.OPEN and closable and done:
            yield f"P2: it is {row.status}, and its checkout can still be paid"
