# SPDX-License-Identifier: Apache-2.0
"""Stripe's own test system, for whoever has a key: HOLDFIRST_STRIPE_TEST_KEY=sk_test_… pytest tests/providers/test_real_stripe.py

What needs a customer in a browser is left out; what the fake claims about opening, finding, closing and refusing is tried for real.
"""

import asyncio
import os
from collections.abc import AsyncIterator

import httpx
import pytest
from msgspec.structs import replace

from holdfirst import ids
from holdfirst.payment.money import Money
from holdfirst.payment.payment import Mode
from holdfirst.payment.provider import (
    Credentials,
    Done,
    NotOpen,
    Opened,
    Phase,
    Refused,
    Truth,
    Unknown,
    next_key,
)
from holdfirst.providers.stripe import StripeProvider

from .payment_contract import PRICE, spec_for

KEY = os.environ.get("HOLDFIRST_STRIPE_TEST_KEY", "")
pytestmark = pytest.mark.skipif(not KEY, reason="HOLDFIRST_STRIPE_TEST_KEY is not set")


class Real:
    def __init__(self, mode: Mode, http: httpx.AsyncClient) -> None:
        assert KEY.startswith(("sk_test_", "rk_test_")), "never with a live key"
        self.mode = mode
        self.provider = StripeProvider(http)
        self.account = Credentials(ids.make("pac"), livemode=False, secrets={"secret_key": KEY})


@pytest.fixture(params=[Mode.AUTHORIZE, Mode.SALE], ids=str)
async def real(request: pytest.FixtureRequest) -> AsyncIterator[Real]:
    async with httpx.AsyncClient() as http:
        yield Real(request.param, http)


async def test_open_find_close(real: Real) -> None:
    spec = spec_for(real)
    answers = await asyncio.gather(*(real.provider.open_checkout(spec, real.account) for _ in range(3)))
    first = answers[0]
    assert isinstance(first, Opened), first
    assert answers == [first] * 3
    assert await real.provider.open_checkout(replace(spec, key=next_key(spec.key)), real.account) == first
    seen = await real.provider.fetch(first.provider_ref, real.account)
    assert isinstance(seen, Truth), seen
    assert (seen.phase, seen.amount, seen.reference) == (Phase.OPEN, PRICE, spec.key)
    for verb in (real.provider.capture, real.provider.void):
        assert isinstance(await verb(first.provider_ref, "key", real.account), Refused)
    assert await real.provider.close(first.provider_ref, real.account) == Done()
    assert await real.provider.close(first.provider_ref, real.account) == NotOpen()
    closed = await real.provider.fetch(first.provider_ref, real.account)
    assert isinstance(closed, Truth)
    assert closed.phase is Phase.CLOSED


async def test_no(real: Real) -> None:
    assert isinstance(await real.provider.fetch("cs_test_nobody", real.account), Unknown)
    tiny = await real.provider.open_checkout(spec_for(real, amount=Money(1, "EUR")), real.account)
    assert isinstance(tiny, Refused)
    wrong = replace(real.account, secrets={"secret_key": "sk_test_wrong"})
    assert isinstance(await real.provider.open_checkout(spec_for(real), wrong), Refused)
    assert (await real.provider.standing(wrong)).problem == "key_refused"
