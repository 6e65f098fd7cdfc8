# SPDX-License-Identifier: Apache-2.0
"""A company that never answers costs ten seconds, whatever is asked and however it is silent, and is not asked twice."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import httpx
import pytest

from holdfirst import ids, wiring
from holdfirst.effects import world
from holdfirst.payment.money import Money
from holdfirst.payment.payment import Mode
from holdfirst.payment.provider import CheckoutSpec, Credentials, Unknown
from holdfirst.providers.gopay import GoPayProvider
from holdfirst.providers.stripe import StripeProvider
from holdfirst.settings import Settings
from holdfirst.store.database import Database

SHORT = 0.25
PRICE = Money(6000, "EUR")
URL = "https://book.example/"
Ask = Callable[[Any, Credentials], Awaitable[Any]]

STRIPE: dict[str, Ask] = {
    "open": lambda company, account: company.open_checkout(_spec(Mode.AUTHORIZE), account),
    "fetch": lambda company, account: company.fetch("cs_1", account),
    "close": lambda company, account: company.close("cs_1", account),
    "capture": lambda company, account: company.capture("cs_1", "key", account),
    "void": lambda company, account: company.void("cs_1", "key", account),
    "refund": lambda company, account: company.refund("cs_1", PRICE, "rfd_1", account),
    "standing": lambda company, account: company.standing(account),
    "register": lambda company, account: company.register_notifications(URL, account),
    "onboard": lambda company, account: company.onboarding_link(URL, URL, _connected(account)),
    "list": lambda company, account: company.checkouts_since(datetime.now(UTC), account),
}
GOPAY: dict[str, Ask] = {
    "open": lambda company, account: company.open_checkout(_spec(Mode.AUTHORIZE_UNCLOSEABLE), account),
    "fetch": lambda company, account: company.fetch("3000000001", account),
    "capture": lambda company, account: company.capture("3000000001", "key", account),
    "void": lambda company, account: company.void("3000000001", "key", account),
    "refund": lambda company, account: company.refund("3000000001", PRICE, "rfd_1", account),
    "standing": lambda company, account: company.standing(account),
}
CALLS = [("stripe", name) for name in STRIPE] + [("gopay", name) for name in GOPAY]
OF = {"stripe": STRIPE, "gopay": GOPAY}
ACCOUNTS = {
    "stripe": Credentials("pac_1", livemode=False, secrets={"secret_key": "sk_test_one"}),
    "gopay": Credentials(
        "pac_1", livemode=False, secrets={"client_id": "one", "client_secret": "s", "goid": "8123456789"}
    ),
}


def _spec(mode: Mode) -> CheckoutSpec:
    now = datetime.now(UTC)
    return CheckoutSpec(
        key=ids.make("pay"),
        frozen_at=now,
        amount=PRICE,
        mode=mode,
        livemode=False,
        description="An hour of coaching",
        pay_before=now,
        return_url=URL,
        notification_url=URL,
        customer_email="customer@example.com",
    )


def _connected(account: Credentials) -> Credentials:
    return Credentials(account.payment_account_id, account.livemode, account.secrets, "acct_coach")


class Silent:
    """Listens, takes every request, and says nothing; `drips`: an answer that begins, and never ends."""

    def __init__(self, *, drips: bool = False) -> None:
        self.drips, self.requests, self.url = drips, 0, ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            self.requests += 1
            if self.drips:
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9999\r\n\r\n{"
                )
            while self.drips:
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(SHORT / 10)
            await reader.read()
        writer.close()


@contextlib.asynccontextmanager
async def listening(**how: bool) -> AsyncIterator[Silent]:
    silent = Silent(**how)
    server = await asyncio.start_server(silent.serve, "127.0.0.1", 0)
    silent.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield silent
    finally:
        server.close()


def at(company: str, url: str, http: httpx.AsyncClient, **limit: float) -> Any:
    if company == "stripe":
        return StripeProvider(http, api_url=url, **limit)
    return GoPayProvider(http, test_url=f"{url}/api", **limit)


@pytest.mark.parametrize(("company", "call"), CALLS)
async def test_no_answer_is_unknown_after_the_time_and_one_request(company: str, call: str) -> None:
    async with listening() as silent, httpx.AsyncClient() as http:
        provider = at(company, silent.url, http, seconds_max=SHORT)
        began = monotonic()
        answer = await OF[company][call](provider, ACCOUNTS[company])
        assert isinstance(answer, Unknown)
        assert SHORT * 0.9 <= monotonic() - began < SHORT * 8
        assert silent.requests == 1


@pytest.mark.parametrize(("company", "call"), CALLS)
async def test_an_answer_that_never_ends_costs_no_more(company: str, call: str, monkeypatch) -> None:
    """Each of its bytes comes in time for the client; what bounds the whole of a call is what every effect calls through."""
    monkeypatch.setattr(world, "CALL_SECONDS_MAX", SHORT * 2)
    async with listening(drips=True) as silent, httpx.AsyncClient() as http:
        provider = at(company, silent.url, http, seconds_max=SHORT)
        began = monotonic()
        answer = await world.asked(OF[company][call](provider, ACCOUNTS[company]))
        assert answer == Unknown("no answer in time")
        assert monotonic() - began < SHORT * 10
        assert silent.requests == 1


async def test_in_production_it_is_ten_seconds(database: Database, tmp_path) -> None:
    """Of the very clients that wiring makes, for each of their calls."""
    waited: dict[str, list[Any]] = {"api.stripe.com": [], "gw.sandbox.gopay.com": []}

    async def note(request: httpx.Request) -> None:
        waited[request.url.host].append(request.extensions["timeout"])
        raise httpx.ConnectError("nothing goes out", request=request)

    async with wiring.open_parts(Settings(data_dir=tmp_path), database.url, URL) as parts:
        for company, calls in OF.items():
            provider: Any = parts.world.providers[company]
            client = provider._http._client if company == "stripe" else provider._calls._http
            client.event_hooks = {"request": [note]}
            for call in calls.values():
                assert isinstance(await call(provider, ACCOUNTS[company]), Unknown)
    ten = {"connect": 10.0, "read": 10.0, "write": 10.0, "pool": 10.0}
    assert waited == {"api.stripe.com": [ten] * len(STRIPE), "gw.sandbox.gopay.com": [ten] * len(GOPAY)}
    assert world.CALL_SECONDS_MAX == 10
