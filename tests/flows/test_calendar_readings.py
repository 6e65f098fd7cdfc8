# SPDX-License-Identifier: Apache-2.0
"""One reading of a calendar taken in, case by case; and what a host's calendars are told when they are connected."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from holdfirst.calendar.calendar_event import Change, marker
from holdfirst.calendar.provider import Changes, Found
from holdfirst.effects import connect_calendar
from holdfirst.effects.reserve import Made, reserve
from holdfirst.flows import calendar_holds
from holdfirst.flows import calendar_sync as reading
from holdfirst.flows.calendar_connections import WantedConnection, connect
from holdfirst.flows.calendar_holds import Outcome, ToWrite
from holdfirst.flows.calendar_sync import STRAYS_MAX, Missing, Synced
from holdfirst.flows.keyed import Replay, RequestKey
from holdfirst.flows.reserve import ReserveRequest
from holdfirst.refusal import Code, Refusal
from holdfirst.store import calendar_events, calendars, reservations
from holdfirst.store.calendar_events import Written
from holdfirst.store.database import Database
from shop import CUSTOMER, open_shop

from .test_calendar_rows import Practice, practice, waits

__all__ = ["practice"]


async def take_in(
    practice: Practice, changed: Sequence[Change] = (), missing: Missing | None = None
) -> Synced:
    asked = await practice.database.run(reading.load, practice.mine[0].id)
    assert asked is not None
    changes = Changes(changed=changed, removed=[], token="later", whole=False)
    taken = await practice.database.run(reading.take_in, asked, changes, missing or Missing({}))
    assert taken is not None
    return taken


async def token(practice: Practice) -> str | None:
    return (await practice.ask("select token from calendar where id = $1", practice.mine[0].id))[0]


def strays(practice: Practice, count: int) -> list[Change]:
    mark = marker(practice.shop.account_id)
    return [Change(ref=f"{number}.ics", etag="1", uid=f"{mark}{number}") for number in range(count)]


async def test_a_reading_waits_for_who_decides_about_the_host(practice: Practice) -> None:
    asked = await practice.database.run(reading.load, practice.mine[0].id)
    assert asked is not None
    changes = Changes(changed=[], removed=[], token="later", whole=False)
    await waits(
        practice.database,
        lambda tx: reservations.lock_hosts(tx, practice.shop.hosts[:1]),
        lambda tx: reading.take_in(tx, asked, changes, Missing({})),
    )


@pytest.mark.parametrize(
    ("count", "unsure", "writable", "taken", "keeps"),
    [
        (0, False, True, 0, False),
        (STRAYS_MAX, False, True, STRAYS_MAX, True),
        # So many at once are for a human to look at; and nothing is taken away where nothing may be written.
        (STRAYS_MAX + 1, False, True, 0, False),
        (1, False, False, 0, False),
        (0, True, True, 0, True),
    ],
)
async def test_what_is_to_be_told_again_keeps_the_token(
    practice: Practice, count: int, unsure: bool, writable: bool, taken: int, keeps: bool
) -> None:
    """Strays, until they are taken away; and what nobody could be asked about."""
    await practice.sql("update calendar set writable = $1", writable)
    before = await token(practice)
    found = await take_in(practice, strays(practice, count), Missing({}, unsure=unsure))
    assert len(found.strays) == taken
    assert await token(practice) == (before if keeps else "later")


@pytest.mark.parametrize(
    ("state", "after"),
    [(Written.HOLD, Written.ABSENT), (Written.UNKNOWN, Written.UNKNOWN), (Written.ABSENT, Written.ABSENT)],
)
async def test_a_hold_that_is_gone_is_written_again_and_what_is_in_doubt_stays_so(
    practice: Practice, state: Written, after: Written
) -> None:
    event = await practice.written(held := await practice.held())
    await practice.sql("update calendar_event set state = $1", state)
    await practice.sql("delete from job where kind = 'calendars'")
    await take_in(practice, missing=Missing({"ref": event.uid}))
    assert (await practice.written(held)).state is after
    wished = await practice.ask("select subject from job where kind = 'calendars'")
    assert wished == ([held.id] if state is Written.HOLD else [])


@pytest.mark.parametrize("blocking", [True, False])
async def test_what_stands_where_nothing_blocks_is_in_nobodys_way(practice: Practice, blocking: bool) -> None:
    held = await practice.held()
    await practice.sql("update calendar set blocking = $1", blocking)
    await practice.sql("delete from job where kind = 'ask_calendars'")
    stranger = Change(ref="x", etag="1", uid="x", busy=[(held.start, held.end)])
    await take_in(practice, [stranger])
    assert await practice.ask("select subject from job where kind = 'ask_calendars'") == [held.id] * blocking
    assert len(await practice.ask("select key from busy")) == blocking


@pytest.mark.parametrize("lost", [True, False])
async def test_what_was_taken_away_is_in_doubt_where_a_write_before_it_was_lost(
    practice: Practice, lost: bool
) -> None:
    held = await practice.held()
    plan = await practice.database.run(calendar_holds.plan, held.id)
    assert plan is not None
    calendar, connection = plan.ask[0].calendar, plan.ask[0].connection
    [leased] = await practice.database.run(
        calendar_events.lease, practice.shop.account_id, [await practice.written(held)], held.held_until
    )
    gone = ToWrite(written=leased, event=None, calendar=calendar, connection=connection, lost=lost)
    await practice.database.run(calendar_holds.record, [(gone, Outcome())])
    after = await practice.written(held)
    assert (after.state, after.doubtful_until is not None) == (Written.ABSENT, lost)


async def test_what_stands_already_when_a_host_connects(database: Database) -> None:
    """A hold waits for the verdict; of what is sold nobody is asked. A second account asks for no verdict again."""
    shop = await open_shop(database, rules={"price": None})
    sold, held = await shop.sold(shop.slot(9)), await shop.held(shop.slot(10), hold_seconds=900)

    async def verdicts() -> list[Any]:
        now = [await shop.read(one.id) for one in (sold, held)]
        assert all(one.in_calendars for one in now)
        return [one.calendar_verdict for one in now]

    await shop.connect()
    assert await verdicts() == [None, "pending"]
    await shop.work()
    before = await verdicts()
    assert before[1] == "clean"
    await shop.connect()
    assert await verdicts() == before


async def test_who_connects_names_a_host_of_their_own(database: Database) -> None:
    """Known before anybody's server is asked, and still so when it has answered; or without asking, at a company's own page."""
    shop, other = await open_shop(database), await open_shop(database)
    policy = {"when_broken": "close", "when_moved": "flag", "when_deleted": "flag"}
    named = {"id": "con_1", "account_id": shop.account_id, "provider": "caldav", "sealed": b""} | policy
    mine, theirs = [
        msgspec.convert(named | {"host_id": host}, WantedConnection) for host in (*shop.hosts, *other.hosts)
    ]
    refused = await connect_calendar.connect(shop.world, theirs, {}, "credentials")
    assert isinstance(refused, Refusal) and refused.code is Code.INVALID_REQUEST
    assert shop.calendars.calls.total() == 0
    refused = await database.run(connect, theirs, None)
    assert isinstance(refused, Refusal) and refused.code is Code.HOST_NOT_FOUND
    assert await database.run(calendars.all_connections) == []
    # Whoever decides about the host's time meanwhile has had no calendar to ask.
    await waits(
        database,
        lambda tx: reservations.lock_hosts(tx, shop.hosts),
        lambda tx: connect(tx, mine, Found(calendars=[])),
    )


@pytest.mark.parametrize("confirmed", [False, True])
async def test_a_key_that_nobody_was_told_of_is_taken_up_while_its_reservation_stands(
    database: Database, confirmed: bool
) -> None:
    shop = await open_shop(database, rules={"price": None})
    await shop.connect()
    await shop.work()
    request = ReserveRequest(
        account_id=shop.account_id, event_type=shop.event_type_id, start=shop.slot(), customer=CUSTOMER
    )
    key = RequestKey("scope", "key", b"same")
    made = await reserve(shop.world, request, key)
    assert isinstance(made, Made)
    if confirmed:
        await shop.confirm_as_paid(made.reservation)
    async with database.statement() as tx:
        await tx.execute("update idempotency_key set http_status = null, lease_until = the_clock()")
    again = await reserve(shop.world, request, key)
    assert isinstance(again, Replay) and again.result == {"id": made.reservation.id}
