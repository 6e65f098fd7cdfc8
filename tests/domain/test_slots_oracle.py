# SPDX-License-Identifier: Apache-2.0
"""The engine against an oracle that knows no arithmetic of windows.

The oracle walks through the minutes of thirteen days, reads the clock on the wall at each, and asks of every
minute: is it open, is it taken, by whom? It shares nothing with the engine but the types of its input: it reads
schedules from their wire form and knows zones only through what `zoneinfo` shows a clock to say. All times in it
are minutes since the epoch; only now and live_until are milliseconds.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import msgspec
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from holdfirst.availability.schedule import Schedule
from holdfirst.availability.slots import Claim, HostTime, SlotRules, find_slots, hosts_offering
from holdfirst.availability.windows import open_windows

DAY = 1440
MS = 60_000
BEFORE, AFTER = 7 * DAY, 6 * DAY  # the walk around the first day asked about
EDGE = 2 * DAY  # what the walk says of its first two days is incomplete
NAMES = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

# Nights on which clocks were put, and two zones that have none.
NIGHTS = [
    ("Europe/Prague", "2026-03-28"),
    ("Europe/Prague", "2026-10-24"),
    ("America/New_York", "2026-03-08"),
    ("America/New_York", "2026-10-31"),
    ("Australia/Lord_Howe", "2026-04-03"),
    ("Australia/Lord_Howe", "2026-10-02"),
    ("Pacific/Apia", "2011-12-29"),
    ("America/Havana", "2026-10-31"),
    ("America/Sao_Paulo", "2018-11-03"),
    ("Africa/Casablanca", "2026-02-14"),
    ("Antarctica/Troll", "2026-03-28"),
    ("Asia/Kathmandu", "2026-06-10"),
]
ELSEWHERE = ("UTC", "Asia/Kathmandu", "Europe/Prague")

SEARCH = settings(
    derandomize=True,
    deadline=None,
    max_examples=200,
    # The oracle is slow, and shrinking with it takes minutes: to study a failure, take this line out.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


# The oracle.


@cache
def walls(zone, first):
    """What the clock on the wall shows at each minute of the walk, in minutes since year 1."""
    there = ZoneInfo(zone)
    shown = []
    for minute in range(first - BEFORE, first + AFTER):
        local = datetime.fromtimestamp(minute * 60, there)
        shown.append(local.toordinal() * DAY + local.hour * 60 + local.minute)
    return shown


def local_date(zone, minute):
    return datetime.fromtimestamp(minute * 60, ZoneInfo(zone)).date()


def clock(text):
    return int(text[:2]) * 60 + int(text[3:])


def hours_starting_on(wire, day):
    date = datetime.fromordinal(day)
    for override in wire.get("overrides", ()):
        if override["date"] == f"{date:%Y-%m-%d}":
            return override["intervals"]
    return [hours for hours in wire.get("weekly", ()) if NAMES[date.weekday()] in hours["days"]]


def open_minutes(wire, zone, first):
    """The minutes of the walk that lie between opening and closing.

    Opened by the first minute that shows the start or later, closed after the last that shows less than the end.
    """
    shown = walls(zone, first)
    opened = set()
    walk_begins = first - BEFORE
    # Where each date would begin in UTC; no clock is two days off.
    for about in range(EDGE, len(shown) - EDGE, DAY):
        day = datetime.fromtimestamp((walk_begins + about) * 60, UTC).toordinal()
        low, high = about - 2 * DAY, min(len(shown), about + 4 * DAY)
        for hours in hours_starting_on(wire, day):
            start = day * DAY + clock(hours["start"])
            end = day * DAY + clock(hours["end"])
            if end <= start:
                end += DAY
            opening = next(i for i in range(low, high) if shown[i] >= start)
            closing = next(i for i in range(high - 1, low, -1) if shown[i] < end)
            opened.update(range(opening, closing + 1))
    return {minute + walk_begins for minute in opened}


def runs(minutes):
    """Unbroken stretches of minutes, as {minute: (first, last + 1)}."""
    of = {}
    for minute in sorted(minutes):
        stretch = of.get(minute - 1) or [minute, minute]
        stretch[1] = minute + 1
        of[minute] = stretch
    return of


@dataclass
class Case:
    """A question, in the oracle's terms."""

    first: int
    zones: list[str]
    schedules: list[dict]
    assignment: str
    start: int
    end: int
    now: int
    duration: int
    step: int
    before: int
    after: int
    notice: int
    horizon: int
    seats: int
    per_day_max: int | None
    own_hours: dict | None
    dated: list[int] | None
    asked: int
    busy: list[list[tuple[int, int]]] = field(default_factory=list)
    claims: list[list[Claim]] = field(default_factory=list)


