# SPDX-License-Identifier: Apache-2.0
"""Microsoft Graph over HTTP: the access token, few questions at a time to a mailbox, waiting where that is asked for."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import msgspec

from holdfirst.calendar.provider import Access
from holdfirst.clock import monotonic
from holdfirst.errors import CalendarDenied, CalendarUnreadable, ProviderUnavailable
from holdfirst.providers.microsoft.login import MicrosoftClient, granted
from holdfirst.providers.outward import Answer, Outward
from holdfirst.providers.rest import Rest, told_to_wait

Json = dict[str, Any]

AT_ONCE_MAX = 3
"""Graph answers four requests of an app to one mailbox at the same time, and refuses the fifth. One is left for whoever
else uses this app registration, and for a first look at an account whose mailbox is not known yet.
"""
TRIES_MAX = 3
RENEWED_SECONDS_BEFORE = 120
PREFER = 'IdType="ImmutableId", outlook.timezone="UTC", outlook.body-content-type="text"'
"""Ids that stay what they are when an event is moved to another calendar; times in UTC; texts without HTML."""


class Refused(CalendarUnreadable):
    """Graph answered, and the answer is no. `code`: Graph's own name for why."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"Microsoft answered {status} {code}: {message[:200]}")
        self.status, self.code = status, code


class Token(msgspec.Struct, frozen=True):
    text: str
    good_until: float


class Mailbox:
    """What all who ask one mailbox share in this process; with the others it takes turns."""

    def __init__(self) -> None:
        self.turns = asyncio.Semaphore(AT_ONCE_MAX)
        self.renewing = asyncio.Lock()
        self.rest = Rest("Microsoft")


class Graph:
    """Made once. `mailbox` in what discovery found names whose turns are counted together."""

    def __init__(self, outward: Outward, client: MicrosoftClient) -> None:
        self._outward = outward
        self._client = client
        self._tokens: dict[str, Token] = {}
        self._mailboxes: dict[str, Mailbox] = {}

    async def get(self, access: Access, path: str, query: Mapping[str, object] | None = None) -> Json:
        return readable(await self.ask(access, "GET", path + _query(query or {})))

    async def pages(
        self, access: Access, path: str, query: Mapping[str, object] | None = None, size: int | None = None
    ) -> tuple[list[Json], str | None]:
        """Every page of a list; and where a delta goes on, which stands on the last one alone."""
        items: list[Json] = []
        url = path + _query(query or {})
        paged = {} if size is None else {"prefer": f"{PREFER}, odata.maxpagesize={size}"}
        while True:
            told = readable(await self.ask(access, "GET", url, headers=paged))
            items += told.get("value", ())
            if "@odata.nextLink" not in told:
                return items, told.get("@odata.deltaLink")
            url = told["@odata.nextLink"]

    async def ask(
        self,
        access: Access,
        method: str,
        url: str,
        body: Json | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """What Graph answers below 500. A link of Graph's own is followed as it is, if it leads to Graph."""
        mailbox = self._mailbox(access)
        for attempt in range(TRIES_MAX):
            await mailbox.rest.over()
            async with mailbox.turns:
                answer = await self._sent(access, method, url, body, headers or {})
            if answer.status in (429, 503):
                mailbox.rest.begin(told_to_wait(answer, otherwise=2.0**attempt))
            elif answer.status >= 500:
                raise ProviderUnavailable(f"Microsoft answered {answer.status}")
            else:
                return answer
        raise ProviderUnavailable("Microsoft is asked too much of this mailbox")

    async def _sent(
        self, access: Access, method: str, url: str, body: Json | None, headers: Mapping[str, str]
    ) -> Answer:
        """401 is met with one fresh access token."""
        full = url if "://" in url else self._client.api + url
        if not full.startswith(f"{self._client.api}/"):
            raise ProviderUnavailable("Microsoft's answer leads elsewhere")
        content = b"" if body is None else msgspec.json.encode(body)
        sent = {"prefer": PREFER} | dict(headers)
        if body is not None:
            sent["content-type"] = "application/json"
        refused: str | None = None
        for _ in range(2):
            token = await self._token(access, refused)
            sent["authorization"] = f"Bearer {token}"
            async with access.turn(_name_of(access), AT_ONCE_MAX):
                answer = await self._outward.ask(method, full, headers=sent, content=content)
            if answer.status != 401:
                return answer
            refused = token
        raise CalendarDenied("Microsoft does not accept the access token; connect again")

    async def renew_access(self, access: Access) -> timedelta:
        refresh = access.secrets["refresh_token"]
        known = self._tokens.get(refresh)
        await self._token(access, known.text if known is not None else None)
        return timedelta(seconds=self._tokens[refresh].good_until + RENEWED_SECONDS_BEFORE - monotonic())

    async def _token(self, access: Access, refused: str | None) -> str:
        """Kept until shortly before it runs out; renewed by one at a time, and the refresh token with it."""
        refresh = access.secrets["refresh_token"]
        async with self._mailbox(access).renewing:
            known = self._tokens.get(refresh)
            if known is not None and known.text != refused and monotonic() < known.good_until:
                return known.text
            grant = await granted(
                self._outward, self._client, {"grant_type": "refresh_token", "refresh_token": refresh}
            )
            latest = grant.refresh_token or refresh
            now = monotonic()
            token = Token(grant.access_token, now + grant.expires_in - RENEWED_SECONDS_BEFORE)
            self._tokens = {name: one for name, one in self._tokens.items() if one.good_until > now}
            # Whoever read the connection a moment ago still comes with the one before.
            self._tokens |= {refresh: token, latest: token}
            if latest != refresh and access.keep is not None:
                await access.keep({"refresh_token": latest})
            return token.text

    def _mailbox(self, access: Access) -> Mailbox:
        return self._mailboxes.setdefault(_name_of(access), Mailbox())


def _name_of(access: Access) -> str:
    """Two connections to one mailbox are counted together, where its address is told. The refresh token changes with each use."""
    return access.server.get("mailbox") or access.name or access.secrets["refresh_token"]


def readable(answer: Answer) -> Json:
    """The JSON of a success. Raises `Refused` for any other answer."""
    if answer.status not in (200, 201):
        raise refusal(answer)
    return _json(answer)


def refusal(answer: Answer) -> Refused:
    fault: Json = {}
    with suppress(ProviderUnavailable):
        told = _json(answer).get("error")
        fault = told if isinstance(told, dict) else {}
    return Refused(answer.status, str(fault.get("code", "")), str(fault.get("message", "")))


def _json(answer: Answer) -> Json:
    try:
        told = msgspec.json.decode(answer.body)
    except msgspec.DecodeError as error:
        raise ProviderUnavailable("Microsoft's answer cannot be read") from error
    if not isinstance(told, dict):
        raise ProviderUnavailable("Microsoft's answer cannot be read")
    return told


def _query(query: Mapping[str, object]) -> str:
    """OData's own names begin with a dollar sign and stay as they are."""
    parts = [f"{name}={quote(str(value), safe='')}" for name, value in query.items()]
    return f"?{'&'.join(parts)}" if parts else ""
