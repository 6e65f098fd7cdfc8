# SPDX-License-Identifier: Apache-2.0
"""Stripe over HTTP, as an ASGI application: keys, versions, idempotency, and faults to order."""

import asyncio
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pydantic
import stripe

from .books import DAY, REQUESTS, Books, Refusing
from .shapes import judge, nested, resource

ROUTES: list[tuple[str, str, str]] = [
    ("POST", r"/v1/checkout/sessions", "create"),
    ("GET", r"/v1/checkout/sessions", "list"),
    ("GET", r"/v1/checkout/sessions/([^/]+)", "fetch"),
    ("POST", r"/v1/checkout/sessions/([^/]+)/expire", "close"),
    ("GET", r"/v1/payment_intents/([^/]+)", "fetch_intent"),
    ("POST", r"/v1/payment_intents/([^/]+)/capture", "capture"),
    ("POST", r"/v1/payment_intents/([^/]+)/cancel", "void"),
    ("POST", r"/v1/refunds", "refund"),
    ("GET", r"/v1/refunds", "list_refunds"),
    ("GET", r"/v1/account", "standing"),
    ("GET", r"/v1/accounts/([^/]+)", "standing"),
    ("GET", r"/v1/webhook_endpoints", "list_endpoints"),
    ("POST", r"/v1/webhook_endpoints", "create_endpoint"),
    ("DELETE", r"/v1/webhook_endpoints/([^/]+)", "delete_endpoint"),
    ("POST", r"/v1/account_links", "link"),
    ("POST", r"/v1/products", "product"),
    ("POST", r"/v1/prices", "price"),
    ("POST", r"/v1/payment_methods", "method"),
    ("POST", r"/v1/payment_intents", "create_intent"),
    ("GET", r"/v1/payment_pages/([^/]+)", "page"),
    ("POST", r"/v1/payment_pages/([^/]+)/confirm", "confirm_page"),
]
LOST = "x-fake-lost"


@dataclass
class Kept:
    """What is kept under an idempotency key."""

    fingerprint: str
    at: float
    answer: tuple[int, Any] | None = None


@dataclass
class Key:
    """A secret key; `restricted`: may do checkouts and refunds, and nothing about the account."""

    account_id: str
    restricted: bool = False
    revoked: bool = False


