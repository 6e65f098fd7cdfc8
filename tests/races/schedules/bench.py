# SPDX-License-Identifier: Apache-2.0
"""The laboratory's database and its connections: gated functions, a clock that stands still, rows that come back."""

import asyncio
import pickle
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
import msgspec

from conftest import make_database
from fake_calendars import FakeCalendars
from fakes import FakeMail, FakePayments
from holdfirst import ids
from holdfirst.effects import confirm
from holdfirst.effects.offers import Offers
from holdfirst.effects.slot_lists import SlotLists
from holdfirst.store import reservations
from holdfirst.store.database import SESSION, Database
from holdfirst.store.migrations import migrate
from holdfirst.store.together import Together
from races.schedules.builds import PRODUCTION, laboratory
from races.schedules.driver import TICK, Race
from races.schedules.gates import GatedCalendars, GatedPayments, GatedPool, Participant
from races.schedules.steps import Step, Touched
from shop import Shop

LETTERS = "abc"
LABORATORY_SESSION = SESSION | {
    # Slow is not wrong here: a loaded machine must not make an outcome.
    "lock_timeout": "20000",
    "idle_in_transaction_session_timeout": "0",
    "deadlock_timeout": "10ms",
    # Nobody pulls the plug here.
    "synchronous_commit": "off",
}
SWEEP_EVERY = 150

_who: ContextVar[str] = ContextVar("who", default="0")
_made: dict[tuple[str, str], int] = {}


def make_id(prefix: str) -> str:
    """Ids that say who made them, the same in every schedule: rows of two schedules can then be compared."""
    who = _who.get()
    number = _made[prefix, who] = _made.get((prefix, who), 0) + 1
    return f"{prefix}_{who}{number:0>25}"


async def build(server_url: str, name: str) -> str:
    url = await make_database(server_url, name)
    await migrate(Database(url))
    connection = await asyncpg.connect(url)
    try:
        await connection.execute((Path(__file__).parent / "bench.sql").read_text())
        await connection.execute(laboratory(PRODUCTION))
    finally:
        await connection.close()
    return url


Operation = Callable[[Shop, Any], Coroutine[Any, Any, Any]]


