# SPDX-License-Identifier: Apache-2.0
"""The whole HTTP layer over the real flows and a real database; the payment provider is the fake."""

from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import httpx
import msgspec
from litestar import Litestar
from litestar.types import Receive, Scope, Send

from holdfirst.flows.accounts import create_account, create_key, found
from holdfirst.providers.sandbox import SandboxCompany
from holdfirst.refusal import Refusal
from holdfirst.settings import Settings
from holdfirst.store.database import Database
from holdfirst.store.doorbell import Doorbell
from holdfirst.web.app import build_app
from holdfirst.web.context import WebContext
from holdfirst.web.sandbox import sandbox_router
from shop import Shop, open_shop


@dataclass
class Site:
    """A shop, its HTTP front, and keys of it and of another account."""

    shop: Shop
    context: WebContext
    http: httpx.AsyncClient
    keys: dict[str, str] = field(default_factory=dict)

    async def call(
        self, method: str, path: str, body: Any = None, *, key: str | None = "secret", **more: Any
    ) -> httpx.Response:
        """`key`: one of `keys` by name, or a text that is a key itself, or None."""
        headers = dict(more.pop("headers", {}))
        if key is not None:
            headers["authorization"] = f"Bearer {self.keys.get(key, key)}"
        if body is not None:
            more["content"] = msgspec.json.encode(body)
            headers.setdefault("content-type", "application/json")
        return await self.http.request(method, path, headers=headers, **more)

    async def post(self, path: str, body: Any = None, **more: Any) -> httpx.Response:
        return await self.call("POST", path, body, **more)

    async def get(self, path: str, **more: Any) -> httpx.Response:
        return await self.call("GET", path, **more)

    def wish(self, hour: int = 9, **more: Any) -> dict[str, Any]:
        """The body of a reserve."""
        return {"event_type": self.shop.event_type_id, "start": self.shop.slot(hour).isoformat()} | more

    async def held(self, hour: int = 9, *, key: str = "secret", **more: Any) -> dict[str, Any]:
        more.setdefault("customer", {"name": "Anna", "email": "anna@example.org"})
        answer = await self.post("/v1/reservations", self.wish(hour, **more), key=key)
        assert answer.status_code == 201, answer.text
        told: dict[str, Any] = answer.json()
        return told


@dataclass
class Front:
    """The application of one site; with the sandbox's routes, its seam open, where it has that company."""

    context: WebContext
    sandbox: SandboxCompany | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        before = _asked.set(self)
        try:
            await the_app(with_sandbox=self.sandbox is not None)(scope, receive, send)
        finally:
            _asked.reset(before)


_asked: ContextVar[Front] = ContextVar("asked")


class OfWhomIsAsked:
    """Stands where an application knows this part of a site: of the site that a request goes to."""

    def __init__(self, part: str) -> None:
        self._part = part

    def __getattr__(self, name: str) -> Any:
        return getattr(getattr(_asked.get(), self._part), name)


@cache
def the_app(*, with_sandbox: bool) -> Litestar:
    """Built once for all sites: that takes longer than most tests."""
    context: Any = OfWhomIsAsked("context")
    company: Any = OfWhomIsAsked("sandbox")
    context.more_routes = [sandbox_router(company, seam_open=True)] if with_sandbox else []
    return build_app(context)


def code(answer: httpx.Response) -> tuple[int, str]:
    """What a refusal says, once its form is a problem's."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    told = answer.json()
    assert told["status"] == answer.status_code
    assert {"type", "title", "detail"} <= set(told)
    assert answer.headers["x-request-id"]
    if answer.status_code == 503:
        assert answer.headers["retry-after"]
    return answer.status_code, told["code"]


def fields(answer: httpx.Response) -> list[str]:
    assert code(answer) == (422, "invalid_request"), answer.text
    return [one["field"] for one in answer.json()["errors"]]


async def open_site(database: Database, **shop_options: Any) -> Site:
    shop = await open_shop(database, **shop_options)
    shop.world = msgspec.structs.replace(
        shop.world, providers={"fake": shop.provider, "sandbox": shop.provider}
    )
    doorbell = Doorbell(database)
    database.on_announce = doorbell.ring
    context = WebContext(world=shop.world, settings=Settings(), doorbell=doorbell, heartbeat_seconds=0.2)
    transport = httpx.ASGITransport(app=Front(context), raise_app_exceptions=False)
    http = httpx.AsyncClient(transport=transport, base_url="http://holdfirst.test")
    site = Site(shop, context, http)
    await database.run(found, shop.world.key_ring)
    other = await database.run(create_account, shop.world.key_ring, "other", "test")
    assert not isinstance(other, Refusal)
    for name, account, kind in (
        ("secret", shop.account_id, "secret"),
        ("publishable", shop.account_id, "publishable"),
        ("other", "other", "secret"),
        ("live", "live", "secret"),
    ):
        made = await database.run(create_key, account, kind)
        assert not isinstance(made, Refusal)
        site.keys[name] = made[0]
    return site
