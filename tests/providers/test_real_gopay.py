# SPDX-License-Identifier: Apache-2.0
"""GoPay's sandbox, for whoever has credentials:

HOLDFIRST_GOPAY_TEST_GOID=… HOLDFIRST_GOPAY_TEST_CLIENT_ID=… HOLDFIRST_GOPAY_TEST_CLIENT_SECRET=… pytest tests/providers/test_real_gopay.py
"""

import os
from collections.abc import AsyncIterator

import httpx
import pytest
from msgspec.structs import replace

from holdfirst import ids
from holdfirst.payment.money import Money
from holdfirst.payment.payment import Mode
from holdfirst.payment.provider import Credentials, Opened, Phase, Refused, Truth, Unknown
from holdfirst.providers.gopay import GoPayProvider

from .payment_contract import spec_for

PRICE = Money(60_000, "CZK")
SECRETS = {
    name: os.environ.get(f"HOLDFIRST_GOPAY_TEST_{name.upper()}", "")
    for name in ("goid", "client_id", "client_secret")
}
pytestmark = pytest.mark.skipif(not all(SECRETS.values()), reason="HOLDFIRST_GOPAY_TEST_… is not set")


class Real:
    def __init__(self, mode: Mode, http: httpx.AsyncClient) -> None:
        self.mode = mode
        self.provider = GoPayProvider(http)
        self.account = Credentials(ids.make("pac"), livemode=False, secrets=SECRETS)


@pytest.fixture(params=[Mode.AUTHORIZE_UNCLOSEABLE, Mode.SALE_UNCLOSEABLE], ids=str)
async def real(request: pytest.FixtureRequest) -> AsyncIterator[Real]:
    async with httpx.AsyncClient() as http:
        yield Real(request.param, http)


async def test_open_and_ask(real: Real) -> None:
    spec = spec_for(real, amount=PRICE)
    opened = await real.provider.open_checkout(spec, real.account)
    assert isinstance(opened, Opened), opened
    seen = await real.provider.fetch(opened.provider_ref, real.account)
    assert isinstance(seen, Truth), seen
    assert (seen.phase, seen.amount, seen.reference) == (Phase.OPEN, PRICE, spec.key)
    for verb in (real.provider.capture, real.provider.void):
        assert isinstance(await verb(opened.provider_ref, "key", real.account), Refused)
    assert isinstance(await real.provider.refund(opened.provider_ref, PRICE, "key", real.account), Refused)


async def test_no(real: Real) -> None:
    assert isinstance(await real.provider.fetch("1", real.account), Unknown)
    wrong = replace(real.account, secrets=SECRETS | {"client_secret": "wrong"})
    assert isinstance(await real.provider.open_checkout(spec_for(real, amount=PRICE), wrong), Refused)
    assert (await real.provider.standing(wrong)).problem == "key_refused"
