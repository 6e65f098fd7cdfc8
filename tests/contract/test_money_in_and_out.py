# SPDX-License-Identifier: Apache-2.0
"""The sandbox's seam as it is written: every fault in every operation, and how each ends."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from counter import Counter
from front import code
from house import MODES, RETURN, House, due_now

FAULTS = ["lost_before", "lost_after", "500", "refused", "slow"]
OPERATIONS = ["create", "fetch", "close", "capture", "void", "refund"]


def conserved(ledger: dict[str, Any], told: dict[str, Any]) -> None:
    """Captured is kept or given back; what is only authorised is not forgotten."""
    payment = told["payment"]
    kept = told["status"] == "confirmed"
    assert ledger["captured"] == payment["captured"]["amount_minor"], (ledger, told)
    assert ledger["refunded"] == payment["refunded"]["amount_minor"], (ledger, told)
    assert payment["refund_due"]["amount_minor"] == 0, told
    if kept:
        assert (ledger["captured"], ledger["refunded"]) == (6000, 0), (ledger, told)
    else:
        assert ledger["captured"] == ledger["refunded"], (ledger, told)
        assert ledger["authorized"] == ledger["voided"] or ledger["captured"], (ledger, told)


async def finish(house: House, clock, rounds: int = 4) -> None:
    """A worker works, time goes on, and again."""
    for _ in range(2):
        for _ in range(rounds):
            await house.run(due_now)
            await house.settle()
        await clock.shift(timedelta(seconds=61))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("answer", FAULTS)
async def test_a_payment_in_time(house: House, clock, mode: str, answer: str) -> None:
    """Each operation meets the fault once, in one life: opened, paid, confirmed, cancelled, given back."""
    held = await house.held(mode)
    await house.fault("create", answer)
    opened = await house.verb(held, "checkout", RETURN)
    if opened.status_code != 200:
        expected = (422, "checkout_refused") if answer == "refused" else (503, "provider_unavailable")
        assert code(opened) == expected
        opened = await house.verb(held, "checkout", RETURN)
    payment = opened.json()["payment"]
    assert payment["status"] == "open", opened.text
    ref = payment["provider_ref"]
    for operation in ("fetch", "capture"):
        await house.fault(operation, answer)
    await house.pay(ref, mode)
    await finish(house, clock)
    told, ledger = await house.read(held), await house.ledger(ref)
    if (mode, answer) == ("authorize", "refused"):
        assert (told["status"], told["ended"]["code"]) == ("expired", "payment_failed")
        assert (ledger["state"], ledger["captured"]) == ("voided", 0)
        return
    assert told["status"] == "confirmed", told
    conserved(ledger, told)
    await house.fault("refund", answer)
    await house.ask("POST", f"/v1/reservations/{held['id']}/cancel", {"refund": "full"})
    await finish(house, clock)
    if answer == "refused":
        stuck = (await house.read(held))["payment"]
        assert stuck["needs_human"]["code"] == "refund_refused"
        assert [one["id"] for one in (await house.ask("GET", "/v1/payments?needs_human=true"))["data"]] == [
            stuck["id"]
        ]
        await clock.shift(timedelta(hours=2))
        await finish(house, clock)
    told, ledger = await house.read(held), await house.ledger(ref)
    assert (told["status"], told["payment"]["status"], ledger["state"]) == (
        "cancelled",
        "refunded",
        "refunded",
    )
    conserved(ledger, told)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("answer", FAULTS)
@pytest.mark.parametrize("sold", [False, True])
async def test_late_money(house: House, clock, mode: str, answer: str, sold: bool) -> None:
    """The deadline passes, the checkout is closed or not, and then money comes all the same."""
    held, ref = await house.open(mode)
    await clock.shift(timedelta(seconds=901))
    for operation in ("close", "void", "refund"):
        await house.fault(operation, answer)
    await finish(house, clock)
    assert (await house.read(held))["status"] == "expired"
    if sold:
        await house.held(mode, start=held["start"])
    await house.pay(ref, mode, force=True)
    await finish(house, clock)
    if answer == "refused" and sold:
        await clock.shift(timedelta(hours=2))
        await finish(house, clock)
    told, ledger = await house.read(held), await house.ledger(ref)
    conserved(ledger, told)
    if sold:
        assert told["status"] == "expired"
        assert told["payment"]["late"] == ("voided" if mode == "authorize" else "refunded")
        assert ledger["captured"] == (0 if mode == "authorize" else 6000)
    else:
        assert (told["status"], told["payment"]["late"]) == ("confirmed", "retaken")


@pytest.mark.parametrize("mode", MODES)
async def test_actions_and_their_refusals(house: House, mode: str) -> None:
    pays, not_here = ("authorize", "pay") if mode == "authorize" else ("pay", "authorize")
    _, ref = await house.open(mode)
    path = f"/sandbox/checkouts/{ref}"
    assert (await house.call("POST", f"{path}/{not_here}", key=None)).status_code == 409
    told = await house.act(ref, "decline", notify="never")
    assert told["state"] == "failed"
    assert (await house.call("POST", f"{path}/decline", key=None)).status_code == 409
    assert (await house.call("POST", f"{path}/{pays}", key=None)).status_code == 409
    told = await house.act(ref, pays, force=True, notify="twice")
    assert set(told) == {"state", "authorized", "captured", "voided", "refunded", "calls"}
    assert told["state"] == ("authorized" if mode == "authorize" else "captured")
    assert (await house.call("POST", f"{path}/{pays}", key=None)).status_code == 409
    assert (await house.call("POST", f"{path}/{pays}", {"force": True}, None)).status_code == 409
    _, left = await house.open(mode)
    assert (await house.act(left, "abandon"))["state"] == "abandoned"
    assert (await house.act(left, pays, force=True))["state"] in ("authorized", "captured")


@pytest.mark.parametrize("mode", MODES)
async def test_a_real_worker_from_the_notification_to_the_confirmation(house: House, mode: str) -> None:
    async with house.working():
        held, ref = await house.open(mode)
        await house.pay(ref, mode)
        told = await house.until(held, lambda one: one["status"] == "confirmed", 3)
        assert told["payment"]["status"] == "captured"
        assert told["payment_open"] is False
        off = await house.ask("POST", f"/v1/reservations/{held['id']}/cancel", {"refund": "full"})
        assert off["status"] == "cancelled"
        await house.until(held, lambda one: one["payment"]["status"] == "refunded", 3)


async def test_a_declined_card_ends_nothing(house: House) -> None:
    async with house.working():
        held, ref = await house.open("sale")
        await house.act(ref, "decline")
        told = await house.until(held, lambda one: one["payment"]["status"] == "failed", 3)
        assert (told["status"], told["payment_open"]) == ("held", False)
        again = await house.ask("POST", f"/v1/reservations/{held['id']}/checkout", RETURN)
        assert again["payment"]["provider_ref"] != ref
        await house.act(again["payment"]["provider_ref"], "abandon")
        told = await house.until(held, lambda one: one["payment"]["status"] == "abandoned", 3)
        assert told["status"] == "held"


@pytest.mark.parametrize("action", ["decline", "abandon"])
async def test_a_checkout_that_died_unheard_is_not_opened_again(house: House, action: str) -> None:
    """No notification came and nobody has asked yet: whoever wants to pay gets a checkout that can be paid."""
    held, ref = await house.open("sale")
    await house.act(ref, action, notify="never")
    told = await house.ask("POST", f"/v1/reservations/{held['id']}/checkout", RETURN)
    assert told["payment"]["provider_ref"] != ref
    assert told["payment"]["status"] == "open"
    listed = (await house.ask("GET", f"/v1/payments?reservation={held['id']}"))["data"]
    assert sorted(one["status"] for one in listed) == sorted(
        ["open", "failed" if action == "decline" else "abandoned"]
    )


async def test_a_worker_asks_at_its_start(house: House) -> None:
    """Whoever held the jobs before, and whatever they wait for."""
    opened = [await house.open(mode) for mode in MODES]
    for (_, ref), mode in zip(opened, MODES, strict=True):
        await house.pay(ref, mode, notify="never")

    async def somebody_holds_them(tx) -> None:
        await tx.execute(
            "update job set lease_until = the_clock() + interval '1 hour', due_at = the_clock() + interval '1 hour'"
        )

    await house.run(somebody_holds_them)
    began = asyncio.get_running_loop().time()
    async with house.working():
        for held, _ in opened:
            await house.until(held, lambda one: one["status"] == "confirmed", 4)
    assert asyncio.get_running_loop().time() - began < 6


async def test_the_polling_of_an_open_checkout(house: House, clock) -> None:
    _, ref = await house.open("sale_uncloseable")

    async def fetched() -> int:
        return sum(call["operation"] == "fetch" for call in (await house.ledger(ref))["calls"])

    seen = []
    for seconds in (9, 2, 18, 2, 28, 2, 57, 3, 60):
        await clock.shift(timedelta(seconds=seconds))
        await house.settle()
        seen.append(await fetched())
    # At 9, 11, 29, 31, 59, 61, 118, 121 and 181 seconds.
    assert seen == [0, 1, 1, 2, 2, 3, 3, 4, 5]


async def test_money_that_is_not_what_was_asked_for_goes_back_and_a_human_looks(counter: Counter) -> None:
    """A genuine notification is not a valid one: the amount must be what was frozen."""
    held = await counter.open("sale")
    provider, ref = counter.site.shop.provider, held["payment"]["provider_ref"]
    provider.pay(ref)
    provider.checkouts[ref].captured = 5999
    await counter.work()
    told = await counter.read(held)
    assert told["status"] == "held"
    assert told["payment"]["needs_human"]["code"] == "amount_mismatch"
    assert told["payment"]["refunded"]["amount_minor"] == 5999
    [listed] = (await counter.call("GET", "/v1/payments?needs_human=true")).json()["data"]
    assert listed["id"] == told["payment"]["id"]


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_faults_are_counted(house: House, operation: str) -> None:
    await house.fault(operation, "500", 2)
    held, ref = None, None
    if operation == "create":
        held = await house.held("sale")
        statuses = [(await house.verb(held, "checkout", RETURN)).status_code for _ in range(3)]
        assert statuses == [503, 503, 200]
        return
    held, ref = await house.open("authorize" if operation in ("capture", "void") else "sale")
    assert held["status"] == "held"
    assert (await house.ledger(ref))["calls"][0]["operation"] == "create"


async def test_capture_that_nobody_answers_needs_a_human_after_ten_minutes(house: House, clock) -> None:
    held, ref = await house.open("authorize")
    await house.fault("capture", "lost_before", 1000)
    await house.act(ref, "authorize")
    await house.settle(5)
    told = await house.read(held)
    assert (told["status"], told["processing_until"]) == ("processing", None)
    assert told["payment"]["needs_human"] is None
    await clock.shift(timedelta(minutes=11))
    await house.settle(3)
    told = await house.read(held)
    assert told["status"] == "processing"
    assert told["payment"]["needs_human"]["code"] == "capture_unanswered"
    assert told["payment"]["needs_human"]["since"].endswith("Z")
    resolved = await house.ask("POST", f"/v1/payments/{told['payment']['id']}/resolve", {"note": "called"})
    assert resolved["needs_human"] is None
    ended = await house.ask("POST", f"/v1/reservations/{held['id']}/release", {"force": True})
    assert ended["status"] == "released"
    assert ended["ended"]["by"] == "account"


async def test_money_of_a_released_one_is_not_captured(house: House, clock) -> None:
    """A secret key ends what is pinned: what is only authorised goes back, and nobody is charged."""
    held, ref = await house.open("authorize")
    await house.fault("capture", "lost_before", 2)
    await house.act(ref, "authorize")
    await house.step(["advance"])
    await house.step(["capture"])
    assert (await house.read(held))["status"] == "processing"
    ended = await house.ask("POST", f"/v1/reservations/{held['id']}/release", {"force": True})
    assert ended["status"] == "released"
    await finish(house, clock)
    told, ledger = await house.read(held), await house.ledger(ref)
    assert (told["status"], told["payment"]["status"]) == ("released", "voided")
    assert (ledger["state"], ledger["captured"]) == ("voided", 0)


@pytest.mark.parametrize("mode", MODES)
async def test_paid_here_after_all(house: House, mode: str) -> None:
    """The back end says that it was paid elsewhere; the open checkout shows money: nobody is to pay twice."""
    held, ref = await house.open(mode)
    await house.pay(ref, mode, notify="never")
    refused = await house.verb(held, "confirm", {"payment_reference": "till"})
    assert code(refused) == (409, "already_paid")
    await house.settle()
    told = await house.read(held)
    assert (told["status"], told["payment"]["status"], told["payment_reference"]) == (
        "confirmed",
        "captured",
        None,
    )


@pytest.mark.parametrize("mode", MODES)
async def test_paid_elsewhere_and_then_here_as_well(house: House, clock, mode: str) -> None:
    """Forced through what was closed, or where nothing can be closed: it goes back in full."""
    held, ref = await house.open(mode)
    told = await house.ask("POST", f"/v1/reservations/{held['id']}/confirm", {"payment_reference": "till"})
    assert told["status"] == "confirmed"
    await house.pay(ref, mode, force=True)
    await finish(house, clock)
    told, ledger = await house.read(held), await house.ledger(ref)
    assert (told["status"], told["payment_reference"]) == ("confirmed", "till")
    assert ledger["captured"] == ledger["refunded"]
    assert ledger["authorized"] == ledger["voided"]
    assert told["payment"]["status"] == ("voided" if mode == "authorize" else "refunded")


@pytest.mark.parametrize("mode", MODES)
async def test_soon_after_the_deadline_its_checkout_is_closed(house: House, clock, mode: str) -> None:
    held, ref = await house.open(mode)
    await clock.shift(timedelta(seconds=901))
    told = await house.read(held)
    rival = await house.call(
        "POST", "/v1/reservations", {"event_type": "free", "start": held["start"]}, "publishable"
    )
    if mode == "sale":
        assert told["status"] == "processing"
        assert code(rival) == (409, "slot_taken")
    else:
        assert (told["status"], rival.status_code) == ("expired", 201)
    async with house.working():
        if mode != "sale_uncloseable":
            told = await house.until(held, lambda one: one["payment"]["status"] == "abandoned", 3)
            assert (await house.ledger(ref))["state"] == "closed"
        assert (told["status"], told["payment_open"]) == ("expired", mode == "sale_uncloseable")


@pytest.mark.parametrize("mode", MODES)
async def test_everything_tells_at_once(house: House, mode: str) -> None:
    """Notifications, the return page, confirm and a worker, all together: one payment, one confirmation."""
    async with house.working():
        held, ref = await house.open(mode)
        path = f"/v1/reservations/{held['id']}"
        await asyncio.gather(
            house.pay(ref, mode, notify="twice"),
            *[house.call("POST", f"{path}/confirm", key=held["client_secret"]) for _ in range(5)],
            *[house.call("GET", f"/r/{held['id']}", key=None) for _ in range(5)],
        )
        told = await house.until(held, lambda one: one["status"] == "confirmed", 4)
        ledger = await house.ledger(ref)
        assert (ledger["captured"], ledger["refunded"], ledger["voided"]) == (6000, 0, 0)
        assert told["payment"]["late"] is None
        assert sum(call["operation"] == "capture" for call in ledger["calls"]) == (mode == "authorize")
