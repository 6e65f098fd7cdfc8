# SPDX-License-Identifier: Apache-2.0
"""What happened, as `GET /v1/events` tells it: each thing once, in an order that a reader can go by, as it was then."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from front import Site, code, fields
from holdfirst.flows import calendar_health
from holdfirst.store import events, payees

from .test_reservations import paid, path


async def told(site: Site, after: str | None = None, **more: Any) -> list[dict[str, Any]]:
    """All of it, page by page."""
    found: list[dict[str, Any]] = []
    while True:
        params = {"limit": 3} | ({"after": after} if after else {})
        answer = await site.get("/v1/events", params=params, **more)
        assert answer.status_code == 200, answer.text
        found += answer.json()["data"]
        after = answer.json()["next_cursor"]
        if after is None:
            return found


async def types(site: Site) -> list[str]:
    return [one["type"] for one in await told(site)]


async def test_a_hold_that_is_confirmed_moved_and_cancelled(free_site) -> None:
    held = await free_site.held(9)
    await free_site.post(path(held, "/confirm"), {})
    moved = {"start": free_site.shop.slot(11).isoformat()}
    assert (await free_site.post(path(held, "/reschedule"), moved)).status_code == 200
    assert (await free_site.post(path(held, "/cancel"), {})).status_code == 200
    all_of_it = await told(free_site)
    assert [one["type"] for one in all_of_it] == [
        "reservation.held",
        "reservation.confirmed",
        "reservation.rescheduled",
        "reservation.cancelled",
    ]
    assert [one["data"]["status"] for one in all_of_it] == ["held", "confirmed", "confirmed", "cancelled"]
    assert [one["data"]["sequence"] for one in all_of_it] == [0, 0, 1, 1]
    assert all(one["id"].startswith("evt_") and one["livemode"] is False for one in all_of_it)
    assert {one["data"]["id"] for one in all_of_it} == {held["id"]}
    assert all_of_it[0]["created"] == held["created_at"]


async def test_who_tells_waits_for_who_is_telling(free_site) -> None:
    """Else both would tell the same, each in an order of its own."""
    await free_site.held(9)
    database, account_id = free_site.shop.database, free_site.shop.account_id
    async with database.transaction() as tx:
        await events.lock(tx, account_id)
        telling = asyncio.create_task(told(free_site))
        await asyncio.sleep(0.1)
        assert not telling.done()
    assert [one["type"] for one in await telling] == ["reservation.held"]


async def test_what_is_told_is_what_the_account_reads(free_site) -> None:
    """But for what nobody is told twice, and for the moment."""
    held = await free_site.held(9, metadata={"order": "7"})
    [event] = await told(free_site)
    read = (await free_site.get(path(held))).json()
    assert "client_secret" not in event["data"]
    assert read["server_time"] >= event["data"]["server_time"] == held["created_at"]
    for answer in (read, event["data"]):
        answer.pop("server_time")
    assert event["data"] == read


async def test_each_thing_is_told_once(free_site) -> None:
    """However often it is asked for: again, late, and together."""
    held = await free_site.held(9)
    for _ in range(3):
        await free_site.post(path(held, "/confirm"), {})
        await free_site.get(path(held))
    assert await types(free_site) == ["reservation.held", "reservation.confirmed"]
    again, at_once = await told(free_site), await asyncio.gather(*(told(free_site) for _ in range(4)))
    assert all(one == again for one in at_once)


async def test_a_hold_that_is_given_up_and_one_that_runs_out(site, clock) -> None:
    released, expired = await site.held(9), await site.held(10)
    await site.post(path(released, "/release"), {})
    await clock.shift(timedelta(minutes=30))
    assert await types(site) == ["reservation.held"] * 2 + ["reservation.released"]
    await site.shop.work()
    last = (await told(site))[-1]
    assert (last["type"], last["data"]["id"], last["data"]["status"]) == (
        "reservation.expired",
        expired["id"],
        "expired",
    )
    assert last["created"] == expired["held_until"]


async def test_what_somebody_elses_claim_has_ended_is_told_too(site, clock) -> None:
    """Where no worker came first."""
    first = await site.held(9)
    await clock.shift(timedelta(minutes=30))
    second = await site.held(9)
    assert sorted((one["type"], one["data"]["id"]) for one in await told(site)) == [
        ("reservation.expired", first["id"]),
        *sorted(("reservation.held", one["id"]) for one in (first, second)),
    ]


async def test_money_is_told_with_the_payment_as_it_was_then(site) -> None:
    held = await paid(site)
    await site.shop.work()
    payment = (await site.get(path(held))).json()["payment"]
    part = {"amount": {"amount_minor": 1500, "currency": "EUR"}}
    assert (await site.post(f"/v1/payments/{payment['id']}/refund", part)).status_code == 200
    await site.shop.work()
    data = {one["type"]: one["data"] for one in await told(site)}
    assert set(data) == {
        "reservation.held",
        "reservation.confirmed",
        "payment.captured",
        "payment.refunded",
    }
    assert data["reservation.held"]["payment"] is None
    for kind in ("reservation.confirmed", "payment.captured"):
        assert data[kind]["status"] == "confirmed"
        assert data[kind]["payment"]["captured"]["amount_minor"] == 6000
        assert data[kind]["payment"]["refunded"]["amount_minor"] == 0
    assert data["payment.refunded"]["payment"]["refunded"]["amount_minor"] == 1500


async def test_money_that_needs_a_human(site) -> None:
    held = await paid(site)
    await site.shop.work()
    payment_id = (await site.get(path(held))).json()["payment"]["id"]
    async with site.shop.database.statement() as tx:
        await tx.execute(
            "update payment set needs_human_code = 'dispute', needs_human_since = the_clock() where id = $1",
            payment_id,
        )
    last = (await told(site))[-1]
    assert last["type"] == "payment.needs_human"
    assert last["data"]["payment"]["needs_human"]["code"] == "dispute"


async def test_a_payment_account_that_cannot_take_money(site) -> None:
    database = site.shop.database
    await database.run(payees.set_standing, site.shop.payee_id, False, "charges_disabled")
    await database.run(payees.set_standing, site.shop.payee_id, False, "charges_disabled")
    await database.run(payees.set_standing, site.shop.payee_id, True, None)
    [event] = await told(site)
    assert event["type"] == "payment_account.problem"
    assert event["data"]["id"] == site.shop.payee_id
    assert (event["data"]["charges_enabled"], event["data"]["problem"]) == (False, "charges_disabled")
    assert "credentials" not in str(event)


async def test_a_calendar_that_is_broken(site) -> None:
    connection = await site.shop.connect()
    database = site.shop.database
    for _ in range(2):
        await database.run(calendar_health.denied, connection, "the password is wrong")
    [event] = await told(site)
    assert event["type"] == "calendar_connection.broken"
    assert (event["data"]["id"], event["data"]["status"]) == (connection, "broken")
    assert event["data"]["last_error"]["message"] == "the password is wrong"
    await site.call("DELETE", f"/v1/calendar-connections/{connection}")
    assert await told(site) == [event]


async def test_a_broken_calendar_that_went_before_anybody_asked(site) -> None:
    connection = await site.shop.connect()
    await site.shop.database.run(calendar_health.denied, connection, "no")
    await site.call("DELETE", f"/v1/calendar-connections/{connection}")
    [event] = await told(site)
    assert event["data"]["id"] == connection


async def test_an_expiry_and_a_confirm_of_one_transaction(free_site, clock) -> None:
    held = await free_site.held(9)
    await clock.shift(timedelta(minutes=30))
    again = await free_site.post(path(held, "/confirm"), {"if_still_free": True})
    assert again.json()["status"] == "confirmed", again.text
    assert await types(free_site) == ["reservation.held", "reservation.expired", "reservation.confirmed"]


async def test_what_commits_later_is_told_later(site) -> None:
    """A reader who has seen everything up to now must not miss what was written before and committed after."""
    database = site.shop.database
    async with database.transaction() as slow:
        await slow.execute(
            "update payment_account set problem = 'charges_disabled' where id = $1", site.shop.payee_id
        )
        await site.held(9)
        [first] = await told(site)
        assert first["type"] == "reservation.held"
    assert [one["type"] for one in await told(site, after=first["id"])] == ["payment_account.problem"]


async def test_a_page_goes_on_where_the_one_before_ended(site) -> None:
    for hour in range(8, 15):
        await site.held(hour)
    first = (await site.get("/v1/events", params={"limit": 4})).json()
    assert len(first["data"]) == 4
    assert first["next_cursor"] == first["data"][-1]["id"]
    rest = (await site.get("/v1/events", params={"limit": 4, "after": first["next_cursor"]})).json()
    assert len(rest["data"]) == 3
    assert rest["next_cursor"] is None
    assert len({one["data"]["id"] for one in first["data"] + rest["data"]}) == 7
    nothing = await site.get("/v1/events", params={"after": rest["data"][-1]["id"]})
    assert nothing.json() == {"data": [], "next_cursor": None}


async def test_nobody_elses_are_told(site) -> None:
    await site.held(9)
    [mine] = await told(site)
    assert await told(site, key="other") == []
    assert await told(site, key="live") == []
    foreign = await site.get("/v1/events", params={"after": mine["id"]}, key="other")
    assert fields(foreign) == ["after"]


async def test_the_order_is_the_one_in_which_they_were_told(site) -> None:
    """Whatever their ids say, which several servers make."""
    account, database = site.shop.account_id, site.shop.database
    async with database.transaction() as tx:
        now = await tx.now()
        one, two = (
            events.Event(id=name, account_id=account, type="reservation.held", happened_at=now, body=b"{}")
            for name in ("evt_2", "evt_1")
        )
        await events.tell(tx, account, [], [one, two])
        assert await events.after(tx, account, None, 10) == [one, two]
        assert await events.after(tx, account, "evt_2", 10) == [two]


async def test_one_accounts_telling_leaves_anothers_untold(site) -> None:
    await site.held(9)
    async with site.shop.database.statement() as tx:
        other = await tx.value("select id from account where slug = 'other'")
        await tx.execute(
            "insert into outbox (account_id, type, subject, happened_at, was)"
            " select $1, 'payment_account.problem', id, the_clock(), to_json(payment_account) from payment_account"
            " where account_id = $1",
            other,
        )
    assert await types(site) == ["reservation.held"]
    theirs = await told(site, key="other")
    assert [one["type"] for one in theirs] == ["payment_account.problem"]


@pytest.mark.parametrize(
    "query", [{"after": "evt_x"}, {"after": ""}, {"limit": 0}, {"limit": 101}, {"before": "x"}]
)
async def test_questions_that_mean_nothing(site, query: dict[str, Any]) -> None:
    assert code(await site.get("/v1/events", params=query)) == (422, "invalid_request")


async def test_after_thirty_days_it_is_forgotten(site, clock) -> None:
    """Told or not."""
    await site.held(9)
    await told(site)
    await site.held(10)
    await clock.shift(timedelta(days=31))
    await site.shop.database.run(events.sweep)
    assert await told(site) == []
