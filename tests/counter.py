# SPDX-License-Identifier: Apache-2.0
"""A shop's counter over HTTP: an event type for every money mode, and every state that a reservation can be in."""

from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import Any

import httpx

from front import Site, open_site
from holdfirst.payment.payment import Mode
from holdfirst.store.database import Database, Tx

RETURN = {"return_url": "https://shop.example/done"}
CUSTOMER = {"name": "Anna", "email": "anna@example.org"}
MODES = [mode.value for mode in Mode]
POLICIES: dict[str, Any] = {
    "cancellation": [{"until_minutes_before": 60, "refund_percent": 100}],
    "reschedule": {"until_minutes_before": 60, "times_max": 3},
}


@dataclass
class Counter:
    """`offers`: ids of event types by money mode, and `free`. Each reservation has an hour of its own."""

    site: Site
    offers: dict[str, str] = field(default_factory=dict)
    hours: Any = field(default_factory=lambda: count(0))

    def next_start(self) -> str:
        hour = next(self.hours)
        return str(self.site.shop.slot(hour % 24, 7 + hour // 24).isoformat())

    async def call(
        self, method: str, path: str, body: Any = None, key: str = "secret", **more: Any
    ) -> httpx.Response:
        return await self.site.call(method, path, body, key=key, **more)

    async def verb(
        self, held: dict[str, Any], verb: str, body: Any = None, key: str = "secret", **more: Any
    ) -> httpx.Response:
        return await self.call("POST", f"/v1/reservations/{held['id']}/{verb}", body, key, **more)

    async def done(self, held: dict[str, Any], verb: str, body: Any = None, **more: Any) -> dict[str, Any]:
        """A verb that must succeed; what it answers, with the client secret that was given once."""
        answer = await self.verb(held, verb, body, **more)
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told | {"client_secret": held["client_secret"]}

    async def read(self, held: dict[str, Any]) -> dict[str, Any]:
        answer = await self.call("GET", f"/v1/reservations/{held['id']}")
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    async def reserve(self, offer: str = "authorize", **more: Any) -> httpx.Response:
        body = {
            "event_type": self.offers[offer],
            "start": self.next_start(),
            "customer": CUSTOMER,
            "hold_seconds": 600,
        }
        key = more.pop("key", "secret")
        return await self.call("POST", "/v1/reservations", body | more, key)

    async def held(self, offer: str = "authorize", **more: Any) -> dict[str, Any]:
        answer = await self.reserve(offer, **more)
        assert answer.status_code == 201, answer.text
        told: dict[str, Any] = answer.json()
        return told

    async def open(self, offer: str = "authorize", **more: Any) -> dict[str, Any]:
        """Held, with an open checkout."""
        held = await self.held(offer, **more)
        return await self.done(held, "checkout", RETURN)

    async def paid(self, offer: str = "authorize") -> dict[str, Any]:
        held = await self.open(offer)
        self.site.shop.provider.bring_money(held["payment"]["provider_ref"])
        await self.work()
        told = await self.read(held)
        assert told["status"] == "confirmed", told
        return told | {"client_secret": held["client_secret"]}

    async def work(self) -> None:
        """Every job is due now, and runs."""
        await self.site.shop.database.run(_due_now)
        await self.site.shop.work()

    # Every state, and how a reservation comes to be in it. What a clock must do to it afterwards is told apart.

    async def in_state(self, state: str) -> dict[str, Any]:
        match state:
            case "held" | "expired" | "expired_unwritten" | "expired_taken":
                return await self.held()
            case "free" | "free_expired":
                return await self.held("free")
            case "open_authorize" | "open_authorize_late":
                return await self.open("authorize")
            case "open_sale" | "processing_by_closing" | "closing_unanswered":
                return await self.open("sale")
            case "open_uncloseable" | "open_uncloseable_late":
                return await self.open("sale_uncloseable")
            case "declined":
                held = await self.open("sale")
                self.site.shop.provider.decline(held["payment"]["provider_ref"])
                await self.work()
                return held
            case "processing_by_capture" | "processing_by_capture_late":
                held = await self.open("authorize")
                self.site.shop.provider.faults["capture"] = ["lost_before"] * 9
                self.site.shop.provider.bring_money(held["payment"]["provider_ref"])
                await self.done_or_waiting(held)
                return held
            case "processing_by_release" | "release_unanswered":
                held = await self.open("sale")
                self.site.shop.provider.faults["close"] = ["lost_before"]
                return await self.done(held, "release")
            case "confirmed" | "confirmed_late":
                return await self.paid()
            case "released":
                return await self.done(await self.held(), "release")
            case "cancelled":
                return await self.done(await self.paid(), "cancel", {"reason": "ill", "refund": "full"})
            case _:
                raise AssertionError(state)

    async def done_or_waiting(self, held: dict[str, Any]) -> None:
        """Ask the provider as a confirm does; the money is on its way and not here."""
        answer = await self.verb(held, "confirm")
        assert answer.json()["code"] == "payment_in_progress", answer.text

    async def take(self, held: dict[str, Any]) -> None:
        """Somebody else reserves the very same time."""
        await self.held(start=held["start"])


AFTERWARDS = {
    "expired": timedelta(seconds=601),
    "expired_unwritten": timedelta(seconds=601),
    "expired_taken": timedelta(seconds=601),
    "free_expired": timedelta(seconds=601),
    "open_authorize_late": timedelta(seconds=601),
    "open_uncloseable_late": timedelta(seconds=601),
    "processing_by_closing": timedelta(seconds=601),
    "processing_by_capture_late": timedelta(seconds=601),
    "confirmed_late": timedelta(seconds=601),
    "closing_unanswered": timedelta(seconds=1201),
    "release_unanswered": timedelta(seconds=601),
}
"""How far the clock goes on: past `held_until`, or past `processing_until`."""


async def open_counter(database: Database, **options: Any) -> Counter:
    counter = Counter(await open_site(database, **options))
    members = {"hosts": counter.site.shop.hosts, "duration_minutes": 60, "horizon_days": 365} | POLICIES
    for mode in MODES:
        payee = await counter.call("POST", "/v1/payment-accounts", {"provider": "sandbox", "mode": mode})
        assert payee.status_code == 201, payee.text
        price = {"amount_minor": 6000, "currency": "EUR"}
        await _offer(counter, mode, members | {"price": price, "payment_account": payee.json()["id"]})
    await _offer(counter, "free", members)
    return counter


async def _offer(counter: Counter, name: str, members: dict[str, Any]) -> None:
    made = await counter.call(
        "POST", "/v1/event-types", members | {"name": name, "slug": name.replace("_", "-")}
    )
    assert made.status_code == 201, made.text
    counter.offers[name] = made.json()["id"]


async def _due_now(tx: Tx) -> None:
    await tx.execute("update job set due_at = least(due_at, the_clock()) where kind <> 'deadline'")
