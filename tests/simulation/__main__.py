# SPDX-License-Identifier: Apache-2.0
"""`make simulate`: as many events of the core and steps of the services as asked for, or one seed again."""

import argparse
import os
import sys
import time
from itertools import count
from multiprocessing import get_context

from simulation.town import Course, run
from simulation.walks import SHARE, quietly, walk_share

STEPS_OF_A_COURSE = 200_000
"""About."""


def main() -> None:
    asked = argparse.ArgumentParser(prog="make simulate")
    asked.add_argument("--seed", type=int)
    asked.add_argument("--events", type=int, default=10_000_000)
    asked.add_argument("--steps", type=int, default=1_000_000)
    asked.add_argument("--first", type=int, default=1000)
    told = asked.parse_args()
    if told.seed is not None:
        print(run(told.seed))
        os._exit(0)
    began, events, steps, days, courses = time.monotonic(), 0, 0, 0.0, 0
    # A `ProcessPoolExecutor` with `max_tasks_per_child` can stand still for ever (python/cpython#115634).
    with get_context("spawn").Pool(2, initializer=quietly, maxtasksperchild=8) as pool:
        for one in pool.imap_unordered(walk_share, range(told.first, told.first + -(-told.events // SHARE))):
            events += one.events
        seeds = count(told.first)
        while steps < told.steps:
            course: Course
            at_once = min(4, -(-(told.steps - steps) // STEPS_OF_A_COURSE))
            for course in pool.imap_unordered(run, [next(seeds) for _ in range(at_once)]):
                steps, days, courses = steps + course.steps, days + course.days, courses + 1
    print(
        f"simulation: {events:,} events of the core, {steps:,} steps of the services in {courses} courses"
        f" ({days:,.0f} simulated days), {time.monotonic() - began:.0f} s, no promise broken"
    )
    sys.stdout.flush()


if __name__ == "__main__":
    main()
