# SPDX-License-Identifier: Apache-2.0
"""The pages we serve ourselves: one style, no cookie, nothing from elsewhere; and one script, where a page waits."""

import base64
import hashlib
from importlib import resources
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template

from holdfirst.language.words import Words

_FOLDER = resources.files("holdfirst.web") / "templates"


def source(name: str) -> str:
    return (_FOLDER / name).read_text()


_STYLE = source("page.css")
WAITING = source("waiting.js")
"""Asks how it stands, and loads the page anew when that has changed: not under the eyes of whoever reads it."""
_TEMPLATES = Environment(
    autoescape=True,
    undefined=StrictUndefined,
    loader=FunctionLoader(source),
)


def digest(text: str) -> str:
    """What lets a policy pass this very text, inline."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


HEADERS = {
    # No form-action: browsers hold it against redirects too, and the way back may lead to another origin.
    "content-security-policy": (
        f"default-src 'none'; style-src {digest(_STYLE)}; script-src {digest(WAITING)}; connect-src 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "cache-control": "no-store",
    # Whoever knows an address may act on it: it is not told to the next page, and not to search engines.
    "referrer-policy": "no-referrer",
    "x-robots-tag": "noindex, nofollow",
    "x-content-type-options": "nosniff",
}


def template(name: str) -> Template:
    return _TEMPLATES.get_template(name)


def render(page: Template, words: Words, **values: Any) -> str:
    """Pages that nobody but us writes; `words` says in which language."""
    return page.render(style=_STYLE, language=words.language, direction=words.direction, **values)
