# SPDX-License-Identifier: Apache-2.0
"""One simulated practice: servers, workers, a bad company, customers in a hurry, and an auditor. One seed, one course."""

import asyncio
import contextlib
import random
from collections.abc import Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, NamedTuple

import structlog
from msgspec.structs import replace

from fakes import FakeMail
from holdfirst import ids
from holdfirst.effects import calendar_desk, confirm, hold_calendars, offers
from holdfirst.effects.offers import Offers
from holdfirst.effects.slot_lists import SlotLists
from holdfirst.effects.world import World
from holdfirst.errors import HoldfirstError
from holdfirst.flows import hear
from holdfirst.key_ring import KeyRing
from holdfirst.payment.money import Money
from holdfirst.payment.payment import Mode
from holdfirst.payment.provider import Hint, Notification
from holdfirst.reservation.event_type import (
    CalendarCheck,
    EventType,
    EventTypeRules,
    LatePayment,
    OnConflict,
)
from holdfirst.settings import Limits
from holdfirst.store import reservations
from holdfirst.store.payees import PaymentAccount
from holdfirst.store.together import Together
from holdfirst.worker import Worker
from memory import Memory, MemoryTx, in_memory
from memory.catalog import load_offers
from memory.tables import JobRow
from shop import always_open
from simulation.audited_calendars import CalendarAuditor
from simulation.auditor import Auditor, Broken
from simulation.base import VirtualDatabase, WaitingLocks
from simulation.calendar_calls import calendar_of, connection_of
from simulation.calendars import Calendars
from simulation.company import Company
from simulation.customers import Customer, popular_start
from simulation.virtual import PROCESS, Chance, Process, VirtualLoop, go_on

BEGIN = datetime(2027, 1, 4, 8, 0, tzinfo=UTC)
ACCOUNT = "acc_0"
SERVERS, WORKERS, CUSTOMERS, HOSTS = 3, 2, 30, 2
OPEN_SECONDS = 1.5 * 3600
"""How long customers come; then the company is well again, and there is half an hour for everything to come to rest."""
REST_SECONDS = 1800.0
AWAY_SECONDS = 3 * 86_400.0
"""Then no worker runs for three days, while old notifications come in; and then one does, for another half hour."""
REFS = {"hst_0": ("cal_0", "cal_1"), "hst_1": ("cal_2",)}
"""The calendars of each host, by the names that they have everywhere. The first of a host receives."""


class Practice(NamedTuple):
    """`check` None: nobody has a calendar."""

    mode: Mode
    late: LatePayment
    check: CalendarCheck | None
    on_conflict: OnConflict
    connected: tuple[str, ...]


