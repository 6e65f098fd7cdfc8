# SPDX-License-Identifier: Apache-2.0
"""What a person reads where there is no page to show: nothing there, no answer now, a bug of ours."""

from typing import Any

from litestar import Response
from litestar.types import Scope

from holdfirst.language.words import Words
from holdfirst.web.languages import ENGLISH, words_for
from holdfirst.web.operation import Answer
from holdfirst.web.page import HEADERS, render, template

NOTICE = template("notice.html")
API = "/v1/"


def notice(words: Words, title: str, status: int = 404) -> Response[str]:
    """`title`: of a sentence; the one below it is called the same with `_text`."""
    return _page(words, words.say(title), words.say(f"{title}_text"), status)


def notice_to_operators(title: str, text: str) -> Response[str]:
    return _page(ENGLISH, title, text, 404)


def as_page(answer: Answer, scope: Scope) -> Response[str] | None:
    """A problem as a page, where a browser asked for one: not of the API, nor for a program."""
    if scope["path"].startswith(API) or not _wants_page(scope):
        return None
    page = notice(words_for(scope), _sentence(answer.status), answer.status)
    if "retry-after" in answer.headers:
        page.headers["retry-after"] = answer.headers["retry-after"]
    return page


def _wants_page(scope: Any) -> bool:
    """What a browser says that goes to an address; programs say anything but this."""
    if scope["method"] not in ("GET", "HEAD"):
        return False
    return any(b"text/html" in value for name, value in scope["headers"] if name == b"accept")


def _sentence(status: int) -> str:
    match status:
        case 404 | 405 | 410:
            return "no_page"
        case 429 | 503:
            return "no_answer"
        case _ if status >= 500:
            return "broken"
        case _:
            return "bad_address"


def _page(words: Words, title: str, text: str, status: int) -> Response[str]:
    page = render(NOTICE, words, title=title, text=text)
    headers = {**HEADERS, "vary": "Accept, Accept-Language"}
    return Response(page, status_code=status, headers=headers, media_type="text/html")
