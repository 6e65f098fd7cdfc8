# SPDX-License-Identifier: Apache-2.0
"""Calls to Google on a host's behalf: with an access token that is kept fresh, and no more often than Google bears."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec

from holdfirst.calendar.provider import Access
from holdfirst.clock import monotonic
from holdfirst.errors import CalendarDenied, ProviderUnavailable
from holdfirst.providers.outward import Answer, Outward

API = "https://www.googleapis.com/calendar/v3"
TOKENS = "https://oauth2.googleapis.com/token"
RENEWED_SECONDS_BEFORE = 120
_NOT_CALLED = b"webhookUrlUnauthorized"
"""In an answer 401 that is about the address to be called, not about us."""
Json = dict[str, Any]


class GoogleClient(msgspec.Struct, frozen=True):
    """The operator's OAuth client, and where Google is."""

    client_id: str
    client_secret: str
    api: str = API
    tokens: str = TOKENS


class GoogleCalls:
    """Made once, for all accounts."""

    def __init__(self, outward: Outward, client: GoogleClient) -> None:
        self._outward = outward
        self._client = client
        self._tokens: dict[str, tuple[str, float]] = {}

    async def ask(
        self,
        access: Access,
        method: str,
        path: str,
        body: Json | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """401 is met with one fresh access token; asked to wait, we say that there was no answer."""
        content = b"" if body is None else msgspec.json.encode(body)
        typed = {} if body is None else {"content-type": "application/json"}
        for fresh in (False, True):
            sent = {"authorization": f"Bearer {await self._token(access, fresh=fresh)}", **typed}
            answer = await self._outward.ask(
                method, self._client.api + path, headers=sent | dict(headers or {}), content=content
            )
            if answer.status != 401 or _NOT_CALLED in answer.body:
                return _unless_told_to_wait(answer)
        raise CalendarDenied("Google does not accept the access token")

    async def _token(self, access: Access, *, fresh: bool) -> str:
        """Kept until shortly before it runs out."""
        refresh = access.secrets["refresh_token"]
        known = self._tokens.get(refresh)
        if known is not None and not fresh and monotonic() < known[1]:
            return known[0]
        told = await self.granted({"grant_type": "refresh_token", "refresh_token": refresh})
        token, seconds = str(told["access_token"]), float(told.get("expires_in", 3600))
        self._tokens[refresh] = (token, monotonic() + seconds - RENEWED_SECONDS_BEFORE)
        return token

    async def granted(self, form: Mapping[str, str]) -> Json:
        client = {"client_id": self._client.client_id, "client_secret": self._client.client_secret}
        answer = await self._outward.ask(
            "POST",
            self._client.tokens,
            headers={"content-type": "application/x-www-form-urlencoded"},
            content=urlencode(dict(form) | client).encode(),
        )
        if answer.status in (400, 401, 403):
            raise CalendarDenied(
                "Google has ended this grant; connect again (a consent screen in Testing ends grants after 7 days)"
            )
        if answer.status != 200:
            raise ProviderUnavailable(f"Google answered {answer.status}")
        return json_of(answer)


def _unless_told_to_wait(answer: Answer) -> Answer:
    limited = answer.status == 403 and b"ateLimit" in answer.body
    if limited or answer.status == 429 or answer.status >= 500:
        raise ProviderUnavailable(f"Google answered {answer.status}")
    return answer


def json_of(answer: Answer) -> Json:
    try:
        told = msgspec.json.decode(answer.body)
    except msgspec.DecodeError as error:
        raise ProviderUnavailable("Google's answer cannot be read") from error
    if not isinstance(told, dict):
        raise ProviderUnavailable("Google's answer cannot be read")
    return told


def refusal_of(answer: Answer) -> CalendarDenied:
    reason = ""
    if answer.body:
        told = json_of(answer).get("error")
        reason = str(told.get("message", ""))[:200] if isinstance(told, dict) else str(told)[:200]
    return CalendarDenied(f"Google answered {answer.status}: {reason}")
