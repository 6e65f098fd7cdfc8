# SPDX-License-Identifier: Apache-2.0
"""What every answer has, and what operators and tools ask."""

import json
import re
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from front import code
from holdfirst.errors import Busy, DatabaseUnavailable
from holdfirst.refusal import Code
from holdfirst.web.address import client_address
from holdfirst.web.app import OPERATIONS, openapi_document
from holdfirst.web.problems import MEANINGS

OPENAPI = Path(__file__).parents[2] / "docs" / "openapi.json"


def test_every_code_has_a_status_and_a_title() -> None:
    assert set(MEANINGS) == set(Code)
    assert all(400 <= meaning.status < 600 and meaning.title for meaning in MEANINGS.values())
    assert not [code for code, meaning in MEANINGS.items() if meaning.status == 500]


async def test_the_list_of_refusals(site) -> None:
    told = (await site.get("/v1/refusals", key=None)).json()["data"]
    assert {one["code"] for one in told} == set(Code)
    assert set(told[0]) == {"code", "status", "title", "type"}
    page = (await site.get("/docs/refusals", key=None)).text
    assert all(f'id="{code}"' in page for code in Code)


async def test_no_such_path_and_no_such_method(site) -> None:
    assert code(await site.get("/v1/nothing")) == (404, "not_found")
    assert code(await site.get("/")) == (404, "not_found")
    answer = await site.call("DELETE", "/v1/reservations")
    assert code(answer) == (405, "method_not_allowed")
    assert set(answer.headers["allow"].split(", ")) >= {"GET", "POST"}
    assert (await site.get("/v1/hosts/")).status_code == 200


async def test_what_every_answer_has(site) -> None:
    for path in ("/healthz", "/v1/nothing", "/v1/hosts", "/r/x"):
        answer = await site.get(path, headers={"x-request-id": "abc-1", "origin": "https://any.example"})
        assert answer.headers["x-request-id"] == "abc-1"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["access-control-allow-origin"] == "https://any.example"
        assert "access-control-allow-credentials" not in answer.headers
        assert "Origin" in answer.headers["vary"]
        assert "ETag" in answer.headers["access-control-expose-headers"]
    odd = await site.get("/healthz", headers={"x-request-id": "a b\t" * 100})
    assert odd.headers["x-request-id"].startswith("req_")
    assert "access-control-allow-origin" not in odd.headers
    assert (await site.get("/v1/reservations")).headers["cache-control"] == "no-store"


async def test_preflight(site) -> None:
    headers = {"origin": "https://any.example", "access-control-request-method": "POST"}
    for path in ("/v1/reservations", "/v1/event-types/x/slots", "/v1/nothing"):
        answer = await site.call("OPTIONS", path, key=None, headers=headers)
        assert answer.status_code == 204
        assert answer.headers["access-control-allow-origin"] == "https://any.example"
        assert "PATCH" in answer.headers["access-control-allow-methods"]
        for name in ("authorization", "content-type", "idempotency-key", "x-holdfirst-hold", "last-event-id"):
            assert name in answer.headers["access-control-allow-headers"]
        assert answer.headers["access-control-max-age"]


async def test_health(site) -> None:
    assert (await site.get("/healthz", key=None)).json() == {"status": "ok"}
    ready = await site.get("/readyz", key=None)
    assert ready.status_code == 200
    assert ready.json() == {"database": "ok", "migrations": "ok", "worker": "missing"}
    held = await site.held()
    await site.get(f"/v1/reservations/{held['id']}")
    text = (await site.get("/metrics", key=None)).text
    assert 'route="/v1/reservations/{reservation}"' in text
    assert held["id"] not in text
    for name in (
        "jobs_due",
        "jobs_dead",
        "payments_needing_a_human",
        "refunds_due",
        "database_connections",
        "workers",
    ):
        assert f"\nholdfirst_{name} " in text


async def test_a_database_that_is_gone(site) -> None:
    await site.shop.database.close()
    ready = await site.get("/readyz", key=None)
    assert ready.status_code == 503
    assert ready.headers["retry-after"]
    for path in ("/v1/hosts", "/metrics", "/r/res_x"):
        assert code(await site.get(path)) == (503, "database_unavailable")
    assert code(await site.post("/v1/reservations", site.wish())) == (503, "database_unavailable")
    assert (await site.get("/healthz", key=None)).status_code == 200


