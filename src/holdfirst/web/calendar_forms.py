# SPDX-License-Identifier: Apache-2.0
"""What comes in and goes out about calendar connections."""

from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from holdfirst.calendar.provider import CalendarProvider
from holdfirst.flows.calendar_connections import left_out
from holdfirst.refusal import Refusal, invalid
from holdfirst.reservation.shape import problem_of
from holdfirst.reservation.text import Line, Url, url_fault
from holdfirst.store.calendars import (
    Calendar,
    Connection,
    ConnectionStatus,
    WhenBroken,
    WhenDeleted,
    WhenMoved,
)
from holdfirst.web.instants import Instant, z, z_or_none
from holdfirst.web.requests import Closed, Paging

_WITH_CONSENT = ("google", "microsoft")
Password = Annotated[str, Meta(min_length=1, max_length=1000)]
Given = Annotated[dict[str, Annotated[str, Meta(max_length=8000)]], Meta(max_length=20)]
"""What opens an account, as its provider's page in the docs says."""


class Credentials(Closed, frozen=True, kw_only=True):
    """Of a CalDAV account. `password`: one made for this purpose, where the company offers such."""

    url: Url
    username: Line
    password: Password


class KeyFile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The members of Google's JSON file that count. `subject`: for whom it acts in a Workspace; else `calendar`: one that
    was shared with its address.
    """

    client_email: Line
    private_key: Annotated[str, Meta(min_length=1, max_length=8000)]
    private_key_id: Line = ""
    subject: Line = ""
    calendar: Line = ""


class ConnectionForm(Closed, frozen=True, kw_only=True):
    """`credentials` for `caldav`, and for a service account of `google`; `url` for `ics`; `refresh_token` (or the link in
    the answer) for the others.
    """

    host: str
    provider: Line
    credentials: Given | None = None
    url: Url | None = None
    refresh_token: Password | None = None
    return_url: Url | None = None
    when_broken: WhenBroken = WhenBroken.CLOSE
    when_moved: WhenMoved = WhenMoved.FLAG
    when_deleted: WhenDeleted = WhenDeleted.FLAG


class ConnectionPatch(Closed, frozen=True, kw_only=True):
    """`destination` null: none of this connection's calendars receives reservations. `credentials`, `url`,
    `refresh_token`: as for a new connection to this provider.
    """

    blocking: Annotated[list[str], Meta(max_length=100)] | None = None
    destination: str | UnsetType | None = UNSET
    credentials: Given | None = None
    url: Url | None = None
    refresh_token: Password | None = None
    when_broken: WhenBroken | None = None
    when_moved: WhenMoved | None = None
    when_deleted: WhenDeleted | None = None


class ConnectionQuery(Paging, frozen=True, kw_only=True):
    host: str | None = None


class Freshness(msgspec.Struct):
    """As of when what is known of the calendars in use is true (of the oldest one); null: not read yet."""

    read_at: Instant | None
    answered_at: Instant | None


class Problem(msgspec.Struct):
    message: str
    since: Instant | None


class ConnectionAnswer(msgspec.Struct, kw_only=True):
    """`locks`: holds are written into each blocking calendar; false: some can only be read. `notes`: what is worth knowing."""

    id: str
    livemode: bool
    host: str
    provider: str
    status: ConnectionStatus
    locks: bool
    blocking: Sequence[str]
    destination: str | None
    freshness: Freshness
    last_error: Problem | None
    notes: Sequence[str]
    when_broken: WhenBroken
    when_moved: WhenMoved
    when_deleted: WhenDeleted
    created_at: Instant
    authorize_url: str | UnsetType = UNSET


class CalendarAnswer(msgspec.Struct, kw_only=True):
    id: str
    name: str
    time_zone: str
    writable: bool
    blocking: bool
    destination: bool
    read_at: Instant | None
    notes: Sequence[str]


def secrets_of(
    form: ConnectionForm, known: Mapping[str, CalendarProvider]
) -> tuple[dict[str, str], str] | Refusal:
    """What opens the account, and which field of the request it came in."""
    if form.provider not in known:
        return invalid("provider", f"must be one of: {', '.join(sorted(known))}")
    found = _secrets(form.provider, form)
    if isinstance(found, Refusal) or form.return_url is None or form.provider not in _WITH_CONSENT:
        return found
    return found[0] | {"return_url": form.return_url}, found[1]


def other_secrets_of(provider: str, patch: ConnectionPatch) -> tuple[dict[str, str], str] | Refusal | None:
    """None: what opens the account stays as it is."""
    if patch.credentials is None and patch.url is None and patch.refresh_token is None:
        return None
    if provider in _WITH_CONSENT and patch.refresh_token is None and patch.credentials is None:
        return invalid("refresh_token", f"is what opens an account at {provider}")
    return _secrets(provider, patch)


def _secrets(provider: str, form: ConnectionForm | ConnectionPatch) -> tuple[dict[str, str], str] | Refusal:
    match provider:
        case "ics":
            if form.url is None:
                return invalid("url", "is needed for a feed")
            return {"url": form.url}, "url"
        case name if name in _WITH_CONSENT:
            if form.credentials is not None:
                return secrets_in(name, form.credentials)
            # Without a token: the host is sent to the company's own page.
            token = {} if form.refresh_token is None else {"refresh_token": form.refresh_token}
            return token, "refresh_token"
        case _:
            if form.credentials is None:
                return invalid("credentials", "are needed for a CalDAV account")
            return secrets_in(provider, form.credentials)


def secrets_in(provider: str, given: dict[str, str]) -> tuple[dict[str, str], str] | Refusal:
    """What of the credentials opens an account of this provider."""
    if provider not in ("caldav", "google"):
        return invalid("credentials", f"do not open an account of {provider}")
    try:
        if provider == "google":
            return msgspec.to_builtins(msgspec.convert(given, KeyFile)), "credentials"
        credentials = msgspec.convert(given, Credentials)
    except msgspec.ValidationError as error:
        return invalid(*problem_of(error, "credentials"))
    if (fault := url_fault(credentials.url)) is not None:
        return invalid("credentials.url", fault)
    return msgspec.structs.asdict(credentials), "credentials"


def connection_answer(
    connection: Connection, calendars: Sequence[Calendar], *, livemode: bool, authorize_url: str | None
) -> ConnectionAnswer:
    used = [one for one in calendars if one.in_use]
    read = [one.read_at for one in used]
    known = [one for one in read if one is not None]
    # A connection may work, and one of its calendars take nothing.
    refusing = next((one for one in used if one.write_problem is not None), None)
    problem, since = connection.problem, connection.problem_since
    if problem is None and refusing is not None:
        problem, since = f"{refusing.name}: {refusing.write_problem}", refusing.write_problem_since
    return ConnectionAnswer(
        id=connection.id,
        livemode=livemode,
        host=connection.host_id,
        provider=connection.provider,
        status=connection.status,
        locks=bool(used) and all(one.writable for one in used if one.blocking),
        blocking=[one.id for one in used if one.blocking],
        destination=next((one.id for one in used if one.destination), None),
        freshness=Freshness(
            z(min(known)) if known and len(known) == len(read) else None, z_or_none(connection.answered_at)
        ),
        last_error=None if problem is None else Problem(problem, z_or_none(since)),
        notes=[note for note in (left_out(calendars),) if note is not None],
        when_broken=connection.when_broken,
        when_moved=connection.when_moved,
        when_deleted=connection.when_deleted,
        created_at=z(connection.created_at),
        authorize_url=UNSET if authorize_url is None else authorize_url,
    )


def calendar_answer(calendar: Calendar) -> CalendarAnswer:
    return CalendarAnswer(
        id=calendar.id,
        name=calendar.name,
        time_zone=calendar.time_zone,
        writable=calendar.writable,
        blocking=calendar.blocking,
        destination=calendar.destination,
        read_at=z_or_none(calendar.read_at),
        notes=[*filter(None, (calendar.read_problem, calendar.write_problem)), *calendar.notes],
    )
