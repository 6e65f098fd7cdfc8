# SPDX-License-Identifier: Apache-2.0
"""`GET …/slots/stream`: Server-Sent Events that say on which days to ask again. A hint, never the truth."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from litestar import Response
from litestar.response import Stream

from holdfirst.availability.windows import is_zone
from holdfirst.refusal import Code
from holdfirst.reservation.event_type import Offer
from holdfirst.store import catalog
from holdfirst.store.doorbell import EVERYTHING
from holdfirst.web.context import WebContext
from holdfirst.web.operation import READERS, Call, Operation
from holdfirst.web.problems import refuse
from holdfirst.web.requests import StreamAsked, raise_faults

RETRY_MS = 2000
_numbers = itertools.count(time.time_ns())
Days = set[str] | None
"""Local dates; None: all."""


async def stream_slots(call: Call) -> Response[Any]:
    asked = call.asked(StreamAsked)
    if asked.time_zone is not None and not is_zone(asked.time_zone):
        raise_faults([("time_zone", "is not a zone of the IANA database")])
    offer = await call.world.database.single(catalog.load_offer, call.who.account_id, call.path["event_type"])
    if offer is None:
        raise refuse(Code.EVENT_TYPE_NOT_FOUND, "There is no such event type.")
    zone = ZoneInfo(asked.time_zone or offer.time_zone)
    again = "last-event-id" in call.incoming.headers
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    hints = Hints(call.context, offer, zone, again=again)
    return Stream(hints.lines(), media_type="text/event-stream", headers=headers)


class Hints:
    """One open stream."""

    def __init__(self, context: WebContext, offer: Offer, zone: ZoneInfo, *, again: bool) -> None:
        self._context = context
        self._event_type = offer.event_type
        self._hosts = {host.id for host in offer.hosts}
        self._zone = zone
        self._again = again

    async def lines(self) -> AsyncIterator[bytes]:
        """Until the client goes or the server closes. Listening starts before the first line is sent."""
        closing = asyncio.create_task(self._context.closing.wait())
        async with self._context.doorbell.slot_changes() as queue:
            try:
                yield f"retry: {RETRY_MS}\n\n".encode()
                if self._again:
                    # Whoever comes back may have missed something meanwhile.
                    yield _event(None)
                while not closing.done():
                    heard = asyncio.create_task(queue.get())
                    try:
                        await asyncio.wait(
                            {heard, closing},
                            timeout=self._context.heartbeat_seconds,
                            return_when=asyncio.FIRST_COMPLETED,
                        )
                        payloads = [heard.result()] if heard.done() else []
                    finally:
                        heard.cancel()
                    while payloads and not queue.empty():
                        payloads.append(queue.get_nowait())
                    if not payloads and not closing.done():
                        yield b": still here\n\n"
                        continue
                    days = await self._days_of(payloads)
                    if days is None or days:
                        yield _event(days)
            finally:
                closing.cancel()

    async def _days_of(self, payloads: list[str]) -> Days:
        """What of it concerns this event type's hosts, as local dates."""
        days: set[str] = set()
        for payload in payloads:
            host, _, day = payload.partition(" ")
            if payload == EVERYTHING or (host in self._hosts and day == EVERYTHING):
                await self._look_again()
                return None
            if host in self._hosts:
                days |= self._local_dates(day)
        return days

    async def _look_again(self) -> None:
        """The event type itself may have changed, and its hosts with it."""
        offer = await self._context.world.database.single(
            catalog.load_offer, self._event_type.account_id, self._event_type.id
        )
        if offer is not None:
            self._hosts = {host.id for host in offer.hosts}

    def _local_dates(self, utc_day: str) -> set[str]:
        """A UTC day reaches into at most three local ones."""
        start = datetime.combine(date.fromisoformat(utc_day), datetime.min.time(), UTC)
        moments = (start, start + timedelta(hours=12), start + timedelta(days=1, milliseconds=-1))
        return {moment.astimezone(self._zone).date().isoformat() for moment in moments}


def _event(days: Days) -> bytes:
    """`days` null: ask for all."""
    told = msgspec.json.encode({"days": None if days is None else sorted(days)}).decode()
    return f"id: {next(_numbers)}\nevent: changed\ndata: {told}\n\n".encode()


OPERATIONS: list[Operation] = [
    Operation(
        method="GET",
        path="/v1/event-types/{event_type:str}/slots/stream",
        summary="Hints to ask for slots again, as Server-Sent Events",
        who=READERS,
        endpoint=stream_slots,
        query=StreamAsked,
        missing=Code.EVENT_TYPE_NOT_FOUND,
        refusals=(Code.EVENT_TYPE_NOT_FOUND,),
    ),
]
