# SPDX-License-Identifier: Apache-2.0
"""Google's own description of its Calendar API as a referee: what is a route, a parameter, a body, an answer."""

import json
import re
from datetime import date, datetime
from pathlib import Path
from typing import Any

DOCUMENT = json.loads((Path(__file__).parent / "google" / "calendar.v3.json").read_text())
SCHEMAS = DOCUMENT["schemas"]
COMMON = set(DOCUMENT["parameters"])


class Foul(Exception):
    """Not as the description has it."""


def methods(resources: dict[str, Any] = DOCUMENT["resources"]) -> list[dict[str, Any]]:
    found = []
    for resource in resources.values():
        found += list(resource.get("methods", {}).values())
        found += methods(resource.get("resources", {}))
    return found


ROUTES = [
    (one["httpMethod"], re.compile("^/" + re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", one["path"]) + "$"), one)
    for one in methods()
]


def route(method: str, path: str) -> tuple[dict[str, Any], dict[str, str]]:
    for verb, pattern, one in ROUTES:
        match = pattern.match(path)
        if verb == method and match:
            return one, match.groupdict()
    raise Foul(f"there is no {method} {path}")


def check_query(method: dict[str, Any], query: dict[str, list[str]]) -> None:
    known = method.get("parameters", {})
    for name, values in query.items():
        if name not in known and name not in COMMON:
            raise Foul(f"{method['id']} has no parameter {name}")
        if name in known:
            for value in values:
                _check_text(known[name], value, name)


def _check_text(schema: dict[str, Any], value: str, where: str) -> None:
    match schema["type"]:
        case "integer":
            if not re.fullmatch(r"-?\d+", value):
                raise Foul(f"{where}: {value!r} is no integer")
        case "boolean":
            if value not in ("true", "false"):
                raise Foul(f"{where}: {value!r} is no boolean")
        case "string" if schema.get("format") == "date-time":
            check_instant(value, where)
        case "string" if "enum" in schema and value not in schema["enum"]:
            raise Foul(f"{where}: {value!r} is none of {schema['enum']}")


def check_instant(value: str, where: str) -> None:
    try:
        told = datetime.fromisoformat(value)
    except ValueError as error:
        raise Foul(f"{where}: {value!r} is no date-time") from error
    if told.tzinfo is None:
        raise Foul(f"{where}: {value!r} has no offset")


def check(schema: dict[str, Any], value: Any, where: str = "") -> None:
    """Types, formats and enumerations; a member that the description does not have is a foul."""
    if "$ref" in schema:
        schema = SCHEMAS[schema["$ref"]]
    match schema["type"]:
        case "object":
            if not isinstance(value, dict):
                raise Foul(f"{where} is no object")
            members, more = schema.get("properties", {}), schema.get("additionalProperties")
            for name, one in value.items():
                if name not in members and more is None:
                    raise Foul(f"{where}.{name} is not known")
                check(members.get(name, more), one, f"{where}.{name}")
        case "array":
            if not isinstance(value, list):
                raise Foul(f"{where} is no list")
            for one in value:
                check(schema["items"], one, f"{where}[]")
        case "boolean":
            if not isinstance(value, bool):
                raise Foul(f"{where} is no boolean")
        case "integer":
            if not isinstance(value, int):
                raise Foul(f"{where} is no integer")
        case "string":
            if not isinstance(value, str):
                raise Foul(f"{where} is no text")
            if schema.get("format") == "date-time":
                check_instant(value, where)
            if schema.get("format") == "date":
                date.fromisoformat(value)
        case "any":
            pass
