# SPDX-License-Identifier: Apache-2.0
"""The whole server in this process, as wiring composes it: the sandbox as provider, notifications over HTTP, and the
real worker where a test starts one.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import httpx
import msgspec

from front import Front
from holdfirst import wiring
from holdfirst.flows.accounts import create_key
from holdfirst.providers.sandbox import Books, SandboxCompany
from holdfirst.refusal import Refusal
from holdfirst.settings import Settings
from holdfirst.store import jobs
from holdfirst.store.database import Tx
from holdfirst.web.context import WebContext
from holdfirst.worker import KINDS

URL = "http://holdfirst.test"
RETURN = {"return_url": "https://shop.example/done"}
CUSTOMER = {"name": "Anna", "email": "anna@example.org"}
HOURS = {
    "weekly": [{"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "start": "00:00", "end": "24:00"}]
}
MODES = ["authorize", "sale", "sale_uncloseable"]


@dataclass
class House:
    """`offers`: slugs of event types by money mode; `free` has no price."""

    parts: wiring.Parts
    http: httpx.AsyncClient
    keys: dict[str, str] = field(default_factory=dict)
    host: str = ""
    hours: Any = field(default_factory=lambda: count(0))
    outside: Any = None
    """Companies and servers of a test's own."""

    def start(self) -> str:
        hour = next(self.hours)
        midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return (midnight + timedelta(days=7, hours=hour)).isoformat()

    async def call(
        self, method: str, path: str, body: Any = None, key: str | None = "secret", **headers: str
    ) -> httpx.Response:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            sent["authorization"] = f"Bearer {self.keys.get(key, key)}"
        content = None if body is None else msgspec.json.encode(body)
        if body is not None:
            sent["content-type"] = "application/json"
        return await self.http.request(method, path, content=content, headers=sent)

    async def ask(self, method: str, path: str, body: Any = None, key: str | None = "secret") -> Any:
        """A call that must succeed."""
        answer = await self.call(method, path, body, key)
        assert answer.status_code < 400, answer.text
        return answer.json() if answer.content else None

    async def verb(
        self, held: dict[str, Any], verb: str, body: Any = None, key: str = "secret", **headers: str
    ) -> httpx.Response:
        return await self.call("POST", f"/v1/reservations/{held['id']}/{verb}", body, key, **headers)

    async def read(self, held: dict[str, Any]) -> dict[str, Any]:
        told: dict[str, Any] = await self.ask("GET", f"/v1/reservations/{held['id']}")
        return told

    async def held(self, offer: str = "authorize", key: str = "secret", **more: Any) -> dict[str, Any]:
        body = {"event_type": offer.replace("_", "-"), "start": self.start(), "customer": CUSTOMER}
        told: dict[str, Any] = await self.ask("POST", "/v1/reservations", body | more, key)
        return told

    async def open(self, offer: str = "authorize", **more: Any) -> tuple[dict[str, Any], str]:
        """Held, with an open checkout; and the provider's reference."""
        held = await self.held(offer, **more)
        told = await self.ask("POST", f"/v1/reservations/{held['id']}/checkout", RETURN)
        return held | told, told["payment"]["provider_ref"]

    async def act(self, ref: str, action: str, **more: Any) -> dict[str, Any]:
        told: dict[str, Any] = await self.ask("POST", f"/sandbox/checkouts/{ref}/{action}", more, None)
        return told

    async def pay(self, ref: str, offer: str, **more: Any) -> dict[str, Any]:
        """As this checkout's mode does."""
        return await self.act(ref, "authorize" if offer == "authorize" else "pay", **more)

    async def ledger(self, ref: str) -> dict[str, Any]:
        told: dict[str, Any] = await self.ask("GET", f"/sandbox/checkouts/{ref}", key=None)
        return told

    async def fault(self, operation: str, answer: str, times: int = 1) -> None:
        body = {"operation": operation, "answer": answer, "times": times}
        assert await self.ask("POST", "/sandbox/faults", body, None) == {}

    async def run(self, flow: Any, *arguments: Any) -> Any:
        return await self.parts.world.database.run(flow, *arguments)

    async def step(self, kinds: list[str] | None = None) -> int:
        """Run what is due now, once each, as a worker would; answers how many ran."""
        claimed = await self.run(jobs.claim, kinds or list(KINDS), timedelta(seconds=60), 100)
        for job in claimed:
            try:
                again = await KINDS[job.kind].run(self.parts.world, job.subject)
            except Exception as error:
                await self.run(jobs.retry, job, timedelta(milliseconds=1), str(error))
            else:
                await (self.run(jobs.finish, job) if again is None else self.run(jobs.snooze, job, again))
        return len(claimed)

    async def settle(self, rounds: int = 30) -> None:
        for _ in range(rounds):
            if not await self.step():
                return
            await asyncio.sleep(0.002)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """A real worker, woken by the doorbell."""
        worker = wiring.worker(self.parts)
        running = asyncio.create_task(worker.run())
        try:
            yield
        finally:
            worker.stop()
            await running

    async def until(self, held: dict[str, Any], true: Any, seconds: float = 8) -> dict[str, Any]:
        """The reservation, once `true` holds of it."""
        async with asyncio.timeout(seconds):
            while not true(told := await self.read(held)):
                await asyncio.sleep(0.01)
            return told