@dataclass
class StripeFake:
    """`faults[operation]`: how the next calls of it go wrong: `lost_before`, `lost_after`, `500` (nothing done, and kept under
    the key), `500_after` (done, and an error all the same), `slow`, `refused`.
    """

    version: str | None = stripe.api_version
    keys: dict[str, Key] = field(default_factory=dict)
    accounts: dict[str, Books] = field(default_factory=dict)
    connected: dict[str, set[str]] = field(default_factory=dict)
    endpoints: dict[str, dict[str, Any]] = field(default_factory=dict)
    faults: dict[str, list[str]] = field(default_factory=dict)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    offset: float = 0.0
    slow_seconds: float = 0.05
    kept: dict[tuple[str, str], Kept] = field(default_factory=dict)

    def now(self) -> float:
        return time.time() + self.offset

    def account(
        self, key: str, account_id: str, *, restricted: bool = False, livemode: bool = False
    ) -> Books:
        self.keys[key] = Key(account_id, restricted)
        return self.accounts.setdefault(account_id, Books(account_id, livemode=livemode, now=self.now))

    def connect(self, platform: str, account_id: str) -> Books:
        self.connected.setdefault(platform, set()).add(account_id)
        livemode = self.accounts[platform].livemode
        return self.accounts.setdefault(account_id, Books(account_id, livemode=livemode, now=self.now))

    def client(self) -> httpx.AsyncClient:
        """Calls made with it arrive here; what is lost is a time-out."""
        return httpx.AsyncClient(transport=_Wire(httpx.ASGITransport(app=self)))

    async def __call__(
        self, scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]
    ) -> None:
        assert scope["type"] == "http"
        body = b""
        while True:
            part = await receive()
            body += part.get("body", b"")
            if not part.get("more_body"):
                break
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        text = scope["query_string"].decode() if scope["method"] in ("GET", "DELETE") else body.decode()
        lost: list[bytes] = []
        more: dict[str, str] = {}
        try:
            status, content = await self._served(scope["method"], scope["path"], headers, text, lost, more)
        except Refusing as no:
            status, content = no.status, _error(no)
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [
                    (b"content-type", b"application/json"),
                    (b"request-id", b"req_fake"),
                    *((name.encode(), value.encode()) for name, value in more.items()),
                    *((LOST.encode(), one) for one in lost),
                ],
            }
        )
        await send({"type": "http.response.body", "body": json.dumps(content).encode()})

    async def _served(  # a request, and what its answer carries besides
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        text: str,
        lost: list[bytes],
        more: dict[str, str],
    ) -> tuple[int, Any]:
        operation, ref = self._routed(method, path)
        books, key = self._admitted(headers)
        wanted = self._judged(operation, text)
        self.calls.append((operation, wanted))
        waiting = self.faults.get(operation, [])
        fault = waiting.pop(0) if waiting else None
        if fault == "slow":
            await asyncio.sleep(self.slow_seconds)
        if fault == "lost_before":
            lost.append(b"before")
            return 500, {}
        if method != "POST":
            if fault in ("500", "500_after"):
                raise Refusing(500, "An error occurred")
            answer = 200, self._done(operation, books, key, ref, wanted)
        else:
            answer = await self._once(
                operation, headers, (books, key, ref, wanted), f"{method} {path} {text}", fault, more
            )
        if fault == "lost_after":
            lost.append(b"after")
        return answer

    def _routed(self, method: str, path: str) -> tuple[str, str]:
        for verb, pattern, operation in ROUTES:
            if verb == method and (found := re.fullmatch(pattern, path)):
                return operation, found[1] if found.groups() else ""
        raise Refusing(404, f"Unrecognized request URL ({method}: {path}).", executed=False)

    def _admitted(self, headers: dict[str, str]) -> tuple[Books, Key]:
        secret = headers.get("authorization", "").removeprefix("Bearer ")
        key = self.keys.get(secret)
        if key is None or key.revoked:
            raise Refusing(401, f"Invalid API Key provided: {secret[:8]}****{secret[-4:]}", executed=False)
        if self.version is not None and headers.get("stripe-version") != self.version:
            raise Refusing(
                400, f"Not the version that was pinned: {headers.get('stripe-version')}", executed=False
            )
        acting = headers.get("stripe-account")
        if acting is None:
            return self.accounts[key.account_id], key
        if acting not in self.connected.get(key.account_id, set()):
            raise Refusing(
                403, f"The key does not have access to account '{acting}'.", "account_invalid", executed=False
            )
        return self.accounts[acting], key

    def _judged(self, operation: str, text: str) -> dict[str, Any]:
        try:
            said = nested(text)
            if self.version is None and operation == "create_intent":
                # Gone from the pinned version; the command line's fixtures are of an older one.
                said.pop("payment_method_types", None)
            judged = judge(REQUESTS[operation]).validate_python(said)
        except (pydantic.ValidationError, ValueError) as error:
            raise Refusing(400, f"{operation}: {error}", "parameter_unknown", executed=False) from None
        wanted: dict[str, Any] = judged.model_dump(exclude_unset=True)
        return wanted

    async def _once(  # what it is kept under, and what is done
        self,
        operation: str,
        headers: dict[str, str],
        what: tuple[Books, Key, str, dict[str, Any]],
        fingerprint: str,
        fault: str | None,
        more: dict[str, str],
    ) -> tuple[int, Any]:
        """The same key: the same answer, errors of an endpoint that had begun included; for a day."""
        books = what[0]
        name = (books.account_id, headers.get("idempotency-key") or f"none{len(self.calls)}")
        kept = self.kept.get(name)
        if kept is not None and self.now() - kept.at < DAY:
            if kept.fingerprint != fingerprint:
                raise Refusing(
                    400,
                    "Keys for idempotent requests can only be used with the same parameters",
                    "key_mismatch",
                )
            if kept.answer is None:
                raise Refusing(
                    409, "There is currently another in-progress request using this key", executed=False
                )
            more["idempotent-replayed"] = "true"
            return kept.answer
        mine = self.kept[name] = Kept(fingerprint, self.now())
        await asyncio.sleep(0)
        try:
            _go_wrong(fault, "500", "refused")
            mine.answer = 200, self._done(operation, *what)
            _go_wrong(fault, "500_after")
        except Refusing as no:
            if not no.executed:
                del self.kept[name]
                raise
            mine.answer = no.status, _error(no)
        return mine.answer

    def _done(self, operation: str, books: Books, key: Key, ref: str, wanted: dict[str, Any]) -> Any:
        expand = any(one.startswith("payment_intent") for one in wanted.get("expand") or [])
        match operation:
            case "create":
                return books.create(wanted).view()
            case "fetch":
                return books.session(ref).view(expand=expand)
            case "close":
                return books.expire(ref).view()
            case "fetch_intent":
                return books.intent(ref).view()
            case "capture":
                return books.capture(ref).view()
            case "void":
                return books.cancel(ref).view()
            case "refund":
                return books.refund(wanted).view()
            case "list":
                return _page(self._sessions(books, wanted), wanted, "/v1/checkout/sessions")
            case "list_refunds":
                of = wanted.get("payment_intent")
                found = [one.view() for one in books.refunds.values() if of in (None, one.intent.id)]
                return _page(found[::-1], wanted, "/v1/refunds")
            case "product" | "price" | "method":
                return books.catalog.make(operation, wanted, books)
            case "create_intent":
                return books.create_intent(wanted).view()
            case "page":
                return books.session(ref).view()
            case "confirm_page":
                return books.confirm_page(ref, wanted).view()
            case _:
                return self._about_account(operation, books, key, ref, wanted)

    def _sessions(self, books: Books, wanted: dict[str, Any]) -> list[dict[str, Any]]:
        created = wanted.get("created") or {}
        return [
            one.view()
            for one in reversed([books.session(ref) for ref in list(books.sessions)])
            if created.get("gte", 0) <= one.created <= created.get("lte", one.created)
            and wanted.get("status", one.status) == one.status
        ]

    def _about_account(self, operation: str, books: Books, key: Key, ref: str, wanted: dict[str, Any]) -> Any:
        if key.restricted:
            raise Refusing(403, "The provided key does not have the required permissions.", executed=False)
        match operation:
            case "standing":
                about = self.accounts.get(ref, books) if ref else books
                if ref and ref != key.account_id and ref not in self.connected.get(key.account_id, set()):
                    raise Refusing(403, f"The key does not have access to account '{ref}'.", executed=False)
                needs = {"disabled_reason": None if about.charges_enabled else "requirements.past_due"}
                return resource(
                    stripe.Account,
                    id=about.account_id,
                    object="account",
                    charges_enabled=about.charges_enabled,
                    requirements=needs,
                )
            case "list_endpoints":
                return _page(
                    [_without_secret(one) for one in self.endpoints.values()], wanted, "/v1/webhook_endpoints"
                )
            case "create_endpoint":
                if wanted.get("connect") and key.account_id not in self.connected:
                    raise Refusing(400, "You are not a platform.", executed=False)
                if not wanted["url"].startswith("https://"):
                    raise Refusing(
                        400, "Invalid URL: must be public and https", "url_invalid", executed=False
                    )
                made = resource(
                    stripe.WebhookEndpoint,
                    id=books.id("we"),
                    object="webhook_endpoint",
                    api_version=wanted.get("api_version"),
                    created=books.clock(),
                    enabled_events=wanted["enabled_events"],
                    livemode=books.livemode,
                    metadata={},
                    secret=f"whsec_{books.id('secret')}",
                    status="enabled",
                    url=wanted["url"],
                )
                self.endpoints[made["id"]] = made
                return made
            case "delete_endpoint":
                del self.endpoints[ref]
                return {"id": ref, "object": "webhook_endpoint", "deleted": True}
            case "link":
                if wanted["account"] not in self.connected.get(key.account_id, set()):
                    raise Refusing(400, "No such account", "resource_missing", executed=False)
                return resource(
                    stripe.AccountLink,
                    object="account_link",
                    created=books.clock(),
                    expires_at=books.clock() + 300,
                    url=f"https://connect.stripe.com/setup/{wanted['account']}",
                )
            case _:
                raise AssertionError(operation)


