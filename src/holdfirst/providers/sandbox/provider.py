# SPDX-License-Identifier: Apache-2.0
"""holdfirst's side of the sandbox: the same protocol as any payment company's."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar, TypeVar

import msgspec

from holdfirst import ids
from holdfirst.clock import wall
from holdfirst.errors import Busy, DatabaseUnavailable
from holdfirst.payment.money import Money
from holdfirst.payment.payment import Methods, Mode
from holdfirst.payment.provider import (
    BadNotification,
    CheckoutSpec,
    CredentialFault,
    Credentials,
    Done,
    Hint,
    Notification,
    NotOpen,
    Opened,
    Refused,
    Truth,
    Unknown,
    key_name,
)
from holdfirst.payment.sandbox import Checkout, Operation, State
from holdfirst.providers.sandbox import checkout as steps
from holdfirst.providers.sandbox.books import Books
from holdfirst.providers.sandbox.signature import HEADER, fresh_secrets, problem_with

Told = TypeVar("Told", Truth, Done | Refused, Done | NotOpen | Refused)


class NotificationBody(msgspec.Struct, frozen=True):
    """What a notification says: look at this one. Never how it stands."""

    ref: str


class SandboxProvider:
    """`public_url` is where the hosted page is reached: holdfirst itself serves it."""

    name = "sandbox"
    modes: ClassVar[Mapping[Methods, Mode]] = {
        Methods.HOLDS_ONLY: Mode.AUTHORIZE,
        Methods.HOLDS_AND_SALES: Mode.SALE,
    }

    def __init__(self, books: Books, *, public_url: str) -> None:
        self._books = books
        self._public_url = public_url.rstrip("/")

    def read_credentials(
        self, given: Mapping[str, Any], *, livemode: bool
    ) -> Mapping[str, str] | CredentialFault:
        """It needs none: what its notifications are signed with is made here."""
        if livemode:
            return CredentialFault("", "the sandbox moves no money, so a live account cannot be paid by it")
        for member in given:
            return CredentialFault(member, "is not a known field")
        return fresh_secrets()

    async def open_checkout(self, spec: CheckoutSpec, account: Credentials) -> Opened | Refused | Unknown:
        if spec.livemode or account.livemode:
            return Refused("the sandbox never serves a live account")
        signing_secret = account.secrets.get("signing_secret")
        if not signing_secret:
            return Refused("the payment account has no signing secret")
        checkout = Checkout(
            ref=ids.make("sbx"),
            payment_account_id=account.payment_account_id,
            key=spec.key,
            mode=spec.mode,
            state=State.OPEN,
            amount=spec.amount,
            livemode=spec.livemode,
            description=spec.description,
            pay_before=spec.pay_before,
            return_url=spec.return_url,
            notification_url=spec.notification_url,
        )
        try:
            opened = await self._books.create(checkout, signing_secret)
        except (DatabaseUnavailable, Busy) as error:
            return Unknown(str(error))
        if isinstance(opened, Checkout):
            return Opened(opened.ref, f"{self._public_url}/sandbox/{opened.ref}")
        return opened

    async def fetch(self, provider_ref: str, account: Credentials) -> Truth | Unknown:
        answer = await self._call(Operation.FETCH, provider_ref, account, steps.fetch)
        # The protocol knows no refused question: one that is not answered has taught nothing.
        return Unknown(answer.reason) if isinstance(answer, Refused) else answer

    async def close(self, provider_ref: str, account: Credentials) -> Done | NotOpen | Refused | Unknown:
        return await self._call(Operation.CLOSE, provider_ref, account, steps.close)

    async def capture(self, provider_ref: str, key: str, account: Credentials) -> Done | Refused | Unknown:  # noqa: ARG002  # a checkout is captured once, whatever the key
        return await self._call(Operation.CAPTURE, provider_ref, account, steps.capture)

    async def void(self, provider_ref: str, key: str, account: Credentials) -> Done | Refused | Unknown:  # noqa: ARG002  # a checkout is voided once, whatever the key
        return await self._call(Operation.VOID, provider_ref, account, steps.void)

    async def refund(
        self, provider_ref: str, amount: Money, key: str, account: Credentials
    ) -> Done | Refused | Unknown:
        step = partial(steps.refund, key=key_name(key), amount=amount)
        return await self._call(Operation.REFUND, provider_ref, account, step)

    def read_notification(self, notification: Notification, account: Credentials) -> Hint | BadNotification:
        secret = account.secrets.get("signing_secret")
        if not secret:
            return BadNotification("the payment account has no signing secret")
        header = notification.headers.get(HEADER, "")
        if (problem := problem_with(header, notification.body, secret, wall())) is not None:
            return BadNotification(problem)
        try:
            body = msgspec.json.decode(notification.body, type=NotificationBody)
        except msgspec.DecodeError:
            return BadNotification("the body is not a notification")
        return Hint(provider_ref=body.ref)

    async def _call(
        self,
        operation: Operation,
        ref: str,
        account: Credentials,
        step: Callable[[Checkout], tuple[Checkout, Told]],
    ) -> Told | Refused | Unknown:
        try:
            return await self._books.call(operation, ref, account.payment_account_id, step)
        except (DatabaseUnavailable, Busy) as error:
            return Unknown(str(error))
