# SPDX-License-Identifier: Apache-2.0
"""Move a reservation to another slot: the new time taken and the old given up in one step."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from holdfirst.availability.slots import day_is_full, hosts_offering, reach
from holdfirst.flows.list_slots import host_time, slot_rules
from holdfirst.flows.locked import lock_reservation_with_hosts
from holdfirst.flows.outcome import became_another_time
from holdfirst.flows.pay import write_down_expiry
from holdfirst.flows.reserve import slot_taken
from holdfirst.interval import from_ms, to_ms
from holdfirst.refusal import Code, Refusal
from holdfirst.reservation import lifecycle
from holdfirst.reservation.calendar_gate import unasked
from holdfirst.reservation.event_type import CalendarCheck, EventTypeRules, Offer
from holdfirst.reservation.reservation import EndedBy, Reservation, Status, lapses_at, status_at
from holdfirst.store import catalog, payments, reservations
from holdfirst.store.database import Tx


class RescheduleRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`heard`: whether the calendars of these hosts are free then, as far as they were asked."""

    reservation_id: str
    start: datetime
    by: EndedBy
    heard: Mapping[tuple[str, ...], bool] = {}


class HostsUnasked(Exception):
    """The time could be taken, and nobody has asked the calendars of these hosts: nothing is done. Ask, and come again."""

    def __init__(self, hosts: tuple[str, ...]) -> None:
        super().__init__(hosts)
        self.hosts = hosts


async def reschedule(tx: Tx, request: RescheduleRequest) -> Reservation | Refusal:
    guess = await reservations.load(tx, request.reservation_id)
    assert guess is not None
    offer = await catalog.load_offer(tx, guess.account_id, guess.event_type_id)
    candidates = [host.id for host in offer.hosts] if offer else []
    reservation = await lock_reservation_with_hosts(tx, request.reservation_id, tuple(candidates))
    attempts = await payments.lock_all(tx, reservation.id)
    now = await tx.now()

    status = status_at(reservation, now)
    if status not in (Status.HELD, Status.CONFIRMED):
        await write_down_expiry(tx, reservation, attempts, now)
        return lifecycle.refusal_of(status)
    if status is Status.HELD and any(one.can_bring_money for one in attempts):
        return Refusal(Code.CHECKOUT_OPEN, "A payment is under way; finish it or let it go first.")
    if offer is None or not offer.event_type.rules.active:
        return Refusal(Code.EVENT_TYPE_INACTIVE, "This event type takes no reservations now.")
    rules = offer.event_type.rules
    if (
        status is Status.CONFIRMED
        and request.by is EndedBy.CUSTOMER
        and not _within_policy(reservation, rules, now)
    ):
        return Refusal(Code.TOO_LATE_TO_RESCHEDULE, "This reservation can no longer be moved here.")
    choices = await _choices(tx, reservation, offer, request.start, now)
    if not choices:
        return Refusal(Code.SLOT_NOT_OFFERED, "This time is not offered.")

    for hosts in [one for one in choices if request.heard.get(one, True)]:
        moved = lifecycle.moved(reservation, request.start, hosts)
        if await reservations.take_time(
            tx, moved, hosts, seats_max=rules.seats, live_until=lapses_at(reservation)
        ):
            connected = any(host.connected for host in offer.hosts if host.id in hosts)
            if connected and must_be_asked(request, rules, hosts):
                raise HostsUnasked(hosts)
            # After this point it must succeed.
            if reservation.in_calendars or connected:
                moved = unasked(moved, rules.calendar_check, now)
            await reservations.save(tx, moved)
            await became_another_time(tx, reservation, moved, now)
            return moved
    return slot_taken()


def must_be_asked(request: RescheduleRequest, rules: EventTypeRules, hosts: tuple[str, ...]) -> bool:
    """Before the time is theirs."""
    return rules.calendar_check is not CalendarCheck.LOCAL and hosts not in request.heard


def _within_policy(reservation: Reservation, rules: EventTypeRules, now: datetime) -> bool:
    policy = rules.reschedule
    if policy is None or reservation.sequence >= policy.times_max:
        return False
    return now < reservation.start - timedelta(minutes=policy.until_minutes_before)


async def _choices(
    tx: Tx, reservation: Reservation, offer: Offer, start: datetime, now: datetime
) -> list[tuple[str, ...]]:
    """Who could serve the new time: the same hosts first, then (one of several) another one."""
    rules = offer.event_type.rules
    offering = hosts_offering(
        slot_rules(rules),
        [host_time(host, offer.event_type.id, None) for host in offer.hosts],
        rules.assignment,
        to_ms(start),
        to_ms(now),
    )
    full = await _full_days(tx, reservation, offer, start, now)
    offering = tuple(host for host in offering if host not in full)
    if rules.assignment == "all_of":
        return [offering] if offering and not full else []
    same: list[tuple[str, ...]] = [(host,) for host in reservation.hosts if host in offering]
    # Who is paid was frozen with the price, so another host serves only where nothing is to be paid to the first.
    others: list[tuple[str, ...]] = (
        [(host,) for host in offering if host not in reservation.hosts] if not reservation.priced else []
    )
    return same + others


async def _full_days(
    tx: Tx, reservation: Reservation, offer: Offer, start: datetime, now: datetime
) -> set[str]:
    """The hosts (locked) whose local day has as many starts as it may have, this reservation's own not counted."""
    rules = slot_rules(offer.event_type.rules)
    if rules.per_day_max is None:
        return set()
    near, far = reach(rules, to_ms(start), to_ms(start) + 1)
    hosts = [host.id for host in offer.hosts]
    taken = await catalog.taken_time(tx, hosts, from_ms(near), from_ms(far), reservation.id)
    times = [host_time(host, offer.event_type.id, taken[host.id]) for host in offer.hosts]
    return {host.host_id for host in times if day_is_full(rules, host, to_ms(start), to_ms(now))}
