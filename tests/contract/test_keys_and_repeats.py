# SPDX-License-Identifier: Apache-2.0
"""Who asks, and the same request again: on every POST there is."""

import asyncio
import base64
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from counter import RETURN, Counter
from front import code, fields
from holdfirst.flows.accounts import create_key
from holdfirst.web.app import OPERATIONS
from house import HOURS

AGAIN = {"idempotency-key": "again"}


async def requests(counter: Counter) -> dict[str, tuple[str, Any]]:
    """For every POST that takes a key: a path and a body that succeed."""
    host = {"name": "H", "time_zone": "UTC", "schedule": HOURS}
    offer = {"name": "E", "hosts": counter.site.shop.hosts, "duration_minutes": 60}
    held = {verb: await counter.held("free" if verb == "confirm" else "sale") for verb in
            ("checkout", "extend", "release", "confirm", "reschedule", "rotate")}  # fmt: skip
    account = {"url": "https://calendar.example/", "username": "u", "password": "p"}
    link = {"host": counter.site.shop.hosts[0], "provider": "caldav", "credentials": account}
    hooks, endpoint, delivery = "/v1/webhook-endpoints", *await delivered(counter)
    con, connection = "/v1/calendar-connections", await counter.site.shop.connect()
    paid, stuck, off = [await counter.paid() for _ in range(3)]
    res, pay = "/v1/reservations", "/v1/payments"
    return {
        "/v1/hosts": ("/v1/hosts", host),
        "/v1/hosts/{host}/calendar-feed/rotate": (f"/v1/hosts/{counter.site.shop.hosts[0]}/calendar-feed/rotate", {}),
        "/v1/event-types": ("/v1/event-types", offer),
        "/v1/payment-accounts": ("/v1/payment-accounts", {"provider": "sandbox"}),
        "/v1/payment-accounts/{payment_account}/onboarding-link": (
            f"/v1/payment-accounts/{counter.site.shop.payee_id}/onboarding-link",
            {"return_url": "https://shop.example/", "refresh_url": "https://shop.example/"},
        ),
        con: (con, link),
        f"{con}/{{connection}}/sync": (f"{con}/{connection}/sync", {}),
        hooks: (hooks, {"url": "https://shop.example/hook"}),
        f"{hooks}/{{endpoint}}/rotate-secret": (f"{hooks}/{endpoint}/rotate-secret", {}),
        f"{hooks}/{{endpoint}}/deliveries/{{delivery}}/redeliver": (f"{hooks}/{endpoint}/deliveries/{delivery}/redeliver", {}),
        res: (res, {"event_type": counter.offers["free"], "start": counter.next_start()}),
        f"{res}/{{reservation}}/checkout": (f"{res}/{held['checkout']['id']}/checkout", RETURN),
        f"{res}/{{reservation}}/extend": (f"{res}/{held['extend']['id']}/extend", {}),
        f"{res}/{{reservation}}/release": (f"{res}/{held['release']['id']}/release", {}),
        f"{res}/{{reservation}}/confirm": (f"{res}/{held['confirm']['id']}/confirm", {}),
        f"{res}/{{reservation}}/cancel": (f"{res}/{off['id']}/cancel", {"reason": "ill"}),
        f"{res}/{{reservation}}/reschedule": (
            f"{res}/{held['reschedule']['id']}/reschedule",
            {"start": counter.next_start()},
        ),
        f"{res}/{{reservation}}/client-secret/rotate": (f"{res}/{held['rotate']['id']}/client-secret/rotate", {}),
        f"{pay}/{{payment}}/refund": (f"{pay}/{paid['payment']['id']}/refund", {"amount": {"amount_minor": 5, "currency": "EUR"}}),
        f"{pay}/{{payment}}/resolve": (f"{pay}/{stuck['payment']['id']}/resolve", {"note": "seen"}),
    }  # fmt: skip


async def delivered(counter: Counter) -> tuple[str, str]:
    """An endpoint, and a delivery to it."""
    site = counter.site
    endpoint = (await site.post("/v1/webhook-endpoints", {"url": "https://shop.example/hook"})).json()["id"]
    await counter.held("free")
    await site.get("/v1/events")
    deliveries = (await site.get(f"/v1/webhook-endpoints/{endpoint}/deliveries")).json()["data"]
    return endpoint, deliveries[0]["id"]


