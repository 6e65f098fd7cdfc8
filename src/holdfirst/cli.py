# SPDX-License-Identifier: Apache-2.0
"""The command line: `holdfirst serve | worker | migrate | accounts | keys | init | doctor | demo`."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import quote

import cyclopts
from cyclopts import Parameter

from holdfirst import __version__, foundation
from holdfirst.errors import DatabaseUnavailable, HoldfirstError
from holdfirst.flows import accounts as account_flows
from holdfirst.flows import at_rest, first_offer
from holdfirst.foundation import Foundation
from holdfirst.leaving import leave_on_signals
from holdfirst.logs import set_up_logs
from holdfirst.refusal import Refusal
from holdfirst.settings import Settings, read_settings
from holdfirst.web.instants import z

# What serves and calls companies takes a second to be read: only who needs it imports it.
# ruff: noqa: PLC0415
T = TypeVar("T")

app = cyclopts.App(
    name="holdfirst",
    help="A scheduling server for paid bookings: reserve, then confirm.",
    version=__version__,
)
accounts = cyclopts.App(name="accounts", help="The businesses on this server.")
keys = cyclopts.App(name="keys", help="API keys: secret ones for back ends, publishable ones for browsers.")
app.command(accounts)
app.command(keys)

DataDir = Annotated[
    Path | None, Parameter(name="--data-dir", help="Where everything lives [HOLDFIRST_DATA_DIR].")
]


def main() -> None:
    """Run one command; a failure is one line on stderr and exit status 1."""
    set_up_logs()
    try:
        app()
    except DatabaseUnavailable as error:
        print(f"holdfirst: The database cannot be used: {error}", file=sys.stderr)
        sys.exit(1)
    except HoldfirstError as error:
        print(f"holdfirst: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


@app.command
def serve(
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    data_dir: DataDir = None,
    workers: Annotated[int, Parameter(validator=cyclopts.validators.Number(gte=1, lte=64))] = 1,
    worker: Annotated[
        bool, Parameter(negative="--no-worker", help="Run effects in this process too.")
    ] = True,
) -> None:
    """Serve the API, and (unless --no-worker) run the effects beside it.

    Without HOLDFIRST_DATABASE_URL a PostgreSQL of its own is started in the data directory.
    """
    leave_on_signals()
    from holdfirst import server

    settings = read_settings(data_dir=data_dir)
    server.serve(settings, host=host, port=port, workers=workers, run_worker=worker)


@app.command
def worker(*, data_dir: DataDir = None) -> None:
    """Run effects only: captures, refunds, mail. As many as you like, on any machine."""
    leave_on_signals()
    from holdfirst import server

    server.work(read_settings(data_dir=data_dir))


@app.command
def migrate(*, data_dir: DataDir = None) -> None:
    """Bring the database's schema up to this version. Safe to run ten times at once."""
    settings = read_settings(data_dir=data_dir)
    with foundation.database_url(settings) as (url, _):
        for name in asyncio.run(foundation.prepare(url)) or ["nothing to do"]:
            print(name)


@accounts.command(name="create")
def accounts_create(*, slug: str, mode: Literal["test", "live"], data_dir: DataDir = None) -> None:
    """Make an account. A test account never takes real money, a live one never the sandbox's."""
    account = _on_foundation(
        data_dir,
        lambda ground: ground.database.run(account_flows.create_account, ground.key_ring, slug, mode),
    )
    print(_or_exit(account).id)


@accounts.command(name="list")
def accounts_list(*, data_dir: DataDir = None) -> None:
    """One account a line: id, slug, mode."""
    for account in _on_foundation(data_dir, lambda ground: ground.database.run(account_flows.list_accounts)):
        print(f"{account.id}  {account.slug}  {account.mode}")


@keys.command(name="create")
def keys_create(
    *,
    kind: Literal["secret", "publishable"],
    account: str = "test",
    origin: Annotated[list[str], Parameter(help="Browsers may use it from here only (repeatable).")] = [],  # noqa: B006
    data_dir: DataDir = None,
) -> None:
    """Make a key and print it, alone, on stdout. It is shown once."""
    made = _on_foundation(
        data_dir, lambda ground: ground.database.run(account_flows.create_key, account, kind, origin)
    )
    print(_or_exit(made)[0])


@keys.command(name="list")
def keys_list(*, account: str = "test", data_dir: DataDir = None) -> None:
    """One key a line: id, kind, since when, revoked when, origins. Never the key itself."""
    found = _on_foundation(data_dir, lambda ground: ground.database.run(account_flows.list_keys, account))
    for key in _or_exit(found):
        ended = f"revoked {key.revoked_at:%Y-%m-%d}" if key.revoked_at else "active"
        print(f"{key.id}  {key.kind}  {key.created_at:%Y-%m-%d}  {ended}  {' '.join(key.origins)}".rstrip())


