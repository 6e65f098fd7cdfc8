# SPDX-License-Identifier: Apache-2.0
"""What takes time away on one host: busy intervals and the claims of reservations that are alive.

Instants are integer milliseconds since the epoch (UTC).
"""

from collections.abc import Iterator, Sequence
from operator import itemgetter

import msgspec

from holdfirst.interval import Interval


class Claim(msgspec.Struct, frozen=True):
    """Time that a reservation takes on one host, its own buffers included.

    `live_until` None: for good; from that very instant on it is no longer there. `own_start` is the start of the
    reservation if it is of the event type asked about, else None.
    """

    start: int
    end: int
    live_until: int | None = None
    own_start: int | None = None
    seats: int = 1


class Sitting(msgspec.Struct, frozen=True):
    """The time one reservation takes that others may join by starting at the same instant."""

    start: int
    end: int
    own_start: int


class Taken(msgspec.Struct):
    """Time taken on one host: `blocks` from everybody, `sittings` from all but their own; sorted by start."""

    blocks: list[Interval]
    sittings: list[Sitting]
    seats_by_start: dict[int, int]  # of the event type's own reservations, whether they may be joined or not


def live(claims: Sequence[Claim], now: int) -> list[Claim]:
    """The claims that are still there at `now`."""
    return [claim for claim in claims if claim.live_until is None or now < claim.live_until]


def taken(busy: Sequence[Interval], claims: Sequence[Claim], seats: int) -> Taken:
    """What takes time away, given busy intervals sorted by start, live claims, and the event type's seats."""
    blocks = [interval for interval in busy if interval[0] < interval[1]]
    sittings: list[Sitting] = []
    seats_by_start: dict[int, int] = {}
    unjoinable: list[Interval] = []
    for claim in claims:
        if claim.own_start is not None:
            seats_by_start[claim.own_start] = seats_by_start.get(claim.own_start, 0) + claim.seats
        if claim.own_start is not None and seats > 1:
            sittings.append(Sitting(claim.start, claim.end, claim.own_start))
        else:
            unjoinable.append((claim.start, claim.end))
    if unjoinable:
        blocks = sorted(blocks + unjoinable, key=itemgetter(0))
    sittings.sort(key=lambda sitting: sitting.start)
    return Taken(blocks, sittings, seats_by_start)


def releases(claims: Sequence[Claim], within: Interval) -> Iterator[int]:
    """The instants at which claims that touch an interval run out by the clock."""
    for claim in claims:
        if claim.live_until is not None and claim.start < within[1] and within[0] < claim.end:
            yield claim.live_until
