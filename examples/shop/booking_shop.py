# SPDX-License-Identifier: Apache-2.0
"""A shop that takes money in its own way, and lets holdfirst keep the time. It may die at any line, and goes on where it was.

    pip install starlette uvicorn httpx
    uvicorn till:app --port 8002 &
    HOLDFIRST_URL=http://127.0.0.1:8000 HOLDFIRST_KEY=hf_sk_test_… EVENT_TYPE=consultation uvicorn booking_shop:app --port 8001
    curl -d '{"start": "2030-01-07T09:00:00Z", "name": "Anna", "email": "anna@example.org"}' 127.0.0.1:8001/orders
    curl -d '{"method": "card"}' 127.0.0.1:8001/orders/ORDER/pay

The order of things is what makes it safe:

    card      authorise → confirm → capture; where confirm says no: void. Nobody is charged without a slot.
    transfer  charge → confirm {if_still_free: true}; where it says no: refund. Here a charge without a slot can exist for a
              while, because the money moved before anybody could be asked.

Each step is written down before the next one begins, each call carries the order's id as its key, and `settle` may run at any
time, as often as it likes.
"""

import asyncio
import contextlib
import os
import sqlite3
import uuid
from collections.abc import AsyncIterator

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

NOT_DONE = ("paying", "paid", "confirmed", "refused")


class Shop:
    def __init__(
        self, path: str, holdfirst: httpx.AsyncClient, till: httpx.AsyncClient, event_type: str
    ) -> None:
        self._books = sqlite3.connect(path, isolation_level=None)
        self._books.row_factory = sqlite3.Row
        self._books.execute(
            "create table if not exists orders (id primary key, reservation, price, method, state)"
        )
        self._holdfirst, self._till, self._event_type = holdfirst, till, event_type

    def order(self, order_id: str) -> dict[str, str]:
        return dict(self._books.execute("select * from orders where id = ?", [order_id]).fetchone())

    def _note(self, order_id: str, **changes: object) -> None:
        names = ", ".join(f"{name} = ?" for name in changes)
        self._books.execute(f"update orders set {names} where id = ?", [*changes.values(), order_id])

    async def book(self, start: str, customer: dict[str, str]) -> dict[str, str]:
        """Hold the slot. Until it is paid, the clock gives it back by itself."""
        order_id = uuid.uuid4().hex
        self._books.execute("insert into orders values (?, null, null, null, 'new')", [order_id])
        body = {"event_type": self._event_type, "start": start, "customer": customer}
        answer = await self._ask(order_id, "/v1/reservations", body)
        answer.raise_for_status()
        held = answer.json()
        self._note(order_id, reservation=held["id"], price=held["price"]["amount_minor"], state="held")
        return self.order(order_id)

    async def pay(self, order_id: str, method: str) -> dict[str, str]:
        if self.order(order_id)["state"] == "held":
            self._note(order_id, method=method, state="paying")
        await self.settle(order_id)
        return self.order(order_id)

    async def settle(self, order_id: str) -> None:
        """As far as it goes now. What does not answer is asked again later, by whoever runs this next."""
        steps = {
            "paying": self._take,
            "paid": self._confirm,
            "confirmed": self._keep,
            "refused": self._give_back,
        }
        while (step := steps.get(self.order(order_id)["state"])) is not None:
            if (state := await step(self.order(order_id))) is None:
                return
            self._note(order_id, state=state)

    async def settle_all(self) -> None:
        """At the start, and every few seconds: whatever was left half done."""
        marks = ", ".join("?" * len(NOT_DONE))
        for row in self._books.execute(
            f"select id from orders where state in ({marks})", NOT_DONE
        ).fetchall():
            with contextlib.suppress(httpx.HTTPError):
                await self.settle(row["id"])

    async def _take(self, order: dict[str, str]) -> str | None:
        wanted = {"amount": order["price"], "method": order["method"]}
        answer = await self._till.put(f"/payments/{order['id']}", json=wanted)
        return "paid" if answer.is_success else None

    async def _confirm(self, order: dict[str, str]) -> str | None:
        body = {"payment_reference": order["id"], "if_still_free": order["method"] != "card"}
        answer = await self._ask(order["id"], f"/v1/reservations/{order['reservation']}/confirm", body)
        if answer.status_code == 409 and answer.json()["code"] in (
            "payment_in_progress",
            "idempotency_in_progress",
        ):
            return None
        if answer.is_success:
            return "confirmed"
        # Any other refusal is final; a 5xx is none, and says nothing.
        return "refused" if answer.is_client_error else None

    async def _keep(self, order: dict[str, str]) -> str | None:
        if order["method"] != "card":
            return "done"
        answer = await self._till.post(f"/payments/{order['id']}/capture")
        if answer.status_code == 409:
            # The promise came to nothing after all: the slot is given back too.
            cancelled = await self._ask(
                order["id"], f"/v1/reservations/{order['reservation']}/cancel", {"refund": "none"}
            )
            return "not charged" if cancelled.is_success else None
        return "done" if answer.is_success else None

    async def _give_back(self, order: dict[str, str]) -> str | None:
        verb = "void" if order["method"] == "card" else "refund"
        answer = await self._till.post(f"/payments/{order['id']}/{verb}")
        return "not charged" if answer.is_success else None

    async def _ask(self, order_id: str, path: str, body: object) -> httpx.Response:
        return await self._holdfirst.post(path, json=body, headers={"idempotency-key": order_id})


def make_app(shop: Shop) -> Starlette:
    async def book(request: Request) -> JSONResponse:
        wanted = await request.json()
        return JSONResponse(
            await shop.book(wanted["start"], {"name": wanted["name"], "email": wanted["email"]}), 201
        )

    async def pay(request: Request) -> JSONResponse:
        return JSONResponse(await shop.pay(request.path_params["order"], (await request.json())["method"]))

    async def look(request: Request) -> JSONResponse:
        return JSONResponse(shop.order(request.path_params["order"]))

    async def again_and_again() -> None:
        while True:
            await shop.settle_all()
            await asyncio.sleep(5)

    @contextlib.asynccontextmanager
    async def living(_: Starlette) -> AsyncIterator[None]:
        settling = asyncio.create_task(again_and_again())
        yield
        settling.cancel()

    routes = [
        Route("/orders", book, methods=["POST"]),
        Route("/orders/{order}/pay", pay, methods=["POST"]),
        Route("/orders/{order}", look),
    ]
    return Starlette(routes=routes, lifespan=living)


def from_environment() -> Starlette:
    key = {"authorization": f"Bearer {os.environ['HOLDFIRST_KEY']}"}
    holdfirst = httpx.AsyncClient(base_url=os.environ["HOLDFIRST_URL"], headers=key, timeout=15)
    till = httpx.AsyncClient(base_url=os.environ.get("TILL_URL", "http://127.0.0.1:8002"), timeout=15)
    return make_app(
        Shop(os.environ.get("SHOP_BOOKS", "shop.sqlite"), holdfirst, till, os.environ["EVENT_TYPE"])
    )


if "HOLDFIRST_KEY" in os.environ:
    app = from_environment()
