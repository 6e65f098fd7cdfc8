# SPDX-License-Identifier: Apache-2.0
"""GoPay, made up: an ASGI application that refuses what its documentation says is refused, and fails as it is told to.

It keeps no keys: the same request again is another payment, another refund.
"""

import asyncio
import base64
import json
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Literal
from urllib.parse import parse_qs

import httpx
import msgspec

HALF_A_DAY, HOLD_SECONDS, TOKEN_SECONDS = 12 * 3600, 4 * 86_400, 1800
LOST, SLOW = "x-fake-lost", b"slow"


class Strict(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    pass


class Contact(Strict):
    email: str
    first_name: str | None = None
    last_name: str | None = None
    phone_number: str | None = None
    city: str | None = None
    street: str | None = None
    postal_code: str | None = None
    country_code: str | None = None


Instrument = Literal[
    "PAYMENT_CARD", "BANK_ACCOUNT", "PAYPAL", "GPAY", "APPLE_PAY", "GOPAY", "BITCOIN", "PAYSAFECARD"
]


class Payer(Strict):
    contact: Contact
    allowed_payment_instruments: list[Instrument] | None = None
    default_payment_instrument: Instrument | None = None
    allowed_swifts: list[str] | None = None
    default_swift: str | None = None


class Target(Strict):
    type: Literal["ACCOUNT"]
    goid: int


class Item(Strict):
    name: str
    amount: int
    count: int = 1
    type: Literal["ITEM", "DELIVERY", "DISCOUNT"] = "ITEM"
    product_url: str | None = None
    vat_rate: int | None = None


class CallBack(Strict):
    return_url: str
    notification_url: str | None = None


class Wanted(Strict):
    payer: Payer
    target: Target
    amount: int
    currency: Literal["CZK", "EUR", "PLN", "HUF", "GBP", "USD", "RON", "BGN"]
    order_number: str
    callback: CallBack
    items: list[Item]
    order_description: str = ""
    lang: str = "EN"
    preauthorization: bool = False
    additional_params: list[dict[str, str]] | None = None


class Refusing(Exception):
    def __init__(self, status: int, code: int, name: str) -> None:
        super().__init__(name)
        self.status, self.code, self.name = status, code, name


@dataclass
class Refund:
    id: int
    amount: int
    state: str = "FINISHED"
    made: float = 0.0


@dataclass
class Payment:
    id: int
    wanted: Wanted
    created: float
    state: str = "CREATED"
    sub_state: str | None = None
    authorized_at: float = 0.0
    paid_at: float = 0.0
    refunds: list[Refund] = field(default_factory=list)

    @property
    def given_back(self) -> int:
        return sum(one.amount for one in self.refunds if one.state != "FAILED")

    def view(self) -> dict[str, Any]:
        wanted = self.wanted
        shown: dict[str, Any] = {
            "id": self.id,
            "order_number": wanted.order_number,
            "state": self.state,
            "amount": wanted.amount,
            "currency": wanted.currency,
            "payer": msgspec.to_builtins(wanted.payer),
            "target": {"type": "ACCOUNT", "goid": wanted.target.goid},
            "lang": wanted.lang,
            "gw_url": f"https://gw.sandbox.gopay.com/gw/v3/{self.id}",
        }
        if wanted.preauthorization:
            shown["preauthorization"] = {"requested": True, "state": "REQUESTED"}
        return shown | ({"sub_state": self.sub_state} if self.sub_state else {})


@dataclass
class GoPayFake:
    """`faults[operation]`: `lost_before`, `lost_after`, `500`, `slow` (done, and answered after a
    while), `slow_result` (ACCEPTED: done at the next look), `refused`.
    """

    clients: dict[str, tuple[str, int]] = field(default_factory=dict)
    payments: dict[int, Payment] = field(default_factory=dict)
    tokens: dict[str, tuple[str, float]] = field(default_factory=dict)
    faults: dict[str, list[str]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    refused_tokens: int = 0
    slow_seconds: float = 0.05
    offset: float = 0.0
    refunds_after_seconds: float = 0.0
    lists_refunds_after_seconds: float = 0.0
    captures: bool = True
    balance_is_short: bool = False
    later: list[Callable[[], None]] = field(default_factory=list)
    looks_until_done: int = 1
    """How often it is looked at before what was accepted is done; the same again is refused meanwhile."""
    numbers: Any = field(default_factory=lambda: count(3_000_000_001))

    def now(self) -> float:
        return time.time() + self.offset

    def shop(self, client: str, secret: str, goid: int) -> None:
        self.clients[client] = (secret, goid)

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=_Wire(httpx.ASGITransport(app=self)))

    # What customers and banks do

    def pay(self, ref: str) -> None:
        """`force` is not needed: nobody can close it, so the bank's yes always comes through."""
        payment = self._ticked(int(ref))
        assert payment.state in ("CREATED", "PAYMENT_METHOD_CHOSEN"), payment.state
        if payment.wanted.preauthorization:
            payment.state, payment.authorized_at = "AUTHORIZED", self.now()
        else:
            payment.state, payment.paid_at = "PAID", self.now()

    def choose(self, ref: str) -> None:
        payment = self._ticked(int(ref))
        payment.state, payment.sub_state = "PAYMENT_METHOD_CHOSEN", "_101"

    def decline(self, ref: str) -> None:
        payment = self._ticked(int(ref))
        assert payment.state in ("CREATED", "PAYMENT_METHOD_CHOSEN"), payment.state
        payment.state, payment.sub_state = "CANCELED", "_5006"

    def dashboard_refund(self, ref: str, amount: int) -> None:
        self._refund(self.payments[int(ref)], amount, "FINISHED")

    def fail_refund(self, ref: str) -> None:
        payment = self.payments[int(ref)]
        payment.refunds[-1].state = "FAILED"
        payment.state = "PARTIALLY_REFUNDED" if payment.given_back else "PAID"

    # HTTP

    async def __call__(
        self, scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]
    ) -> None:
        if scope["type"] == "lifespan":
            return
        body = b""
        while True:
            part = await receive()
            body += part.get("body", b"")
            if not part.get("more_body"):
                break
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        lost = b""
        try:
            status, content, lost = self._served(scope["method"], scope["path"], headers, body)
            if lost == SLOW:
                lost = b""
                await asyncio.sleep(self.slow_seconds)
        except Refusing as no:
            errors = [{"scope": "G", "error_code": no.code, "error_name": no.name, "message": no.name}]
            status, content = no.status, {"date_issued": int(self.now() * 1000), "errors": errors}
        more = [(LOST.encode(), lost)] if lost else []
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(b"content-type", b"application/json"), *more],
            }
        )
        await send({"type": "http.response.body", "body": json.dumps(content).encode()})

    def _served(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, Any, bytes]:
        if (method, path) == ("POST", "/api/oauth2/token"):
            return 200, self._token(headers, body), b""
        goid = self._admitted(headers)
        operation, ref = _routed(method, path)
        self.calls.append(operation)
        waiting = self.faults.get(operation, [])
        fault = waiting.pop(0) if waiting else None
        if fault == "lost_before":
            return 500, {}, b"before"
        if fault == "500":
            return 500, {"errors": []}, b""
        if fault == "refused":
            raise Refusing(409, 303, "PAYMENT_WRONG_STATE")
        answer = self._done(operation, ref, goid, body, later=fault == "slow_result")
        return 200, answer, {"lost_after": b"after", "slow": SLOW}.get(fault or "", b"")

    def _token(self, headers: dict[str, str], body: bytes) -> dict[str, Any]:
        form = parse_qs(body.decode())
        try:
            client, secret = (
                base64.b64decode(headers["authorization"].removeprefix("Basic ")).decode().split(":")
            )
        except (KeyError, ValueError):
            raise Refusing(403, 202, "AUTH_WRONG_CREDENTIALS") from None
        if self.clients.get(client, ("", 0))[0] != secret or form.get("grant_type") != ["client_credentials"]:
            raise Refusing(403, 202, "AUTH_WRONG_CREDENTIALS")
        token = secrets.token_hex(16)
        self.tokens[token] = (client, self.now() + TOKEN_SECONDS)
        return {"token_type": "bearer", "access_token": token, "expires_in": TOKEN_SECONDS}

    def _admitted(self, headers: dict[str, str]) -> int:
        known = self.tokens.get(headers.get("authorization", "").removeprefix("Bearer "))
        if known is None or known[1] <= self.now() or known[0] not in self.clients:
            self.refused_tokens += 1
            raise Refusing(403, 200, "UNAUTHORIZED")
        return self.clients[known[0]][1]

    def _done(self, operation: str, ref: str, goid: int, body: bytes, *, later: bool) -> Any:
        if operation == "create":
            return self._create(goid, body).view()
        payment = self._ticked(int(ref))
        if payment.wanted.target.goid != goid:
            raise Refusing(404, 304, "PAYMENT_NOT_FOUND")
        match operation:
            case "fetch":
                self.looks_until_done -= 1
                if self.looks_until_done <= 0:
                    for step in self.later:
                        step()
                    self.later.clear()
                return payment.view()
            case "refunds":
                return [
                    {"id": one.id, "amount": one.amount, "state": one.state}
                    for one in payment.refunds
                    if self.now() - one.made >= self.lists_refunds_after_seconds
                ]
            case "capture" | "void":
                return self._moved(payment, operation, later=later)
            case _:
                amount = int(parse_qs(body.decode())["amount"][0])
                self._refund(payment, amount, "REQUESTED" if later else "FINISHED")
                if later:
                    made = payment.refunds[-1]
                    self.later.append(lambda: setattr(made, "state", "FINISHED"))
                return {"id": payment.id, "result": "ACCEPTED" if later else "FINISHED"}

    def _create(self, goid: int, body: bytes) -> Payment:
        try:
            wanted = msgspec.json.decode(body, type=Wanted)
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            raise Refusing(409, 111, f"INVALID: {error}") from None
        if wanted.target.goid != goid:
            raise Refusing(409, 116, "INVALID goid")
        if sum(one.amount for one in wanted.items) != wanted.amount:
            raise Refusing(409, 360, "ITEMS_DO_NOT_SUM_UP")
        if wanted.amount < 1:
            raise Refusing(409, 301, "PAYMENT_NOT_CREATED")
        payment = Payment(next(self.numbers), wanted, self.now())
        self.payments[payment.id] = payment
        return payment

    def _ticked(self, ref: int) -> Payment:
        if (payment := self.payments.get(ref)) is None:
            raise Refusing(404, 304, "PAYMENT_NOT_FOUND")
        if (
            payment.state in ("CREATED", "PAYMENT_METHOD_CHOSEN")
            and self.now() - payment.created >= HALF_A_DAY
        ):
            payment.state = "TIMEOUTED"
        if payment.state == "AUTHORIZED" and self.now() - payment.authorized_at >= HOLD_SECONDS:
            payment.state = "CANCELED"
        return payment

    def _moved(self, payment: Payment, operation: str, *, later: bool) -> dict[str, Any]:
        if payment.state != "AUTHORIZED" or self.later:
            raise Refusing(409, 303, "PAYMENT_WRONG_STATE")
        if operation == "capture" and not self.captures:
            raise Refusing(409, 350, "PAYMENT_CAPTURE_FAILED")

        def move() -> None:
            payment.state, payment.paid_at = (
                ("PAID", self.now()) if operation == "capture" else ("CANCELED", 0.0)
            )

        if later:
            self.later.append(move)
        else:
            move()
        return {"id": payment.id, "result": "ACCEPTED" if later else "FINISHED"}

    def _refund(self, payment: Payment, amount: int, state: str) -> None:
        if payment.state not in ("PAID", "PARTIALLY_REFUNDED"):
            raise Refusing(409, 330, "PAYMENT_REFUND_NOT_SUPPORTED")
        if self.now() - payment.paid_at < self.refunds_after_seconds:
            raise Refusing(409, 331, "PAYMENT_REFUND_NOT_SUPPORTED")
        if self.balance_is_short:
            raise Refusing(409, 333, "PAYMENT_REFUND_INSUFFICIENT_FUNDS")
        if amount < 1 or amount > payment.wanted.amount - payment.given_back:
            raise Refusing(409, 332, "PAYMENT_REFUND_WRONG_AMOUNT")
        payment.refunds.append(Refund(next(self.numbers), amount, state, self.now()))
        payment.state = "REFUNDED" if payment.given_back == payment.wanted.amount else "PARTIALLY_REFUNDED"


class _Wire(httpx.AsyncBaseTransport):
    """What is marked as lost never arrives."""

    def __init__(self, inner: httpx.ASGITransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self._inner.handle_async_request(request)
        if LOST in answer.headers:
            raise httpx.ReadTimeout("lost", request=request)
        return answer


_ROUTES = [
    ("POST", r"/api/payments/payment", "create"),
    ("GET", r"/api/payments/payment/(\d+)", "fetch"),
    ("GET", r"/api/payments/payment/(\d+)/refunds", "refunds"),
    ("POST", r"/api/payments/payment/(\d+)/capture", "capture"),
    ("POST", r"/api/payments/payment/(\d+)/void-authorization", "void"),
    ("POST", r"/api/payments/payment/(\d+)/refund", "refund"),
]


def _routed(method: str, path: str) -> tuple[str, str]:
    for verb, pattern, operation in _ROUTES:
        if verb == method.upper() and (found := re.fullmatch(pattern, path)):
            return operation, found[1] if found.groups() else ""
    raise Refusing(404, 304, "no such service")
