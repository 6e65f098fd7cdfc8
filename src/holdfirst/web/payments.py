# SPDX-License-Identifier: Apache-2.0
"""`/v1/payments`: what came in, what is owed back, and what somebody has to look at."""

from functools import partial
from typing import Any

import structlog

from holdfirst.flows import cancel
from holdfirst.flows.keyed import Replay
from holdfirst.payment.payment import Payment
from holdfirst.refusal import Code, Refusal
from holdfirst.store import payments
from holdfirst.store.database import Tx
from holdfirst.web import paging
from holdfirst.web.answers import Page, PaymentAnswer, payment_answer
from holdfirst.web.hosts import REPLAYED
from holdfirst.web.operation import SECRET, Answer, Call, Operation
from holdfirst.web.problems import refuse
from holdfirst.web.requests import PaymentQuery, Refund, Resolve, raise_faults

log = structlog.get_logger(__name__)


async def list_payments(call: Call) -> Answer:
    asked = call.asked(PaymentQuery)
    found = await call.world.database.single(
        payments.find,
        call.who.account_id,
        status=asked.status,
        reservation_id=asked.reservation,
        needs_human=asked.needs_human,
        before=paging.before(asked, "pay"),
        limit=paging.one_more(asked),
    )
    shown, cursor = paging.page(asked, found)
    return Answer(paging.content([payment_answer(one) for one in shown], cursor))


async def get_payment(call: Call) -> Answer:
    return Answer(payment_answer(await _load(call)))


async def refund_payment(call: Call) -> Answer:
    body: Refund = call.body
    if body.amount is not None and body.amount.amount_minor == 0:
        raise_faults([("amount.amount_minor", "must be at least 1")])
    payment = await _load(call)

    async def work(tx: Tx) -> Payment | Refusal:
        return await cancel.refund_payment(tx, payment.id, body.amount)

    done: Payment | Replay = await call.once(work, _kept)
    return await _answered(call, done)


async def resolve_payment(call: Call) -> Answer:
    payment = await _load(call)

    async def work(tx: Tx) -> Payment | Refusal:
        return await cancel.resolve(tx, payment.id, call.body_as(Resolve).note)

    done: Payment | Replay = await call.once(work, _kept)
    # The note is prose, and prose may name people: the row keeps it, the log does not.
    log.info("payment_resolved", payment=payment.id, key=call.who.scope)
    return await _answered(call, done)


def _kept(payment: Payment) -> tuple[int, dict[str, str]]:
    return 200, {"id": payment.id}


async def _answered(call: Call, done: Payment | Replay) -> Answer:
    if isinstance(done, Replay):
        return Answer(payment_answer(await _load(call)), done.http_status, REPLAYED)
    return Answer(payment_answer(done))


async def _load(call: Call) -> Payment:
    payment = await call.world.database.single(payments.load, call.path["payment"])
    if payment is None or payment.account_id != call.who.account_id:
        raise refuse(Code.PAYMENT_NOT_FOUND, "There is no such payment.")
    return payment


_GONE = (Code.PAYMENT_NOT_FOUND,)
_payment: Any = partial(Operation, who=SECRET, answer=PaymentAnswer, missing=Code.PAYMENT_NOT_FOUND)

OPERATIONS: list[Operation] = [
    _payment(
        method="GET",
        path="/v1/payments",
        summary="List payments",
        endpoint=list_payments,
        query=PaymentQuery,
        answer=Page[PaymentAnswer],
    ),
    _payment(
        method="GET",
        path="/v1/payments/{payment:str}",
        summary="A payment",
        endpoint=get_payment,
        refusals=_GONE,
    ),
    _payment(
        method="POST",
        path="/v1/payments/{payment:str}/refund",
        summary="Give money back",
        endpoint=refund_payment,
        body=Refund,
        refusals=(*_GONE, Code.REFUND_EXCEEDS_PAYMENT),
    ),
    _payment(
        method="POST",
        path="/v1/payments/{payment:str}/resolve",
        summary="Somebody has seen to it",
        endpoint=resolve_payment,
        body=Resolve,
        refusals=_GONE,
    ),
]
