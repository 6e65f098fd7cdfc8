# SPDX-License-Identifier: Apache-2.0
"""Hosts, and time of theirs that is taken elsewhere."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from holdfirst import ids
from holdfirst.availability.schedule import Schedule
from holdfirst.availability.schedule import problems as schedule_problems
from holdfirst.availability.windows import is_zone
from holdfirst.flows.slugs import slugs_for
from holdfirst.interval import whole_ms
from holdfirst.refusal import Code, Refusal, invalid, invalid_fields
from holdfirst.reservation.event_type import Host, instant_fault
from holdfirst.reservation.shape import merged, shaped
from holdfirst.reservation.text import Line, Slug, email_fault, size_fault
from holdfirst.store import calendars, catalog, payees, reservations
from holdfirst.store.database import Tx

BUSY_MAX = timedelta(days=366)


class HostForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an account says about a host; also what a PATCH is merged into."""

    name: Line
    slug: Slug | None = None
    email: Annotated[str, Meta(max_length=320)] | None = None
    time_zone: str
    schedule: Schedule
    payment_account: str | None = None
    external_id: Line | None = None
    metadata: dict[str, Any] = {}


async def create_host(tx: Tx, account_id: str, form: HostForm) -> Host | Refusal:
    if (refusal := await _refusal_of(tx, account_id, form)) is not None:
        return refusal
    host_id, now = ids.make("hst"), await tx.now()
    for slug in slugs_for(form.slug, form.name, "host"):
        host = _host(form, host_id, account_id, slug, now)
        if await catalog.insert_host(tx, host):
            return host
    return _slug_taken()


async def change_host(tx: Tx, account_id: str, host_id: str, patch: dict[str, Any]) -> Host | Refusal:
    await reservations.lock_hosts(tx, [host_id])
    before = await catalog.load_host(tx, account_id, host_id)
    if before is None:
        return no_such_host()
    form = shaped(merged(_form_of(before), patch), HostForm)
    if isinstance(form, Refusal):
        return form
    if (refusal := await _refusal_of(tx, account_id, form)) is not None:
        return refusal
    host = replace(
        _host(form, host_id, account_id, form.slug or before.slug, before.created_at),
        feed_version=before.feed_version,
    )
    if host.slug != before.slug and await catalog.host_slug_taken(tx, account_id, host.slug):
        return _slug_taken()
    if not await catalog.save_host(tx, host):
        return _slug_taken()
    reservations.announce_host(tx, host_id)
    return host


async def rotate_feed(tx: Tx, account_id: str, host_id: str) -> Host | Refusal:
    """Whoever has the address of their feed that was reads nothing any more."""
    if await catalog.load_host(tx, account_id, host_id) is None:
        return no_such_host()
    await calendars.rotate_feed(tx, host_id)
    return await catalog.load_host(tx, account_id, host_id) or no_such_host()


async def delete_host(tx: Tx, account_id: str, host_id: str) -> Refusal | None:
    await reservations.lock_hosts(tx, [host_id])
    if await catalog.load_host(tx, account_id, host_id) is None:
        return no_such_host()
    if await catalog.host_in_use(tx, account_id, host_id):
        return Refusal(Code.STILL_IN_USE, "An event type names this host, or a reservation takes its time.")
    for connection in await calendars.connections(tx, account_id, host_id=host_id, before=None, limit=1000):
        await calendars.delete_connection(tx, connection.id)
    await catalog.delete_host(tx, host_id)
    return None


async def put_busy(
    tx: Tx, account_id: str, host_id: str, key: str, start: datetime, end: datetime
) -> Refusal | None:
    """Time taken elsewhere. It keeps nobody's reservation from standing; it keeps others from being made."""
    problems = [
        (field, fault)
        for field, instant in (("start", start), ("end", end))
        if (fault := instant_fault(instant)) is not None
    ]
    if not problems and whole_ms(start) >= whole_ms(end):
        problems = [("end", "must be after the start")]
    if not problems and end - start > BUSY_MAX:
        problems = [("end", f"must be at most {BUSY_MAX.days} days after the start")]
    if problems:
        return invalid_fields(problems)
    await reservations.lock_hosts(tx, [host_id])
    if await catalog.load_host(tx, account_id, host_id) is None:
        return no_such_host()
    await catalog.put_busy(tx, account_id, host_id, key, whole_ms(start), whole_ms(end))
    reservations.announce_host(tx, host_id)
    return None


async def delete_busy(tx: Tx, account_id: str, host_id: str, key: str) -> Refusal | None:
    """Gone, whether or not it was there."""
    await reservations.lock_hosts(tx, [host_id])
    if await catalog.load_host(tx, account_id, host_id) is None:
        return no_such_host()
    await catalog.delete_busy(tx, host_id, key)
    reservations.announce_host(tx, host_id)
    return None


def no_such_host() -> Refusal:
    return Refusal(Code.HOST_NOT_FOUND, "There is no such host.")


async def _refusal_of(tx: Tx, account_id: str, form: HostForm) -> Refusal | None:
    if problems := list(_problems(form)):
        return invalid_fields(problems)
    if form.payment_account is not None:
        payee = await payees.load(tx, form.payment_account)
        if payee is None or payee.account_id != account_id:
            return invalid("payment_account", "is not a payment account of this account")
    return None


def _problems(form: HostForm) -> Iterator[tuple[str, str]]:
    if not is_zone(form.time_zone):
        yield "time_zone", "is not a zone of the IANA database"
    if form.email is not None and (fault := email_fault(form.email)) is not None:
        yield "email", fault
    for path, message in schedule_problems(form.schedule):
        yield f"schedule.{path}", message
    if (fault := size_fault(form.metadata)) is not None:
        yield "metadata", fault


def _slug_taken() -> Refusal:
    return Refusal(Code.SLUG_TAKEN, "Another host of this account has this slug.")


def _host(form: HostForm, host_id: str, account_id: str, slug: str, created_at: datetime) -> Host:
    return Host(
        id=host_id,
        account_id=account_id,
        slug=slug,
        name=form.name,
        email=form.email,
        time_zone=form.time_zone,
        schedule=form.schedule,
        payment_account_id=form.payment_account,
        external_id=form.external_id,
        metadata=form.metadata,
        created_at=created_at,
    )


def _form_of(host: Host) -> dict[str, Any]:
    return {
        "name": host.name,
        "slug": host.slug,
        "email": host.email,
        "time_zone": host.time_zone,
        "schedule": msgspec.to_builtins(host.schedule),
        "payment_account": host.payment_account_id,
        "external_id": host.external_id,
        "metadata": host.metadata,
    }
