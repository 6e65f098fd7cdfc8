# SPDX-License-Identifier: Apache-2.0
"""What is done at the command line and not over HTTP, by name: a process may die in the middle of it too."""

from collections.abc import Awaitable, Callable
from secrets import token_hex
from typing import Any

from holdfirst.effects import compare
from holdfirst.effects.examine_calendars import examine
from holdfirst.flows import accounts, at_rest, first_offer
from holdfirst.payment.money import Money
from holdfirst.refusal import Refusal
from holdfirst.wiring import Parts


async def _compare(parts: Parts) -> list[str]:
    return [one.check for one in await compare.compare(parts.world)]


async def _repair(parts: Parts) -> int:
    return await compare.repair(parts.world, await compare.compare(parts.world))


async def _examine(parts: Parts) -> list[str]:
    return list((await examine(parts.world, repair=False)).wrong)


async def _repair_calendars(parts: Parts) -> list[str]:
    return list((await examine(parts.world, repair=True)).wrong)


async def _init(parts: Parts) -> str:
    price = Money(6000, "EUR")
    try:
        made = await parts.world.database.run(
            first_offer.first_offer,
            name="Dr Example",
            zone="UTC",
            price=price,
            origins=["https://shop.example"],
        )
    except first_offer.NotMade:
        return "it was made before"
    return made.slug


async def _rotate(parts: Parts) -> int:
    return await parts.world.database.run(at_rest.reseal, parts.world.key_ring)


async def _list_keys(parts: Parts) -> None:
    await parts.world.database.run(accounts.list_accounts)
    await parts.world.database.run(accounts.list_keys, "test")


async def _make_account(parts: Parts) -> None:
    run, slug = parts.world.database.run, f"more-{token_hex(4)}"
    await run(accounts.create_account, parts.world.key_ring, slug, "test")
    await run(accounts.create_key, slug, "publishable", ["https://shop.example"])


async def _revoke_a_key(parts: Parts) -> None:
    """The one that was made last."""
    keys = await parts.world.database.run(accounts.list_keys, "test")
    assert not isinstance(keys, Refusal)
    await parts.world.database.run(accounts.revoke_key, keys[-1].id)


START = "start"
"""To open the database and find it in order: what every process begins with."""
DEEDS: dict[str, Callable[[Parts], Awaitable[Any]]] = {
    "compare": _compare,
    "repair": _repair,
    "examine": _examine,
    "repair_calendars": _repair_calendars,
    "init": _init,
    "rotate": _rotate,
    "list_keys": _list_keys,
    "make_account": _make_account,
    "revoke_a_key": _revoke_a_key,
}
