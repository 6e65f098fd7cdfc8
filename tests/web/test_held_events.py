# SPDX-License-Identifier: Apache-2.0
"""`reservation.held` comes with the calendars' verdict, once, and before anything else that is told of a hold."""

from datetime import timedelta
from typing import Any

import pytest

from front import Site
from shop import CUSTOMER

from .test_events import told, types
from .test_reservations import path

HELD, CONFIRMED, RELEASED = "reservation.held", "reservation.confirmed", "reservation.released"
MOVED = "reservation.rescheduled"


async def connected(site: Site, check: str) -> Site:
    await site.shop.connect()
    await change_check(site, check)
    await site.shop.work()
    return site


async def change_check(site: Site, check: str) -> None:
    patch = {"calendar_check": check}
    answer = await site.call("PATCH", f"/v1/event-types/{site.shop.event_type_id}", patch)
    assert answer.status_code == 200, answer.text


def stranger(site: Site, hour: int) -> None:
    start = site.shop.slot(hour)
    site.shop.calendars.put("two", "stranger", start, start + timedelta(hours=1))


@pytest.mark.parametrize("check", ["local", "verified", "strict"])
async def test_with_the_answer(free_site: Site, check: str) -> None:
    """The verdict is there when it is answered, or nobody asks."""
    site = await connected(free_site, check)
    held = await site.held(9)
    [event] = await told(site)
    assert (event["type"], event["data"]["id"], event["data"]["status"]) == (HELD, held["id"], "held")
    assert event["data"]["calendars"] == held["calendars"]


async def test_later_where_the_answer_does_not_wait(free_site: Site) -> None:
    site = await connected(free_site, "fast")
    held = await site.held(9)
    assert await types(site) == []
    await site.shop.work()
    [event] = await told(site)
    assert (event["type"], event["data"]["calendars"]["verdict"]) == (HELD, "clean")
    assert event["created"] > held["created_at"]


@pytest.mark.parametrize("check", ["fast", "verified"])
async def test_what_a_calendar_refuses_was_never_told(free_site: Site, check: str) -> None:
    site = await connected(free_site, check)
    stranger(site, 9)
    answer = await site.post(
        "/v1/reservations",
        {"event_type": site.shop.event_type_id, "start": site.shop.slot(9).isoformat(), "customer": CUSTOMER},
    )
    assert answer.status_code == (201 if check == "fast" else 409), answer.text
    await site.shop.work()
    assert (await site.get("/v1/reservations")).json()["data"][0]["status"] == "released"
    assert await types(site) == []


@pytest.mark.parametrize("end", ["release", "expire"])
async def test_what_ends_before_the_verdict_was_never_told(free_site: Site, clock: Any, end: str) -> None:
    site = await connected(free_site, "fast")
    held = await site.held(9)
    if end == "release":
        await site.post(path(held, "/release"), {})
    else:
        await clock.shift(timedelta(minutes=30))
    await site.shop.work()
    assert (await site.get(path(held))).json()["status"] in ("released", "expired")
    assert await types(site) == []


async def test_once_however_often_they_are_asked(free_site: Site) -> None:
    site = await connected(free_site, "fast")
    held = await site.held(9)
    moved = {"start": site.shop.slot(11).isoformat()}
    assert (await site.post(path(held, "/reschedule"), moved)).status_code == 200
    # Nobody was told of the time before, so nobody is told that it moved.
    assert await types(site) == []
    await site.shop.work()
    [event] = await told(site)
    assert (event["type"], event["data"]["start"]) == (HELD, (await site.get(path(held))).json()["start"])
    assert (
        await site.post(path(held, "/reschedule"), {"start": site.shop.slot(13).isoformat()})
    ).status_code == 200
    await site.shop.work()
    assert (await site.post(path(held, "/confirm"), {})).status_code == 200
    assert await types(site) == [HELD, MOVED, CONFIRMED]


async def test_before_it_is_confirmed(free_site: Site) -> None:
    """Confirm asks the calendars, and so there is a verdict."""
    site = await connected(free_site, "fast")
    held = await site.held(9)
    assert (await site.post(path(held, "/confirm"), {})).status_code == 200
    assert await types(site) == [HELD, CONFIRMED]


async def test_before_it_is_confirmed_without_a_verdict(free_site: Site) -> None:
    """As where the event type asks no calendars any more."""
    site = await connected(free_site, "fast")
    held = await site.held(9)
    await change_check(site, "local")
    assert (await site.post(path(held, "/confirm"), {})).status_code == 200
    assert await types(site) == [HELD, CONFIRMED]
    assert [one["data"]["status"] for one in await told(site)] == ["held", "confirmed"]


async def test_what_was_held_before_its_host_had_calendars(free_site: Site) -> None:
    held = await free_site.held(9)
    site = await connected(free_site, "verified")
    await site.post(path(held, "/release"), {})
    assert await types(site) == [HELD, RELEASED]
