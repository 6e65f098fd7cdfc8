# SPDX-License-Identifier: Apache-2.0
"""A request's body and query, read in a fixed order: too large, not JSON by its name, not JSON, not what we ask for.

Only unparsable bytes are `malformed_json`; everything that parses and does not fit is `invalid_request` with its field.
"""

import asyncio
import functools
import hashlib
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
from litestar.types import Receive, Scope

from holdfirst.refusal import Code, Refusal, invalid_fields
from holdfirst.reservation.shape import problem_of, shaped
from holdfirst.web.problems import Problem, refuse

T = TypeVar("T", bound=msgspec.Struct)

BODY_BYTES_MAX = 1 << 20
DEPTH_MAX = 64
DRAIN_BYTES_MAX = 64 << 20
DRAIN_SECONDS_MAX = 10
INTEGER_MAX = (1 << 63) - 1
QUERY_FIELDS_MAX = 50


class Incoming:
    """The bytes of one request body, with a limit; what is refused unread is still read to its end."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._receive = receive
        self._more = True
        self.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}

    async def read(self) -> bytes:
        """Raises `body_too_large` as soon as that is known, also where no length was announced."""
        declared = self.headers.get("content-length", "")
        if declared.isdigit() and int(declared[:20]) > BODY_BYTES_MAX:
            raise refuse(Code.BODY_TOO_LARGE, f"A body can be at most {BODY_BYTES_MAX} bytes.")
        parts: list[bytes] = []
        size = 0
        while self._more:
            part = await self._next()
            size += len(part)
            if size > BODY_BYTES_MAX:
                raise refuse(Code.BODY_TOO_LARGE, f"A body can be at most {BODY_BYTES_MAX} bytes.")
            parts.append(part)
        return b"".join(parts)

    async def drain(self) -> None:
        """Before an early refusal: a client that still sends would see a broken connection instead of our answer."""
        sends_body = "transfer-encoding" in self.headers or self.headers.get("content-length", "0") != "0"
        size = 0
        try:
            async with asyncio.timeout(DRAIN_SECONDS_MAX):
                while self._more and sends_body and size < DRAIN_BYTES_MAX:
                    size += len(await self._next())
        except TimeoutError:
            return

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] != "http.request":
            self._more = False
            return b""
        self._more = message.get("more_body", False)
        body: bytes = message.get("body", b"")
        return body


async def read_json(incoming: Incoming, *, may_be_empty: bool) -> Any:
    """The body as a JSON value; nothing at all stands for `{}` where every member is optional."""
    body = await incoming.read()
    if not body and may_be_empty:
        return {}
    content_type = incoming.headers.get("content-type", "")
    media_type, _, parameters = content_type.partition(";")
    charset = parameters.lower().replace('"', "").strip()
    if media_type.strip().lower() != "application/json" or charset not in ("", "charset=utf-8"):
        raise refuse(Code.UNSUPPORTED_MEDIA_TYPE, "Send it as application/json, in UTF-8.")
    return parsed(body)


def parsed(body: bytes) -> Any:
    try:
        raw = msgspec.json.decode(body.decode("utf-8"))
    except msgspec.ValidationError as error:
        raise Problem(invalid_fields([problem_of(error)])) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise refuse(Code.MALFORMED_JSON, "The body does not parse as JSON in UTF-8.") from error
    except RecursionError as error:
        raise refuse(Code.MALFORMED_JSON, "The body is nested too deep.") from error
    _check_storable(raw)
    return raw


def _check_storable(raw: Any) -> None:  # noqa: C901  # one arm for each kind of value
    """What the database cannot keep as it came is refused here, wherever in the body it stands."""
    stack: list[tuple[Any, str, int]] = [(raw, "", 1)]
    while stack:
        value, path, depth = stack.pop()
        if depth > DEPTH_MAX:
            raise refuse(Code.MALFORMED_JSON, f"The body is nested deeper than {DEPTH_MAX} levels.")
        match value:
            case str():
                if "\x00" in value:
                    raise Problem(invalid_fields([(path, "must not contain the character NUL")]))
            case bool() | None | float():
                pass
            case int():
                if not -INTEGER_MAX - 1 <= value <= INTEGER_MAX:
                    raise Problem(invalid_fields([(path, "is beyond 64 bits")]))
            case list():
                stack += [(one, f"{path}[{index}]", depth + 1) for index, one in enumerate(value)]
            case dict():
                for name, one in value.items():
                    stack.append((one, f"{path}.{name}" if path else name, depth + 1))
                    if "\x00" in name:
                        raise Problem(invalid_fields([(path, "has a member with the character NUL")]))
            case _:
                raise AssertionError(type(value))


def body_as(raw: Any, kind: type[T]) -> T:
    found = shaped(raw, kind)
    if isinstance(found, Refusal):
        raise Problem(found)
    return found


def fingerprint(raw: Any) -> bytes:
    """Equal for equal JSON values: the order of members does not matter, nor does 1.0 for 1."""
    return hashlib.sha256(msgspec.json.encode(_canonical(raw), order="deterministic")).digest()


def _canonical(value: Any) -> Any:
    match value:
        case float() if value.is_integer() and abs(value) < 1 << 53:
            return int(value)
        case list():
            return [_canonical(one) for one in value]
        case dict():
            return {name: _canonical(one) for name, one in value.items()}
        case _:
            return value


def query_of(scope: Scope) -> dict[str, str]:
    """The query's parameters; the last of a name counts. Raises where it cannot be read."""
    raw: bytes = scope["query_string"]
    try:
        pairs = parse_qsl(
            raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=QUERY_FIELDS_MAX
        )
    except (UnicodeDecodeError, ValueError) as error:
        raise refuse(Code.MALFORMED_REQUEST, "The query cannot be read.") from error
    return dict(pairs)


@functools.cache
def _fields(kind: type[msgspec.Struct]) -> dict[str, msgspec.structs.FieldInfo]:
    return {field.encode_name: field for field in msgspec.structs.fields(kind)}


def query_as(query: dict[str, str], kind: type[T]) -> T:
    """Parameters into a struct; texts stand for numbers and instants here, as they must in a URL."""
    problems = [
        (name, "must not contain the character NUL") for name, text in query.items() if "\x00" in text
    ]
    fields = _fields(kind)
    values: dict[str, Any] = {}
    for name, text in query.items():
        # A number is never an instant, although a lenient conversion would take it for seconds since 1970.
        if name not in fields:
            problems.append((name, "is not a known parameter"))
            continue
        try:
            values[fields[name].name] = msgspec.convert(
                text, fields[name].type, strict="datetime" in repr(fields[name].type)
            )
        except msgspec.ValidationError as error:
            problems.append(problem_of(error, name))
    problems += [
        (name, "is required") for name, field in fields.items() if field.required and name not in query
    ]
    if problems:
        raise Problem(invalid_fields(problems))
    return kind(**values)
