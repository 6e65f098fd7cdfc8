# SPDX-License-Identifier: Apache-2.0
"""What follows where a host moved or deleted an event of ours in the calendar itself."""

from holdfirst.effects.reschedule import moving
from holdfirst.effects.world import World
from holdfirst.errors import ProviderUnavailable
from holdfirst.flows import host_changes
from holdfirst.flows.reschedule import RescheduleRequest
from holdfirst.interval import from_ms
from holdfirst.refusal import Refusal
from holdfirst.reservation.reservation import EndedBy


async def follow_event(world: World, subject: str) -> None:
    """`subject`: reservation / calendar / the start, in milliseconds, at which its event stands now. What else the host has
    then, in any of their calendars, is asked first, as wherever a reservation moves.
    """
    reservation_id, calendar_id, start = subject.split("/")

    async def attempt(asked: RescheduleRequest) -> bool:
        return await world.database.run(host_changes.follow, asked, calendar_id)

    request = RescheduleRequest(reservation_id=reservation_id, start=from_ms(int(start)), by=EndedBy.CALENDAR)
    if isinstance(await moving(world, request, attempt), Refusal):
        raise ProviderUnavailable("a calendar does not answer")


async def cancel_deleted(world: World, reservation_id: str) -> None:
    await world.database.run(host_changes.cancel_deleted, reservation_id)
