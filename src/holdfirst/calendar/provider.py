# SPDX-License-Identifier: Apache-2.0
"""What we ask of a calendar provider. No answer in time is `ProviderUnavailable`: what was asked may have been done.

Whoever does not let us in any more raises `CalendarDenied`; that does not mend by asking again. Who only does not let us write
raises `CalendarRefused`, and is read like any other.
"""

import enum
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

import msgspec

from holdfirst.calendar.calendar_event import CalendarEvent, Change, Occurrence
from holdfirst.payment.provider import Notification

NOW = timedelta(0)
TakeTurn = Callable[[str, int], AbstractAsyncContextManager[None]]
"""A turn at a place that answers at most so many calls at once, counted over all processes."""


def _at_once(_place: str, _most: int) -> AbstractAsyncContextManager[None]:
    """For whoever is alone."""
    return nullcontext()


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """`secrets`: as the host gave them. `server`: what discovery found and need not find again.

    `keep`: for a company that exchanges a secret when it is used: called with the one that counts from now on. `name`: of
    the connection. `turn`: for a company that answers only so many calls at once: waited for before each.
    """

    secrets: Mapping[str, str]
    server: Mapping[str, str] = {}
    owners: Sequence[str] = ()
    """The host's own addresses, in lower case: whose "declined" counts."""
    keep: Callable[[Mapping[str, str]], Awaitable[None]] | None = None
    name: str = ""
    turn: TakeTurn = _at_once


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
    """What takes time in a window, our own events included; `notes`: what could not be understood.

    `age`, `problem`: how long ago this was true, and why nobody can say what is true now. `as_of`: of a copy, how old its
    publisher says it is.
    """

    occurrences: Sequence[Occurrence]
    notes: Sequence[str] = ()
    age: timedelta = NOW
    problem: str | None = None
    as_of: datetime | None = None


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """Since `token`. `removed` are hints: a server may be mistaken. `whole`: everything there is, so that what is not
    among `changed` and was not `known` to be unchanged is gone. `age`, `problem`: as in `Busy`.
    """

    changed: Sequence[Change]
    removed: Sequence[str]
    token: str | None
    whole: bool
    unchanged: Sequence[str] = ()
    notes: Sequence[str] = ()
    age: timedelta = NOW
    problem: str | None = None


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
        """There once, as it is here, however often it is asked. Answers the new etag; where the company names events
        itself, its name for this one stands first in it, before a space.

        `etag`: of what we last wrote; None: not written, or not known to be. Raises `EventGone` where it was there and
        has been taken away, or where its uid cannot be used here any more.
        """
        ...

    async def delete(self, place: Place, uid: str, etag: str | None) -> bool:
        """Not there, whether or not it was. Answers whether it was."""
        ...

    async def find(self, place: Place, uid: str) -> str | None:
        """The etag of our event as it is there now; None: it is not. What a sync says of a removal is asked again here,
        and what became of a write that was not answered.
        """
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


@runtime_checkable
class RenewingProvider(Protocol):
    """A company whose access runs out, and that gives other access for what the host gave us."""

    async def renew_access(self, access: Access) -> timedelta:
        """Other access, kept for the calls that follow; answers how long it lasts."""
        ...


class WantedWatch(msgspec.Struct, frozen=True, kw_only=True):
    """`id`: ours. `address`: where we are to be called, https. `secret`: what each call is to say, at most 64 characters.

    `until`: for how long, where the company grants so much.
    """

    id: str
    address: str
    secret: str
    until: datetime


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """A company's promise to call us when a calendar changes. `ref`, `resource`: its names for it, and for what it is about.

    `reached`: it has called the address already, and was answered.
    """

    ref: str
    resource: str = ""
    until: datetime
    reached: bool = False


class PushKind(enum.StrEnum):
    """What a call says. Whatever it says, what changed is only known by reading."""

    BEGINS = "begins"
    """The first call of a watch."""
    CHANGED = "changed"
    """Something is not as it was, or calls were lost."""
    RENEW = "renew"
    """It ends early unless it is renewed now."""
    ENDED = "ended"
    """There will be no more calls."""


class Push(msgspec.Struct, frozen=True, kw_only=True):
    """What one call says, and the secret that it came with; `ref`, `resource` where the call names them."""

    kind: PushKind
    secret: str
    ref: str = ""
    resource: str = ""


class Handshake(msgspec.Struct, frozen=True):
    """The company asks whether the address is ours: `echo` is answered, as plain text."""

    echo: str


class PushProvider(Protocol):
    """A company that calls us when a calendar changes. Its calls may be lost, late or doubled: each is a reason to read."""

    async def watch(self, place: Place, wanted: WantedWatch) -> Watch:
        """Raises `CannotWatch` where this calendar, or this address, is not to be had."""
        ...

    async def renew(self, place: Place, watch: Watch, until: datetime) -> Watch | None:
        """The same one, for longer. None: there is no such thing here, or it is gone; another one takes its place."""
        ...

    async def unwatch(self, place: Place, watch: Watch) -> None:
        """Not there, whether or not it was."""
        ...

    def read_push(self, notification: Notification) -> Handshake | Sequence[Push]:
        """What a call to a watch's address says; nothing, where it is not one of this company's. No I/O."""
        ...


class CannotWatch(Exception):
    """The company does not call that address, or not about that calendar; in words."""


class EventGone(Exception):
    """Our event was there and somebody has taken it away; or put it where we cannot reach it, and its uid with it."""
