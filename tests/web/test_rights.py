# SPDX-License-Identifier: Apache-2.0
"""Who may do what, for every route there is: a route without a row here fails."""

import asyncio
from datetime import timedelta

import pytest

from front import code
from holdfirst.flows.accounts import create_key, revoke_key
from holdfirst.web.app import OPERATIONS
from holdfirst.web.operation import Operation

RESERVATION = "/v1/reservations/{reservation:str}"
NOT_FOUND = {
    "host": "host_not_found",
    "event_type": "event_type_not_found",
    "payment_account": "payment_account_not_found",
    "connection": "calendar_connection_not_found",
    "reservation": "reservation_not_found",
    "payment": "payment_not_found",
    "endpoint": "webhook_endpoint_not_found",
}
# Who may: s(ecret), p(ublishable), c(lient secret), or everybody (-).
RIGHTS = {
    "POST /v1/hosts": "s",
    "GET /v1/hosts": "s",
    "GET /v1/hosts/{host:str}": "s",
    "PATCH /v1/hosts/{host:str}": "s",
    "DELETE /v1/hosts/{host:str}": "s",
    "POST /v1/hosts/{host:str}/calendar-feed/rotate": "s",
    "PUT /v1/hosts/{host:str}/busy/{key:str}": "s",
    "DELETE /v1/hosts/{host:str}/busy/{key:str}": "s",
    "POST /v1/event-types": "s",
    "GET /v1/event-types": "sp",
    "GET /v1/event-types/{event_type:str}": "sp",
    "PATCH /v1/event-types/{event_type:str}": "s",
    "DELETE /v1/event-types/{event_type:str}": "s",
    "POST /v1/payment-accounts": "s",
    "GET /v1/payment-accounts": "s",
    "GET /v1/payment-accounts/{payment_account:str}": "s",
    "PATCH /v1/payment-accounts/{payment_account:str}": "s",
    "DELETE /v1/payment-accounts/{payment_account:str}": "s",
    "POST /v1/payment-accounts/{payment_account:str}/onboarding-link": "s",
    "POST /v1/calendar-connections": "s",
    "GET /v1/calendar-connections": "s",
    "GET /v1/calendar-connections/{connection:str}": "s",
    "PATCH /v1/calendar-connections/{connection:str}": "s",
    "DELETE /v1/calendar-connections/{connection:str}": "s",
    "POST /v1/calendar-connections/{connection:str}/sync": "s",
    "GET /v1/calendar-connections/{connection:str}/calendars": "s",
    "POST /v1/webhook-endpoints": "s",
    "GET /v1/webhook-endpoints": "s",
    "GET /v1/webhook-endpoints/{endpoint:str}": "s",
    "PATCH /v1/webhook-endpoints/{endpoint:str}": "s",
    "DELETE /v1/webhook-endpoints/{endpoint:str}": "s",
    "POST /v1/webhook-endpoints/{endpoint:str}/rotate-secret": "s",
    "GET /v1/webhook-endpoints/{endpoint:str}/deliveries": "s",
    "POST /v1/webhook-endpoints/{endpoint:str}/deliveries/{delivery:str}/redeliver": "s",
    "GET /v1/events": "s",
    "GET /oauth/{provider:str}/callback": "-",
    "GET /calendars/{host:str}/{token:str}": "-",
    "GET /v1/event-types/{event_type:str}/slots": "sp",
    "GET /v1/event-types/{event_type:str}/slots/stream": "sp",
    "POST /v1/reservations": "sp",
    "GET /v1/reservations": "s",
    f"GET {RESERVATION}": "sc",
    f"PATCH {RESERVATION}": "sc",
    f"POST {RESERVATION}/checkout": "sc",
    f"POST {RESERVATION}/extend": "sc",
    f"POST {RESERVATION}/release": "sc",
    f"POST {RESERVATION}/confirm": "sc",
    f"POST {RESERVATION}/cancel": "sc",
    f"POST {RESERVATION}/reschedule": "sc",
    f"POST {RESERVATION}/client-secret/rotate": "sc",
    "GET /v1/payments": "s",
    "GET /v1/payments/{payment:str}": "s",
    "POST /v1/payments/{payment:str}/refund": "s",
    "POST /v1/payments/{payment:str}/resolve": "s",
    "GET /v1/notifications/{provider:str}/{payment_account:str}": "-",
    "POST /v1/notifications/{provider:str}/{payment_account:str}": "-",
    "POST /v1/calendar-notifications/{provider:str}/{watch:str}": "-",
    "GET /r/{reservation:str}": "-",
    "GET /r/{reservation:str}/state": "-",
    "GET /b/{owner:str}/{event_type:str}": "-",
    "GET /m/{reservation:str}": "-",
    "GET /assets/{name:str}": "-",
    "GET /embed.js": "-",
    "GET /embed/{name:str}": "-",
    "GET /healthz": "-",
    "GET /readyz": "-",
    "GET /metrics": "-",
    "GET /v1/refusals": "-",
    "GET /docs/refusals": "-",
    "GET /openapi.json": "-",
}
# The least that is well-formed, so that the answer is about who asks.
BODIES = {
    "POST /v1/hosts": {"name": "x", "time_zone": "UTC", "schedule": {}},
    "POST /v1/calendar-connections": {"host": "hst_1", "provider": "caldav"},
    "PUT /v1/hosts/{host:str}/busy/{key:str}": {
        "start": "2030-01-01T00:00:00Z",
        "end": "2030-01-02T00:00:00Z",
    },
    f"POST {RESERVATION}/checkout": {"return_url": "https://shop.example/"},
    f"POST {RESERVATION}/reschedule": {"start": "2030-01-01T00:00:00Z"},
    "POST /v1/payments/{payment:str}/resolve": {"note": "seen"},
    "POST /v1/payment-accounts/{payment_account:str}/onboarding-link": {
        "return_url": "https://shop.example/",
        "refresh_url": "https://shop.example/",
    },
}
RANGE = {"start": "2030-01-01T00:00:00Z", "end": "2030-01-02T00:00:00Z"}


