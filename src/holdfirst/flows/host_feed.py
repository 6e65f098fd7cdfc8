# SPDX-License-Identifier: Apache-2.0
"""A host's confirmed reservations as a calendar to subscribe to: for calendars that nobody can write into."""

from collections.abc import Callable
from datetime import datetime, timedelta

from holdfirst.calendar.calendar_event import CalendarEvent, EventState
from holdfirst.calendar.icalendar import to_feed
from holdfirst.calendar.wanted import wanted_event
from holdfirst.store import calendars, catalog, reservations
from holdfirst.store.database import Tx

BACK = timedelta(days=30)


async def host_feed(tx: Tx, host_id: str, opens: Callable[[int], bool]) -> bytes | None:
    """The same bytes while nothing changes. `opens`: whether the address that was asked is the one of this number. None: there
    is no such host, or they have another address by now.
    """
    found = await calendars.feed_of(tx, host_id)
    if found is None or not opens(found[1]):
        return None
    events: list[tuple[CalendarEvent, datetime]] = []
    rules = {}
    for one in await reservations.confirmed_of_host(tx, host_id, BACK):
        if one.event_type_id not in rules:
            event_type = await catalog.event_type_by_id(tx, one.event_type_id)
            assert event_type is not None
            rules[one.event_type_id] = event_type.rules
        event = wanted_event(one, rules[one.event_type_id], f"{one.id}@holdfirst", EventState.CONFIRMED)
        assert one.confirmed_at is not None
        events.append((event, one.confirmed_at))
    return to_feed(found[0], events)
