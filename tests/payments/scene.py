# SPDX-License-Identifier: Apache-2.0
"""A practice that is paid by a real company's adapter and its fake, under each money mode; and what has to be true of money
whenever nothing is due any more.
"""

from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from holdfirst.effects import advance
from holdfirst.errors import ProviderUnavailable
from holdfirst.flows import hear, wake
from holdfirst.payment.payment import Mode, Payment
from holdfirst.payment.provider import BadNotification, Notification
from holdfirst.providers.gopay import GoPayProvider
from holdfirst.providers.stripe import StripeProvider
from holdfirst.reservation.reservation import Reservation, Status
from holdfirst.store import payees, payments
from holdfirst.store.database import Database, Tx
from holdfirst.worker import WAKING_KINDS
from providers.gopay_fake import GoPayFake
from providers.stripe_fake import Books, StripeFake
from providers.stripe_stage import signed
from shop import Shop, open_shop

HOLDS = (Mode.AUTHORIZE, Mode.AUTHORIZE_UNCLOSEABLE)
SALES = (Mode.SALE, Mode.SALE_UNCLOSEABLE)
CLOSEABLE = (Mode.AUTHORIZE, Mode.SALE)
PRICE = 6000
WHSEC = "whsec_scene"


@dataclass
class Money:
    """What the company's own books say of one checkout."""

    held: int
    captured: int
    refunded: int

    @property
    def charged(self) -> int:
        return self.captured - self.refunded


class AtStripe:
    def __init__(self, mode: Mode) -> None:
        self.mode = mode
        self.fake = StripeFake()
        self.books: Books = self.fake.account("sk_test_scene", "acct_scene")
        self.http = self.fake.client()
        self.provider = StripeProvider(self.http)
        self.secrets = {"secret_key": "sk_test_scene", "webhook_secrets": WHSEC}
        self.told = 0

    def pay(self, ref: str, *, late: bool = False) -> None:
        """`late`: 3-D Secure was under way when we closed the session, and goes through."""
        ended = self.books.session(ref).status != "open"
        assert late or not ended
        self.books.pay(ref, "ideal" if self.mode.is_sale else "card", force=ended)

    def decline(self, ref: str) -> None:
        self.books.decline(ref)

    def money(self, ref: str) -> Money:
        intent = self.books.session(ref).intent
        if intent is None:
            return Money(0, 0, 0)
        held = intent.amount if intent.status == "requires_capture" else 0
        done = sum(one.amount for one in intent.refunds if one.status == "succeeded")
        return Money(held, intent.received, done)

    def refs(self) -> list[str]:
        return list(self.books.sessions)

    def notifications(self, ref: str) -> list[Notification]:
        """Every event about this checkout so far, as Stripe would send it."""
        intent = self.books.session(ref).intent
        names = {ref, intent.id if intent else ref}
        told = [event for event in self.books.events if names & _names(event["data"]["object"])]
        return [signed(event, WHSEC) for event in told]

    def capture_in_dashboard(self, ref: str) -> None:
        intent = self.books.session(ref).intent
        assert intent is not None
        self.books.capture(intent.id)

    def refund_in_dashboard(self, ref: str, amount: int) -> None:
        self.books.dashboard_refund(ref, amount)

    def fail_refund(self, ref: str) -> None:
        intent = self.books.session(ref).intent
        assert intent is not None
        self.books.fail_refund(intent.refunds[-1].id)

    def refuse_captures(self) -> None:
        self.books.refuses_capture = True

    def be_short(self, short: bool) -> None:
        self.books.refund_outcomes = ["refused"] * 50 if short else []

    def tamper(self, ref: str) -> None:
        self.books.session(ref).tampered_total = 100

    def revoke(self) -> None:
        self.fake.keys["sk_test_scene"].revoked = True

    def restore(self) -> None:
        self.fake.keys["sk_test_scene"].revoked = False


def _names(about: dict[str, Any]) -> set[Any]:
    return {about.get("id"), about.get("payment_intent")}


class AtGoPay:
    def __init__(self, mode: Mode) -> None:
        self.mode = mode
        self.fake = GoPayFake()
        self.fake.shop("scene", "secret", 8123456789)
        self.http = self.fake.client()
        self.provider = GoPayProvider(self.http)
        self.secrets = {"client_id": "scene", "client_secret": "secret", "goid": "8123456789"}

    def pay(self, ref: str, *, late: bool = False) -> None:
        self.fake.pay(ref)

    def decline(self, ref: str) -> None:
        self.fake.decline(ref)

    def money(self, ref: str) -> Money:
        payment = self.fake.payments[int(ref)]
        amount = payment.wanted.amount
        paid = payment.state in ("PAID", "PARTIALLY_REFUNDED", "REFUNDED")
        done = sum(one.amount for one in payment.refunds if one.state == "FINISHED")
        return Money(amount if payment.state == "AUTHORIZED" else 0, amount if paid else 0, done)

    def refs(self) -> list[str]:
        return [str(ref) for ref in self.fake.payments]

    def notifications(self, ref: str) -> list[Notification]:
        return [Notification("GET", {}, {"id": ref}, b"")]

    def capture_in_dashboard(self, ref: str) -> None:
        payment = self.fake.payments[int(ref)]
        assert payment.state == "AUTHORIZED"
        payment.state = "PAID"

    def refund_in_dashboard(self, ref: str, amount: int) -> None:
        self.fake.dashboard_refund(ref, amount)

    def fail_refund(self, ref: str) -> None:
        self.fake.fail_refund(ref)

    def refuse_captures(self) -> None:
        self.fake.captures = False

    def be_short(self, short: bool) -> None:
        self.fake.balance_is_short = short

    def tamper(self, ref: str) -> None:
        self.fake.payments[int(ref)].wanted.amount = 100

    def revoke(self) -> None:
        self.fake.clients["scene"] = ("another", 8123456789)
        self.fake.tokens.clear()

    def restore(self) -> None:
        self.fake.clients["scene"] = ("secret", 8123456789)


