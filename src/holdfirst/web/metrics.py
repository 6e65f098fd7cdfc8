# SPDX-License-Identifier: Apache-2.0
"""What `/metrics` counts here and reads from the database; one registry for each application, so that tests can have many."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from holdfirst.store.database import Database
from holdfirst.store.gauges import Gauges, gauges

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Counters of this process, and gauges that are the same whoever is asked."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._counters: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self.requests = Counter(
            "holdfirst_requests", "Answers.", ["method", "route", "status"], registry=self._registry
        )
        self.latency = Histogram(
            "holdfirst_request_seconds",
            "Time to the answer's end.",
            ["method", "route"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self.bad_notifications = Counter(
            "holdfirst_bad_notifications",
            "Notifications that were not the provider's.",
            ["provider"],
            registry=self._registry,
        )
        self._jobs_due = self._gauge("jobs_due", "Jobs that wait for a worker.")
        self._jobs_dead = self._gauge("jobs_dead", "Jobs that were given up.")
        self._needs_human = self._gauge("payments_needing_a_human", "Payments that somebody must look at.")
        self._refund_due = self._gauge("refunds_due", "Refunds owed and not yet paid out.")
        self._workers = self._gauge("workers", "Workers seen in the last half minute.")
        self._open = self._gauge("database_connections", "Connections of this process.")
        self._idle = self._gauge("database_connections_idle", "Those of them that wait for work.")

    def _gauge(self, name: str, says: str) -> Gauge:
        return Gauge(f"holdfirst_{name}", says, registry=self._registry)

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """One answer. Finding a labelled counter costs more than counting, so each is found once."""
        found = self._counters.get((method, route, status))
        if found is None:
            found = self.requests.labels(method, route, str(status)), self.latency.labels(method, route)
            self._counters[method, route, status] = found
        found[0].inc()
        found[1].observe(seconds)

    async def scrape(self, database: Database) -> bytes:
        """In Prometheus' text format; the gauges are asked for now."""
        seen: Gauges = await database.single(gauges)
        self._jobs_due.set(seen.jobs_due)
        self._jobs_dead.set(seen.jobs_dead)
        self._needs_human.set(seen.payments_needing_a_human)
        self._refund_due.set(seen.refunds_due)
        self._workers.set(seen.workers)
        size, idle = database.pool_size()
        self._open.set(size)
        self._idle.set(idle)
        return generate_latest(self._registry)
