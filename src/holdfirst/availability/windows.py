# SPDX-License-Identifier: Apache-2.0
"""Windows: a schedule in a zone, as real time. The one file that knows of daylight saving.

Instants are integer milliseconds since the epoch (UTC); dates are proleptic ordinals, 1970 to 2100. Two rules
turn local time into instants, and both follow from reading `[start, end)` on the clock on the wall:

* a window starts at the first instant whose local time is `start` or later,
* and ends right after the last instant whose local time is before `end`.

So a time that does not exist stands for the instant the gap ends, and of an hour that happens twice a window has
both runs. Nothing is lost, nothing is doubled.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache, lru_cache
from itertools import pairwise
from operator import itemgetter
from zoneinfo import ZoneInfo, available_timezones

from holdfirst.availability.schedule import Schedule, exceptional_days, hours_on, is_endless
from holdfirst.interval import DAY_MS, MILLISECOND, Interval, merge, to_ms

FIRST_DAY = date(1970, 1, 1).toordinal()
LAST_DAY = date(2100, 12, 31).toordinal()
LAST_INSTANT = (LAST_DAY - FIRST_DAY) * DAY_MS
NAIVE_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - a reading of a clock on the wall has no zone
MINUTE = timedelta(minutes=1)
# Hours that start on one date reach at most to the end of the next, and a zone can skip a date (Apia 2011-12-30).
OVERHANG = 2
# How much further to look, in days, at a time, for the beginning and the end of a window.
LOOK = 2


def is_zone(name: str) -> bool:
    """Whether `name` is a zone of the IANA database; any text may be asked about."""
    return name in _zones()


def open_windows(schedule: Schedule, time_zone: str, start: int, end: int) -> list[Interval]:
    """The windows that intersect `[start, end)`: sorted, merged where they touch, and whole.

    Not clipped, because a grid starts at its window's start: the same window looks the same to every question.
    A schedule that never closes has one window since 1970, broken only by its overrides.
    """
    zone = ZoneInfo(time_zone)
    first, last = _local_date(zone, start) - OVERHANG, _local_date(zone, end)
    windows = _windows_around(schedule, time_zone, first, last)
    return windows[bisect_right(windows, start, key=itemgetter(1)) : bisect_left(windows, (end,))]


def local_day(time_zone: str, instant: int) -> Interval:
    """The real interval of the local calendar day that contains the instant: mostly 23 to 25 hours."""
    day = _local_date(ZoneInfo(time_zone), instant)
    start = _midnight(time_zone, day)
    if instant < start:  # the clock went back over midnight: the day has not begun for good
        return (_midnight(time_zone, day - 1), start)
    return (start, _midnight(time_zone, day + 1))


@cache
def _zones() -> frozenset[str]:
    # Two entries are no zones: what this machine's clock shows, and "nobody has set it".
    return frozenset(available_timezones() - {"localtime", "Factory"})


@lru_cache(maxsize=4096)
def _windows_around(schedule: Schedule, time_zone: str, first: int, last: int) -> list[Interval]:
    """The windows that touch the dates `first` to `last`, whole; others may be among them."""
    if is_endless(schedule):
        return _endless_windows(schedule, time_zone)
    zone = ZoneInfo(time_zone)
    look = LOOK
    while True:
        low, high = first - look, last + look
        windows = merge(_windows_of_dates(schedule, zone, low, high))
        asked = (_midnight(time_zone, first), _midnight(time_zone, last + 1))
        # Beyond these two instants a date that was not looked at may add to a window.
        begun = low <= FIRST_DAY or not _reaches(windows, _midnight(time_zone, low + OVERHANG), asked[0])
        ended = high >= LAST_DAY or not _reaches(windows, asked[1], _midnight(time_zone, high))
        if begun and ended:
            return windows
        look *= 4


def _reaches(windows: list[Interval], one: int, other: int) -> bool:
    """Whether a single window goes from one instant to the other."""
    return any(start <= one and other <= end for start, end in windows)


@lru_cache(maxsize=256)
def _endless_windows(schedule: Schedule, time_zone: str) -> list[Interval]:
    """All windows there are of an endless schedule: ordinary dates in a row are one piece."""
    zone = ZoneInfo(time_zone)
    exceptions = [day for day in exceptional_days(schedule) if FIRST_DAY <= day <= LAST_DAY]
    pieces: list[Interval] = []
    for before, after in pairwise([FIRST_DAY - 1, *exceptions, LAST_DAY + 1]):
        first, last = before + 1, after - 1
        # From the second ordinary date on, the hours of the date before fill what its own leave open.
        pieces.append((_midnight(time_zone, first + 1), _midnight(time_zone, last + 1)))
        for day in {first, last, after}:
            pieces.extend(_windows_of_dates(schedule, zone, day, day))
    return merge(pieces)


def _windows_of_dates(schedule: Schedule, zone: ZoneInfo, first: int, last: int) -> Iterator[Interval]:
    for day in range(max(first, FIRST_DAY), min(last, LAST_DAY) + 1):
        hours = hours_on(schedule, day)
        if hours:
            midnight = datetime.fromordinal(day)
            for start, end in hours:
                yield (
                    _first_from(zone, midnight + start * MINUTE),
                    _last_before(zone, midnight + end * MINUTE),
                )


def _first_from(zone: ZoneInfo, wall: datetime) -> int:
    """The first instant whose local time is `wall` or later."""
    before, after = _offsets(zone, wall)
    if before < after:
        return _gap_end(zone, wall)
    return (wall - before - NAIVE_EPOCH) // MILLISECOND


def _last_before(zone: ZoneInfo, wall: datetime) -> int:
    """The instant right after the last one whose local time is before `wall`."""
    wall -= MILLISECOND
    before, after = _offsets(zone, wall)
    if before < after:
        return _gap_end(zone, wall)
    return (wall - after - NAIVE_EPOCH) // MILLISECOND + 1


def _offsets(zone: ZoneInfo, wall: datetime) -> tuple[timedelta, timedelta]:
    """The offsets of a local time read as the first and as the last of its kind (PEP 495).

    Equal, except where the clock is being put: the first is larger where a time happens twice, smaller where it
    does not exist.
    """
    first = wall.replace(tzinfo=zone).utcoffset()
    last = wall.replace(tzinfo=zone, fold=1).utcoffset()
    assert first is not None
    assert last is not None
    return first, last


def _gap_end(zone: ZoneInfo, wall: datetime) -> int:
    """The instant at which the clock jumps over the local time `wall`."""
    before, after = _offsets(zone, wall)
    seconds = range(
        to_ms((wall - after).replace(tzinfo=UTC)) // 1000,
        to_ms((wall - before).replace(tzinfo=UTC)) // 1000 + 1,
    )
    jumped = bisect_left(
        seconds, True, key=lambda second: datetime.fromtimestamp(second, zone).utcoffset() != before
    )
    return seconds[jumped] * 1000


@lru_cache(maxsize=16384)
def _midnight(time_zone: str, day: int) -> int:
    """The instant between a date and the one before."""
    return _last_before(ZoneInfo(time_zone), datetime.fromordinal(day))


def _local_date(zone: ZoneInfo, instant: int) -> int:
    within = min(max(instant, 0), LAST_INSTANT)
    return datetime.fromtimestamp(within / 1000, zone).toordinal()
