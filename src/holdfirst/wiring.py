# SPDX-License-Identifier: Apache-2.0
"""The composition root: plain constructor calls, and the only file that names concrete providers."""

import asyncio
import contextlib
import ipaddress
from collections.abc import AsyncIterator, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import msgspec
from litestar import Litestar

from holdfirst.calendar.provider import CalendarProvider
from holdfirst.effects.call_webhook import Webhooks
from holdfirst.effects.offers import Offers
from holdfirst.effects.send_mail import sender
from holdfirst.effects.slot_lists import SlotLists
from holdfirst.effects.world import MailTransport, World
from holdfirst.errors import ConfigurationError
from holdfirst.foundation import open_foundation
from holdfirst.payment.provider import PaymentProvider
from holdfirst.providers.caldav import CalDav
from holdfirst.providers.google import Google, GoogleClient
from holdfirst.providers.gopay import GoPayProvider
from holdfirst.providers.icalendar_reader import IcalendarReader
from holdfirst.providers.ics import Ics
from holdfirst.providers.mail_files import MailFiles
from holdfirst.providers.microsoft import Microsoft, MicrosoftClient
from holdfirst.providers.outward import Outward, trusted
from holdfirst.providers.sandbox import Books, SandboxCompany, SandboxProvider
from holdfirst.providers.smtp import Smtp
from holdfirst.providers.stripe import StripeProvider
from holdfirst.providers.webhook_calls import WebhookCalls
from holdfirst.settings import Settings
from holdfirst.store import reservations
from holdfirst.store.doorbell import Doorbell
from holdfirst.store.together import Together
from holdfirst.web.address import networks
from holdfirst.web.app import build_app
from holdfirst.web.context import WebContext
from holdfirst.web.event_bodies import EventBodies
from holdfirst.web.sandbox import sandbox_router
from holdfirst.worker import KINDS, Kind, Worker

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
PROVIDERS = "holdfirst.payment_providers"
"""The entry-point group of other people's payment providers: a callable without arguments that makes one."""


class Parts(msgspec.Struct, frozen=True):
    """Everything that runs, made once and passed on."""

    settings: Settings
    world: World
    doorbell: Doorbell
    sandbox: SandboxCompany
    webhook_calls: WebhookCalls


@contextlib.asynccontextmanager
async def open_parts(settings: Settings, database_url: str, public_url: str) -> AsyncIterator[Parts]:
    """On its foundation; everything is closed at the end."""
    sender(settings.mail_from)
    networks(settings.trusted_proxies)
    async with contextlib.AsyncExitStack() as stack:
        ground = await stack.enter_async_context(open_foundation(settings, database_url))
        database, key_ring = ground.database, ground.key_ring
        books = Books(database_url)
        stack.push_async_callback(books.aclose)
        sandbox = SandboxProvider(books, public_url=public_url)
        company = SandboxCompany(books, await stack.enter_async_context(httpx.AsyncClient(verify=trusted())))
        stack.push_async_callback(company.aclose)
        http = await stack.enter_async_context(httpx.AsyncClient(verify=trusted(), follow_redirects=False))
        doorbell = Doorbell(database)
        database.on_announce = doorbell.ring
        ringing = asyncio.create_task(doorbell.run())
        stack.callback(ringing.cancel)
        calendars = await _calendars(settings, stack)
        world = World(
            database=database,
            claims=Together(database, reservations.reserve, reservations.key_of),
            offers=Offers(database),
            slot_lists=SlotLists(database),
            providers=found_providers([sandbox, StripeProvider(http), GoPayProvider(http)]),
            key_ring=key_ring,
            limits=settings.limits,
            mail=_mail(settings),
            public_url=public_url,
            mail_from=settings.mail_from,
            calendars=calendars,
            consents={
                name: one
                for name, one in calendars.items()
                if isinstance(one, Microsoft) or (isinstance(one, Google) and settings.google_client_id)
            },
            pushes={name: one for name, one in calendars.items() if isinstance(one, Google | Microsoft)},
        )
        yield Parts(settings, world, doorbell, company, _webhook_calls(settings, public_url, stack))


def web_app(parts: Parts, closing: asyncio.Event) -> Litestar:
    """The ASGI application; `closing` is set when the server begins to stop, so that open streams end."""
    return build_app(
        WebContext(
            world=parts.world,
            settings=parts.settings,
            doorbell=parts.doorbell,
            more_routes=[sandbox_router(parts.sandbox, seam_open=parts.settings.sandbox)],
            closing=closing,
        )
    )


def worker(parts: Parts) -> Worker:
    webhooks = Webhooks(parts.world, EventBodies(parts.world), parts.webhook_calls.post)
    kinds = {**KINDS, "tell": Kind(webhooks.tell), "deliver": Kind(webhooks.deliver, wait_max=60.0)}
    return Worker(parts.world, parts.doorbell, kinds)


def found_providers(ours: Sequence[PaymentProvider]) -> dict[str, PaymentProvider]:
    """Ours, and those of installed packages (entry points of the group `holdfirst.payment_providers`), by name."""
    found: dict[str, PaymentProvider] = {one.name: one for one in ours}
    for entry in entry_points(group=PROVIDERS):
        try:
            provider: PaymentProvider = entry.load()()
            name = provider.name
        except Exception as error:
            raise ConfigurationError(
                f"The payment provider {entry.value} (an installed package's) cannot be used: {error!r}"
            ) from error
        if name in found:
            raise ConfigurationError(
                f"Two payment providers are called {name}; one of them is {entry.value}."
            )
        found[name] = provider
    return found


def _mail(settings: Settings) -> MailTransport:
    if settings.smtp_url:
        return Smtp(settings.smtp_url)
    return MailFiles(Path(settings.data_dir) / "mail")


async def _calendars(settings: Settings, stack: contextlib.AsyncExitStack) -> dict[str, CalendarProvider]:
    outward = Outward(networks(settings.allow_private, "HOLDFIRST_ALLOW_PRIVATE"))
    stack.push_async_callback(outward.aclose)
    reader = IcalendarReader()
    stack.push_async_callback(reader.aclose)
    caldav, ics = CalDav(outward, reader), Ics(outward, reader)
    # Without a client, service accounts alone.
    google = Google(
        outward, GoogleClient(settings.google_client_id or "", settings.google_client_secret or "")
    )
    known: dict[str, CalendarProvider] = {one.name: one for one in (caldav, ics, google)}
    if settings.microsoft_client_id and settings.microsoft_client_secret:
        registered = MicrosoftClient(
            client_id=settings.microsoft_client_id,
            client_secret=settings.microsoft_client_secret,
            tenant=settings.microsoft_tenant,
        )
        known[Microsoft.name] = Microsoft(outward, registered)
    return known


def _webhook_calls(settings: Settings, public_url: str, stack: contextlib.AsyncExitStack) -> WebhookCalls:
    """A server that is itself reached on this machine alone may call what else runs here: somebody is trying it out."""
    allowed = networks(settings.allow_private, "HOLDFIRST_ALLOW_PRIVATE")
    if _is_loopback(urlsplit(public_url).hostname or ""):
        allowed = (*allowed, *LOOPBACK)
    outward = Outward(allowed, follow=False)
    stack.push_async_callback(outward.aclose)
    return WebhookCalls(outward)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
