# SPDX-License-Identifier: Apache-2.0
"""Reserve: decide, then claim together with whoever else is claiming just now."""

import msgspec

from holdfirst.effects.world import World
from holdfirst.flows.keyed import Replay, RequestKey
from holdfirst.flows.reserve import ReserveRequest, held, not_held, want, what_is_left
from holdfirst.refusal import Refusal
from holdfirst.reservation.event_type import EventType
from holdfirst.reservation.reservation import Reservation
from holdfirst.store import reservations
from holdfirst.store.jobs import CHANNEL, LOOK_SECONDS_MAX


class Made(msgspec.Struct, frozen=True):
    """A hold, and the event type it is of (as it was read to decide)."""

    reservation: Reservation
    event_type: EventType


async def reserve(
    world: World, request: ReserveRequest, key: RequestKey | None = None
) -> Made | Replay | Refusal:
    """Held, or why not. One statement writes, the idempotency key included: there is nothing to take back."""
    wanted = await world.database.single(want, request, world.limits, key)
    if isinstance(wanted, Refusal):
        return wanted
    taken = await world.claims.reserve(wanted.item)
    if taken.outcome == "held":
        reservation = held(wanted, taken)
        rings = reservations.slot_announcements(reservation)
        if reservation.hold_seconds <= LOOK_SECONDS_MAX:
            # A worker looks by itself before any longer hold is over.
            rings.add((CHANNEL, ""))
        world.database.on_announce(rings)
        return Made(reservation, wanted.offer.event_type)
    answer = not_held(taken)
    return await world.database.single(what_is_left, request, wanted.offer) if answer is None else answer
