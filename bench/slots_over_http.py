# SPDX-License-Identifier: Apache-2.0
"""`GET /slots` for 60 days, 50 hosts one_of, over HTTP: CPU of the application and of the database, cold and warm.

Cold: a range nobody has asked about before. Warm: the same question again; and again with its ETag.
"""

import statistics
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

HOSTS = 50
BUSY_A_HOST = 40
ROUNDS = 15
WEEK = ["mon", "tue", "wed", "thu", "fri"]


def measure(address: str, key: str, cpu: Callable[[], float]) -> dict[str, float]:
    """`cpu`: seconds that the application and the database have used so far, together."""
    with httpx.Client(base_url=address, headers={"authorization": f"Bearer {key}"}, timeout=60) as client:
        path = f"/v1/event-types/{_set_up(client)}/slots"
        first = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=3)
        spent: dict[str, list[float]] = {"cold": [], "warm": [], "unchanged": []}
        for number in range(ROUNDS):
            start = first + timedelta(minutes=number)
            query = {"start": start.isoformat(), "end": (start + timedelta(days=60)).isoformat()}
            seen = ""
            for name, times in spent.items():
                headers = {"if-none-match": seen} if name == "unchanged" else {}
                before = cpu()
                answer = client.get(path, params=query, headers=headers)
                times.append((cpu() - before) * 1e3)
                assert answer.status_code == (304 if name == "unchanged" else 200)
                seen = answer.headers["etag"]
    return {f"{name}_ms": statistics.mean(times) for name, times in spent.items()}


def _set_up(client: httpx.Client) -> str:
    hours = {"weekly": [{"days": WEEK, "start": "09:00", "end": "17:00"}]}
    first = datetime.now(UTC).replace(hour=9, minute=0, second=0, microsecond=0) + timedelta(days=3)
    hosts = []
    for number in range(HOSTS):
        host = {"name": f"Of fifty {number}", "time_zone": "Europe/Prague", "schedule": hours}
        hosts.append(client.post("/v1/hosts", json=host).raise_for_status().json()["id"])
        for day in range(BUSY_A_HOST):
            start = first + timedelta(days=day, minutes=5 * (number % 60))
            client.put(
                f"/v1/hosts/{hosts[-1]}/busy/{day}",
                json={"start": start.isoformat(), "end": (start + timedelta(minutes=30)).isoformat()},
            ).raise_for_status()
    made = client.post(
        "/v1/event-types",
        json={
            "name": "Of fifty",
            "hosts": hosts,
            "duration_minutes": 60,
            "step_minutes": 15,
            "horizon_days": 100,
        },
    )
    return made.raise_for_status().json()["id"]


def cpu_of(pids: Callable[[], list[int]]) -> Callable[[], float]:
    """CPU seconds of these processes, as the scheduler has counted them."""

    def seconds() -> float:
        total = 0.0
        for pid in pids():
            for task in Path(f"/proc/{pid}/task").iterdir():
                total += int((task / "schedstat").read_text().split()[0]) / 1e9
        return total

    return seconds
