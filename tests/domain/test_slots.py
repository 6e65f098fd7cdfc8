# SPDX-License-Identifier: Apache-2.0
"""Small cases by hand. Monday 2026-12-07 in UTC unless said otherwise; `at("09:30")` is that day's 09:30."""

from datetime import datetime

import msgspec
import pytest

from holdfirst.availability.schedule import Schedule
from holdfirst.availability.slots import (
    Claim,
    HostTime,
    SlotRules,
    day_is_full,
    find_slots,
    hosts_offering,
    reach,
)
from holdfirst.interval import DAY_MS, HOUR_MS, MINUTE_MS, from_ms, to_ms

MONDAY = to_ms(datetime.fromisoformat("2026-12-07T00:00Z"))
NOW = MONDAY - DAY_MS
HOUR = SlotRules(duration=HOUR_MS, step=HOUR_MS)


def at(clock, day=0):
    hours, minutes = clock.split(":")
    return MONDAY + day * DAY_MS + int(hours) * HOUR_MS + int(minutes) * MINUTE_MS


def span(hours, day=0):
    start, end = hours.split("-")
    return at(start, day), at(end, day)


def claim(hours, **more):
    start, end = span(hours)
    return Claim(start, end, **more)


def sitting(start, **more):
    return Claim(at(start), at(start) + HOUR_MS, own_start=at(start), **more)


def weekly(*hours, days=("mon", "tue", "wed", "thu", "fri"), **more):
    intervals = [dict(zip(("start", "end"), each.split("-"), strict=True)) for each in hours]
    return msgspec.convert({"weekly": [{"days": days} | each for each in intervals]} | more, Schedule)


def host(*hours, name="hst_a", zone="UTC", busy=(), claims=(), **more):
    return HostTime(name, zone, weekly(*hours, **more), sorted(span(each) for each in busy), claims)


def rules(**more):
    return msgspec.structs.replace(HOUR, **more)


def ask(of, *hosts, assignment="one_of", start=MONDAY, end=MONDAY + DAY_MS, now=NOW, seats=1):
    return find_slots(of, hosts, assignment, start, end, now, seats)


def clocks(found):
    return [f"{from_ms(slot.start):%H:%M}" for slot in found.slots]


MINUTE = MINUTE_MS


@pytest.mark.parametrize(
    ("of", "hours", "busy", "starts"),
    [
        (rules(), ["09:00-12:00"], [], "09:00 10:00 11:00"),
        (rules(), ["09:00-12:59"], [], "09:00 10:00 11:00"),
        (rules(), ["09:00-09:59"], [], ""),
        (rules(step=30 * MINUTE), ["09:00-11:00"], [], "09:00 09:30 10:00"),
        (rules(step=90 * MINUTE), ["09:00-12:00"], [], "09:00 10:30"),
        (rules(), ["09:10-11:10", "13:20-14:20"], [], "09:10 10:10 13:20"),
        (rules(), ["09:00-10:30", "10:30-12:00"], [], "09:00 10:00 11:00"),
        # What touches does not collide.
        (rules(), ["09:00-12:00"], ["10:00-11:00"], "09:00 11:00"),
        (rules(), ["09:00-12:00"], ["09:59-10:01"], "11:00"),
        (rules(), ["09:00-12:00"], ["08:00-09:00", "12:00-13:00"], "09:00 10:00 11:00"),
        (rules(step=15 * MINUTE), ["09:00-12:00"], ["10:00-10:30"], "09:00 10:30 10:45 11:00"),
        # Unmerged busy: a long one hides a short one after it.
        (rules(), ["09:00-13:00"], ["09:00-12:00", "09:30-10:00", "10:00-10:10"], "12:00"),
        (rules(), ["09:00-12:00"], ["10:30-10:30"], "09:00 10:00 11:00"),
        # Buffers must be free, inside the window or not.
        (rules(buffer_before=15 * MINUTE), ["09:00-12:00"], ["08:00-08:46"], "10:00 11:00"),
        (rules(buffer_before=15 * MINUTE), ["09:00-12:00"], ["08:00-08:45"], "09:00 10:00 11:00"),
        (rules(buffer_after=15 * MINUTE), ["09:00-12:00"], ["12:14-13:00"], "09:00 10:00"),
        (rules(buffer_after=15 * MINUTE), ["09:00-12:00"], ["12:15-13:00"], "09:00 10:00 11:00"),
        (rules(buffer_before=60 * MINUTE, buffer_after=60 * MINUTE), ["09:00-14:00"], ["11:00-12:00"], "09:00 13:00"),
        # The event type's own hours narrow the host's, and the grid starts where both begin.
        (rules(schedule=weekly("09:20-11:20", "16:30-20:00")), ["09:00-17:00"], [], "09:20 10:20"),
        (rules(schedule=weekly("09:00-17:00", days=["sun"])), ["09:00-17:00"], [], ""),
        (rules(schedule=Schedule()), ["09:00-17:00"], [], ""),
        (rules(), [], [], ""),
    ],
)  # fmt: skip
def test_one_day(of, hours, busy, starts):
    assert clocks(ask(of, host(*hours, busy=busy))) == starts.split()


