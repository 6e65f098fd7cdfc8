# SPDX-License-Identifier: Apache-2.0
"""Half-open intervals `[start, end)` of integer milliseconds since the epoch (UTC).

Integers because the search for free time is arithmetic on thousands of pairs: on `datetime` the same search
takes twice as long. Lists of intervals are sorted by start; what comes out is also free of overlaps.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

Interval = tuple[int, int]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
SECOND_MS = 1_000
MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000


def to_ms(instant: datetime) -> int:
    """Milliseconds since the epoch of an aware datetime, rounded down; a naive one is a TypeError."""
    return (instant - EPOCH) // MILLISECOND


def from_ms(instant: int) -> datetime:
    """The aware UTC datetime of an instant in milliseconds since the epoch."""
    return EPOCH + instant * MILLISECOND


def whole_ms(instant: datetime) -> datetime:
    """As finely as instants are kept: what is beyond the millisecond is cut off."""
    return from_ms(to_ms(instant))


def merge(intervals: Iterable[Interval]) -> list[Interval]:
    """The same time, sorted, with overlapping and touching intervals joined and empty ones dropped."""
    merged: list[Interval] = []
    for start, end in sorted(intervals):
        if start >= end:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def intersect(one: Sequence[Interval], other: Sequence[Interval]) -> list[Interval]:
    """The time in both; each list merged."""
    shared: list[Interval] = []
    i = j = 0
    while i < len(one) and j < len(other):
        start = max(one[i][0], other[j][0])
        end = min(one[i][1], other[j][1])
        if start < end:
            shared.append((start, end))
        if one[i][1] < other[j][1]:
            i += 1
        else:
            j += 1
    return shared
