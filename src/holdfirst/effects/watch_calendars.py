# SPDX-License-Identifier: Apache-2.0
"""Have companies call us when a calendar changes: the new watch before the old one ends, and none that nobody needs."""

import contextlib
from collections.abc import Mapping
from datetime import datetime

from holdfirst.calendar.provider import CannotWatch, PushProvider, WantedWatch, Watch
from holdfirst.effects.calendar_desk import calling
from holdfirst.effects.hold_calendars import CALL_SECONDS_MAX
from holdfirst.effects.world import World
from holdfirst.errors import CalendarDenied
from holdfirst.flows import calendar_health, calendar_watches
from holdfirst.flows.calendar_watches import LASTS, WatchPlan
from holdfirst.store.calendar_watches import KnownWatch


def addresses(world: World) -> Mapping[str, str]:
    """Of each company that can call us, with what the address that it calls begins. None without https."""
    if not world.public_url.startswith("https://"):
        return {}
    return {name: f"{world.public_url}/v1/calendar-notifications/{name}/" for name in world.pushes}


async def watch(world: World, calendar_id: str) -> datetime | None:
    """The job: answers when to look again."""
    plan = await world.database.run(calendar_watches.plan, calendar_id, addresses(world))
    if plan.due:
        try:
            await _go_on(world, plan, world.pushes[plan.connection.provider])
        except CalendarDenied:
            return plan.now + calendar_health.BROKEN_AGAIN
        plan = await world.database.run(calendar_watches.plan, calendar_id, addresses(world))
    for one in plan.over:
        await _end(world, plan, one)
    return plan.again_at


async def _go_on(world: World, plan: WatchPlan, company: PushProvider) -> None:
    """For longer where the company has such a thing, else another one."""
    async with calling(world, plan.calendar, plan.connection, CALL_SECONDS_MAX) as desk:
        if plan.current is not None and plan.current.ref:
            longer = await company.renew(desk.place, _theirs(plan.current), plan.now + LASTS)
            if longer is not None:
                await world.database.run(calendar_watches.granted, plan.current.id, longer)
                return
        begins = addresses(world)[plan.connection.provider]
        asked = await world.database.run(calendar_watches.begin, plan.calendar, begins)
        wanted = WantedWatch(
            id=asked.id,
            address=asked.address,
            secret=world.key_ring.watch_secret(asked.id),
            until=asked.expires_at,
        )
        try:
            grant = await company.watch(desk.place, wanted)
        except CannotWatch as refusal:
            await world.database.run(calendar_watches.refused, asked.id, str(refusal))
        else:
            await world.database.run(calendar_watches.granted, asked.id, grant)


async def _end(world: World, plan: WatchPlan, one: KnownWatch) -> None:
    """Where we are not let in any more, or do not know what it is called, it runs out by itself."""
    company = world.pushes.get(plan.connection.provider)
    if company is not None and one.ref:
        with contextlib.suppress(CalendarDenied, CannotWatch):
            async with calling(world, plan.calendar, plan.connection, CALL_SECONDS_MAX) as desk:
                await company.unwatch(desk.place, _theirs(one))
    await world.database.run(calendar_watches.ended, one.id)


def _theirs(one: KnownWatch) -> Watch:
    return Watch(ref=one.ref, resource=one.resource, until=one.expires_at)
