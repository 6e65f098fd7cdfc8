# SPDX-License-Identifier: Apache-2.0
"""Whatever is raised while a request is served, as its answer: a refusal, a failure of the world, a bug of ours."""

import msgspec
import structlog
from litestar.exceptions import HTTPException

from holdfirst.errors import Busy, DatabaseUnavailable, ProviderUnavailable
from holdfirst.logs import places
from holdfirst.refusal import Code, Refusal
from holdfirst.web.operation import Answer
from holdfirst.web.problems import MEANINGS, MEDIA_TYPE, Problem, body_of, headers_of

log = structlog.get_logger(__name__)


def answer_to(error: Exception, public_url: str) -> Answer:
    """Failures of the world in our words. Whatever else comes here is a bug, and the log alone says which."""
    match error:
        case Problem():
            return _told(error.refusal, public_url, error.headers)
        case Busy():
            refusal = Refusal(Code.BUSY, "Too much at once; ask again.", retry_after=1)
            return _told(refusal, public_url)
        case DatabaseUnavailable():
            return _told(Refusal(Code.DATABASE_UNAVAILABLE, retry_after=2), public_url)
        case ProviderUnavailable():
            return _told(Refusal(Code.PROVIDER_UNAVAILABLE, retry_after=2), public_url)
        case HTTPException(status_code=status) if status < 500:
            return _told(Refusal(_code_of(status)), public_url, dict(error.headers or {}))
        case _:
            # Where, but not what: an exception's words may quote what a customer typed.
            log.error("request_failed", error=type(error).__name__, where=places(error))
            content = {
                "type": "about:blank",
                "title": "A bug of ours",
                "status": 500,
                "code": "internal_error",
            }
            return Answer(msgspec.json.encode(content), 500, media_type=MEDIA_TYPE)


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


def _told(refusal: Refusal, public_url: str, headers: dict[str, str] | None = None) -> Answer:
    return Answer(
        body_of(refusal, public_url),
        MEANINGS[refusal.code].status,
        {**headers_of(refusal), **(headers or {})},
        MEDIA_TYPE,
    )
