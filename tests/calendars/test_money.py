# SPDX-License-Identifier: Apache-2.0
"""What a calendar says, where money decides: before it moves it stops, once it is here it is `on_conflict`'s."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from conftest import Clock

from .practice import Practice, statuses

LATER = timedelta(seconds=11)
"""A verdict that old decides nothing."""


def start_of(held: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(held["start"])


async def test_authorised_and_captured_and_confirmed(practice: Practice):
    house = practice.house
    held, ref = await opened(practice, "authorize")
    await house.act(ref, "authorize")
    await house.settle()
    assert (await house.read(held))["status"] == "confirmed"
    assert statuses(await practice.ours()) == [["CONFIRMED"], []]
    assert (await house.ledger(ref))["captured"] == 6000


@pytest.mark.parametrize("which", [0, 1])
async def test_a_stranger_before_the_capture_and_nobody_is_charged(
    practice: Practice, clock: Clock, which: int
):
    house = practice.house
    held, ref = await opened(practice, "authorize")
    practice.stranger(start_of(held), which=which)
    await clock.shift(LATER)
    await house.act(ref, "authorize")
    await house.settle()
    told, ledger = await house.read(held), await house.ledger(ref)
    assert (told["status"], told["ended"]["by"]) == ("released", "calendar")
    assert (ledger["state"], ledger["captured"], ledger["voided"]) == ("voided", 0, 6000)
    assert await practice.ours() == [[], []]


async def test_a_stranger_while_pinned_and_the_authorisation_is_given_back(practice: Practice, clock: Clock):
    house = practice.house
    held, ref = await opened(practice, "authorize")
    await house.act(ref, "authorize", notify="never")
    await house.verb(held, "checkout", {"return_url": "https://shop.example/done"})
    async with house.parts.world.database.statement() as tx:
        await tx.execute("update job set due_at = the_clock() where kind = 'advance'")
    await house.step(["advance"])
    assert (await house.read(held))["status"] == "processing"
    practice.stranger(start_of(held))
    await clock.shift(LATER)
    await house.settle()
    told, ledger = await house.read(held), await house.ledger(ref)
    assert (told["status"], told["ended"]["code"]) == ("released", "calendar_conflict")
    assert (ledger["state"], ledger["captured"]) == ("voided", 0)
    assert await practice.ours() == [[], []]


@pytest.mark.parametrize("offer", ["sale", "sale_uncloseable"])
async def test_a_stranger_before_the_checkout_of_a_sale_and_it_never_opens(
    practice: Practice, clock: Clock, offer: str
):
    held = await practice.held(offer=offer.replace("_", "-"))
    practice.stranger(start_of(held))
    await clock.shift(LATER)
    answer = await practice.house.verb(held, "checkout", {"return_url": "https://shop.example/done"})
    assert (answer.status_code, answer.json()["code"]) == (409, "calendar_conflict")
    told = await practice.house.read(held)
    assert (told["status"], told["ended"]["by"], told["payment"]) == ("released", "calendar", None)


@pytest.mark.parametrize("offer", ["sale", "sale_uncloseable"])
@pytest.mark.parametrize("policy", ["confirm_and_flag", "refund"])
async def test_money_that_a_sale_took_is_kept_or_given_back(
    practice: Practice, clock: Clock, offer: str, policy: str
):
    house = practice.house
    await house.ask("PATCH", f"/v1/event-types/{offer.replace('_', '-')}", {"on_conflict": policy})
    held, ref = await opened(practice, offer)
    practice.stranger(start_of(held), which=1)
    await clock.shift(LATER)
    await house.act(ref, "pay")
    await house.settle()
    told, ledger = await house.read(held), await house.ledger(ref)
    assert told["calendars"]["verdict"] == "conflict"
    if policy == "confirm_and_flag":
        assert (told["status"], ledger["captured"], ledger["refunded"]) == ("confirmed", 6000, 0)
        assert statuses(await practice.ours())[0] == ["CONFIRMED"]
    else:
        assert ledger["refunded"] == 6000
        await clock.shift(timedelta(minutes=30))
        await house.settle()
        assert (await house.read(held))["status"] in ("released", "expired")
        assert await practice.ours() == [[], []]


async def test_late_money_takes_the_time_again_only_where_calendars_agree(practice: Practice, clock: Clock):
    house = practice.house
    outcomes = []
    for busy in (False, True):
        held, ref = await opened(practice, "authorize")
        await house.act(ref, "authorize", notify="never")
        await clock.shift(timedelta(minutes=16))
        if busy:
            practice.stranger(start_of(held))
        await house.settle()
        outcomes.append((await house.read(held))["status"])
    assert outcomes == ["confirmed", "expired"]


async def opened(practice: Practice, offer: str) -> tuple[dict[str, Any], str]:
    held = await practice.held(offer=offer.replace("_", "-"))
    told = await practice.house.ask(
        "POST", f"/v1/reservations/{held['id']}/checkout", {"return_url": "https://shop.example/done"}
    )
    return held | told, told["payment"]["provider_ref"]
