# SPDX-License-Identifier: Apache-2.0
"""`make bench`: the figures of docs/performance.md, as ratios with the floor in the same run.

Medians of interleaved rounds. BENCH_ROUNDS and BENCH_SECONDS set how many and how long. JSON goes to bench/results/.
"""

import asyncio
import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path

import uvloop

import lateness
import over_http
import slots as slot_bench
import store as store_bench
from ground import CLIENTS, ROUNDS, SECONDS, Floor, connection, server
from holdfirst.store.database import Database
from holdfirst.store.migrations import migrate


async def at_the_store(url: str, floor: Floor) -> dict[str, float]:
    database = Database(url, connections_max=CLIENTS)
    await migrate(database)
    await database.open()
    account = lateness.account()
    slots = store_bench.Slots(account, await store_bench.prepare(database, account))
    await store_bench.measure(database, slots, 1)
    rounds = []
    for _ in range(ROUNDS):
        lowest = await asyncio.to_thread(floor.measure)
        rounds.append((lowest, await store_bench.measure(database, slots)))
    late = await lateness.measure(database, slots)
    await database.close()
    return _ratios("store", rounds) | {f"late_{name}_ms": value for name, value in late.items()}


def over_the_wire(url: str, folder: Path, floor: Floor) -> dict[str, float]:
    with over_http.app(url, folder) as (address, pid, key):
        slots = over_http.Slots(over_http.set_up(address, key))
        over_http.measure(address, key, slots, 2)
        rounds, spent = [], []
        for _ in range(ROUNDS):
            lowest = floor.measure()
            before = _cpu_seconds(pid)
            rate = over_http.measure(address, key, slots)
            spent.append((_cpu_seconds(pid) - before) / (rate * SECONDS) * 1e6)
            rounds.append((lowest, rate))
    return _ratios("http", rounds) | {"http_cpu_us": statistics.median(spent)}


def _ratios(name: str, rounds: list[tuple[float, float]]) -> dict[str, float]:
    return {
        f"{name}_per_second": statistics.median(rate for _, rate in rounds),
        f"{name}_floor_per_second": statistics.median(lowest for lowest, _ in rounds),
        f"{name}_ratio": statistics.median(rate / lowest for lowest, rate in rounds),
        f"{name}_ratio_min": min(rate / lowest for lowest, rate in rounds),
        f"{name}_ratio_max": max(rate / lowest for lowest, rate in rounds),
    }


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _versions(url: str) -> dict[str, str]:
    async with connection(url) as link:
        version = await link.fetchval("show server_version")
    return {
        "postgresql": version,
        "python": platform.python_version(),
        "cpu": f"{os.cpu_count()} × {_cpu_model()}",
        "rounds": f"{ROUNDS} × {SECONDS:g} s, {CLIENTS} clients",
        "at": time.strftime("%Y-%m-%d"),
    }


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "?")


TABLE = [
    ("reserve at the store (claim, reservation, job, key), of the floor", "store_ratio", "≥ 0.3", "{:.2f}"),
    ("reserve over HTTP, one process, of the floor", "http_ratio", "≥ 0.12", "{:.3f}"),
    ("— its CPU in the application, a request", "http_cpu_us", "", "{:.0f} µs"),
    ("slots for 60 days, 2,000 busy intervals, one host: CPU", "slots_one_host_ms", "≤ 1 ms", "{:.2f} ms"),
    ("slots for 60 days, 50 hosts one_of: CPU of the search", "slots_fifty_hosts_one_of_ms", "", "{:.1f} ms"),
    ("effect after held_until, idle, p99", "late_idle_p99_ms", "≤ 10 ms", "{:.1f} ms"),
    ("effect after held_until, under load, p99", "late_load_p99_ms", "", "{:.1f} ms"),
]


def main() -> None:
    figures: dict[str, object] = {f"slots_{name}": value for name, value in slot_bench.measure().items()}
    with server() as (url, folder):
        figures |= asyncio.run(_versions(url))
        asyncio.run(Floor.prepare(url))
        floor = Floor(url, folder)
        figures |= uvloop.run(at_the_store(url, floor))
    with server() as (url, folder):
        asyncio.run(Floor.prepare(url))
        figures |= over_the_wire(url, folder, Floor(url, folder))
    for name in ("cpu", "postgresql", "python", "rounds"):
        print(f"{name:12} {figures[name]}")
    for name in ("store", "http"):
        print(
            f"{name:12} {figures[f'{name}_per_second']:.0f}/s, floor {figures[f'{name}_floor_per_second']:.0f}/s"
        )
    print()
    for what, name, wanted, form in TABLE:
        print(f"{what:68} {form.format(figures[name]):>10}  {wanted}")
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    path = results / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.write_text(json.dumps(figures, indent=2, ensure_ascii=False))
    print(f"\n{path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}", file=sys.stderr)


if __name__ == "__main__":
    main()
