# SPDX-License-Identifier: Apache-2.0
"""Accounts, their keys and a first offer, as the command line makes them: what cannot be, and who comes second."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from holdfirst.flows import accounts as flows
from holdfirst.flows.first_offer import NotMade, first_offer, parse_price
from holdfirst.key_ring import KeyRing
from holdfirst.payment.money import Money
from holdfirst.refusal import Code, Refusal
from holdfirst.store import accounts, catalog, payees
from holdfirst.store.accounts import Account
from holdfirst.store.database import Database, Tx

RING = KeyRing([b"k" * 32])
ORIGINS = ["https://shop.example"]


def field(answer: object) -> str:
    """The one that is wrong."""
    assert isinstance(answer, Refusal) and answer.code is Code.INVALID_REQUEST, answer
    [error] = answer.members["errors"]
    return str(error["field"])


async def made(database: Database, slug: str, mode: str = "test") -> Account:
    account = await database.run(flows.create_account, RING, slug, mode)
    assert isinstance(account, Account), account
    return account


@pytest.mark.parametrize(
    ("slug", "mode", "wrong"),
    [("Bad Slug", "test", "slug"), ("", "test", "slug"), ("shop", "prod", "mode"), ("shop", "", "mode")],
)
async def test_accounts_that_cannot_be(database: Database, slug: str, mode: str, wrong: str) -> None:
    assert field(await database.run(flows.create_account, RING, slug, mode)) == wrong
    assert await database.run(flows.list_accounts) == []


async def test_a_slug_names_one_account(database: Database) -> None:
    first = await made(database, "shop")
    second = await database.run(flows.create_account, RING, "shop", "live")
    assert isinstance(second, Refusal) and second.code is Code.SLUG_TAKEN
    assert await database.run(flows.list_accounts) == [first]
    assert len(await database.run(payees.of_account, first.id)) == 1


async def test_the_two_accounts_are_founded_once_by_however_many(database: Database) -> None:
    await asyncio.gather(*(database.run(flows.found, RING) for _ in range(4)))
    first = await database.run(flows.list_accounts)
    await database.run(flows.found, RING)
    assert await database.run(flows.list_accounts) == first
    assert sorted((one.slug, one.mode) for one in first) == [("live", "live"), ("test", "test")]


async def test_only_a_test_account_is_paid_in_the_sandbox(database: Database) -> None:
    live, test = await made(database, "shop", "live"), await made(database, "trial")
    assert await database.run(payees.of_account, live.id) == []
    [payee] = await database.run(payees.of_account, test.id)
    assert (payee.provider, payee.livemode) == ("sandbox", False)


@pytest.mark.parametrize(
    ("account", "kind", "origins", "wrong"),
    [
        ("nobody", "secret", [], "account"),
        ("shop", "master", [], "kind"),
        ("shop", "publishable", ["shop.example"], "origin"),
    ],
)
async def test_keys_that_cannot_be(
    database: Database, account: str, kind: str, origins: Sequence[str], wrong: str
) -> None:
    await made(database, "shop")
    assert field(await database.run(flows.create_key, account, kind, origins)) == wrong
    assert await database.run(flows.list_keys, "shop") == []


async def test_keys_are_listed_by_account_and_revoked_once(database: Database) -> None:
    await made(database, "shop")
    await made(database, "other", "live")
    _, mine = await database.run(flows.create_key, "shop", "publishable", ORIGINS)
    text, theirs = await database.run(flows.create_key, "other", "secret")
    assert [one.id for one in await database.run(flows.list_keys, "shop")] == [mine.id]
    assert field(await database.run(flows.list_keys, "nobody")) == "account"
    assert (mine.livemode, theirs.livemode) == (False, True)
    assert [await database.run(flows.revoke_key, theirs.id) for _ in range(2)] == [True, False]
    [listed] = await database.run(flows.list_keys, "other")
    assert listed.revoked_at is not None
    assert await database.run(accounts.key_by_digest, flows.digest_of(text)) is None


@pytest.mark.parametrize(
    ("text", "price"),
    [
        ("60EUR", Money(6000, "EUR")),
        (" 12.5 usd ", Money(1250, "USD")),
        ("6000JPY", Money(6000, "JPY")),
        ("1.234KWD", Money(1234, "KWD")),
        ("0EUR", Money(0, "EUR")),
        ("60", None),
        ("-1EUR", None),
        ("1e3EUR", None),
        ("60XYZ", None),
        ("60EURO", None),
        ("1.234EUR", None),
        ("1.5JPY", None),
    ],
)
def test_a_price_as_people_write_it(text: str, price: Money | None) -> None:
    answer = parse_price(text)
    if price is None:
        assert field(answer) == "price"
    else:
        assert answer == price


async def offered(database: Database, amount: int = 6000, zone: str = "UTC") -> str:
    offer = await database.run(
        lambda tx: first_offer(tx, name="Dr Example", zone=zone, price=Money(amount, "EUR"), origins=ORIGINS)
    )
    async with database.statement() as tx:
        assert offer.start >= await tx.now() + timedelta(days=1)
    return offer.slug


@pytest.mark.parametrize("amount", [0, 6000])
async def test_a_first_offer_is_made_once(database: Database, amount: int) -> None:
    await database.run(flows.found, RING)
    slug = await offered(database, amount)
    test = await database.run(accounts.account_by_slug, "test")
    assert test is not None
    [event_type] = await database.run(catalog.event_types, test.id)
    price = Money(amount, "EUR") if amount else None
    assert (event_type.slug, event_type.rules.price) == (slug, price)
    keys = await database.run(flows.list_keys, "test")
    assert sorted((one.kind, list(one.origins)) for one in keys) == [("publishable", ORIGINS), ("secret", [])]
    with pytest.raises(NotMade, match="empty one"):
        await offered(database, amount)
    assert await database.run(flows.list_keys, "test") == keys


async def test_what_cannot_be_offered_leaves_nothing_behind(database: Database) -> None:
    await database.run(flows.found, RING)
    with pytest.raises(NotMade):
        await offered(database, zone="Nowhere/City")
    test = await database.run(accounts.account_by_slug, "test")
    assert test is not None
    assert await database.run(catalog.hosts, test.id) == []

    async def badly(tx: Tx) -> None:
        await first_offer(tx, name="Dr Example", zone="UTC", price=Money(1, "EUR"), origins=["shop"])

    with pytest.raises(NotMade):
        await database.run(badly)
    assert await database.run(catalog.hosts, test.id) == []
