# SPDX-License-Identifier: Apache-2.0
"""The sandbox's payment account over HTTP: it takes no credentials, and what it signs with stays as it was made."""

import asyncio

import pytest

from front import fields
from holdfirst.flows.accounts import found, list_accounts
from holdfirst.key_ring import KeyRing
from holdfirst.store.database import Database, Tx
from house import House

PAC = "/v1/payment-accounts"


async def heard(tx: Tx) -> int:
    count: int = await tx.value("select count(*) from notification")
    return count


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_members_that_it_does_not_take_are_named(house: House, method: str) -> None:
    path = PAC if method == "POST" else f"{PAC}/pac_sandbox"
    more = {"provider": "sandbox"} if method == "POST" else {}
    for member in ("secret_key", "signing_secret"):
        answer = await house.call(method, path, more | {"credentials": {member: "sk_test_x"}})
        assert fields(answer) == [f"credentials.{member}"]
    for wrong in ([], "x", 7):
        assert fields(await house.call(method, path, more | {"credentials": wrong})) == ["credentials"]


async def test_no_credentials_change_nothing(house: House) -> None:
    """An open checkout's notifications are signed with what was there when it opened."""
    before = await house.ask("GET", f"{PAC}/pac_sandbox")
    _, ref = await house.open("authorize")
    for none in ({}, None):
        answer = await house.call("PATCH", f"{PAC}/pac_sandbox", {"credentials": none})
        assert (answer.status_code, answer.json()) == (200, before)
    count = await house.run(heard)
    await house.pay(ref, "authorize", notify="once")
    for _ in range(200):
        if await house.run(heard) > count:
            break
        await house.settle()
    assert await house.run(heard) == count + 1, "it was believed"


async def test_a_mode_and_no_credentials(house: House) -> None:
    made = await house.ask("POST", PAC, {"provider": "sandbox", "credentials": {}})
    path = f"{PAC}/{made['id']}"
    told = await house.ask("PATCH", path, {"credentials": {}, "mode": "sale"})
    assert (told["mode"], told["methods"]) == ("sale", "holds_and_sales")
    refused = await house.call("PATCH", path, {"credentials": {"x": 1}, "mode": "authorize"})
    assert fields(refused) == ["credentials.x"]
    assert (await house.ask("GET", path))["mode"] == "sale"


async def test_founded_by_several_at_once(database: Database) -> None:
    ring = KeyRing([b"k" * 32])
    await asyncio.gather(*(database.run(found, ring) for _ in range(8)))
    assert [one.slug for one in await database.run(list_accounts)] == ["test", "live"]
    async with database.statement() as tx:
        assert await tx.value("select array_agg(id) from payment_account") == ["pac_sandbox"]