def test_over_midnight():
    night = host("22:00-02:30", days=["sun"])
    assert clocks(ask(HOUR, night)) == ["00:00", "01:00"]
    assert clocks(ask(HOUR, night, start=at("22:00", -1))) == ["22:00", "23:00", "00:00", "01:00"]
    assert clocks(ask(HOUR, host("22:00-24:00", "00:00-01:00", days=["sun", "mon"]))) == [
        "00:00",
        "22:00",
        "23:00",
    ]


def test_overrides_and_holidays():
    of = host(
        "09:00-11:00",
        overrides=[
            {"date": "2026-12-08", "intervals": [{"start": "15:00", "end": "16:00"}]},
            {"date": "2026-12-25", "intervals": [{"start": "12:00", "end": "13:00"}]},
        ],
        holidays="CZ",
    )
    assert clocks(ask(HOUR, of, end=at("00:00", 2))) == ["09:00", "10:00", "15:00"]
    # Thursday the 24th is a holiday, the 25th has hours of its own.
    assert clocks(ask(HOUR, of, start=at("00:00", 17), end=at("00:00", 19))) == ["12:00"]


def test_the_grid_goes_on_through_a_clock_change():
    of = host("00:00-05:00", zone="Europe/Prague", days=["sun"])
    spring, autumn = (to_ms(datetime.fromisoformat(day + "T12:00Z")) for day in ("2026-03-28", "2026-10-24"))
    assert clocks(ask(HOUR, of, start=spring, end=spring + DAY_MS, now=spring)) == [
        "23:00",
        "00:00",
        "01:00",
        "02:00",
    ]
    assert clocks(ask(HOUR, of, start=autumn, end=autumn + DAY_MS, now=autumn)) == [
        "22:00", "23:00", "00:00", "01:00", "02:00", "03:00",
    ]  # fmt: skip


def test_the_range_is_half_open():
    of = host("09:00-17:00")
    assert clocks(ask(HOUR, of, start=at("10:00"), end=at("12:00"))) == ["10:00", "11:00"]
    assert clocks(ask(HOUR, of, start=at("10:00") + 1, end=at("12:00") + 1)) == ["11:00", "12:00"]
    assert ask(HOUR, of, start=at("12:00"), end=at("12:00")) == ask(HOUR, of, end=0)


@pytest.mark.parametrize(
    ("notice", "horizon", "now", "offered"),
    [
        (0, DAY_MS, at("09:00") - 1, True),
        (0, DAY_MS, at("09:00"), False),
        (HOUR_MS, DAY_MS, at("08:00") - 1, True),
        (HOUR_MS, DAY_MS, at("08:00"), False),
        (0, DAY_MS, at("09:00") - DAY_MS, True),
        (0, DAY_MS, at("09:00") - DAY_MS - 1, False),
        (DAY_MS, DAY_MS, at("09:00") - DAY_MS, False),
    ],
)
@pytest.mark.parametrize("starts", [None, (at("09:00"),)])
def test_notice_and_horizon_to_the_millisecond(notice, horizon, now, offered, starts):
    of, hosts = rules(notice=notice, horizon=horizon, starts=starts), [host("09:00-10:00")]
    assert bool(ask(of, *hosts, now=now).slots) is offered
    assert hosts_offering(of, hosts, "one_of", at("09:00"), now) == (("hst_a",) if offered else ())


def test_a_claim_is_gone_at_the_very_instant_it_runs_out():
    of = host("09:00-10:00", claims=[claim("09:00-10:00", live_until=NOW)])
    assert clocks(ask(HOUR, of, now=NOW - 1)) == []
    assert clocks(ask(HOUR, of, now=NOW)) == ["09:00"]


@pytest.mark.parametrize("own_start", [None, at("09:00"), at("09:30")])
def test_one_seat_is_not_shared(own_start):
    of = host("09:00-11:00", claims=[claim("09:00-10:00", own_start=own_start)])
    assert clocks(ask(HOUR, of)) == ["10:00"]


def left(found):
    return {f"{from_ms(slot.start):%H:%M}": slot.seats_left for slot in found.slots}


