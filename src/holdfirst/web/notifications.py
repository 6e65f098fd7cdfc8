# SPDX-License-Identifier: Apache-2.0
"""`/v1/notifications/{provider}/{payment account}`: a provider calls. Answered 2xx only once it is stored."""

from functools import partial
from typing import Any

import structlog

from holdfirst.effects.world import Desk, desk_of
from holdfirst.flows.hear import hear
from holdfirst.payment.provider import BadNotification, Hint, Notification
from holdfirst.refusal import Code
from holdfirst.store import payees
from holdfirst.web.bodies import query_of
from holdfirst.web.operation import PUBLIC, Answer, Call, Operation
from holdfirst.web.problems import Problem, refuse

log = structlog.get_logger(__name__)

KEPT_HEADERS_MAX = 100


async def hear_notification(call: Call) -> Answer:
    payee = await call.world.database.single(payees.load, call.path["payment_account"])
    if payee is None or payee.provider != call.path["provider"] or payee.provider not in call.world.providers:
        raise refuse(Code.NOT_FOUND)
    bad = call.context.metrics.bad_notifications.labels(payee.provider)
    try:
        body = await call.incoming.read()
    except Problem:
        bad.inc()
        raise
    desk = desk_of(call.world, payee)
    query = query_of(call.scope)
    if any("\x00" in text for pair in query.items() for text in pair):
        bad.inc()
        raise refuse(Code.MALFORMED_REQUEST, "The query cannot be read.")
    notification = Notification(
        method=call.operation.method,
        headers=dict(list(call.incoming.headers.items())[:KEPT_HEADERS_MAX]),
        query=query,
        body=body,
    )
    hint = _read(desk, notification)
    if isinstance(hint, BadNotification):
        bad.inc()
        raise refuse(Code.MALFORMED_REQUEST, "This is not a notification of this provider.")
    if not await call.world.database.run(hear, payee, notification, hint):
        call.context.metrics.foreign_notifications.labels(payee.provider).inc()
    return Answer({})


def _read(desk: Desk, notification: Notification) -> Hint | BadNotification:
    """Anybody may call this address with anything: what an adapter stumbles over is no notification."""
    try:
        return desk.provider.read_notification(notification, desk.account)
    except Exception as error:  # noqa: BLE001  # whatever it is, it came from outside
        log.warning("notification_unreadable", provider=desk.provider.name, error=type(error).__name__)
        return BadNotification(type(error).__name__)


_heard: Any = partial(
    Operation,
    path="/v1/notifications/{provider:str}/{payment_account:str}",
    summary="A payment provider calls",
    who=PUBLIC,
    any_query=True,
    endpoint=hear_notification,
    refusals=(Code.NOT_FOUND, Code.BODY_TOO_LARGE, Code.BUSY, Code.DATABASE_UNAVAILABLE),
)

OPERATIONS: list[Operation] = [
    _heard(method="GET", name="hear_notification_by_get"),
    _heard(method="POST"),
]
