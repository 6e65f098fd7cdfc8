# SPDX-License-Identifier: Apache-2.0
"""The application: every operation routed, every failure answered as a problem, wrapped in the edge."""

from typing import Any

import msgspec
import structlog
from litestar import Litestar, Request, Response
from litestar.exceptions import HTTPException
from litestar.types import ControllerRouterHandler

from holdfirst.errors import Busy, DatabaseUnavailable, ProviderUnavailable
from holdfirst.logs import places
from holdfirst.refusal import Code, Refusal
from holdfirst.web import (
    calendar_connections,
    event_types,
    health,
    hosts,
    notifications,
    openapi,
    payment_accounts,
    payments,
    reservation_verbs,
    reservations,
    return_page,
    slot_stream,
    slots,
)
from holdfirst.web.bodies import BODY_BYTES_MAX
from holdfirst.web.context import WebContext
from holdfirst.web.edge import Edge
from holdfirst.web.operation import PUBLIC, Answer, Call, Operation, routed
from holdfirst.web.problems import MEANINGS, MEDIA_TYPE, Problem, body_of, headers_of

log = structlog.get_logger(__name__)


async def openapi_json(_: Call) -> Answer:
    """The description of all of this."""
    return Answer(openapi_document(), headers={"cache-control": "public, max-age=300"})


OPERATIONS: list[Operation] = [
    *hosts.OPERATIONS,
    *event_types.OPERATIONS,
    *payment_accounts.OPERATIONS,
    *calendar_connections.OPERATIONS,
    *slots.OPERATIONS,
    *slot_stream.OPERATIONS,
    *reservations.OPERATIONS,
    *reservation_verbs.OPERATIONS,
    *payments.OPERATIONS,
    *notifications.OPERATIONS,
    *return_page.OPERATIONS,
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

    def answer_problem(_: Request[Any, Any, Any], problem: Problem) -> Response[bytes]:
        return _told(context, problem.refusal, problem.headers)

    def answer_failure(_: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
        return _failed(context, error)

    app = Litestar(
        route_handlers=[*_routes(context), *context.more_routes],
        exception_handlers={Problem: answer_problem, Exception: answer_failure},
        openapi_config=None,
        logging_config=None,
        request_max_body_size=BODY_BYTES_MAX,
        on_shutdown=[context.closing.set],
    )
    app.asgi_handler = Edge(app.asgi_handler, context.metrics)
    return app


def openapi_document() -> bytes:
    """For `/openapi.json`, and for the copy in docs/."""
    return openapi.document(OPERATIONS)


def _routes(context: WebContext) -> list[ControllerRouterHandler]:
    return [routed(operation, context) for operation in OPERATIONS]


def _failed(context: WebContext, error: Exception) -> Response[bytes]:
    """Failures of the world in our words. Whatever else comes here is a bug, and the log alone says which."""
    match error:
        case Busy():
            return _told(context, Refusal(Code.BUSY, "Too much at once; ask again.", retry_after=1))
        case DatabaseUnavailable():
            return _told(context, Refusal(Code.DATABASE_UNAVAILABLE, retry_after=2))
        case ProviderUnavailable():
            return _told(context, Refusal(Code.PROVIDER_UNAVAILABLE, retry_after=2))
        case HTTPException(status_code=status) if status < 500:
            return _told(context, Refusal(_code_of(status)), dict(error.headers or {}))
        case _:
            # Where, but not what: an exception's words may quote what a customer typed.
            log.error("request_failed", error=type(error).__name__, where=places(error))
            content = {
                "type": "about:blank",
                "title": "A bug of ours",
                "status": 500,
                "code": "internal_error",
            }
            return Response(msgspec.json.encode(content), status_code=500, media_type=MEDIA_TYPE)


def _code_of(status: int) -> Code:
    match status:
        case 404:
            return Code.NOT_FOUND
        case 405:
            return Code.METHOD_NOT_ALLOWED
        case 413:
            return Code.BODY_TOO_LARGE
        case 415:
            return Code.UNSUPPORTED_MEDIA_TYPE
        case _:
            return Code.MALFORMED_REQUEST


def _told(context: WebContext, refusal: Refusal, headers: dict[str, str] | None = None) -> Response[bytes]:
    return Response(
        body_of(refusal, context.world.public_url),
        status_code=MEANINGS[refusal.code].status,
        headers={**headers_of(refusal), **(headers or {})},
        media_type=MEDIA_TYPE,
    )
