# SPDX-License-Identifier: Apache-2.0
"""Whatever a client sends, to any route, is answered: never a 500, and a 503 only with Retry-After."""

import random
from copy import deepcopy
from typing import Any

import httpx
import msgspec
import pytest

from holdfirst.web.app import OPERATIONS
from holdfirst.web.operation import Operation, Patch

ODD: list[Any] = [
    None, True, 0, -1, 1.5, 1e308, 2**63 - 1, -(2**63), 2**64, "", "x", "\u0000", "\ud7ff", "🧘", "a\nb", "x" * 5000,
    [], [[]], {}, {"a": 1}, ["x"], "2026-12-07T08:00:00Z", "2100-12-31T23:59:59.999+14:00", "1970-01-01T00:00:00Z",
    "2026-02-30T00:00:00Z", {"amount_minor": 1, "currency": "EUR"}, {"weekly": []}, "EUR", "Europe/Prague",
    "hf_cs_x.y", "https://a.example/?q=1#f", "http://[::1", "https://xn--/", "a@b.cz",
]  # fmt: skip
PATHS = ["x", "%00", "res_\u00e9", "%F0%9F%98%80", "..", "a%2Fb", "%ff"]
KEYS: list[bytes] = [b"a", b"b", b"x" * 255, b"", b"\x7f", b"\xff\xfe"]
ROUTES = [one for one in OPERATIONS if not one.path.endswith("/stream")]


def body_of(chance: random.Random, operation: Operation, good: dict[str, Any]) -> Any:
    """Mostly what is required, with one or two members that nobody expects."""
    if operation.body is None:
        return None
    form = operation.body.form if isinstance(operation.body, Patch) else operation.body
    members = msgspec.structs.fields(form)
    body = {
        one.encode_name: good[one.encode_name] for one in members if one.required and one.encode_name in good
    }
    for one in chance.sample(members, min(len(members), chance.randint(0, 2))):
        body[one.encode_name] = deepcopy(chance.choice(ODD))
    for value in list(body.values()):
        if isinstance(value, dict) and chance.random() < 0.3:
            value[chance.choice(["name", "email", "amount_minor", "currency"])] = deepcopy(chance.choice(ODD))
    return body if chance.random() > 0.03 else deepcopy(chance.choice(ODD))


def query_of(chance: random.Random, operation: Operation, good: dict[str, Any]) -> dict[str, str]:
    query = {}
    for one in msgspec.structs.fields(operation.query):
        if one.required or chance.random() < 0.4:
            usual = good.get(one.encode_name) if chance.random() < 0.6 else None
            query[one.encode_name] = usual or str(chance.choice(ODD))
    return query


@pytest.mark.parametrize("seed", range(4))
async def test_odd_requests(site, seed: int) -> None:
    chance = random.Random(seed)
    held = await site.held()
    opened = await site.post(
        f"/v1/reservations/{held['id']}/checkout", {"return_url": "https://shop.example/"}
    )
    ids = {
        "host": site.shop.hosts[0],
        "event_type": site.shop.event_type_id,
        "reservation": held["id"],
        "payment": opened.json()["payment"]["id"],
        "payment_account": site.shop.payee_id,
        "provider": "fake",
        "watch": "wat_1",
        "key": "k",
        "owner": "other",
        "name": "embed.js",
        "connection": await site.shop.connect(),
        "endpoint": (await site.post("/v1/webhook-endpoints", {"url": "https://shop.example/"})).json()["id"],
        "delivery": "dlv_" + "0" * 26,
        "token": "t.ics",
    }
    good = {
        "name": "n",
        "time_zone": "UTC",
        "schedule": {},
        "hosts": [ids["host"]],
        "duration_minutes": 60,
        "event_type": ids["event_type"],
        "start": site.shop.slot(9).isoformat(),
        "end": site.shop.slot(12).isoformat(),
        "return_url": "https://shop.example/",
        "note": "n",
        "provider": "sandbox",
        "host": ids["host"],
        "credentials": {"url": "https://calendar.example/", "username": "u", "password": "p"},
    }
    keys = ["secret", "secret", "secret", "publishable", "other", "live", held["client_secret"], None]
    for _ in range(700):
        operation = chance.choice(ROUTES)
        named = {part: chance.choice(PATHS) if chance.random() < 0.1 else one for part, one in ids.items()}
        path = operation.path.replace(":str", "").format(**named)
        body = body_of(chance, operation, deepcopy(good))
        query = query_of(chance, operation, good)
        headers = {"idempotency-key": chance.choice(KEYS)} if chance.random() < 0.3 else {}
        try:
            answer = await site.call(
                operation.method, path, body, key=chance.choice(keys), params=query, headers=headers
            )
        except (httpx.InvalidURL, OverflowError, UnicodeEncodeError):
            continue  # what even the client does not send
        assert answer.status_code < 500 or "retry-after" in answer.headers, (
            operation.method,
            path,
            body,
            query,
        )
