# SPDX-License-Identifier: Apache-2.0
"""Hold, make firm, let go, move."""

from typing import Any

from house import House

from .case import Case, later, paid, scene, slot_wish, verb

# Hold


@scene
async def reserve(house: House, clock: Any) -> Case:
    return Case(path="/v1/reservations", body=slot_wish(house), statuses=(201,), ends="held")


@scene
async def reserve_priced_with_a_publishable_key(house: House, clock: Any) -> Case:
    wish = slot_wish(house, event_type="sale")
    return Case(path="/v1/reservations", body=wish, key="publishable", statuses=(201,), ends="held")


@scene
async def reserve_what_is_taken(house: House, clock: Any) -> Case:
    wish = slot_wish(house)
    held = await house.ask("POST", "/v1/reservations", wish)
    return Case(held=held, path="/v1/reservations", body=wish, statuses=(409,), ends="held")


@scene
async def reserve_what_has_run_out(house: House, clock: Any) -> Case:
    wish = slot_wish(house)
    held = await house.ask("POST", "/v1/reservations", wish | {"hold_seconds": 30})
    await later(clock, 31)
    return Case(held=held, path="/v1/reservations", body=wish, statuses=(201,), ends="expired")


@scene
async def extend(house: House, clock: Any) -> Case:
    return verb(await house.held("free"), "extend", ends="held", statuses=(200, 409))


@scene
async def change_details(house: House, clock: Any) -> Case:
    held = await house.held("free")
    path = f"/v1/reservations/{held['id']}"
    return Case(held=held, path=path, method="PATCH", body={"metadata": {"a": "b"}}, ends="held", keyed=False)


@scene
async def rotate_a_client_secret(house: House, clock: Any) -> Case:
    return verb(await house.held("free"), "client-secret/rotate", ends="held")


@scene
async def move_a_hold(house: House, clock: Any) -> Case:
    return verb(await house.held("free"), "reschedule", {"start": house.start()}, ends="held")


@scene
async def a_deadline(house: House, clock: Any) -> Case:
    held = await house.held("free", hold_seconds=30)
    await later(clock, 31)
    return Case(held=held, ends="expired")


# Make firm, or let go


@scene
async def confirm_what_costs_nothing(house: House, clock: Any) -> Case:
    held = await house.held("free")
    return verb(held, "confirm", {}, key=held["client_secret"], ends="confirmed", mails=("Confirmed",))


@scene
async def confirm_a_sale_that_is_paid(house: House, clock: Any) -> Case:
    held, ref = await house.open("sale")
    await house.act(ref, "pay", notify="never")
    secret = held["client_secret"]
    return verb(held, "confirm", {}, key=secret, ref=ref, ends="confirmed", mails=("Confirmed",))


@scene
async def confirm_what_is_authorized(house: House, clock: Any) -> Case:
    """Another process captures while the confirm waits."""
    held, ref = await house.open("authorize")
    await house.act(ref, "authorize", notify="never")
    return verb(
        held,
        "confirm",
        {},
        key=held["client_secret"],
        ref=ref,
        ends="confirmed",
        mails=("Confirmed",),
        beside=True,
    )


@scene
async def confirm_by_reference_beside_an_open_sale(house: House, clock: Any) -> Case:
    held, ref = await house.open("sale")
    body = {"payment_reference": "till 1"}
    return verb(held, "confirm", body, ref=ref, ends="confirmed", mails=("Confirmed",))


@scene
async def confirm_by_reference_what_was_paid_unheard(house: House, clock: Any) -> Case:
    held, ref = await house.open("sale_uncloseable")
    await house.act(ref, "pay", notify="never")
    body = {"payment_reference": "till 1"}
    # Repeated when the payment has been heard it is a repeat; before that somebody was about to pay twice.
    return verb(held, "confirm", body, ref=ref, ends="confirmed", mails=("Confirmed",), statuses=(200, 409))


@scene
async def confirm_if_still_free(house: House, clock: Any) -> Case:
    held = await house.held("free", hold_seconds=30)
    await later(clock, 31)
    return verb(held, "confirm", {"if_still_free": True}, ends="confirmed", mails=("Confirmed",))


@scene
async def confirm_nothing_paid(house: House, clock: Any) -> Case:
    held, ref = await house.open("sale")
    return verb(held, "confirm", {}, key=held["client_secret"], ref=ref, ends="held", statuses=(402,))


@scene
async def release(house: House, clock: Any) -> Case:
    return verb(await house.held("free"), "release", ends="released")


@scene
async def release_beside_an_open_sale(house: House, clock: Any) -> Case:
    held, ref = await house.open("sale")
    return verb(held, "release", ref=ref, ends="released", beside=True)


@scene
async def release_by_force_what_does_not_close(house: House, clock: Any) -> Case:
    held, ref = await house.open("sale")
    await house.fault("close", "lost_before", 2)
    return verb(held, "release", {"force": True}, ref=ref, ends="released")


@scene
async def release_beside_an_open_authorization(house: House, clock: Any) -> Case:
    held, ref = await house.open("authorize")
    return verb(held, "release", ref=ref, ends="released")


@scene
async def move_what_is_confirmed(house: House, clock: Any) -> Case:
    held, ref = await paid(house, "sale")
    return verb(held, "reschedule", {"start": house.start()}, ref=ref, ends="confirmed", mails=("Moved",))
