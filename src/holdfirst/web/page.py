# SPDX-License-Identifier: Apache-2.0
"""The pages we serve ourselves: one style, no script, no cookie, nothing from elsewhere."""

import base64
import hashlib
from importlib import resources
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template

from holdfirst.language.words import Words

_FOLDER = resources.files("holdfirst.web") / "templates"
_STYLE = (_FOLDER / "page.css").read_text()
_STYLE_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_TEMPLATES = Environment(
    autoescape=True,
    undefined=StrictUndefined,
    loader=FunctionLoader(lambda name: (_FOLDER / name).read_text()),
)

HEADERS = {
    # No form-action: browsers hold it against redirects too, and the way back may lead to another origin.
    "content-security-policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_DIGEST}'; base-uri 'none'; frame-ancestors 'none'"
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
