# SPDX-License-Identifier: Apache-2.0
"""What an effect needs of the outside: the database, the companies, the mail, and where we can be reached."""

import asyncio
from collections.abc import Awaitable, Mapping
from email.message import EmailMessage
from typing import Any, Protocol, TypeVar

import msgspec
import structlog

from holdfirst.calendar.provider import CalendarProvider, ConsentProvider, PushProvider
from holdfirst.effects.offers import Offers
from holdfirst.effects.slot_lists import SlotLists
from holdfirst.key_ring import KeyRing
from holdfirst.payment.payment import Payment
from holdfirst.payment.provider import Credentials, PaymentProvider, Unknown
from holdfirst.settings import Limits
from holdfirst.store.database import Database
from holdfirst.store.payees import PaymentAccount
from holdfirst.store.reservations import Taken
from holdfirst.store.together import Together

log = structlog.get_logger(__name__)
T = TypeVar("T")

CALL_SECONDS_MAX = 10
"""The longest a provider may take; a job's lease is longer than all its calls together."""


class MailTransport(Protocol):
    async def send(self, message: EmailMessage) -> None:
        """Deliver, or raise `ProviderUnavailable`. The same Message-ID again is the same mail."""
        ...


class World(msgspec.Struct, frozen=True):
    """Made once, in wiring; passed on."""

    database: Database
    claims: Together[dict[str, Any], Taken]
    offers: Offers
    slot_lists: SlotLists
    providers: Mapping[str, PaymentProvider]
    key_ring: KeyRing
    limits: Limits
    mail: MailTransport
    public_url: str
    mail_from: str
    calendars: Mapping[str, CalendarProvider] = {}
    consents: Mapping[str, ConsentProvider] = {}
    pushes: Mapping[str, PushProvider] = {}


class Desk(msgspec.Struct, frozen=True):
    """A provider and the account at it: where one payment's calls go."""

    provider: PaymentProvider
    account: Credentials


def desk_of(world: World, payee: PaymentAccount) -> Desk:
    """The credentials are unsealed here, for the length of the calls."""
    secrets = msgspec.json.decode(
        world.key_ring.unseal(payee.sealed_credentials, payee.sealed_for), type=dict[str, str]
    )
    return Desk(
        world.providers[payee.provider],
        Credentials(payee.id, payee.livemode, secrets, payee.connected_account),
    )


async def asked(call: Awaitable[T]) -> T | Unknown:
    """A call to a provider, bounded in time: no answer is an answer of its own."""
    try:
        async with asyncio.timeout(CALL_SECONDS_MAX):
            return await call
    except TimeoutError:
        return Unknown("no answer in time")
    except Exception as error:  # noqa: BLE001  # whatever an adapter lets through, the outcome is unknown
        log.warning("provider_call_failed", error=type(error).__name__)
        return Unknown(type(error).__name__)


def ref_of(payment: Payment) -> str:
    assert payment.provider_ref is not None
    return payment.provider_ref
