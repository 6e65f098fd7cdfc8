# SPDX-License-Identifier: Apache-2.0
"""`/v1/webhook-endpoints`: where an account is told what happened. The secret is told when it is made, and never again."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from holdfirst import ids
from holdfirst.effects.call_webhook import make_secret
from holdfirst.flows import webhooks
from holdfirst.flows.events import EventName
from holdfirst.flows.keyed import Replay
from holdfirst.refusal import Code, Refusal
from holdfirst.reservation.text import Url
from holdfirst.store import webhooks as stored
from holdfirst.store.database import Tx
from holdfirst.store.webhooks import Delivery, DeliveryStatus, Endpoint
from holdfirst.web import paging
from holdfirst.web.answers import Page
from holdfirst.web.hosts import REPLAYED
from holdfirst.web.instants import NOT_YET, Instant, z, z_or_none
from holdfirst.web.operation import SECRET, Answer, Call, Empty, Operation
from holdfirst.web.requests import Closed, Paging, check_urls

Types = Annotated[list[EventName], Meta(max_length=50)]


class EndpointForm(Closed, frozen=True, kw_only=True):
    """`types` empty or left out: all of them, those to come too."""

    url: Url
    types: Types = msgspec.field(default_factory=list)


class EndpointPatch(Closed, frozen=True, kw_only=True):
    url: Url | None = None
    types: Types | None = None


class EndpointAnswer(msgspec.Struct, kw_only=True):
    """`secret` where it was made just now, and nowhere else."""

    id: str
    livemode: bool
    url: str
    types: Sequence[str]
    created_at: Instant
    secret: str | UnsetType = UNSET


class DeliveryAnswer(msgspec.Struct, kw_only=True):
    """`attempts` since it was last wished for; `error`: why there is no status."""

    id: str
    event: str
    type: str
    status: DeliveryStatus
    attempts: int
    created_at: Instant
    attempted_at: Instant | None
    next_attempt_at: Instant | None
    response_status: int | None
    error: str | None


async def create_endpoint(call: Call) -> Answer:
    form: EndpointForm = call.body
    check_urls(url=form.url)
    endpoint_id, secret = ids.make("whe"), make_secret()
    wanted = Endpoint(
        id=endpoint_id,
        account_id=call.who.account_id,
        url=form.url,
        types=_distinct(form.types),
        sealed_secret=call.world.key_ring.seal(secret.encode(), endpoint_id),
        created_at=NOT_YET,
    )

    async def work(tx: Tx) -> Endpoint | Refusal:
        return await webhooks.create_endpoint(tx, wanted)

    done = await call.once(work, lambda made: (201, {"id": made.id}))
    return await _stated(call, done, secret, 201)


async def list_endpoints(call: Call) -> Answer:
    """Few, so all of them are one page, oldest first."""
    found = await call.world.database.single(stored.endpoints, call.who.account_id)
    return Answer(paging.content([_told(call, one) for one in found], None))


async def get_endpoint(call: Call) -> Answer:
    return Answer(_told(call, await _load(call, call.path["endpoint"])))


async def change_endpoint(call: Call) -> Answer:
    patch: EndpointPatch = call.body
    check_urls(url=patch.url)
    types = None if patch.types is None else _distinct(patch.types)
    changed = await call.run(
        webhooks.change_endpoint, call.who.account_id, call.path["endpoint"], patch.url, types
    )
    return Answer(_told(call, changed))


async def rotate_secret(call: Call) -> Answer:
    endpoint_id, secret = call.path["endpoint"], make_secret()
    sealed = call.world.key_ring.seal(secret.encode(), endpoint_id)

    async def work(tx: Tx) -> Endpoint | Refusal:
        return await webhooks.rotate_secret(tx, call.who.account_id, endpoint_id, sealed)

    done = await call.once(work, lambda changed: (200, {"id": changed.id}))
    return await _stated(call, done, secret, 200)


async def delete_endpoint(call: Call) -> Answer:
    await call.run(webhooks.delete_endpoint, call.who.account_id, call.path["endpoint"])
    return Answer(status=204)


async def list_deliveries(call: Call) -> Answer:
    asked = call.asked(Paging)
    endpoint = await _load(call, call.path["endpoint"])
    found = await call.world.database.single(
        stored.deliveries, endpoint.id, paging.before(asked, "dlv"), paging.one_more(asked)
    )
    shown, more = paging.page(asked, found)
    return Answer(paging.content([_delivery(one) for one in shown], more))


async def redeliver(call: Call) -> Answer:
    wanted = call.who.account_id, call.path["endpoint"], call.path["delivery"]

    async def work(tx: Tx) -> Delivery | Refusal:
        return await webhooks.redeliver(tx, *wanted)

    done = await call.once(work, lambda again: (200, {"id": again.id}))
    if isinstance(done, Replay):
        return Answer(_delivery(await call.run(webhooks.delivery_of, *wanted)), done.http_status, REPLAYED)
    return Answer(_delivery(done))


async def _stated(call: Call, done: Endpoint | Replay, secret: str, status: int) -> Answer:
    """With its secret: whoever repeats a request never had the answer, and so not the secret."""
    if not isinstance(done, Replay):
        return Answer(_told(call, done, secret), status)
    endpoint = await _load(call, done.result["id"])
    secret = call.world.key_ring.unseal(endpoint.sealed_secret, endpoint.id).decode()
    return Answer(_told(call, endpoint, secret), done.http_status, REPLAYED)


async def _load(call: Call, endpoint_id: str) -> Endpoint:
    return await call.run(webhooks.of_account, call.who.account_id, endpoint_id)


def _distinct(types: Sequence[EventName]) -> list[str]:
    return [one.value for one in dict.fromkeys(types)]


def _told(call: Call, endpoint: Endpoint, secret: str | None = None) -> EndpointAnswer:
    return EndpointAnswer(
        id=endpoint.id,
        livemode=call.who.livemode,
        url=endpoint.url,
        types=endpoint.types,
        created_at=z(endpoint.created_at),
        secret=UNSET if secret is None else secret,
    )


def _delivery(delivery: Delivery) -> DeliveryAnswer:
    return DeliveryAnswer(
        id=delivery.id,
        event=delivery.event_id,
        type=delivery.event_type,
        status=delivery.status,
        attempts=delivery.attempts,
        created_at=z(delivery.created_at),
        attempted_at=z_or_none(delivery.attempted_at),
        next_attempt_at=z_or_none(delivery.due_at),
        response_status=delivery.response_status,
        error=delivery.error,
    )


_GONE = (Code.WEBHOOK_ENDPOINT_NOT_FOUND,)
_endpoint: Any = partial(
    Operation, who=SECRET, answer=EndpointAnswer, missing=Code.WEBHOOK_ENDPOINT_NOT_FOUND
)
_ONE = "/v1/webhook-endpoints/{endpoint:str}"

OPERATIONS: list[Operation] = [
    _endpoint(
        method="POST",
        path="/v1/webhook-endpoints",
        summary="Be told what happens",
        endpoint=create_endpoint,
        body=EndpointForm,
        status=201,
    ),
    _endpoint(
        method="GET",
        path="/v1/webhook-endpoints",
        summary="List webhook endpoints",
        endpoint=list_endpoints,
        query=Paging,
        answer=Page[EndpointAnswer],
    ),
    _endpoint(method="GET", path=_ONE, summary="A webhook endpoint", endpoint=get_endpoint, refusals=_GONE),
    _endpoint(
        method="PATCH",
        path=_ONE,
        summary="Change a webhook endpoint",
        endpoint=change_endpoint,
        body=EndpointPatch,
        refusals=_GONE,
    ),
    _endpoint(
        method="DELETE",
        path=_ONE,
        summary="Remove a webhook endpoint",
        endpoint=delete_endpoint,
        answer=None,
        status=204,
        refusals=_GONE,
    ),
    _endpoint(
        method="POST",
        path=f"{_ONE}/rotate-secret",
        summary="Another secret; the one before signs for a day more",
        endpoint=rotate_secret,
        body=Empty,
        refusals=_GONE,
    ),
    _endpoint(
        method="GET",
        path=f"{_ONE}/deliveries",
        summary="What was sent to it, newest first",
        endpoint=list_deliveries,
        query=Paging,
        answer=Page[DeliveryAnswer],
        refusals=_GONE,
    ),
    _endpoint(
        method="POST",
        path=f"{_ONE}/deliveries/{{delivery:str}}/redeliver",
        summary="Send it again",
        endpoint=redeliver,
        body=Empty,
        answer=DeliveryAnswer,
        refusals=(*_GONE, Code.DELIVERY_NOT_FOUND),
    ),
]