class _Wire(httpx.AsyncBaseTransport):
    """What is marked as lost never arrives."""

    def __init__(self, inner: httpx.ASGITransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self._inner.handle_async_request(request)
        if LOST in answer.headers:
            raise httpx.ReadTimeout("lost", request=request)
        return answer


def _go_wrong(fault: str | None, *now: str) -> None:
    if fault in now:
        status = 400 if fault == "refused" else 500
        raise Refusing(status, "As the test wants it")


def _without_secret(endpoint: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in endpoint.items() if name != "secret"}


def _page(found: list[dict[str, Any]], wanted: dict[str, Any], url: str) -> dict[str, Any]:
    ids = [one["id"] for one in found]
    start = ids.index(wanted["starting_after"]) + 1 if wanted.get("starting_after") else 0
    limit = wanted.get("limit", 10)
    if not 1 <= limit <= 100:
        raise Refusing(400, "limit must be between 1 and 100", executed=False)
    shown = found[start : start + limit]
    return {"object": "list", "data": shown, "has_more": start + limit < len(found), "url": url}


def _error(no: Refusing) -> dict[str, Any]:
    kinds = {401: "invalid_request_error", 402: "card_error", 409: "idempotency_error"}
    kind = "api_error" if no.status >= 500 else kinds.get(no.status, "invalid_request_error")
    if no.code == "key_mismatch":
        kind = "idempotency_error"
    said = {"type": kind, "message": no.message} | ({"code": no.code} if no.code else {})
    return {"error": said}
