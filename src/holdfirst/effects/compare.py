# SPDX-License-Identifier: Apache-2.0
"""Our books against the companies': every payment of the last days is asked about, and their own listing is read.

What differs is told. Putting it right is what every trigger does: `advance`.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from holdfirst.effects.advance import advance
from holdfirst.effects.world import Desk, World, asked, desk_of
from holdfirst.errors import ProviderUnavailable
from holdfirst.payment.payment import Payment, PaymentStatus
from holdfirst.payment.provider import Listed, ListsCheckouts, Phase, RefundPhase, Truth, Unknown
from holdfirst.store import payees, payments
from holdfirst.store.database import Tx
from holdfirst.store.payees import PaymentAccount

LOOK_BACK = timedelta(days=14)
AT_ONCE_MAX = 8


class Difference(msgspec.Struct, frozen=True):
    """What their books say and ours do not; `subject` is our payment's id, or the payment account's."""

    check: str
    means: str
    subject: str


MEANS = {
    "captured_unknown": "captured at the provider, and not in our books",
    "captured_missing": "in our books as captured, and not at the provider",
    "authorization_unvoided": "still authorised at the provider, and nobody waits for it here",
    "refund_unknown": "refunded at the provider otherwise than our books say",
    "payment_lost": "listed by the provider under an id of ours that we do not have",
    "checkout_twice": "listed by the provider under another reference than ours",
    "provider_silent": "the provider did not answer, so nothing is known",
}


async def compare(world: World, look_back: timedelta = LOOK_BACK) -> list[Difference]:
    """Everything that differs. Asks about each payment once, a few at a time."""
    since, accounts = await world.database.run(_since, look_back)
    found: list[Difference] = []
    for payee in accounts:
        if payee.provider in world.providers:
            found += await _of_account(world, payee, since)
    return found


async def repair(world: World, differences: Sequence[Difference]) -> int:
    """Bring our payments in line with the truth; answers how many were."""
    mended = 0
    for one in differences:
        if one.subject.startswith("pay_") and one.check not in ("payment_lost", "provider_silent"):
            try:
                await advance(world, one.subject)
            except ProviderUnavailable:
                continue
            mended += 1
    return mended


async def _of_account(world: World, payee: PaymentAccount, since: datetime) -> list[Difference]:
    desk = desk_of(world, payee)
    ours = await world.database.run(payments.since, payee.id, since)
    room = asyncio.Semaphore(AT_ONCE_MAX)

    async def ask(payment: Payment) -> list[Difference]:
        async with room:
            return await _asked_about(desk, payment)

    found = [one for told in await asyncio.gather(*map(ask, ours)) for one in told]
    if isinstance(desk.provider, ListsCheckouts):
        found += await _of_listing(world, desk, desk.provider, since)
    return found


async def _of_listing(
    world: World, desk: Desk, provider: ListsCheckouts, since: datetime
) -> list[Difference]:
    """Page by page to its end. What a page without an answer leaves unread is said, and what was read counts."""
    found: list[Difference] = []
    page = None
    while True:
        read = await asked(provider.checkouts_since(since, desk.account, page))
        if isinstance(read, Unknown):
            return [*found, _difference("provider_silent", desk.account.payment_account_id)]
        found += await world.database.run(_not_ours, read.listed)
        if read.next_page is None:
            return found
        page = read.next_page


async def _asked_about(desk: Desk, payment: Payment) -> list[Difference]:
    if payment.provider_ref is None:
        return []
    truth = await asked(desk.provider.fetch(payment.provider_ref, desk.account))
    if isinstance(truth, Unknown):
        return [_difference("provider_silent", payment.id)]
    return [_difference(check, payment.id) for check in differences(payment, truth)]


def differences(payment: Payment, truth: Truth) -> list[str]:
    """Names of what differs between our row and the provider's truth."""
    found = []
    if truth.captured_minor > payment.captured_minor:
        found.append("captured_unknown")
    if truth.captured_minor < payment.captured_minor:
        found.append("captured_missing")
    waits = payment.status in (PaymentStatus.OPEN, PaymentStatus.PROCESSING, PaymentStatus.AUTHORIZED)
    if truth.phase is Phase.AUTHORIZED and not waits:
        found.append("authorization_unvoided")
    done = sum(one.amount_minor for one in truth.refunds if one.phase is RefundPhase.DONE)
    pending = sum(one.amount_minor for one in truth.refunds if one.phase is RefundPhase.PENDING)
    if not done <= payment.refunded_minor <= done + pending:
        found.append("refund_unknown")
    return found


def _difference(check: str, subject: str) -> Difference:
    return Difference(check, MEANS[check], subject)


async def _not_ours(tx: Tx, listed: Sequence[Listed]) -> list[Difference]:
    """What they list under an id of ours, and we do not know, or know by another reference."""
    found = []
    for one in listed:
        payment = await payments.load(tx, one.payment_id)
        if payment is None:
            found.append(_difference("payment_lost", one.payment_id))
        elif payment.provider_ref != one.provider_ref:
            found.append(_difference("checkout_twice", one.payment_id))
    return found


async def _since(tx: Tx, look_back: timedelta) -> tuple[datetime, list[PaymentAccount]]:
    return await tx.now() - look_back, await payees.at_companies(tx)
