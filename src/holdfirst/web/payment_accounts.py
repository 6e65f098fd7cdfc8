# SPDX-License-Identifier: Apache-2.0
"""`/v1/payment-accounts`: where money goes. Credentials come in, are sealed, and are never told again."""

from functools import partial
from typing import Any

from holdfirst.flows import payment_accounts
from holdfirst.flows.accounts import sandbox_secrets, sealer
from holdfirst.flows.keyed import Replay
from holdfirst.refusal import Code, Refusal, invalid
from holdfirst.store import payments
from holdfirst.store.database import Tx
from holdfirst.store.payments import PaymentAccount
from holdfirst.web import paging
from holdfirst.web.answers import Page, PaymentAccountAnswer, payment_account_answer
from holdfirst.web.hosts import REPLAYED
from holdfirst.web.operation import SECRET, Answer, Call, Operation
from holdfirst.web.problems import Problem
from holdfirst.web.requests import Paging, PaymentAccountForm, PaymentAccountPatch

SANDBOX = "sandbox"


async def create_payment_account(call: Call) -> Answer:
    form: PaymentAccountForm = call.body
    if form.provider not in call.world.providers or form.provider != SANDBOX:
        known = ", ".join(sorted(call.world.providers))
        raise Problem(invalid("provider", f"must be one of: {known}"))
    if call.who.livemode:
        raise Problem(
            invalid("provider", "the sandbox moves no money, so a live account cannot be paid by it")
        )

    async def work(tx: Tx) -> PaymentAccount | Refusal:
        return await payment_accounts.create_payment_account(
            tx,
            call.who.account_id,
            livemode=call.who.livemode,
            provider=form.provider,
            mode=form.mode,
            secrets=sandbox_secrets(),
            seal=sealer(call.world.key_ring),
        )

    done = await call.once(work, lambda made: (201, {"id": made.id}))
    if isinstance(done, Replay):
        return Answer(
            payment_account_answer(await _load(call, done.result["id"])), done.http_status, REPLAYED
        )
    return Answer(payment_account_answer(done), 201)


async def list_payment_accounts(call: Call) -> Answer:
    """Few by their nature, so all of them are one page, oldest first."""
    found = await call.world.database.single(payments.payees, call.who.account_id)
    return Answer(paging.content([payment_account_answer(one) for one in found], None))


async def get_payment_account(call: Call) -> Answer:
    return Answer(payment_account_answer(await _load(call, call.path["payment_account"])))


async def change_payment_account(call: Call) -> Answer:
    patch: PaymentAccountPatch = call.body
    payee = await _load(call, call.path["payment_account"])
    if patch.mode is not None:
        payee = await call.run(payment_accounts.change_mode, call.who.account_id, payee.id, patch.mode)
    return Answer(payment_account_answer(payee))


async def delete_payment_account(call: Call) -> Answer:
    await call.run(payment_accounts.delete_payment_account, call.who.account_id, call.path["payment_account"])
    return Answer(status=204)


async def _load(call: Call, payment_account_id: str) -> PaymentAccount:
    payee = await call.world.database.single(payments.load_payee, payment_account_id)
    if payee is None or payee.account_id != call.who.account_id:
        raise Problem(payment_accounts.no_such_payment_account())
    return payee


_GONE = (Code.PAYMENT_ACCOUNT_NOT_FOUND,)
_payee: Any = partial(
    Operation, who=SECRET, answer=PaymentAccountAnswer, missing=Code.PAYMENT_ACCOUNT_NOT_FOUND
)

OPERATIONS: list[Operation] = [
    _payee(
        method="POST",
        path="/v1/payment-accounts",
        summary="Add a payment account",
        endpoint=create_payment_account,
        body=PaymentAccountForm,
        status=201,
    ),
    _payee(
        method="GET",
        path="/v1/payment-accounts",
        summary="List payment accounts",
        endpoint=list_payment_accounts,
        query=Paging,
        answer=Page[PaymentAccountAnswer],
    ),
    _payee(
        method="GET",
        path="/v1/payment-accounts/{payment_account:str}",
        summary="A payment account",
        endpoint=get_payment_account,
        refusals=_GONE,
    ),
    _payee(
        method="PATCH",
        path="/v1/payment-accounts/{payment_account:str}",
        summary="Change a payment account",
        endpoint=change_payment_account,
        body=PaymentAccountPatch,
        refusals=_GONE,
    ),
    _payee(
        method="DELETE",
        path="/v1/payment-accounts/{payment_account:str}",
        summary="Remove a payment account",
        endpoint=delete_payment_account,
        answer=None,
        status=204,
        refusals=(*_GONE, Code.STILL_IN_USE),
    ),
]