async def test_every_post_twice(counter: Counter) -> None:
    wanted = await requests(counter)
    posts = {one.path.replace(":str", "") for one in OPERATIONS if one.method == "POST" and one.who}
    assert posts == set(wanted)
    for path, body in wanted.values():
        first = await counter.call("POST", path, body, headers=AGAIN)
        assert first.status_code < 300, (path, first.text)
        assert "idempotency-replayed" not in first.headers
        again = await counter.call("POST", path, body, headers=AGAIN)
        assert (again.status_code, again.headers.get("idempotency-replayed")) == (
            first.status_code,
            "true",
        ), path
        assert again.json() | {"server_time": 0} == first.json() | {"server_time": 0}, path
        if body:
            turned = dict(reversed(list(body.items())))
            same = await counter.call("POST", path, turned, headers=AGAIN)
            assert same.headers.get("idempotency-replayed") == "true", path
        other = await counter.call("POST", path, {**body, "metadata": {}}, headers=AGAIN)
        assert code(other) in ((422, "idempotency_key_reused"), (422, "invalid_request")), path
        for key in ("", "k" * 256):
            assert fields(await counter.call("POST", path, body, headers={"idempotency-key": key})) == [
                "Idempotency-Key"
            ]
    [paid] = [one for one in wanted if one.endswith("refund")]
    payment = (await counter.call("GET", wanted[paid][0].removesuffix("/refund"))).json()
    assert payment["refund_due"]["amount_minor"] == 5


async def test_another_body_under_the_key_of_a_verb(counter: Counter) -> None:
    held = await counter.held()
    await counter.done(held, "release", {"force": False}, headers=AGAIN)
    other = await counter.verb(held, "release", {"force": True}, headers=AGAIN)
    assert code(other) == (422, "idempotency_key_reused")


async def test_a_replay_tells_how_it_is_now_and_the_secret_again(counter: Counter) -> None:
    body = {"event_type": counter.offers["free"], "start": counter.next_start(), "customer": {"name": "A"}}
    first = (await counter.call("POST", "/v1/reservations", body, headers=AGAIN)).json()
    await counter.done(first, "release")
    again = await counter.call("POST", "/v1/reservations", body, headers=AGAIN)
    assert (again.status_code, again.json()["status"]) == (201, "released")
    assert again.json()["client_secret"] == first["client_secret"]


async def test_keys_are_of_whoever_asks_and_of_the_path(counter: Counter) -> None:
    one, two = await counter.held(), await counter.held()
    for held, key in ((one, "secret"), (two, "secret"), (two, two["client_secret"])):
        answer = await counter.verb(held, "checkout", RETURN, key, headers=AGAIN)
        assert (answer.status_code, "idempotency-replayed" in answer.headers) == (200, False)
    replayed = await counter.verb(one, "checkout", RETURN, headers=AGAIN)
    assert replayed.headers["idempotency-replayed"] == "true"


async def test_a_refusal_keeps_no_key(counter: Counter) -> None:
    held = await counter.held("sale", customer={})
    assert code(await counter.verb(held, "checkout", RETURN, headers=AGAIN)) == (422, "details_missing")
    patch = {"customer": {"name": "A", "email": "a@example.org"}}
    await counter.call("PATCH", f"/v1/reservations/{held['id']}", patch)
    opened = await counter.verb(held, "checkout", {"return_url": "https://else.example/"}, headers=AGAIN)
    assert (opened.status_code, "idempotency-replayed" in opened.headers) == (200, False)


async def test_a_refusal_keeps_no_key_where_one_transaction_is_all(counter: Counter) -> None:
    held = await counter.held("free")
    for _ in range(2):
        refused = await counter.verb(held, "cancel", {}, headers=AGAIN)
        assert (refused.status_code, refused.json()["code"]) == (409, "not_confirmed"), refused.text


