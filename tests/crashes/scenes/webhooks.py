# SPDX-License-Identifier: Apache-2.0
"""What happened is told: each event to whoever listens, under one id however often."""

from collections import defaultdict
from typing import Any

from crashes.practices import practice
from holdfirst.store.database import Tx
from house import House

from .calendar_holds import LATER
from .case import Case, later, scene, verb

ENDPOINTS = "/v1/webhook-endpoints"


async def endpoint(house: House, **more: Any) -> str:
    house.outside.receiver.heard.clear()
    made = await house.ask("POST", ENDPOINTS, {"url": house.outside.receiver.url} | more)
    return f"{ENDPOINTS}/{made['id']}"


async def told(house: House) -> list[str]:
    return [one["type"] for one in (await house.ask("GET", "/v1/events?limit=100"))["data"]]


async def each_was_heard(house: House) -> None:
    """All there are; one that was heard twice is the same one, byte for byte."""
    listed = {one["id"] for one in (await house.ask("GET", "/v1/events?limit=100"))["data"]}
    bodies = defaultdict(set)
    for _, headers, body in house.outside.receiver.heard:
        bodies[headers["webhook-id"]].add(body)
    assert listed, "nothing happened"
    assert set(bodies) == listed, (listed, bodies)
    assert all(len(one) == 1 for one in bodies.values()), bodies
    [found] = (await house.ask("GET", ENDPOINTS))["data"]
    deliveries = (await house.ask("GET", f"{ENDPOINTS}/{found['id']}/deliveries"))["data"]
    assert sorted(one["event"] for one in deliveries) == sorted(listed)
    assert {one["status"] for one in deliveries} == {"delivered"}


async def nobody_listens(house: House) -> None:
    await house.run(_remove)


async def _remove(tx: Tx) -> None:
    for table in ("event", "outbox", "webhook_endpoint"):
        await tx.execute(f"delete from {table}")


@scene
async def tell_a_hold(house: House, clock: Any) -> Case:
    await endpoint(house)
    held = await house.held("free")
    return Case(held=held, path=None, ends="held", then=each_was_heard, after=nobody_listens)


@scene
async def tell_a_hold_when_its_calendars_have_answered(house: House, clock: Any) -> Case:
    """Once, whoever asks them again after a death."""
    here = await practice(house)
    body = await here.wish(house)
    await endpoint(house)
    case = Case(path="/v1/reservations", body=body, ends="held", practice=here, waits=LATER)

    async def then(house: House) -> None:
        await each_was_heard(house)
        assert set(await told(house)) <= {"reservation.held", "reservation.released", "reservation.expired"}
        assert (await told(house))[0] == "reservation.held"

    case.statuses, case.then, case.after = (201,), then, nobody_listens
    return case


@scene
async def tell_what_was_not_taken_at_first(house: House, clock: Any) -> Case:
    await endpoint(house)
    house.outside.receiver.answers = 500
    held = await house.held("free")
    return Case(held=held, path=None, ends="held", then=each_was_heard, after=nobody_listens, waits=(6, 400))


@scene
async def confirm_while_somebody_listens(house: House, clock: Any) -> Case:
    await endpoint(house)
    held = await house.held("free")

    async def then(house: House) -> None:
        await each_was_heard(house)
        assert await told(house) == ["reservation.held", "reservation.confirmed"]

    return verb(held, "confirm", {}, ends="confirmed", mails=("Confirmed",), then=then, after=nobody_listens)


@scene
async def ask_what_happened(house: House, clock: Any) -> Case:
    """Numbered by whoever asks first, who may die of it: nobody gets another order."""
    held = await house.held("free")
    await house.ask("POST", f"/v1/reservations/{held['id']}/release", {})

    async def then(house: House) -> None:
        assert await told(house) == ["reservation.held", "reservation.released"]

    return Case(held=held, path="/v1/events", method="GET", ends="released", then=then, after=nobody_listens)


@scene
async def ask_what_happened_since(house: House, clock: Any) -> Case:
    held = await house.held("free")
    [first] = (await house.ask("GET", "/v1/events"))["data"]
    await house.ask("POST", f"/v1/reservations/{held['id']}/release", {})
    path = f"/v1/events?after={first['id']}"
    return Case(held=held, path=path, method="GET", ends="released", after=nobody_listens)


@scene
async def make_a_webhook_endpoint(house: House, clock: Any) -> Case:
    async def then(house: House) -> None:
        assert len((await house.ask("GET", ENDPOINTS))["data"]) == 1

    return Case(
        path=ENDPOINTS,
        body={"url": house.outside.receiver.url},
        statuses=(201,),
        then=then,
        after=nobody_listens,
    )


@scene
async def change_a_webhook_endpoint(house: House, clock: Any) -> Case:
    path = await endpoint(house)
    body = {"types": ["reservation.held"]}
    return Case(path=path, method="PATCH", body=body, keyed=False, after=nobody_listens)


@scene
async def rotate_a_webhook_secret(house: House, clock: Any) -> Case:
    return Case(path=f"{await endpoint(house)}/rotate-secret", body={}, after=nobody_listens)


@scene
async def delete_a_webhook_endpoint(house: House, clock: Any) -> Case:
    """What was on its way to it goes nowhere."""
    path = await endpoint(house)
    house.outside.receiver.answers = 500
    held = await house.held("free")
    await house.ask("GET", "/v1/events")
    return Case(
        held=held,
        path=path,
        method="DELETE",
        statuses=(204, 404),
        keyed=False,
        ends="held",
        after=nobody_listens,
    )


@scene
async def work_on_what_was_on_its_way_to_nobody(house: House, clock: Any) -> Case:
    path = await endpoint(house)
    held = await house.held("free")
    await house.ask("GET", "/v1/events")
    await house.ask("DELETE", path)
    return Case(held=held, ends="held", after=nobody_listens)


@scene
async def deliver_again(house: House, clock: Any) -> Case:
    path = await endpoint(house)
    held = await house.held("free")
    await house.ask("GET", "/v1/events")
    [delivery] = (await house.ask("GET", f"{path}/deliveries"))["data"]
    await later(clock, 1)
    return Case(
        held=held,
        path=f"{path}/deliveries/{delivery['id']}/redeliver",
        body={},
        ends="held",
        then=each_was_heard,
        after=nobody_listens,
    )
