# SPDX-License-Identifier: Apache-2.0
"""A reservation in its host's calendar: held, made firm, let go, moved, with strangers in the way."""

from typing import Any
from uuid import uuid4

from crashes.practices import Practice, feed, practice, with_an_old_copy
from holdfirst.store.database import Tx
from house import CUSTOMER, House

from .case import Case, later, scene, verb, wish

LATER = (5, 61, 61)
"""A write that was given up may still arrive for a minute: what was taken away is looked for again after it."""


async def _reserve(house: House, check: str, *, statuses: tuple[int, ...] = (201,)) -> Case:
    here = await practice(house)
    body = await here.wish(house, calendar_check=check)
    case = Case(path="/v1/reservations", body=body, statuses=statuses, ends="held", practice=here)
    case.waits = LATER
    return case


def about(here: Practice, held: dict[str, Any], name: str, body: Any = None, **more: Any) -> Case:
    return verb(held, name, body, practice=here, waits=LATER, **more)


@scene
async def reserve_in_a_calendar(house: House, clock: Any) -> Case:
    return await _reserve(house, "verified")


@scene
async def reserve_in_a_calendar_that_lags(house: House, clock: Any) -> Case:
    return await _reserve(house, "strict")


@scene
async def reserve_and_ask_later(house: House, clock: Any) -> Case:
    return await _reserve(house, "fast")


@scene
async def reserve_in_a_calendar_and_never_ask(house: House, clock: Any) -> Case:
    return await _reserve(house, "local")


async def _refused(house: House, check: str, *, statuses: tuple[int, ...] = (409,)) -> Case:
    """The client is told no, however often it asks; nobody has the time."""
    case = await _reserve(house, check, statuses=statuses)
    case.ends, case.events = None, 0
    body = case.body

    async def is_free(house: House) -> None:
        told = await house.ask("GET", "/v1/reservations?limit=5")
        ends = {one["status"] for one in told["data"] if one["start"] == body["start"].replace("+00:00", "Z")}
        assert ends <= {"released"}, told

    case.then = is_free
    return case


@scene
async def reserve_where_a_stranger_stands(house: House, clock: Any) -> Case:
    case = await _refused(house, "verified")
    assert case.practice is not None
    case.practice.stranger(case.body["start"])
    return case


@scene
async def reserve_and_find_at_once_that_it_is_taken(house: House, clock: Any) -> Case:
    """Nobody has read that calendar for an hour. What was held before a death is told to its holder, and ends soon."""
    case = await _refused(house, "fast", statuses=(201, 409))
    assert case.practice is not None
    case.practice.stranger(case.body["start"])
    await later(clock, 3600)
    return case


@scene
async def reserve_where_the_answer_comes_too_late(house: House, clock: Any) -> Case:
    """It has run out when it turns out that nobody can say whether it is free."""
    case = await _reserve(house, "verified")
    case.body["hold_seconds"], case.ends = 1, "expired"
    house.outside.door.shut, house.outside.door.seconds = "away", 1.2
    return case


@scene
async def reserve_where_nobody_answers(house: House, clock: Any) -> Case:
    """Taken up again it is held: the calendar answers then."""
    case = await _reserve(house, "verified", statuses=(201,))
    house.outside.door.shut = "away"
    return case


@scene
async def reserve_with_an_answer_that_is_lost(house: House, clock: Any) -> Case:
    case = await _reserve(house, "verified")
    house.outside.door.faults.append(("PUT", "lost"))
    return case


@scene
async def reserve_where_a_reading_fails(house: House, clock: Any) -> Case:
    case = await _reserve(house, "verified")
    house.outside.door.faults += [("REPORT", "away")] * 9
    return case


@scene
async def reserve_where_a_calendar_takes_nothing(house: House, clock: Any) -> Case:
    """It is read, and not written any more; until somebody has the account list it again."""
    case = await _reserve(house, "verified")
    here, case.practice = case.practice, None
    house.outside.door.faults += [("PUT", "refused")] * 9

    async def list_again(house: House) -> None:
        assert here is not None
        await house.ask("POST", f"/v1/calendar-connections/{here.connection}/sync", {})
        await house.settle()
        assert len(here.ours()) == 1

    case.after = list_again
    return case