class Bench:
    """One database, one control connection, one gated connection for each participant."""

    def __init__(self, url: str, control: Any, ticking: Any, connections: list[Any]) -> None:
        self.control = control
        self._ticking = ticking
        self.free = Database(url, connections_max=4)
        self.changed = asyncio.Event()
        self._connections = connections
        self._pids = [connection.get_server_pid() for connection in connections]
        self._heard: dict[int, Callable[[str], None]] = {}
        for number, connection in enumerate(connections):
            connection.add_log_listener(lambda _, notice, number=number: self._heard[number](notice.message))
        self._used = 0
        self._provider = FakePayments()
        self._mail = FakeMail()
        self._calendars = FakeCalendars()
        self._kept: tuple[bytes, datetime, dict[tuple[str, str], int]] = (
            b"",
            datetime.min.replace(tzinfo=UTC),
            {},
        )
        """What the companies know, packed (a third of the price of a deep copy each time); the time; the ids made."""
        self.shop: Shop | None = None
        self.rested: dict[bytes, list[str]] = {}
        """What became of rows when everything that was to follow had followed."""
        self.deadline: timedelta = timedelta(0)

    def adopt(self, shop: Shop) -> None:
        """Its companies are those that are asked from now on."""
        self.shop = shop
        self._provider, self._mail, self._calendars = shop.provider, shop.mail, shop.calendars

    async def keep(self, shop: Shop) -> None:
        """From now on this is where every schedule starts."""
        self.shop = shop
        self.rested.clear()
        await self.control.execute("select lab.keep()")
        self._kept = (
            pickle.dumps((shop.provider.checkouts, shop.calendars.shelves, shop.calendars.history)),
            await self.control.fetchval("select the_clock()"),
            dict(_made),
        )

    async def start(self, subject: Any, operations: list[Operation], ticks: list[timedelta]) -> Race:
        """Everything as it was kept, and everybody at the first gate."""
        assert self.shop is not None
        self._used += 1
        if self._used % SWEEP_EVERY == 0:
            await self.sweep()
        await self.control.execute("select lab.restore()")
        kept, now, made = self._kept
        _made.clear()
        _made.update(made)
        self._provider = FakePayments()
        self._provider.checkouts, shelves, history = pickle.loads(kept)
        self._mail = FakeMail()
        self._calendars = FakeCalendars(shelves=shelves, history=history, tokens=count(1000))
        participants = [
            self._participant(letter, number, operation, subject)
            for number, (letter, operation) in enumerate(zip(LETTERS, operations, strict=False))
        ]
        if ticks:
            participants.append(self._ticker(now, ticks))
        race = Race(self.control, participants)
        await race.settle(self.changed)
        return race

    def _participant(self, letter: str, number: int, operation: Operation, subject: Any) -> Participant:
        one = Participant(letter, self.changed)
        one.pid, one.number = self._pids[number], number + 1
        self._heard[number] = one.hear
        database = Database("")
        database._pool = GatedPool(self._connections[number], one)  # type: ignore[assignment]
        shop = self.shop_on(
            database, GatedPayments(lambda: self._provider, one), GatedCalendars(lambda: self._calendars, one)
        )
        self._go(one, operation(shop, subject))
        return one

    def _ticker(self, now: datetime, ticks: list[timedelta]) -> Participant:
        one = Participant(TICK, self.changed)
        clock = frozenset({("clock", None)})

        async def tick() -> None:
            for after in ticks:
                await one.stop(Step("tick", Touched(locks=clock, made_known=clock), opens=True))
                await self._ticking.execute("select lab.move_clock($1)", now + after)

        self._go(one, tick())
        return one

    def _go(self, one: Participant, work: Coroutine[Any, Any, Any]) -> None:
        before = _who.set(one.letter)
        one.task = asyncio.create_task(work)
        one.task.add_done_callback(lambda _: self.changed.set())
        _who.reset(before)

    def shop_on(self, database: Database, provider: Any = None, calendars: Any = None) -> Shop:
        """The kept practice, on another database connection and other companies."""
        assert self.shop is not None
        world = msgspec.structs.replace(
            self.shop.world,
            database=database,
            claims=Together(database, reservations.reserve, reservations.key_of),
            offers=Offers(database),
            slot_lists=SlotLists(database),
            providers={"fake": provider or self._provider},
            mail=self._mail,
            calendars={"caldav": calendars or self._calendars},
        )
        return replace(
            self.shop,
            database=database,
            world=world,
            provider=self._provider,
            mail=self._mail,
            calendars=self._calendars,
        )

    async def tell(self) -> dict[str, Any]:
        """Every row, and the provider's books."""
        text = await self.control.fetchval("select lab.tell()")
        told: dict[str, Any] = msgspec.json.decode(text)
        told["provider"] = {
            ref: {
                "phase": one.phase.value,
                "authorized": one.authorized,
                "captured": one.captured,
                "refunds": [(key, refund.amount_minor) for key, refund in one.refunds.items()],
                "amount": one.spec.amount.amount_minor,
            }
            for ref, one in self._provider.checkouts.items()
        }
        told["calendar"] = sorted(
            (one.uid, one.state or "") for shelf in self._calendars.shelves.values() for one in shelf.values()
        )
        told["calls"] = sorted(Counter(operation for operation, _ in self._provider.calls).items())
        told["mails"] = [f"{mail['Message-ID']} {mail['Subject']}" for mail in self._mail.sent]
        return told

    async def move_clock(self, by: timedelta) -> None:
        await self.control.execute("select lab.move_clock(the_clock() + $1)", by)

    async def sweep(self) -> None:
        """Rows come and go thousands of times; what is dead is taken out."""
        await self.control.execute(
            "vacuum calendar, calendar_item, calendar_event, busy, reservation, claim, payment, refund, notification, job, idempotency_key, host, lab.clock"
        )


@asynccontextmanager
async def open_bench(url: str) -> AsyncIterator[Bench]:
    ids_made, waits = ids.make, confirm.WAIT_SECONDS
    ids.make = make_id
    # Nobody waits for a provider by the wall clock here.
    confirm.WAIT_SECONDS = 0
    control = await asyncpg.connect(url, server_settings=LABORATORY_SESSION)
    ticking = await asyncpg.connect(url, server_settings=LABORATORY_SESSION)
    connections = [
        await asyncpg.connect(url, server_settings=LABORATORY_SESSION | {"lab.participant": str(number + 1)})
        for number in range(len(LETTERS))
    ]
    for number in range(len(LETTERS)):
        await control.execute(
            f"select setval('lab.stops_{number + 1}', 0, false), pg_advisory_lock({number + 1}, 0)"
        )
    bench = Bench(url, control, ticking, connections)
    await bench.free.open()
    try:
        yield bench
    finally:
        ids.make, confirm.WAIT_SECONDS = ids_made, waits
        for connection in (control, ticking, *connections):
            connection.terminate()
        await bench.free.close()
