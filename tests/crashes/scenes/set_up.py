# SPDX-License-Identifier: Apache-2.0
"""Hosts, event types, payment accounts, keys: made, changed, taken away."""

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from crashes.deeds import START
from crashes.practices import practice
from holdfirst.flows import accounts, at_rest
from holdfirst.key_ring import KeyRing
from holdfirst.store import calendars, payees, webhooks
from holdfirst.store.database import Tx
from house import HOURS, House

from .case import Case, scene
from .webhooks import endpoint, nobody_listens


@scene
async def make_a_host(house: House, clock: Any) -> Case:
    body = {"name": "Another", "time_zone": "UTC", "schedule": HOURS}
    return Case(path="/v1/hosts", body=body, statuses=(201,))


@scene
async def make_a_host_who_is_paid(house: House, clock: Any) -> Case:
    """Under no key: whoever repeats it makes another."""
    body = {"name": "Another", "time_zone": "UTC", "schedule": HOURS, "payment_account": "pac_sandbox"}
    return Case(path="/v1/hosts", body=body, statuses=(201,), keyed=False)


@scene
async def give_a_feed_another_address(house: House, clock: Any) -> Case:
    """Once, however often it is asked for under one key; the one before opens nothing any more."""
    path = f"/v1/hosts/{await _another_host(house)}"
    before = (await house.ask("GET", path))["calendar_feed"]
    case = Case(path=f"{path}/calendar-feed/rotate", body={})

    async def is_another(house: House) -> None:
        latest = (await house.ask("GET", path))["calendar_feed"]
        assert latest != before
        for url, status in ((before, 404), (latest, 200)):
            assert (await house.call("GET", urlsplit(url).path, key=None)).status_code == status

    case.then = is_another
    return case


@scene
async def change_a_host(house: House, clock: Any) -> Case:
    path = f"/v1/hosts/{house.host}"
    return Case(path=path, method="PATCH", body={"name": "Renamed"}, keyed=False)


@scene
async def make_an_event_type(house: House, clock: Any) -> Case:
    slug = f"more-{next(house.hours)}"
    body = {"name": "More", "slug": slug, "hosts": [house.host], "duration_minutes": 30}
    return Case(path="/v1/event-types", body=body, statuses=(201,))


@scene
async def make_a_payment_account(house: House, clock: Any) -> Case:
    body = {"provider": "sandbox", "mode": "sale"}
    return Case(path="/v1/payment-accounts", body=body, statuses=(201,))


@scene
async def take_time_elsewhere(house: House, clock: Any) -> Case:
    start = house.start()
    path = f"/v1/hosts/{house.host}/busy/block-{next(house.hours)}"
    body = {"start": start, "end": start.replace(":00:00+", ":30:00+")}
    return Case(path=path, method="PUT", body=body, keyed=False)


@scene
async def move_a_host_to_another_name(house: House, clock: Any) -> Case:
    body = {"slug": f"another-{next(house.hours)}", "payment_account": "pac_sandbox"}
    return Case(path=f"/v1/hosts/{house.host}", method="PATCH", body=body, keyed=False)


async def _another_host(house: House) -> str:
    body = {"name": "Passing", "time_zone": "UTC", "schedule": HOURS}
    return str((await house.ask("POST", "/v1/hosts", body))["id"])


@scene
async def delete_a_host(house: House, clock: Any) -> Case:
    path = f"/v1/hosts/{await _another_host(house)}"
    return Case(path=path, method="DELETE", keyed=False, statuses=(204, 404))


@scene
async def take_no_more_time_elsewhere(house: House, clock: Any) -> Case:
    before = await take_time_elsewhere(house, clock)
    await house.ask("PUT", str(before.path), before.body)
    return Case(path=before.path, method="DELETE", keyed=False, statuses=(204,))


async def _another_event_type(house: House) -> str:
    body = {"name": "Passing", "hosts": [house.host], "duration_minutes": 30}
    return f"/v1/event-types/{(await house.ask('POST', '/v1/event-types', body))['id']}"


@scene
async def change_an_event_type(house: House, clock: Any) -> Case:
    body = {
        "slug": f"changed-{next(house.hours)}",
        "price": {"amount_minor": 100, "currency": "EUR"},
        "payment_account": "pac_sandbox",
    }
    return Case(path=await _another_event_type(house), method="PATCH", body=body, keyed=False)


@scene
async def delete_an_event_type(house: House, clock: Any) -> Case:
    path = await _another_event_type(house)
    return Case(path=path, method="DELETE", keyed=False, statuses=(204, 404))