@scene
async def reserve_over_an_old_copy_of_a_feed(house: House, clock: Any) -> Case:
    """Its publisher does not answer, and what it said a moment ago holds."""
    here = await feed(house)
    case = Case(path="/v1/reservations", body=await here.wish(house), statuses=(201,), ends="held")
    return with_an_old_copy(house, here, case)


async def _died(house: House, case: Case) -> None:
    """Whoever asked first died before the calendars had answered: its hold is there, and nobody was told of it."""
    key = uuid4().hex
    case.keyed, case.headers = False, {"Idempotency_Key": key}
    made = await house.call("POST", case.path or "", case.body, **case.headers)
    assert made.status_code == 201, made.text

    async def forget_the_answer(tx: Tx) -> None:
        await tx.execute(
            "update idempotency_key set http_status = null, lease_until = the_clock() where key = $1", key
        )

    await house.run(forget_the_answer)


@scene
async def take_up_a_reserve(house: House, clock: Any) -> Case:
    case = await _reserve(house, "verified")
    await _died(house, case)
    return case


@scene
async def take_up_a_reserve_whose_hold_is_over(house: House, clock: Any) -> Case:
    """It is reserved anew."""
    case = await _reserve(house, "verified")
    case.body["hold_seconds"] = 600
    await _died(house, case)
    await later(clock, 601)
    return case


@scene
async def take_up_a_reserve_that_is_not_offered_any_more(house: House, clock: Any) -> Case:
    """What is held is held."""
    case = await _reserve(house, "verified")
    path = f"/v1/event-types/{case.body['event_type']}"
    await _died(house, case)
    await house.ask("PATCH", path, {"active": False})

    async def offer_it_again(house: House) -> None:
        await house.ask("PATCH", path, {"active": True})

    case.after = offer_it_again
    return case


@scene
async def reserve_with_a_calendar_too_late(house: House, clock: Any) -> Case:
    """It ran out while the calendar was asked."""
    here = await practice(house)
    held = await here.held(house, hold_seconds=30)
    await later(clock, 31)
    await wish(house, "calendars", held["id"])
    return Case(held=held, ends="expired", practice=here, waits=LATER)


@scene
async def a_stranger_in_the_way_of_a_hold(house: House, clock: Any) -> Case:
    here = await practice(house)
    held = await here.held(house)
    here.stranger(held["start"])
    await wish(house, "ask_calendars", held["id"])
    return Case(held=held, ends="released", practice=here, waits=LATER)


@scene
async def a_stranger_whom_nobody_can_ask_about(house: House, clock: Any) -> Case:
    here = await practice(house)
    held = await here.held(house)
    house.outside.door.shut = "away"
    await wish(house, "ask_calendars", held["id"])
    return Case(held=held, ends="held", practice=here, waits=LATER)


@scene
async def work_on_a_hold_whose_calendars_are_asked_later(house: House, clock: Any) -> Case:
    here = await practice(house)
    held = await house.ask("POST", "/v1/reservations", await here.wish(house, calendar_check="fast"))
    return Case(held=held, ends="held", practice=here, waits=LATER)


@scene
async def confirm_in_a_calendar(house: House, clock: Any) -> Case:
    here = await practice(house)
    held = await here.held(house)
    await later(clock, 11)
    return about(here, held, "confirm", {}, ends="confirmed", mails=("Confirmed",))


@scene
async def confirm_in_a_calendar_that_lags(house: House, clock: Any) -> Case:
    here = await practice(house)
    held = await here.held(house, calendar_check="strict")
    await later(clock, 6)
    return about(here, held, "confirm", {}, ends="confirmed", mails=("Confirmed",))


@scene
async def confirm_where_a_stranger_stands(house: House, clock: Any) -> Case:
    here = await practice(house)
    held = await here.held(house)
    here.stranger(held["start"])
    await later(clock, 11)
    return about(here, held, "confirm", {}, ends="released", statuses=(409, 410))


@scene
async def confirm_again_where_the_event_was_taken_away(house: House, clock: Any) -> Case:
    """Written again under another id."""
    here = await practice(house)
    held = await here.held(house)
    for uid in here.ours():
        here.take(uid)
    return about(here, held, "confirm", {}, ends="confirmed", mails=("Confirmed",))


@scene
async def release_in_a_calendar(house: House, clock: Any) -> Case:
    here = await practice(house)
    return about(here, await here.held(house), "release", ends="released")


