# SPDX-License-Identifier: Apache-2.0
"""Slots and holds, line by line: defaults, bounds, shapes, and what time alone changes."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from counter import RETURN, Counter
from front import code, fields, open_site
from holdfirst.effects import confirm
from holdfirst.settings import Limits
from house import House

INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def instants_in(value: Any) -> list[str]:
    """Every text in an answer that begins like an instant."""
    match value:
        case dict():
            return [one for part in value.values() for one in instants_in(part)]
        case list():
            return [one for part in value for one in instants_in(part)]
        case str() if re.match(r"\d{4}-\d\d-\d\dT", value):
            return [value]
        case _:
            return []


async def slots(counter: Counter, offer: str = "authorize", hours: int = 48, **more: Any) -> Any:
    start = counter.site.shop.slot(0)
    query = {
        "start": start.isoformat(),
        "end": (start + timedelta(hours=hours)).isoformat(),
        "time_zone": "UTC",
    }
    path = f"/v1/event-types/{counter.offers[offer]}/slots"
    return await counter.site.get(path, params=query, **more)


async def test_defaults_of_an_event_type(counter: Counter) -> None:
    body = {"name": "Plain", "slug": "plain", "hosts": counter.site.shop.hosts, "duration_minutes": 25}
    told = (await counter.call("POST", "/v1/event-types", body)).json()
    expected = {
        "assignment": "one_of", "step_minutes": 25, "buffer_before_minutes": 0, "buffer_after_minutes": 0,
        "notice_minutes": 0, "horizon_days": 60, "seats": 1, "guests_max": 0, "per_day_max": None,
        "schedule": None, "starts": None, "location": None, "price": None, "payment_account": None,
        "hold_seconds": 900, "extensions_max": 1, "confirm_by": "client_secret", "late_payment": "retake",
        "cancellation": None, "reschedule": None, "calendar_check": "verified", "on_conflict": "confirm_and_flag",
        "questions": [], "allowed_origins": [], "success_url": None, "metadata": {}, "active": True,
        "description": None,
    }  # fmt: skip
    assert {name: told[name] for name in expected} == expected
    assert told["id"].startswith("ety_")
    body |= {"slug": "priced", "price": {"amount_minor": 1, "currency": "EUR"}}
    payee = (await counter.call("GET", "/v1/payment-accounts")).json()["data"][0]
    priced = await counter.call("POST", "/v1/event-types", body | {"payment_account": payee["id"]})
    assert priced.json()["confirm_by"] == "payment"
    nothing = body | {"slug": "zero", "price": {"amount_minor": 0, "currency": "EUR"}}
    assert (await counter.call("POST", "/v1/event-types", nothing)).json()["confirm_by"] == "client_secret"


@pytest.mark.parametrize("hold_seconds", [1, 29, 901, 86_400])
async def test_an_event_type_keeps_to_the_bounds_of_holds(house: House, hold_seconds: int) -> None:
    body = {"name": "P", "hosts": [house.host], "duration_minutes": 25, "hold_seconds": hold_seconds}
    assert fields(await house.call("POST", "/v1/event-types", body)) == ["hold_seconds"]
    patch = {"hold_seconds": hold_seconds}
    assert fields(await house.call("PATCH", "/v1/event-types/free", patch)) == ["hold_seconds"]
    assert (await house.ask("PATCH", "/v1/event-types/free", {"hold_seconds": 30}))["hold_seconds"] == 30


async def test_the_shape_of_everything(counter: Counter) -> None:
    paid = await counter.paid()
    told = await counter.read(paid)
    prefixes = {"res_": told["id"], "ety_": told["event_type"], "hst_": told["hosts"][0]}
    prefixes |= {"pay_": told["payment"]["id"], "pac_": told["payment"]["payment_account"]}
    assert all(one.startswith(prefix) for prefix, one in prefixes.items())
    seen = instants_in(told)
    assert len(seen) >= 8
    assert all(INSTANT.fullmatch(one) for one in seen), seen
    for name in ("amount", "captured", "refund_due", "refunded"):
        assert set(told["payment"][name]) == {"amount_minor", "currency"}
    answer = await slots(counter)
    assert all(INSTANT.fullmatch(one) for one in instants_in(answer.json()))
    assert told["confirmed_at"] >= told["created_at"]


@pytest.mark.parametrize(
    ("key", "asked", "good"),
    [
        ("publishable", 600, True),
        ("publishable", 30, True),
        ("publishable", 29, False),
        ("publishable", 601, False),
        ("secret", 601, True),
        ("secret", 900, True),
        ("secret", 901, False),
        ("secret", 29, False),
        ("secret", 0, False),
        ("publishable", None, True),
        ("secret", None, True),
    ],
)
async def test_how_long_a_hold_may_last(house: House, key: str, asked: int | None, good: bool) -> None:
    await house.ask("PATCH", "/v1/event-types/free", {"hold_seconds": 600})
    body = {"event_type": "free", "start": house.start()} | (
        {"hold_seconds": asked} if asked is not None else {}
    )
    answer = await house.call("POST", "/v1/reservations", body, key)
    if not good:
        assert fields(answer) == ["hold_seconds"]
        return
    told = answer.json()
    lasts = datetime.fromisoformat(told["held_until"]) - datetime.fromisoformat(told["created_at"])
    assert lasts == timedelta(seconds=asked or 600)
    assert told["hold_seconds"] == (asked or 600)


async def test_what_time_alone_changes(counter: Counter, clock) -> None:
    assert (await slots(counter)).json()["next_change_at"] is not None
    held = await counter.held()
    told = (await slots(counter)).json()
    assert told["next_change_at"] == held["held_until"]
    before = {one["start"] for one in told["slots"]}
    await clock.shift(timedelta(seconds=601))
    after = {one["start"] for one in (await slots(counter)).json()["slots"]}
    assert after - before == {held["start"]}


async def test_nothing_is_due_where_nothing_is_offered(counter: Counter) -> None:
    past = {"start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z", "time_zone": "UTC"}
    told = (await counter.site.get("/v1/event-types/free/slots", params=past)).json()
    assert (told["slots"], told["days"], told["next_change_at"]) == ([], {}, None)


async def test_a_range_from_this_very_moment(counter: Counter) -> None:
    """Clocks tell microseconds; a range may begin between two of our milliseconds."""
    now = datetime.now(UTC).replace(microsecond=123_456)
    query = {"start": now.isoformat(), "end": (now + timedelta(days=1)).isoformat(), "time_zone": "UTC"}
    answer = await counter.site.get("/v1/event-types/free/slots", params=query)
    assert answer.status_code == 200, answer.text
    listed = await counter.site.get("/v1/reservations", params={"from": now.isoformat()})
    assert listed.status_code == 200, listed.text
    start = now + timedelta(days=3)
    booked = await counter.reserve("free", start=start.isoformat(), outside_rules=True)
    assert booked.status_code == 201, booked.text
    assert booked.json()["start"] == start.strftime("%Y-%m-%dT%H:%M:%S.123Z")
    naive = {**query, "start": now.replace(tzinfo=None).isoformat()}
    assert fields(await counter.site.get("/v1/event-types/free/slots", params=naive)) == ["start"]


async def test_a_holder_sees_its_own_hold_as_free_and_no_more(counter: Counter) -> None:
    held, sold = await counter.held(), await counter.paid()
    for one, sees in ((held, True), (sold, False)):
        answer = await slots(counter, headers={"x-holdfirst-hold": one["client_secret"]})
        assert (one["start"] in [slot["start"] for slot in answer.json()["slots"]]) is sees
        assert answer.headers["cache-control"] == "private, no-store"
        assert "X-Holdfirst-Hold" in answer.headers["vary"]
        assert "Authorization" in answer.headers["vary"]
    everybody = await slots(counter)
    assert held["start"] not in [slot["start"] for slot in everybody.json()["slots"]]
    same = await slots(counter, headers={"if-none-match": everybody.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")
    assert "X-Holdfirst-Hold" in same.headers["vary"]


async def test_outside_the_rules_never_on_taken_time(counter: Counter) -> None:
    held = await counter.held()
    odd = datetime.fromisoformat(held["start"]) + timedelta(minutes=30)
    on_grid = await counter.reserve("free", start=odd.isoformat())
    assert code(on_grid) == (422, "slot_not_offered")
    taken = await counter.reserve("free", start=odd.isoformat(), outside_rules=True)
    assert code(taken) == (409, "slot_taken")
    later = odd + timedelta(hours=5)
    assert (await counter.reserve("free", start=later.isoformat(), outside_rules=True)).status_code == 201
    refused = await counter.reserve("free", start=later.isoformat(), outside_rules=True, key="publishable")
    assert code(refused) == (403, "forbidden_for_key")


async def test_the_order_of_refusals(counter: Counter) -> None:
    """Each request has every fault from its place on; the first one is said."""
    site = counter.site
    headers = {"content-type": "application/json"}
    start = counter.next_start()
    await counter.held("free", start=start)
    inactive = {
        "name": "Off",
        "slug": "off",
        "hosts": site.shop.hosts,
        "duration_minutes": 60,
        "active": False,
    }
    assert (await counter.call("POST", "/v1/event-types", inactive)).status_code == 201

    async def said(body: Any, key: str | None = "publishable", **more: Any) -> tuple[int, str]:
        return code(await site.post("/v1/reservations", body, key=key, **more))

    big = b"x" * (1 << 20) + b"x"
    text = {"content-type": "text/plain"}
    odd = (datetime.fromisoformat(start) + timedelta(minutes=7)).isoformat()
    wish = {"event_type": "free", "start": start}
    assert await said(None, None, content=big, headers=text) == (401, "unauthenticated")
    held = await counter.held("free")
    assert await said(None, held["client_secret"], content=big, headers=text) == (403, "forbidden_for_key")
    assert await said(None, content=big, headers=text) == (413, "body_too_large")
    assert await said(None, content=b"{", headers=text) == (415, "unsupported_media_type")
    assert await said(None, content=b"{", headers=headers) == (400, "malformed_json")
    assert await said({"event_type": "none", "start": "naive"}) == (422, "invalid_request")
    assert await said({"event_type": "none", "start": start, "seats": 9}) == (404, "event_type_not_found")
    assert await said({"event_type": "off", "start": odd, "seats": 9}) == (409, "event_type_inactive")
    assert await said(wish | {"start": odd, "seats": 9}) == (422, "invalid_request")
    assert await said(wish | {"start": odd, "host": "hst_nobody"}) == (422, "invalid_request")
    assert await said(wish | {"start": odd}) == (422, "slot_not_offered")
    assert await said(wish) == (409, "slot_taken")
    taken = (await site.post("/v1/reservations", wish)).json()
    assert all(set(one) == {"start", "end", "seats_left"} for one in taken["slots"])
    assert start[:13] not in [one["start"][:13] for one in taken["slots"]]


async def test_details_are_asked_for_when_it_matters(counter: Counter) -> None:
    question = {"key": "why", "label": "Why?", "kind": "text", "required": True}
    for offer in ("free", "sale"):
        path = f"/v1/event-types/{counter.offers[offer]}"
        assert (await counter.call("PATCH", path, {"questions": [question]})).status_code == 200
    all_three = ["customer.name", "customer.email", "answers.why"]
    held = await counter.held("free", customer={})
    for key in ("secret", held["client_secret"]):
        refused = await counter.verb(held, "confirm", key=key)
        assert code(refused) == (422, "details_missing")
        assert refused.json()["missing"] == all_three
    priced = await counter.held("sale", customer={})
    for verb, body in (("checkout", RETURN), ("confirm", {"payment_reference": "till"})):
        refused = await counter.verb(priced, verb, body)
        assert code(refused) == (422, "details_missing")
        assert refused.json()["missing"] == all_three
    patch = {"customer": {"name": "A", "email": "a@example.org"}, "answers": {"why": "so"}}
    answer = await counter.call("PATCH", f"/v1/reservations/{priced['id']}", patch, priced["client_secret"])
    assert answer.status_code == 200
    assert (await counter.done(priced, "checkout", RETURN))["payment"]["status"] == "open"


async def test_a_full_day_is_full_for_a_move_too(counter: Counter) -> None:
    path = f"/v1/event-types/{counter.offers['free']}"
    assert (await counter.call("PATCH", path, {"per_day_max": 1})).status_code == 200
    day = counter.site.shop.slot(9, 9)
    first = await counter.held("free", start=day.isoformat())
    second = await counter.held("free", start=(day + timedelta(days=1)).isoformat())
    onto = {"start": (day + timedelta(hours=2)).isoformat()}
    assert code(await counter.verb(second, "reschedule", onto)) == (422, "slot_not_offered")
    assert (await counter.done(first, "reschedule", onto))["start"][:13] == onto["start"][:13]


async def test_how_often_a_customer_may_move_it(counter: Counter, clock) -> None:
    path = f"/v1/event-types/{counter.offers['free']}"
    policy = {"reschedule": {"until_minutes_before": 1440, "times_max": 2}}
    assert (await counter.call("PATCH", path, policy)).status_code == 200
    held = await counter.held("free")
    held = await counter.done(held, "confirm", key=held["client_secret"])
    for sequence in (1, 2):
        moved = await counter.done(
            held, "reschedule", {"start": counter.next_start()}, key=held["client_secret"]
        )
        assert moved["sequence"] == sequence
    start = {"start": counter.next_start()}
    refused = await counter.verb(held, "reschedule", start, held["client_secret"])
    assert code(refused) == (409, "too_late_to_reschedule")
    assert (await counter.done(held, "reschedule", start))["sequence"] == 3
    other = await counter.held("free")
    other = await counter.done(other, "confirm")
    left = datetime.fromisoformat(other["start"]) - datetime.fromisoformat(other["server_time"])
    await clock.shift(left - timedelta(minutes=1439))
    refused = await counter.verb(other, "reschedule", {"start": counter.next_start()}, other["client_secret"])
    assert code(refused) == (409, "too_late_to_reschedule")


async def test_a_move_onto_taken_time_changes_nothing(counter: Counter) -> None:
    mine, theirs = await counter.paid(), await counter.held()
    before = await counter.read(mine)
    assert code(await counter.verb(mine, "reschedule", {"start": theirs["start"]})) == (409, "slot_taken")
    after = await counter.read(mine)
    assert after | {"server_time": 0} == before | {"server_time": 0}


async def test_confirm_waits_for_the_back_end(counter: Counter, monkeypatch) -> None:
    path = f"/v1/event-types/{counter.offers['free']}"
    assert (await counter.call("PATCH", path, {"confirm_by": "secret_key"})).status_code == 200
    held, left = await counter.held("free"), await counter.held("free")
    waiting = asyncio.create_task(counter.verb(held, "confirm", key=held["client_secret"]))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    await counter.done(held, "confirm")
    assert (await waiting).json()["status"] == "confirmed"
    monkeypatch.setattr(confirm, "WAIT_SECONDS", 0.3)
    assert code(await counter.verb(left, "confirm", key=left["client_secret"])) == (402, "payment_required")


@pytest.mark.parametrize("state", ["processing_by_capture", "processing_by_closing", "processing_by_release"])
async def test_confirm_waits_while_the_provider_is_awaited(
    counter: Counter, clock, monkeypatch, state: str
) -> None:
    monkeypatch.setattr(confirm, "WAIT_SECONDS", 0)
    held = await counter.in_state(state)
    if state == "processing_by_closing":
        await clock.shift(timedelta(seconds=601))
    monkeypatch.setattr(confirm, "WAIT_SECONDS", 0.5)
    began = asyncio.get_running_loop().time()
    refused = await counter.verb(held, "confirm", key=held["client_secret"])
    assert code(refused) == (409, "payment_in_progress")
    assert refused.headers["retry-after"]
    assert 0.5 <= asyncio.get_running_loop().time() - began < 3


async def test_confirm_asks_the_provider_at_most_once_a_second(counter: Counter) -> None:
    held = await counter.open("authorize")
    counter.site.shop.provider.calls.clear()
    answers = await asyncio.gather(
        *[counter.verb(held, "confirm", key=held["client_secret"]) for _ in range(20)]
    )
    assert {code(one) for one in answers} == {(402, "payment_required")}
    assert len([call for call in counter.site.shop.provider.calls if call[0] == "fetch"]) == 1


@pytest.mark.parametrize("offer", ["authorize", "sale_uncloseable"])
async def test_late_money_that_is_not_wanted(counter: Counter, clock, offer: str) -> None:
    path = f"/v1/event-types/{counter.offers[offer]}"
    assert (await counter.call("PATCH", path, {"late_payment": "return"})).status_code == 200
    held = await counter.open(offer)
    await clock.shift(timedelta(seconds=601))
    counter.site.shop.provider.bring_money(held["payment"]["provider_ref"])
    await counter.work()
    told = await counter.read(held)
    late = "voided" if offer == "authorize" else "refunded"
    assert (told["status"], told["payment"]["status"], told["payment"]["late"]) == ("expired", late, late)


async def test_a_live_account_and_where_it_returns_to(house: House) -> None:
    """No key of a live account is a test key's, and the sandbox never serves it."""
    host = await house.ask(
        "POST", "/v1/hosts", {"name": "L", "time_zone": "UTC", "schedule": {"weekly": []}}, "live"
    )
    body = {"name": "L", "slug": "l", "hosts": [host["id"]], "duration_minutes": 60}
    priced = body | {"price": {"amount_minor": 1, "currency": "EUR"}}
    assert code(await house.call("POST", "/v1/event-types", priced, "live")) == (422, "no_payment_account")
    assert fields(await house.call("POST", "/v1/payment-accounts", {"provider": "sandbox"}, "live")) == [
        "provider"
    ]
    made = await house.ask(
        "POST", "/v1/event-types", body | {"allowed_origins": ["https://shop.example"]}, "live"
    )
    assert (host["livemode"], made["livemode"]) == (True, True)
    wish = {"event_type": "l", "start": house.start(), "outside_rules": True, "customer": {"name": "A"}}
    held = await house.ask("POST", "/v1/reservations", wish, "live")
    assert held["livemode"] is True
    evil = await house.verb(held, "checkout", {"return_url": "https://evil.example/"}, held["client_secret"])
    assert code(evil) == (422, "return_url_not_allowed")
    assert code(await house.verb(held, "checkout", RETURN, held["client_secret"])) == (409, "nothing_to_pay")
    assert (await house.call("GET", f"/v1/reservations/{held['id']}")).status_code == 404
    no_origin = await house.call("GET", "/v1/event-types/free", key="live")
    assert code(no_origin) == (404, "event_type_not_found")


async def test_limits_of_zero_are_none(database) -> None:
    limits = Limits(hold_seconds_min=1, holds_per_email_max=0, holds_per_address_max=0)
    site = await open_site(database, limits=limits)
    for hour in range(20):
        await site.held(hour, key="publishable")
    await site.http.aclose()


async def test_holds_that_are_over_are_not_counted(database, clock) -> None:
    limits = Limits(hold_seconds_min=1, holds_per_email_max=1, holds_per_address_max=0)
    site = await open_site(database, limits=limits)
    await site.held(1, key="publishable")
    wish = site.wish(2, customer={"name": "Anna", "email": "Anna@example.org"})
    assert code(await site.post("/v1/reservations", wish, key="publishable")) == (429, "too_many_holds")
    await clock.shift(timedelta(seconds=901))
    assert (await site.post("/v1/reservations", wish, key="publishable")).status_code == 201
    await site.http.aclose()
