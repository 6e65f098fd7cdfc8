# SPDX-License-Identifier: Apache-2.0
"""The example of a shop that takes money elsewhere: it dies before or after each of its calls, starts again, and money and time agree."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from front import Site, open_site
from holdfirst.refusal import Refusal
from holdfirst.store.database import Database

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "shop"))
import booking_shop as example  # the example is no part of the package
import till  # the same

CUSTOMER = {"name": "Anna", "email": "anna@example.org"}


class Died(BaseException):
    """The process is gone: no `except` of the shop's may catch it."""


@dataclass
class Wire(httpx.AsyncBaseTransport):
    """Counts calls; at the chosen one the process dies, before it or after it was done."""

    inner: httpx.AsyncBaseTransport
    fate: dict[str, Any] = field(default_factory=dict)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.fate["left"] = self.fate.get("left", 10**9) - 1
        dies = self.fate["left"] == 0
        if dies and self.fate["before"]:
            raise Died
        answer = await self.inner.handle_async_request(request)
        if dies:
            raise Died
        return answer


@dataclass
class Street:
    site: Site
    path: Path
    fate: dict[str, Any]
    clients: list[httpx.AsyncClient]

    def shop(self) -> example.Shop:
        """A new process over the same books."""
        return example.Shop(str(self.path), *self.clients, self.site.shop.event_type_id)

    async def charged(self, order: str) -> str:
        state: str = (await self.clients[1].get(f"/payments/{order}")).json()["state"]
        return state


@asynccontextmanager
async def open_street(database: Database, folder: Path) -> AsyncIterator[Street]:
    site, fate = await open_site(database), {}
    apps = (site.http._transport, httpx.ASGITransport(app=till.make_till()))
    headers = {"authorization": f"Bearer {site.keys['secret']}"}
    clients = [
        httpx.AsyncClient(transport=Wire(app, fate), base_url="http://holdfirst.test", headers=headers)
        for app in apps
    ]
    try:
        yield Street(site, folder / "shop.sqlite", fate, clients)
    finally:
        for client in (*clients, site.http):
            await client.aclose()


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("call", [0, 1, 2, 3])
@pytest.mark.parametrize("slot", ["held", "over", "sold"])
@pytest.mark.parametrize("method", ["card", "transfer"])
async def test_it_survives_its_own_death(  # what can happen
    database: Database, clock, tmp_path: Path, method: str, slot: str, call: int, before: bool
) -> None:
    async with open_street(database, tmp_path) as street:
        shop = street.shop()
        order = await shop.book(street.site.shop.slot().isoformat(), CUSTOMER)
        if slot != "held":
            await clock.shift(timedelta(hours=1))
        if slot == "sold":
            assert not isinstance(await street.site.shop.reserve(), Refusal)
        street.fate |= {"left": call, "before": before}
        try:
            await shop.pay(order["id"], method)
        except Died:
            street.fate.clear()
            await street.shop().settle_all()
        street.fate.clear()
        await street.shop().settle_all()
        await at_rest(street, order, method, slot)


async def at_rest(street: Street, order: dict[str, str], method: str, slot: str) -> None:
    after = street.shop().order(order["id"])["state"]
    told = (await street.site.get(f"/v1/reservations/{order['reservation']}")).json()
    kept = slot == "held" or (slot == "over" and method == "transfer")
    assert (after, told["status"]) == (("done", "confirmed") if kept else ("not charged", "expired"))
    money = await street.charged(order["id"])
    assert money == ("charged" if kept else "voided" if method == "card" else "refunded")


async def test_a_promise_that_comes_to_nothing_gives_the_slot_back(
    database: Database, tmp_path: Path
) -> None:
    async with open_street(database, tmp_path) as street:
        shop = street.shop()
        order = await shop.book(street.site.shop.slot().isoformat(), CUSTOMER)
        street.fate |= {"left": 3, "before": True}
        with pytest.raises(Died):
            await shop.pay(order["id"], "card")
        street.fate.clear()
        await street.clients[1].post(f"/payments/{order['id']}/void")
        await street.shop().settle_all()
        told = (await street.site.get(f"/v1/reservations/{order['reservation']}")).json()
        assert told["status"] == "cancelled"
        assert street.shop().order(order["id"])["state"] == "not charged"


async def test_it_answers_over_http(database: Database, tmp_path: Path) -> None:
    async with open_street(database, tmp_path) as street:
        app = example.make_app(street.shop())
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app), base_url="http://shop.test"
        ) as http:
            body = {"start": street.site.shop.slot().isoformat(), **CUSTOMER}
            order = (await http.post("/orders", json=body)).json()
            paid = await http.post(f"/orders/{order['id']}/pay", json={"method": "card"})
            assert paid.json()["state"] == "done"
            assert (await http.get(f"/orders/{order['id']}")).json() == paid.json()
