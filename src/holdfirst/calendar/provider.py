# SPDX-License-Identifier: Apache-2.0
"""What we ask of a calendar provider. No answer in time is `ProviderUnavailable`: what was asked may have been done.

Whoever does not let us in any more raises `CalendarDenied`; that does not mend by asking again.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from holdfirst.calendar.calendar_event import CalendarEvent, Change, Occurrence


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """`secrets`: as the host gave them. `server`: what discovery found and need not find again."""

    secrets: Mapping[str, str]
    server: Mapping[str, str] = {}
    owners: Sequence[str] = ()
    """The host's own addresses, in lower case: whose "declined" counts."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """One calendar. `time_zone`: in which its dates and its times without a zone are read."""

    access: Access
    ref: str
    time_zone: str


class FoundCalendar(msgspec.Struct, frozen=True, kw_only=True):
    ref: str
    name: str
    time_zone: str | None
    writable: bool


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What is there to connect; `server` and `owners` go into the next `Access`."""

    calendars: Sequence[FoundCalendar]
    server: Mapping[str, str] = {}
    owners: Sequence[str] = ()


class Busy(msgspec.Struct, frozen=True):
    """What takes time in a window, our own events included; `notes`: what could not be understood."""

    occurrences: Sequence[Occurrence]
    notes: Sequence[str] = ()


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """Since `token`. `removed` are hints: a server may be mistaken. `whole`: everything there is, so that what is not
    among `changed` and was not `known` to be unchanged is gone.
    """

    changed: Sequence[Change]
    removed: Sequence[str]
    token: str | None
    whole: bool
    unchanged: Sequence[str] = ()
    notes: Sequence[str] = ()


class Own(msgspec.Struct, frozen=True):
    """An event that bears our marker."""

    uid: str
    ref: str
    etag: str


class CalendarProvider(Protocol):
    """One company, or one protocol. Every call may be repeated."""

    name: str

    async def discover(self, access: Access) -> Found:
        """Which calendars this account has."""
        ...

    async def busy(self, place: Place, start: datetime, end: datetime) -> Busy:
        """What the calendar says now, never from a store of ours."""
        ...

    async def write(self, place: Place, event: CalendarEvent, etag: str | None) -> str:
        """There once, as it is here, however often it is asked. Answers the new etag.

        `etag`: of what we last wrote; None: not written, or not known to be. Raises `EventGone` where it was there and
        has been taken away.
        """
        ...

    async def delete(self, place: Place, uid: str, etag: str | None) -> None:
        """Not there, whether or not it was."""
        ...

    async def exists(self, place: Place, uid: str) -> bool:
        """Whether our event is really there: what a sync says of a removal is asked again here."""
        ...

    async def changes(
        self, place: Place, token: str | None, known: Mapping[str, str], window: tuple[datetime, datetime]
    ) -> Changes:
        """`token` None: all of it. `known`: ref → etag of what need not be sent again."""
        ...

    async def own(self, place: Place, marker: str) -> Sequence[Own]:
        """Every event whose uid begins with the marker."""
        ...


class ConsentProvider(Protocol):
    """A company whose host lets us in at a page of its own (OAuth 2)."""

    def consent_url(self, redirect_uri: str, state: str, challenge: str) -> str:
        """Where the host goes. `challenge`: of the verifier that `secrets_for` is given (RFC 7636, S256)."""
        ...

    async def secrets_for(self, code: str, redirect_uri: str, verifier: str) -> Mapping[str, str]:
        """What the host's consent is worth. Raises `CalendarDenied` where it is worth nothing."""
        ...


class EventGone(Exception):
    """Our event was there and somebody has taken it away."""
