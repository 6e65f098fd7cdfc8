# SPDX-License-Identifier: Apache-2.0
"""Hold a slot: load, decide, and let the claim in the database have the last word."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from holdfirst import ids
from holdfirst.availability.slots import hosts_offering
from holdfirst.availability.windows import local_day
from holdfirst.flows.keyed import Replay, RequestKey, key_refusal
from holdfirst.flows.list_slots import Offered, SlotQuery, host_time, slot_rules
from holdfirst.interval import from_ms, to_ms
from holdfirst.refusal import Code, Refusal
from holdfirst.reservation.calendar_gate import first_verdict
from holdfirst.reservation.event_type import CalendarCheck, EventTypeRules, Host, Offer, answer_problems
from holdfirst.reservation.reservation import Reservation, Status
from holdfirst.settings import Limits
from holdfirst.store.reservations import Taken

ATTEND_SECONDS = 6
"""After the longest that a request waits for calendars."""


class ReserveRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a client asked for. `holder_*`: keyed digests, set where a publishable key asks (its holds count)."""

    account_id: str
    event_type: str
    start: datetime
    seats: int = 1
    host_id: str | None = None
    customer: Mapping[str, Any] = {}
    guests: Sequence[str] = ()
    answers: Mapping[str, Any] = {}
    metadata: Mapping[str, Any] = {}
    hold_seconds: int | None = None
    outside_rules: bool = False
    by_publishable_key: bool = False
    holder_address: bytes | None = None
    holder_email: bytes | None = None


class Wanted(msgspec.Struct, frozen=True):
    """Decided, but for what only the claim can say: whether the time is free, whose it is, and until when."""

    reservation: Reservation
    item: dict[str, Any]
    offer: Offer


def want(
    offer: Offer | None, request: ReserveRequest, limits: Limits, key: RequestKey | None
) -> Wanted | Refusal:
    """Decide on what was read. The claim has the last word."""
    if offer is None:
        return Refusal(Code.EVENT_TYPE_NOT_FOUND, "There is no such event type.")
    rules = offer.event_type.rules
    if not rules.active:
        return Refusal(Code.EVENT_TYPE_INACTIVE, "This event type takes no reservations now.")
    if (refusal := _broken_rule(request, offer, limits)) is not None:
        return refusal
    hosts = _candidates(request, offer)
    if not hosts:
        return Refusal(
            Code.SLOT_NOT_OFFERED,
            "This time is not offered: off the grid, outside the hours, too soon or too late.",
        )
    hold_seconds = request.hold_seconds or min(
        max(rules.hold_seconds, limits.hold_seconds_min), limits.hold_seconds_max
    )
    wanted = _draft(request, offer, hold_seconds)
    item = _item(request, wanted, offer, hosts) | {
        "address_max": limits.holds_per_address_max,
        "email_max": limits.holds_per_email_max,
    }
    if key is not None:
        item |= {"scope": key.scope, "key": key.key, "fingerprint": key.fingerprint.hex()}
    return Wanted(wanted, item, offer)


def held(wanted: Wanted, taken: Taken) -> Reservation:
    """The reservation as the claim made it."""
    assert taken.hosts is not None and taken.created_at is not None and taken.held_until is not None
    return msgspec.structs.replace(
        wanted.reservation,
        hosts=tuple(taken.hosts),
        created_at=taken.created_at,
        held_until=taken.held_until,
        payment_account_id=wanted.item["payees"].get(taken.hosts[0]),
        **_calendars(wanted, taken.hosts),
    )


def _calendars(wanted: Wanted, hosts: Sequence[str]) -> dict[str, Any]:
    """As the claim wrote it: in calendars, if one of the hosts that it took has any."""
    if not set(wanted.item.get("connected", ())) & set(hosts):
        return {}
    return {"in_calendars": True, "calendar_verdict": wanted.item["verdict"]}


def not_held(taken: Taken) -> Replay | Refusal | None:
    """Why not; None: the time is taken, and what is left of the day is to be said."""
    match taken.outcome:
        case "taken":
            return None
        case "day_full":
            return Refusal(Code.SLOT_NOT_OFFERED, "This day is full.")
        case "too_many_holds":
            return Refusal(
                Code.TOO_MANY_HOLDS, "Too many holds are open; let one run out or release it.", retry_after=30
            )
        case "replay":
            return Replay(201, taken.result)
        case outcome:
            return key_refusal(outcome)


def _broken_rule(request: ReserveRequest, offer: Offer, limits: Limits) -> Refusal | None:
    """What the event type's own rules say about the request, field by field."""
    rules = offer.event_type.rules
    errors: list[tuple[str, str]] = []
    if request.seats > rules.seats:
        errors.append(("seats", f"at most {rules.seats} can be reserved"))
    if request.host_id is not None and request.host_id not in [host.id for host in offer.hosts]:
        errors.append(("host", "is not a host of this event type"))
    if request.host_id is not None and rules.assignment == "all_of":
        errors.append(("host", "cannot be chosen where all hosts take part"))
    if len(request.guests) > rules.guests_max:
        errors.append(("guests", f"at most {rules.guests_max} can be brought"))
    longest = limits.hold_seconds_max
    if request.by_publishable_key:
        longest = min(longest, max(rules.hold_seconds, limits.hold_seconds_min))
    if request.hold_seconds is not None and not limits.hold_seconds_min <= request.hold_seconds <= longest:
        errors.append(("hold_seconds", f"must lie between {limits.hold_seconds_min} and {longest}"))
    errors += answer_problems(rules.questions, request.answers)
    if not errors:
        return None
    field, message = errors[0]
    return Refusal(
        Code.INVALID_REQUEST,
        f"{field}: {message}.",
        {"errors": [{"field": field, "message": message} for field, message in errors]},
    )


