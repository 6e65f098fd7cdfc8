# SPDX-License-Identifier: Apache-2.0
"""What a reading finds: strangers, events of ours that the host moved or deleted, strays; and doctor, who puts right."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from crashes.practices import Practice, feed, names, practice, with_an_old_copy
from holdfirst.calendar.calendar_event import event_uid
from holdfirst.store import calendar_events
from holdfirst.store.database import Tx
from house import House

from .calendar_holds import LATER
from .case import Case, later, scene, wish


def _sync(here: Practice, **more: Any) -> Case:
    case = Case(path=f"/v1/calendar-connections/{here.connection}/sync", body={}, practice=here, **more)
    case.waits = LATER
    return case


async def _event_read(house: House, here: Practice) -> str:
    """The uid of the one event of ours, which a reading has seen."""
    await house.ask("POST", f"/v1/calendar-connections/{here.connection}/sync", {})
    [uid] = here.ours()
    return uid


async def _forget_token(house: House, here: Practice) -> None:
    async def forget(tx: Tx) -> None:
        await tx.execute("update calendar set token = null, whole_at = null where id = $1", here.calendar)

    await house.run(forget)


TO_THE_HOST = "A booking was {} in your calendar, and is still booked"


@scene
async def read_a_calendar_from_the_start(house: House, clock: Any) -> Case:
    here = await practice(house)
    for _ in range(4):
        here.stranger(house.start())
    await _forget_token(house, here)
    return _sync(here, events=0)


@scene
async def read_what_changed(house: House, clock: Any) -> Case:
    here = await practice(house)
    start = house.start()
    at = here.stranger(start, "another")
    await house.ask("POST", f"/v1/calendar-connections/{here.connection}/sync", {})
    here.stranger(house.start(), "another")
    here.stranger(start, "one-more")
    assert at
    await wish(house, "sync_calendar", here.calendar)
    return Case(practice=here, events=0, waits=LATER)


@scene
async def read_what_is_gone(house: House, clock: Any) -> Case:
    here = await practice(house)
    here.stranger(house.start(), "another")
    await house.ask("POST", f"/v1/calendar-connections/{here.connection}/sync", {})
    here.take("another")
    return _sync(here, events=0)


@scene
async def read_a_stranger_over_a_hold(house: House, clock: Any) -> Case:
    here = await practice(house)
    held = await here.held(house)
    here.stranger(held["start"])
    await wish(house, "sync_calendar", here.calendar)
    return Case(held=held, practice=here, ends="released", waits=LATER)


@scene
async def read_a_stranger_over_what_is_confirmed(house: House, clock: Any) -> Case:
    here = await practice(house)
    held = await here.confirmed(house)
    here.stranger(held["start"])
    return _sync(here, held=held, ends="confirmed")


@scene
async def read_that_a_stranger_went(house: House, clock: Any) -> Case:
    here = await practice(house)
    held = await here.confirmed(house)
    here.stranger(held["start"], "another")
    await house.ask("POST", f"/v1/calendar-connections/{here.connection}/sync", {})
    await house.settle()
    here.take("another")
    await wish(house, "sync_calendar", here.calendar)
    return Case(held=held, practice=here, ends="confirmed", waits=LATER)


async def _moved_by_host(house: House, here: Practice, hours: int, minutes: int = 60) -> dict[str, Any]:
    held = await here.confirmed(house)
    uid = await _event_read(house, here)
    _move(here, uid, held, hours, minutes)
    return held


def _move(here: Practice, uid: str, held: dict[str, Any], hours: int, minutes: int = 60) -> None:
    start = datetime.fromisoformat(held["start"]) + timedelta(hours=hours)
    here.stranger(start.isoformat(), uid, minutes)


@scene
async def the_host_moves_an_event(house: House, clock: Any) -> Case:
    here = await practice(house)
    held = await _moved_by_host(house, here, 240)
    return _sync(here, held=held, ends="confirmed", mails=(TO_THE_HOST.format("moved"),))


@scene
async def the_host_moves_an_event_and_back(house: House, clock: Any) -> Case:
    here = await practice(house)
    held = await _moved_by_host(house, here, 240)
    uid = await _event_read(house, here)
    _move(here, uid, held, 0)
    return _sync(here, held=held, ends="confirmed")


@scene
async def the_host_makes_an_event_longer(house: House, clock: Any) -> Case:
    here = await practice(house)
    held = await _moved_by_host(house, here, 0, 90)
    return _sync(here, held=held, ends="confirmed", mails=(TO_THE_HOST.format("moved"),))


@scene
async def the_host_moves_an_event_and_is_followed(house: House, clock: Any) -> Case:
    here = await practice(house, when_moved="follow")
    held = await _moved_by_host(house, here, 240)
    await wish(house, "sync_calendar", here.calendar)
    case = Case(held=held, practice=here, ends="confirmed", mails=("Moved",), waits=LATER)

    async def is_there(house: House) -> None:
        start = datetime.fromisoformat(held["start"]) + timedelta(hours=240)
        assert datetime.fromisoformat((await house.read(held))["start"]) == start

    case.then = is_there
    return case


@scene
async def the_host_moves_an_event_to_where_it_cannot_go(house: House, clock: Any) -> Case:
    """Somebody else has that time: the flag stands, and the host is told."""
    here = await practice(house, when_moved="follow")
    held = await _moved_by_host(house, here, 240)
    start = datetime.fromisoformat(held["start"]) + timedelta(hours=240)
    await house.ask("POST", "/v1/reservations", await here.wish(house) | {"start": start.isoformat()})
    await wish(house, "sync_calendar", here.calendar)
    case = Case(held=held, practice=here, ends="confirmed", events=2, waits=LATER)
    case.mails = (TO_THE_HOST.format("moved"),)
    return case


@scene
async def the_host_moves_a_hold(house: House, clock: Any) -> Case:
    """Somebody is just paying for it, so it is put back."""
    here = await practice(house)
    held = await here.held(house)
    uid = await _event_read(house, here)
    _move(here, uid, held, 240)
    await wish(house, "sync_calendar", here.calendar)
    case = Case(held=held, practice=here, ends="held", waits=LATER)

    async def is_put_back(house: House) -> None:
        assert here.starts() == [datetime.fromisoformat(held["start"])]

    case.then = is_put_back
    return case


async def _deleted_by_host(house: House, policy: str) -> tuple[Practice, dict[str, Any]]:
    here = await practice(house, when_deleted=policy)
    held = await here.confirmed(house)
    uid = await _event_read(house, here)
    here.take(uid)
    await wish(house, "sync_calendar", here.calendar)
    return here, held


@scene
async def the_host_deletes_an_event(house: House, clock: Any) -> Case:
    here, held = await _deleted_by_host(house, "flag")
    mails = (TO_THE_HOST.format("deleted"),)
    return Case(held=held, practice=here, ends="confirmed", mails=mails, events=0, waits=LATER)


@scene
async def the_host_deletes_an_event_which_is_restored(house: House, clock: Any) -> Case:
    here, held = await _deleted_by_host(house, "restore")
    return Case(held=held, practice=here, ends="confirmed", waits=LATER)


@scene
async def the_host_cancels_by_deleting(house: House, clock: Any) -> Case:
    here, held = await _deleted_by_host(house, "cancel")
    return Case(held=held, practice=here, ends="cancelled", mails=("Cancelled",), waits=LATER)


@scene
async def the_host_deletes_a_hold(house: House, clock: Any) -> Case:
    here = await practice(house)
    held = await here.held(house)
    uid = await _event_read(house, here)
    here.take(uid)
    await wish(house, "sync_calendar", here.calendar)
    return Case(held=held, practice=here, ends="held", waits=LATER)


# Dragged into another calendar of the same account, which is neither asked nor written to


async def _with_a_drawer(house: House) -> tuple[Practice, Practice]:
    """A practice that is called off by deleting; and the same with the other calendar in its place."""
    if "drawer" not in house.keys:
        house.keys["drawer"] = house.outside.caldav.make_calendar(f"drawer{next(names)}")
    here = await practice(house, when_deleted="cancel")
    return here, replace(here, url=house.keys["drawer"])


async def _dragged(house: House, here: Practice, drawer: Practice) -> None:
    uid = await _event_read(house, here)
    here.drag(uid, drawer)
    await wish(house, "sync_calendar", here.calendar)


def _dragged_unseen(here: Practice, drawer: Practice) -> None:
    [uid] = here.ours()
    here.drag(uid, drawer)


def _in_the_drawer(drawer: Practice, case: Case, count: int) -> Case:
    async def stands_there(house: House) -> None:
        assert len(drawer.ours()) == count

    async def empty(house: House) -> None:
        drawer.empty()

    case.then, case.after = stands_there, empty
    return case


@scene
async def the_host_drags_an_event(house: House, clock: Any) -> Case:
    """It is moved, and not deleted: nothing is called off."""
    here, drawer = await _with_a_drawer(house)
    held = await here.confirmed(house)
    await _dragged(house, here, drawer)
    case = Case(held=held, practice=here, ends="confirmed", events=0, waits=LATER)
    case.mails = (TO_THE_HOST.format("moved"),)
    return _in_the_drawer(drawer, case, 1)


@scene
async def the_host_drags_a_hold(house: House, clock: Any) -> Case:
    """It is put back."""
    here, drawer = await _with_a_drawer(house)
    held = await here.held(house)
    await _dragged(house, here, drawer)
    return _in_the_drawer(drawer, Case(held=held, practice=here, ends="held", waits=LATER), 0)


@scene
async def cancel_what_the_host_dragged(house: House, clock: Any) -> Case:
    """It is taken away where it stands."""
    here, drawer = await _with_a_drawer(house)
    held = await here.confirmed(house)
    await _dragged(house, here, drawer)
    await house.settle()
    assert (await house.verb(held, "cancel", {})).status_code == 200
    case = Case(held=held, practice=here, ends="cancelled", mails=("Cancelled",), waits=LATER)
    return _in_the_drawer(drawer, case, 0)


@scene
async def cancel_what_the_host_dragged_unseen(house: House, clock: Any) -> Case:
    """No reading has noticed."""
    here, drawer = await _with_a_drawer(house)
    held = await here.confirmed(house)
    _dragged_unseen(here, drawer)
    assert (await house.verb(held, "cancel", {})).status_code == 200
    case = Case(held=held, practice=here, ends="cancelled", mails=("Cancelled",), waits=LATER)
    return _in_the_drawer(drawer, case, 0)


@scene
async def confirm_what_the_host_dragged_unseen(house: House, clock: Any) -> Case:
    """It is written anew where we write it, under another id, and stands there alone."""
    here, drawer = await _with_a_drawer(house)
    held = await here.held(house)
    _dragged_unseen(here, drawer)
    assert (await house.verb(held, "confirm", {})).status_code == 200
    case = Case(held=held, practice=here, ends="confirmed", mails=("Confirmed",), waits=LATER)
    return _in_the_drawer(drawer, case, 0)


@scene
async def a_day_later_calendars_are_listed_again(house: House, clock: Any) -> Case:
    """This one is in another zone than it was, and can be written again; what is over still stands there. Who dies before the
    list has come waits for the next one.
    """
    here = await practice(house)
    held, over = await here.held(house), await here.held(house)

    async def a_day_ago(tx: Tx) -> None:
        await tx.execute(
            "update calendar set writable = false, time_zone = 'Pacific/Apia',"
            " whole_at = the_clock() - interval '25 hours' where id = $1",
            here.calendar,
        )

    await house.run(a_day_ago)
    assert (await house.verb(over, "release")).status_code == 200
    await house.settle()
    assert len(here.ours()) == 2
    await house.run(a_day_ago)
    await wish(house, "sync_calendar", here.calendar)

    async def is_known(house: House) -> None:
        await house.ask("POST", f"/v1/calendar-connections/{here.connection}/sync", {})
        await house.settle()
        assert len(here.ours()) == 1

    return Case(held=held, ends="held", waits=LATER, then=is_known)


@scene
async def read_an_old_copy_of_a_feed(house: House, clock: Any) -> Case:
    """Its publisher does not answer: what it said last is taken in, and that it is old is written down."""
    here = await feed(house)
    path = f"/v1/calendar-connections/{here.connection}/sync"
    return with_an_old_copy(house, here, Case(path=path, body={}))


@scene
async def a_stray_with_our_marker(house: House, clock: Any) -> Case:
    here = await practice(house)
    uid = event_uid(here.account, "res_nobody", here.calendar, 0)
    here.stranger(house.start(), uid)
    return _sync(here, events=0)


@scene
async def an_event_of_ours_comes_back_after_its_end(house: House, clock: Any) -> Case:
    """A write that was given up, and arrives when all is over."""
    here = await practice(house)
    held = await here.held(house)
    [uid] = here.ours()
    assert (await house.verb(held, "release")).status_code == 200
    await house.settle()
    assert here.ours() == []
    here.stranger(held["start"], uid)
    await wish(house, "sync_calendar", here.calendar)
    return Case(held=held, practice=here, ends="released", waits=LATER)


async def _out_of_line(house: House, clock: Any) -> tuple[Practice, dict[str, Any]]:
    """An orphan, a ghost and one that is missing."""
    here = await practice(house)
    over, missing = await here.held(house), await here.confirmed(house)
    ghost = await house.run(calendar_events.of_reservation, over["id"])
    await house.verb(over, "release")

    async def believe(tx: Tx) -> None:
        """That it was taken away, or never was there."""
        await tx.execute("delete from job")
        await tx.execute(
            "update calendar_event set state = 'absent', doubtful_until = null where reservation_id = $1",
            over["id"],
        )

    await house.run(believe)
    for uid in here.ours():
        if uid != ghost[0].uid:
            here.take(uid)
    here.stranger(house.start(), event_uid(here.account, "res_nobody", here.calendar, 0))
    await later(clock, 61)
    return here, missing


@scene
async def doctor_looks_at_calendars(house: House, clock: Any) -> Case:
    """It says what it sees. What it wrote to try, and died before taking away, the next reading finds and takes away."""
    here, held = await _out_of_line(house, clock)

    async def is_taken_away(house: House) -> None:
        assert len(here.ours()) in (2, 3)
        await house.ask("POST", f"/v1/calendar-connections/{here.connection}/sync")
        assert len(here.ours()) == 1

    return Case(held=held, ends="confirmed", deed="examine", waits=LATER, then=is_taken_away)


@scene
async def doctor_puts_calendars_right(house: House, clock: Any) -> Case:
    here, held = await _out_of_line(house, clock)
    return Case(held=held, practice=here, ends="confirmed", deed="repair_calendars", waits=LATER)


@scene
async def doctor_looks_at_a_calendar_that_lags(house: House, clock: Any) -> Case:
    """What was written to try is not told at once."""
    here = await practice(house)
    house.outside.door.faults = [("REPORT", ""), ("REPORT", "blind")]

    async def is_taken_away(house: House) -> None:
        assert len(here.ours()) in (0, 1)
        await house.ask("POST", f"/v1/calendar-connections/{here.connection}/sync")
        assert here.ours() == []

    return Case(deed="examine", then=is_taken_away)


@scene
async def doctor_looks_at_a_feed(house: House, clock: Any) -> Case:
    here = await feed(house)

    async def disconnect(house: House) -> None:
        await house.ask("DELETE", f"/v1/calendar-connections/{here.connection}")

    return Case(deed="examine", after=disconnect)
