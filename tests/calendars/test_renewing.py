# SPDX-License-Identifier: Apache-2.0
"""What lets us into an account is renewed ahead, by one job for each connection, for as long as there is the connection."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from conftest import Clock
from fake_calendars import FakeCalendars
from holdfirst.calendar.provider import Access
from holdfirst.errors import CalendarDenied
from holdfirst.flows import calendar_connections
from holdfirst.flows.calendar_connections import Roles
from holdfirst.providers.google import Google, GoogleClient
from holdfirst.providers.microsoft import Microsoft, MicrosoftClient
from holdfirst.providers.outward import Outward
from holdfirst.store.calendars import ConnectionStatus
from holdfirst.store.database import Database
from holdfirst.worker import KINDS
from shop import Shop, open_shop

from . import fake_google, fake_graph
from .test_two_ways import status_of


class Renewing(FakeCalendars):
    renewed = 0
    shut = False

    async def renew_access(self, access: Access) -> timedelta:
        self.renewed += 1
        if self.shut:
            raise CalendarDenied("this grant is ended")
        return timedelta(hours=1)


async def open_practice(database: Database) -> tuple[Shop, Renewing, str]:
    shop = await open_shop(database)
    shop.calendars = renewing = Renewing()
    shop.world.calendars["caldav"] = renewing  # type: ignore[index]
    connection = await shop.connect()
    await shop.work()
    return shop, renewing, connection


async def due_in(shop: Shop) -> list[timedelta]:
    async with shop.database.statement() as tx:
        now = await tx.now()
        rows = await tx.rows("select due_at from job where kind = 'renew_access'")
    return [_minutes(row["due_at"], now) for row in rows]


def _minutes(due: datetime, now: datetime) -> timedelta:
    return timedelta(minutes=round((due - now) / timedelta(minutes=1)))


async def test_at_half_of_its_life(database: Database, clock: Clock):
    shop, renewing, _ = await open_practice(database)
    assert (renewing.renewed, await due_in(shop)) == (0, [timedelta(minutes=10)])
    for times in (1, 2, 3):
        await clock.shift(timedelta(minutes=30, seconds=5))
        await shop.work()
        assert (renewing.renewed, await due_in(shop)) == (times, [timedelta(minutes=30)])


async def test_daily_where_no_calendar_is_in_use_and_never_after_the_connection(
    database: Database, clock: Clock
):
    shop, renewing, connection = await open_practice(database)
    roles = Roles(blocking=[], destination="")
    await database.run(calendar_connections.change, shop.account_id, connection, roles)
    await clock.shift(timedelta(minutes=11))
    await shop.work()
    assert (renewing.renewed, await due_in(shop)) == (1, [timedelta(days=1)])
    assert await database.run(calendar_connections.disconnect, shop.account_id, connection) is None
    await shop.work()
    assert (renewing.renewed, await due_in(shop)) == (1, [])


async def test_a_grant_that_is_ended_breaks_the_connection_before_anybody_needs_it(
    database: Database, clock: Clock
):
    shop, renewing, connection = await open_practice(database)
    renewing.shut = True
    # Its readings are let in all the same, and whichever comes last would have the word.
    shop.kinds = {"renew_access": KINDS["renew_access"]}
    await clock.shift(timedelta(minutes=11))
    await shop.work()
    assert await status_of(shop, connection) is ConnectionStatus.BROKEN
    assert await due_in(shop) == [timedelta(days=1)]


async def test_what_needs_no_renewing_has_no_job(database: Database, clock: Clock):
    shop = await open_shop(database)
    await shop.connect()
    await clock.shift(timedelta(minutes=11))
    await shop.work()
    assert await due_in(shop) == []


@pytest.mark.parametrize("company", ["google", "microsoft"])
async def test_each_company_gives_other_access(outward: Outward, company: str):
    kept: list[Any] = []

    async def keep(secrets: Any) -> None:
        kept.append(secrets)

    if company == "google":
        with fake_google.serving(fake_google.FakeGoogle()) as google:
            client = GoogleClient("client", "secret", f"{google.url}/calendar/v3", f"{google.url}/token")
            access = Access(secrets={"refresh_token": fake_google.REFRESH}, keep=keep)
            await _renewed_twice(Google(outward, client), access, google.access_tokens)
        return
    async with fake_graph.serving(fake_graph.FakeGraph(rotates=True)) as graph:
        registered = MicrosoftClient(
            client_id="client", client_secret="secret", api=graph.url + "/v1.0", login=graph.url
        )
        access = Access(secrets={"refresh_token": "M.refresh0"}, keep=keep)
        lasts = await Microsoft(outward, registered).renew_access(access)
        assert timedelta(minutes=59) < lasts < timedelta(hours=1)
        # The token that the next renewal needs.
        assert len(kept) == 1 and kept[0]["refresh_token"] in graph.grants


async def _renewed_twice(company: Google, access: Access, tokens: set[str]) -> None:
    for times in (1, 2):
        assert timedelta(minutes=59) < await company.renew_access(access) < timedelta(hours=1)
        assert len(tokens) == times
