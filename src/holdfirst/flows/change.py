# SPDX-License-Identifier: Apache-2.0
"""Change a hold while it lasts: its details, or how long it lasts."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from holdfirst.flows.outcome import write_into_calendars
from holdfirst.flows.pay import write_down_expiry
from holdfirst.refusal import Code, Refusal, invalid
from holdfirst.reservation import lifecycle
from holdfirst.reservation.event_type import EventTypeRules, answer_problems
from holdfirst.reservation.reservation import Reservation, Status, status_at
from holdfirst.reservation.text import size_fault
from holdfirst.settings import Limits
from holdfirst.store import catalog, payments, reservations
from holdfirst.store.database import Tx

MERGED_BYTES_MAX = 65_536


class Details(msgspec.Struct, frozen=True, kw_only=True):
    """What is given replaces what was there, member by member of `customer`, `answers` and `metadata`;
    None in one of them takes it away. None as a whole: not given.
    """

    customer: Mapping[str, Any] | None = None
    guests: Sequence[str] | None = None
    answers: Mapping[str, Any] | None = None
    metadata: Mapping[str, Any] | None = None
    holder_email: bytes | None = None


async def set_details(
    tx: Tx, reservation_id: str, details: Details, *, by_secret_key: bool, limits: Limits
) -> Reservation | Refusal:
    reservation = await reservations.lock(tx, reservation_id)
    assert reservation is not None
    event_type = await catalog.event_type_by_id(tx, reservation.event_type_id)
    assert event_type is not None
    now = await tx.now()

    match status_at(reservation, now):
        case Status.HELD:
            pass
        case Status.CONFIRMED if by_secret_key:
            pass
        case Status.CONFIRMED:
            return Refusal(Code.FORBIDDEN_FOR_KEY, "Only a secret key changes a confirmed reservation.")
        case status:
            await write_down_expiry(tx, reservation, await payments.lock_all(tx, reservation_id), now)
            return lifecycle.refusal_of(status)
    if (refusal := _refused_by_rules(details, event_type.rules)) is not None:
        return refusal
    if details.holder_email is not None and limits.holds_per_email_max:
        others = await reservations.holds_of_email(
            tx, reservation.account_id, details.holder_email, reservation_id
        )
        if others >= limits.holds_per_email_max and await reservations.is_counted(tx, reservation_id):
            return Refusal(Code.TOO_MANY_HOLDS, "Too many holds are open under this e-mail.", retry_after=30)

    changed = replace(
        reservation,
        customer=_merged(reservation.customer, details.customer),
        guests=reservation.guests if details.guests is None else tuple(details.guests),
        answers=_merged(reservation.answers, details.answers),
        metadata=_merged(reservation.metadata, details.metadata),
    )
    if (refusal := _too_large(changed)) is not None:
        return refusal
    if details.holder_email is not None:
        await reservations.set_holder_email(tx, reservation_id, details.holder_email)
    await reservations.save(tx, changed)
    if changed.status is Status.CONFIRMED:
        await write_into_calendars(tx, changed, now)
    return changed


def _refused_by_rules(details: Details, rules: EventTypeRules) -> Refusal | None:
    if details.guests is not None and len(details.guests) > rules.guests_max:
        return invalid("guests", f"can be at most {rules.guests_max}")
    given = {key: answer for key, answer in (details.answers or {}).items() if answer is not None}
    for field, message in answer_problems(rules.questions, given):
        return invalid(field, message)
    return None


def _too_large(changed: Reservation) -> Refusal | None:
    for field in ("customer", "answers", "metadata"):
        # Each part given was small; many of them, merged, must be so too.
        if (fault := size_fault(getattr(changed, field), MERGED_BYTES_MAX)) is not None:
            return invalid(field, fault)
    return None


def _merged(before: Mapping[str, Any], given: Mapping[str, Any] | None) -> dict[str, Any]:
    merged = {**before, **(given or {})}
    return {key: value for key, value in merged.items() if value is not None}


async def extend(tx: Tx, reservation_id: str, limits: Limits) -> Reservation | Refusal:
    reservation = await reservations.lock(tx, reservation_id)
    assert reservation is not None
    event_type = await catalog.event_type_by_id(tx, reservation.event_type_id)
    assert event_type is not None
    now = await tx.now()
    extended = lifecycle.extend(
        reservation,
        now,
        extensions_max=event_type.rules.extensions_max,
        total_max=limits.total_max,
        processing_max=limits.processing_max,
    )
    if isinstance(extended, Refusal):
        await write_down_expiry(tx, reservation, await payments.lock_all(tx, reservation_id), now)
        return extended
    await reservations.save(tx, extended)
    reservations.announce_slots(tx, extended)
    return extended


async def rotate_secret(tx: Tx, reservation_id: str) -> Reservation:
    """From now on the client secret is another one; those given before open nothing any more."""
    reservation = await reservations.lock(tx, reservation_id)
    assert reservation is not None
    rotated = replace(reservation, secret_version=reservation.secret_version + 1)
    await reservations.save(tx, rotated)
    return rotated
