# SPDX-License-Identifier: Apache-2.0
"""What follows where a host moved or deleted an event of ours in the calendar itself."""

from holdfirst.effects.world import World
from holdfirst.flows import host_changes
from holdfirst.interval import from_ms


async def follow_event(world: World, subject: str) -> None:
    """`subject`: reservation / calendar / the start, in milliseconds, at which its event stands now."""
    reservation_id, calendar_id, start = subject.split("/")
    await world.database.run(host_changes.follow, reservation_id, calendar_id, from_ms(int(start)))


async def cancel_deleted(world: World, reservation_id: str) -> None:
    await world.database.run(host_changes.cancel_deleted, reservation_id)
