# SPDX-License-Identifier: Apache-2.0
"""Move a reservation, where the calendars of whoever would serve the new time are asked before it goes there."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from msgspec.structs import replace

from holdfirst.effects.hold_calendars import calendars_of_move
from holdfirst.effects.world import World
from holdfirst.flows.reschedule import HostsUnasked, RescheduleRequest
from holdfirst.refusal import Refusal

T = TypeVar("T")


async def moving(
    world: World, request: RescheduleRequest, attempt: Callable[[RescheduleRequest], Awaitable[T]]
) -> T | Refusal:
    """`attempt`: the flow in its transaction. Again with each answer, until it needs no other."""
    while True:
        try:
            return await attempt(request)
        except HostsUnasked as unasked:
            free = await calendars_of_move(world, request, unasked.hosts)
            if isinstance(free, Refusal):
                return free
            request = replace(request, heard={**request.heard, unasked.hosts: free})
