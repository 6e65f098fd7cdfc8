# SPDX-License-Identifier: Apache-2.0
"""`make bench`: the figures of docs/performance.md, as ratios with the floor in the same run.

Medians of interleaved rounds. BENCH_ROUNDS and BENCH_SECONDS set how many and how long. JSON goes to bench/results/.
"""

import asyncio
import contextlib
import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path

import uvloop

import hot_slot
import lateness
import least
import over_http
import past
import plain
import slots as slot_bench
import slots_over_http
import store as store_bench
from ground import CLIENTS, ROUNDS, SECONDS, Floor, connection, server, server_pid
from holdfirst.store.database import Database
from holdfirst.store.migrations import migrate


async def at_the_store(url: str, floor: Floor) -> dict[str, float]:
    database = Database(url, connections_max=CLIENTS)
    await migrate(database)
    await database.open()
    account = lateness.account()
    slots = store_bench.Slots(account, await store_bench.prepare(database, account))
    await store_bench.measure(database, slots, 1)
    rounds, spent = [], []
    for _ in range(ROUNDS):
        lowest = await asyncio.to_thread(floor.measure)
        before = time.process_time(), _cpu_of_server(url)
        rate = await store_bench.measure(database, slots)
        after = time.process_time(), _cpu_of_server(url)
        spent.append(
            [(end - start) / (rate * SECONDS) * 1e6 for start, end in zip(before, after, strict=True)]
        )
        rounds.append((lowest, rate))
    client, backend = (statistics.median(one) for one in zip(*spent, strict=True))
    # What would be left if nobody ever waited for anybody: every core busy with this and nothing else.
    ceiling = len(os.sched_getaffinity(0)) * 1e6 / (client + backend)
    cpu = {
        "store_client_us": client,
        "store_server_us": backend,
        "store_ceiling": ceiling / statistics.median(lowest for lowest, _ in rounds),
    }
    found = _named("plain", await plain.measure(database, slots)) | _named(
        "late", await lateness.measure(database, slots)
    )
    await database.close()
    return _ratios("store", rounds) | cpu | found


def over_the_wire(url: str, folder: Path, floor: Floor) -> dict[str, float]:
    with (
        over_http.app(url, folder) as (address, pid, key),
        least.app(url, "insert") as insert,
        least.app(url, "claim") as claim,
    ):
        idle = _memory_mib(pid)
        slots = over_http.Slots(over_http.set_up(address, key))
        over_http.measure(address, key, slots, 2)
        servers = {"http": (address, pid), "least_insert": insert, "least_claim": claim}
        rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in servers}
        spent: dict[str, list[float]] = {name: [] for name in servers}
        for _ in range(ROUNDS):
            lowest = floor.measure()
            for name, (where, process) in servers.items():
                before = _cpu_seconds(process)
                rate = over_http.measure(where, key, slots)
                spent[name].append((_cpu_seconds(process) - before) / (rate * SECONDS) * 1e6)
                rounds[name].append((lowest, rate))
        memory = {"memory_idle_mib": idle, "memory_load_mib": _memory_mib(pid)}
        hot = _named("hot", hot_slot.measure(address, key, slots.event_types))
        cpu = slots_over_http.cpu_of(lambda: [pid, *_children(server_pid(url))])
        fifty = _named("fifty", slots_over_http.measure(address, key, cpu))
    reserves: dict[str, float] = {}
    for name in servers:
        reserves |= _ratios(name, rounds[name]) | {f"{name}_cpu_us": statistics.median(spent[name])}
    return reserves | memory | hot | fifty


def _ratios(name: str, rounds: list[tuple[float, float]]) -> dict[str, float]:
    return {
        f"{name}_per_second": statistics.median(rate for _, rate in rounds),
        f"{name}_floor_per_second": statistics.median(lowest for lowest, _ in rounds),
        f"{name}_ratio": statistics.median(rate / lowest for lowest, rate in rounds),
        f"{name}_ratio_min": min(rate / lowest for lowest, rate in rounds),
        f"{name}_ratio_max": max(rate / lowest for lowest, rate in rounds),
    }


def _named(prefix: str, figures: dict[str, float]) -> dict[str, float]:
    return {f"{prefix}_{name}": value for name, value in figures.items()}


def _memory_mib(pid: int) -> float:
    """Resident."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def _cpu_of_server(url: str) -> float:
    """Of all its processes that are there now: the pool's connections stay, others come and go."""
    spent = 0.0
    for pid in _children(server_pid(url)):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            spent += _cpu_seconds(pid)
    return spent


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
    ("reserve at the store (claim, reservation, job, key), of the floor", "store_ratio", "≥ 0.7", "{:.2f}"),
    ("— its CPU in the client", "store_client_us", "", "{:.0f} µs"),
    ("— its CPU in PostgreSQL", "store_server_us", "", "{:.0f} µs"),
    ("— of the floor, if no core ever waited (both together)", "store_ceiling", "", "{:.2f}"),
    ("— of the same rows in one plain multi-row insert", "plain_ratio", "≥ 0.5", "{:.2f}"),
    ("— with past reservations, of an empty database", "past_ratio", "≥ 0.9", "{:.2f}"),
    ("reserve over HTTP, one process, of the floor", "http_ratio", "≥ 0.5", "{:.3f}"),
    ("— its CPU in the application, a request", "http_cpu_us", "", "{:.0f} µs"),
    ("— the least: no framework, nothing checked, the rows inserted", "least_insert_ratio", "", "{:.3f}"),
    ("— its CPU in the application", "least_insert_cpu_us", "", "{:.0f} µs"),
    ("— the least, by our claim", "least_claim_ratio", "", "{:.3f}"),
    ("— its CPU in the application", "least_claim_cpu_us", "", "{:.0f} µs"),
    ("hot slot, 1,000 clients: p99 of 1,000 slots' p99", "hot_ratio", "≤ 1.5", "{:.2f}"),
    ("slots for 60 days, 2,000 busy intervals, one host: CPU", "slots_one_host_ms", "≤ 0.5 ms", "{:.2f} ms"),
    ("slots for 60 days, 50 hosts one_of, over HTTP: CPU, cold", "fifty_cold_ms", "≤ 40 ms", "{:.1f} ms"),
    ("— warm", "fifty_warm_ms", "≤ 5 ms", "{:.1f} ms"),
    ("— warm, asked with its ETag", "fifty_unchanged_ms", "", "{:.1f} ms"),
    ("effect after held_until, idle, p99", "late_idle_p99", "≤ 10 ms", "{:.1f} ms"),
    ("effect after held_until, under load, p99", "late_load_p99", "≤ 50 ms", "{:.1f} ms"),
    ("memory of one process, idle", "memory_idle_mib", "≤ 100 MiB", "{:.0f} MiB"),
    ("memory of one process, under load", "memory_load_mib", "≤ 150 MiB", "{:.0f} MiB"),
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
    with server() as (url, _):
        figures |= _named("past", uvloop.run(past.measure(url)))
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
