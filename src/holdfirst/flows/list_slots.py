# SPDX-License-Identifier: Apache-2.0
"""What is free."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from holdfirst.availability.slots import Claim, HostTime, SlotList, SlotRules, find_slots, reach
from holdfirst.interval import from_ms, to_ms
from holdfirst.refusal import Code, Refusal, invalid
from holdfirst.reservation.event_type import EventTypeRules, Host, Offer
from holdfirst.store import catalog
from holdfirst.store.catalog import TakenTime, TimeMark
from holdfirst.store.database import Tx

MINUTE_MS = 60_000


class SlotQuery(msgspec.Struct, frozen=True, kw_only=True):
    """`start` ≤ slot start < `end`. `but_reservation`: the asker's own hold, shown to its holder as free."""

    start: datetime
    end: datetime
    seats: int = 1
    host_id: str | None = None
    but_reservation: str | None = None


class Offered(msgspec.Struct, frozen=True):
    """`told`: by time zone, how whoever answers with it has written it down."""

    offer: Offer
    slots: SlotList
    told: dict[str, tuple[bytes, str]] = {}


async def list_slots(tx: Tx, account_id: str, name: str, query: SlotQuery) -> Offered | Refusal:
    """The slots of an event type (id or slug) that could be reserved now."""
    offer = await offer_of(tx, account_id, name, query)
    return offer if isinstance(offer, Refusal) else Offered(offer, await slots_of(tx, offer, query))


async def offer_of(tx: Tx, account_id: str, name: str, query: SlotQuery) -> Offer | Refusal:
    """The event type with its hosts, if slots of it can be asked for like this."""
    offer = await catalog.load_offer(tx, account_id, name)
    if offer is None:
        return Refusal(Code.EVENT_TYPE_NOT_FOUND, "There is no such event type.")
    if not offer.event_type.rules.active:
        return Refusal(Code.EVENT_TYPE_INACTIVE, "This event type takes no reservations now.")
    if query.host_id is not None and query.host_id not in [host.id for host in offer.hosts]:
        return invalid("host", "is not a host of this event type")
    return offer


async def slots_of(tx: Tx, offer: Offer, query: SlotQuery) -> SlotList:
    """The slots of an event type that is already at hand."""
    rules, hosts, near, far = _looked_at(offer, query)
    taken = await catalog.taken_time(tx, [host.id for host in hosts], near, far, query.but_reservation)
    times = [host_time(host, offer.event_type.id, taken[host.id]) for host in hosts]
    start, end = to_ms(query.start), to_ms(query.end)
    return find_slots(
        rules, times, offer.event_type.rules.assignment, start, end, to_ms(offer.now), query.seats
    )


async def mark_of(tx: Tx, offer: Offer, query: SlotQuery) -> tuple[TimeMark, datetime]:
    """The mark of what `slots_of` would be made from now, and the clock."""
    _, hosts, near, far = _looked_at(offer, query)
    account_id = offer.event_type.account_id
    return await catalog.time_mark(tx, account_id, [host.id for host in hosts], near, far)


def _looked_at(offer: Offer, query: SlotQuery) -> tuple[SlotRules, list[Host], datetime, datetime]:
    """Whose time between which instants decides about these slots."""
    rules = slot_rules(offer.event_type.rules)
    near, far = reach(rules, to_ms(query.start), to_ms(query.end))
    hosts = [host for host in offer.hosts if query.host_id in (None, host.id)]
    return rules, hosts, from_ms(near), from_ms(far)


def slot_rules(rules: EventTypeRules) -> SlotRules:
    """An event type's rules as the slot engine wants them: milliseconds."""
    return SlotRules(
        duration=rules.duration_minutes * MINUTE_MS,
        step=(rules.step_minutes or rules.duration_minutes) * MINUTE_MS,
        buffer_before=rules.buffer_before_minutes * MINUTE_MS,
        buffer_after=rules.buffer_after_minutes * MINUTE_MS,
        notice=rules.notice_minutes * MINUTE_MS,
        horizon=rules.horizon_days * 1440 * MINUTE_MS,
        seats=rules.seats,
        per_day_max=rules.per_day_max,
        starts=None if rules.starts is None else tuple(sorted({to_ms(start) for start in rules.starts})),
        schedule=rules.schedule,
    )


def host_time(host: Host, event_type_id: str, taken: TakenTime | None) -> HostTime:
    claims: Sequence[Claim] = (
        [
            Claim(
                row["starts_at"],
                row["ends_at"],
                row["live_until"],
                row["start"] if row["event_type_id"] == event_type_id else None,
                int(row["seats"]),
            )
            for row in taken.claims
        ]
        if taken
        else ()
    )
    return HostTime(host.id, host.time_zone, host.schedule, taken.busy if taken else (), claims)
