# SPDX-License-Identifier: Apache-2.0
"""In whose language a page is told: what its address asks for, what the reservation was made in, what the browser prefers."""

from litestar.types import Scope

from holdfirst.language.words import LANGUAGES, Words, language_of, words_in
from holdfirst.web.bodies import query_of
from holdfirst.web.problems import Problem

ENGLISH = words_in(LANGUAGES[0])


def words_for(scope: Scope, chosen: str | None = None) -> Words:
    """`?lang=`, else `chosen`, else the browser's own order (RFC 9110, weights), else English."""
    for tag in [_named(scope), chosen or "", *_preferred(scope)]:
        if language_of(tag) is not None:
            return words_in(tag)
    return ENGLISH


def _named(scope: Scope) -> str:
    try:
        return query_of(scope).get("lang", "")
    except Problem:
        return ""


def _preferred(scope: Scope) -> list[str]:
    header = b",".join(value for name, value in scope["headers"] if name == b"accept-language")
    weighed = []
    for part in header.decode("latin-1").split(","):
        tag, _, weight = part.partition(";q=")
        weighed.append((-_weight(weight), tag))
    return [tag for weight, tag in sorted(weighed, key=lambda pair: pair[0]) if weight]


def _weight(text: str) -> float:
    try:
        return float(text) if text else 1.0
    except ValueError:
        return 0.0