async def test_still_running_and_died(counter: Counter, clock, monkeypatch) -> None:
    provider = counter.site.shop.provider
    held = await counter.held("sale")
    go, opening = asyncio.Event(), provider.open_checkout

    async def slow(*arguments: Any) -> Any:
        await go.wait()
        return await opening(*arguments)

    monkeypatch.setattr(provider, "open_checkout", slow)
    first = asyncio.create_task(counter.verb(held, "checkout", RETURN, headers=AGAIN))
    await asyncio.sleep(0.2)
    running = await counter.verb(held, "checkout", RETURN, headers=AGAIN)
    assert code(running) == (409, "idempotency_in_progress")
    assert running.headers["retry-after"]
    other = await counter.verb(held, "checkout", {"return_url": "https://x.example/"}, headers=AGAIN)
    assert code(other) == (422, "idempotency_key_reused")
    go.set()
    assert (await first).status_code == 200

    died = await counter.held("sale")

    await counter.site.shop.database.run(
        lambda tx: tx.execute(
            "insert into idempotency_key (scope, key, fingerprint, lease_until, created_at)"
            " select replace(scope, $1, $2), key, fingerprint, the_clock() + interval '30 s', the_clock()"
            " from idempotency_key where scope like '%' || $1 || '%'",
            held["id"],
            died["id"],
        )
    )
    waits = await counter.verb(died, "checkout", RETURN, headers=AGAIN)
    assert code(waits) == (409, "idempotency_in_progress")
    await clock.shift(timedelta(seconds=31))
    taken_up = await counter.verb(died, "checkout", RETURN, headers=AGAIN)
    assert taken_up.json()["payment"]["status"] == "open"
    assert len([call for call in provider.calls if call[0] == "create"]) == 2


async def test_a_key_is_kept_for_a_day(counter: Counter, clock) -> None:
    body = {"event_type": counter.offers["free"], "start": counter.next_start()}
    first = (await counter.call("POST", "/v1/reservations", body, headers=AGAIN)).json()
    await clock.shift(timedelta(hours=23, minutes=59))
    again = await counter.call("POST", "/v1/reservations", body, headers=AGAIN)
    assert (again.json()["id"], again.json()["status"]) == (first["id"], "expired")
    await clock.shift(timedelta(minutes=2))
    anew = await counter.call("POST", "/v1/reservations", body, headers=AGAIN)
    assert (anew.status_code, "idempotency-replayed" in anew.headers) == (201, False)
    assert anew.json()["id"] != first["id"]


async def test_what_a_client_secret_is_made_of(counter: Counter) -> None:
    held = await counter.held()
    rest, _, mac = held["client_secret"].partition(".")
    assert rest == "hf_cs_" + held["id"].removeprefix("res_")
    assert len(base64.urlsafe_b64decode(mac + "=" * (-len(mac) % 4))) == 32


async def test_a_client_secret_lasts_thirty_days_beyond_the_end(counter: Counter, clock) -> None:
    held = await counter.held()
    end, now = datetime.fromisoformat(held["end"]), datetime.fromisoformat(held["server_time"])
    path = f"/v1/reservations/{held['id']}"
    await clock.shift(end - now + timedelta(days=30) - timedelta(minutes=1))
    assert (await counter.call("GET", path, key=held["client_secret"])).status_code == 200
    await clock.shift(timedelta(minutes=2))
    assert code(await counter.call("GET", path, key=held["client_secret"])) == (401, "unauthenticated")
    assert (await counter.call("GET", path)).status_code == 200


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE", "PUT"])
async def test_every_path_without_a_route(counter: Counter, method: str) -> None:
    for path in (
        "/v1",
        "/v1/nothing",
        "/v1/reservations/x/y/z",
        "/V1/hosts",
        "/v2/hosts",
        "/v1/hosts/a/b/c/d",
    ):
        assert code(await counter.call(method, path)) == (404, "not_found"), path
        assert code(await counter.site.call(method, path, key=None)) == (404, "not_found"), path


async def test_methods_that_are_not_there(counter: Counter) -> None:
    held = await counter.held()
    for method, path in (
        ("PUT", "/v1/hosts"),
        ("DELETE", f"/v1/reservations/{held['id']}"),
        ("GET", f"/v1/reservations/{held['id']}/confirm"),
        ("PATCH", "/v1/payments"),
    ):
        answer = await counter.call(method, path)
        assert code(answer) == (405, "method_not_allowed")
        assert answer.headers["allow"]


async def test_secrets_in_urls(counter: Counter) -> None:
    held = await counter.held()
    for key in (counter.site.keys["secret"], held["client_secret"]):
        answer = await counter.site.get(f"/v1/event-types?key={key}", key=None)
        assert code(answer) == (400, "secret_in_url")
        answer = await counter.site.get(f"/v1/event-types?key={key}")
        assert code(answer) == (400, "secret_in_url")


async def test_lists_are_walked_by_their_cursor(counter: Counter) -> None:
    made = [(await counter.held())["id"] for _ in range(5)]
    listed: list[str] = []
    cursor: str | None = None
    for _ in range(3):
        params = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        told = (await counter.site.get("/v1/reservations", params=params)).json()
        assert set(told) == {"data", "next_cursor"}
        listed += [one["id"] for one in told["data"]]
        cursor = told["next_cursor"]
    assert cursor is None
    assert listed == made[::-1]
    for bad in ("limit=0", "limit=101", "limit=a", "cursor=zzz", "from=2026-01-01T00:00:00", "more=1"):
        assert (await counter.site.get(f"/v1/reservations?{bad}")).status_code == 422, bad


