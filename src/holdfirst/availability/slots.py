# SPDX-License-Identifier: Apache-2.0
"""Slots: what a customer may choose, from rules, hours and what is taken.

Instants and lengths are integer milliseconds (UTC, since the epoch). Three movements: the grid (which starts the
rules and the hours allow), the offers (which of them each host could take), and the slots (the hosts together).
Dated starts stand in for the grid: hours do not apply to them, everything else does.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Literal

import msgspec

from holdfirst.availability.busy import Claim, Taken, live, releases, taken
from holdfirst.availability.schedule import Schedule
from holdfirst.availability.windows import local_day, open_windows
from holdfirst.interval import DAY_MS, Interval, intersect

__all__ = ["Assignment", "Claim", "HostTime", "Slot", "SlotList", "SlotRules"]

Assignment = Literal["one_of", "all_of"]
Grid = list[range]  # of starts, ascending
Offer = tuple[int, int]  # start, seats left

FOREVER = 1 << 62
# No local day is longer, so all that counts towards `per_day_max` lies this near.
LOCAL_DAY_MAX = 2 * DAY_MS


class SlotRules(msgspec.Struct, frozen=True):
    """What an event type asks of a slot; lengths in milliseconds.

    `starts`: dated occasions instead of a grid. `schedule`: the event type's own hours, read in each host's zone,
    which narrow the host's. `per_day_max`: starts a host serves on one of its local days.
    """

    duration: int
    step: int
    buffer_before: int = 0
    buffer_after: int = 0
    notice: int = 0
    horizon: int = 60 * DAY_MS
    seats: int = 1
    per_day_max: int | None = None
    starts: tuple[int, ...] | None = None
    schedule: Schedule | None = None


class HostTime(msgspec.Struct, frozen=True):
    """One host's hours and what is taken of them; `busy` sorted by start."""

    host_id: str
    time_zone: str
    schedule: Schedule
    busy: Sequence[Interval] = ()
    claims: Sequence[Claim] = ()


class Slot(msgspec.Struct, frozen=True, gc=False):
    """One interval offered, and the hosts that could take it, in the order they were given."""

    start: int
    end: int
    seats_left: int
    hosts: tuple[str, ...]


class SlotList(msgspec.Struct, frozen=True):
    """Slots sorted by start. Up to `next_change_at` time alone changes nothing; None: it never will."""

    slots: list[Slot]
    next_change_at: int | None


def reach(rules: SlotRules, start: int, end: int) -> Interval:
    """How far around a range busy time and claims matter for its slots: what to load before asking."""
    beside = 0 if rules.per_day_max is None else LOCAL_DAY_MAX
    return (
        start - max(rules.buffer_before, beside),
        end + max(rules.duration + rules.buffer_after, beside),
    )


def find_slots(  # noqa: PLR0913, PLR0917 - a question with a range, a moment and a size
    rules: SlotRules,
    hosts: Sequence[HostTime],
    assignment: Assignment,
    start: int,
    end: int,
    now: int,
    seats: int = 1,
) -> SlotList:
    """The slots that start in `[start, end)`, as they stand at `now`, with room for `seats`.

    A slot is offered iff `now < start - notice` and `start <= now + horizon`, its time with both buffers is free of
    busy and claims, and the day is not full. With more than one seat a slot at which reservations of the same
    event type start is shared with them. one_of: each host alone would do; all_of: all are needed at once.
    """
    start = max(start, now + rules.notice + 1)
    if start >= end:
        return SlotList([], None)
    horizon = now + rules.horizon
    within = reach(rules, start, end)
    due: list[int] = []
    offers: list[list[Offer]] = []
    for host, grid in zip(hosts, _grids(rules, hosts, assignment, start, end), strict=True):
        claims = live(host.claims, now)
        due.extend(releases(claims, within))
        offered: list[Offer] = []
        for offer in _offers(rules, host, grid, taken(host.busy, claims, rules.seats), seats):
            if offer[0] > horizon:
                due.append(offer[0] - rules.horizon)
                break
            offered.append(offer)
        offers.append(offered)
    names = [host.host_id for host in hosts]
    slots = _any(rules, names, offers) if assignment == "one_of" else _all(rules, names, offers)
    if slots:
        due.append(slots[0].start - rules.notice)
    return SlotList(slots, min(due, default=None))


def hosts_offering(
    rules: SlotRules, hosts: Sequence[HostTime], assignment: Assignment, slot_start: int, now: int
) -> tuple[str, ...]:
    """The hosts on whose grid (or dated starts) a slot stands, by hours, notice and horizon alone.

    Ignores busy, claims and full days. all_of: all the hosts or none. Empty: not offered.
    """
    if not now + rules.notice < slot_start <= now + rules.horizon:
        return ()
    grids = _grids(rules, hosts, assignment, slot_start, slot_start + 1)
    return tuple(host.host_id for host, grid in zip(hosts, grids, strict=True) if grid)


def day_is_full(rules: SlotRules, host: HostTime, slot_start: int, now: int) -> bool:
    """Whether `per_day_max` keeps a host from a slot, which then can only be an existing sitting joined."""
    starts = {claim.own_start for claim in live(host.claims, now) if claim.own_start is not None}
    return not any(_not_on_full_days(rules, host, iter((slot_start,)), starts))


