# SPDX-License-Identifier: Apache-2.0
"""The outermost layer, around the router itself: request ids, CORS, security headers, the access line, the metrics.

Around the router, because what finds no route must have them too.
"""

import re
import secrets
from typing import Any

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from holdfirst.clock import monotonic
from holdfirst.web.context import WebContext

log = structlog.get_logger("holdfirst.access")

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")
ORIGIN = re.compile(r"[\x21-\x7e]{1,300}")
UNMATCHED = "(none)"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
SECURITY = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]
PREFLIGHT = [
    (b"access-control-allow-methods", b"GET, POST, PUT, PATCH, DELETE"),
    (
        b"access-control-allow-headers",
        b"authorization, content-type, idempotency-key, x-holdfirst-hold, last-event-id, if-none-match, x-request-id",
    ),
    (b"access-control-max-age", b"7200"),
    (b"content-length", b"0"),
]
EXPOSED = b"X-Request-Id, Idempotency-Replayed, Retry-After, ETag, Date"


class Edge:
    """Wraps an ASGI application."""

    def __init__(self, app: ASGIApp, context: WebContext) -> None:
        self._app = app
        self._context = context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP:
            await self._serve(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _serve(self, scope: Any, receive: Receive, send: Send) -> None:
        began = monotonic()
        asked = {bytes(name): bytes(value) for name, value in scope["headers"]}
        request_id = _request_id(asked.get(b"x-request-id"))
        origin = _origin(asked.get(b"origin"))
        status = 0

        async def dressed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = _dressed(list(message["headers"]), request_id, origin)
            await send(message)

        try:
            if scope["method"] == "OPTIONS" and b"access-control-request-method" in asked:
                await _answer_preflight(dressed)
            else:
                await self._app(scope, receive, dressed)
        finally:
            self._note(scope, status, monotonic() - began, request_id)

    def _note(self, scope: Any, status: int, seconds: float, request_id: str) -> None:
        """The route's template, never the path or the query: those may carry what is nobody's business."""
        route = scope.get("path_template") or UNMATCHED
        method = scope["method"] if scope["method"] in METHODS else "other"
        self._context.metrics.count(method, route, status, seconds)
        log.info(
            "request",
            method=method,
            route=route,
            status=status,
            ms=round(seconds * 1000, 1),
            request_id=request_id,
        )


def _request_id(asked: bytes | None) -> str:
    text = (asked or b"").decode("latin-1")
    return text if REQUEST_ID.fullmatch(text) else f"req_{secrets.token_hex(12)}"


def _origin(asked: bytes | None) -> bytes | None:
    return asked if asked and ORIGIN.fullmatch(asked.decode("latin-1")) else None


def _dressed(
    headers: list[tuple[bytes, bytes]], request_id: str, origin: bytes | None
) -> list[tuple[bytes, bytes]]:
    """Any origin may read any answer: what protects an answer is its key, and cookies are never used."""
    varies = [value for name, value in headers if name.lower() == b"vary"]
    said_here = {b"vary", *(name for name, _ in SECURITY)}
    kept = [(name, value) for name, value in headers if name.lower() not in said_here]
    kept += [(b"vary", b", ".join([*varies, b"Origin"])), (b"x-request-id", request_id.encode()), *SECURITY]
    if origin is not None:
        kept += [(b"access-control-allow-origin", origin), (b"access-control-expose-headers", EXPOSED)]
    return kept


async def _answer_preflight(send: Send) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": list(PREFLIGHT)})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
