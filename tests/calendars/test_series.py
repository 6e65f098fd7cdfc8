# SPDX-License-Identifier: Apache-2.0
"""Series of a host's, of which we keep the instances and not the rule (decision 0010): on Radicale and on Xandikos."""

from datetime import datetime, timedelta

import pytest

from conftest import Clock
from holdfirst.flows.calendar_sync import AHEAD

from .practice import Practice
from .servers import send, vevent

DAY, WEEK = timedelta(days=1), timedelta(days=7)
HALF_HOUR = timedelta(minutes=30)

pytestmark = pytest.mark.parametrize("which", [0, 1], ids=["radicale", "xandikos"])


def stamp(instant: datetime) -> str:
    return f"{instant:%Y%m%dT%H%M%SZ}"


def put(practice: Practice, which: int, start: datetime, *more: str, exceptions: bytes = b"") -> str:
    """The series `weekly`, as its host's program writes it."""
    text = vevent("weekly", stamp(start), stamp(start + HALF_HOUR), *more)
    url = f"{practice.calendars[which]}weekly.ics"
    status, _, _ = send("PUT", url, text.replace(b"END:VCALENDAR", exceptions + b"END:VCALENDAR"))
    assert status in (201, 204)
    return url


def moved(instance: datetime, to: datetime, *more: str) -> bytes:
    """One instance of it, at another time."""
    text = vevent("weekly", stamp(to), stamp(to + HALF_HOUR), f"RECURRENCE-ID:{stamp(instance)}", *more)
    return b"BEGIN:VEVENT" + text.split(b"BEGIN:VEVENT")[1].removesuffix(b"END:VCALENDAR\r\n")


async def free(practice: Practice, *starts: datetime) -> list[bool]:
    return [f"{start:%Y-%m-%dT%H:%M:%S.000Z}" in await practice.slots(start) for start in starts]


async def test_what_becomes_of_a_series_becomes_of_its_time(practice: Practice, which: int):
    start = practice.start()
    weeks = [start + number * WEEK for number in range(3)]
    assert await free(practice, *weeks) == [True, True, True]
    put(practice, which, start, "RRULE:FREQ=WEEKLY")
    await practice.sync()
    assert await free(practice, *weeks) == [False, False, False]
    # One is left out, then another one is moved; the rest stays.
    put(practice, which, start, "RRULE:FREQ=WEEKLY", f"EXDATE:{stamp(weeks[1])}")
    await practice.sync()
    assert await free(practice, *weeks) == [False, True, False]
    elsewhere = weeks[2] + timedelta(hours=3)
    put(practice, which, start, "RRULE:FREQ=WEEKLY", exceptions=moved(weeks[2], elsewhere))
    await practice.sync()
    assert await free(practice, *weeks, elsewhere) == [False, False, True, False]
    # All of it, from one hour to the next; then it is gone.
    url = put(practice, which, start + timedelta(hours=1), "RRULE:FREQ=WEEKLY")
    await practice.sync()
    assert await free(practice, *weeks, elsewhere, start + timedelta(hours=1)) == [True] * 4 + [False]
    send("DELETE", url)
    await practice.sync()
    assert await free(practice, *weeks, start + timedelta(hours=1)) == [True] * 4


async def test_an_instance_that_was_moved_here_from_far_away_is_found(practice: Practice, which: int):
    """Years ahead of where its rule puts it; and so it is when a reserve asks the calendar itself."""
    start = practice.start()
    begin = start - 500 * WEEK + timedelta(hours=5)
    put(practice, which, begin, "RRULE:FREQ=WEEKLY;COUNT=10", exceptions=moved(begin + WEEK, start))
    answer = await practice.reserve(start)
    assert (answer.status_code, answer.json()["code"]) == (409, "slot_taken")
    await practice.sync()
    assert await free(practice, start, start + timedelta(hours=1)) == [False, True]


async def test_as_time_goes_by_a_series_reaches_as_far_ahead_as_ever(
    practice: Practice, clock: Clock, which: int
):
    """Nothing has changed in it, so that no server tells anything: all of it is read again each day."""
    put(practice, which, practice.start(), "RRULE:FREQ=DAILY")
    await practice.sync()
    before = await far_end(practice)
    for _ in range(3):
        await clock.shift(DAY)
        await practice.sync()
    after = await far_end(practice)
    assert after - before == 3 * DAY
    async with practice.house.parts.world.database.statement() as tx:
        now = await tx.now()
        count = await tx.value("select count(*) from busy where starts_at = $1", after)
    assert now + AHEAD - 2 * DAY < after <= now + AHEAD + DAY
    assert count == 1


async def test_beyond_what_is_kept_the_calendar_itself_is_asked(practice: Practice, which: int):
    start = practice.start()
    put(practice, which, start, "RRULE:FREQ=DAILY")
    await practice.sync()
    patch = {"horizon_days": 730}
    await practice.house.ask("PATCH", "/v1/event-types/free", patch)
    far = start + 450 * DAY
    # Listed without a word of the calendars, and not sold for that.
    assert await free(practice, far) == [True]
    answer = await practice.reserve(far)
    assert (answer.status_code, answer.json()["code"]) == (409, "slot_taken")
    assert (await practice.reserve(far + timedelta(hours=1))).status_code == 201


async def far_end(practice: Practice) -> datetime:
    """When the last one begins; how long it is known to last depends on the time of day now."""
    async with practice.house.parts.world.database.statement() as tx:
        found: datetime = await tx.value("select max(starts_at) from busy where starts_at > the_clock()")
    return found
