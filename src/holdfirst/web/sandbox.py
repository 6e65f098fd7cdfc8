# SPDX-License-Identifier: Apache-2.0
"""The sandbox provider on the web: the page where customers pay nothing, and the test seam.

The page is always there, for whoever knows a checkout's reference. The seam is there under HOLDFIRST_SANDBOX.
"""

from typing import Annotated, Any, Literal, Protocol, TypeVar
from urllib.parse import parse_qs

import msgspec
from litestar import Request, Response, Router, get, post
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency, Provide
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, SkipValidation
from litestar.response import Redirect
from msgspec import structs

from holdfirst.payment.sandbox import Action, Checkout, Fault, Ledger, Operation
from holdfirst.refusal import Code, Refusal
from holdfirst.web import sandbox_page
from holdfirst.web.problems import Problem

Body = TypeVar("Body", bound=msgspec.Struct)


class Sandbox(Protocol):
    """The company behind the page and the seam. Checkouts are named by reference; an unknown one is `not_found`."""

    async def look(self, ref: str) -> Checkout | None:
        """How a checkout stands now."""
        ...

    async def ledger(self, ref: str) -> Ledger | None:
        """How it stands, and every call that was made about it."""
        ...

    async def act(
        self, ref: str, action: Action, *, force: bool = False, notifications: int = 1
    ) -> Checkout | Refusal:
        """Do this, then notify so many times."""
        ...

    async def pay(self, ref: str) -> Checkout | Refusal:
        """Authorise or pay, as the checkout's mode has it; notify once."""
        ...

    async def pay_late(self, ref: str) -> Checkout | Refusal:
        """Let it go through after the time to pay is over."""
        ...

    async def add_fault(self, operation: Operation, fault: Fault, times: int) -> None:
        """The next `times` calls of this operation meet this fault."""
        ...


Company = SkipValidation[NamedDependency[Sandbox]]
AnyRequest = Request[Any, Any, Any]


def sandbox_router(company: Sandbox, *, seam_open: bool) -> Router:
    """`seam_open`: whether the server runs with HOLDFIRST_SANDBOX."""

    def only_if_open(_connection: ASGIConnection[Any, Any, Any, Any], _route: BaseRouteHandler) -> None:
        if not seam_open:
            raise Problem(Refusal(Code.NOT_FOUND, "There is nothing here."))

    seam = Router(path="/", route_handlers=[show_ledger, act_on_checkout, plan_fault], guards=[only_if_open])
    return Router(
        path="/sandbox",
        route_handlers=[show_page, press_button, seam],
        dependencies={"company": Provide(lambda: company, sync_to_thread=False)},
        include_in_schema=False,
    )


# The hosted page


@get("/{ref:str}", media_type="text/html")
async def show_page(ref: FromPath[str], company: Company) -> Response[str]:
    """What is to be paid and the buttons; or how it ended, and the way back."""
    if (checkout := await company.look(ref)) is None:
        raise _no_such_checkout()
    return Response(sandbox_page.render(checkout), headers=sandbox_page.HEADERS)


@post("/{ref:str}", status_code=303)
async def press_button(ref: FromPath[str], request: AnyRequest, company: Company) -> Redirect:
    """On to the return page; a button that does nothing any more leads back here, where the page says why."""
    button = await _button(request)
    match button:
        case "pay":
            after = await company.pay(ref)
        case "pay_late":
            after = await company.pay_late(ref)
        case "decline":
            after = await company.act(ref, Action.DECLINE)
        case "abandon":
            after = await company.act(ref, Action.ABANDON)
        case _:
            raise Problem(Refusal(Code.INVALID_REQUEST, "There is no such button."))
    match after:
        case Refusal(code=Code.SANDBOX_ACTION_REFUSED):
            return _see_other(ref)
        case Refusal():
            raise Problem(after)
        case Checkout():
            # A late payment has not gone through yet: the page says when it will.
            return _see_other(ref if button == "pay_late" else after.return_url)


async def _button(request: AnyRequest) -> str | None:
    media_type, _ = request.content_type
    if media_type != "application/x-www-form-urlencoded":
        raise Problem(Refusal(Code.UNSUPPORTED_MEDIA_TYPE, "A form is wanted."))
    fields = parse_qs((await request.body()).decode("ascii", "replace"))
    return fields.get("action", [None])[-1]


def _see_other(url: str) -> Redirect:
    """`url` may be relative to the page: its reference alone is the page again, under any prefix of a proxy."""
    return Redirect(url, status_code=303, headers=sandbox_page.HEADERS)


# The test seam


class ActionRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`force`: the payment was under way, so it goes through what has died meanwhile."""

    notify: Literal["once", "twice", "never"] = "once"
    force: bool = False


class FaultRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The next `times` calls of `operation`, on any checkout, are answered so."""

    operation: Operation
    answer: Fault
    times: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1


_TIMES = {"once": 1, "twice": 2, "never": 0}


@get("/checkouts/{ref:str}")
async def show_ledger(ref: FromPath[str], company: Company) -> dict[str, Any]:
    """What became of this checkout, and every call that holdfirst made about it."""
    return await _ledger(company, ref)


@post("/checkouts/{ref:str}/{action:str}", status_code=200)
async def act_on_checkout(
    ref: FromPath[str], action: FromPath[str], request: AnyRequest, company: Company
) -> dict[str, Any]:
    """Do what a customer would do; answers the ledger after it."""
    if action not in set(Action):
        raise Problem(Refusal(Code.NOT_FOUND, "There is no such action."))
    wish = await _json(request, ActionRequest) or ActionRequest()
    after = await company.act(ref, Action(action), force=wish.force, notifications=_TIMES[wish.notify])
    if isinstance(after, Refusal):
        raise Problem(after)
    return await _ledger(company, ref)


@post("/faults", status_code=200)
async def plan_fault(request: AnyRequest, company: Company) -> dict[str, str]:
    """Faults live in the database, so they outlive this process."""
    wish = await _json(request, FaultRequest)
    if wish is None:
        raise Problem(Refusal(Code.INVALID_REQUEST, "A body is wanted: operation, answer, times."))
    await company.add_fault(wish.operation, wish.answer, wish.times)
    return {}


async def _ledger(company: Sandbox, ref: str) -> dict[str, Any]:
    if (ledger := await company.ledger(ref)) is None:
        raise _no_such_checkout()
    calls = [
        {
            "operation": call.operation,
            "answer": call.answer,
            "at": f"{call.at:%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z",
        }
        for call in ledger.calls
    ]
    return {**structs.asdict(ledger), "calls": calls}


async def _json(request: AnyRequest, shape: type[Body]) -> Body | None:
    """The body as this shape; None: there is none."""
    raw = await request.body()
    if not raw:
        return None
    media_type, _ = request.content_type
    if media_type != "application/json":
        raise Problem(Refusal(Code.UNSUPPORTED_MEDIA_TYPE, "JSON is wanted."))
    try:
        return msgspec.json.decode(raw, type=shape)
    except msgspec.ValidationError as error:
        raise Problem(Refusal(Code.INVALID_REQUEST, str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Problem(Refusal(Code.MALFORMED_JSON, "The body is not JSON.")) from None


def _no_such_checkout() -> Problem:
    return Problem(Refusal(Code.NOT_FOUND, "There is no such checkout."))
