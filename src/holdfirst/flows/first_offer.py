# SPDX-License-Identifier: Apache-2.0
"""`holdfirst init`: a first host and a first event type, so that there is something to try."""

import re

import msgspec

from holdfirst.availability.schedule import Schedule
from holdfirst.flows.event_types import EventTypeForm, create_event_type
from holdfirst.flows.hosts import HostForm, create_host
from holdfirst.payment.money import DECIMALS, Money
from holdfirst.refusal import Code, Refusal, invalid
from holdfirst.reservation.event_type import RefundStep
from holdfirst.store import catalog
from holdfirst.store.database import Tx

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


async def first_offer(tx: Tx, *, name: str, zone: str, price: Money) -> str | Refusal:
    """The slug of a consultation at office hours; only on an account that has no event type yet."""
    account = await catalog.account_by_slug(tx, "test")
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
