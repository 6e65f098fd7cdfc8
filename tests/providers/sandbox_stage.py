# SPDX-License-Identifier: Apache-2.0
"""The sandbox on stage: its provider, its company, two accounts, and what it notified."""

import time
from datetime import timedelta

import httpx

from holdfirst import ids
from holdfirst.payment.payment import Mode
from holdfirst.payment.provider import (
    Credentials,
    Done,
    Notification,
)
from holdfirst.payment.sandbox import Action, Checkout, Fault, Operation, State
from holdfirst.providers.sandbox import Books, SandboxCompany, SandboxProvider, fresh_secrets
from holdfirst.providers.sandbox.signature import HEADER, sign
from holdfirst.refusal import Refusal

from .payment_contract import PRICE, opened, spec_for

SLOW = 0.3
DEAD = (State.CLOSED, State.FAILED, State.ABANDONED)


class SandboxStage:
    signs = True
    keeps_keys = True
    a_decline_is_final = True

    def __init__(self, database_url: str, mode: Mode) -> None:
        self.mode = mode
        self.books = Books(database_url, slow_seconds=SLOW)
        self.provider = SandboxProvider(self.books, public_url="https://book.example/")
        self.sent: list[httpx.Request] = []
        self.answers: list[int | type[Exception]] = []
        self.client = httpx.AsyncClient(transport=httpx.MockTransport(self._receive))
        self.company = SandboxCompany(self.books, self.client)
        self.account = Credentials(ids.make("pac"), livemode=False, secrets=fresh_secrets())
        self.another_account = Credentials(ids.make("pac"), livemode=False, secrets=fresh_secrets())

    async def aclose(self) -> None:
        await self.company.aclose()
        await self.client.aclose()
        await self.books.aclose()

    def _receive(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(request)
        answer = self.answers.pop(0) if self.answers else 204
        if isinstance(answer, int):
            return httpx.Response(answer)
        raise answer("as the test wants it")

    @property
    def way_to_pay(self) -> Action:
        return Action.PAY if self.mode.is_sale else Action.AUTHORIZE

    async def act(self, ref: str, action: Action, *, force: bool = False) -> Checkout | Refusal:
        return await self.company.act(ref, action, force=force, notifications=0)

    async def customer_pays(self, ref: str) -> None:
        assert isinstance(await self.act(ref, self.way_to_pay), Checkout)

    async def customer_is_declined(self, ref: str) -> None:
        assert isinstance(await self.act(ref, Action.DECLINE), Checkout)

    async def lose_next(self, operation: str, *, done: bool) -> None:
        fault = Fault.LOST_AFTER if done else Fault.LOST_BEFORE
        await self.books.add_fault(Operation(operation), fault, 1)

    def notification(self, ref: str, *, age: timedelta = timedelta(0)) -> Notification:
        body = b'{"ref":"%s"}' % ref.encode()
        at = int(time.time() - age.total_seconds())
        headers = {HEADER: sign(body, self.account.secrets["signing_secret"], at)}
        return Notification("POST", headers, {}, body)

    async def state(self, ref: str) -> State:
        checkout = await self.company.look(ref)
        assert checkout is not None
        return checkout.state

    async def brought_to(self, state: State) -> str:
        """A fresh checkout, in one of the states where it is dead."""
        ref = await opened(self)
        match state:
            case State.CLOSED:
                assert await self.provider.close(ref, self.account) == Done()
            case State.FAILED:
                await self.act(ref, Action.DECLINE)
            case State.ABANDONED:
                await self.act(ref, Action.ABANDON)
        assert await self.state(ref) is state
        return ref

    async def calls(self, ref: str) -> list[tuple[str, str]]:
        ledger = await self.company.ledger(ref)
        assert ledger is not None
        return [(call.operation, call.answer) for call in ledger.calls]


async def ask(stage: SandboxStage, operation: Operation, ref: str):
    provider, account = stage.provider, stage.account
    match operation:
        case Operation.CREATE:
            return await provider.open_checkout(spec_for(stage), account)
        case Operation.FETCH:
            return await provider.fetch(ref, account)
        case Operation.CLOSE:
            return await provider.close(ref, account)
        case Operation.CAPTURE:
            return await provider.capture(ref, "key", account)
        case Operation.VOID:
            return await provider.void(ref, "key", account)
        case Operation.REFUND:
            return await provider.refund(ref, PRICE, "key", account)