def name_of(operation: Operation) -> str:
    return f"{operation.method} {operation.path}"


KEYED = [operation for operation in OPERATIONS if operation.who]


async def ask(site, operation: Operation, ids: dict[str, str], key: str | None):
    path = operation.path.replace(":str", "").format(**ids)
    body = BODIES.get(name_of(operation), {} if operation.method in ("POST", "PATCH", "PUT") else None)
    more = {"params": RANGE} if path.endswith("/slots") else {}
    return await site.call(operation.method, path, body, key=key, **more)


async def of_this_account(site) -> tuple[dict[str, str], str, str]:
    """Ids of one account, its reservation's client secret, and another reservation's."""
    held, another = await site.held(9), await site.held(10)
    paid = await site.post(f"/v1/reservations/{held['id']}/checkout", {"return_url": "https://shop.example/"})
    endpoint = await site.post("/v1/webhook-endpoints", {"url": "https://shop.example/hook"})
    ids = {
        "connection": await site.shop.connect(),
        "endpoint": endpoint.json()["id"],
        "delivery": "dlv_" + "0" * 26,
        "host": site.shop.hosts[0],
        "key": "k",
        "event_type": site.shop.event_type_id,
        "payment_account": site.shop.payee_id,
        "reservation": held["id"],
        "payment": paid.json()["payment"]["id"],
    }
    return ids, held["client_secret"], another["client_secret"]


def test_every_route_has_its_row() -> None:
    assert {name_of(operation) for operation in OPERATIONS} == set(RIGHTS)
    for operation in OPERATIONS:
        letters = {str(kind)[0] for kind in operation.who} or {"-"}
        assert letters == set(RIGHTS[name_of(operation)]), name_of(operation)


async def test_without_a_key_or_with_a_wrong_one(site) -> None:
    ids, holder, _ = await of_this_account(site)
    wrong = [
        None,
        "",
        "hf_sk_test_" + "x" * 32,
        "hf_sk_live_\x7f",
        "x",
        "hf_cs_",
        "hf_cs_.",
        holder[:-1],
        holder + "x",
    ]
    for operation in KEYED:
        for key in wrong[:1] if operation.method != "GET" else wrong:
            assert code(await ask(site, operation, ids, key)) == (401, "unauthenticated"), (
                name_of(operation),
                key,
            )


async def test_keys_that_may_not(site) -> None:
    ids, holder, _ = await of_this_account(site)
    for operation in KEYED:
        rights = RIGHTS[name_of(operation)]
        if "p" not in rights:
            answer = await ask(site, operation, ids, "publishable")
            assert code(answer) == (403, "forbidden_for_key"), name_of(operation)
        if "c" not in rights:
            answer = await ask(site, operation, ids, holder)
            assert code(answer) == (403, "forbidden_for_key"), name_of(operation)