@dataclass
class Scene:
    shop: Shop
    company: Any
    clock: Any
    mode: Mode
    ended: list[str] = field(default_factory=list)

    # The customer, and time

    async def open(self, **more: Any) -> tuple[Reservation, Payment]:
        held = await self.shop.held(**more)
        return held, await self.shop.checkout(held)

    async def pass_time(self, seconds: float) -> None:
        """For the database and for the company alike."""
        await self.clock.shift(timedelta(seconds=seconds))
        self.company.fake.offset += seconds
        if isinstance(self.company, AtGoPay):
            self.company.fake.tokens.clear()

    async def until_over(self, held: Reservation) -> None:
        async with self.shop.database.statement() as tx:
            await self.pass_time((held.held_until - await tx.now()).total_seconds() + 1)

    async def come_back(self, payment: Payment) -> None:
        """The return page, or a question by whoever waits; the company may not answer."""
        with suppress(ProviderUnavailable):
            await advance.advance(self.shop.world, payment.id)

    # The company's side

    def down(self, *operations: str, times: int = 60, how: str = "lost_before") -> None:
        for operation in operations:
            self.company.fake.faults[operation] = [how] * times

    def up(self) -> None:
        self.company.fake.faults.clear()

    async def hear(self, notification: Notification) -> None:
        async with self.shop.database.statement() as tx:
            payee = await payees.load_even_deleted(tx, self.shop.payee_id)
        account = advance.desk_of(self.shop.world, payee).account
        hint = self.company.provider.read_notification(notification, account)
        assert not isinstance(hint, BadNotification), hint
        await self.shop.database.run(hear.hear, payee, notification, hint)

    async def notify(self, payment: Payment, times: int = 1) -> None:
        assert payment.provider_ref is not None
        for _ in range(times):
            for one in self.company.notifications(payment.provider_ref):
                await self.hear(one)

    # Our side

    async def work(self) -> None:
        """What is due now; a job that failed is due again a second later."""
        for _ in range(4):
            await self.shop.work()
            await self.pass_time(1.2)
        await self.shop.work()

    async def restart(self) -> None:
        """Another worker, after the first died with jobs in its hands."""
        await self.shop.database.run(wake.wake, WAKING_KINDS)
        await self.work()

    async def status(self, held: Reservation) -> Status:
        return (await self.shop.read(held.id)).status

    async def payment(self, payment: Payment) -> Payment:
        return await self.shop.payment(payment.id)

    def money(self, payment: Payment) -> Money:
        assert payment.provider_ref is not None
        money: Money = self.company.money(payment.provider_ref)
        return money

    async def check(self) -> None:
        """Whatever happened: money that was taken stands behind a confirmed reservation, or is on its way back."""
        async with self.shop.database.statement() as tx:
            rows = await _all(tx, self.shop.account_id)
            for payment in rows:
                reservation = await self.shop.read(payment.reservation_id)
                money = self.company.money(payment.provider_ref) if payment.provider_ref else Money(0, 0, 0)
                paid_for = reservation.paid_by == payment.id and reservation.status in (
                    Status.CONFIRMED,
                    Status.PROCESSING,
                )
                told = (payment.status, reservation.status, money)
                assert payment.captured_minor in (0, PRICE, money.captured), told
                if not paid_for:
                    assert money.charged == payment.refund_due_minor or payment.can_bring_money, told
                    assert money.held == 0 or payment.can_bring_money, told
                assert payment.captured_minor == (
                    payment.kept_minor + payment.refunded_minor + payment.refund_due_minor
                )
                if reservation.status is Status.CONFIRMED and reservation.paid_by == payment.id:
                    assert money.captured == PRICE, told
            told_of = {row.provider_ref for row in rows}
            for ref in set(self.company.refs()) - told_of:
                assert self.company.money(ref) == Money(0, 0, 0), "nobody was told its address"


async def _all(tx: Tx, account_id: str) -> list[Payment]:
    found: list[Payment] = []
    while True:
        page = await payments.find(
            tx,
            account_id,
            status=None,
            reservation_id=None,
            needs_human=None,
            before=found[-1].id if found else None,
            limit=1000,
        )
        found += page
        if len(page) < 1000:
            return found


def company_for(mode: Mode) -> AtStripe | AtGoPay:
    """One that has this mode."""
    return AtStripe(mode) if mode in CLOSEABLE else AtGoPay(mode)


@asynccontextmanager
async def open_scene(database: Database, clock: Any, mode: Mode, **rules: Any) -> Any:
    company = company_for(mode)
    shop = await open_shop(
        database, mode=mode, rules=rules, company=company.provider, secrets=company.secrets
    )
    scene = Scene(shop, company, clock, mode)
    try:
        yield scene
        await scene.check()
    finally:
        await company.http.aclose()
