# SPDX-License-Identifier: Apache-2.0
"""A payment company of bad days: the sandbox's rules, behind a network that loses, delays, repeats and invents."""

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

from holdfirst.payment.money import Money
from holdfirst.payment.payment import Mode
from holdfirst.payment.provider import (
    BadNotification,
    CheckoutSpec,
    Credentials,
    Hint,
    Notification,
    Opened,
    Refused,
    Unknown,
    key_name,
)
from holdfirst.payment.sandbox import Action, Checkout, State
from holdfirst.providers.sandbox import checkout as books
from holdfirst.refusal import Refusal
from simulation.virtual import Chance, go_on

DAYS_3 = 3 * 86_400.0


class Charge(NamedTuple):
    """That money was taken, and when."""

    ref: str
    moment: float


class Company:
    """`heard`: called for each notification that arrives, with the reference it names."""

    name = "company"

    def __init__(self, chance: Chance, heard: Callable[[str], None]) -> None:
        self._chance, self._heard = chance, heard
        self.checkouts: dict[str, Checkout] = {}
        self.modes: dict[str, Mode] = {}
        self.refused: set[str] = set()
        self.forced: set[str] = set()
        self.charges: list[Charge] = []
        self.away = False
        self.healthy = False
        self.calls = 0

    # What we ask

    async def open_checkout(self, spec: CheckoutSpec, account: Credentials) -> Opened | Refused | Unknown:
        ref = f"ref_{spec.key}"

        def step(_: Checkout | None) -> tuple[Checkout | None, Any]:
            if spec.key in self.refused or (ref not in self.checkouts and self._unlucky(0.02)):
                self.refused.add(spec.key)
                return None, Refused("not today")
            made = self.checkouts.get(ref) or _opened(ref, spec, account.payment_account_id)
            return made, Opened(ref, f"https://company.example/{ref}")

        return await self._call(ref, step)

    async def fetch(self, provider_ref: str, account: Credentials) -> Any:
        return await self._call(provider_ref, books.fetch)

    async def close(self, provider_ref: str, account: Credentials) -> Any:
        return await self._call(provider_ref, books.close)

    async def capture(self, provider_ref: str, key: str, account: Credentials) -> Any:
        if self._unlucky(0.02):
            return Refused("the bank says no")
        return await self._call(provider_ref, books.capture)

    async def void(self, provider_ref: str, key: str, account: Credentials) -> Any:
        return await self._call(provider_ref, books.void)

    async def refund(self, provider_ref: str, amount: Money, key: str, account: Credentials) -> Any:
        return await self._call(provider_ref, lambda one: books.refund(one, key_name(key), amount))

    def read_notification(self, notification: Notification, account: Credentials) -> Hint | BadNotification:
        return Hint(provider_ref=notification.query["ref"])

    # What customers do there

    def act(self, ref: str, action: Action, *, force: bool = False) -> bool:
        """Whether the company let it through."""
        before = self.checkouts[ref]
        after = books.act(before, action, force=force)
        if isinstance(after, Refusal):
            return False
        if force and before.state is not State.OPEN:
            self.forced.add(ref)
        self._write(ref, after)
        return True

    # The bad days

    def _unlucky(self, share: float) -> bool:
        return not self.healthy and self._chance.often(share)

    async def _call(self, ref: str, step: Callable[[Any], tuple[Any, Any]]) -> Any:
        self.calls += 1
        await go_on(self._chance.seconds(0.01, 0.5))
        if self.away or self._unlucky(0.03):
            return Unknown("lost on the way there")
        after, answer = step(self.checkouts.get(ref))
        if after is not None:
            self._write(ref, after)
        if self._unlucky(0.03):
            await go_on(15)
        else:
            await go_on(self._chance.seconds(0.01, 0.5))
        return Unknown("lost on the way back") if self._unlucky(0.03) else answer

    def _write(self, ref: str, after: Checkout) -> None:
        before = self.checkouts.get(ref)
        self.checkouts[ref] = after
        if before is not None and before.state is not after.state:
            if after.captured_minor > before.captured_minor:
                self.charges.append(Charge(ref, asyncio.get_running_loop().time()))
            self._notify(ref)

    def _notify(self, ref: str) -> None:
        """None, one, or many; at once, out of order, days late; and of things that did not happen."""
        loop = asyncio.get_running_loop()
        for _ in range(self._chance.random.choice((0, 1, 1, 1, 2, 4))):
            loop.call_later(self._chance.seconds(0.01, 60), self._heard, ref)
        if self._chance.often(0.05):
            loop.call_later(self._chance.seconds(3600, DAYS_3), self._heard, ref)
        if self._chance.often(0.05):
            loop.call_later(self._chance.seconds(0.01, 60), self._heard, "ref_of_nobody")
        if self._chance.often(0.05):
            another = self._chance.random.choice(sorted(self.checkouts))
            loop.call_later(self._chance.seconds(0.01, 60), self._heard, another)


def _opened(ref: str, spec: CheckoutSpec, payment_account_id: str) -> Checkout:
    return Checkout(
        ref=ref,
        payment_account_id=payment_account_id,
        key=spec.key,
        mode=spec.mode,
        state=State.OPEN,
        amount=spec.amount,
        livemode=spec.livemode,
        description=spec.description,
        pay_before=spec.pay_before,
        return_url=spec.return_url,
        notification_url=spec.notification_url,
    )
