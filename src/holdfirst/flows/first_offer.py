# SPDX-License-Identifier: Apache-2.0
"""`holdfirst init`: a first host and a first event type, so that there is something to try."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TypeVar

import msgspec

from holdfirst.availability.schedule import Schedule
from holdfirst.errors import HoldfirstError
from holdfirst.flows.accounts import create_key
from holdfirst.flows.event_types import EventTypeForm, create_event_type
from holdfirst.flows.hosts import HostForm, create_host
from holdfirst.flows.list_slots import SlotQuery, list_slots
from holdfirst.interval import from_ms
from holdfirst.payment.money import DECIMALS, Money
from holdfirst.refusal import Code, Refusal, invalid
from holdfirst.reservation.event_type import RefundStep
from holdfirst.store import accounts, catalog
from holdfirst.store.database import Tx

T = TypeVar("T")
OFFICE_HOURS = {"weekly": [{"days": ["mon", "tue", "wed", "thu", "fri"], "start": "09:00", "end": "17:00"}]}


def parse_price(text: str) -> Money | Refusal:
    """`60EUR`, `12.50 USD`, `6000JPY`: major units, as people write them; nothing is rounded."""
    found = re.fullmatch(r"\s*(\d{1,9})(?:\.(\d{1,3}))?\s*([A-Za-z]{3})\s*", text)
    if found is None:
        return invalid("price", "must look like 60EUR or 12.50USD")
    whole, fraction, currency = found[1], found[2] or "", found[3].upper()
    decimals = DECIMALS.get(currency)
    if decimals is None:
        return invalid("price", f"names a currency that does not exist: {currency}")
    if len(fraction) > decimals:
        return invalid("price", f"has more decimals than {currency} has")
    return Money(int(whole) * 10**decimals + int((fraction or "0").ljust(decimals, "0") or "0"), currency)


class FirstOffer(msgspec.Struct, frozen=True):
    """`start`: of a slot that is free, a day ahead or more."""

    slug: str
    start: datetime
    secret_key: str
    publishable_key: str


class NotMade(HoldfirstError):
    """Why there is no first offer: raised, so that what was written before goes back."""


async def first_offer(tx: Tx, *, name: str, zone: str, price: Money, origins: Sequence[str]) -> FirstOffer:
    """A consultation at office hours and keys to try it with, or `NotMade` and nothing is changed."""
    slug = _made(await _consultation(tx, name=name, zone=zone, price=price))
    secret_key, _ = _made(await create_key(tx, "test", "secret"))
    publishable_key, key = _made(await create_key(tx, "test", "publishable", origins))
    tomorrow = await tx.now() + timedelta(days=1)
    offered = _made(
        await list_slots(
            tx, key.account_id, slug, SlotQuery(start=tomorrow, end=tomorrow + timedelta(days=7))
        )
    )
    return FirstOffer(slug, from_ms(offered.slots.slots[0].start), secret_key, publishable_key)


def _made(answer: T | Refusal) -> T:
    if isinstance(answer, Refusal):
        raise NotMade(answer.detail)
    return answer


async def _consultation(tx: Tx, *, name: str, zone: str, price: Money) -> str | Refusal:
    """Its slug; only on an account that has no event type yet."""
    account = await accounts.account_by_slug(tx, "test")
    assert account is not None
    if await catalog.event_types(tx, account.id, limit=1):
        return Refusal(Code.STILL_IN_USE, "this database has event types already; init is for an empty one")
    form = HostForm(name=name, time_zone=zone, schedule=msgspec.convert(OFFICE_HOURS, Schedule))
    host = await create_host(tx, account.id, form)
    if isinstance(host, Refusal):
        return host
    offer = EventTypeForm(
        name="Consultation",
        slug="consultation",
        hosts=[host.id],
        duration_minutes=60,
        price=price if price.amount_minor else None,
        cancellation=[RefundStep(until_minutes_before=1440, refund_percent=100)],
    )
    event_type = await create_event_type(tx, account.id, offer)
    return event_type if isinstance(event_type, Refusal) else event_type.slug
