# SPDX-License-Identifier: Apache-2.0
"""One CalDAV account over HTTP: its credentials, its verbs, and what its answers mean."""

import base64
from collections.abc import Mapping
from urllib.parse import urljoin

import msgspec

from holdfirst.calendar.provider import Access
from holdfirst.errors import CalendarDenied, ProviderUnavailable
from holdfirst.providers.caldav.multistatus import Multistatus, parse
from holdfirst.providers.outward import Answer, Outward, within
from holdfirst.providers.rest import Rest, told_to_wait

XML = "application/xml; charset=utf-8"
DONE = (200, 201, 204)
TURNS_MAX = 3


class Account(msgspec.Struct, frozen=True):
    """`rest`: what all who ask this account share."""

    outward: Outward
    access: Access
    rest: Rest

    @property
    def root(self) -> str:
        return self.access.secrets["url"]

    async def ask(
        self, method: str, url: str, content: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """401 raises `CalendarDenied`, 5xx and 429 `ProviderUnavailable`; what a 403 means depends on the question.
        Asked to wait, we wait a little, or say that there was no answer and ask nothing until then.
        """
        sent = {"authorization": self._basic, **(headers or {})}
        answer = await self._once(method, url, content, sent)
        for _ in range(TURNS_MAX - 1):
            if not _asks_to_wait(answer):
                break
            answer = await self._once(method, url, content, sent)
        if answer.status == 401:
            raise CalendarDenied("the name or the password is not accepted")
        if answer.status == 429 or answer.status >= 500:
            raise ProviderUnavailable(f"the server answered {answer.status}")
        return answer

    async def _once(self, method: str, url: str, content: bytes, headers: Mapping[str, str]) -> Answer:
        await self.rest.over()
        answer = await self.outward.ask(method, url, headers=headers, content=content)
        if _asks_to_wait(answer):
            self.rest.begin(told_to_wait(answer, otherwise=0.0))
        return answer

    async def look(self, method: str, url: str, content: bytes, depth: int) -> tuple[Multistatus, str]:
        """A question whose answer is a 207, all of it; with the URL that it came from in the end."""
        told, at = await self.look_at_part(method, url, content, depth)
        if told.cut:
            raise ProviderUnavailable("the server tells only a part")
        return told, at

    async def look_at_part(
        self, method: str, url: str, content: bytes, depth: int
    ) -> tuple[Multistatus, str]:
        """The same, where there is a way to ask for the rest."""
        answer = await self.ask(
            method, url, content, {"depth": str(depth), "content-type": XML, "prefer": "return=minimal"}
        )
        if answer.status != 207:
            raise Unanswered(answer)
        return parse(answer.body), answer.url

    def url_of(self, at: str, href: str) -> str:
        """A server may name another one of its own machines, and nobody else's."""
        return within(self.root, urljoin(at, href))

    @property
    def _basic(self) -> str:
        pair = f"{self.access.secrets.get('username', '')}:{self.access.secrets.get('password', '')}"
        return "Basic " + base64.b64encode(pair.encode()).decode()


def _asks_to_wait(answer: Answer) -> bool:
    return answer.status in (429, 503) and "retry-after" in answer.headers


class Unanswered(ProviderUnavailable):
    """Something else than the 207 that was asked for."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"the server answered {answer.status}")
        self.answer = answer
