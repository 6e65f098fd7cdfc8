# SPDX-License-Identifier: Apache-2.0
"""Reserve: decide, then claim together with whoever else is claiming just now."""

from holdfirst.effects.world import World
from holdfirst.flows.keyed import Replay, RequestKey
from holdfirst.flows.reserve import ReserveRequest, held, not_held, want, what_is_left
from holdfirst.refusal import Refusal
from holdfirst.reservation.reservation import Reservation
from holdfirst.store import reservations
from holdfirst.store.jobs import CHANNEL


async def reserve(
    world: World, request: ReserveRequest, key: RequestKey | None = None
) -> Reservation | Replay | Refusal:
    """Held, or why not. One statement writes, the idempotency key included: there is nothing to take back."""
    wanted = await world.database.single(want, request, world.limits, key)
    if isinstance(wanted, Refusal):
        return wanted
    taken = await world.claims.reserve(wanted.item)
    if taken.outcome == "held":
        reservation = held(wanted, taken)
        world.database.on_announce({(CHANNEL, ""), *reservations.slot_announcements(reservation)})
        return reservation
    answer = not_held(taken)
    return await world.database.single(what_is_left, request, wanted.offer) if answer is None else answer
