# SPDX-License-Identifier: Apache-2.0
"""The same scenes over the database in memory: real flows, effects, adapters and fakes, and no round trips.

What PostgreSQL alone can show (locks, constraints, races) is shown elsewhere; `tests/simulation/test_memory.py` holds
the one to the other. A new company and new tables for each scene: thousands of them are played in a minute.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import structlog

from fakes import FakeMail
from holdfirst.effects import offers
from holdfirst.effects.offers import Offers
from holdfirst.effects.slot_lists import SlotLists
from holdfirst.effects.world import World
from holdfirst.key_ring import KeyRing
from holdfirst.payment.money import Money
from holdfirst.payment.payment import Mode
from holdfirst.reservation.event_type import EventType, EventTypeRules
from holdfirst.settings import Limits
from holdfirst.store import reservations
from holdfirst.store.payees import PaymentAccount
from holdfirst.store.together import Together
from memory import Memory, MemoryTx, in_memory
from memory.catalog import load_offers
from shop import Shop, always_open

from .scene import PRICE, Scene, company_for

ACCOUNT = "acc_0"
RING = KeyRing([b"k" * 32])


@dataclass
class QuickClock:
    """The database's, in whole milliseconds."""

    ahead: timedelta = timedelta(0)

    def now(self) -> datetime:
        moment = datetime.fromtimestamp(time.time(), UTC) + self.ahead
        return moment.replace(microsecond=moment.microsecond // 1000 * 1000)

    async def shift(self, by: timedelta) -> None:
        self.ahead += by


class QuickDatabase:
    """What effects know as `Database`. A flow never waits here, so that one transaction follows the other."""

    url = "memory:"

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.on_announce: Callable[[set[tuple[str, str]]], None] = lambda _: None

    async def run(self, flow: Callable[..., Awaitable[Any]], *arguments: Any, **named: Any) -> Any:
        async with self.statement() as tx:
            return await flow(tx, *arguments, **named)

    single = run

    @asynccontextmanager
    async def statement(self) -> AsyncIterator[MemoryTx]:
        tx = self._memory.begin()
        yield tx
        tx.commit()


@contextmanager
def quickly() -> Iterator[None]:
    """Until the end, the store is in memory, for everybody in this process."""
    before = offers.load_offers
    offers.load_offers = load_offers
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    try:
        with in_memory():
            yield
    finally:
        offers.load_offers = before
        structlog.reset_defaults()


@asynccontextmanager
async def open_quick_scene(mode: Mode, **rules: Any) -> AsyncIterator[Scene]:
    """Within `quickly()`."""
    company, clock = company_for(mode), QuickClock()
    memory = Memory(clock.now)
    database: Any = QuickDatabase(memory)
    mail = FakeMail()
    world = World(
        database=database,
        claims=Together(database, reservations.reserve, reservations.key_of),
        offers=Offers(database),
        slot_lists=SlotLists(database),
        providers={company.provider.name: company.provider},
        key_ring=RING,
        limits=Limits(hold_seconds_min=1),
        mail=mail,
        public_url="http://holdfirst.test",
        mail_from="Practice <bookings@practice.example>",
    )
    _furnish(memory, company, mode, rules)
    shop = Shop(database, world, company.provider, mail, ACCOUNT, ["hst_0"], "ety_0", "pac_0")
    scene = Scene(shop, company, clock, mode)
    try:
        yield scene
        await scene.check()
    finally:
        await company.http.aclose()


def _furnish(memory: Memory, company: Any, mode: Mode, rules: dict[str, Any]) -> None:
    now = memory.clock()
    memory.tables["payee"]["pac_0"] = PaymentAccount(
        id="pac_0",
        account_id=ACCOUNT,
        livemode=False,
        provider=company.provider.name,
        mode=mode,
        sealed_credentials=RING.seal(msgspec.json.encode(company.secrets), "pac_0"),
        charges_enabled=True,
        problem=None,
        created_at=now,
    )
    memory.tables["host"]["hst_0"] = always_open("hst_0", ACCOUNT, "host-0", "Host 0", now)
    memory.tables["event_type"]["ety_0"] = EventType(
        id="ety_0",
        account_id=ACCOUNT,
        slug="consultation",
        rules=EventTypeRules(
            name="Consultation",
            hosts=["hst_0"],
            duration_minutes=60,
            price=Money(PRICE, "EUR"),
            payment_account="pac_0",
            **rules,
        ),
        created_at=now,
    )
