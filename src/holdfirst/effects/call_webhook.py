# SPDX-License-Identifier: Apache-2.0
"""Tell integrators what happened: signed as the Standard Webhooks specification says, bounded in time and number.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import hmac
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from holdfirst.effects.world import World
from holdfirst.errors import ProviderUnavailable
from holdfirst.flows import events, webhooks
from holdfirst.flows.events import WriteBody
from holdfirst.flows.webhooks import Sent, ToSend

SECRET_PREFIX = "whsec_"
AT_ONCE_MAX = 16
AT_ONCE_PER_ENDPOINT_MAX = 4
"""A worker has 64 hands, and money needs some: who answers slowly gets few of them."""
WAIT_FOR_A_HAND = timedelta(seconds=0.5)


class Post(Protocol):
    async def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """The status that was answered, soon; raises `ProviderUnavailable` where there is none."""
        ...


class Webhooks:
    """Jobs `tell` (`<account>/<what it is about>`) and `deliver` (a delivery's id)."""

    def __init__(self, world: World, write: WriteBody, post: Post) -> None:
        self._world = world
        self._write = write
        self._post = post
        self._busy: Counter[str] = Counter()

    async def tell(self, _: World, subject: str) -> None:
        account_id = subject.partition("/")[0]
        while await self._world.database.run(events.tell, account_id, self._write) == events.BATCH:
            pass

    async def deliver(self, _: World, delivery_id: str) -> datetime | None:
        """Answers when to try again. A death between the receiver's yes and our record of it sends it twice, with the
        same `webhook-id`.
        """
        attempt = await self._world.database.run(webhooks.to_send, delivery_id)
        if attempt is None:
            return None
        endpoint_id = attempt.endpoint.id
        if self._busy.total() >= AT_ONCE_MAX or self._busy[endpoint_id] >= AT_ONCE_PER_ENDPOINT_MAX:
            return attempt.now + WAIT_FOR_A_HAND
        self._busy[endpoint_id] += 1
        try:
            sent = await self._send(attempt)
        finally:
            self._busy[endpoint_id] -= 1
            self._busy += Counter()
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
