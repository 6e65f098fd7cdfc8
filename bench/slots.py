# SPDX-License-Identifier: Apache-2.0
"""How long the search for slots takes: CPU ms, median of several rounds, windows warm.

60 days, weekly hours 09:00 to 17:00, 2,000 busy intervals a host, 15-minute step, 60-minute duration.
"""

import itertools
import random
import statistics
import time
from collections.abc import Callable

from holdfirst.availability.schedule import Override, Schedule, WeeklyHours
from holdfirst.availability.slots import HostTime, SlotRules, find_slots
from holdfirst.availability.windows import open_windows
from holdfirst.interval import DAY_MS, MINUTE_MS

START = 1_796_000_000_000  # 2026-11-30T00:53:20Z
RULES = SlotRules(duration=60 * MINUTE_MS, step=15 * MINUTE_MS)
WORKWEEK = Schedule(
    weekly=(WeeklyHours(days=("mon", "tue", "wed", "thu", "fri"), start="09:00", end="17:00"),)
)

UNSEEN = itertools.count(1000)


def measure() -> dict[str, float]:
    """CPU milliseconds by case, and how many slots each found."""
    hosts = [_host(number) for number in range(50)]
    one = _median(lambda: _find(hosts[:1]), rounds=51)
    fifty = _median(lambda: _find(hosts), rounds=7)
    cold = _median(_find_cold, rounds=51)
    return {
        "one_host_ms": round(one, 3),
        "one_host_slots": _find(hosts[:1]),
        "fifty_hosts_one_of_ms": round(fifty, 2),
        "fifty_hosts_slots": _find(hosts),
        "windows_cold_ms": round(cold, 3),
    }


def main() -> None:
    for name, value in measure().items():
        print(f"{name:24} {value}")


def _host(number: int) -> HostTime:
    luck = random.Random(number)
    starts = sorted(START + luck.randrange(60 * 24 * 12) * 5 * MINUTE_MS for _ in range(2_000))
    busy = [(start, start + luck.choice((10, 15, 20, 30)) * MINUTE_MS) for start in starts]
    return HostTime(f"hst_{number}", "Europe/Prague", WORKWEEK, busy)


def _find(hosts: list[HostTime]) -> int:
    return len(find_slots(RULES, hosts, "one_of", START, START + 60 * DAY_MS, START).slots)


def _find_cold() -> None:
    # A schedule nobody has asked about before: one more override, long past.
    long_past = Override(f"{next(UNSEEN)}-01-01")
    unseen = Schedule(weekly=WORKWEEK.weekly, overrides=(long_past,))
    open_windows(unseen, "Europe/Prague", START, START + 60 * DAY_MS)


def _median(call: Callable[[], object], rounds: int) -> float:
    call()
    spent = []
    for _ in range(rounds):
        begun = time.process_time_ns()
        call()
        spent.append((time.process_time_ns() - begun) / 1e6)
    return statistics.median(spent)


if __name__ == "__main__":
    main()
