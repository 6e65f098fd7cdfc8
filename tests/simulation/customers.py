# SPDX-License-Identifier: Apache-2.0
"""Customers in a hurry: they reserve, pay, pay late, ask ten times, give up; and an account that meddles."""

import asyncio
from collections.abc import Awaitable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from holdfirst.effects.checkout import open_checkout
from holdfirst.effects.confirm import confirm_with_provider
from holdfirst.effects.release import release_with_provider
from holdfirst.effects.reserve import Made, reserve
from holdfirst.errors import HoldfirstError
from holdfirst.flows import cancel, change, expire
from holdfirst.flows.confirm import Asks, ConfirmRequest
from holdfirst.flows.keyed import Replay, RequestKey
from holdfirst.flows.pay import CheckoutRequest
from holdfirst.flows.reschedule import RescheduleRequest
from holdfirst.flows.reserve import ReserveRequest
from holdfirst.payment.sandbox import Action
from holdfirst.refusal import Code, Refusal
from holdfirst.reservation.reservation import EndedBy, Reservation
from shop import move
from simulation.virtual import go_on

if TYPE_CHECKING:
    from simulation.town import Town

T = TypeVar("T")
SLOTS = 6
CUSTOMER = {"name": "Anna", "email": "anna@example.org"}


class Customer:
    def __init__(self, town: "Town", number: int) -> None:
        self.town, self.number = town, number
        self.chance = town.chance
        self.keys = 0

    async def live(self) -> None:
        while True:
            await go_on(self.chance.seconds(1, 120))
            if self.chance.often(0.5):
                # The time is released on the minute, and everybody is there.
                await go_on(60 - self.town.loop.moment % 60)
            held = await self.reserve()
            if held is not None:
                await self.with_hold(held)

    async def asks(self, work: Any) -> Any:
        """At one of the servers. None: it failed, or its server died and nobody answers any more."""
        process, world = self.town.pick_server()
        task = self.town.spawn(process, _tried(work(world)))
        done, _ = await asyncio.wait([task], timeout=40)
        return task.result() if done else None

    async def reserve(self) -> Reservation | None:
        start = popular_start(self.town)
        request = ReserveRequest(
            account_id="acc_0",
            event_type="ety_0",
            start=start,
            customer=CUSTOMER,
            hold_seconds=self.chance.random.choice((60, 300, 600)),
        )
        key = None
        if self.chance.often(0.7):
            self.keys += 1
            key = RequestKey("scope", f"{self.number}-{self.keys}", b"same")
        since = self.town.now()
        tries = [self.asks(lambda world: reserve(world, request, key))]
        if key is not None and self.chance.often(0.5):
            # A double click.
            tries.append(self.asks(lambda world: reserve(world, request, key)))
        answers = await asyncio.gather(*tries)
        if key is not None and self.town.practice.check is not None and not any(answers):
            # It failed, or its server died: what it had begun is taken up.
            await go_on(self.chance.seconds(0.1, 20))
            answers = [await self.asks(lambda world: reserve(world, request, key))]
        if key is not None:
            for answer in answers:
                self.told_by_key(key, answer)
        for answer in answers:
            if isinstance(answer, Refusal) and answer.code is Code.SLOT_TAKEN:
                for host in ("hst_0", "hst_1"):
                    self.town.auditor.taken(host, start, start + timedelta(hours=1), since)
        for answer in answers:
            if isinstance(answer, Made):
                self.town.auditor.made(answer.reservation)
                self.told(answer.reservation)
                if key is not None and self.chance.often(0.3):
                    # Later, as if nobody had answered.
                    await go_on(self.chance.seconds(1, 60))
                    self.told_by_key(key, await self.asks(lambda world: reserve(world, request, key)))
                return answer.reservation
        return None

    def told_by_key(self, key: RequestKey, answer: Any) -> None:
        if isinstance(answer, Made):
            self.town.auditor.keyed(key.key, answer.reservation.id, self.town.now())
        elif isinstance(answer, Replay):
            self.town.auditor.keyed(key.key, answer.result["id"], self.town.now())
            self.town.auditor.replayed(answer.result["id"])

    def told(self, row: Reservation) -> None:
        self.town.auditor.told(row, self.town.now())

    async def with_hold(self, held: Reservation) -> None:
        for _ in range(self.chance.random.randrange(1, 7)):
            await go_on(self.chance.seconds(0.05, 240))
            deed = self.chance.random.choice(DEEDS)
            answer = await deed(self, held)
            row = answer[0] if isinstance(answer, tuple) else answer
            if isinstance(row, Reservation):
                self.told(row)

    async def checkout(self, held: Reservation) -> Any:
        request = CheckoutRequest(
            reservation_id=held.id,
            return_url="https://shop.example/done",
            cancel_url=None,
            public_url="http://holdfirst.test",
        )
        opened = await self.asks(lambda world: open_checkout(world, request))
        if isinstance(opened, tuple):
            await self.at_company(opened[1].provider_ref)
        return opened

    async def at_company(self, ref: str) -> None:
        await go_on(self.chance.seconds(0.5, 400))
        company = self.town.company
        pays = Action.PAY if company.checkouts[ref].mode.is_sale else Action.AUTHORIZE
        match self.chance.random.randrange(8):
            case 0:
                company.act(ref, Action.DECLINE)
            case 1:
                company.act(ref, Action.ABANDON)
            case 2 | 3 | 4:
                # The bank takes its time; whatever becomes of the checkout meanwhile, it goes through.
                await go_on(self.chance.seconds(60, 3600))
                company.act(ref, pays, force=True)
            case _:
                company.act(ref, pays)

    async def confirm(self, held: Reservation) -> Any:
        request = ConfirmRequest(
            reservation_id=held.id,
            asks=Asks.CLIENT_SECRET,
            if_still_free=self.chance.often(0.3),
        )
        asking = [
            self.asks(lambda world: confirm_with_provider(world, request, back_end_confirms=False))
            for _ in range(self.chance.random.randrange(1, 4))
        ]
        answers = await asyncio.gather(*asking)
        return next((one for one in answers if isinstance(one, Reservation)), answers[0])

    async def paid_elsewhere(self, held: Reservation) -> Any:
        request = ConfirmRequest(reservation_id=held.id, asks=Asks.SECRET_KEY, payment_reference="till 1")
        return await self.asks(lambda world: confirm_with_provider(world, request, back_end_confirms=False))

    async def release(self, held: Reservation) -> Any:
        by = EndedBy.CUSTOMER
        return await self.asks(lambda world: release_with_provider(world, held.id, by=by, force=False))

    async def cancel(self, held: Reservation) -> Any:
        refund = self.chance.random.choice(("full", "none"))
        request = cancel.CancelRequest(reservation_id=held.id, by=EndedBy.ACCOUNT, refund=refund)
        return await self.asks(lambda world: world.database.run(cancel.cancel, request))

    async def extend(self, held: Reservation) -> Any:
        return await self.asks(lambda world: world.database.run(change.extend, held.id, world.limits))

    async def reschedule(self, held: Reservation) -> Any:
        # As often to where nobody else wants to go.
        later = timedelta(hours=SLOTS * self.chance.random.randrange(2))
        start, since = popular_start(self.town) + later, self.town.now()
        request = RescheduleRequest(reservation_id=held.id, start=start, by=EndedBy.ACCOUNT)
        answer = await self.asks(lambda world: move(world, request))
        if isinstance(answer, Refusal) and answer.code is Code.SLOT_TAKEN:
            self.town.auditor.taken(held.hosts[0], start, start + timedelta(hours=1), since)
        elif isinstance(answer, Reservation):
            self.town.auditor.moved(answer, start)
        return answer

    async def read(self, held: Reservation) -> Any:
        return await self.asks(lambda world: world.database.run(expire.read, held.id))


DEEDS = (
    Customer.checkout,
    Customer.checkout,
    Customer.checkout,
    Customer.checkout,
    Customer.checkout,
    Customer.confirm,
    Customer.confirm,
    Customer.paid_elsewhere,
    Customer.release,
    Customer.cancel,
    Customer.extend,
    Customer.reschedule,
    Customer.reschedule,
    Customer.read,
)


def popular_start(town: "Town") -> datetime:
    """One of a few half hours, soon enough to begin while money is still on its way."""
    near = town.now().replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    return near + town.chance.random.randrange(SLOTS) * timedelta(minutes=30)


async def _tried(work: Awaitable[T]) -> T | None:
    try:
        return await work
    except HoldfirstError:
        return None
