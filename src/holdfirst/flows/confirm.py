# SPDX-License-Identifier: Apache-2.0
"""Make a hold firm, on the word of who may say so."""

import enum
from datetime import datetime

import msgspec

from holdfirst.flows.locked import lock_reservation_with_hosts
from holdfirst.flows.outcome import became_firm
from holdfirst.flows.pay import missing_details, retake, write_down_expiry
from holdfirst.flows.reserve import slot_taken
from holdfirst.flows.with_calendars import AskCalendars, calendars_word
from holdfirst.payment.payment import Payment
from holdfirst.refusal import Code, Refusal
from holdfirst.reservation import lifecycle
from holdfirst.reservation.event_type import ConfirmBy, EventType, details_missing
from holdfirst.reservation.reservation import Reservation, Status, status_at
from holdfirst.store import catalog, payments, reservations
from holdfirst.store.database import Tx


class Asks(enum.StrEnum):
    """Who asks: an integrator's back end, or the customer's browser."""

    SECRET_KEY = "secret_key"
    CLIENT_SECRET = "client_secret"


class ConfirmRequest(msgspec.Struct, frozen=True, kw_only=True):
    reservation_id: str
    asks: Asks
    if_still_free: bool = False
    payment_reference: str | None = None


class CloseFirst(msgspec.Struct, frozen=True):
    """An open checkout must be closed (or shown to be paid) before this can be decided."""

    payment_ids: list[str]


async def confirm(tx: Tx, request: ConfirmRequest) -> Reservation | CloseFirst | AskCalendars | Refusal:
    """Confirmed, or why not. A priced one is confirmed here only by a secret key that says how it was paid;
    by payment it is confirmed where the payment is advanced, and this answers how that stands.
    """
    reservation = await lock_reservation_with_hosts(tx, request.reservation_id)
    attempts = await payments.lock_all(tx, reservation.id)
    event_type = await catalog.event_type_by_id(tx, reservation.event_type_id)
    assert event_type is not None
    now = await tx.now()

    status = status_at(reservation, now)
    if status is Status.CONFIRMED:
        await reservations.touch(tx, reservation.id)
        return reservation
    reservation = await write_down_expiry(tx, reservation, attempts, now)
    again = status is Status.EXPIRED and request.if_still_free
    if status is not Status.HELD and not again:
        return lifecycle.refusal_for(reservation, now)
    if again and not lifecycle.retakeable(reservation, now):
        return lifecycle.refusal_of(status)
    if (unasked := _calendars(reservation, request, event_type, now)) is not None:
        return unasked
    if again and not await retake(tx, reservation, event_type):
        return slot_taken()
    obstacle = _obstacle(reservation, request, event_type, attempts)
    if obstacle is not None:
        if again:
            # Nothing was promised: the time that was tried on is given up again.
            await reservations.save(tx, reservation)
        return obstacle

    # After this point it must succeed.
    firm = lifecycle.firm(reservation, now, paid_by=None, payment_reference=request.payment_reference)
    await reservations.save(tx, firm)
    await became_firm(tx, firm, attempts, now)
    return firm


def _calendars(
    reservation: Reservation, request: ConfirmRequest, event_type: EventType, now: datetime
) -> AskCalendars | Refusal | None:
    """Nobody's calendar is asked for a confirm that is refused all the same."""
    if _unpaid(reservation, request, event_type) is not None:
        return None
    return calendars_word(reservation, event_type.rules, now)


def _obstacle(
    reservation: Reservation, request: ConfirmRequest, event_type: EventType, attempts: list[Payment]
) -> Refusal | CloseFirst | None:
    if (refusal := _unpaid(reservation, request, event_type)) is not None:
        return refusal
    if missing := details_missing(event_type.rules, reservation.customer, reservation.answers):
        return missing_details(missing)
    closable = [one.id for one in attempts if one.can_bring_money and one.mode.can_be_closed]
    return CloseFirst(closable) if closable else None


def _unpaid(reservation: Reservation, request: ConfirmRequest, event_type: EventType) -> Refusal | None:
    """Why who asks may not confirm this, if so: a browser asserts nothing."""
    if request.asks is Asks.SECRET_KEY:
        if reservation.priced and request.payment_reference is None:
            return _payment_required("Nothing is captured; say payment_reference if it was paid elsewhere.")
        return None
    if reservation.priced:
        return _payment_required("Nothing is paid yet.")
    if event_type.rules.confirmed_by is ConfirmBy.SECRET_KEY:
        return _payment_required("This reservation is confirmed by the organiser's own system.")
    return None


def _payment_required(detail: str) -> Refusal:
    return Refusal(Code.PAYMENT_REQUIRED, detail)
