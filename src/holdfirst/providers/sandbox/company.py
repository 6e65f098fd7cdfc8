# SPDX-License-Identifier: Apache-2.0
"""The sandbox as its customers and testers meet it: they act, it notifies."""

import asyncio
from datetime import timedelta

import httpx
import msgspec
import structlog

from holdfirst.clock import wall
from holdfirst.errors import HoldfirstError
from holdfirst.payment.sandbox import Action, Checkout, Fault, Ledger, Operation
from holdfirst.providers.sandbox import checkout as steps
from holdfirst.providers.sandbox.books import Books
from holdfirst.providers.sandbox.provider import NotificationBody
from holdfirst.providers.sandbox.signature import HEADER, sign
from holdfirst.refusal import Refusal

log = structlog.get_logger(__name__)

NOTIFY_SECONDS_MAX = 3


class SandboxCompany:
    """`client` is how it reaches notification URLs; whoever made it closes it."""

    def __init__(self, books: Books, client: httpx.AsyncClient) -> None:
        self._books = books
        self._client = client
        self._late: set[asyncio.Task[None]] = set()

    async def look(self, ref: str) -> Checkout | None:
        return await self._books.look(ref)

    async def ledger(self, ref: str) -> Ledger | None:
        return await self._books.ledger(ref)

    async def act(
        self, ref: str, action: Action, *, force: bool = False, notifications: int = 1
    ) -> Checkout | Refusal:
        """One of the tester's actions, then so many notifications of it."""
        after = await self._books.change(ref, lambda checkout, _: steps.act(checkout, action, force=force))
        return await self._notified(after, notifications)

    async def pay(self, ref: str) -> Checkout | Refusal:
        """The hosted page's *pay*: authorised or captured, as the checkout's mode has it."""
        after = await self._books.change(ref, lambda checkout, _: steps.pay(checkout))
        return await self._notified(after, 1)

    async def pay_late(self, ref: str) -> Checkout | Refusal:
        """Goes through after `pay_before`. If this process dies before, only the notification is lost."""
        after = await self._books.change(ref, steps.pay_late)
        if isinstance(after, Checkout):
            assert after.completes_at is not None
            assert after.seen_at is not None
            task = asyncio.create_task(self._notify_after(after.completes_at - after.seen_at, ref))
            self._late.add(task)
            task.add_done_callback(self._late.discard)
        return after

    async def add_fault(self, operation: Operation, fault: Fault, times: int) -> None:
        await self._books.add_fault(operation, fault, times)

    async def notify(self, ref: str, times: int = 1) -> None:
        """Send the signed hint. Nobody there, or not taken: lost; nobody tries again, and nothing may depend on it."""
        addressed = await self._books.notification_of(ref)
        if addressed is None:
            return
        url, secret = addressed
        body = msgspec.json.encode(NotificationBody(ref))
        for _ in range(times):
            headers = {"content-type": "application/json", HEADER: sign(body, secret, int(wall()))}
            try:
                answer = await self._client.post(
                    url, content=body, headers=headers, timeout=NOTIFY_SECONDS_MAX, follow_redirects=False
                )
                answer.raise_for_status()
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                log.warning("sandbox_notification_lost", ref=ref, error=type(error).__name__)

    async def aclose(self) -> None:
        """Forget the late notifications; the late payments themselves are in the books."""
        for task in self._late:
            task.cancel()
        await asyncio.gather(*self._late, return_exceptions=True)

    async def _notified(self, after: Checkout | Refusal, times: int) -> Checkout | Refusal:
        if isinstance(after, Checkout):
            await self.notify(after.ref, times)
        return after

    async def _notify_after(self, wait: timedelta, ref: str) -> None:
        await asyncio.sleep(wait.total_seconds())
        try:
            await self.notify(ref)
        except HoldfirstError as error:
            log.warning("sandbox_notification_lost", ref=ref, error=type(error).__name__)
