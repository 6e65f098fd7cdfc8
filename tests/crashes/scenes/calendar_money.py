# SPDX-License-Identifier: Apache-2.0
"""Calendars where money decides: before a sale is opened, before a capture, and once money is here."""

from typing import Any

from crashes.practices import practice
from house import RETURN, House

from .calendar_holds import LATER, about
from .case import Case, later, scene
from .paying import books_say_otherwise


async def _open(house: House, mode: str, **rules: Any) -> tuple[Any, dict[str, Any], str]:
    here = await practice(house)
    held = await here.held(house, mode, **rules)
    told = await house.ask("POST", f"/v1/reservations/{held['id']}/checkout", RETURN)
    return here, held, told["payment"]["provider_ref"]


@scene
async def checkout_of_a_sale_in_a_calendar(house: House, clock: Any) -> Case:
    here = await practice(house)
    held = await here.held(house, "sale")
    await later(clock, 11)
    return about(here, held, "checkout", RETURN, ends="held")


@scene
async def checkout_of_a_sale_where_a_stranger_stands(house: House, clock: Any) -> Case:
    here = await practice(house)
    held = await here.held(house, "sale")
    here.stranger(held["start"])
    await later(clock, 11)
    return about(here, held, "checkout", RETURN, ends="released", statuses=(409, 410))


@scene
async def a_stranger_beside_an_open_sale(house: House, clock: Any) -> Case:
    """Closed first, and given up then."""
    here, held, ref = await _open(house, "sale")
    here.stranger(held["start"])
    await later(clock, 11)
    body = {"payment_reference": "till"}
    case = about(here, held, "confirm", body, ref=ref, ends="released", statuses=(409, 410))
    case.waits = (5, *LATER)
    return case


@scene
async def a_deadline_with_an_open_sale_in_a_calendar(house: House, clock: Any) -> Case:
    """Closed first; then its event goes too."""
    here = await practice(house)
    body = await here.wish(house, "sale") | {"hold_seconds": 600}
    held = await house.ask("POST", "/v1/reservations", body)
    await house.settle()
    told = await house.ask("POST", f"/v1/reservations/{held['id']}/checkout", RETURN)
    await later(clock, 601)
    ref = told["payment"]["provider_ref"]
    return Case(held=held, ref=ref, practice=here, ends="expired", waits=LATER)


async def _paid_work(house: House, clock: Any, mode: str, *, stranger: bool, **rules: Any) -> Case:
    here, held, ref = await _open(house, mode, **rules)
    await house.pay(ref, mode, notify="never")
    if stranger:
        here.stranger(held["start"])
    await later(clock, 11)
    return Case(held=held, ref=ref, practice=here, ends="confirmed", mails=("Confirmed",), waits=LATER)


@scene
async def work_authorize_in_a_calendar(house: House, clock: Any) -> Case:
    return await _paid_work(house, clock, "authorize", stranger=False)


@scene
async def work_sale_in_a_calendar(house: House, clock: Any) -> Case:
    return await _paid_work(house, clock, "sale", stranger=False)


@scene
async def work_authorize_where_a_stranger_stands(house: House, clock: Any) -> Case:
    case = await _paid_work(house, clock, "authorize", stranger=True)
    case.ends, case.mails = "released", ("Not booked, not charged",)
    return case


@scene
async def work_sale_where_a_stranger_stands(house: House, clock: Any) -> Case:
    case = await _paid_work(house, clock, "sale_uncloseable", stranger=True, on_conflict="refund")
    case.ends, case.mails, case.refunds = "held", (), 6000
    return case


@scene
async def work_sale_that_is_kept_all_the_same(house: House, clock: Any) -> Case:
    return await _paid_work(house, clock, "sale", stranger=True, on_conflict="confirm_and_flag")


@scene
async def work_sale_where_nobody_answers(house: House, clock: Any) -> Case:
    case = await _paid_work(house, clock, "sale", stranger=False)
    house.outside.door.shut = "away"
    return case


async def _pinned(house: House, clock: Any) -> Case:
    """The capture was lost once, and what the calendar said is old by now."""
    here, held, ref = await _open(house, "authorize")
    await house.fault("capture", "lost_before", 1)
    await house.pay(ref, "authorize")
    while "capture" not in [one["operation"] for one in (await house.ledger(ref))["calls"]]:
        await house.step()
    assert (await house.read(held))["status"] == "processing"
    await later(clock, 11)
    return Case(held=held, ref=ref, practice=here, ends="confirmed", mails=("Confirmed",), waits=LATER)


@scene
async def capture_after_asking_again(house: House, clock: Any) -> Case:
    return await _pinned(house, clock)


@scene
async def capture_where_a_stranger_came(house: House, clock: Any) -> Case:
    case = await _pinned(house, clock)
    assert case.practice is not None and case.held is not None
    case.practice.stranger(case.held["start"])
    case.ends, case.mails = "released", ()
    return case


@scene
async def capture_of_another_amount_than_was_agreed(house: House, clock: Any) -> Case:
    """It pays for nothing, and the event goes too."""
    case = await _pinned(house, clock)
    assert case.ref is not None
    await books_say_otherwise(house, case.ref)
    case.ends, case.mails, case.refunds, case.human = "expired", ("Not booked, refunded",), 5000, True
    return case


@scene
async def capture_where_nobody_answers(house: House, clock: Any) -> Case:
    case = await _pinned(house, clock)
    house.outside.door.shut = "away"
    return case


@scene
async def release_by_calendar_what_is_pinned_by_another_reading(house: House, clock: Any) -> Case:
    """A reading beside the capture: the capture is told of the stranger."""
    case = await _pinned(house, clock)
    assert case.practice is not None and case.held is not None
    case.practice.stranger(case.held["start"])
    path = f"/v1/calendar-connections/{case.practice.connection}/sync"
    case.path, case.body, case.ends, case.mails = path, {}, "released", ()
    return case
