# SPDX-License-Identifier: Apache-2.0
"""`/b/{account or host}/{event type}` and `/m/{reservation}`: the shells of the pages that customers see.

A shell holds what anybody may know (the offer, and a key that opens this offer alone) and loads the built front end,
which speaks to the API like any other client. No cookies; a client secret never comes here, for it stands in the
fragment.
"""

from collections.abc import Sequence
from datetime import datetime
from urllib.parse import urlsplit

import msgspec
from litestar import Response
from msgspec import UNSET, UnsetType

from holdfirst.language.words import words_in
from holdfirst.refusal import Code
from holdfirst.reservation.event_type import EventType, Host
from holdfirst.store import booking_pages, catalog, reservations
from holdfirst.store.database import Tx
from holdfirst.web.answers import event_type_answer
from holdfirst.web.assets import NOT_BUILT, built_assets
from holdfirst.web.instants import z
from holdfirst.web.languages import words_for
from holdfirst.web.notices import notice, notice_to_operators
from holdfirst.web.operation import PUBLIC, Call, Operation
from holdfirst.web.page import digest, source, template

ENTRY = "src/main.ts"
SENTENCES = "../vue3/src/messages/{}.json"
SHELL = template("shell.html")
FIRST_TIMES = source("first_times.js")
"""Runs before anything else of the page is here: one way to the server and back less until times are seen."""


class HostTold(msgspec.Struct):
    """As the page names who will be met."""

    id: str
    name: str


class Bootstrap(msgspec.Struct, kw_only=True):
    """What the shell tells the front end, as JSON in the page."""

    page: str
    key: str
    event_type: dict[str, object]
    hosts: list[HostTold]
    time_zone: str
    language: str
    server_time: str
    livemode: bool
    host: str | UnsetType = UNSET
    reservation: str | UnsetType = UNSET


class Shown(msgspec.Struct):
    """What a shell is about: an event type and who will be met."""

    event_type: EventType
    hosts: Sequence[Host]
    livemode: bool
    now: datetime


class Found(msgspec.Struct):
    """Which page a path names: `host_id` where it was one host's."""

    account_id: str
    event_type_id: str
    host_id: str | None = None


async def booking_page(call: Call) -> Response[str]:
    found = await call.world.database.single(_find, call.path["owner"], call.path["event_type"])
    offer = None
    if found is not None:
        offer = await call.world.database.single(catalog.load_offer, found.account_id, found.event_type_id)
    if found is None or offer is None:
        return notice(words_for(call.scope), "no_offer")
    bootstrap = _bootstrap(call, "book", Shown(offer.event_type, offer.hosts, offer.livemode, offer.now))
    if found.host_id is not None:
        bootstrap.host = found.host_id
        bootstrap.hosts = [one for one in bootstrap.hosts if one.id == found.host_id]
    return _shell(call, bootstrap, offer.event_type, offer.event_type.rules.allowed_origins)


async def manage_page(call: Call) -> Response[str]:
    """The same for every reservation of this event type: only the fragment, which we do not see, opens one."""
    seen = await call.world.database.single(_reserved, call.path["reservation"])
    if seen is None:
        return notice(words_for(call.scope), "no_booking")
    bootstrap = _bootstrap(call, "manage", seen)
    bootstrap.reservation = call.path["reservation"]
    return _shell(call, bootstrap, seen.event_type, None)


async def _find(tx: Tx, owner: str, event_type: str) -> Found | None:
    """An account's slug goes before a host's. Of two hosts of that name the live one is meant; of two live ones none."""
    page = await booking_pages.page_of_account(tx, owner, event_type)
    if page is not None:
        return Found(*page)
    of_hosts = await booking_pages.pages_of_host(tx, owner, event_type)
    live = [one for one in of_hosts if one[3]] or of_hosts
    if len(live) != 1:
        return None
    account_id, event_type_id, host_id, _ = live[0]
    return Found(account_id, event_type_id, host_id)


