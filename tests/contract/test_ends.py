# SPDX-License-Identifier: Apache-2.0
"""How a reservation ends: who ended it, when, and what of its money."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from counter import RETURN, Counter
from front import code
from holdfirst.effects import release

EUR_60 = {"amount_minor": 6000, "currency": "EUR"}


@pytest.mark.parametrize("offer", ["authorize", "sale", "sale_uncloseable"])
@pytest.mark.parametrize(("who", "by"), [("secret", "account"), ("client", "customer")])
async def test_who_released_it(counter: Counter, offer: str, who: str, by: str) -> None:
    held = await counter.open(offer)
    key = held["client_secret"] if who == "client" else "secret"
    told = await counter.done(held, "release", key=key)
    assert told["ended"]["by"] == by
    assert told["ended"]["code"] == "released"
    await counter.work()
    assert (await counter.read(held))["ended"] == told["ended"]


async def test_released_by_whoever_asked_also_where_the_close_is_answered_late(counter: Counter) -> None:
    held = await counter.open("sale")
    counter.site.shop.provider.faults["close"] = ["lost_before"]
    waiting = await counter.done(held, "release")
    assert (waiting["status"], waiting["ended"]) == ("processing", None)
    assert waiting["processing_until"] > waiting["server_time"]
    await counter.work()
    told = await counter.read(held)
    assert (told["status"], told["ended"]["by"]) == ("released", "account")


async def test_a_forced_release_closes_first_and_then_ends_it(counter: Counter) -> None:
    held = await counter.open("sale")
    counter.site.shop.provider.pay(held["payment"]["provider_ref"])
    paid = await counter.verb(held, "release", {"force": True})
    assert code(paid) == (409, "already_paid")
    assert (await counter.read(held))["status"] == "confirmed"
    unanswered = await counter.open("sale")
    counter.site.shop.provider.faults["close"] = ["lost_before"]
    told = await counter.done(unanswered, "release", {"force": True})
    assert (told["status"], told["ended"]["by"]) == ("released", "account")


async def test_a_sale_that_was_paid_is_not_released(counter: Counter) -> None:
    held = await counter.open("sale")
    counter.site.shop.provider.pay(held["payment"]["provider_ref"])
    refused = await counter.verb(held, "release", key=held["client_secret"])
    assert code(refused) == (409, "already_paid")
    assert (await counter.read(held))["status"] == "confirmed"


async def test_a_provider_that_is_slow_to_close(counter: Counter, monkeypatch) -> None:
    monkeypatch.setattr(release, "WAIT_SECONDS", 0.1)
    provider = counter.site.shop.provider
    held = await counter.open("sale")
    answers, close = asyncio.Event(), provider.close

    async def slow(*arguments: Any) -> Any:
        await answers.wait()
        return await close(*arguments)

    monkeypatch.setattr(provider, "close", slow)
    told = await counter.done(held, "release", key=held["client_secret"])
    assert told["status"] == "processing"
    assert told["ended"] is None
    answers.set()
    async with asyncio.timeout(3):
        while (await counter.read(held))["status"] != "released":
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("seen_by", ["reading", "a rival", "a worker", "listing"])
async def test_a_hold_ended_when_its_time_was_up_whoever_saw_it_first(
    counter: Counter, clock, seen_by: str
) -> None:
    held = await counter.held()
    await clock.shift(timedelta(seconds=700))
    match seen_by:
        case "a rival":
            await counter.take(held)
        case "a worker":
            await counter.site.shop.work()
        case "listing":
            await counter.call("GET", "/v1/reservations?status=expired")
    told = await counter.read(held)
    assert told["ended"] == {"by": "clock", "at": held["held_until"], "code": "hold_expired"}


async def test_an_unanswered_close_ended_when_its_time_was_up(counter: Counter, clock) -> None:
    held = await counter.open("sale")
    await clock.shift(timedelta(seconds=650))
    waiting = await counter.read(held)
    assert waiting["status"] == "processing"
    until = datetime.fromisoformat(held["held_until"]) + timedelta(seconds=600)
    assert datetime.fromisoformat(waiting["processing_until"]) == until
    await clock.shift(timedelta(seconds=700))
    told = await counter.read(held)
    assert (told["status"], told["ended"]["at"]) == ("expired", waiting["processing_until"])
    assert told["payment_open"] is True


async def test_paid_elsewhere_is_given_back_elsewhere(counter: Counter) -> None:
    held = await counter.held()
    await counter.done(held, "confirm", {"payment_reference": "till 7"})
    for refund in ("full", "policy", EUR_60, {"amount_minor": 0, "currency": "EUR"}):
        assert code(await counter.verb(held, "cancel", {"refund": refund})) == (422, "refund_not_ours"), (
            refund
        )
    assert (await counter.done(held, "cancel", {"refund": "none"}))["status"] == "cancelled"
    second = await counter.held()
    await counter.done(second, "confirm", {"payment_reference": "till 8"})
    assert (await counter.done(second, "cancel"))["status"] == "cancelled"
    assert (await counter.done(second, "cancel"))["status"] == "cancelled"


@pytest.mark.parametrize(
    ("first", "again", "status"),
    [
        ({}, {}, 200),
        ({}, {"refund": "policy"}, 200),
        ({"refund": "policy"}, {}, 200),
        ({}, {"reason": None}, 200),
        ({}, {"reason": ""}, 409),
        ({"refund": EUR_60}, {"refund": EUR_60}, 200),
        ({"refund": EUR_60}, {"refund": "full"}, 409),
        ({"reason": "ill"}, {"reason": "Ill"}, 409),
    ],
)
async def test_the_same_cancel_again(
    counter: Counter, first: dict[str, Any], again: dict[str, Any], status: int
) -> None:
    held = await counter.paid()
    told = await counter.done(held, "cancel", first)
    answer = await counter.verb(held, "cancel", again)
    assert answer.status_code == status, answer.text
    if status == 409:
        assert code(answer) == (409, "already_cancelled")
    due = (await counter.read(held))["payment"]["refund_due"]
    assert due == told["payment"]["refund_due"]


@pytest.mark.parametrize(
    ("hours_before", "percent"), [(49, 100), (47, 50), (25, 50), (23, 0), (2, 0), (0.5, None)]
)
async def test_what_the_policy_gives_back(
    counter: Counter, clock, hours_before: float, percent: int | None
) -> None:
    """Steps: two days before, all of it; a day before, half; an hour before, nothing; then no longer at all."""
    policy = [
        {"until_minutes_before": 60, "refund_percent": 0},
        {"until_minutes_before": 2880, "refund_percent": 100},
        {"until_minutes_before": 1440, "refund_percent": 50},
    ]
    path = f"/v1/event-types/{counter.offers['authorize']}"
    price = {"amount_minor": 6001, "currency": "EUR"}
    changed = await counter.call("PATCH", path, {"cancellation": policy, "price": price})
    assert changed.status_code == 200, changed.text
    held = await counter.paid()
    start = datetime.fromisoformat(held["start"])
    now = datetime.fromisoformat((await counter.read(held))["server_time"])
    await clock.shift(start - now - timedelta(hours=hours_before))
    told = (await counter.read(held))["cancellation"]
    if percent is None:
        assert told == {"allowed": False, "refund": None, "until": None}
        refused = await counter.verb(held, "cancel", key=held["client_secret"])
        assert code(refused) == (409, "too_late_to_cancel")
        by_account = await counter.done(held, "cancel", {"refund": "full"})
        assert by_account["payment"]["refund_due"]["amount_minor"] == 6001
        return
    back = 6001 * percent // 100
    assert told["allowed"] is True
    assert told["refund"] == {"amount_minor": back, "currency": "EUR"}
    assert told["until"] > held["server_time"]
    off = await counter.done(held, "cancel", key=held["client_secret"])
    assert off["payment"]["refund_due"]["amount_minor"] == back
    assert off["ended"]["by"] == "customer"
    await counter.work()
    payment = (await counter.read(held))["payment"]
    assert payment["refunded"]["amount_minor"] == back
    assert payment["captured"]["amount_minor"] == 6001
    assert payment["status"] == ("refunded" if percent == 100 else "captured")


@pytest.mark.parametrize("event", ["decline", "nothing"])
async def test_checkout_waits_for_the_time_it_needs(counter: Counter, clock, event: str) -> None:
    """Too short a rest is moved, and not counted; under the total; else it is too late."""
    held = await counter.held("sale", hold_seconds=60)
    told = await counter.done(held, "checkout", RETURN)
    moved = datetime.fromisoformat(told["held_until"]) - datetime.fromisoformat(told["server_time"])
    assert timedelta(seconds=299) < moved <= timedelta(seconds=300)
    assert told["extensions_left"] == 1
    assert told["payment"]["pay_before"] == told["held_until"]
    if event == "nothing":
        return
    await clock.shift(timedelta(seconds=250))
    longer = await counter.done(held, "extend")
    assert longer["held_until"] == told["held_until"] or longer["extensions_left"] == 0


async def test_too_late_to_pay(counter: Counter, clock) -> None:
    """The total of half an hour leaves too little."""
    path = f"/v1/event-types/{counter.offers['sale']}"
    await counter.call("PATCH", path, {"extensions_max": 10})
    held = await counter.held("sale", hold_seconds=900)
    for _ in range(2):
        await clock.shift(timedelta(seconds=800))
        held = await counter.done(held, "extend")
    total = datetime.fromisoformat(held["held_until"]) - datetime.fromisoformat(held["created_at"])
    assert total == timedelta(seconds=1800)
    assert code(await counter.verb(held, "checkout", RETURN)) == (409, "too_late_to_pay")
    assert code(await counter.verb(held, "extend")) == (409, "extension_refused")
    after = await counter.read(held)
    assert (after["status"], after["held_until"], after["payment"]) == ("held", held["held_until"], None)
