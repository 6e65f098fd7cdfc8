# SPDX-License-Identifier: Apache-2.0
"""The demo's story at Stripe, told over a server in this process and the fake."""

import asyncio
from typing import Any

import pytest

from front import Site, open_site
from holdfirst.demo_at_stripe import at_stripe, stories_at_stripe
from holdfirst.errors import ConfigurationError
from holdfirst.providers.stripe import StripeProvider
from holdfirst.store.database import Database
from providers.stripe_fake import StripeFake

KEY = "sk_test_demo"


def test_only_with_a_test_key() -> None:
    for wrong in ("sk_live_x", "pk_test_x", "x"):
        with pytest.raises(ConfigurationError, match="HOLDFIRST_DEMO_STRIPE_KEY"):
            stories_at_stripe(wrong)
    [(title, _)] = stories_at_stripe(KEY)
    assert "Stripe" in title


class Told:
    """The demo's stage, as far as this story needs it, over the application itself."""

    class server:  # noqa: N801  # stands for an attribute
        url = "http://holdfirst.test"

    def __init__(self, site: Site, loop: asyncio.AbstractEventLoop) -> None:
        self.site, self.loop, self.lines = site, loop, []

    def ask(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        call = asyncio.run_coroutine_threadsafe(self.site.call(method, path, body), self.loop)
        answer = call.result(20)
        assert answer.status_code < 400, answer.text
        told: dict[str, Any] = answer.json()
        return told

    def offer(self, slug: str, name: str, payee: str, hold_seconds: int) -> None:
        hosts = self.site.shop.hosts
        body = {"slug": slug, "name": name, "hosts": hosts, "duration_minutes": 60, "payment_account": payee}
        self.ask("POST", "/v1/event-types", body | {"price": {"amount_minor": 6000, "currency": "EUR"}})

    def hold(self, who: str, event_type: str, seconds: int) -> dict[str, Any]:
        wish = self.site.wish(customer={"name": who, "email": "ada@example.org"})
        return self.ask("POST", "/v1/reservations", wish | {"event_type": event_type})

    def say(self, *words: str) -> None:
        self.lines.append(" ".join(words))

    def out(self, line: str) -> None:
        self.lines.append(line)

    def expect(self, true: bool, what: str, seen: object) -> None:
        assert true, (what, seen)


async def test_it_opens_a_checkout_and_says_where(database: Database) -> None:
    site, fake = await open_site(database), StripeFake()
    books = fake.account(KEY, "acct_demo")
    async with fake.client() as http:
        providers = site.shop.world.providers
        assert isinstance(providers, dict)
        providers["stripe"] = StripeProvider(http)
        stage = Told(site, asyncio.get_running_loop())
        await asyncio.to_thread(at_stripe, stage, KEY)
        [session] = books.sessions.values()
        told = (await site.get(f"/v1/payment-accounts/{stage.payee}")).json()
        assert told["provider"] == "stripe", "and so is the page that stays up"
        assert any(f"https://checkout.stripe.com/c/pay/{session.id}" in line for line in stage.lines)
    await site.http.aclose()
