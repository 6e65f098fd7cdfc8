# SPDX-License-Identifier: Apache-2.0
"""`/v1/hosts`: people whose time is reserved, and time of theirs that is taken elsewhere."""

from functools import partial
from typing import Any

from holdfirst.flows import hosts
from holdfirst.flows.keyed import Replay
from holdfirst.refusal import Code, Refusal, invalid
from holdfirst.reservation.event_type import Host
from holdfirst.store import catalog
from holdfirst.store.database import Tx
from holdfirst.web import paging
from holdfirst.web.answers import BusyAnswer, HostAnswer, Page, host_answer
from holdfirst.web.instants import z
from holdfirst.web.operation import SECRET, Answer, Call, Empty, Operation, Patch
from holdfirst.web.problems import Problem
from holdfirst.web.requests import Busy, Paging

REPLAYED = {"idempotency-replayed": "true"}


async def create_host(call: Call) -> Answer:
    async def work(tx: Tx) -> Host | Refusal:
        return await hosts.create_host(tx, call.who.account_id, call.body)

    done = await call.once(work, lambda host: (201, {"id": host.id}))
    if isinstance(done, Replay):
        return Answer(_told(call, await _load(call, done.result["id"])), done.http_status, REPLAYED)
    return Answer(_told(call, done), 201)


async def list_hosts(call: Call) -> Answer:
    asked = call.asked(Paging)
    found = await call.world.database.single(
        catalog.hosts,
        call.who.account_id,
        before=paging.before(asked, "hst"),
        limit=paging.one_more(asked),
    )
    shown, cursor = paging.page(asked, found)
    return Answer(paging.content([_told(call, host) for host in shown], cursor))


async def get_host(call: Call) -> Answer:
    return Answer(_told(call, await _load(call, call.path["host"])))


async def change_host(call: Call) -> Answer:
    changed = await call.run(hosts.change_host, call.who.account_id, call.path["host"], call.body)
    return Answer(_told(call, changed))


async def rotate_feed(call: Call) -> Answer:
    async def work(tx: Tx) -> Host | Refusal:
        return await hosts.rotate_feed(tx, call.who.account_id, call.path["host"])

    done = await call.once(work, lambda host: (200, {"id": host.id}))
    told = _told(call, await _load(call, call.path["host"]))
    return Answer(told, 200, REPLAYED if isinstance(done, Replay) else {})


async def delete_host(call: Call) -> Answer:
    await call.run(hosts.delete_host, call.who.account_id, call.path["host"])
    return Answer(status=204)


async def put_busy(call: Call) -> Answer:
    busy: Busy = call.body
    host, key = call.path["host"], _key(call)
    await call.run(hosts.put_busy, call.who.account_id, host, key, busy.start, busy.end)
    return Answer(BusyAnswer(host, key, z(busy.start), z(busy.end)))


async def delete_busy(call: Call) -> Answer:
    await call.run(hosts.delete_busy, call.who.account_id, call.path["host"], _key(call))
    return Answer(status=204)


def _key(call: Call) -> str:
    key = call.path["key"]
    if not 1 <= len(key) <= 200:
        raise Problem(invalid("key", "must have 1 to 200 characters"))
    return key


async def _load(call: Call, host_id: str) -> Host:
    host = await call.world.database.single(catalog.load_host, call.who.account_id, host_id)
    if host is None:
        raise Problem(hosts.no_such_host())
    return host


def _told(call: Call, host: Host) -> HostAnswer:
    token = call.world.key_ring.feed_token(host.id, host.feed_version)
    feed = f"{call.world.public_url}/calendars/{host.id}/{token}.ics"
    return host_answer(host, livemode=call.who.livemode, calendar_feed=feed)


_host: Any = partial(Operation, who=SECRET, answer=HostAnswer, missing=Code.HOST_NOT_FOUND)
_GONE = (Code.HOST_NOT_FOUND,)

OPERATIONS: list[Operation] = [
    _host(
        method="POST",
        path="/v1/hosts",
        summary="Add a host",
        endpoint=create_host,
        body=hosts.HostForm,
        status=201,
        refusals=(Code.SLUG_TAKEN,),
    ),
    _host(
        method="GET",
        path="/v1/hosts",
        summary="List hosts",
        endpoint=list_hosts,
        query=Paging,
        answer=Page[HostAnswer],
    ),
    _host(method="GET", path="/v1/hosts/{host:str}", summary="A host", endpoint=get_host, refusals=_GONE),
    _host(
        method="PATCH",
        path="/v1/hosts/{host:str}",
        summary="Change a host",
        endpoint=change_host,
        body=Patch(hosts.HostForm),
        refusals=(*_GONE, Code.SLUG_TAKEN),
    ),
    _host(
        method="DELETE",
        path="/v1/hosts/{host:str}",
        summary="Remove a host",
        endpoint=delete_host,
        answer=None,
        status=204,
        refusals=(*_GONE, Code.STILL_IN_USE),
    ),
    _host(
        method="POST",
        path="/v1/hosts/{host:str}/calendar-feed/rotate",
        summary="Give a host's feed another address; the one before opens nothing any more",
        endpoint=rotate_feed,
        body=Empty,
        refusals=_GONE,
    ),
    _host(
        method="PUT",
        path="/v1/hosts/{host:str}/busy/{key:str}",
        summary="Take time of a host that is used elsewhere",
        endpoint=put_busy,
        body=Busy,
        answer=BusyAnswer,
        refusals=_GONE,
    ),
    _host(
        method="DELETE",
        path="/v1/hosts/{host:str}/busy/{key:str}",
        summary="Give that time back",
        endpoint=delete_busy,
        answer=None,
        status=204,
        refusals=_GONE,
    ),
]
