# SPDX-License-Identifier: Apache-2.0
"""`GET /oauth/{provider}/callback`: a host comes back from the page where they let us into their calendars."""

from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from litestar import Response

from holdfirst.effects.consent import come_back, onward
from holdfirst.refusal import Code, invalid
from holdfirst.web.bodies import query_of
from holdfirst.web.languages import ENGLISH
from holdfirst.web.operation import PUBLIC, Call, Operation, unless_refused
from holdfirst.web.page import HEADERS, render, template
from holdfirst.web.problems import Problem

PAGE = template("return.html")


async def callback(call: Call) -> Response[Any]:
    query = query_of(call.scope)
    if "error" in query:
        return _page("Not connected", "You did not let us into your calendar. Nothing has changed.")
    for name in ("state", "code"):
        if not query.get(name):
            raise Problem(invalid(name, "is missing"))
    connection = unless_refused(
        await come_back(call.world, call.path["provider"], query["state"], query["code"])
    )
    target = onward(call.world, connection)
    if target is not None:
        parts = urlsplit(target)
        named = urlencode({"connection": connection.id})
        full = urlunsplit(parts._replace(query="&".join(part for part in (parts.query, named) if part)))
        return Response("", status_code=303, headers={**HEADERS, "location": full})
    return _page("Connected", "Your calendar is connected. You can close this page.")


def _page(title: str, text: str) -> Response[str]:
    page = render(PAGE, ENGLISH, title=title, text=text, waiting=None, onward=None)
    return Response(page, status_code=200, headers=HEADERS, media_type="text/html")


OPERATIONS: list[Operation] = [
    Operation(
        method="GET",
        path="/oauth/{provider:str}/callback",
        summary="Back from a calendar's consent page",
        who=PUBLIC,
        endpoint=callback,
        any_query=True,
        goes_on=True,
        refusals=(Code.NOT_FOUND, Code.INVALID_REQUEST, Code.CALENDAR_UNREACHABLE),
    ),
]
