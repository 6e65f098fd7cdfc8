# SPDX-License-Identifier: Apache-2.0
"""Payment accounts as they are read: whose they are, what a platform adds, what keeps one; and credentials at rest."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from msgspec.structs import replace

from holdfirst import ids
from holdfirst.flows.accounts import create_account
from holdfirst.payment.money import Money
from holdfirst.payment.payment import Methods, Mode
from holdfirst.store import calendars, payees, webhooks
from holdfirst.store.accounts import Account
from holdfirst.store.database import Database, Tx
from holdfirst.store.payees import PaymentAccount
from holdfirst.store.webhooks import Endpoint
from shop import Shop, open_shop


async def payee_of(shop: Shop) -> PaymentAccount:
    found = await shop.database.run(payees.load, shop.payee_id)
    assert found is not None
    return found


async def connected(shop: Shop, platform: PaymentAccount, name: str = "acct_coach") -> PaymentAccount:
    made = replace(
        platform, id=ids.make("pac"), platform_id=platform.id, connected_account=name, sealed_credentials=b""
    )
    assert await shop.database.run(payees.insert, made)
    return made


async def another(shop: Shop, slug: str, mode: str) -> Account:
    made = await shop.database.run(create_account, shop.world.key_ring, slug, mode)
    assert isinstance(made, Account)
    return made


async def test_live_or_test_is_its_accounts(database: Database) -> None:
    shop = await open_shop(database)
    test = await payee_of(shop)
    live = replace(test, id=ids.make("pac"), account_id=(await another(shop, "live", "live")).id)
    assert await database.run(payees.insert, live)
    found = await database.run(payees.load, live.id)
    assert (test.livemode, found and found.livemode) == (False, True)
    assert [one.id for one in await database.run(payees.of_account, live.account_id)] == [live.id]


async def test_who_is_connected_takes_money_while_the_platform_can(database: Database) -> None:
    shop = await open_shop(database)
    platform = await payee_of(shop)
    coach = await connected(shop, platform)

    async def standing() -> tuple[bool, str | None]:
        found = await database.run(payees.load, coach.id)
        assert found is not None
        assert found.sealed_credentials == platform.sealed_credentials
        return found.charges_enabled, found.problem

    assert await standing() == (True, None)
    await database.run(payees.set_standing, platform.id, False, "key_revoked")
    assert await standing() == (False, "key_revoked")
    await database.run(payees.set_standing, coach.id, False, "charges_disabled")
    assert await standing() == (False, "charges_disabled")
    await database.run(payees.set_standing, platform.id, True, None)
    assert await standing() == (False, "charges_disabled")


async def test_who_is_connected_is_found_by_platform_and_before_those_that_were(database: Database) -> None:
    shop = await open_shop(database)
    platform = await payee_of(shop)
    other = replace(platform, id=ids.make("pac"))
    assert await database.run(payees.insert, other)
    coach, theirs = await connected(shop, platform), await connected(shop, other)
    assert not await database.run(payees.insert, replace(coach, id=ids.make("pac")))
    for before in (coach, theirs):
        assert await database.run(payees.connected_to, before.platform_id or "", "acct_coach") == before.id
        await database.run(payees.delete, before.id)
        # For money that is still on its way; until there is another one.
        assert await database.run(payees.connected_to, before.platform_id or "", "acct_coach") == before.id
        again = replace(before, id=ids.make("pac"))
        assert await database.run(payees.insert, again)
        assert await database.run(payees.connected_to, before.platform_id or "", "acct_coach") == again.id


async def test_books_are_compared_where_money_moves(database: Database) -> None:
    shop = await open_shop(database)
    await another(shop, "trial", "test")
    await database.run(payees.delete, shop.payee_id)
    assert [one.id for one in await database.run(payees.at_companies)] == [shop.payee_id]


@pytest.mark.parametrize(
    ("named", "freed"),
    [
        (
            "update event_type set rules = jsonb_set(rules, '{payment_account}', to_jsonb($1::text))",
            "update event_type set deleted_at = the_clock()",
        ),
        ("update host set payment_account_id = $1", "update host set deleted_at = the_clock()"),
    ],
)
async def test_what_is_named_is_in_use(database: Database, named: str, freed: str) -> None:
    shop = await open_shop(database)

    async def used() -> bool:
        return await database.run(payees.in_use, shop.account_id, shop.payee_id)

    assert not await used()
    async with database.statement() as tx:
        await tx.execute(named, shop.payee_id)
    assert await used()
    async with database.statement() as tx:
        await tx.execute(freed)
    assert not await used()


async def test_a_platform_is_in_use_while_somebody_is_connected(database: Database) -> None:
    shop = await open_shop(database)
    coach = await connected(shop, await payee_of(shop))
    assert await database.run(payees.in_use, shop.account_id, shop.payee_id)
    await database.run(payees.delete, coach.id)
    assert not await database.run(payees.in_use, shop.account_id, shop.payee_id)


@pytest.mark.parametrize(
    ("terms", "amount", "fee"),
    [
        ({"fee_basis_points": 1250}, 6000, 750),
        ({"fee_basis_points": 1}, 6000, 0),
        ({"fee_minor": 300}, 6000, 300),
        ({"fee_minor": 300}, 200, 200),
        ({}, 200, 0),
    ],
)
async def test_a_platforms_share(database: Database, terms: dict[str, int], amount: int, fee: int) -> None:
    payee = replace(await payee_of(await open_shop(database)), **terms)
    assert payee.fee_on(Money(amount, "EUR")) == fee


async def test_what_is_changed_is_ones_own(database: Database) -> None:
    shop = await open_shop(database)
    mine = await payee_of(shop)
    other = replace(mine, id=ids.make("pac"))
    assert await database.run(payees.insert, other)
    await database.run(payees.set_terms, replace(other, mode=Mode.SALE, methods=Methods.HOLDS_AND_SALES))
    await database.run(payees.set_standing, other.id, False, "key_revoked")
    await database.run(payees.set_credentials, other.id, b"changed")
    await database.run(payees.set_notifies, other.id, False)
    assert await payee_of(shop) == mine
    changed = await database.run(payees.load, other.id)
    assert changed is not None
    assert (changed.mode, changed.methods, changed.problem) == (
        Mode.SALE,
        Methods.HOLDS_AND_SALES,
        "key_revoked",
    )
    assert (changed.sealed_credentials, changed.notifies) == (b"changed", False)


# Sealed again with a newer key


async def _change_payee(tx: Tx, shop: Shop, connection: str) -> None:
    await payees.set_credentials(tx, shop.payee_id, b"changed")


async def _change_connection(tx: Tx, shop: Shop, connection: str) -> None:
    await calendars.set_credentials(tx, connection, b"changed")


async def _change_endpoint(tx: Tx, shop: Shop, connection: str) -> None:
    await webhooks.set_secrets(tx, "whe_1", b"changed", None)


@pytest.mark.parametrize(
    ("read", "change"),
    [
        (payees.own_credentials, _change_payee),
        (calendars.sealed_of_all_accounts, _change_connection),
        (webhooks.sealed_of_all_accounts, _change_endpoint),
    ],
)
async def test_who_changes_credentials_waits_until_they_are_sealed_again(
    database: Database,
    read: Callable[[Tx], Awaitable[Any]],
    change: Callable[[Tx, Shop, str], Awaitable[None]],
) -> None:
    """Else what was there before would be sealed again, and written over what came since."""
    shop = await open_shop(database)
    connection = await shop.connect()
    async with database.transaction() as tx:
        endpoint = Endpoint(
            id="whe_1",
            account_id=shop.account_id,
            url="",
            types=(),
            sealed_secret=b"",
            created_at=await tx.now(),
        )
        await webhooks.insert(tx, endpoint)
    async with database.transaction() as tx:
        await read(tx)
        changing = asyncio.create_task(database.run(change, shop, connection))
        await asyncio.sleep(0.1)
        assert not changing.done()
    await changing
