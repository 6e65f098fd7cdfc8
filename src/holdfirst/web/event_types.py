# SPDX-License-Identifier: Apache-2.0
"""`/v1/event-types`: what hosts offer. A publishable key may read them."""

from functools import partial
from typing import Any

from holdfirst.flows import event_types
from holdfirst.flows.event_types import EventTypeForm
from holdfirst.flows.keyed import Replay
from holdfirst.refusal import Code, Refusal, invalid
from holdfirst.reservation.event_type import HOLD_SECONDS, EventType
from holdfirst.store import catalog
from holdfirst.store.database import Tx
from holdfirst.web import paging
from holdfirst.web.answers import EventTypeAnswer, Page, event_type_answer
from holdfirst.web.hosts import REPLAYED
from holdfirst.web.operation import READERS, SECRET, Answer, Call, Operation, Patch
from holdfirst.web.problems import Problem
from holdfirst.web.requests import Paging


async def create_event_type(call: Call) -> Answer:
    _check_hold_seconds(call, call.body.hold_seconds)

    async def work(tx: Tx) -> EventType | Refusal:
        return await event_types.create_event_type(tx, call.who.account_id, call.body)

    done = await call.once(work, lambda made: (201, {"id": made.id}))
    if isinstance(done, Replay):
        return Answer(_told(call, await _load(call, done.result["id"])), done.http_status, REPLAYED)
    return Answer(_told(call, done), 201)


async def list_event_types(call: Call) -> Answer:
    asked = call.asked(Paging)
    found = await call.world.database.single(
        catalog.event_types,
        call.who.account_id,
        before=paging.before(asked, "ety"),
        limit=paging.one_more(asked),
    )
    shown, cursor = paging.page(asked, found)
    return Answer(paging.content([_told(call, one) for one in shown], cursor))


async def get_event_type(call: Call) -> Answer:
    return Answer(_told(call, await _load(call, call.path["event_type"])))


async def change_event_type(call: Call) -> Answer:
    _check_hold_seconds(call, call.body.get("hold_seconds"))
    changed = await call.run(
        event_types.change_event_type, call.who.account_id, call.path["event_type"], call.body
    )
    return Answer(_told(call, changed))


async def delete_event_type(call: Call) -> Answer:
    await call.run(event_types.delete_event_type, call.who.account_id, call.path["event_type"])
    return Answer(status=204)


def _check_hold_seconds(call: Call, asked: object) -> None:
    """The operator's bounds hold for what an event type asks for; its default is cut to them when it is used."""
    least, most = call.world.limits.hold_seconds_min, call.world.limits.hold_seconds_max
    if isinstance(asked, int) and asked != HOLD_SECONDS and not least <= asked <= most:
        raise Problem(invalid("hold_seconds", f"must lie between {least} and {most}"))


async def _load(call: Call, name: str) -> EventType:
    found = await call.world.database.single(catalog.load_event_type, call.who.account_id, name)
    if found is None:
        raise Problem(event_types.no_such_event_type())
    return found


def _told(call: Call, event_type: EventType) -> dict[str, Any]:
    return event_type_answer(event_type, livemode=call.who.livemode, for_account=call.by_secret_key)


_type: Any = partial(Operation, who=SECRET, answer=EventTypeAnswer, missing=Code.EVENT_TYPE_NOT_FOUND)
_GONE = (Code.EVENT_TYPE_NOT_FOUND,)
_RULES = (Code.NO_PAYMENT_ACCOUNT, Code.PAYEE_AMBIGUOUS, Code.UNSAFE_CONFIRMATION, Code.SLUG_TAKEN)

OPERATIONS: list[Operation] = [
    _type(
        method="POST",
        path="/v1/event-types",
        summary="Add an event type",
        endpoint=create_event_type,
        body=EventTypeForm,
        status=201,
        refusals=_RULES,
    ),
    _type(
        method="GET",
        path="/v1/event-types",
        summary="List event types",
        endpoint=list_event_types,
        who=READERS,
        query=Paging,
        answer=Page[EventTypeAnswer],
    ),
    _type(
        method="GET",
        path="/v1/event-types/{event_type:str}",
        summary="An event type, by id or slug",
        endpoint=get_event_type,
        who=READERS,
        refusals=_GONE,
    ),
    _type(
        method="PATCH",
        path="/v1/event-types/{event_type:str}",
        summary="Change an event type",
        endpoint=change_event_type,
        body=Patch(EventTypeForm),
        refusals=(*_GONE, *_RULES),
    ),
    _type(
        method="DELETE",
        path="/v1/event-types/{event_type:str}",
        summary="Remove an event type; its reservations live on",
        endpoint=delete_event_type,
        answer=None,
        status=204,
        refusals=_GONE,
    ),
]