@keys.command(name="revoke")
def keys_revoke(key_id: str, /, *, data_dir: DataDir = None) -> None:
    """End a key; every server stops taking it within a second."""
    if not _on_foundation(data_dir, lambda ground: ground.database.run(account_flows.revoke_key, key_id)):
        raise HoldfirstError(f"there is no active key {key_id}")
    print(f"revoked {key_id}")


@keys.command(name="rotate-encryption")
def keys_rotate(*, data_dir: DataDir = None) -> None:
    """Seal every stored credential again with the newest key of HOLDFIRST_SECRET_KEY."""
    count = _on_foundation(data_dir, lambda ground: ground.database.run(at_rest.reseal, ground.key_ring))
    print(f"{count} sealed again")


@app.command
def init(
    *,
    name: str = "Dr Example",
    zone: str = "UTC",
    price: str = "60EUR",
    origin: Annotated[
        list[str], Parameter(help="Where the publishable key may be used from (repeatable).")
    ] = [],  # noqa: B006
    data_dir: DataDir = None,
) -> None:
    """Make a first host, event type and keys on an empty database; prints the curl lines to try them."""
    print(_on_foundation(data_dir, lambda ground: _init(ground, name, zone, price, origin)))


async def _init(ground: Foundation, name: str, zone: str, price: str, origins: list[str]) -> str:
    money = _or_exit(first_offer.parse_price(price))
    made = await ground.database.run(
        first_offer.first_offer, name=name, zone=zone, price=money, origins=origins
    )
    url = _public_url(ground.settings)
    start, end = made.start, made.start + timedelta(days=1)
    return f"""\
secret key       {made.secret_key}
publishable key  {made.publishable_key}

With `holdfirst serve` running:

  # what is free in the day from {start:%A}
  curl '{url}/v1/event-types/{made.slug}/slots?start={z(start)}&end={z(end)}&time_zone={quote(zone)}' \\
    -H 'Authorization: Bearer {made.publishable_key}'

  # hold the first of them
  curl '{url}/v1/reservations' -H 'Authorization: Bearer {made.publishable_key}' -H 'Content-Type: application/json' \\
    -d '{{"event_type": "{made.slug}", "start": "{z(start)}", "customer": {{"name": "Ada", "email": "ada@example.org"}}}}'

  # with the id and the client_secret of that answer: get a checkout_url, open it, pay; then confirm
  curl '{url}/v1/reservations/res_…/checkout' -H 'Authorization: Bearer hf_cs_…' -H 'Content-Type: application/json' \\
    -d '{{"return_url": "https://example.org/thanks"}}'
  curl -X POST '{url}/v1/reservations/res_…/confirm' -H 'Authorization: Bearer hf_cs_…'"""


@app.command
def doctor(
    what: Literal["all", "calendars"] = "all", *, repair: bool = False, data_dir: DataDir = None
) -> None:
    """Say what disagrees: money, reservations, time, jobs. Exit status 1 where something does.

    With `calendars`: each connected calendar is called, a test event is written there, read back and taken away, and
    what stands there is compared with what should.

    --repair does what is safe: runs given-up jobs again, asks about all money that may be on its way; in calendars,
    takes away events of ours that belong to nothing and has the worker put the rest right.
    """
    from holdfirst import wiring
    from holdfirst.doctor import examine, examine_calendars

    look = examine if what == "all" else examine_calendars
    settings = read_settings(data_dir=data_dir)

    async def run(url: str) -> tuple[bool, str]:
        async with wiring.open_parts(settings, url, _public_url(settings)) as parts:
            return await look(parts, repair=repair)

    healthy, report = _on_database(settings, run)
    print(report)
    sys.exit(0 if healthy else 1)


@app.command
def demo(*, once: bool = False, port: int = 0) -> None:
    """Play the stories holdfirst is for, over HTTP, on a throw-away database.

    Without --once the server stays up afterwards, with keys and a line to try.
    """
    from holdfirst.demo import run_demo
    from holdfirst.demo_at_stripe import stories_at_stripe

    key = read_settings().demo_stripe_key
    sys.exit(0 if run_demo(once=once, port=port, more=stories_at_stripe(key) if key else []) else 1)


def _on_foundation(data_dir: Path | None, work: Callable[[Foundation], Awaitable[T]]) -> T:
    settings = read_settings(data_dir=data_dir)

    async def run(url: str) -> T:
        async with foundation.open_foundation(settings, url) as ground:
            return await work(ground)

    return _on_database(settings, run)


def _on_database(settings: Settings, run: Callable[[str], Coroutine[Any, Any, T]]) -> T:
    """Run something on the database, started or joined, and migrated if it is an embedded one."""
    with foundation.database_url(settings) as (url, embedded):
        if embedded is not None:
            asyncio.run(foundation.prepare(url))
        return asyncio.run(run(url))


def _public_url(settings: Settings) -> str:
    return (settings.public_url or "http://127.0.0.1:8000").rstrip("/")


def _or_exit(answer: T | Refusal) -> T:
    if isinstance(answer, Refusal):
        raise HoldfirstError(answer.detail)
    return answer
