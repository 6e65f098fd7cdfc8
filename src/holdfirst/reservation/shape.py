# SPDX-License-Identifier: Apache-2.0
"""From a JSON value to a struct, strictly: "5" is not 5, an unknown field is a fault, and every fault has its field."""

import re
from typing import Any, TypeVar

import msgspec

from holdfirst.refusal import Refusal, invalid_fields
from holdfirst.reservation.text import PATTERN_MEANS

T = TypeVar("T", bound=msgspec.Struct)
Problems = list[tuple[str, str]]

_PATH = re.compile(r" - at `\$\.?(.*)`\Z", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`\Z", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`\Z", re.DOTALL)


def shaped(raw: Any, kind: type[T]) -> T | Refusal:
    """`raw` as a `kind`, or every member that does not fit."""
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        if not isinstance(raw, dict):
            return invalid_fields([("", "The body must be a JSON object")])
        problems = _problems_by_member(raw, kind)
        return invalid_fields(problems or [problem_of(error)])


def merged(before: Any, patch: dict[str, Any]) -> dict[str, Any]:
    """A PATCH: members given replace those before; null takes one away, so that its default holds again."""
    return {name: value for name, value in {**before, **patch}.items() if patch.get(name, value) is not None}


def problem_of(error: msgspec.ValidationError, within: str = "") -> tuple[str, str]:
    """A sentence of msgspec's as (field, message), the field as a path such as `schedule.weekly[0].end`."""
    text = str(error)
    match = _PATH.search(text)
    path = match[1] if match else ""
    message = text[: match.start()] if match else text
    if (found := _UNKNOWN.search(message)) is not None:
        path, message = _joined(path, found[1]), "is not a known field"
    elif (found := _MISSING.search(message)) is not None:
        path, message = _joined(path, found[1]), "is required"
    for pattern, meaning in PATTERN_MEANS.items():
        if repr(pattern) in message or f"'{pattern}'" in message:
            message = meaning
    return _joined(within, path), _sentence(message)


def _problems_by_member(raw: dict[str, Any], kind: type[T]) -> Problems:
    problems: Problems = []
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for name, value in raw.items():
        if name not in fields:
            problems.append((name, "is not a known field"))
            continue
        try:
            msgspec.convert(value, fields[name].type)
        except msgspec.ValidationError as error:
            problems.append(problem_of(error, name))
    problems += [
        (name, "is required") for name, field in fields.items() if field.required and name not in raw
    ]
    return problems


def _joined(path: str, rest: str) -> str:
    return path + rest if not path or not rest or rest.startswith("[") else f"{path}.{rest}"


def _sentence(message: str) -> str:
    return message[:1].lower() + message[1:] if message.startswith(("Expected", "Invalid")) else message
