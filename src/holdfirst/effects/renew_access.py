# SPDX-License-Identifier: Apache-2.0
"""Renew what lets us into a calendar account before it runs out: no customer waits for that, and no grant dies of disuse."""

import asyncio
from datetime import datetime, timedelta

from holdfirst.calendar.provider import RenewingProvider
from holdfirst.effects.calendar_desk import access_of
from holdfirst.effects.hold_calendars import CALL_SECONDS_MAX
from holdfirst.effects.world import World
from holdfirst.errors import CalendarDenied, ProviderUnavailable
from holdfirst.flows import calendar_connections, calendar_health

UNUSED_EVERY = timedelta(days=1)
"""Where no calendar is in use. Companies end a grant that nobody uses after 90 days or six months."""


async def renew(world: World, connection_id: str) -> datetime | None:
    """The job, one for each connection: answers when to do it again. None: there is nothing to renew, or no connection."""
    asked = await world.database.run(calendar_connections.to_renew, connection_id)
    if asked is None:
        return None
    company: object = world.calendars.get(asked.connection.provider)
    if not isinstance(company, RenewingProvider):
        return None
    try:
        async with asyncio.timeout(CALL_SECONDS_MAX):
            lasts = await company.renew_access(access_of(world, asked.connection))
    except TimeoutError as error:
        raise ProviderUnavailable("no answer in time") from error
    except CalendarDenied as error:
        await world.database.run(calendar_health.denied, connection_id, str(error))
        return asked.now + UNUSED_EVERY
    return asked.now + (lasts / 2 if asked.in_use else UNUSED_EVERY)
