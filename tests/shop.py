# SPDX-License-Identifier: Apache-2.0
"""A small practice to try things on: one account, hosts, an event type, and a world with a fake provider in it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import msgspec

from fake_calendars import FakeCalendars
from fakes import FakeMail, FakePayments
from holdfirst import ids
from holdfirst.availability.schedule import Schedule
from holdfirst.effects import checkout, connect_calendar
from holdfirst.effects.offers import Offers
from holdfirst.effects.release import release_with_provider
from holdfirst.effects.reschedule import moving
from holdfirst.effects.reserve import Made, reserve
from holdfirst.effects.slot_lists import SlotLists
from holdfirst.effects.world import World
from holdfirst.flows import pay
from holdfirst.flows.calendar_connections import WantedConnection
from holdfirst.flows.confirm import Asks, ConfirmRequest, confirm
from holdfirst.flows.keyed import Replay
from holdfirst.flows.reschedule import RescheduleRequest, reschedule
from holdfirst.flows.reserve import ReserveRequest
from holdfirst.key_ring import KeyRing
from holdfirst.payment.payment import Mode, Payment
from holdfirst.refusal import Refusal
from holdfirst.reservation.event_type import EventType, EventTypeRules, Host
from holdfirst.reservation.reservation import EndedBy, Reservation
from holdfirst.settings import Limits
from holdfirst.store import accounts, catalog, jobs, payees, payments, reservations
from holdfirst.store.accounts import Account
from holdfirst.store.calendars import WhenBroken, WhenDeleted, WhenMoved
from holdfirst.store.database import Database, Tx
from holdfirst.store.payees import PaymentAccount
from holdfirst.store.together import Together
from holdfirst.worker import KINDS, Kind

ALWAYS = {
    "weekly": [{"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "start": "00:00", "end": "24:00"}]
}
CUSTOMER = {"name": "Anna", "email": "anna@example.org"}


async def move(world: World, request: RescheduleRequest) -> Reservation | Refusal:
    """Calendars are asked as often as it takes."""
    return await moving(world, request, partial(world.database.run, reschedule))


def always_open(host_id: str, account_id: str, slug: str, name: str, created_at: datetime) -> Host:
    """A host with no calendar and no payment account of its own, at any hour (UTC)."""
    return Host(
        id=host_id,
        account_id=account_id,
        slug=slug,
        name=name,
        email=None,
        time_zone="UTC",
        schedule=msgspec.convert(ALWAYS, Schedule),
        payment_account_id=None,
        external_id=None,
        metadata={},
        created_at=created_at,
    )


@dataclass
class Shop:
    """Verbs as a test speaks them; every one runs the production flow or effect."""

    database: Database
    world: World
    provider: FakePayments
    mail: FakeMail
    account_id: str
    hosts: list[str] = field(default_factory=list)
    event_type_id: str = ""
    payee_id: str = ""
    calendars: FakeCalendars = field(default_factory=FakeCalendars)
    kinds: Mapping[str, Kind] = field(default_factory=lambda: KINDS)

    def elsewhere(self) -> "Shop":
        """The same practice at another API process: its claims do not go together with ours."""
        return replace(
            self,
            world=msgspec.structs.replace(self.world, claims=Together(self.database, reservations.reserve)),
        )

    def slot(self, hour: int = 9, day: int = 7) -> datetime:
        """A start that is `day` days ahead, on the hour (UTC)."""
        today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return today + timedelta(days=day, hours=hour)

    async def reserve(self, start: datetime | None = None, **more: Any) -> Reservation | Refusal:
        request = ReserveRequest(
            **{
                "account_id": self.account_id,
                "event_type": self.event_type_id,
                "start": start or self.slot(),
                "customer": CUSTOMER,
            }
            | more
        )
        answer = await reserve(self.world, request)
        assert not isinstance(answer, Replay)
        return answer.reservation if isinstance(answer, Made) else answer

    async def held(self, start: datetime | None = None, **more: Any) -> Reservation:
        answer = await self.reserve(start, **more)
        assert isinstance(answer, Reservation), answer
        return answer

    async def sold(self, start: datetime | None = None) -> Reservation:
        """Reserved and confirmed by the back end, on its word that it was paid elsewhere."""
        return await self.confirm_as_paid(await self.held(start))

    async def confirm_as_paid(self, held: Reservation) -> Reservation:
        request = ConfirmRequest(reservation_id=held.id, asks=Asks.SECRET_KEY, payment_reference="till 1")
        answer = await self.database.run(confirm, request)
        assert isinstance(answer, Reservation), answer
        return answer

    async def checkout(self, reservation: Reservation) -> Payment:
        answer = await self.try_checkout(reservation)
        assert not isinstance(answer, Refusal), answer
        return answer

    async def try_checkout(self, reservation: Reservation) -> Payment | Refusal:
        answer = await checkout.open_checkout(
            self.world,
            pay.CheckoutRequest(
                reservation_id=reservation.id,
                return_url="https://shop.example/done",
                cancel_url=None,
                public_url=self.world.public_url,
            ),
        )
        return answer if isinstance(answer, Refusal) else answer[1]

    async def release(self, reservation: Reservation) -> Reservation | Refusal:
        return await release_with_provider(self.world, reservation.id, by=EndedBy.CUSTOMER, force=False)

    async def connect(self, host: int = 0, secrets: Mapping[str, str] | None = None, **more: Any) -> str:
        """The host's calendars, all of them blocking; the first that can be written receives."""
        secrets = secrets or {}
        connection_id = ids.make("con")
        wanted = WantedConnection(
            id=connection_id,
            account_id=self.account_id,
            host_id=self.hosts[host],
            provider="caldav",
            sealed=self.world.key_ring.seal(msgspec.json.encode(secrets), connection_id),
            **{
                "when_broken": WhenBroken.CLOSE,
                "when_moved": WhenMoved.FLAG,
                "when_deleted": WhenDeleted.FLAG,
            }
            | more,
        )
        answer = await connect_calendar.connect(self.world, wanted, secrets, "credentials")
        assert not isinstance(answer, Refusal), answer
        return connection_id

    async def read(self, reservation_id: str) -> Reservation:
        async with self.database.statement() as tx:
            found = await reservations.load(tx, reservation_id)
        assert found is not None
        return found

    async def payment(self, payment_id: str) -> Payment:
        async with self.database.statement() as tx:
            found = await payments.load(tx, payment_id)
        assert found is not None
        return found

    async def work(self, rounds: int = 20) -> int:
        """Run what is due until nothing is, as a worker would; answers how many jobs ran."""
        ran = 0
        for _ in range(rounds):
            claimed = await self.database.run(jobs.claim, list(self.kinds), timedelta(seconds=60), 100)
            if not claimed:
                return ran
            for job in claimed:
                ran += 1
                try:
                    again = await self.kinds[job.kind].run(self.world, job.subject)
                except Exception as error:
                    await self.database.run(jobs.retry, job, timedelta(seconds=1), str(error))
                    continue
                if again is None:
                    await self.database.run(jobs.finish, job)
                else:
                    await self.database.run(jobs.snooze, job, again)
        raise AssertionError("there is always something due")


