# SPDX-License-Identifier: Apache-2.0
"""What operators and tools ask: is it alive, is it ready, what does it count, what can it say, what can it do."""

from functools import partial
from html import escape
from typing import Any

from holdfirst.errors import HoldfirstError
from holdfirst.store import migrations
from holdfirst.store.gauges import gauges
from holdfirst.web.operation import PUBLIC, Answer, Call, Operation
from holdfirst.web.problems import listed


async def healthz(_: Call) -> Answer:
    """The process answers."""
    return Answer({"status": "ok"})


async def readyz(call: Call) -> Answer:
    """Database and migrations decide; a missing worker is said, because this process serves well without one."""
    database = call.world.database
    try:
        pending = await migrations.pending(database)
        worker = not pending and (await database.single(gauges)).workers > 0
    except (HoldfirstError, OSError):
        told = {"database": "unreachable", "migrations": "unknown", "worker": "unknown"}
        return Answer(told, 503, {"retry-after": "2"})
    told = {
        "database": "ok",
        "migrations": "pending" if pending else "ok",
        "worker": "ok" if worker else "missing",
    }
    return Answer(told, 503 if pending else 200, {"retry-after": "2"} if pending else {})


async def metrics(call: Call) -> Answer:
    text = await call.context.metrics.scrape(call.world.database)
    return Answer(text, media_type="text/plain; version=0.0.4; charset=utf-8")


async def refusals(call: Call) -> Answer:
    return Answer({"data": listed(call.world.public_url)}, headers={"cache-control": "public, max-age=3600"})


async def refusals_page(call: Call) -> Answer:
    """What a problem's `type` leads to."""
    rows = "".join(
        f'<tr id="{one["code"]}"><td><code>{one["code"]}</code><td>{one["status"]}<td>{escape(one["title"])}\n'
        for one in listed(call.world.public_url)
    )
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Refusals</title>'
        "<style>body { font: 1rem/1.6 system-ui, sans-serif; margin: 3rem } td { padding-right: 2rem }"
        " tr:target { background: #ffc }</style>"
        f"<h1>Refusals</h1><table>{rows}</table></html>"
    )
    return Answer(page.encode(), media_type="text/html; charset=utf-8")


_open: Any = partial(Operation, method="GET", who=PUBLIC, any_query=True)

OPERATIONS: list[Operation] = [
    _open(path="/healthz", summary="Whether the process answers", endpoint=healthz),
    _open(path="/readyz", summary="Whether database and migrations are ready", endpoint=readyz),
    _open(path="/metrics", summary="Prometheus metrics", endpoint=metrics),
    _open(path="/v1/refusals", summary="Every code that a refusal can have", endpoint=refusals),
    _open(path="/docs/refusals", summary="The same for people", endpoint=refusals_page),
]
