# SPDX-License-Identifier: Apache-2.0
"""One hold across two calendars on two servers: held in both, a booking in one, nothing in either."""

from datetime import datetime, timedelta

import pytest

from conftest import Clock

from .practice import Practice, statuses
from .servers import send


async def test_a_hold_is_in_both_calendars_and_a_booking_in_one(practice: Practice):
    held = await practice.held()
    assert held["calendars"]["verdict"] == "clean"
    assert held["calendars"]["verified_at"]
    assert statuses(await practice.ours()) == [["TENTATIVE"], ["TENTATIVE"]]
    confirmed = await practice.house.verb(held, "confirm")
    assert confirmed.status_code == 200, confirmed.text
    await practice.house.settle()
    assert statuses(await practice.ours()) == [["CONFIRMED"], []]
    [[text], _] = await practice.ours()
    assert "Anna: free" in text


async def test_released_it_is_in_neither(practice: Practice):
    held = await practice.held()
    assert (await practice.house.verb(held, "release")).status_code == 200
    await practice.house.settle()
    assert await practice.ours() == [[], []]


async def test_expired_it_is_in_neither(practice: Practice, clock: Clock):
    held = await practice.held(hold_seconds=30)
    await clock.shift(timedelta(seconds=31))
    await practice.house.settle()
    assert await practice.ours() == [[], []]
    assert (await practice.house.read(held))["status"] == "expired"


async def test_cancelled_it_is_gone(practice: Practice):
    held = await practice.held()
    await practice.house.verb(held, "confirm")
    await practice.house.settle()
    assert (await practice.house.verb(held, "cancel")).status_code == 200
    await practice.house.settle()
    assert await practice.ours() == [[], []]


@pytest.mark.parametrize("which", [0, 1])
async def test_a_stranger_in_either_calendar_stops_a_hold(practice: Practice, which: int):
    start = practice.start()
    practice.stranger(start, which=which)
    answer = await practice.reserve(start)
    assert (answer.status_code, answer.json()["code"]) == (409, "slot_taken")
    await practice.house.settle()
    assert await practice.ours() == [[], []]
    # A key that was refused may be used again; the time is free for whoever finds the calendar free.
    later = await practice.reserve(start + timedelta(hours=1))
    assert later.status_code == 201


@pytest.mark.parametrize("which", [0, 1])
async def test_a_stranger_after_the_hold_stops_the_confirm(practice: Practice, clock: Clock, which: int):
    held = await practice.held()
    practice.stranger(practice_start(held), which=which)
    await clock.shift(timedelta(seconds=11))
    answer = await practice.house.verb(held, "confirm")
    assert (answer.status_code, answer.json()["code"]) == (409, "calendar_conflict")
    told = await practice.house.read(held)
    assert told["status"] == "released"
    assert (told["ended"]["by"], told["ended"]["code"]) == ("calendar", "calendar_conflict")
    assert told["calendars"]["verdict"] == "conflict"
    again = await practice.house.verb(held, "confirm")
    assert (again.status_code, again.json()["code"]) == (409, "calendar_conflict")
    await practice.house.settle()
    assert await practice.ours() == [[], []]


async def test_busy_time_leaves_the_slots(practice: Practice):
    start = practice.start()
    assert f"{start:%Y-%m-%dT%H:%M:%S.000Z}" in await practice.slots(start)
    url = practice.stranger(start, which=1)
    await practice.sync()
    assert f"{start:%Y-%m-%dT%H:%M:%S.000Z}" not in await practice.slots(start)
    answer = await practice.reserve(start)
    assert answer.status_code == 409
    send("DELETE", url)
    await practice.sync()
    assert f"{start:%Y-%m-%dT%H:%M:%S.000Z}" in await practice.slots(start)


async def test_our_own_events_are_not_busy_twice(practice: Practice):
    held = await practice.held()
    start = practice_start(held)
    await practice.sync()
    await practice.house.verb(held, "release")
    await practice.house.settle()
    assert (await practice.reserve(start)).status_code == 201


def practice_start(held: dict) -> datetime:
    return datetime.fromisoformat(held["start"])


@pytest.mark.parametrize("firm", [False, True])
async def test_what_moves_moves_in_the_calendars(practice: Practice, firm: bool):
    house = practice.house
    held = await practice.held()
    if firm:
        await house.verb(held, "confirm")
        await house.settle()
    taken, free = practice.start(), practice.start()
    practice.stranger(taken, which=1)
    refused = await house.verb(held, "reschedule", {"start": taken.isoformat()})
    assert (refused.status_code, refused.json()["code"]) == (409, "slot_taken")
    assert (await house.read(held))["start"] == held["start"]
    key = {"idempotency_key": "move"}
    moved = await house.verb(held, "reschedule", {"start": free.isoformat()}, **key)
    assert moved.status_code == 200, moved.text
    practice.stranger(free, name=None, which=1)
    again = await house.verb(held, "reschedule", {"start": free.isoformat()}, **key)
    assert (again.status_code, again.headers["idempotency-replayed"]) == (200, "true")
    await house.settle()
    told = await house.read(held)
    stamp = f"DTSTART:{free:%Y%m%dT%H%M%SZ}"
    if firm:
        # The stranger came after the question; it is flagged by the one that follows the move.
        assert (told["status"], told["calendars"]["verdict"]) == ("confirmed", "conflict")
        [[text], []] = await practice.ours()
        assert stamp in text
    else:
        assert (told["status"], told["ended"]["by"]) == ("released", "calendar")
        assert await practice.ours() == [[], []]


async def test_what_is_told_of_a_customer_later_is_told_in_the_calendar(practice: Practice):
    held = await practice.held()
    await practice.house.verb(held, "confirm")
    await practice.house.settle()
    await practice.house.ask("PATCH", f"/v1/reservations/{held['id']}", {"customer": {"name": "Berta"}})
    await practice.house.settle()
    [[text], _] = await practice.ours()
    assert "SUMMARY:Berta: free" in text
