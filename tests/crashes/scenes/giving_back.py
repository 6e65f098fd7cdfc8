# SPDX-License-Identifier: Apache-2.0
"""Call off, and give money back."""

from typing import Any

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
async def refund_a_part(house: House, clock: Any) -> Case:
    held, ref = await paid(house, "sale")
    told = await house.read(held)
    path = f"/v1/payments/{told['payment']['id']}/refund"
    body = {"amount": {"amount_minor": 1500, "currency": "EUR"}}
    return Case(held=held, ref=ref, path=path, body=body, ends="confirmed", refunds=1500)