def _grids(
    rules: SlotRules, hosts: Sequence[HostTime], assignment: Assignment, start: int, end: int
) -> list[Grid]:
    """The starts in `[start, end)` that the rules and the hours allow, host by host."""
    if rules.starts is not None:
        dated = [range(at, at + 1) for at in sorted(set(rules.starts)) if start <= at < end]
        return [dated] * len(hosts)
    windows = [_windows_of(rules, host, start, end) for host in hosts]
    if assignment == "one_of":
        return [_grid(rules, of_host, start, end) for of_host in windows]
    shared = windows[0] if windows else []
    for of_host in windows[1:]:
        shared = intersect(shared, of_host)
    return [_grid(rules, shared, start, end)] * len(hosts)


def _windows_of(rules: SlotRules, host: HostTime, start: int, end: int) -> list[Interval]:
    windows = open_windows(host.schedule, host.time_zone, start, end)
    if rules.schedule is None:
        return windows
    return intersect(windows, open_windows(rules.schedule, host.time_zone, start, end))


def _grid(rules: SlotRules, windows: list[Interval], start: int, end: int) -> Grid:
    """Every `step` from each window's own start, as long as the slot ends within the window."""
    grid = []
    for window_start, window_end in windows:
        skipped = max(0, -((window_start - start) // rules.step))
        starts = range(
            window_start + skipped * rules.step, min(end, window_end - rules.duration + 1), rules.step
        )
        if starts:
            grid.append(starts)
    return grid


def _offers(rules: SlotRules, host: HostTime, grid: Grid, of_host: Taken, seats: int) -> Iterator[Offer]:
    """The starts of the grid that one host could take, with the seats left there, ascending."""
    starts = _free_starts(rules, grid, of_host.blocks)
    if rules.per_day_max is not None:
        starts = _not_on_full_days(rules, host, starts, of_host.seats_by_start.keys())
    offers = _seats_left(rules, starts, of_host) if of_host.sittings else ((at, rules.seats) for at in starts)
    return (offer for offer in offers if offer[1] >= seats)


def _free_starts(rules: SlotRules, grid: Grid, blocks: list[Interval]) -> Iterator[int]:
    """The starts whose slot, with its buffers, overlaps no block.

    One walk along both: a block that ends before one slot is over for all later ones, and a slot that overlaps a
    block is followed by the first that comes after the block. This is the hot loop: 2,000 blocks in 60 days.
    """
    before, after = rules.buffer_before, rules.duration + rules.buffer_after
    ahead = iter([*blocks, (FOREVER, FOREVER)])
    block_start, block_end = next(ahead)
    for starts in grid:
        at, stop, step = starts.start, starts.stop, starts.step
        while at < stop:
            while block_end <= at - before:
                block_start, block_end = next(ahead)
            if block_start >= at + after:
                yield at
                at += step
            else:
                at += -((at - before - block_end) // step) * step


def _not_on_full_days(
    rules: SlotRules, host: HostTime, starts: Iterator[int], own_starts: AbstractSet[int]
) -> Iterator[int]:
    """Drops the starts on local days that have `per_day_max` starts already, save those that join one of them."""
    used: dict[int, int] = {}
    for at in own_starts:
        day = local_day(host.time_zone, at)[0]
        used[day] = used.get(day, 0) + 1
    day_start = day_end = 0
    for at in starts:
        if not day_start <= at < day_end:
            day_start, day_end = local_day(host.time_zone, at)
        if rules.per_day_max is None or used.get(day_start, 0) < rules.per_day_max or at in own_starts:
            yield at


def _seats_left(rules: SlotRules, starts: Iterator[int], of_host: Taken) -> Iterator[Offer]:
    """Each start that meets no sitting but its own, with the seats its own leaves."""
    before, after = rules.buffer_before, rules.duration + rules.buffer_after
    sittings, first = of_host.sittings, 0
    for at in starts:
        while first < len(sittings) and sittings[first].end <= at - before:
            first += 1
        beyond = bisect_left(sittings, at + after, lo=first, key=lambda sitting: sitting.start)
        if all(sitting.own_start == at or sitting.end <= at - before for sitting in sittings[first:beyond]):
            yield at, rules.seats - of_host.seats_by_start.get(at, 0)


def _any(rules: SlotRules, names: list[str], offers: list[list[Offer]]) -> list[Slot]:
    """Slots that at least one host offers; the most seats that one of them has left."""
    if len(offers) == 1:
        hosts = (names[0],)
        return [Slot(at, at + rules.duration, left, hosts) for at, left in offers[0]]
    most: dict[int, int] = {}
    hosts_at: dict[int, list[str]] = {}
    for name, offered in zip(names, offers, strict=True):
        for at, left in offered:
            if at in most:
                hosts_at[at].append(name)
                most[at] = max(left, most[at])
            else:
                hosts_at[at] = [name]
                most[at] = left
    return [Slot(at, at + rules.duration, most[at], tuple(hosts_at[at])) for at in sorted(most)]


def _all(rules: SlotRules, names: list[str], offers: list[list[Offer]]) -> list[Slot]:
    """Slots that every host offers; the fewest seats that one of them has left."""
    if not offers:
        return []
    fewest = dict(offers[0])
    for offered in offers[1:]:
        fewest = {at: min(left, fewest[at]) for at, left in offered if at in fewest}
    hosts = tuple(names)
    return [Slot(at, at + rules.duration, fewest[at], hosts) for at in sorted(fewest)]
