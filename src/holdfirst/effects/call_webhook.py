# SPDX-License-Identifier: Apache-2.0
"""Tell integrators what happened: signed as the Standard Webhooks specification says, bounded in time and number.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import hmac
import secrets
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from holdfirst.clock import monotonic
from holdfirst.effects.world import World
from holdfirst.errors import ProviderUnavailable
from holdfirst.flows import events, webhooks
from holdfirst.flows.events import WriteBody
from holdfirst.flows.webhooks import Sent, ToSend

SECRET_PREFIX = "whsec_"
AT_ONCE_MAX = 16
AT_ONCE_PER_ENDPOINT_MAX = 4
"""A worker has 64 hands, and money needs some: who answers slowly gets few of them."""
WAIT_SECONDS_MAX = 60.0


class Post(Protocol):
    async def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """The status that was answered, soon; raises `ProviderUnavailable` where there is none."""
        ...


class _Line:
    """The calls to one endpoint: how many are under way, and when the next one that finds no hand may come back."""

    def __init__(self) -> None:
        self.busy = 0
        self._seconds = 0.1
        self._next = 0.0

    def took(self, seconds: float) -> None:
        self._seconds += (seconds - self._seconds) / 4

    def wait(self) -> timedelta:
        """Until a hand is likely to be free for one more: each who asks gets a later place, none beyond a minute."""
        now = monotonic()
        later = max(self._next, now) + self._seconds / AT_ONCE_PER_ENDPOINT_MAX
        self._next = min(later, now + WAIT_SECONDS_MAX)
        return timedelta(seconds=self._next - now)


class Webhooks:
    """Jobs `tell` (`<account>/<what it is about>`) and `deliver` (a delivery's id)."""

    def __init__(self, world: World, write: WriteBody, post: Post) -> None:
        self._world = world
        self._write = write
        self._post = post
        self._lines: defaultdict[str, _Line] = defaultdict(_Line)
        self._telling: dict[str, bool] = {}
        """Whose events are being told just now, and whether there may be more since."""

    async def tell(self, _: World, subject: str) -> None:
        """One at a time for an account: whoever comes meanwhile leaves it to that one, whose job ends after it."""
        account_id = subject.partition("/")[0]
        if account_id in self._telling:
            self._telling[account_id] = True
            return
        try:
            more = True
            while more:
                self._telling[account_id] = False
                told = await self._world.database.run(events.tell, account_id, self._write)
                more = told == events.BATCH or self._telling[account_id]
        finally:
            del self._telling[account_id]

    async def deliver(self, _: World, delivery_id: str) -> datetime | None:
        """Answers when to try again. A death between the receiver's yes and our record of it sends it twice, with the
        same `webhook-id`.
        """
        attempt = await self._world.database.run(webhooks.to_send, delivery_id)
        if attempt is None:
            return None
        line = self._lines[attempt.endpoint.id]
        if (
            line.busy >= AT_ONCE_PER_ENDPOINT_MAX
            or sum(one.busy for one in self._lines.values()) >= AT_ONCE_MAX
        ):
            return attempt.now + line.wait()
        line.busy += 1
        began = monotonic()
        try:
            sent = await self._send(attempt)
        finally:
            line.busy -= 1
            line.took(monotonic() - began)
        return await self._world.database.run(webhooks.record, delivery_id, sent)

    async def _send(self, attempt: ToSend) -> Sent:
        endpoint = attempt.endpoint
        plain = [self._world.key_ring.unseal(sealed, endpoint.id).decode() for sealed in attempt.sealed]
        headers = signed(attempt.event_id, attempt.now, attempt.body, plain)
        try:
            return Sent(await self._post(endpoint.url, headers, attempt.body), None)
        except ProviderUnavailable as error:
            return Sent(None, str(error)[:500])


def make_secret() -> str:
    """`whsec_` and 24 random bytes in base64."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(24)).decode()


def signed(event_id: str, now: datetime, body: bytes, signing: Sequence[str]) -> dict[str, str]:
    """The headers of the specification: one signature (HMAC-SHA256, `v1`) for each secret."""
    seconds = str(int(now.timestamp()))
    content = b".".join((event_id.encode(), seconds.encode(), body))
    signatures = [
        "v1," + base64.b64encode(hmac.digest(_key(one), content, "sha256")).decode() for one in signing
    ]
    return {
        "content-type": "application/json",
        "webhook-id": event_id,
        "webhook-timestamp": seconds,
        "webhook-signature": " ".join(signatures),
    }


def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix(SECRET_PREFIX))