@pytest.mark.parametrize(
    ("error", "said", "retry"),
    [
        (Busy("x"), (503, "busy"), "1"),
        (DatabaseUnavailable("x"), (503, "database_unavailable"), "2"),
    ],
)
async def test_failures_of_the_world(site, monkeypatch, error, said, retry) -> None:
    async def fail(*_, **__):
        raise error

    await site.get("/v1/hosts")
    monkeypatch.setattr(site.shop.database, "single", fail)
    monkeypatch.setattr(site.shop.database, "run", fail)
    answer = await site.post("/v1/reservations", site.wish())
    assert code(answer) == said
    assert answer.headers["retry-after"] == retry


async def test_a_bug_says_nothing_of_customers(site, monkeypatch) -> None:
    async def fail(*_, **__):
        raise ValueError("anna@example.org")

    await site.get("/v1/hosts")
    monkeypatch.setattr(site.shop.database, "single", fail)
    with capture_logs() as logs:
        answer = await site.post("/v1/reservations", site.wish())
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "anna" not in str(logs) + answer.text
    assert [one["event"] for one in logs] == ["request_failed", "request"]


async def test_the_access_line(site) -> None:
    with capture_logs() as logs:
        held = await site.held(customer={"name": "Anna", "email": "anna@example.org"})
        await site.get(f"/v1/reservations/{held['id']}?x=anna@example.org")
        await site.get(f"/v1/event-types?key={site.keys['publishable']}", key=None)
        await site.get("/v1/anna@example.org")
    assert [one["route"] for one in logs] == [
        "/v1/reservations",
        "/v1/reservations/{reservation}",
        "/v1/event-types",
        "(none)",
    ]
    assert set(logs[0]) == {"event", "log_level", "method", "route", "status", "ms", "request_id"}
    assert not [secret for secret in ("anna", "hf_") if secret in str(logs)]


@pytest.mark.parametrize(
    ("peer", "trusted", "forwarded", "address"),
    [
        ("198.51.100.1", "", "203.0.113.9", "198.51.100.1"),
        ("10.0.0.1", "10.0.0.0/8", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "10.0.0.0/8", "6.6.6.6, 203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "10.0.0.0/8", "6.6.6.6, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
        ("10.0.0.1", "10.0.0.0/8", "nonsense", "10.0.0.1"),
        ("10.0.0.1", "10.0.0.0/8", "", "10.0.0.1"),
        ("::1", "::1, 10.0.0.0/8", "2001:db8::1", "2001:db8::1"),
    ],
)
def test_whose_request_it_is(peer: str, trusted: str, forwarded: str, address: str) -> None:
    scope = {"client": (peer, 1), "headers": [(b"x-forwarded-for", forwarded.encode())]}
    assert client_address(scope, trusted) == address


def test_the_document_is_current() -> None:
    assert OPENAPI.read_bytes() == openapi_document(), "run `make openapi`, and look at what changed"


def test_the_document_describes_every_operation() -> None:
    told = json.loads(openapi_document())
    assert told["openapi"] == "3.1.0"
    described = {(method.upper(), path) for path, methods in told["paths"].items() for method in methods}
    assert described == {(one.method, one.path.replace(":str", "")) for one in OPERATIONS}
    names = [one["operationId"] for methods in told["paths"].values() for one in methods.values()]
    assert len(names) == len(set(names))
    for one in OPERATIONS:
        said = told["paths"][one.path.replace(":str", "")][one.method.lower()]
        assert ("requestBody" in said) == (one.body is not None)
        assert bool(said["security"]) == bool(one.who)
    referred = set(re.findall(r'"#/components/schemas/([^"]+)"', openapi_document().decode()))
    assert referred <= set(told["components"]["schemas"])


async def test_it_is_served(site) -> None:
    answer = await site.get("/openapi.json", key=None)
    assert msgspec.json.decode(answer.content) == msgspec.json.decode(openapi_document())