def test_a_sitting_is_shared_and_blocks_the_rest():
    of = rules(seats=3, step=30 * MINUTE)
    claims = [sitting("10:00"), sitting("10:00", live_until=NOW), sitting("10:00", live_until=NOW + 1)]
    assert left(ask(of, host("09:00-12:00", claims=claims))) == {"09:00": 3, "10:00": 1, "11:00": 3}
    assert left(ask(of, host("09:00-12:00", claims=claims), seats=2)) == {"09:00": 3, "11:00": 3}
    assert left(ask(of, host("09:00-12:00", claims=claims), now=NOW + 1)) == {
        "09:00": 3,
        "10:00": 2,
        "11:00": 3,
    }
    assert left(ask(of, host("09:00-12:00"), seats=4)) == {}


def test_a_full_sitting_is_not_offered():
    of = rules(seats=3)
    claims = [sitting("10:00", seats=2), sitting("10:00", seats=1)]
    assert left(ask(of, host("09:00-12:00", claims=claims))) == {"09:00": 3, "11:00": 3}
    # The event type had more seats once.
    assert left(ask(rules(seats=2), host("09:00-12:00", claims=claims))) == {"09:00": 2, "11:00": 2}


def test_a_sitting_is_not_joined_where_something_else_is():
    of = rules(seats=3)
    assert left(ask(of, host("09:00-11:00", busy=["09:30-09:40"], claims=[sitting("09:00")]))) == {"10:00": 3}
    foreign = [sitting("09:00"), claim("09:10-09:20")]
    assert left(ask(of, host("09:00-11:00", claims=foreign))) == {"10:00": 3}
    # Two sittings that overlap, since the event type's duration was changed: neither can be joined.
    both = [sitting("09:00"), claim("09:30-10:30", own_start=at("09:30"))]
    assert left(ask(rules(seats=3, step=30 * MINUTE), host("09:00-12:00", claims=both))) == {
        "10:30": 3,
        "11:00": 3,
    }


def test_a_long_sitting_hides_a_short_one_after_it():
    both = [claim("09:00-12:00", own_start=at("09:00")), claim("09:30-09:40", own_start=at("09:30"))]
    assert left(ask(rules(seats=2), host("09:00-14:00", claims=both))) == {"12:00": 2, "13:00": 2}


def test_per_day():
    of = rules(per_day_max=2)
    two = [sitting("09:00"), sitting("11:00")]
    assert clocks(ask(of, host("09:00-13:00", claims=two[:1]))) == ["10:00", "11:00", "12:00"]
    assert clocks(ask(of, host("09:00-13:00", claims=two))) == []
    # Other event types do not count, nor do other days.
    assert clocks(ask(of, host("09:00-12:00", claims=[two[0], claim("11:00-12:00")]))) == ["10:00"]
    days = host("09:00-13:00", claims=two, days=["sun", "mon", "tue"])
    assert clocks(ask(of, days, start=at("00:00", -1), end=at("00:00", 2), now=NOW - DAY_MS)) == [
        "09:00", "10:00", "11:00", "12:00",
    ] * 2  # fmt: skip
    assert clocks(ask(rules(per_day_max=0), host("09:00-13:00"))) == []


def test_per_day_counts_starts_and_lets_a_sitting_be_joined():
    of = rules(per_day_max=1, seats=3)
    claims = [sitting("10:00"), sitting("10:00", live_until=NOW + 5)]
    found = ask(of, host("09:00-13:00", claims=claims))
    assert left(found) == {"10:00": 1}
    assert day_is_full(of, host(claims=claims), at("09:00"), NOW)
    assert not day_is_full(of, host(claims=claims), at("10:00"), NOW)
    assert not day_is_full(of, host(claims=claims), at("09:00", 1), NOW)
    assert not day_is_full(of, host(), at("09:00"), NOW)


def test_per_day_is_the_hosts_local_day():
    # 23:30Z is past midnight in Prague: it counts for Tuesday there, for Monday in UTC.
    late = Claim(at("23:30"), at("00:30", 1), own_start=at("23:30"))
    of = rules(per_day_max=1)
    for zone, starts in (("Europe/Prague", ["20:00", "21:00", "22:00"]), ("UTC", [])):
        there = host("00:00-24:00", zone=zone, claims=[late])
        assert clocks(ask(of, there, start=at("20:00"), end=at("23:00"))) == starts


def test_dated_starts_need_no_hours_but_free_time():
    of = rules(starts=(at("20:00"), at("03:00"), at("03:30"), at("20:00"), at("05:00", 9)))
    assert clocks(ask(of, host())) == ["03:00", "03:30", "20:00"]
    assert clocks(ask(of, host(busy=["04:15-05:00"]))) == ["03:00", "20:00"]
    assert clocks(ask(of, host(claims=[sitting("20:00")]))) == ["03:00", "03:30"]
    assert hosts_offering(of, [host()], "one_of", at("03:30"), NOW) == ("hst_a",)
    assert hosts_offering(of, [host()], "one_of", at("03:31"), NOW) == ()


