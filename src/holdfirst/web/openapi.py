# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI 3.1 document, made from the operations; the same bytes wherever it is made, so that a diff shows a change."""

import re
import sys
from collections.abc import Iterable
from typing import Any

import msgspec

from holdfirst import __version__
from holdfirst.refusal import Code
from holdfirst.web.asker import Kind
from holdfirst.web.operation import Operation, Patch
from holdfirst.web.problems import MEANINGS, MEDIA_TYPE

SCHEMES: dict[Kind, str] = {
    Kind.SECRET: "secretKey",
    Kind.PUBLISHABLE: "publishableKey",
    Kind.CLIENT_SECRET: "clientSecret",
}
SCHEME_SAYS = {
    "secretKey": "`hf_sk_test_…` or `hf_sk_live_…`: everything of its account.",
    "publishableKey": "`hf_pk_…`, safe in a browser: read event types and slots, reserve.",
    "clientSecret": "`hf_cs_…`, a reservation's own.",
}
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key and body again is the same request, for 24 hours.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}
PROBLEM = {
    "type": "object",
    "description": "RFC 9457, with what the code needs beside it.",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "enum": sorted(Code)},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}
_PARAMETER = re.compile(r"\{(\w+):str\}")


def document(operations: Iterable[Operation]) -> bytes:
    """Sorted and indented, without a database or a configuration."""
    operations = list(operations)
    kinds = [kind for one in operations for kind in _kinds(one)]
    schemas, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    schema_of = iter(schemas)
    paths: dict[str, dict[str, Any]] = {}
    for one in operations:
        path = _PARAMETER.sub(r"{\1}", one.path)
        mine = [next(schema_of) for _ in _kinds(one)]
        paths.setdefault(path, {})[one.method.lower()] = _operation(one, mine)
    told: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "holdfirst",
            "version": __version__,
            "summary": "Scheduling for paid bookings: reserve, then confirm.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": {**components, "Problem": PROBLEM},
            "securitySchemes": {
                name: {"type": "http", "scheme": "bearer", "description": text}
                for name, text in SCHEME_SAYS.items()
            },
        },
    }
    told["components"]["securitySchemes"]["publishableKeyInQuery"] = {
        "type": "apiKey",
        "in": "query",
        "name": "key",
        "description": "A publishable key on GET, for EventSource and requests without a preflight.",
    }
    return msgspec.json.format(msgspec.json.encode(_portable(told), order="sorted"), indent=2) + b"\n"


def _kinds(operation: Operation) -> list[Any]:
    """The types an operation shows, in the order in which `_operation` takes their schemas."""
    body = operation.body.form if isinstance(operation.body, Patch) else operation.body
    fields = [field.type for field in msgspec.structs.fields(operation.query)]
    return [*fields, *([body] if body else []), *([operation.answer] if operation.answer else [])]


def _operation(operation: Operation, schemas: list[Any]) -> dict[str, Any]:
    rest = iter(schemas)
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(operation.path)
    ]
    parameters += [
        {"name": field.encode_name, "in": "query", "required": field.required, "schema": next(rest)}
        for field in msgspec.structs.fields(operation.query)
    ]
    if operation.method == "POST" and operation.who:
        parameters.append(IDEMPOTENCY_KEY)
    told: dict[str, Any] = {
        "operationId": operation.name or operation.endpoint.__name__,
        "summary": operation.summary,
        "parameters": parameters,
        "security": _security(operation),
    }
    if operation.body is not None:
        patch = isinstance(operation.body, Patch)
        schema = next(rest)
        told["requestBody"] = {
            "required": not operation.may_be_empty,
            "description": "Merged into what is there; null brings a default back." if patch else "",
            "content": {"application/json": {"schema": {"type": "object"} if patch else schema}},
        }
        if patch:
            told["requestBody"]["description"] += f" Members as in {schema['$ref'].rpartition('/')[2]}."
    answer = next(rest) if operation.answer else None
    success: dict[str, Any] = {"description": "Done."}
    if answer is not None:
        success["content"] = {"application/json": {"schema": answer}}
    onward = {"303": {"description": "It goes on elsewhere."}} if operation.goes_on else {}
    told["responses"] = {str(operation.status): success, **onward, **_refusals(operation)}
    return told


def _security(operation: Operation) -> list[dict[str, list[str]]]:
    schemes: list[dict[str, list[str]]] = [
        {SCHEMES[kind]: []} for kind in sorted(operation.who, key=list(Kind).index)
    ]
    if Kind.PUBLISHABLE in operation.who and operation.method == "GET":
        schemes.append({"publishableKeyInQuery": []})
    return schemes


def _refusals(operation: Operation) -> dict[str, Any]:
    codes = {*operation.refusals, Code.SECRET_IN_URL, Code.MALFORMED_REQUEST}
    if operation.who:
        codes |= {Code.UNAUTHENTICATED, Code.FORBIDDEN_FOR_KEY, Code.INVALID_REQUEST}
        codes |= {Code.BUSY, Code.DATABASE_UNAVAILABLE}
    if operation.body is not None:
        codes |= {Code.BODY_TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE, Code.MALFORMED_JSON}
    if operation.method == "POST" and operation.who:
        codes |= {Code.IDEMPOTENCY_KEY_REUSED, Code.IDEMPOTENCY_IN_PROGRESS}
    by_status: dict[str, list[str]] = {}
    for code in sorted(codes):
        by_status.setdefault(str(MEANINGS[code].status), []).append(code)
    content: dict[str, Any] = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    told: dict[str, Any] = {
        status: {"description": ", ".join(f"`{code}`" for code in named), "content": content}
        for status, named in by_status.items()
    }
    if operation.for_people:
        told["404"]["content"] = {**content, "text/html": {"schema": {"type": "string"}}}
    return told


def _portable(value: Any) -> Any:
    """Python's anchors in patterns are no other language's."""
    match value:
        case dict():
            return {
                name: one.replace(r"\A", "^").replace(r"\Z", "$") if name == "pattern" else _portable(one)
                for name, one in value.items()
            }
        case list():
            return [_portable(one) for one in value]
        case _:
            return value


def _print() -> None:
    """`python -m holdfirst.web.openapi`: the document on stdout."""
    from holdfirst.web.app import openapi_document  # noqa: PLC0415  # the operations import this module

    sys.stdout.buffer.write(openapi_document())


if __name__ == "__main__":
    _print()
