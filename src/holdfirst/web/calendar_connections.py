# SPDX-License-Identifier: Apache-2.0
"""`/v1/calendar-connections`: a host's calendar accounts. Credentials come in, are sealed, and are never told again."""

from functools import partial
from typing import Any

import msgspec
from msgspec import UNSET

from holdfirst import ids
from holdfirst.effects import connect_calendar, sync_calendar
from holdfirst.effects.consent import consent_url
from holdfirst.flows import calendar_connections
from holdfirst.flows.calendar_connections import Roles, WantedConnection
from holdfirst.flows.keyed import Replay
from holdfirst.refusal import Code, Refusal, invalid
from holdfirst.store import calendars
from holdfirst.store.calendars import Calendar, Connection, ConnectionStatus
from holdfirst.store.database import Tx
from holdfirst.web import paging
from holdfirst.web.answers import Page
from holdfirst.web.calendar_forms import (
    CalendarAnswer,
    ConnectionAnswer,
    ConnectionForm,
    ConnectionPatch,
    ConnectionQuery,
    calendar_answer,
    connection_answer,
    other_secrets_of,
    secrets_of,
)
from holdfirst.web.hosts import REPLAYED
from holdfirst.web.operation import SECRET, Answer, Call, Empty, Operation, unless_refused
from holdfirst.web.problems import Problem
from holdfirst.web.requests import check_urls


async def create_connection(call: Call) -> Answer:
    form: ConnectionForm = call.body
    check_urls(return_url=form.return_url)
    secrets, field = unless_refused(secrets_of(form, call.world.calendars))
    asks_the_host = not secrets.keys() - {"return_url"}
    if asks_the_host and form.provider not in call.world.consents:
        raise Problem(invalid(field, "is needed: this server cannot send a host to that company's page"))
    connection_id = ids.make("con")
    wanted = WantedConnection(
        id=connection_id,
        account_id=call.who.account_id,
        host_id=form.host,
        provider=form.provider,
        sealed=call.world.key_ring.seal(msgspec.json.encode(secrets), connection_id),
        when_broken=form.when_broken,
        when_moved=form.when_moved,
        when_deleted=form.when_deleted,
    )

    async def work() -> Connection | Refusal:
        if asks_the_host:
            return await call.world.database.run(calendar_connections.connect, wanted, None)
        return await connect_calendar.connect(call.world, wanted, secrets, field)

    done = await call.through(work, lambda made: (201, {"id": made.id}))
    if isinstance(done, Replay):
        return Answer(await _told(call, done.result["id"]), done.http_status, REPLAYED)
    return Answer(await _told(call, done.id), 201)


async def list_connections(call: Call) -> Answer:
    asked = call.asked(ConnectionQuery)
    found = await call.world.database.single(
        calendars.connections,
        call.who.account_id,
        host_id=asked.host,
        before=paging.before(asked, "con"),
        limit=paging.one_more(asked),
    )
    shown, more = paging.page(asked, found)
    return Answer(paging.content([await _told(call, one.id) for one in shown], more))


async def get_connection(call: Call) -> Answer:
    return Answer(await _told(call, call.path["connection"]))


async def list_calendars(call: Call) -> Answer:
    _, found = await _load(call, call.path["connection"])
    return Answer(paging.content([calendar_answer(one) for one in found], None))


async def change_connection(call: Call) -> Answer:
    patch: ConnectionPatch = call.body
    connection, _ = await _load(call, call.path["connection"])
    other = other_secrets_of(connection.provider, patch)
    if other is not None:
        secrets, field = unless_refused(other)
        unless_refused(await connect_calendar.reconnect(call.world, connection, secrets, field))
    roles = Roles(
        blocking=patch.blocking,
        destination=None if patch.destination is UNSET else patch.destination or "",
        when_broken=patch.when_broken,
        when_moved=patch.when_moved,
        when_deleted=patch.when_deleted,
    )
    await call.run(calendar_connections.change, call.who.account_id, connection.id, roles)
    return Answer(await _told(call, connection.id))


async def sync_connection(call: Call) -> Answer:
    """Read at once what is in use; what went wrong stands in the answer."""
    connection, found = await _load(call, call.path["connection"])

    async def work() -> Connection | Refusal:
        await sync_calendar.sync_all(call.world, connection, found)
        return connection

    done = await call.through(work, lambda _: (200, {"id": connection.id}))
    return Answer(await _told(call, connection.id), 200, REPLAYED if isinstance(done, Replay) else {})


async def delete_connection(call: Call) -> Answer:
    await call.run(calendar_connections.disconnect, call.who.account_id, call.path["connection"])
    return Answer(status=204)


async def _told(call: Call, connection_id: str) -> ConnectionAnswer:
    connection, found = await _load(call, connection_id)
    asks = connection.status is not ConnectionStatus.ACTIVE and connection.provider in call.world.consents
    url = consent_url(call.world, connection) if asks else None
    return connection_answer(connection, found, livemode=call.who.livemode, authorize_url=url)


async def _load(call: Call, connection_id: str) -> tuple[Connection, list[Calendar]]:
    return await call.run(_read, call.who.account_id, connection_id)


async def _read(tx: Tx, account_id: str, connection_id: str) -> tuple[Connection, list[Calendar]] | Refusal:
    connection = await calendars.load_connection(tx, connection_id)
    if connection is None or connection.account_id != account_id:
        return calendar_connections.no_such_connection()
    return connection, await calendars.calendars_of(tx, connection_id)


_GONE = (Code.CALENDAR_CONNECTION_NOT_FOUND,)
_connection: Any = partial(
    Operation, who=SECRET, answer=ConnectionAnswer, missing=Code.CALENDAR_CONNECTION_NOT_FOUND
)
_ONE = "/v1/calendar-connections/{connection:str}"

OPERATIONS: list[Operation] = [
    _connection(
        method="POST",
        path="/v1/calendar-connections",
        summary="Connect a host's calendars",
        endpoint=create_connection,
        body=ConnectionForm,
        status=201,
        refusals=(Code.HOST_NOT_FOUND, Code.CALENDAR_UNREACHABLE),
    ),
    _connection(
        method="GET",
        path="/v1/calendar-connections",
        summary="List calendar connections",
        endpoint=list_connections,
        query=ConnectionQuery,
        answer=Page[ConnectionAnswer],
    ),
    _connection(
        method="GET", path=_ONE, summary="A calendar connection", endpoint=get_connection, refusals=_GONE
    ),
    _connection(
        method="PATCH",
        path=_ONE,
        summary="Change a calendar connection",
        endpoint=change_connection,
        body=ConnectionPatch,
        refusals=(*_GONE, Code.CALENDAR_UNREACHABLE),
    ),
    _connection(
        method="DELETE",
        path=_ONE,
        summary="Disconnect",
        endpoint=delete_connection,
        answer=None,
        status=204,
        refusals=_GONE,
    ),
    _connection(
        method="POST",
        path=f"{_ONE}/sync",
        summary="Read the calendars now",
        endpoint=sync_connection,
        body=Empty,
        refusals=_GONE,
    ),
    _connection(
        method="GET",
        path=f"{_ONE}/calendars",
        summary="The calendars of a connection",
        endpoint=list_calendars,
        answer=Page[CalendarAnswer],
        refusals=_GONE,
    ),
]
