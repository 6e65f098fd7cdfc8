# SPDX-License-Identifier: Apache-2.0
"""Release, where an open sale has to be closed first: within the call if the provider is quick enough."""

import asyncio

from holdfirst.effects.advance import close
from holdfirst.effects.world import World
from holdfirst.errors import ProviderUnavailable
from holdfirst.flows.release import Closing, release
from holdfirst.refusal import Code, Refusal
from holdfirst.reservation.reservation import EndedBy, Reservation, Status
from holdfirst.store import reservations
from holdfirst.store.database import Tx

WAIT_SECONDS = 5
_running: set[asyncio.Task[None]] = set()


async def release_with_provider(
    world: World, reservation_id: str, *, by: EndedBy, force: bool
) -> Reservation | Refusal:
    """Released; or `already_paid` and confirmed; or still processing, where the provider does not answer."""
    done = await world.database.run(release, reservation_id, by=by, force=force, limits=world.limits)
    if not isinstance(done, Closing):
        return done
    # Not cancelled when the wait is over: a commit may be under way. The job goes on after us in any case.
    closing = asyncio.create_task(_close(world, done.payment_id))
    _running.add(closing)
    closing.add_done_callback(_running.discard)
    await asyncio.wait([closing], timeout=WAIT_SECONDS)
    after = await world.database.run(_load, reservation_id)
    if after.status is Status.CONFIRMED:
        return Refusal(Code.ALREADY_PAID, "It was paid just before; the reservation is confirmed.")
    if after.status is Status.PROCESSING and force:
        return await _end(world, reservation_id, by)
    return after


async def _end(world: World, reservation_id: str, by: EndedBy) -> Reservation | Refusal:
    """Whether or not the provider has answered: what is paid all the same is given back."""
    ended = await world.database.run(release, reservation_id, by=by, force=True, limits=world.limits)
    assert not isinstance(ended, Closing)
    return ended


async def _close(world: World, payment_id: str) -> None:
    try:
        await close(world, payment_id)
    except ProviderUnavailable:
        return


async def _load(tx: Tx, reservation_id: str) -> Reservation:
    reservation = await reservations.load(tx, reservation_id)
    assert reservation is not None
    return reservation
