# SPDX-License-Identifier: Apache-2.0
"""One operation of the API, declared once: the route, who may ask, what goes in and comes out, and what it does.

The router (serving.py), the OpenAPI document and the matrix of rights in the tests are all made from these declarations.
"""

import functools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import msgspec
from litestar import Response
from litestar.types import Scope

from holdfirst.effects.world import World
from holdfirst.flows import keyed
from holdfirst.flows.keyed import Replay, RequestKey
from holdfirst.refusal import Code, Refusal
from holdfirst.store.database import Tx
from holdfirst.web.asker import Asker, Kind
from holdfirst.web.bodies import Incoming, body_as
from holdfirst.web.context import WebContext
from holdfirst.web.problems import Problem

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)

SECRET = frozenset({Kind.SECRET})
READERS = frozenset({Kind.SECRET, Kind.PUBLISHABLE})
HOLDERS = frozenset({Kind.SECRET, Kind.CLIENT_SECRET})
PUBLIC: frozenset[Kind] = frozenset()
"""No key is asked for."""


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
    for_people: bool = False
    """Whether a person reads it: what is not there may then be said as a page."""
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
    scope: Scope
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
