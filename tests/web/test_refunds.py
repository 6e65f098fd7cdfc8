# SPDX-License-Identifier: Apache-2.0
"""Refunds that cannot be, over HTTP: a clear refusal, and nothing changed here or at the company."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from front import Site, code, open_site
from holdfirst.store.database import Database

from .test_reservations import paid, path

EXCEEDS = (422, "refund_exceeds_payment")
INVALID = (422, "invalid_request")


def euros(amount: Any) -> dict[str, Any]:
    return {"amount_minor": amount, "currency": "EUR"}


CANNOT_BE: dict[str, tuple[Any, tuple[int, str], str | None]] = {
    "negative": (euros(-1), INVALID, "amount_minor"),
    "all of it, negative": (euros(-6000), INVALID, "amount_minor"),
    "nought": (euros(0), INVALID, "amount_minor"),
    "one too much": (euros(6001), EXCEEDS, None),
    "the most there is": (euros(10**12), EXCEEDS, None),
    "more than there is": (euros(10**12 + 1), INVALID, "amount_minor"),
    "of more digits than a number has": (euros(10**30), INVALID, "amount_minor"),
    "a half": (euros(0.5), INVALID, "amount_minor"),
    "cents in decimals": (euros(12.34), INVALID, "amount_minor"),
    "a text": (euros("100"), INVALID, "amount_minor"),
    "true": (euros(True), INVALID, "amount_minor"),
    "nothing": (euros(None), INVALID, "amount_minor"),
    "a list": (euros([100]), INVALID, "amount_minor"),
    "another currency": ({"amount_minor": 100, "currency": "USD"}, EXCEEDS, None),
    "small letters": ({"amount_minor": 100, "currency": "eur"}, INVALID, "currency"),
    "no currency": ({"amount_minor": 100}, INVALID, "amount"),
    "no amount": ({"currency": "EUR"}, INVALID, "amount"),
    "a member too many": (euros(100) | {"reason": "x"}, INVALID, "amount"),
    "a bare number": (100, INVALID, "amount"),
}
AS_A_CANCELLATION = {name: case for name, case in CANNOT_BE.items() if name not in ("nought", "nothing")}
"""There, 0 is none of it."""


@pytest.fixture
async def site(database: Database) -> AsyncIterator[Site]:
    site = await open_site(database)
    yield site
    await site.http.aclose()


async def everything(site: Site, booked: dict[str, Any]) -> Any:
    """What is told, what is written down, and what the company did."""
    payment = (await site.get(f"/v1/payments/{booked['payment']['id']}")).json()
    reservation = (await site.get(path(booked))).json()
    async with site.shop.database.statement() as tx:
        owed = await tx.value("select count(*) from refund")
        jobs = await tx.value("select count(*) from job where kind in ('refund', 'send_mail')")
    given = [dict(one.refunds) for one in site.shop.provider.checkouts.values()]
    return payment, reservation | {"server_time": None}, owed, jobs, given


@pytest.mark.parametrize("name", CANNOT_BE)
async def test_a_refund_that_cannot_be(site: Site, name: str) -> None:
    amount, said, field = CANNOT_BE[name]
    booked = await paid(site)
    before = await everything(site, booked)
    answer = await site.post(f"/v1/payments/{booked['payment']['id']}/refund", {"amount": amount})
    assert code(answer) == said, answer.text
    if field is None:
        assert answer.json()["detail"] == "It was paid in EUR, and at most 60.00 EUR can be given back."
    else:
        [fault] = answer.json()["errors"]
        assert field in fault["field"]
    assert await everything(site, booked) == before
    await site.shop.work()
    assert await everything(site, booked) == before


@pytest.mark.parametrize("name", AS_A_CANCELLATION)
async def test_a_cancellation_with_a_refund_that_cannot_be(site: Site, name: str) -> None:
    """Nor is it cancelled."""
    amount, said, _ = CANNOT_BE[name]
    booked = await paid(site)
    before = await everything(site, booked)
    answer = await site.post(path(booked, "cancel"), {"refund": amount})
    assert code(answer) == said, answer.text
    assert await everything(site, booked) == before


async def test_what_is_left_shrinks_with_each(site: Site) -> None:
    booked = await paid(site)
    address = f"/v1/payments/{booked['payment']['id']}/refund"
    assert (await site.post(address, {"amount": euros(5999)})).status_code == 200
    # Owed and not yet paid out counts already.
    assert code(await site.post(address, {"amount": euros(2)})) == EXCEEDS
    await site.shop.work()
    assert code(await site.post(address, {"amount": euros(2)})) == EXCEEDS
    told = await site.post(address, {"amount": euros(1)})
    assert (told.status_code, told.json()["refund_due"]) == (200, euros(1))
    await site.shop.work()
    after = (await site.get(f"/v1/payments/{booked['payment']['id']}")).json()
    assert (after["status"], after["refunded"], after["refund_due"]) == ("refunded", euros(6000), euros(0))
    for body in ({}, None, {"amount": euros(1)}):
        assert code(await site.post(address, body)) == EXCEEDS


async def test_who_may_not_and_what_is_not_there(site: Site) -> None:
    booked = await paid(site)
    address = f"/v1/payments/{booked['payment']['id']}/refund"
    before = await everything(site, booked)
    assert code(await site.post(address, key="publishable"))[0] == 403
    assert code(await site.post(address, key=booked["client_secret"]))[0] in (401, 403)
    assert code(await site.post(address, key="other")) == (404, "payment_not_found")
    assert code(await site.post("/v1/payments/pay_none/refund")) == (404, "payment_not_found")
    assert await everything(site, booked) == before


async def test_nothing_captured_is_nothing_to_give_back(site: Site) -> None:
    held = await site.held()
    opened = await site.post(path(held, "checkout"), {"return_url": "https://shop.example/"})
    address = f"/v1/payments/{opened.json()['payment']['id']}/refund"
    for body in (None, {"amount": euros(1)}):
        assert code(await site.post(address, body)) == EXCEEDS
