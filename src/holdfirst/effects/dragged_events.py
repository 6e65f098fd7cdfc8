# SPDX-License-Identifier: Apache-2.0
"""An event of ours that a host dragged into another calendar of the same account: there, and not where we wrote it."""

import asyncio
from collections.abc import Sequence

from msgspec.structs import replace

from holdfirst.calendar.provider import Place
from holdfirst.effects.calendar_desk import CalendarDesk
from holdfirst.effects.world import World
from holdfirst.store import calendars
from holdfirst.store.calendars import Calendar


async def found_elsewhere(
    world: World, desk: CalendarDesk, calendar: Calendar, uid: str
) -> Sequence[tuple[Place, str]]:
    """Where else in the account it stands, with its etag there; calendars that nobody asks or writes to included. Raises
    `ProviderUnavailable` and `CalendarDenied`.
    """
    others = [
        replace(desk.place, ref=one.ref, time_zone=one.time_zone)
        for one in await world.database.run(calendars.calendars_of, calendar.connection_id)
        if one.writable and one.id != calendar.id
    ]
    etags = await asyncio.gather(*[desk.provider.find(place, uid) for place in others])
    return [(place, etag) for place, etag in zip(others, etags, strict=True) if etag is not None]


async def take_back(world: World, desk: CalendarDesk, calendar: Calendar, uid: str) -> None:
    """What we write next stands where we write it, and nowhere else."""
    for place, etag in await found_elsewhere(world, desk, calendar, uid):
        await desk.provider.delete(place, uid, etag)
