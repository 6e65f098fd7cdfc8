# SPDX-License-Identifier: Apache-2.0
"""Call off, and give money back."""

from typing import Any

from holdfirst.store.database import Tx
from house import House

from .case import Case, paid, scene, verb


@scene
async def cancel_and_give_back(house: House, clock: Any) -> Case:
    held, ref = await paid(house, "authorize")
    case = verb(held, "cancel", {"refund": "full"}, ref=ref, ends="cancelled", refunds=6000)
    case.mails = ("Cancelled",)
    return case


@scene
async def work_on_a_refund(house: House, clock: Any) -> Case:
    held, ref = await paid(house, "sale")
    await house.verb(held, "cancel", {"refund": "full"})
    return Case(held=held, ref=ref, ends="cancelled", mails=("Cancelled",), refunds=6000)


@scene
async def work_on_a_refund_whose_answer_is_lost(house: House, clock: Any) -> Case:
    held, ref = await paid(house, "sale")
    await house.fault("refund", "lost_after")
    await house.verb(held, "cancel", {"refund": "full"})
    case = Case(held=held, ref=ref, ends="cancelled", mails=("Cancelled",), refunds=6000)
    case.waits = (31, 31)
    return case


@scene
async def work_on_a_refund_that_is_refused(house: House, clock: Any) -> Case:
    held, ref = await paid(house, "sale")
    await house.fault("refund", "refused")
    await house.verb(held, "cancel", {"refund": "full"})
    case = Case(held=held, ref=ref, ends="cancelled", mails=("Cancelled",), refunds=6000)
    case.waits, case.human = (3601,), True
    return case


@scene
async def work_on_a_refund_that_is_not_listed(house: House, clock: Any) -> Case:
    """The company said that it took it, and its list has not shown it for days: no other call is made, a human is told."""
    held, ref = await paid(house, "sale")
    await house.verb(held, "cancel", {"refund": "full"})

    async def take_it(tx: Tx) -> None:
        await tx.execute("update refund set sent = true, taken_at = the_clock() - interval '31 hours'")

    await house.run(take_it)
    case = Case(held=held, ends="cancelled", mails=("Cancelled",), human=True)

    async def none_was_sent(house: House) -> None:
        assert "refund" not in [one["operation"] for one in (await house.ledger(ref))["calls"]]
        told = (await house.read(held))["payment"]
        assert told["refund_due"]["amount_minor"] == 6000, told

    case.then = none_was_sent
    return case


@scene
async def a_human_has_seen_to_it(house: House, clock: Any) -> Case:
    """A refund was refused; it is tried again all the same."""
    held, ref = await paid(house, "sale")
    await house.fault("refund", "refused")
    await house.verb(held, "cancel", {"refund": "full"})
    await house.settle()
    payment = (await house.read(held))["payment"]["id"]
    path = f"/v1/payments/{payment}/resolve"
    case = Case(held=held, ref=ref, path=path, body={"note": "it works again"}, ends="cancelled")
    case.refunds, case.waits = 6000, (3601,)
    return case


@scene
async def cancel_what_is_cancelled(house: House, clock: Any) -> Case:
    held, ref = await paid(house, "sale")
    await house.verb(held, "cancel", {"refund": "full"})
    await house.settle()
    return verb(held, "cancel", {"refund": "full"}, ref=ref, ends="cancelled", refunds=6000)


@scene
async def refund_a_part(house: House, clock: Any) -> Case:
    held, ref = await paid(house, "sale")
    told = await house.read(held)
    path = f"/v1/payments/{told['payment']['id']}/refund"
    body = {"amount": {"amount_minor": 1500, "currency": "EUR"}}
    return Case(held=held, ref=ref, path=path, body=body, ends="confirmed", refunds=1500)