def pairs(found):
    return [(f"{from_ms(slot.start):%H:%M}", slot.hosts, slot.seats_left) for slot in found.slots]


def test_one_of_is_a_union():
    a = host("09:00-11:00", name="a", claims=[sitting("10:00")])
    b = host("10:00-11:00", "13:30-14:30", name="b")
    assert pairs(ask(rules(seats=2), a, b)) == [
        ("09:00", ("a",), 2),
        ("10:00", ("a", "b"), 2),
        ("13:30", ("b",), 2),
    ]
    assert ("10:00", ("b", "a"), 2) in pairs(ask(rules(seats=2), b, a))
    assert pairs(ask(rules(), b, a)) == [("09:00", ("a",), 1), ("10:00", ("b",), 1), ("13:30", ("b",), 1)]
    assert hosts_offering(rules(), [b, a], "one_of", at("10:00"), NOW) == ("b", "a")
    assert hosts_offering(rules(), [b, a], "one_of", at("13:30"), NOW) == ("b",)
    assert hosts_offering(rules(), [b, a], "one_of", at("09:30"), NOW) == ()


def test_all_of_is_an_intersection():
    a = host("09:00-12:30", name="a", claims=[sitting("09:30", seats=2)])
    b = host("09:30-17:00", name="b", claims=[sitting("09:30")], busy=["11:45-12:00"])
    assert pairs(ask(rules(seats=5), a, b, assignment="all_of")) == [
        ("09:30", ("a", "b"), 3),
        ("10:30", ("a", "b"), 5),
    ]
    assert hosts_offering(rules(), [a, b], "all_of", at("11:30"), NOW) == ("a", "b")
    assert hosts_offering(rules(), [a, b], "all_of", at("09:00"), NOW) == ()
    assert hosts_offering(rules(), [a, b], "all_of", at("10:00"), NOW) == ()


def test_all_of_in_two_zones():
    # 14:00 to 17:00 in Prague is 13:00 to 16:00Z, 09:00 to 12:00 in New York is 14:00 to 17:00Z.
    prague = host("14:00-17:00", name="p", zone="Europe/Prague")
    new_york = host("09:00-12:00", name="n", zone="America/New_York")
    assert clocks(ask(HOUR, prague, new_york, assignment="all_of")) == ["14:00", "15:00"]


@pytest.mark.parametrize("assignment", ["one_of", "all_of"])
def test_no_hosts_no_slots(assignment):
    assert ask(HOUR, assignment=assignment).slots == []
    assert hosts_offering(HOUR, [], assignment, at("09:00"), NOW) == ()


@pytest.mark.parametrize(
    ("of", "claims", "now", "due"),
    [
        # Notice of the first slot.
        (rules(), [], NOW, at("09:00")),
        (rules(notice=HOUR_MS), [], NOW, at("08:00")),
        (rules(notice=HOUR_MS), [], at("08:00"), at("09:00")),
        (rules(), [], at("10:00"), None),
        # A hold that runs out; not one that has, nor one elsewhere.
        (rules(), [claim("09:30-10:00", live_until=NOW + 7)], NOW, NOW + 7),
        (rules(), [claim("09:30-10:00", live_until=NOW)], NOW, at("09:00")),
        (rules(), [claim("09:30-10:00")], NOW, at("10:00")),
        (rules(), [Claim(at("09:00", 9), at("10:00", 9), live_until=NOW + 7)], NOW, at("09:00")),
        # One that only a buffer meets.
        (rules(buffer_before=HOUR_MS), [Claim(MONDAY - 9, MONDAY - 1, live_until=NOW + 7)], NOW, NOW + 7),
        # The horizon reaches the first slot, then the second.
        (rules(horizon=HOUR_MS), [], NOW, at("08:00")),
        (rules(horizon=HOUR_MS), [], at("08:00"), at("09:00")),
        (rules(horizon=2 * HOUR_MS), [], at("07:30"), at("08:00")),
    ],
)
def test_when_the_answer_changes(of, claims, now, due):
    assert ask(of, host("09:00-11:00", claims=claims), now=now).next_change_at == due


def test_a_hold_on_the_other_end_of_the_local_day_matters_to_a_full_day():
    of = rules(per_day_max=1)
    held = host("09:00-20:00", claims=[sitting("09:00", live_until=NOW + 7)])
    found = ask(of, held, start=at("15:00"), end=at("16:00"))
    assert (found.slots, found.next_change_at) == ([], NOW + 7)


def test_reach():
    assert reach(rules(buffer_before=5, buffer_after=7), 100, 200) == (95, 207 + HOUR_MS)
    assert reach(rules(per_day_max=1), 100, 200) == (100 - 2 * DAY_MS, 200 + 2 * DAY_MS)