async def test_filters_say_what_is_so_now(counter: Counter, clock) -> None:
    confirmed, released = await counter.paid(), await counter.in_state("released")
    over, closing, held = (
        await counter.held(),
        await counter.open("sale"),
        await counter.held(hold_seconds=900),
    )
    await clock.shift(timedelta(seconds=601))

    async def ids(**query: str) -> list[str]:
        answer = await counter.site.get("/v1/reservations", params=query)
        assert answer.status_code == 200, answer.text
        return [one["id"] for one in answer.json()["data"]]

    for status, one in (
        ("confirmed", confirmed),
        ("released", released),
        ("expired", over),
        ("processing", closing),
        ("held", held),
    ):
        assert await ids(status=status) == [one["id"]], status
    assert await ids(event_type="sale") == [closing["id"]]
    assert await ids(event_type=counter.offers["sale"]) == [closing["id"]]
    assert len(await ids(host=counter.site.shop.hosts[0])) == 5
    assert len(await ids(customer_email="ANNA@EXAMPLE.ORG")) == 5
    assert await ids(**{"from": over["start"], "to": closing["start"]}) == [over["id"]]
    paid = (await counter.site.get("/v1/payments", params={"status": "captured"})).json()["data"]
    assert [one["reservation"] for one in paid] == [confirmed["id"]]


async def test_refunds_of_a_payment(counter: Counter) -> None:
    paid, unpaid = await counter.paid(), await counter.open()

    async def refund(held: dict[str, Any], amount: Any = None) -> httpx.Response:
        body = {} if amount is None else {"amount": {"amount_minor": amount, "currency": "EUR"}}
        return await counter.call("POST", f"/v1/payments/{held['payment']['id']}/refund", body)

    assert code(await refund(unpaid)) == (422, "refund_exceeds_payment")
    assert code(await refund(paid, 6001)) == (422, "refund_exceeds_payment")
    usd = {"amount": {"amount_minor": 1, "currency": "USD"}}
    path = f"/v1/payments/{paid['payment']['id']}/refund"
    assert code(await counter.call("POST", path, usd)) == (422, "refund_exceeds_payment")
    assert (await refund(paid, 1000)).json()["refund_due"]["amount_minor"] == 1000
    assert (await refund(paid, 2000)).json()["refund_due"]["amount_minor"] == 3000
    assert code(await refund(paid, 3001)) == (422, "refund_exceeds_payment")
    await counter.work()
    told = (await counter.read(paid))["payment"]
    assert (told["refunded"]["amount_minor"], told["status"]) == (3000, "captured")
    assert (await refund(paid)).json()["refund_due"]["amount_minor"] == 3000
    await counter.work()
    after = await counter.read(paid)
    assert (after["payment"]["status"], after["status"]) == ("refunded", "confirmed")
    assert code(await refund(paid)) == (422, "refund_exceeds_payment")
    for note in ({}, {"note": ""}, {"note": 1}):
        path = f"/v1/payments/{paid['payment']['id']}/resolve"
        assert fields(await counter.call("POST", path, note)) == ["note"]


async def test_a_key_of_one_origin(counter: Counter) -> None:
    made = await counter.site.shop.database.run(
        create_key, counter.site.shop.account_id, "publishable", ["https://shop.example"]
    )
    key = made[0]
    for origin, status in (
        ("https://shop.example", 201),
        ("https://SHOP.example", 201),
        ("https://x.example", 403),
    ):
        body = {"event_type": counter.offers["free"], "start": counter.next_start()}
        answer = await counter.call("POST", "/v1/reservations", body, key, headers={"origin": origin})
        assert answer.status_code == status, origin


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("name", "a\x07b"),
        ("name", "a\nb"),
        ("name", "a\tb"),
        ("name", ""),
        ("email", "a\n@example.org"),
        ("email", "nobody"),
        ("email", "a@b\x00.example"),
        ("phone", "+420\r1"),
        ("time_zone", "Mars/Olympus"),
        ("locale", "x\n"),
        ("unheard", "x"),
    ],
)
async def test_customers_that_cannot_be(counter: Counter, member: str, value: str) -> None:
    answer = await counter.reserve("free", customer={member: value})
    assert fields(answer)[0].startswith("customer")