async def _another_payment_account(house: House) -> str:
    made = await house.ask("POST", "/v1/payment-accounts", {"provider": "sandbox", "mode": "sale"})
    return f"/v1/payment-accounts/{made['id']}"


@scene
async def change_a_payment_account(house: House, clock: Any) -> Case:
    path = await _another_payment_account(house)
    return Case(path=path, method="PATCH", body={"methods": "holds_only"}, keyed=False)


@scene
async def delete_a_payment_account(house: House, clock: Any) -> Case:
    path = await _another_payment_account(house)
    return Case(path=path, method="DELETE", keyed=False, statuses=(204, 404))


# What is free


def _day(house: House) -> str:
    start = datetime.fromisoformat(house.start()).replace(hour=0)
    end = start + timedelta(days=1)
    return f"/v1/event-types/free/slots?start={start:%Y-%m-%dT%H:%M:%SZ}&end={end:%Y-%m-%dT%H:%M:%SZ}"


@scene
async def list_what_is_free(house: House, clock: Any) -> Case:
    return Case(path=_day(house), method="GET", keyed=False)


@scene
async def list_what_is_free_again(house: House, clock: Any) -> Case:
    path = _day(house)
    return Case(path=path, method="GET", keyed=False, before=(("GET", path, None),))


@scene
async def list_what_is_free_to_who_moves(house: House, clock: Any) -> Case:
    held = await house.held("free")
    path, own = _day(house), {"X_Holdfirst_Hold": held["client_secret"]}
    return Case(held=held, ends="held", path=path, method="GET", key="publishable", headers=own, keyed=False)


# At the command line


@scene
async def start_on_a_new_database(house: House, clock: Any) -> Case:
    """The accounts that every database has are made."""

    async def unmake(tx: Tx) -> None:
        await tx.execute(
            "delete from api_key where account_id in (select id from account where slug = 'live')"
        )
        await tx.execute("delete from account where slug = 'live'")

    async def is_there(house: House) -> None:
        await house.run(accounts.found, house.parts.world.key_ring)
        assert {"test", "live"} <= {one.slug for one in await house.run(accounts.list_accounts)}

    await house.run(unmake)
    return Case(deed=START, then=is_there)


@scene
async def make_an_account(house: House, clock: Any) -> Case:
    return Case(deed="make_account")


@scene
async def list_keys(house: House, clock: Any) -> Case:
    return Case(deed="list_keys")


@scene
async def revoke_a_key(house: House, clock: Any) -> Case:
    await house.run(accounts.create_key, "test", "secret")

    async def is_revoked(house: House) -> None:
        assert (await house.run(accounts.list_keys, "test"))[-1].revoked_at is not None

    return Case(deed="revoke_a_key", then=is_revoked)


@scene
async def seal_with_the_newest_key(house: House, clock: Any) -> Case:
    await practice(house)
    await endpoint(house)
    ring = house.parts.world.key_ring
    await house.run(at_rest.reseal, KeyRing(ring._keys[::-1]))

    async def are_sealed(house: House) -> None:
        sealed = [one for _, one in await house.run(payees.own_credentials)]
        sealed += [one for _, one in await house.run(calendars.sealed_of_all_accounts)]
        sealed += [one for _, one, _ in await house.run(webhooks.sealed_of_all_accounts)]
        assert sealed and all(ring.sealed_with_newest(one) for one in sealed)

    return Case(deed="rotate", then=are_sealed, after=nobody_listens)


@scene
async def make_a_first_offer(house: House, clock: Any) -> Case:
    """On a database where nothing is offered, and one account is paid."""

    async def hide(tx: Tx) -> list[str]:
        await tx.execute("update payment_account set deleted_at = the_clock() where id <> 'pac_sandbox'")
        rows = await tx.rows(
            "update event_type set deleted_at = the_clock() where deleted_at is null returning id"
        )
        return [row["id"] for row in rows]

    hidden = await house.run(hide)

    async def show(tx: Tx) -> None:
        await tx.execute("update event_type set deleted_at = the_clock() where slug = 'consultation'")
        await tx.execute("update event_type set deleted_at = null where id = any($1)", hidden)
        await tx.execute("update payment_account set deleted_at = null")

    async def put_back(house: House) -> None:
        await house.run(show)

    async def is_made_once(house: House) -> None:
        told = await house.ask("GET", "/v1/event-types")
        assert [one["slug"] for one in told["data"]] == ["consultation"], told

    return Case(deed="init", then=is_made_once, after=put_back)
