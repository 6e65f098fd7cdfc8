# SPDX-License-Identifier: Apache-2.0
"""What a booking seldom comes by: who is paid, what is refused, what has run out."""

from typing import Any

from house import CUSTOMER, House

from .case import Case, later, scene, slot_wish, verb


async def _paid_to_its_host(house: House) -> dict[str, Any]:
    """A wish for what is paid to whoever serves; no payment account is named."""
    if "to_its_host" not in house.keys:
        await house.ask("PATCH", f"/v1/hosts/{house.host}", {"payment_account": "pac_sandbox"})
        body = {"name": "Its host's", "hosts": [house.host], "duration_minutes": 60, "horizon_days": 365}
        body |= {"price": {"amount_minor": 6000, "currency": "EUR"}}
        house.keys["to_its_host"] = (await house.ask("POST", "/v1/event-types", body))["id"]
    return slot_wish(house, event_type=house.keys["to_its_host"])


@scene
async def reserve_what_is_paid_to_its_host(house: House, clock: Any) -> Case:
    wish = await _paid_to_its_host(house)
    return Case(path="/v1/reservations", body=wish, statuses=(201,), ends="held")


@scene
async def reserve_what_this_process_has_offered_before(house: House, clock: Any) -> Case:
    before, wish = await _paid_to_its_host(house), await _paid_to_its_host(house)
    case = Case(path="/v1/reservations", body=wish, statuses=(201,), ends="held")
    case.before = (("POST", "/v1/reservations", before),)
    return case


@scene
async def reserve_what_is_not_offered(house: House, clock: Any) -> Case:
    """Nothing was said under this key before, and nothing is after it."""
    wish = slot_wish(house, start=house.start().replace(":00:00+", ":07:00+"))
    return Case(path="/v1/reservations", body=wish, statuses=(409, 422))


@scene
async def change_to_somebody_who_holds_enough(house: House, clock: Any) -> Case:
    """Who asks with a publishable key has so many holds under one e-mail, and no more."""
    await house.held("free", key="publishable")
    other = {"name": "Berta", "email": "berta@example.org"}
    held = await house.held("free", key="publishable", customer=other)
    path, secret = f"/v1/reservations/{held['id']}", held["client_secret"]
    case = Case(held=held, path=path, method="PATCH", body={"customer": CUSTOMER}, key=secret, ends="held")
    case.statuses, case.keyed = (429,), False
    return case


@scene
async def confirm_if_still_free_with_details_missing(house: House, clock: Any) -> Case:
    """The time that was tried on is given up again."""
    held = await house.held("free", customer={"name": "Anna"}, hold_seconds=30)
    await later(clock, 31)
    return verb(held, "confirm", {"if_still_free": True}, ends="expired", statuses=(422,))


@scene
async def confirm_while_a_company_is_silent(house: House, clock: Any) -> Case:
    """Who does not know asks again before it says "not paid"."""
    held, ref = await house.open("sale")
    await house.fault("fetch", "lost_before")
    return verb(held, "confirm", {}, key=held["client_secret"], ref=ref, ends="held", statuses=(402,))


@scene
async def move_where_one_a_day_is_all(house: House, clock: Any) -> Case:
    """Its own start counts for nothing."""
    if "one_a_day" not in house.keys:
        body = {"name": "One a day", "hosts": [house.host], "duration_minutes": 60, "horizon_days": 365}
        made = await house.ask("POST", "/v1/event-types", body | {"per_day_max": 1})
        house.keys["one_a_day"] = made["id"]
    held = await house.ask("POST", "/v1/reservations", slot_wish(house, event_type=house.keys["one_a_day"]))
    return verb(held, "reschedule", {"start": house.start()}, ends="held")


# What has run out: whoever is told so finds it written down


async def _run_out(house: House, clock: Any) -> dict[str, Any]:
    held = await house.held("free", hold_seconds=30)
    await later(clock, 31)
    return held


@scene
async def read_what_has_run_out(house: House, clock: Any) -> Case:
    held = await _run_out(house, clock)
    return Case(held=held, path=f"/v1/reservations/{held['id']}", method="GET", ends="expired")


@scene
async def extend_what_has_run_out(house: House, clock: Any) -> Case:
    return verb(await _run_out(house, clock), "extend", ends="expired", statuses=(409, 410))


@scene
async def change_what_has_run_out(house: House, clock: Any) -> Case:
    held = await _run_out(house, clock)
    case = verb(held, "", {"metadata": {"a": "b"}}, method="PATCH", keyed=False, ends="expired")
    case.path, case.statuses = f"/v1/reservations/{held['id']}", (409, 410)
    return case


@scene
async def move_what_has_run_out(house: House, clock: Any) -> Case:
    held = await _run_out(house, clock)
    return verb(held, "reschedule", {"start": house.start()}, ends="expired", statuses=(409, 410))


@scene
async def release_what_has_run_out(house: House, clock: Any) -> Case:
    return verb(await _run_out(house, clock), "release", ends="expired")


@scene
async def cancel_what_has_run_out(house: House, clock: Any) -> Case:
    return verb(await _run_out(house, clock), "cancel", {}, ends="expired", statuses=(409, 410))
