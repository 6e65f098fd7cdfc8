# SPDX-License-Identifier: Apache-2.0
"""`GET /v1/event-types/{id or slug}/slots`: what could be reserved now.

The bytes are written by hand: a slot list is the answer asked for most, and a general encoder would take longer than
the search.
"""

import hashlib
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from holdfirst.availability.slots import Slot
from holdfirst.availability.windows import is_zone, local_day
from holdfirst.flows.list_slots import Offered, SlotQuery
from holdfirst.interval import DAY_MS, from_ms
from holdfirst.refusal import Code
from holdfirst.reservation.reservation import Reservation, Status
from holdfirst.web.instants import Instant, z
from holdfirst.web.operation import READERS, Answer, Call, Operation, unless_refused
from holdfirst.web.requests import SlotsAsked, check_instants, raise_faults

RANGE_MAX = timedelta(days=100)
ZONES_TOLD_MAX = 4
VARY = "Authorization, X-Holdfirst-Hold"


class SlotTold(msgspec.Struct):
    start: Instant
    end: Instant
    seats_left: int


class SlotsAnswer(msgspec.Struct):
    """`days`: indexes into `slots` by local date in `time_zone`. Up to `next_change_at` time alone changes nothing."""

    event_type: str
    time_zone: str
    slots: list[SlotTold]
    days: dict[str, list[int]]
    next_change_at: Instant | None


async def get_slots(call: Call) -> Answer:
    asked = call.asked(SlotsAsked)
    _check(asked)
    hold = call.incoming.headers.get("x-holdfirst-hold")
    own = await call.context.doorkeeper.held_by(hold) if hold else None
    query = SlotQuery(
        start=asked.start,
        end=asked.end,
        seats=asked.seats,
        host_id=asked.host,
        but_reservation=own.id if own is not None and _is_hold(own, call) else None,
    )
    offered: Offered = unless_refused(
        await call.world.slot_lists.ask(call.who.account_id, call.path["event_type"], query)
    )
    zone = asked.time_zone or offered.offer.time_zone
    body, etag = _told(offered, zone)
    headers = {
        "etag": etag,
        "vary": VARY,
        "cache-control": "private, no-store" if hold else "private, no-cache",
    }
    if _known(call.incoming.headers.get("if-none-match"), headers["etag"]):
        return Answer(status=304, headers=headers)
    return Answer(body, headers=headers)


def _told(offered: Offered, zone: str) -> tuple[bytes, str]:
    """The body and its tag. The very same list is rendered once for each zone."""
    if zone not in offered.told:
        if len(offered.told) >= ZONES_TOLD_MAX:
            offered.told.clear()
        body = render(offered, zone)
        offered.told[zone] = body, f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'
    return offered.told[zone]


def _is_hold(own: Reservation, call: Call) -> bool:
    """Whoever shows something else, or a hold that has become more than that, sees what everybody sees."""
    return own.status is Status.HELD and own.account_id == call.who.account_id


def render(offered: Offered, zone: str) -> bytes:
    """In the shape of `SlotsAnswer`."""
    slots = offered.slots.slots
    written = ",".join([_slot(slot.start, slot.end, slot.seats_left) for slot in slots])
    days = ",".join(
        f'"{day}":[{",".join(map(str, indexes))}]' for day, indexes in _by_local_date(slots, zone)
    )
    due = offered.slots.next_change_at
    changes = "null" if due is None else f'"{z(from_ms(due))}"'
    return (
        f'{{"event_type":"{offered.offer.event_type.id}","time_zone":"{zone}","slots":[{written}],'
        f'"days":{{{days}}},"next_change_at":{changes}}}'
    ).encode()


def _by_local_date(slots: Sequence[Slot], zone: str) -> Iterator[tuple[str, range]]:
    """Slots are sorted and days are long: one search for each day's end, not one look at a clock for each slot."""
    index = 0
    while index < len(slots):
        start, end = local_day(zone, slots[index].start)
        beyond = bisect_left(slots, end, lo=index, key=_start)
        yield _local_date(zone, (start + end) // 2), range(index, beyond)
        index = beyond


def _start(slot: Slot) -> int:
    return slot.start


@lru_cache(maxsize=50_000)
def _slot(start: int, end: int, seats_left: int) -> str:
    """The same slots are listed again and again."""
    return f'{{"start":"{_instant(start)}","end":"{_instant(end)}","seats_left":{seats_left}}}'


def _instant(ms: int) -> str:
    day, rest = divmod(ms, DAY_MS)
    return f"{_date(day)}T{_time(rest)}"


@lru_cache(maxsize=1024)
def _date(day: int) -> str:
    return datetime.fromtimestamp(day * 86_400, UTC).date().isoformat()


@lru_cache(maxsize=8192)
def _time(ms: int) -> str:
    minutes, rest = divmod(ms, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}.{rest % 1000:03}Z"


@lru_cache(maxsize=8192)
def _local_date(zone: str, ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, ZoneInfo(zone)).date().isoformat()


def _check(asked: SlotsAsked) -> None:
    check_instants(start=asked.start, end=asked.end)
    faults: list[tuple[str, str | None]] = []
    if asked.time_zone is not None and not is_zone(asked.time_zone):
        faults.append(("time_zone", "is not a zone of the IANA database"))
    if asked.start >= asked.end:
        faults.append(("end", "must be after the start"))
    elif asked.end - asked.start > RANGE_MAX:
        faults.append(("end", f"must be at most {RANGE_MAX.days} days after the start"))
    raise_faults(faults)


def _known(header: str | None, etag: str) -> bool:
    """RFC 9110: any of the tags, compared weakly, or `*`."""
    if header is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in header.split(",")]
    return etag in tags or "*" in tags


_slots: Any = partial(Operation, method="GET", who=READERS, missing=Code.EVENT_TYPE_NOT_FOUND)

OPERATIONS: list[Operation] = [
    _slots(
        path="/v1/event-types/{event_type:str}/slots",
        summary="What could be reserved now",
        endpoint=get_slots,
        query=SlotsAsked,
        answer=SlotsAnswer,
        refusals=(Code.EVENT_TYPE_NOT_FOUND, Code.EVENT_TYPE_INACTIVE),
    ),
]
