# SPDX-License-Identifier: Apache-2.0
"""A reservation over HTTP: what it says, every verb, and the same request twice."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from front import code, fields, open_site
from holdfirst.effects import advance
from holdfirst.payment.payment import Mode
from holdfirst.settings import Limits
from holdfirst.store import payments

RETURN = {"return_url": "https://shop.example/done?x=1"}
MEMBERS = {
    "id", "livemode", "status", "event_type", "hosts", "start", "end", "seats", "held_until", "server_time",
    "extensions_left", "price", "payment", "customer", "answers", "metadata", "sequence", "links", "created_at",
    "confirmed_at", "hold_seconds", "processing_until", "payment_open", "ended", "calendars", "location",
    "cancellation", "guests",
}  # fmt: skip
PAYMENT_MEMBERS = {
    "id", "status", "provider", "provider_ref", "checkout_url", "pay_before", "amount", "captured", "refund_due",
    "refunded", "late", "needs_human", "disputed",
}  # fmt: skip


def path(reservation: dict[str, Any], verb: str = "") -> str:
    return f"/v1/reservations/{reservation['id']}" + (f"/{verb}" if verb else "")


async def paid(site, hour: int = 9) -> dict[str, Any]:
    """A reservation that went all the way."""
    held = await site.held(hour)
    answer = await site.post(path(held, "checkout"), RETURN, key=held["client_secret"])
    site.shop.provider.bring_money(answer.json()["payment"]["provider_ref"])
    await site.shop.world.database.run(_due_now)
    await site.shop.work()
    told = (await site.get(path(held))).json() | {"client_secret": held["client_secret"]}
    assert told["status"] == "confirmed", told
    return told


async def _due_now(tx) -> None:
    await tx.execute("update job set due_at = the_clock()")


async def test_what_a_reservation_says(site) -> None:
    held = await site.held(key="publishable", hold_seconds=600)
    assert set(held) == MEMBERS | {"client_secret"}
    assert held["status"] == "held"
    assert held["price"] == {"amount_minor": 6000, "currency": "EUR"}
    assert held["calendars"] == {
        "check": "verified",
        "verdict": None,
        "verified_at": None,
        "changed_by_host": None,
    }
    assert held["cancellation"] == {"allowed": False, "refund": None, "until": None}
    assert held["payment"] is None
    assert held["ended"] is None
    assert held["links"]["page"].startswith("http://holdfirst.test/b/")
    assert held["links"]["manage"] == f"http://holdfirst.test/m/{held['id']}#{held['client_secret']}"
    again = (await site.get(path(held), key=held["client_secret"])).json()
    assert set(again) == MEMBERS
    assert again | {"server_time": None} == {k: v for k, v in held.items() if k != "client_secret"} | {
        "server_time": None
    }
    assert set((await site.get(path(held))).json()) == MEMBERS | {"payment_reference"}


async def test_pay_and_confirm(site) -> None:
    held = await site.held(customer={"name": "Anna"})
    cs = held["client_secret"]
    missing = await site.post(path(held, "checkout"), RETURN, key=cs)
    assert code(missing) == (422, "details_missing")
    assert missing.json()["missing"] == ["customer.email"]
    patched = await site.call(
        "PATCH", path(held), {"customer": {"email": "a@example.org", "name": None}}, key=cs
    )
    assert patched.json()["customer"] == {"email": "a@example.org"}
    await site.call("PATCH", path(held), {"customer": {"name": "A"}}, key=cs)
    opened = await site.post(path(held, "checkout"), RETURN, key=cs)
    payment = opened.json()["payment"]
    assert set(payment) >= PAYMENT_MEMBERS
    assert payment["status"] == "open"
    assert opened.json()["payment_open"] is True
    assert (await site.post(path(held, "checkout"), RETURN, key=cs)).json()["payment"]["id"] == payment["id"]
    assert code(await site.post(path(held, "confirm"), key=cs)) == (402, "payment_required")
    assert code(await site.post(path(held, "confirm"), {"payment_reference": "x"}, key=cs)) == (
        403,
        "forbidden_for_key",
    )
    assert code(await site.post(path(held, "reschedule"), {"start": site.shop.slot(11).isoformat()})) == (
        409,
        "checkout_open",
    )
    site.shop.provider.bring_money(payment["provider_ref"])
    await asyncio.sleep(1.1)
    confirming = asyncio.create_task(site.post(path(held, "confirm"), key=cs))
    while not confirming.done():
        await site.shop.work()
        await asyncio.sleep(0.05)
    told = confirming.result().json()
    assert told["status"] == "confirmed", told
    assert told["payment"]["captured"] == {"amount_minor": 6000, "currency": "EUR"}
    assert told["payment_open"] is False
    for verb, body in (("checkout", RETURN), ("extend", None), ("release", None)):
        assert code(await site.post(path(held, verb), body, key=cs)) == (409, "already_confirmed")
    denied = await site.call("PATCH", path(held), {"metadata": {"a": 1}}, key=cs)
    assert code(denied) == (403, "forbidden_for_key")
    assert (await site.call("PATCH", path(held), {"metadata": {"a": 1}})).json()["metadata"] == {"a": 1}


async def test_a_free_one_is_confirmed_by_its_holder(free_site) -> None:
    site = free_site
    held = await site.held()
    assert code(await site.post(path(held, "checkout"), RETURN)) == (409, "nothing_to_pay")
    told = await site.post(path(held, "confirm"), {}, key=held["client_secret"])
    assert told.json()["status"] == "confirmed"
    moved = await site.post(path(held, "reschedule"), {"start": site.shop.slot(12).isoformat()})
    assert moved.json()["sequence"] == 1
    refused = await site.post(
        path(held, "reschedule"), {"start": site.shop.slot(13).isoformat()}, key=held["client_secret"]
    )
    assert code(refused) == (409, "too_late_to_reschedule")
    assert code(await site.post(path(held, "cancel"), key=held["client_secret"])) == (
        409,
        "too_late_to_cancel",
    )


async def test_cancel_and_refund(database) -> None:
    rules = {"cancellation": [{"until_minutes_before": 1440, "refund_percent": 50}]}
    site = await open_site(database, rules=rules)
    booked = await paid(site)
    told = (await site.get(path(booked))).json()
    assert told["cancellation"]["allowed"] is True
    assert told["cancellation"]["refund"] == {"amount_minor": 3000, "currency": "EUR"}
    for refund in ("full", "none", {"amount_minor": 1, "currency": "EUR"}):
        answer = await site.post(path(booked, "cancel"), {"refund": refund}, key=booked["client_secret"])
        assert code(answer) == (403, "forbidden_for_key")
    for refund, field in (
        (1, "refund"),
        ("half", "refund"),
        ({"amount_minor": -1, "currency": "EUR"}, "refund"),
        ({"amount_minor": 1, "currency": "XXX"}, "refund.currency"),
    ):
        answer = await site.post(path(booked, "cancel"), {"refund": refund})
        assert fields(answer)[0].startswith(field)
    above = {"refund": {"amount_minor": 6001, "currency": "EUR"}}
    assert code(await site.post(path(booked, "cancel"), above)) == (422, "refund_exceeds_payment")
    off = await site.post(path(booked, "cancel"), {"reason": "ill\n\nsorry"}, key=booked["client_secret"])
    assert off.json()["status"] == "cancelled"
    assert off.json()["ended"]["by"] == "customer"
    assert off.json()["payment"]["refund_due"] == {"amount_minor": 3000, "currency": "EUR"}
    same = await site.post(path(booked, "cancel"), {"reason": "ill\n\nsorry"}, key=booked["client_secret"])
    assert same.status_code == 200
    assert code(await site.post(path(booked, "cancel"), {"reason": "other"})) == (409, "already_cancelled")
    payment = f"/v1/payments/{booked['payment']['id']}"
    assert fields(await site.post(f"{payment}/refund", {"amount": {"amount_minor": 0, "currency": "EUR"}}))
    too_much = {"amount": {"amount_minor": 3001, "currency": "EUR"}}
    assert code(await site.post(f"{payment}/refund", too_much)) == (422, "refund_exceeds_payment")
    rest = await site.post(f"{payment}/refund")
    assert rest.json()["refund_due"]["amount_minor"] == 6000
    await site.shop.work()
    assert (await site.get(payment)).json()["refunded"]["amount_minor"] == 6000
    assert (await site.post(f"{payment}/resolve", {"note": "done"})).json()["needs_human"] is None
    listed = (await site.get(f"/v1/payments?reservation={booked['id']}&needs_human=false")).json()["data"]
    assert [one["id"] for one in listed] == [booked["payment"]["id"]]
    await site.http.aclose()


async def test_paid_elsewhere(site) -> None:
    held = await site.held()
    assert code(await site.post(path(held, "confirm"))) == (402, "payment_required")
    told = await site.post(path(held, "confirm"), {"payment_reference": "till 7"})
    assert told.json()["payment_reference"] == "till 7"
    assert code(await site.post(path(held, "cancel"), {"refund": "full"})) == (422, "refund_not_ours")


async def test_extend_release_and_expire(site, clock) -> None:
    held = await site.held(hold_seconds=60)
    await clock.shift(timedelta(seconds=30))
    longer = (await site.post(path(held, "extend"), key=held["client_secret"])).json()
    assert longer["held_until"] > held["held_until"]
    assert longer["extensions_left"] == 0
    assert code(await site.post(path(held, "extend"))) == (409, "extension_refused")
    forced = await site.post(path(held, "release"), {"force": True}, key=held["client_secret"])
    assert code(forced) == (403, "forbidden_for_key")
    released = await site.post(path(held, "release"), key=held["client_secret"])
    assert released.json()["status"] == "released"
    assert (await site.post(path(held, "release"))).status_code == 200
    assert code(await site.post(path(held, "extend"))) == (409, "already_released")

    second = await site.held(hold_seconds=60)
    await clock.shift(timedelta(seconds=61))
    [told] = (await site.get("/v1/reservations?status=expired")).json()["data"]
    assert told["ended"]["code"] == "hold_expired"
    assert told["id"] == second["id"]
    assert code(await site.post(path(second, "checkout"), RETURN)) == (409, "hold_expired")
    assert code(await site.call("PATCH", path(second), {})) == (409, "hold_expired")
    assert code(await site.post(path(second, "cancel"))) == (409, "not_confirmed")


async def test_lists(site) -> None:
    first = await site.held(9)
    await site.held(10, customer={"name": "B", "email": "b@example.org"})
    start = site.shop.slot(10)

    async def ids(query: str) -> list[str]:
        answer = await site.get(f"/v1/reservations?{query}")
        assert answer.status_code == 200, answer.text
        return [one["id"] for one in answer.json()["data"]]

    assert len(await ids("")) == 2
    assert await ids("customer_email=ANNA@example.org") == [first["id"]]
    assert await ids(f"to={start.strftime('%Y-%m-%dT%H:%M:%SZ')}") == [first["id"]]
    assert len(await ids("event_type=consultation&status=held")) == 2
    assert await ids("host=hst_x") == []
    assert await ids("event_type=nothing") == []


async def test_the_same_request_twice(site) -> None:
    headers = {"idempotency-key": "é1".encode()}
    wish = site.wish() | {"metadata": {"n": 1, "m": 2}}
    first = await site.post("/v1/reservations", wish, headers=headers)
    same = site.wish() | {"metadata": {"m": 2.0, "n": 1}}
    again = await site.post("/v1/reservations", same, headers=headers)
    assert again.status_code == 201
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json()["id"] == first.json()["id"]
    assert again.json()["client_secret"] == first.json()["client_secret"]
    assert "idempotency-replayed" not in first.headers
    other = await site.post("/v1/reservations", site.wish(11), headers=headers)
    assert code(other) == (422, "idempotency_key_reused")
    await site.post(path(first.json(), "release"))
    released = await site.post("/v1/reservations", wish, headers=headers)
    assert (released.status_code, released.json()["status"]) == (201, "released")
    for key in ("", "x" * 256):
        assert fields(await site.post("/v1/reservations", wish, headers={"idempotency-key": key})) == [
            "Idempotency-Key"
        ]
    # A refusal keeps no key.
    await site.held(14)
    taken = await site.post("/v1/reservations", site.wish(14), headers={"idempotency-key": "k2"})
    assert code(taken) == (409, "slot_taken")
    assert (
        await site.post("/v1/reservations", site.wish(15), headers={"idempotency-key": "k2"})
    ).status_code == 201


async def test_every_verb_twice_under_one_key(database) -> None:
    site = await open_site(database, mode=Mode.SALE)
    held = await site.held()
    verbs: list[tuple[str, Any]] = [
        ("extend", None),
        ("client-secret/rotate", None),
        ("checkout", RETURN),
        ("release", None),
    ]
    for verb, body in verbs:
        headers = {"idempotency-key": "same for all paths"}
        first = await site.post(path(held, verb), body, headers=headers)
        again = await site.post(path(held, verb), body, headers=headers)
        assert (first.status_code, again.status_code) == (200, 200), (verb, first.text)
        assert again.headers["idempotency-replayed"] == "true"
        assert first.json() | {"server_time": 0} == again.json() | {"server_time": 0}
    assert len([call for call in site.shop.provider.calls if call[0] == "create"]) == 1
    await site.http.aclose()


async def test_fifty_at_once_under_one_key(site) -> None:
    headers = {"idempotency-key": "many"}
    answers = await asyncio.gather(
        *[site.post("/v1/reservations", site.wish(), headers=headers) for _ in range(50)]
    )
    made = {one.json()["id"] for one in answers if one.status_code == 201}
    assert len(made) == 1
    assert {one.status_code for one in answers} <= {201, 409}
    assert {code(one) for one in answers if one.status_code == 409} <= {(409, "idempotency_in_progress")}


async def test_where_a_checkout_may_lead(site) -> None:
    held = await site.held()
    for url in (
        "/relative",
        "javascript:alert(1)",
        "https://u:p@x.example/",
        "https://",
        "http:// x",
        "ftp://x.example",
        "https://x.example/" + "x" * 2048,
        "https://x.example/\n",
    ):
        assert fields(await site.post(path(held, "checkout"), {"return_url": url})) == ["return_url"]
    assert fields(await site.post(path(held, "checkout"), {})) == ["return_url"]
    assert fields(await site.post(path(held, "checkout"), RETURN | {"cancel_url": "x"})) == ["cancel_url"]


async def test_a_live_account_returns_to_its_own_pages_only(database) -> None:
    rules = {"allowed_origins": ["https://shop.example"], "success_url": "https://thanks.example/t"}
    site = await open_site(database, rules=rules)

    async def live(tx) -> None:
        await tx.execute("update account set mode = 'live' where id = $1", site.shop.account_id)

    await database.run(live)
    held = await site.held()
    cs = held["client_secret"]
    assert held["livemode"] is True
    for url, allowed in (
        ("https://evil.example/", False),
        ("https://shop.example.evil.example/", False),
        ("https://thanks.example/other", False),
        ("https://thanks.example/t", True),
        ("https://shop.example/anything", True),
        (f"{site.shop.world.public_url}/b/{site.shop.account_id}/anything", True),
    ):
        answer = await site.post(path(held, "checkout"), {"return_url": url}, key=cs)
        assert answer.status_code == (200 if allowed else 422), url
        if not allowed:
            assert answer.json()["code"] == "return_url_not_allowed"
    assert (
        await site.post(path(held, "checkout"), {"return_url": "https://any.example/"})
    ).status_code == 200
    await site.http.aclose()


async def test_holds_of_one_address_and_one_email(database) -> None:
    limits = Limits(hold_seconds_min=1, holds_per_email_max=2, holds_per_address_max=3)
    site = await open_site(database, limits=limits)
    for hour in (8, 9):
        await site.held(hour, key="publishable")
    refused = await site.post(
        "/v1/reservations", site.wish(10, customer={"email": "ANNA@example.org"}), key="publishable"
    )
    assert code(refused) == (429, "too_many_holds")
    assert refused.headers["retry-after"]
    await site.held(10, key="publishable", customer={"email": "b@example.org"})
    refused = await site.post(
        "/v1/reservations", site.wish(11, customer={"email": "c@example.org"}), key="publishable"
    )
    assert code(refused) == (429, "too_many_holds")
    assert (await site.held(11))["status"] == "held"
    await site.http.aclose()


async def test_no_host_is_chosen_where_all_take_part(database) -> None:
    site = await open_site(database, hosts=2, rules={"price": None, "assignment": "all_of"})
    refused = await site.post("/v1/reservations", site.wish(9, host=site.shop.hosts[0]))
    assert fields(refused) == ["host"]
    await site.http.aclose()


async def test_another_email_is_counted_where_its_hold_is(database) -> None:
    """A hold is not in its own way, and one that a back end made is in nobody's."""
    site = await open_site(database, limits=Limits(hold_seconds_min=1, holds_per_email_max=1))

    async def change(held: dict[str, Any], email: str) -> int:
        patch = {"customer": {"email": email}}
        answer = await site.call("PATCH", f"/v1/reservations/{held['id']}", patch, key=held["client_secret"])
        return answer.status_code

    own, other = await site.held(9, key="publishable"), await site.held(10)
    assert await change(own, "anna@example.org") == 200
    assert [await change(other, email) for email in ("anna@example.org", "b@example.org")] == [200, 200]
    third = await site.held(11, key="publishable", customer={"email": "b@example.org"})
    assert await change(third, "anna@example.org") == 429
    await site.http.aclose()