@scene
async def work_on_a_release_in_a_calendar(house: House, clock: Any) -> Case:
    here = await practice(house)
    held = await here.held(house)
    assert (await house.verb(held, "release")).status_code == 200
    return Case(held=held, ends="released", practice=here, waits=LATER)


@scene
async def work_on_a_write_whose_answer_was_lost(house: House, clock: Any) -> Case:
    """It is looked for, before it is written once more."""
    here = await practice(house)
    house.outside.door.faults.append(("PUT", "lost"))
    body = await here.wish(house, calendar_check="fast")
    held = await house.ask("POST", "/v1/reservations", body)
    await house.step(["calendars"])
    return Case(held=held, ends="held", practice=here, waits=LATER)


@scene
async def work_on_a_deletion_whose_answer_was_lost(house: House, clock: Any) -> Case:
    here = await practice(house)
    held = await here.held(house)
    assert (await house.verb(held, "release")).status_code == 200
    house.outside.door.faults.append(("DELETE", "lost"))
    return Case(held=held, ends="released", practice=here, waits=LATER)


@scene
async def work_on_a_write_that_is_denied(house: House, clock: Any) -> Case:
    here = await practice(house)
    held = await here.held(house, calendar_check="fast")
    assert (await house.verb(held, "confirm", {})).status_code == 200
    house.outside.door.shut = "denied"
    case = Case(held=held, ends="confirmed", mails=("Confirmed",), practice=here)
    # Asked again in five minutes.
    case.waits = (5, 301, 61)
    return case


@scene
async def a_deadline_in_a_calendar(house: House, clock: Any) -> Case:
    here = await practice(house)
    body = await here.wish(house) | {"hold_seconds": 30}
    held = await house.ask("POST", "/v1/reservations", body)
    await house.settle()
    await later(clock, 31)
    return Case(held=held, ends="expired", practice=here, waits=LATER)


@scene
async def cancel_in_a_calendar(house: House, clock: Any) -> Case:
    here = await practice(house)
    return about(here, await here.confirmed(house), "cancel", {}, ends="cancelled", mails=("Cancelled",))


@scene
async def work_on_a_cancel_in_a_calendar(house: House, clock: Any) -> Case:
    here = await practice(house)
    held = await here.confirmed(house)
    assert (await house.verb(held, "cancel", {})).status_code == 200
    return Case(held=held, ends="cancelled", mails=("Cancelled",), practice=here, waits=LATER)


@scene
async def move_a_hold_in_a_calendar(house: House, clock: Any) -> Case:
    here = await practice(house)
    held = await here.held(house)
    return about(here, held, "reschedule", {"start": house.start()}, ends="held")


@scene
async def move_what_is_confirmed_in_a_calendar(house: House, clock: Any) -> Case:
    here = await practice(house)
    held = await here.confirmed(house)
    body = {"start": house.start()}
    return about(here, held, "reschedule", body, ends="confirmed", mails=("Moved",))


@scene
async def move_to_where_a_stranger_stands(house: House, clock: Any) -> Case:
    here = await practice(house)
    held, start = await here.held(house), house.start()
    here.stranger(start)
    return about(here, held, "reschedule", {"start": start}, ends="held", statuses=(409,))


@scene
async def move_where_nobody_answers(house: House, clock: Any) -> Case:
    here = await practice(house)
    held, start = await here.held(house), house.start()
    house.outside.door.shut = "away"
    return about(here, held, "reschedule", {"start": start}, ends="held", statuses=(200, 503))


@scene
async def change_what_a_calendar_tells(house: House, clock: Any) -> Case:
    here = await practice(house)
    held = await here.confirmed(house)
    case = about(here, held, "", ends="confirmed", method="PATCH", keyed=False)
    case.path, case.body = f"/v1/reservations/{held['id']}", {"customer": CUSTOMER | {"name": "Berta"}}
    return case


@scene
async def work_in_two_calendars_of_which_one_went(house: House, clock: Any) -> Case:
    """A connection that was disconnected: what we wrote there is still taken away."""
    here = await practice(house, when_moved="follow")
    held = await here.confirmed(house)
    await house.ask("DELETE", f"/v1/calendar-connections/{here.connection}")
    del house.outside.practices[next(key for key, one in house.outside.practices.items() if one is here)]
    return Case(held=held, ends="confirmed", practice=here, events=0, waits=LATER)