async def open_shop(
    database: Database,
    *,
    mode: Mode = Mode.AUTHORIZE,
    hosts: int = 1,
    limits: Limits | None = None,
    rules: Mapping[str, Any] | None = None,
    company: Any = None,
    secrets: Mapping[str, str] | None = None,
) -> Shop:
    """`rules` are members of the event type; a price of 60 EUR and an hour on every hour unless they say otherwise.

    `company` is the payment provider, `secrets` the account at it; without them, a fake that keeps everything in memory.
    """
    provider, mail, ring = company or FakePayments(), FakeMail(), KeyRing([b"k" * 32])
    calendars = FakeCalendars()
    world = World(
        database=database,
        claims=Together(database, reservations.reserve, reservations.key_of),
        offers=Offers(database),
        slot_lists=SlotLists(database),
        providers={provider.name: provider},
        key_ring=ring,
        limits=limits or Limits(hold_seconds_min=1),
        mail=mail,
        public_url="http://holdfirst.test",
        mail_from="Practice <bookings@practice.example>",
        calendars={"caldav": calendars},
    )
    account_id = ids.make("acc")
    shop = Shop(database, world, provider, mail, account_id, calendars=calendars)
    shop.payee_id = ids.make("pac")

    async def build(tx: Tx) -> None:
        now = await tx.now()
        await accounts.insert_account(tx, Account(account_id, account_id, "test", now))
        await payees.insert(
            tx,
            PaymentAccount(
                id=shop.payee_id,
                account_id=account_id,
                livemode=False,
                provider=provider.name,
                mode=mode,
                sealed_credentials=ring.seal(msgspec.json.encode(dict(secrets or {})), shop.payee_id),
                charges_enabled=True,
                problem=None,
                created_at=now,
            ),
        )
        for number in range(hosts):
            host = always_open(ids.make("hst"), account_id, f"host-{number}", f"Host {number}", now)
            shop.hosts.append(host.id)
            assert await catalog.insert_host(tx, host)
        members = {
            "name": "Consultation",
            "hosts": shop.hosts,
            "duration_minutes": 60,
            "price": {"amount_minor": 6000, "currency": "EUR"},
        } | dict(rules or {})
        event_type = EventType(
            id=ids.make("ety"),
            account_id=account_id,
            slug="consultation",
            rules=msgspec.convert(members, EventTypeRules),
            created_at=now,
        )
        shop.event_type_id = event_type.id
        assert await catalog.insert_event_type(tx, event_type)

    await database.run(build)
    return shop