async def test_a_provider_that_does_not_answer(site) -> None:
    held = await site.held()
    site.shop.provider.faults["create"] = ["lost_before"]
    answer = await site.post(path(held, "checkout"), RETURN, headers={"idempotency-key": "k"})
    assert code(answer) == (503, "provider_unavailable")
    opened = await site.post(path(held, "checkout"), RETURN, headers={"idempotency-key": "k"})
    assert opened.json()["payment"]["checkout_url"]


@pytest.mark.parametrize("listed", [False, True])
async def test_what_is_told_is_of_one_moment(site, monkeypatch, listed: bool) -> None:
    """A payment that comes in while an answer is put together is in all of it or in none."""
    held = await site.held()
    answer = await site.post(path(held, "checkout"), RETURN, key=held["client_secret"])
    payment = answer.json()["payment"]
    read = payments.of_reservations

    async def after_it_was_paid(tx, ids):
        monkeypatch.setattr(payments, "of_reservations", read)
        site.shop.provider.bring_money(payment["provider_ref"])
        await advance.advance(site.shop.world, payment["id"])
        await advance.capture(site.shop.world, payment["id"])
        return await read(tx, ids)

    monkeypatch.setattr(payments, "of_reservations", after_it_was_paid)
    told = (await site.get("/v1/reservations" if listed else path(held))).json()
    told = told["data"][0] if listed else told
    assert (told["status"], told["payment"]["status"]) == ("held", "open")
    assert (await site.get(path(held))).json()["status"] == "confirmed"
