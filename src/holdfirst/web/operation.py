# SPDX-License-Identifier: Apache-2.0
"""One operation of the API, declared once: the route, who may ask, what goes in and comes out, and what it does.

The router, the OpenAPI document and the matrix of rights in the tests are all made from these declarations.
"""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import msgspec
from litestar import Request, Response
from litestar.datastructures import State
from litestar.handlers import HTTPRouteHandler

from holdfirst.effects.world import World
from holdfirst.flows import keyed
from holdfirst.flows.keyed import Replay, RequestKey
from holdfirst.refusal import Code, Refusal, invalid
from holdfirst.store import reservations
from holdfirst.store.database import Tx
from holdfirst.web.asker import Asker, Kind, refuse_secrets_in
from holdfirst.web.bodies import Incoming, body_as, fingerprint, query_as, query_of, read_json
from holdfirst.web.context import WebContext
from holdfirst.web.problems import Problem, refuse

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)

SECRET = frozenset({Kind.SECRET})
READERS = frozenset({Kind.SECRET, Kind.PUBLISHABLE})
HOLDERS = frozenset({Kind.SECRET, Kind.CLIENT_SECRET})
PUBLIC: frozenset[Kind] = frozenset()
"""No key is asked for."""

KEY_LENGTH_MAX = 255
PATH_PART_LENGTH_MAX = 255


class Patch(msgspec.Struct, frozen=True):
    """The body of a PATCH that is merged into what is stored and then judged as a whole; `form` names its members."""

    form: type[msgspec.Struct]


class Empty(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A body or a query in which nothing can be said."""


class Answer(msgspec.Struct):
    """`content` is encoded as JSON unless it is bytes already."""

    content: Any = None
    status: int = 200
    headers: dict[str, str] = {}
    media_type: str = "application/json"


Endpoint = Callable[["Call"], Awaitable[Answer | Response[Any]]]


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """`path` in Litestar's notation. `missing`: what is said where a part of the path can name nothing."""

    method: str
    path: str
    summary: str
    who: frozenset[Kind]
    endpoint: Endpoint
    body: type[msgspec.Struct] | Patch | None = None
    query: type[msgspec.Struct] = Empty
    any_query: bool = False
    answer: Any = None
    status: int = 200
    goes_on: bool = False
    """Whether it may answer 303 and lead elsewhere."""
    refusals: tuple[Code, ...] = ()
    missing: Code = Code.NOT_FOUND
    name: str = ""

    @property
    def may_be_empty(self) -> bool:
        """Whether no body at all stands for `{}`."""
        return isinstance(self.body, type) and _needs_nothing(self.body)


class Call(msgspec.Struct, kw_only=True):
    """One request, as far as its operation cares: who asks for what, already judged by its form."""

    operation: Operation
    context: WebContext
    request: Request[Any, Any, State]
    incoming: Incoming
    path: Mapping[str, str]
    query: msgspec.Struct
    asker: Asker | None = None
    body: Any = None
    key: RequestKey | None = None

    @property
    def world(self) -> World:
        return self.context.world

    @property
    def who(self) -> Asker:
        assert self.asker is not None
        return self.asker

    @property
    def by_secret_key(self) -> bool:
        return self.who.kind is Kind.SECRET

    def body_as(self, kind: type[S]) -> S:
        return body_as(self.body, kind)

    def asked(self, kind: type[S]) -> S:
        """The query, as its operation declared it."""
        assert isinstance(self.query, kind)
        return self.query

    async def run(self, flow: Callable[..., Awaitable[T | Refusal]], *arguments: Any, **named: Any) -> T:
        """A flow in one transaction; its refusal leaves as a problem."""
        return unless_refused(await self.world.database.run(flow, *arguments, **named))

    async def once(
        self, work: Callable[[Tx], Awaitable[T | Refusal]], answer: Callable[[T], tuple[int, Any]]
    ) -> T | Replay:
        """A verb of one transaction, under the request's idempotency key if it has one."""
        done: T | Replay | Refusal = await self.world.database.run(keyed.once, self.key, work, answer)
        if isinstance(done, Refusal):
            raise Problem(done)
        return done

    async def through(
        self, work: Callable[[], Awaitable[T | Refusal]], answer: Callable[[T], tuple[int, Any]]
    ) -> T | Replay:
        """A verb of several transactions, safe to run twice: the key is written first and the answer after."""
        if self.key is None:
            return unless_refused(await work())
        before = await self.world.database.run(keyed.begin, self.key)
        if isinstance(before, Replay):
            return before
        if before is not None:
            raise Problem(before)
        kept: tuple[int | None, Any] = (None, None)
        try:
            done = unless_refused(await work())
            kept = answer(done)
        finally:
            # Also where no answer came: the next call with this key is to try, not to wait for a lease.
            await self.world.database.run(keyed.end, self.key, *kept)
        return done


@functools.cache
def _needs_nothing(body: type[msgspec.Struct]) -> bool:
    return not any(field.required for field in msgspec.structs.fields(body))


def unless_refused(answer: T | Refusal) -> T:
    """A refusal below becomes a problem here."""
    if isinstance(answer, Refusal):
        raise Problem(answer)
    return answer


def routed(operation: Operation, context: WebContext) -> HTTPRouteHandler:
    """What Litestar routes to."""

    async def serve(request: Request[Any, Any, State]) -> Response[Any]:
        incoming = Incoming(request.scope, request.receive)
        try:
            call = await _admitted(operation, context, request, incoming)
        except Problem:
            await incoming.drain()
            raise
        try:
            answer = await operation.endpoint(call)
        except asyncio.CancelledError:
            # Only a server that ends does this to a request, and to one that has waited for long.
            raise refuse(Code.BUSY, "This server is stopping; ask again.", retry_after=1) from None
        return answer if isinstance(answer, Response) else _response(answer)

    serve.__name__ = operation.name or operation.endpoint.__name__
    return HTTPRouteHandler(operation.path, http_method=operation.method, status_code=200)(serve)  # type: ignore[arg-type]


async def _admitted(
    operation: Operation, context: WebContext, request: Request[Any, Any, State], incoming: Incoming
) -> Call:
    """The fixed order: 400 of the URL, 401, 403, 413, 415, 400 of the body, 422."""
    method = str(request.method)
    query = query_of(request.scope)
    asker: Asker | None = None
    if operation.who:
        asker = await context.doorkeeper.asker(method, incoming.headers, query)
        if asker.kind not in operation.who:
            raise refuse(Code.FORBIDDEN_FOR_KEY, f"A {asker.kind.replace('_', ' ')} may not do this.")
    else:
        refuse_secrets_in(query)
    path = {name: str(value) for name, value in request.path_params.items()}
    if any(not _can_name(part) for part in path.values()):
        raise refuse(operation.missing)
    call = Call(
        operation=operation,
        context=context,
        request=request,
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
    scope = f"{call.who.scope} {call.request.method} {call.request.scope['path']}"
    return RequestKey(scope, text, fingerprint(raw))


def _can_name(part: str) -> bool:
    return len(part) <= PATH_PART_LENGTH_MAX and part.isprintable()


def _response(answer: Answer) -> Response[bytes]:
    content = answer.content
    body = content if isinstance(content, bytes) else b"" if content is None else msgspec.json.encode(content)
    headers = {"cache-control": "no-store", **answer.headers}
    return Response(body, status_code=answer.status, headers=headers, media_type=answer.media_type)
