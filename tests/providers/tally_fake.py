# SPDX-License-Identifier: Apache-2.0
"""Tally, the company of the worked example: what is PUT under a key is there once."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx


@dataclass
class TallyFake:
    orders: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    lost: dict[str, list[bool]] = field(default_factory=dict)

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=httpx.MockTransport(self._answer), base_url="https://api.tally.example"
        )

    def order(self, ref: str) -> dict[str, Any]:
        return next(order for (_, name), order in self.orders.items() if name == ref)

    def pay(self, ref: str) -> None:
        order = self.order(ref)
        assert order["state"] == "open"
        order["state"] = "held" if order["hold"] else "paid"

    def _answer(self, request: httpx.Request) -> httpx.Response:
        token = request.headers["authorization"].removeprefix("Bearer ")
        found = re.fullmatch(r"/orders/([^/]+)(?:/(\w+))?(?:/([^/]+))?", request.url.path)
        assert found is not None
        ref, verb, refund = found.groups()
        operation = {"PUT": "create", "GET": "fetch"}.get(request.method, "") if verb is None else verb
        operation = "refund" if operation == "refunds" else operation
        waiting = self.lost.get(operation, [])
        done = waiting.pop(0) if waiting else None
        if done is False:
            raise httpx.ReadTimeout("lost", request=request)
        body = json.loads(request.content) if request.content else {}
        answer = self._done((token, ref), operation, refund, body)
        if done:
            raise httpx.ReadTimeout("lost", request=request)
        return answer

    def _done(
        self, name: tuple[str, str], operation: str, refund: str, body: dict[str, Any]
    ) -> httpx.Response:
        if operation == "create":
            fresh = {"id": name[1], "url": f"https://tally.example/{name[1]}", "state": "open", "live": False}
            order = self.orders.setdefault(name, fresh | body | {"refunds": {}})
            return httpx.Response(200, json=order)
        if (order := self.orders.get(name)) is None:
            return httpx.Response(404, json={"why": "no such order"})
        steps: dict[str, Callable[[], bool]] = {
            "fetch": lambda: True,
            "close": lambda: _move(order, {"open"}, "closed"),
            "capture": lambda: order["hold"] and _move(order, {"held", "paid"}, "paid"),
            "void": lambda: order["hold"] and _move(order, {"held", "voided"}, "voided"),
            "refund": lambda: _refund(order, refund, body["amount"]),
        }
        if not steps[operation]():
            return httpx.Response(409, json={"why": f"it is {order['state']}"})
        return httpx.Response(200, json=order)


def _move(order: dict[str, Any], allowed: set[str], state: str) -> bool:
    if order["state"] not in allowed:
        return False
    order["state"] = state
    return True


def _refund(order: dict[str, Any], key: str, amount: int) -> bool:
    if key in order["refunds"]:
        return bool(order["refunds"][key] == amount)
    if order["state"] != "paid" or sum(order["refunds"].values()) + amount > order["amount"]:
        return False
    order["refunds"][key] = amount
    return True