def practice_of(seed: int) -> Practice:
    """Six without calendars, six with, and so on: by seed, so that one seed is one course."""
    round_, calendars = seed // 12, seed // 6 % 2 == 1
    checks = (CalendarCheck.VERIFIED, CalendarCheck.STRICT, CalendarCheck.FAST, CalendarCheck.LOCAL)
    return Practice(
        mode=list(Mode)[seed % 3],
        late=list(LatePayment)[seed // 3 % 2],
        check=checks[round_ % 4] if calendars else None,
        on_conflict=list(OnConflict)[(seed + round_) % 2],
        # In every other round one of the two hosts has none.
        connected=tuple(REFS)[: 2 - round_ % 2] if calendars else (),
    )


class Course(NamedTuple):
    """What came of one seed."""

    seed: int
    steps: int
    transactions: int
    answers: int
    moves: int
    crashes: int
    waited: int
    days: float
    readings: int
    """Of calendars, that a verdict rests on."""


class Bell:
    """The doorbell of one process; rings may be lost."""

    def __init__(self) -> None:
        self.jobs = asyncio.Event()


class Town:
    def __init__(self, seed: int, loop: VirtualLoop) -> None:
        self.chance, self.loop = Chance(seed), loop
        self.practice = practice_of(seed)
        self.locks = WaitingLocks(self.chance)
        self.memory = Memory(self.now, self.locks)
        self.company = Company(self.chance, self.notified)
        self.calendars = {
            host: Calendars(self.chance, REFS[host], ACCOUNT) for host in self.practice.connected
        }
        desks = CalendarAuditor(self.calendars, self.practice.check, self.practice.on_conflict, BEGIN)
        self.auditor = Auditor(self.memory, self.company, desks)
        self.database = VirtualDatabase(self.memory, self.chance, self.committed)
        self.database.on_announce = self.rung
        self.ring = KeyRing([b"k" * 32])
        self.mail = _Mail(self.auditor)
        self.servers: list[tuple[Process, World]] = []
        self.bells: dict[str, tuple[Process, Bell]] = {}
        self.at_work: dict[str, Worker] = {}
        self.tasks: list[asyncio.Task[Any]] = []
        self.crashes = 0
        self.troubles: list[BaseException] = []

    def now(self) -> datetime:
        return BEGIN + timedelta(milliseconds=int(self.loop.moment * 1000))

    def committed(self, tx: MemoryTx) -> None:
        """A broken promise ends the course, whatever the code under test would make of an exception."""
        try:
            self.auditor.committed(tx)
        except Broken as broken:
            self.troubles.append(broken)

    # Processes

    def spawn(self, process: Process, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        async def within() -> Any:
            PROCESS.set(process)
            return await work

        task = self.loop.create_task(within())
        task.add_done_callback(self._over)
        # Kept to the end: what a dead process was doing is never taken up, nor tidied away.
        self.tasks.append(task)
        return task

    def _over(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.troubles.append(error)

    def world(self) -> World:
        return World(
            database=self.database,  # type: ignore[arg-type]
            claims=Together(self.database, reservations.reserve, reservations.key_of),  # type: ignore[arg-type]
            offers=Offers(self.database),  # type: ignore[arg-type]
            slot_lists=SlotLists(self.database),  # type: ignore[arg-type]
            providers={"company": self.company},
            key_ring=self.ring,
            limits=Limits(hold_seconds_min=1, holds_per_address_max=0, holds_per_email_max=0),
            mail=self.mail,
            public_url="http://holdfirst.test",
            mail_from="Practice <bookings@practice.example>",
            # Each host's account is a company of its own, with bad days of its own.
            calendars=self.calendars,
        )

    def start_server(self, name: str) -> None:
        self.servers.append((Process(name), self.world()))

    def start_worker(self, name: str) -> None:
        process, bell = Process(name), Bell()
        self.bells[name] = process, bell
        worker = Worker(self.world(), bell)  # type: ignore[arg-type]
        self.at_work[name] = worker
        self.spawn(process, worker.run())

    def rung(self, _: set[tuple[str, str]]) -> None:
        for _process, bell in self.bells.values():
            if not self.chance.often(0.1):
                self.loop.call_later(self.chance.seconds(0.001, 0.05), bell.jobs.set)

    def notified(self, ref: str) -> None:
        """The company calls one of the servers; where nobody hears it, it does not call again."""
        living = [one for one in self.servers if not one[0].dead]
        if living:
            process, world = self.chance.random.choice(living)
            self.spawn(process, self._hear(world, ref))

    async def _hear(self, world: World, ref: str) -> None:
        payee = self.memory.tables["payee"]["pac_0"]
        raw = Notification(method="POST", headers={}, query={"ref": ref}, body=b"")
        with contextlib.suppress(HoldfirstError):
            await world.database.run(hear.hear, payee, raw, Hint(provider_ref=ref))

    async def crash_now_and_then(self) -> None:
        names = count(100)
        while True:
            await go_on(self.chance.seconds(20, 600))
            if self.chance.often(0.5):
                victim = self.chance.random.randrange(len(self.servers))
                process, _ = self.servers[victim]
                self.database.kill(process)
                self.servers[victim] = (Process(f"server-{next(names)}"), self.world())
            elif self.chance.often(0.4):
                # A machine that stands still for longer than a job's lease, and goes on as if nothing had been.
                name = self.chance.random.choice(sorted(self.bells))
                process, _bell = self.bells[name]
                for _ in range(10_000):
                    if self.at_work[name]._running and not process.open:
                        break
                    await go_on(0.02)
                process.frozen_until = self.loop.moment + self.chance.seconds(61, 150)
            else:
                name = self.chance.random.choice(sorted(self.bells))
                process, _bell = self.bells.pop(name)
                self.database.kill(process)
                await go_on(self.chance.seconds(0.1, 120))
                self.start_worker(f"worker-{next(names)}")
            self.crashes += 1

    async def bad_hours(self) -> None:
        while True:
            await go_on(self.chance.seconds(600, 7200))
            self.company.away = True
            await go_on(self.chance.seconds(60, 3600))
            self.company.away = False

    async def bad_readings(self, calendars: Calendars) -> None:
        while True:
            await go_on(self.chance.seconds(600, 7200))
            calendars.away = calendars.been_away = True
            await go_on(self.chance.seconds(60, 3600))
            calendars.away = False

    async def strangers(self, calendars: Calendars) -> None:
        while True:
            await go_on(self.chance.seconds(60, 900))
            calendars.behind = self.chance.random.choice((0.0, 0.0, 3.0, 15.0))
            calendars.meddle(popular_start(self))

    # The course

    def furnish(self) -> None:
        mode, late = self.practice.mode, self.practice.late
        tables = self.memory.tables
        tables["payee"]["pac_0"] = PaymentAccount(
            id="pac_0",
            account_id=ACCOUNT,
            livemode=False,
            provider="company",
            mode=mode,
            sealed_credentials=self.ring.seal(b"{}", "pac_0"),
            charges_enabled=True,
            problem=None,
            created_at=BEGIN,
        )
        hosts = [f"hst_{number}" for number in range(HOSTS)]
        for host in hosts:
            opened = always_open(host, ACCOUNT, host, host, BEGIN)
            tables["host"][host] = replace(opened, connected=host in self.calendars)
        for host in self.calendars:
            self.connect(host)
        tables["event_type"]["ety_0"] = EventType(
            id="ety_0",
            account_id=ACCOUNT,
            slug="consultation",
            created_at=BEGIN,
            rules=EventTypeRules(
                name="Consultation",
                hosts=hosts,
                duration_minutes=60,
                step_minutes=30,
                price=Money(6000, "EUR"),
                payment_account="pac_0",
                hold_seconds=300,
                late_payment=late,
                calendar_check=self.practice.check or CalendarCheck.VERIFIED,
                on_conflict=self.practice.on_conflict,
            ),
        )

    def connect(self, host: str) -> None:
        """As if the host had let us in: the account, its calendars, and a job that reads each."""
        tables, sealed = self.memory.tables, self.ring.seal(b"{}", f"con_{host}")
        made = replace(connection_of(ACCOUNT, host, host, BEGIN), provider=host, sealed_credentials=sealed)
        tables["connection"][made.id] = made
        for ref in REFS[host]:
            tables["calendar"][ref] = calendar_of(made, ref, destination=ref == REFS[host][0])
            tables["job"][f"sync_calendar:{ref}"] = JobRow(
                key=f"sync_calendar:{ref}",
                number=self.memory.begin().next_number(),
                account_id=ACCOUNT,
                kind="sync_calendar",
                subject=ref,
                lane=None,
                due_at=BEGIN,
            )

    async def live(self) -> None:
        rest = Process("the town")
        PROCESS.set(rest)
        for number in range(SERVERS):
            self.start_server(f"server-{number}")
        for number in range(WORKERS):
            self.start_worker(f"worker-{number}")
        trouble = [self.spawn(rest, self.crash_now_and_then()), self.spawn(rest, self.bad_hours())]
        for calendars in self.calendars.values():
            trouble.append(self.spawn(rest, self.bad_readings(calendars)))
            trouble.append(self.spawn(rest, self.strangers(calendars)))
        for number in range(CUSTOMERS):
            customer = Customer(self, number)
            trouble.append(self.spawn(rest, customer.live()))
        await self._until(OPEN_SECONDS)
        for task in trouble:
            task.cancel()
        self.company.away, self.company.healthy = False, True
        for calendars in self.calendars.values():
            calendars.away, calendars.healthy, calendars.behind = False, True, 0.0
        await self._until(self.loop.moment + REST_SECONDS)
        for process, _ in self.bells.values():
            self.database.kill(process)
        self.bells.clear()
        await self._until(self.loop.moment + AWAY_SECONDS)
        self.start_worker("the last worker")
        await self._until(self.loop.moment + REST_SECONDS)
        self.auditor.charged(self.now())
        self.auditor.at_rest()

    async def _until(self, moment: float) -> None:
        while self.loop.moment < moment:
            if self.troubles:
                raise self.troubles[0]
            left = moment - self.loop.moment
            await asyncio.sleep(min(left, 60.0))

    def pick_server(self) -> tuple[Process, World]:
        return self.chance.random.choice(self.servers)


class _Mail(FakeMail):
    def __init__(self, auditor: Auditor) -> None:
        super().__init__()
        self._auditor = auditor

    async def send(self, message: Any) -> None:
        await go_on(0.05)
        self._auditor.mailed(str(message["Message-ID"]), str(message["Subject"]))


def run(seed: int) -> Course:
    """Raises `Broken`, or whatever the code under test let through, with the seed that shows it again."""
    loop = VirtualLoop()
    town = Town(seed, loop)
    town.furnish()
    with _deterministic(seed, loop):
        try:
            loop.run_until_complete(town.live())
        except BaseException as error:
            error.add_note(f"at {town.now()}; to see it again: make simulate SEED={seed}")
            raise
        finally:
            _bury(town, loop)
    return Course(
        seed,
        loop.steps,
        town.database.transactions,
        town.auditor.answers,
        town.auditor.moves,
        town.crashes,
        town.locks.waited,
        loop.moment / 86_400,
        sum(len(one.readings) for one in town.calendars.values()),
    )


def _bury(town: Town, loop: VirtualLoop) -> None:
    for task in asyncio.all_tasks(loop):
        task._log_destroy_pending = False  # type: ignore[attr-defined]
    GRAVES.append((town.tasks, asyncio.all_tasks(loop)))
    loop.close()


GRAVES: list[Any] = []
"""Coroutines that nobody ends: ending them would run what a killed process never runs."""


class _TurnsOfEachProcess(dict[Any, asyncio.Semaphore]):
    """What a killed process held, it held alone."""

    def setdefault(self, connection_id: Any, fresh: Any = None) -> Any:
        return super().setdefault((PROCESS.get(), connection_id), fresh)


@contextlib.contextmanager
def _deterministic(seed: int, loop: VirtualLoop) -> Iterator[None]:
    """No randomness but the seed's, no clock but the loop's."""
    numbers = count(1)
    before = ids.make, confirm.monotonic, offers.monotonic, offers.load_offers
    calendars_before = hold_calendars.monotonic, calendar_desk._turns
    ids.make = lambda prefix: f"{prefix}_{next(numbers):026d}"
    confirm.monotonic = offers.monotonic = hold_calendars.monotonic = loop.time
    calendar_desk._turns = _TurnsOfEachProcess()
    offers.load_offers = load_offers
    random.seed(seed)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    try:
        with in_memory():
            yield
    finally:
        ids.make, confirm.monotonic, offers.monotonic, offers.load_offers = before
        hold_calendars.monotonic, calendar_desk._turns = calendars_before
        structlog.reset_defaults()
