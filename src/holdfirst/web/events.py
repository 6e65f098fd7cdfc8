# SPDX-License-Identifier: Apache-2.0
"""`/v1/events`: what happened in the last 30 days, oldest first, each event as it is sent to webhooks."""

import msgspec

from holdfirst.flows import events
from holdfirst.web import paging
from holdfirst.web.answers import EventAnswer, Page
from holdfirst.web.event_bodies import EventBodies
from holdfirst.web.operation import SECRET, Answer, Call, Operation
from holdfirst.web.requests import Limit


class EventsAsked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`after`: the id of the last event that was seen."""

    limit: Limit = 20
    after: str | None = None


async def list_events(call: Call) -> Answer:
    asked = call.asked(EventsAsked)
    found = await call.run(
        events.page, call.who.account_id, asked.after, asked.limit, EventBodies(call.world)
    )
    more = found[-1].id if len(found) == asked.limit else None
    return Answer(paging.content([msgspec.Raw(one.body) for one in found], more))


OPERATIONS: list[Operation] = [
    Operation(
        method="GET",
        path="/v1/events",
        summary="What happened, oldest first",
        who=SECRET,
        endpoint=list_events,
        query=EventsAsked,
        answer=Page[EventAnswer],
    ),
]
