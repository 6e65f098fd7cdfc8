# SPDX-License-Identifier: Apache-2.0
"""Requests are judged by the parameter types of the `stripe` package: unknown members, wrong types and wrong choices fail.
Answers hold what its resource types declare: nothing else, and nothing that is not optional is left out.
"""

import functools
import importlib
import types
import typing
from typing import Any, Union, get_args, get_origin
from urllib.parse import parse_qsl

import pydantic
import typing_extensions
from stripe._request_options import RequestOptions

OPTIONS = set(RequestOptions.__annotations__)
"""How a call is made, and not what is asked."""


@functools.cache
def judge(params: type) -> pydantic.TypeAdapter[Any]:
    """For one parameter type of the package, such as `stripe.params.checkout.SessionCreateParams`."""
    return pydantic.TypeAdapter(_model(params))


@functools.cache
def _model(params: type) -> type[pydantic.BaseModel]:
    said = {name: hint for name, hint in params.__annotations__.items() if name not in OPTIONS}
    bare = type(params.__name__, (), {"__annotations__": said})
    namespace = dict(vars(importlib.import_module(params.__module__)))
    hints = typing_extensions.get_type_hints(bare, globalns=namespace, include_extras=True)
    fields: dict[str, Any] = {}
    for name, hint in hints.items():
        optional = get_origin(hint) in (typing.NotRequired, typing_extensions.NotRequired)
        kind = _strict(get_args(hint)[0] if optional else hint)
        fields[name] = (kind | None, None) if optional else (kind, ...)
    config = pydantic.ConfigDict(extra="forbid", protected_namespaces=())
    return pydantic.create_model(params.__name__, __config__=config, **fields)


def _strict(hint: Any) -> Any:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        members = get_args(hint)
        if any(get_origin(one) is typing.Literal and get_args(one) != ("",) for one in members):
            # The package writes `Literal[…] | str`, so that it never stops a caller; Stripe does. (`""` alone takes a
            # member away.)
            members = tuple(one for one in members if one is not str)
        members = tuple(one for one in members if "UntypedStripeObject" not in str(one))
        return Union[tuple(_strict(one) for one in members)]  # noqa: UP007  # made from a tuple
    if origin is list:
        return list[_strict(get_args(hint)[0])]
    if origin is dict:
        return dict[str, str]
    return _model(hint) if typing_extensions.is_typeddict(hint) else hint


def nested(form: str) -> dict[str, Any]:
    """`a[b][0][c]=d` as the object that it means."""
    whole: dict[str, Any] = {}
    for name, value in parse_qsl(form, keep_blank_values=True, strict_parsing=bool(form)):
        head, *rest = name.replace("]", "").split("[")
        at = whole
        for part, following in zip([head, *rest], rest, strict=False):
            at = at.setdefault(part, {})
            assert isinstance(at, dict), following
        at[[head, *rest][-1]] = value
    return _listed(whole)


def _listed(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if value and all(name.isdigit() or not name for name in value):
        return [_listed(one) for _, one in sorted(value.items(), key=lambda pair: int(pair[0] or 0))]
    return {name: _listed(one) for name, one in value.items()}


def resource(kind: type, **said: Any) -> dict[str, Any]:
    """An object of `kind` as Stripe would write it: every declared member, and no other."""
    declared = {name: hint for name, hint in _declared(kind).items() if name.islower() and name[0] != "_"}
    unknown = set(said) - set(declared)
    assert not unknown, f"{kind.__name__} does not declare {sorted(unknown)}"
    whole: dict[str, Any] = dict.fromkeys(declared)
    whole.update(said)
    absent = [name for name, hint in declared.items() if whole[name] is None and not _optional(hint)]
    assert not absent, f"{kind.__name__} always has {absent}"
    # The package marks what an answer may leave out (`deleted`) no other way.
    return {name: value for name, value in whole.items() if name != "deleted"}


@functools.cache
def _declared(kind: type) -> dict[str, Any]:
    return dict(kind.__annotations__)


def _optional(hint: Any) -> bool:
    return type(None) in get_args(hint) or str(hint).startswith("Optional[")