def _candidates(request: ReserveRequest, offer: Offer) -> list[Host]:
    """The hosts that the rules offer at this start, whether or not their time is free."""
    rules = offer.event_type.rules
    asked = [host for host in offer.hosts if request.host_id in (None, host.id)]
    if request.outside_rules:
        return asked
    offering = hosts_offering(
        slot_rules(rules),
        [host_time(host, offer.event_type.id, None) for host in asked],
        rules.assignment,
        to_ms(request.start),
        to_ms(offer.now),
    )
    return [host for host in asked if host.id in offering]


def _draft(request: ReserveRequest, offer: Offer, hold_seconds: int) -> Reservation:
    """The reservation as it will be, but for what the claim decides: hosts and instants."""
    rules = offer.event_type.rules
    return Reservation(
        id=ids.make("res"),
        account_id=request.account_id,
        livemode=offer.livemode,
        event_type_id=offer.event_type.id,
        status=Status.HELD,
        start=request.start,
        end=request.start + rules.duration,
        buffer_before_minutes=rules.buffer_before_minutes,
        buffer_after_minutes=rules.buffer_after_minutes,
        hosts=(),
        seats=request.seats,
        held_until=offer.now,
        hold_seconds=hold_seconds,
        created_at=offer.now,
        price=rules.price.times(request.seats) if rules.price is not None else None,
        customer=request.customer,
        guests=tuple(request.guests),
        answers=request.answers,
        metadata=request.metadata,
    )


def _item(request: ReserveRequest, wanted: Reservation, offer: Offer, hosts: list[Host]) -> dict[str, Any]:
    """One item of the claim's call; what it means is told in store/functions.sql."""
    rules = offer.event_type.rules
    locks = []
    if request.holder_address is not None:
        locks.append(f"address:{request.account_id}:{request.holder_address.hex()}")
    if request.holder_email is not None:
        locks.append(f"email:{request.account_id}:{request.holder_email.hex()}")
    item: dict[str, Any] = {
        "locks": locks,
        "id": wanted.id,
        "account_id": wanted.account_id,
        "catalog": offer.catalog,
        "decided_at": offer.now,
        "livemode": wanted.livemode,
        "event_type_id": wanted.event_type_id,
        "hosts": [host.id for host in hosts],
        "all_hosts": rules.assignment == "all_of",
        "start": wanted.start,
        "end": wanted.end,
        "starts_at": wanted.start - rules.buffer_before,
        "ends_at": wanted.end + rules.buffer_after,
        "buffer_before_minutes": wanted.buffer_before_minutes,
        "buffer_after_minutes": wanted.buffer_after_minutes,
        "seats": wanted.seats,
        "seats_max": rules.seats,
        "hold_seconds": wanted.hold_seconds,
        "price_minor": wanted.price.amount_minor if wanted.price else None,
        "currency": wanted.price.currency if wanted.price else None,
        "payees": {},
        "customer": wanted.customer,
        "guests": wanted.guests,
        "answers": wanted.answers,
        "metadata": wanted.metadata,
        "holder_address": request.holder_address.hex() if request.holder_address else None,
        "holder_email": request.holder_email.hex() if request.holder_email else None,
    }
    item |= _for_calendars(rules, hosts)
    if rules.per_day_max is not None and not request.outside_rules:
        days = [local_day(host.time_zone, to_ms(wanted.start)) for host in hosts]
        item |= {
            "day_max": rules.per_day_max,
            "day_from": [from_ms(start) for start, _ in days],
            "day_to": [from_ms(end) for _, end in days],
        }
    return item


def _for_calendars(rules: EventTypeRules, hosts: list[Host]) -> dict[str, Any]:
    """Nothing, where no host has any."""
    connected = [host.id for host in hosts if host.connected]
    if not connected:
        return {}
    check = rules.calendar_check
    waits = check in (CalendarCheck.VERIFIED, CalendarCheck.STRICT)
    return {
        "connected": connected,
        "verdict": first_verdict(check),
        # Whoever waits for the verdict asks for it; the job is there in case they die.
        "attend_seconds": ATTEND_SECONDS if waits else 0,
        # Under `fast`, too, a calendar may say no before anybody is told.
        "answer_seconds": 0 if check is CalendarCheck.LOCAL else ATTEND_SECONDS,
    }


def that_day(request: ReserveRequest, offer: Offer) -> SlotQuery:
    """What is left of the day that was asked for, as the customer counts days."""
    zone = request.customer.get("time_zone") or offer.hosts[0].time_zone
    start, end = local_day(zone, to_ms(request.start))
    return SlotQuery(start=from_ms(start), end=from_ms(end), seats=request.seats, host_id=request.host_id)


def what_is_left(left: Offered | Refusal) -> Refusal:
    """Somebody else has it; with what is left of that day, so that the customer can choose again at once."""
    if isinstance(left, Refusal):
        return slot_taken()
    slots = [
        {"start": from_ms(slot.start), "end": from_ms(slot.end), "seats_left": slot.seats_left}
        for slot in left.slots.slots
    ]
    return slot_taken(slots)


def slot_taken(slots: Sequence[Mapping[str, Any]] = ()) -> Refusal:
    return Refusal(Code.SLOT_TAKEN, "Somebody else has this time.", {"slots": list(slots)})