def grids(case):
    """The starts in the range, host by host, that lie on a grid (or are dated)."""
    if case.dated is not None:
        return [{at for at in case.dated if case.start <= at < case.end} for _ in case.zones]
    opened = []
    for zone, wire in zip(case.zones, case.schedules, strict=True):
        minutes = open_minutes(wire, zone, case.first)
        if case.own_hours is not None:
            minutes &= open_minutes(case.own_hours, zone, case.first)
        opened.append(minutes)
    if case.assignment == "all_of":
        opened = [set.intersection(*opened)] * len(opened)
    found = []
    for minutes in opened:
        of = runs(minutes)
        starts = set()
        for at in range(case.start, case.end):
            if at in of:
                begun, over = of[at]
                # A stretch that was open before the walk has a beginning the oracle cannot see.
                assume(begun > case.first - BEFORE + EDGE + DAY)
                if (at - begun) % case.step == 0 and at + case.duration <= over:
                    starts.add(at)
        found.append(starts)
    return found


def in_time(case, at, now):
    return now < at * MS - case.notice and at * MS <= now + case.horizon


def seats_on(case, number, at, now):
    """Seats left on one host for a slot at a minute; 0 where something is in its way."""
    zone = case.zones[number]
    alive = [claim for claim in case.claims[number] if claim.live_until is None or claim.live_until > now]
    in_the_way = set()
    for minute in range(at - case.before, at + case.duration + case.after):
        in_the_way |= {"busy" for start, end in case.busy[number] if start <= minute < end}
        for claim in alive:
            if claim.start <= minute * MS < claim.end:
                joinable = case.seats > 1 and claim.own_start == at * MS
                in_the_way |= set() if joinable else {"claim"}
    if in_the_way:
        return 0
    own = {claim.own_start // MS for claim in alive if claim.own_start is not None}
    that_day = {start for start in own if local_date(zone, start) == local_date(zone, at)}
    if case.per_day_max is not None and len(that_day) >= case.per_day_max and at not in own:
        return 0
    return case.seats - sum(claim.seats for claim in alive if claim.own_start == at * MS)


def expected(case, grid, now):
    found = []
    for at in sorted(set.union(*grid)):
        if not in_time(case, at, now):
            continue
        left = {
            number: seats
            for number, starts in enumerate(grid)
            if at in starts and (seats := seats_on(case, number, at, now)) >= case.asked
        }
        if case.assignment == "all_of" and len(left) == len(grid):
            found.append((at * MS, min(left.values()), tuple(left)))
        elif case.assignment == "one_of" and left:
            found.append((at * MS, max(left.values()), tuple(left)))
    return found


# The questions.

TIMES = st.sampled_from(
    ["00:00", "00:30", "01:00", "01:30", "01:45", "02:00", "02:15", "02:30", "03:00", "03:10", "04:00",
     "09:00", "12:00", "17:00", "22:00", "23:00", "23:30"]
)  # fmt: skip


@st.composite
def hours(draw):
    start, end = draw(TIMES), draw(TIMES | st.just("24:00"))
    assume(start != end)
    return {"start": start, "end": end}


@st.composite
def schedules(draw, first):
    weekly = []
    for _ in range(draw(st.integers(1, 3))):
        days = draw(st.sampled_from([NAMES, NAMES[5:], NAMES[:5], NAMES[6:], ("thu", "sat", "sun")]))
        weekly.append(draw(hours()) | {"days": days})
    overrides = {}
    for day in draw(st.lists(st.integers(-1, 3), max_size=2)):
        date = datetime.fromtimestamp(first * 60, UTC) + timedelta(days=day)
        overrides[f"{date:%Y-%m-%d}"] = draw(st.lists(hours(), max_size=2))
    return {
        "weekly": weekly,
        "overrides": [{"date": date, "intervals": each} for date, each in overrides.items()],
    }


@st.composite
def cases(draw):
    zone, night = draw(st.sampled_from(NIGHTS))
    first = int(datetime.fromisoformat(f"{night}T00:00Z").timestamp()) // 60
    others = draw(st.lists(st.sampled_from((zone, zone, *ELSEWHERE)), max_size=2))
    zones = [zone, *others]
    schedule = draw(schedules(first))  # mostly everybody's, or little would be left of all_of
    start = first + draw(st.integers(-DAY, DAY))
    minutes = st.integers(first - DAY, first + 3 * DAY)
    return Case(
        first=first,
        zones=zones,
        schedules=[draw(st.just(schedule) | st.just(schedule) | schedules(first)) for _ in zones],
        assignment=draw(st.sampled_from(["one_of", "all_of"])),
        start=start,
        end=start + draw(st.sampled_from([60, 600, 1440, 2400])),
        now=first * MS,
        duration=draw(st.sampled_from([15, 30, 60, 100, 240])),
        step=draw(st.sampled_from([15, 20, 60, 70])),
        before=draw(st.sampled_from([0, 0, 10, 60])),
        after=draw(st.sampled_from([0, 0, 5, 90])),
        notice=draw(st.sampled_from([0, 0, 30 * MS, DAY * MS])),
        horizon=draw(st.sampled_from([100 * DAY * MS, 100 * DAY * MS, DAY * MS, 2 * DAY * MS + 1])),
        seats=draw(st.sampled_from([1, 1, 2, 3])),
        per_day_max=draw(st.sampled_from([None, None, 0, 1, 1, 2])),
        own_hours=draw(st.none() | st.none() | st.none() | schedules(first)),
        dated=draw(st.none() | st.none() | st.none() | st.lists(minutes, max_size=5)),
        asked=draw(st.sampled_from([1, 1, 2])),
    )


@st.composite
def moments(draw, case, grid):
    """Some time before the range, or to the millisecond where a start comes into it or leaves."""
    some = [case.start, *sorted(set.union(*grid))]
    at = some[draw(st.integers(0, len(some) - 1))] * MS
    edge = at - draw(st.sampled_from([case.notice, case.horizon])) + draw(st.integers(-1, 1))
    early = case.start * MS - case.notice - draw(st.integers(0, DAY * MS))
    case.now = draw(st.sampled_from([early, early, edge]))


@st.composite
def what_is_taken(draw, case, grid):
    """Busy time and claims for each host, most of them on the grid, where they matter."""
    draw(moments(case, grid))
    few = sorted(set.union(*grid))[:12:3]
    anywhere = st.integers(case.start - DAY, case.end + DAY)
    for _ in case.zones:
        starts = st.sampled_from(few) | st.sampled_from(few) | anywhere if few else anywhere
        busy = draw(st.lists(st.tuples(anywhere, st.integers(1, 200)), max_size=2))
        case.busy.append(sorted((at, at + length) for at, length in busy))
        claims = []
        for _ in range(draw(st.integers(0, 4))):
            at = draw(starts)
            claims.append(
                Claim(
                    start=(at - case.before) * MS,
                    end=(at + case.duration + case.after) * MS,
                    live_until=draw(st.none() | st.integers(case.now - 1, case.now + 3).map(int)
                                    | st.integers(case.now, case.now + DAY * MS)),
                    own_start=draw(st.sampled_from([at * MS, at * MS, at * MS, None])),
                    seats=draw(st.sampled_from([1, 1, 2])),
                )
            )  # fmt: skip
        case.claims.append(claims)


def rules(case):
    return SlotRules(
        duration=case.duration * MS,
        step=case.step * MS,
        buffer_before=case.before * MS,
        buffer_after=case.after * MS,
        notice=case.notice,
        horizon=case.horizon,
        seats=case.seats,
        per_day_max=case.per_day_max,
        starts=None if case.dated is None else tuple(at * MS for at in case.dated),
        schedule=None if case.own_hours is None else msgspec.convert(case.own_hours, Schedule),
    )


def hosts(case):
    return [
        HostTime(
            str(number),
            zone,
            msgspec.convert(wire, Schedule),
            [(start * MS, end * MS) for start, end in busy],
            claims,
        )
        for number, (zone, wire, busy, claims) in enumerate(
            zip(case.zones, case.schedules, case.busy, case.claims, strict=True)
        )
    ]


def answer(case, now):
    return find_slots(
        rules(case), hosts(case), case.assignment, case.start * MS, case.end * MS, now, case.asked
    )


@settings(SEARCH, max_examples=600)
@given(st.sampled_from(NIGHTS).flatmap(lambda night: st.tuples(st.just(night), st.data())))
def test_windows(given_):
    (zone, night), of = given_
    first = int(datetime.fromisoformat(f"{night}T00:00Z").timestamp()) // 60
    wire = of.draw(schedules(first))
    of_minute = runs(open_minutes(wire, zone, first))
    start = first + of.draw(st.integers(-DAY, DAY))
    end = start + of.draw(st.integers(1, DAY))
    wanted = sorted({tuple(of_minute[minute]) for minute in range(start, end) if minute in of_minute})
    assume(all(begun > first - BEFORE + EDGE + DAY and over < first + AFTER - EDGE for begun, over in wanted))
    found = open_windows(msgspec.convert(wire, Schedule), zone, start * MS, end * MS)
    assert found == [(begun * MS, over * MS) for begun, over in wanted]


@SEARCH
@given(cases(), st.data())
def test_slots(case, of):
    grid = grids(case)
    of.draw(what_is_taken(case, grid))
    found = answer(case, case.now)
    shown = [(slot.start, slot.seats_left, tuple(map(int, slot.hosts))) for slot in found.slots]
    assert shown == expected(case, grid, case.now)
    assert all(slot.end - slot.start == case.duration * MS for slot in found.slots)


@SEARCH
@given(cases(), st.data())
def test_hosts_offering(case, of):
    grid = grids(case)
    of.draw(moments(case, grid))
    case.busy = case.claims = [[] for _ in case.zones]
    several = [*sorted(set.union(*grid))[:5], of.draw(st.integers(case.start, case.end - 1))]
    for at in several:
        on = tuple(str(number) for number, starts in enumerate(grid) if at in starts)
        found = hosts_offering(rules(case), hosts(case), case.assignment, at * MS, case.now)
        assert found == (on if in_time(case, at, case.now) else ())


@SEARCH
@given(cases(), st.data())
def test_nothing_changes_before_next_change_at(case, of):
    grid = grids(case)
    of.draw(what_is_taken(case, grid))
    found = answer(case, case.now)
    if found.next_change_at is None:
        later = case.now + 400 * DAY * MS
        assert found.slots == []
    else:
        assert found.next_change_at > case.now
        later = found.next_change_at - 1
    between = of.draw(st.integers(case.now, later))
    for now in (between, later):
        assert answer(case, now).slots == found.slots
