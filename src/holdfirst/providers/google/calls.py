# SPDX-License-Identifier: Apache-2.0
"""Calls to Google on a host's behalf: with an access token that is kept fresh, and no more often than Google bears."""

import hashlib
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import msgspec

from holdfirst.calendar.provider import Access
from holdfirst.clock import monotonic, wall
from holdfirst.errors import CalendarDenied, CalendarUnreadable, ProviderUnavailable
from holdfirst.providers.google.assertion import GRANT, assertion
from holdfirst.providers.google.pace import REST_SECONDS_MAX, Pace
from holdfirst.providers.outward import Answer, Outward

API = "https://www.googleapis.com/calendar/v3"
TOKENS = "https://oauth2.googleapis.com/token"
SCOPES = (
    "https://www.googleapis.com/auth/calendar.events "
    "https://www.googleapis.com/auth/calendar.calendarlist.readonly"
)
ADDING = "https://www.googleapis.com/auth/calendar.calendarlist"
"""Of a service account that stands in for nobody: a calendar that was shared with it is not in its list by itself."""
RENEWED_SECONDS_BEFORE = 120
TURNS_MAX = 3
_PASSES_SOON = ("rateLimitExceeded", "userRateLimitExceeded")
"""Of all limits the ones that are about the last seconds; a day's quota, or a project's, is not waited for."""
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
        self._paces: dict[str, Pace] = {}

    async def ask(
        self,
        access: Access,
        method: str,
        path: str,
        body: Json | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """401 is met with one fresh access token; asked to wait, we wait a little, or say that there was no answer."""
        pace = self._paces.setdefault(_account(access), Pace())
        for _ in range(TURNS_MAX):
            await pace.turn()
            answer = await self._answered(access, method, path, body, headers)
            limit = _limit(answer)
            if limit is None:
                pace.answered()
                return _unless_broken(answer)
            if limit not in _PASSES_SOON:
                pace.refused(str(int(REST_SECONDS_MAX)))
                raise ProviderUnavailable(
                    f"Google's limits, or this server's project there: {_reason(answer)}"
                )
            pace.refused(answer.headers.get("retry-after", ""))
        raise ProviderUnavailable("Google asks us to call less often")

    async def _answered(
        self,
        access: Access,
        method: str,
        path: str,
        body: Json | None,
        headers: Mapping[str, str] | None,
    ) -> Answer:
        content = b"" if body is None else msgspec.json.encode(body)
        typed = {} if body is None else {"content-type": "application/json"}
        for fresh in (False, True):
            sent = {"authorization": f"Bearer {await self._token(access, fresh=fresh)}", **typed}
            answer = await self._outward.ask(
                method, self._client.api + path, headers=sent | dict(headers or {}), content=content
            )
            if answer.status != 401 or _NOT_CALLED in answer.body:
                return answer
        raise CalendarDenied("Google does not accept the access token")

    async def renew_access(self, access: Access) -> timedelta:
        await self._token(access, fresh=True)
        good_until = self._tokens[_account(access)][1] + RENEWED_SECONDS_BEFORE
        return timedelta(seconds=good_until - monotonic())

    async def _token(self, access: Access, *, fresh: bool) -> str:
        """Kept until shortly before it runs out."""
        account = _account(access)
        known = self._tokens.get(account)
        if known is not None and not fresh and monotonic() < known[1]:
            return known[0]
        told = await self.granted(self._grant(access.secrets))
        token, seconds = str(told["access_token"]), float(told.get("expires_in", 3600))
        self._tokens[account] = (token, monotonic() + seconds - RENEWED_SECONDS_BEFORE)
        return token

    def _grant(self, secrets: Mapping[str, str]) -> Mapping[str, str]:
        if "private_key" not in secrets:
            return {"grant_type": "refresh_token", "refresh_token": secrets["refresh_token"]}
        # The administrator who let it stand in for others let it do just what a host would be asked for.
        scope = SCOPES if secrets.get("subject") else f"{SCOPES} {ADDING}"
        return {
            "grant_type": GRANT,
            "assertion": assertion(secrets, scope, self._client.tokens, int(wall())),
        }

    async def granted(self, form: Mapping[str, str]) -> Json:
        client = {"client_id": self._client.client_id, "client_secret": self._client.client_secret}
        if form["grant_type"] == GRANT:
            client = {}
        elif not self._client.client_id:
            raise ProviderUnavailable(
                "this server has no OAuth client at Google (HOLDFIRST_GOOGLE_CLIENT_ID)"
            )
        answer = await self._outward.ask(
            "POST",
            self._client.tokens,
            headers={"content-type": "application/x-www-form-urlencoded"},
            content=urlencode(dict(form) | client).encode(),
        )
        if answer.status == 200:
            return json_of(answer)
        raise _not_granted(answer, by_assertion=not client)


def _account(access: Access) -> str:
    """Whose calls are counted together, and open with one token."""
    secrets = access.secrets
    named = (
        secrets["client_email"] + secrets["private_key"]
        if "private_key" in secrets
        else secrets["refresh_token"]
    )
    return hashlib.sha256(f"{named}|{secrets.get('subject', '')}".encode()).hexdigest()


def _limit(answer: Answer) -> str | None:
    """Google's name for the limit that was met: 429, or a 403 of its domain `usageLimits`, where also stands that the operator's
    project may not use Calendar at all. None: none was.
    """
    if answer.status == 429:
        return _PASSES_SOON[0]
    if answer.status != 403:
        return None
    error = json_of(answer).get("error")
    named = error.get("errors", ()) if isinstance(error, dict) else ()
    return next((str(one.get("reason")) for one in named if one.get("domain") == "usageLimits"), None)


def _not_granted(answer: Answer, *, by_assertion: bool) -> CalendarDenied | ProviderUnavailable:
    """Only what the host can mend is "denied": a grant that has ended, or a service account's own word. A client secret that was
    changed is the operator's to mend.
    """
    if answer.status not in (400, 401, 403):
        return ProviderUnavailable(f"Google answered {answer.status}")
    if by_assertion:
        return CalendarDenied(f"Google does not take this service account's word: {_reason(answer)}")
    if json_of(answer).get("error") == "invalid_grant":
        return CalendarDenied(
            "Google has ended this grant; connect again (a consent screen in Testing ends grants after 7 days)"
        )
    return ProviderUnavailable(
        "Google does not accept this server's OAuth client (HOLDFIRST_GOOGLE_CLIENT_ID,"
        f" HOLDFIRST_GOOGLE_CLIENT_SECRET): {_reason(answer)}"
    )


def _unless_broken(answer: Answer) -> Answer:
    if answer.status >= 500:
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


def refusal_of(answer: Answer) -> CalendarUnreadable:
    return CalendarUnreadable(reason_of(answer))


def reason_of(answer: Answer) -> str:
    return f"Google answered {answer.status}: {_reason(answer)}"


def _reason(answer: Answer) -> str:
    if not answer.body:
        return ""
    told = json_of(answer)
    error = told.get("error")
    if isinstance(error, dict):
        return str(error.get("message", ""))[:200]
    return f"{error} {told.get('error_description', '')}".strip()[:200]
