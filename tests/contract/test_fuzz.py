# SPDX-License-Identifier: Apache-2.0
"""Requests made from our own OpenAPI document, against a real server: no bug of ours, and no answer that it does not tell."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from counter import Counter
from holdfirst.web.app import openapi_document

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 25
NEVER_ENDS = {"/v1/event-types/{event_type}/slots/stream"}


@asynccontextmanager
async def listening(app: Any) -> AsyncIterator[str]:
    """A real uvicorn in this loop."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:
            await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        await serving


@pytest.mark.filterwarnings("ignore")
async def test_the_document_tells_every_answer(counter: Counter) -> None:
    held, paid = await counter.held(), await counter.paid()
    known = {
        "reservation": [held["id"], paid["id"]],
        "payment": [paid["payment"]["id"]],
        "host": counter.site.shop.hosts,
        "event_type": ["free", counter.offers["sale"]],
        "payment_account": [counter.site.shop.payee_id],
    }
    keys = [counter.site.keys["secret"], counter.site.keys["publishable"], held["client_secret"]]
    app = counter.site.http._transport.app
    document = msgspec.json.decode(openapi_document())
    async with listening(app) as url:
        failures = await asyncio.to_thread(fuzz, document, url, known, keys)
    assert not failures, "\n\n".join(failures)


def fuzz(document: dict[str, Any], url: str, known: dict[str, list[str]], keys: list[str]) -> list[str]:
    """What disagrees, one text for each operation."""
    schema = schemathesis.openapi.from_dict(document)
    failures = []
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path in NEVER_ENDS:
            continue
        try:
            _try(operation, url, known, keys)
        except BaseException as failure:  # a group of failures is one
            failures.append(f"{operation.label}: {failure}"[:3000])
    return failures


def _try(operation: Any, url: str, known: dict[str, list[str]], keys: list[str]) -> None:
    chance = random.Random(operation.label)

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def one(case: Any) -> None:
        for name in case.path_parameters or {}:
            if name in known and chance.random() < 0.7:
                case.path_parameters[name] = chance.choice(known[name])
        headers = {"authorization": f"Bearer {chance.choice(keys)}"}
        answer = case.call(base_url=url, headers=headers, timeout=20)
        case.validate_response(answer, checks=CHECKS)

    one()
