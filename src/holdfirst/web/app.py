# SPDX-License-Identifier: Apache-2.0
"""The application: every operation routed, every failure answered as a problem, wrapped in the edge."""

from typing import Any

from litestar import Litestar, Request, Response

from holdfirst.web import (
    assets,
    booking_page,
    calendar_connections,
    calendar_notifications,
    event_types,
    events,
    health,
    host_feed,
    hosts,
    notifications,
    oauth,
    openapi,
    payment_accounts,
    payments,
    reservation_verbs,
    reservations,
    return_page,
    slot_stream,
    slots,
    webhook_endpoints,
)
from holdfirst.web.bodies import BODY_BYTES_MAX
from holdfirst.web.context import WebContext
from holdfirst.web.edge import Edge
from holdfirst.web.failures import answer_to
from holdfirst.web.notices import as_page
from holdfirst.web.operation import PUBLIC, Answer, Call, Operation
from holdfirst.web.serving import route


async def openapi_json(_: Call) -> Answer:
    """The description of all of this."""
    return Answer(openapi_document(), headers={"cache-control": "public, max-age=300"})


OPERATIONS: list[Operation] = [
    *hosts.OPERATIONS,
    *event_types.OPERATIONS,
    *payment_accounts.OPERATIONS,
    *calendar_connections.OPERATIONS,
    *host_feed.OPERATIONS,
    *oauth.OPERATIONS,
    *slots.OPERATIONS,
    *slot_stream.OPERATIONS,
    *reservations.OPERATIONS,
    *reservation_verbs.OPERATIONS,
    *payments.OPERATIONS,
    *events.OPERATIONS,
    *webhook_endpoints.OPERATIONS,
    *notifications.OPERATIONS,
    *calendar_notifications.OPERATIONS,
    *return_page.OPERATIONS,
    *booking_page.OPERATIONS,
    *assets.OPERATIONS,
    *health.OPERATIONS,
    Operation(
        method="GET",
        path="/openapi.json",
        summary="This document",
        who=PUBLIC,
        endpoint=openapi_json,
        any_query=True,
    ),
]


def build_app(context: WebContext) -> Litestar:
    """Made once for each process; who runs it opens the database and rings the doorbell."""

    def answer_failure(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
        """Of what finds no operation; the operations answer for themselves."""
        answer = answer_to(error, context.world.public_url)
        return as_page(answer, request.scope) or Response(
            answer.content,
            status_code=answer.status,
            headers=answer.headers,
            media_type=answer.media_type,
        )

    app = Litestar(
        route_handlers=[*(route(operation, context) for operation in OPERATIONS), *context.more_routes],
        exception_handlers={Exception: answer_failure},
        openapi_config=None,
        logging_config=None,
        request_max_body_size=BODY_BYTES_MAX,
        on_shutdown=[context.closing.set],
    )
    app.asgi_handler = Edge(app.asgi_handler, context)
    return app


def openapi_document() -> bytes:
    """For `/openapi.json`, and for the copy in docs/."""
    return openapi.document(OPERATIONS)
