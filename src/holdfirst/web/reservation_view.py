# SPDX-License-Identifier: Apache-2.0
"""A reservation as it is told: the row, what it is offered by, its payments, and the clock, all of one moment."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from msgspec import UNSET

from holdfirst.flows import expire
from holdfirst.flows.cancel import allowance
from holdfirst.payment.money import Money
from holdfirst.payment.payment import Payment
from holdfirst.refusal import Code
from holdfirst.reservation.event_type import EventType
from holdfirst.reservation.reservation import Reservation, Status, status_at
from holdfirst.store import calendar_events, catalog, payments, reservations
from holdfirst.store.database import Tx
from holdfirst.web.answers import (
    CalendarsAnswer,
    CancellationAnswer,
    EndedAnswer,
    Links,
    ReservationAnswer,
    payment_answer,
)
from holdfirst.web.asker import Kind
from holdfirst.web.instants import z, z_or_none
from holdfirst.web.operation import Call
from holdfirst.web.problems import refuse


class Seen(msgspec.Struct, frozen=True):
    """Everything that an answer about one reservation says."""

    reservation: Reservation
    event_type: EventType
    attempts: list[Payment]
    now: datetime
    changed_by_host: str | None = None


async def see(tx: Tx, reservation_id: str) -> Seen | None:
    """An end that is told is written down first."""
    found = await expire.read(tx, reservation_id)
    if found is None:
        return None
    reservation, now = found
    attempts = (await payments.of_reservations(tx, [reservation_id]))[reservation_id]
    event_type = await catalog.event_type_by_id(tx, reservation.event_type_id)
    assert event_type is not None
    changed = await calendar_events.changed_by_host(tx, reservation_id) if reservation.in_calendars else None
    return Seen(reservation, event_type, attempts, now, changed)


async def answer_about(call: Call, reservation_id: str, *, tell_secret: bool = False) -> ReservationAnswer:
    """The reservation as it is now, for whoever asks; 404 where it is not theirs."""
    seen = await call.world.database.snapshot(see, reservation_id)
    if seen is None or seen.reservation.account_id != call.who.account_id:
        raise no_such_reservation()
    return await answer_of(call, seen, tell_secret=tell_secret)


async def answer_of(call: Call, seen: Seen, *, tell_secret: bool = False) -> ReservationAnswer:
    """`tell_secret`: the client secret is in it, as it is once, where the reservation was made."""
    reservation = seen.reservation
    secret = call.who.secret
    if tell_secret:
        secret = call.world.key_ring.client_secret(reservation.id, reservation.secret_version)
    account = await call.context.doorkeeper.account(reservation.account_id)
    root = call.world.public_url
    links = Links(
        page=page_link(root, account.slug, seen.event_type.slug),
        manage=manage_link(root, reservation.id, secret),
    )
    answer = reservation_answer(seen, links, tell_reference=call.who.kind is Kind.SECRET)
    if tell_secret and secret is not None:
        answer.client_secret = secret
    return answer


def page_link(root: str, owner: str, event_type: str) -> str:
    return f"{root}/b/{owner}/{event_type}"


def manage_link(root: str, reservation_id: str, secret: str | None) -> str:
    """A secret stands in the fragment only: browsers send it to nobody."""
    manage = f"{root}/m/{reservation_id}"
    return manage if secret is None else f"{manage}#{secret}"


def reservation_answer(seen: Seen, links: Links, *, tell_reference: bool) -> ReservationAnswer:
    """`tell_reference`: how it was paid elsewhere is the account's own word, and told to the account alone."""
    reservation, rules, now = seen.reservation, seen.event_type.rules, seen.now
    status = status_at(reservation, now)
    payment = paying(reservation, seen.attempts)
    return ReservationAnswer(
        id=reservation.id,
        livemode=reservation.livemode,
        status=status,
        event_type=reservation.event_type_id,
        hosts=reservation.hosts,
        start=z(reservation.start),
        end=z(reservation.end),
        seats=reservation.seats,
        held_until=z(reservation.held_until),
        hold_seconds=reservation.hold_seconds,
        server_time=z(now),
        created_at=z(reservation.created_at),
        confirmed_at=z_or_none(reservation.confirmed_at),
        processing_until=z_or_none(reservation.processing_until if status is Status.PROCESSING else None),
        extensions_left=max(0, rules.extensions_max - reservation.extensions_used),
        price=reservation.price,
        payment=None if payment is None else payment_answer(payment),
        payment_open=any(one.can_bring_money for one in seen.attempts),
        customer=reservation.customer,
        guests=reservation.guests,
        answers=reservation.answers,
        metadata=reservation.metadata,
        sequence=reservation.sequence,
        ended=_ended(reservation),
        calendars=CalendarsAnswer(
            rules.calendar_check,
            reservation.calendar_verdict,
            z_or_none(reservation.verified_at),
            seen.changed_by_host,
        ),
        location=rules.location,
        cancellation=_cancellation(seen, payment),
        links=links,
        payment_reference=reservation.payment_reference if tell_reference else UNSET,
    )


def paying(reservation: Reservation, attempts: Sequence[Payment]) -> Payment | None:
    """The payment that paid, else the newest."""
    paid = next((one for one in attempts if one.id == reservation.paid_by), None)
    return paid or (attempts[-1] if attempts else None)


async def no_other_account(call: Call) -> str:
    """The id in the path, once it is known to be a reservation of this account."""
    reservation_id = call.path["reservation"]
    if call.who.reservation_id == reservation_id:
        return reservation_id
    owner = await call.world.database.single(reservations.owner, reservation_id)
    if owner != call.who.account_id:
        raise no_such_reservation()
    return reservation_id


def no_such_reservation() -> Exception:
    return refuse(Code.RESERVATION_NOT_FOUND, "There is no such reservation.")


def _ended(reservation: Reservation) -> EndedAnswer | None:
    ended = reservation.ended
    return None if ended is None else EndedAnswer(ended.by, z(ended.at), ended.code)


def _cancellation(seen: Seen, payment: Payment | None) -> CancellationAnswer:
    policy = allowance(seen.reservation, seen.event_type.rules, seen.now)
    refund = None
    if policy.allowed and payment is not None and payment.id == seen.reservation.paid_by:
        share = payment.captured_minor * policy.refund_percent // 100
        refund = Money(min(payment.kept_minor, share), payment.amount.currency)
    return CancellationAnswer(policy.allowed, refund, z_or_none(policy.until))