@asynccontextmanager
async def open_house(
    database_url: str, data_dir: Any, url: str = URL, **settings: Any
) -> AsyncIterator[House]:
    """`settings`: over the defaults; the test seam is open. `url`: how the world reaches it."""
    chosen = Settings(data_dir=data_dir, sandbox=True, **settings)
    async with wiring.open_parts(chosen, database_url, url) as composed:
        books = Books(database_url, slow_seconds=0.2)
        transport = _Later()
        async with httpx.AsyncClient(transport=transport, base_url=URL, timeout=30) as http:
            company = SandboxCompany(books, http)
            parts = msgspec.structs.replace(composed, sandbox=company)
            parts.world.providers["sandbox"]._books._slow_seconds = 0.2
            context = WebContext(world=parts.world, settings=parts.settings, doorbell=parts.doorbell)
            transport.app = Front(context, company)
            house = House(parts, http)
            await _set_up(house)
            try:
                yield house
            finally:
                await company.aclose()
                await books.aclose()


class _Later(httpx.AsyncBaseTransport):
    """The application, which is made after the client that reaches it."""

    app: Any = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
        return await transport.handle_async_request(request)


async def _set_up(house: House) -> None:
    for name, account, kind in (
        ("secret", "test", "secret"),
        ("publishable", "test", "publishable"),
        ("live", "live", "secret"),
        ("live_publishable", "live", "publishable"),
    ):
        made = await house.run(create_key, account, kind)
        assert not isinstance(made, Refusal)
        house.keys[name] = made[0]
    host = await house.ask("POST", "/v1/hosts", {"name": "Dr Example", "time_zone": "UTC", "schedule": HOURS})
    house.host = host["id"]
    for mode in MODES:
        payee = "pac_sandbox"
        if mode != "authorize":
            made = await house.ask("POST", "/v1/payment-accounts", {"provider": "sandbox", "mode": mode})
            payee = made["id"]
        await house.ask(
            "POST",
            "/v1/event-types",
            {
                "name": mode,
                "slug": mode.replace("_", "-"),
                "hosts": [house.host],
                "duration_minutes": 60,
                "horizon_days": 365,
                "price": {"amount_minor": 6000, "currency": "EUR"},
                "payment_account": payee,
            },
        )
    await house.ask(
        "POST",
        "/v1/event-types",
        {"name": "free", "slug": "free", "hosts": [house.host], "duration_minutes": 60, "horizon_days": 365},
    )


async def due_now(tx: Tx) -> None:
    await tx.execute("update job set due_at = the_clock() where due_at > the_clock()")