async def test_another_accounts_ids_are_not_there(site) -> None:
    ids, _, _ = await of_this_account(site)
    for operation in KEYED:
        named = next((part for part in NOT_FOUND if f"{{{part}:" in operation.path), None)
        if named is None:
            continue
        for key in ("other", "live"):
            answer = await ask(site, operation, ids, key)
            assert code(answer) == (404, NOT_FOUND[named]), name_of(operation)
        unknown = dict(ids) | {named: "unknown"}
        assert code(await ask(site, operation, unknown, "secret")) == (404, NOT_FOUND[named]), name_of(
            operation
        )


async def test_another_reservations_client_secret(site) -> None:
    ids, _, stranger = await of_this_account(site)
    for operation in KEYED:
        if "c" not in RIGHTS[name_of(operation)]:
            continue
        assert code(await ask(site, operation, ids, stranger)) == (401, "unauthenticated"), name_of(operation)
        unknown = dict(ids) | {"reservation": "res_unknown"}
        answer = await ask(site, operation, unknown, stranger)
        assert code(answer) == (404, "reservation_not_found"), name_of(operation)


async def test_a_list_shows_nobody_elses(site) -> None:
    ids, _, _ = await of_this_account(site)
    for path in ("/v1/hosts", "/v1/event-types", "/v1/reservations", "/v1/payments"):
        assert (await site.get(path, key="other")).json() == {"data": [], "next_cursor": None}
    mine = (await site.get("/v1/payment-accounts", key="other")).json()["data"]
    assert ids["payment_account"] not in [one["id"] for one in mine]


@pytest.mark.parametrize("where", ["key", "token", "x"])
@pytest.mark.parametrize("secret", ["hf_sk_test_x", "hf_cs_x.y", "Bearer%20hf_sk_live_x"])
async def test_a_secret_in_a_url(site, where: str, secret: str) -> None:
    for path in ("/v1/event-types", "/v1/refusals", "/v1/reservations/res_x"):
        assert code(await site.get(f"{path}?{where}={secret}")) == (400, "secret_in_url")


async def test_a_publishable_key_in_a_url(site) -> None:
    key = site.keys["publishable"]
    assert (await site.get(f"/v1/event-types?key={key}", key=None)).status_code == 200
    answer = await site.post(f"/v1/reservations?key={key}", site.wish(), key=None)
    assert code(answer) == (401, "unauthenticated")
    assert code(await site.get("/v1/event-types?key=nonsense", key=None)) == (401, "unauthenticated")


async def test_a_key_bound_to_origins(site) -> None:
    bound, _ = await site.shop.database.run(
        create_key, site.shop.account_id, "publishable", ["https://shop.example"]
    )
    for origin, status in (
        ("https://shop.example", 200),
        ("https://evil.example", 403),
        ("null", 403),
        (None, 200),
    ):
        headers = {"origin": origin} if origin else {}
        assert (await site.get("/v1/event-types", key=bound, headers=headers)).status_code == status


async def test_a_revoked_key_is_shut_out_within_a_second(site) -> None:
    text, key = await site.shop.database.run(create_key, site.shop.account_id, "secret")
    assert (await site.get("/v1/hosts", key=text)).status_code == 200
    assert await site.shop.database.run(revoke_key, key.id)
    await asyncio.sleep(0.9)
    assert code(await site.get("/v1/hosts", key=text)) == (401, "unauthenticated")


async def test_a_client_secret_runs_out(site, clock) -> None:
    held = await site.held()
    path = f"/v1/reservations/{held['id']}"
    await clock.shift(timedelta(days=30))
    assert (await site.get(path, key=held["client_secret"])).json()["status"] == "expired"
    await clock.shift(timedelta(days=8))
    assert code(await site.get(path, key=held["client_secret"])) == (401, "unauthenticated")


async def test_a_rotated_client_secret(site) -> None:
    held = await site.held()
    path = f"/v1/reservations/{held['id']}"
    rotated = (await site.post(f"{path}/client-secret/rotate", key=held["client_secret"])).json()[
        "client_secret"
    ]
    assert rotated != held["client_secret"]
    assert code(await site.get(path, key=held["client_secret"])) == (401, "unauthenticated")
    told = (await site.get(path, key=rotated)).json()
    assert "client_secret" not in told
    assert told["links"]["manage"].endswith(f"/m/{held['id']}#{rotated}")
    assert "#" not in (await site.get(path)).json()["links"]["manage"]
