# SPDX-License-Identifier: Apache-2.0
"""One call to Stripe: its client, its bounds, and what each error means.

Nothing is tried again here, save where Stripe says that the same key is being worked on: who calls has the truth
fetched first.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import httpx
import stripe
import structlog

from holdfirst.payment.provider import Credentials, Refused, Unknown

log = structlog.get_logger(__name__)
T = TypeVar("T")

API_VERSION = "2026-10-28.endive"
"""What the adapter was written and tested against, whatever the installed package would choose."""
API_URL = "https://api.stripe.com"
SECONDS_MAX = 10.0
IN_USE_TRIES = 8
IN_USE_WAIT_SECONDS = 0.15
REASON_LENGTH_MAX = 200


class NoAnswer(stripe.StripeError):
    """Time-out, broken connection: it may have been done."""


class TooMany(stripe.StripeError):
    """More on their books than we look through."""


class OverHttpx(stripe.HTTPClient):
    """Stripe's requests over the one HTTP client of this process; never retried by itself."""

    name = "httpx"

    def __init__(self, client: httpx.AsyncClient, seconds_max: float) -> None:
        super().__init__()
        self._client = client
        self._seconds_max = seconds_max

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], content: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        try:
            answer = await self._client.request(
                method, url, headers=dict(headers), content=content, timeout=self._seconds_max
            )
        except httpx.HTTPError as error:
            raise NoAnswer from error
        return answer.content, answer.status_code, answer.headers

    def sleep_async(self, secs: float) -> Awaitable[None]:
        return asyncio.sleep(secs)

    async def close_async(self) -> None:
        """Whoever made the client closes it."""


def client_for(http: OverHttpx, api_url: str, account: Credentials) -> stripe.StripeClient:
    return stripe.StripeClient(
        account.secrets["secret_key"],
        stripe_account=account.connected_account,
        stripe_version=API_VERSION,
        base_addresses={"api": api_url},
        max_network_retries=0,
        http_client=http,
    )


async def told(call: Callable[[], Awaitable[T]]) -> T | Refused | Unknown:
    """The call's answer, or what its error means for us."""
    for _ in range(IN_USE_TRIES):
        try:
            return await call()
        except stripe.APIError as error:
            if error.http_status != httpx.codes.CONFLICT:
                return _failed(error)
        except stripe.StripeError as error:
            return _meaning(error)
        await asyncio.sleep(IN_USE_WAIT_SECONDS)
    return Unknown("Stripe is still working on it")


def _failed(error: stripe.APIError) -> Unknown:
    """A 5xx may be kept under its key; Stripe says so when it repeats one, and only then another key is right."""
    headers = {name.lower(): value for name, value in dict(error.headers or {}).items()}
    return Unknown(f"HTTP {error.http_status}", key_spent=headers.get("idempotent-replayed") == "true")


def _meaning(error: stripe.StripeError) -> Refused | Unknown:
    match error:
        case NoAnswer():
            return Unknown("no answer")
        case TooMany():
            return Unknown("too many to look through")
        case stripe.RateLimitError():
            return Unknown("too many requests")
        case stripe.IdempotencyError():
            # The key was used for other parameters (by another version of this program, say).
            return Unknown("the key was used for another request", key_spent=True)
        case stripe.AuthenticationError() | stripe.PermissionError():
            # Never in Stripe's own words: they quote a part of the key.
            return Refused("the key was refused")
        case stripe.InvalidRequestError() | stripe.CardError():
            said = (error.user_message or error.code or "refused")[:REASON_LENGTH_MAX]
            return Refused(said)
        case _:
            log.warning("stripe_error_not_known", error=type(error).__name__, status=error.http_status)
            return Unknown(type(error).__name__)