async def _reserved(tx: Tx, reservation_id: str) -> Shown | None:
    """The offer as it was reserved, also where it is not offered any more."""
    reservation = await reservations.load(tx, reservation_id)
    if reservation is None:
        return None
    event_type = await catalog.event_type_by_id(tx, reservation.event_type_id)
    assert event_type is not None
    found = [await catalog.load_host(tx, reservation.account_id, host) for host in reservation.hosts]
    hosts = [one for one in found if one is not None]
    return Shown(event_type, hosts, reservation.livemode, await tx.now())


def _bootstrap(call: Call, page: str, shown: Shown) -> Bootstrap:
    named = [HostTold(host.id, host.name) for host in shown.hosts]
    return Bootstrap(
        page=page,
        key=call.world.key_ring.page_key(shown.event_type.id),
        event_type=event_type_answer(shown.event_type, livemode=shown.livemode, for_account=False),
        hosts=named,
        time_zone=shown.hosts[0].time_zone if shown.hosts else "UTC",
        language=words_for(call.scope).language,
        server_time=z(shown.now),
        livemode=shown.livemode,
    )


def _shell(
    call: Call, bootstrap: Bootstrap, event_type: EventType, framed_by: list[str] | None
) -> Response[str]:
    """`framed_by`: origins that may show it in a frame; an empty list: any; None: nobody."""
    assets = built_assets()
    if ENTRY not in assets.chunks:
        return notice_to_operators("This page is not here", NOT_BUILT)
    root = urlsplit(call.world.public_url).path.rstrip("/")
    scripts = assets.scripts(ENTRY)
    if (spoken := SENTENCES.format(bootstrap.language)) in assets.chunks:
        scripts += assets.scripts(spoken)
    words = words_in(bootstrap.language)
    page = SHELL.render(
        language=words.language,
        direction=words.direction,
        needs_script=words.say("needs_script"),
        title=event_type.rules.name,
        description=event_type.rules.description or "",
        hosts=", ".join(host.name for host in bootstrap.hosts[:3]),
        script=f"{root}/assets/{scripts[0]}",
        preloads=[f"{root}/assets/{name}" for name in scripts[1:]],
        styles=[f"{root}/assets/{name}" for name in assets.styles(ENTRY)],
        first_times=FIRST_TIMES,
        unlisted=bootstrap.page == "manage" or not bootstrap.livemode,
        bootstrap=_in_a_script(bootstrap),
    )
    return Response(page, headers=_headers(framed_by), media_type="text/html")


def _in_a_script(bootstrap: Bootstrap) -> str:
    """JSON that no HTML parser ends early: whatever somebody called their event type."""
    text = msgspec.json.encode(bootstrap).decode()
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


def _headers(framed_by: list[str] | None) -> dict[str, str]:
    ancestors = "'none'"
    if framed_by is not None:
        ancestors = " ".join(["'self'", *framed_by]) if framed_by else "*"
    policy = {
        "default-src": "'none'",
        "script-src": f"'self' {digest(FIRST_TIMES)}",
        "style-src": "'self'",
        "connect-src": "'self'",
        "img-src": "'self' data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": ancestors,
    }
    return {
        "content-security-policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "cache-control": "no-store",
        "vary": "Accept-Language",
    }


OPERATIONS: list[Operation] = [
    Operation(
        method="GET",
        path="/b/{owner:str}/{event_type:str}",
        summary="A booking page",
        who=PUBLIC,
        endpoint=booking_page,
        any_query=True,
        for_people=True,
        refusals=(Code.NOT_FOUND,),
    ),
    Operation(
        method="GET",
        path="/m/{reservation:str}",
        summary="Where a customer sees, moves or cancels a booking",
        who=PUBLIC,
        endpoint=manage_page,
        any_query=True,
        for_people=True,
        refusals=(Code.NOT_FOUND,),
    ),
]
