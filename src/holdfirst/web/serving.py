# SPDX-License-Identifier: Apache-2.0
"""From a request to its operation and back: what comes in is judged in a fixed order.

Litestar finds the route; reading and answering are here, because a reservation's way through a general framework costs
more than making it (docs/performance.md).
"""

import asyncio
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp, Receive, Scope, Send

from holdfirst.flows.keyed import RequestKey
from holdfirst.refusal import Code, invalid
from holdfirst.store import reservations
from holdfirst.web.asker import Asker, Kind, refuse_secrets_in
from holdfirst.web.bodies import Incoming, body_as, fingerprint, query_as, query_of, read_json
from holdfirst.web.context import WebContext
from holdfirst.web.failures import answer_to
from holdfirst.web.notices import as_page
from holdfirst.web.operation import Answer, Call, Empty, Operation, Patch
from holdfirst.web.page_keys import check_page_key
from holdfirst.web.problems import Problem, refuse

KEY_LENGTH_MAX = 255
PATH_PART_LENGTH_MAX = 255


def route(operation: Operation, context: WebContext) -> HTTPRouteHandler:
    """What Litestar routes to. Its middleware gives the answer, so that the handler behind it is never reached."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            answer = await _answered(operation, context, scope, receive)
        except Exception as error:  # noqa: BLE001  # each has its answer
            told = answer_to(error, context.world.public_url)
            answer = (as_page(told, scope) if operation.for_people else None) or told
        if isinstance(answer, Response):
            request: Request[Any, Any, Any] = Request(scope, receive, send)
            await answer.to_asgi_response(None, request)(scope, receive, send)
        else:
            await send_answer(answer, send)

    async def unreached() -> None:
        raise AssertionError(operation.path)

    unreached.__name__ = operation.name or operation.endpoint.__name__

    def instead(app: ASGIApp) -> ASGIApp:  # noqa: ARG001  # nothing goes on to it
        return serve

    method: Any = operation.method
    return HTTPRouteHandler(operation.path, http_method=method, status_code=200, middleware=[instead])(
        unreached
    )


async def send_answer(answer: Answer, send: Send) -> None:
    content = answer.content
    body = content if isinstance(content, bytes) else b"" if content is None else msgspec.json.encode(content)
    headers = [(b"content-type", answer.media_type.encode()), (b"content-length", b"%d" % len(body))]
    if "cache-control" not in answer.headers:
        headers.append((b"cache-control", b"no-store"))
    headers += [(name.encode(), value.encode("latin-1")) for name, value in answer.headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _answered(
    operation: Operation, context: WebContext, scope: Scope, receive: Receive
) -> Answer | Response[Any]:
    incoming = Incoming(scope, receive)
    try:
        call = await _admitted(operation, context, scope, incoming)
    except Problem:
        await incoming.drain()
        raise
    try:
        return await operation.endpoint(call)
    except asyncio.CancelledError:
        # Only a server that ends does this to a request, and to one that has waited for long.
        raise refuse(Code.BUSY, "This server is stopping; ask again.", retry_after=1) from None


async def _admitted(operation: Operation, context: WebContext, scope: Scope, incoming: Incoming) -> Call:
    """The fixed order: 400 of the URL, 401, 403, 413, 415, 400 of the body, 422."""
    method = operation.method
    query = query_of(scope)
    asker: Asker | None = None
    if operation.who:
        asker = await context.doorkeeper.asker(method, incoming.headers, query)
        if asker.kind not in operation.who:
            raise refuse(Code.FORBIDDEN_FOR_KEY, f"A {asker.kind.replace('_', ' ')} may not do this.")
    else:
        refuse_secrets_in(query)
    path = {name: str(value) for name, value in scope["path_params"].items()}
    if any(not _can_name(part) for part in path.values()):
        raise refuse(operation.missing)
    call = Call(
        operation=operation,
        context=context,
        scope=scope,
        incoming=incoming,
        path=path,
        query=Empty(),
        asker=asker,
    )
    if asker is not None and asker.kind is Kind.CLIENT_SECRET:
        await _check_holder(call)
    raw: Any = {}
    if operation.body is not None:
        raw = await read_json(incoming, may_be_empty=operation.may_be_empty)
        call.body = _shaped(operation, raw)
    if asker is not None:
        check_page_key(asker.event_type_id, path, call.body)
    if not operation.any_query:
        call.query = query_as(query, operation.query)
    if method == "POST" and asker is not None:
        call.key = _request_key(call, raw)
    return call


async def _check_holder(call: Call) -> None:
    """A client secret opens its own reservation; another one's is 401, and one that is not there 404."""
    named = call.path.get("reservation")
    if named == call.who.reservation_id:
        return
    if named is not None and not await call.world.database.single(reservations.owner, named):
        raise refuse(Code.RESERVATION_NOT_FOUND)
    raise refuse(Code.UNAUTHENTICATED, "This client secret is another reservation's.")


def _shaped(operation: Operation, raw: Any) -> Any:
    if isinstance(operation.body, Patch):
        if not isinstance(raw, dict):
            raise Problem(invalid("", "The body must be a JSON object"))
        known = {field.encode_name for field in msgspec.structs.fields(operation.body.form)}
        for name in raw:
            if name not in known:
                raise Problem(invalid(name, "is not a known field"))
        return raw
    assert operation.body is not None
    return body_as(raw, operation.body)


def _request_key(call: Call, raw: Any) -> RequestKey | None:
    text = call.incoming.headers.get("idempotency-key")
    if text is None:
        return None
    if not 1 <= len(text) <= KEY_LENGTH_MAX or "\x00" in text:
        raise Problem(invalid("Idempotency-Key", f"must have 1 to {KEY_LENGTH_MAX} characters"))
    scope = f"{call.who.scope} {call.operation.method} {call.scope['path']}"
    return RequestKey(scope, text, fingerprint(raw))


def _can_name(part: str) -> bool:
    return len(part) <= PATH_PART_LENGTH_MAX and part.isprintable()
