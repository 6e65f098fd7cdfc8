# SPDX-License-Identifier: Apache-2.0
"""One client's part of a state: its rows, its checkouts at the provider, and the effects under way for it.

Fields that are only reported (when something was answered, confirmed, pinned, ended) are set to one value: two states
that differ in nothing else are one.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from holdfirst.payment.payment import Payment
from holdfirst.payment.provider import CheckoutSpec
from holdfirst.payment.sandbox import Checkout
from holdfirst.reservation.reservation import Ended, Reservation
from holdfirst.store.payments import Refund
from memory import Memory, MemoryTx
from memory.tables import Claim, JobRow
from races.exhaustive import scenario as scene

JOBS = ("deadline", "close", "capture", "void", "refund")
RESERVATION = -1
"""Where a wish or an effect names a payment by its number: it is about the reservation itself."""


class Attempt(NamedTuple):
    """A payment and what belongs to it. `checkout`: the provider's books; None: it was never asked for one, or
    `refused` to open it (the same key is refused again). `after_all`: paid when it was dead already.
    """

    payment: Payment
    spec: CheckoutSpec
    refunds: tuple[Refund, ...]
    checkout: Checkout | None
    refused: bool = False
    after_all: bool = False


class Wish(NamedTuple):
    """A job row. `again`: it was wished for once more since it was claimed."""

    kind: str
    attempt: int
    again: bool


class Flight(NamedTuple):
    """An effect under way: what it is, and the answers that it has had so far. Lost, if its process dies."""

    effect: str
    attempt: int
    answers: tuple[int, ...]


class Client(NamedTuple):
    slot: int
    reservation: Reservation | None = None
    claim: Claim | None = None
    attempts: tuple[Attempt, ...] = ()
    wishes: tuple[Wish, ...] = ()
    flights: tuple[Flight, ...] = ()


class View(NamedTuple):
    """What others see of a client: its reservation and its time."""

    reservation: Reservation
    claim: Claim


def view_of(client: Client) -> View | None:
    if client.reservation is None or client.claim is None:
        return None
    return View(client.reservation, client.claim)


def put_in(memory: Memory, client: Client) -> None:
    """The client whose turn it is, as number 0."""
    tables = memory.tables
    if client.reservation is None:
        return
    tables["reservation"][client.reservation.id] = client.reservation
    if client.claim is not None:
        tables["claim"][client.claim.reservation_id, client.claim.host_id] = client.claim
    for attempt in client.attempts:
        tables["payment"][attempt.payment.id] = attempt.payment
        tables["spec"][attempt.payment.id] = attempt.spec
        for refund in attempt.refunds:
            tables["refund"][refund.id] = refund
    for number, wish in enumerate(client.wishes):
        subject = subject_of(wish.attempt)
        key = f"{wish.kind}:{subject}"
        tables["job"][key] = JobRow(
            key=key,
            number=number - 1000,
            account_id=scene.ACCOUNT,
            kind=wish.kind,
            subject=subject,
            lane=None if wish.attempt == RESERVATION else subject,
            due_at=scene.BEGIN,
            pulls=int(wish.again),
        )


def subject_of(attempt: int) -> str:
    return "res_0" if attempt == RESERVATION else f"pay_{attempt}"


def put_in_other(memory: Memory, number: int, view: View) -> None:
    """Somebody else, as far as others see it."""
    name = f"res_{number}"
    memory.tables["reservation"][name] = replace(view.reservation, id=name)
    claim = replace(view.claim, reservation_id=name)
    if view.claim.sitting == view.claim.reservation_id:
        claim = replace(claim, sitting=name)
    memory.tables["claim"][name, claim.host_id] = claim


def take_out(memory: Memory, before: Client, known: dict[str, Attempt]) -> Client:
    """The client as the transaction left it."""
    tables = memory.tables
    reservation = tables["reservation"].get("res_0")
    if reservation is None:
        return before
    attempts = []
    for payment in sorted(tables["payment"].values(), key=lambda one: one.id):
        refunds = sorted(
            (one for one in tables["refund"].values() if one.payment_id == payment.id), key=lambda one: one.id
        )
        attempts.append(
            Attempt(
                plain_payment(payment),
                tables["spec"][payment.id],
                tuple(replace(one, created_at=scene.BEGIN) for one in refunds),
                *(known[payment.id][3:] if payment.id in known else (None,)),
            )
        )
    return before._replace(
        reservation=plain_reservation(reservation),
        claim=tables["claim"].get(("res_0", scene.HOST)),
        attempts=tuple(attempts),
        wishes=tuple(_wishes(tables["job"].values(), [one.payment.id for one in attempts])),
    )


def plain_reservation(row: Reservation) -> Reservation:
    ended = row.ended and Ended(row.ended.by, scene.BEGIN, row.ended.code)
    return replace(
        row,
        ended=ended,
        confirmed_at=row.confirmed_at and scene.BEGIN,
        # The alarm after ten minutes is for people; it decides nothing.
        pinned_at=None,
    )


def plain_payment(row: Payment) -> Payment:
    return replace(
        row,
        asked_at=None,
        answered_at=None,
        created_at=scene.BEGIN,
        closed_at=row.closed_at and scene.BEGIN,
        needs_human_since=row.needs_human_since and scene.BEGIN,
    )


def _wishes(rows: Iterable[JobRow], payment_ids: list[str]) -> Iterable[Wish]:
    """What must be done. A payment can be looked at in every state, wished for or not; mails are counted as they are
    wished for. Only the order within a lane matters.
    """
    for row in sorted(rows, key=lambda one: (one.lane or "", one.number)):
        if row.kind in JOBS:
            attempt = payment_ids.index(row.subject) if row.lane else RESERVATION
            yield Wish(row.kind, attempt, row.pulls > 0)


def mails_in(tx: MemoryTx) -> list[str]:
    """Which mails this transaction wished for."""
    return [
        row.subject.split("/")[1]
        for row in tx.writes.get("job", {}).values()
        if row is not None and row.kind == "send_mail"
    ]


def key_of(anything: Any) -> bytes:
    """Equal exactly if they are the same."""
    return type(anything).__name__.encode() + b":" + msgspec.msgpack.encode(anything)
