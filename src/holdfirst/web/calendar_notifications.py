# SPDX-License-Identifier: Apache-2.0
"""`/v1/calendar-notifications/{provider}/{watch}`: a company says that a calendar has changed.

Whatever comes, the answer is the same: who calls without the secret learns nothing, not even whether there is such a watch.
"""

from collections.abc import Sequence

import structlog

from holdfirst.calendar.provider import Handshake, Push, PushProvider
from holdfirst.flows.calendar_watches import hear
from holdfirst.payment.provider import Notification
from holdfirst.refusal import Code
from holdfirst.web.bodies import query_of
from holdfirst.web.operation import PUBLIC, Answer, Call, Operation
from holdfirst.web.problems import refuse

log = structlog.get_logger(__name__)

ECHO_LENGTH_MAX = 1000


async def hear_calendar(call: Call) -> Answer:
    body = await call.incoming.read()
    name, watch_id = call.path["provider"], call.path["watch"]
    company = call.world.pushes.get(name)
    if company is None:
        raise refuse(Code.NOT_FOUND)
    notification = Notification(
        method=call.operation.method, headers=call.incoming.headers, query=query_of(call.scope), body=body
    )
    told = _read(name, company, notification)
    if isinstance(told, Handshake):
        return Answer(told.echo[:ECHO_LENGTH_MAX].encode(), media_type="text/plain; charset=utf-8")
    proved = [one for one in told if call.world.key_ring.is_watch_secret(one.secret, watch_id)]
    if not proved:
        call.context.metrics.bad_notifications.labels(name).inc()
    elif not await call.world.database.run(hear, watch_id, proved):
        call.context.metrics.foreign_notifications.labels(name).inc()
    return Answer(status=204)


def _read(name: str, company: PushProvider, notification: Notification) -> Handshake | Sequence[Push]:
    """Anybody may call this address with anything."""
    try:
        return company.read_push(notification)
    except Exception as error:  # noqa: BLE001  # whatever it is, it came from outside
        log.warning("notification_unreadable", provider=name, error=type(error).__name__)
        return ()


OPERATIONS: list[Operation] = [
    Operation(
        method="POST",
        path="/v1/calendar-notifications/{provider:str}/{watch:str}",
        summary="A calendar has changed",
        who=PUBLIC,
        any_query=True,
        endpoint=hear_calendar,
        status=204,
        refusals=(Code.NOT_FOUND, Code.BODY_TOO_LARGE, Code.BUSY, Code.DATABASE_UNAVAILABLE),
    ),
]
