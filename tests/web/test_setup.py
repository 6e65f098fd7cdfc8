# SPDX-License-Identifier: Apache-2.0
"""Hosts, event types, payment accounts, busy time: made, changed, listed, refused."""

import asyncio
from typing import Any

import pytest

from front import code, fields
from holdfirst.flows.accounts import create_key
from holdfirst.store import catalog

HOST: dict[str, Any] = {
    "name": "Anna Nováková",
    "time_zone": "Europe/Prague",
    "schedule": {"weekly": [{"days": ["mon"], "start": "22:00", "end": "02:00"}], "holidays": "CZ"},
}


async def test_a_host_from_first_to_last(site) -> None:
    made = await site.post("/v1/hosts", HOST | {"email": "anna@example.org", "metadata": {"ä": 1}})
    assert made.status_code == 201
    host = made.json()
    assert host["slug"] == "anna-novakova"
    assert host["livemode"] is False
    assert (await site.post("/v1/hosts", HOST)).json()["slug"] == "anna-novakova-2"
    assert code(await site.post("/v1/hosts", HOST | {"slug": "anna-novakova"})) == (409, "slug_taken")
    path = f"/v1/hosts/{host['id']}"
    assert (await site.get(path)).json() == host

    changed = await site.call("PATCH", path, {"name": "A.", "email": None, "metadata": None})
    assert changed.json() == host | {"name": "A.", "email": None, "metadata": {}}
    assert fields(
        await site.call("PATCH", path, {"schedule": {"weekly": [{"days": ["x"], "start": "1", "end": "2"}]}})
    )
    assert fields(await site.call("PATCH", path, {"name": None})) == ["name"]
    assert fields(await site.call("PATCH", path, {"unheard": None})) == ["unheard"]
    assert fields(await site.call("PATCH", path, [1])) == [""]
    assert code(await site.call("PATCH", path, {"slug": "anna-novakova-2"})) == (409, "slug_taken")
    assert (await site.get(path)).json() == changed.json()

    assert (await site.call("DELETE", path)).status_code == 204
    assert code(await site.get(path)) == (404, "host_not_found")
    assert code(await site.call("DELETE", f"/v1/hosts/{site.shop.hosts[0]}")) == (409, "still_in_use")


async def test_a_host_whose_time_is_taken_stays(site) -> None:
    """Also where nothing offers it any more."""
    await site.held(9)
    assert (await site.call("DELETE", "/v1/event-types/consultation")).status_code == 204
    host = f"/v1/hosts/{site.shop.hosts[0]}"
    assert code(await site.call("DELETE", host)) == (409, "still_in_use")


@pytest.mark.parametrize(
    ("host", "field"),
    [
        ({"name": "a\tb"}, "name"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"email": "x\n@example.org"}, "email"),
        ({"slug": "Über"}, "slug"),
        ({"slug": "a\n"}, "slug"),
        (
            {"schedule": {"weekly": [{"days": ["mon"], "start": "9", "end": "17:00"}]}},
            "schedule.weekly[0].start",
        ),
        ({"schedule": {"unheard": 1}}, "schedule.unheard"),
        ({"schedule": {"holidays": "XX"}}, "schedule.holidays"),
        ({"payment_account": "pac_sandbox"}, "payment_account"),
        ({"external_id": "a\r"}, "external_id"),
    ],
)
async def test_hosts_that_cannot_be(site, host: dict[str, Any], field: str) -> None:
    assert field in fields(await site.post("/v1/hosts", HOST | host))


async def test_busy_time_takes_slots_away(site) -> None:
    host, start, end = site.shop.hosts[0], site.shop.slot(9), site.shop.slot(10)
    path = f"/v1/hosts/{host}/busy/cal-1%40x"
    body = {"start": start.isoformat(), "end": end.isoformat()}
    put = await site.call("PUT", path, body)
    assert put.json()["key"] == "cal-1@x"
    assert code(await site.post("/v1/reservations", site.wish(9))) == (409, "slot_taken")
    assert (await site.call("DELETE", path)).status_code == 204
    assert (await site.call("DELETE", path)).status_code == 204
    assert (await site.held(9))["status"] == "held"
    backwards = {"start": body["end"], "end": body["start"]}
    assert fields(await site.call("PUT", path, backwards)) == ["end"]
    assert fields(await site.call("PUT", path, {"start": body["start"], "end": "2099-01-01T00:00:00Z"})) == [
        "end"
    ]
    assert fields(await site.call("PUT", path, {"start": "2026-01-01T00:00:00", "end": body["end"]})) == [
        "start"
    ]


def offer(site, **more: Any) -> dict[str, Any]:
    return {"name": "Talk", "hosts": [site.shop.hosts[0]], "duration_minutes": 30} | more


async def test_an_event_type_from_first_to_last(site) -> None:
    start = "2027-03-01T09:00:00+01:00"
    made = await site.post("/v1/event-types", offer(site, slug="talk", starts=[start], metadata={"a": 1}))
    assert made.status_code == 201
    told = made.json()
    assert told["confirm_by"] == "client_secret"
    assert told["step_minutes"] == 30
    assert told["starts"] == ["2027-03-01T08:00:00.000Z"]
    assert (await site.get("/v1/event-types/talk")).json() == told
    shown = (await site.get("/v1/event-types/talk", key="publishable")).json()
    assert set(told) - set(shown) == {"metadata", "payment_account"}
    path = f"/v1/event-types/{told['id']}"
    changed = (
        await site.call("PATCH", path, {"price": {"amount_minor": 5, "currency": "KWD"}, "starts": None})
    ).json()
    assert changed["price"] == {"amount_minor": 5, "currency": "KWD"}
    assert changed["confirm_by"] == "payment"
    assert changed["starts"] is None
    assert code(await site.call("PATCH", path, {"confirm_by": "client_secret"})) == (
        422,
        "unsafe_confirmation",
    )
    assert code(await site.call("PATCH", path, {"slug": "consultation"})) == (409, "slug_taken")
    assert (await site.call("DELETE", path)).status_code == 204
    assert code(await site.get(path)) == (404, "event_type_not_found")


async def test_one_change_of_an_event_type_at_a_time(site) -> None:
    """Else of two that say different things one would be lost."""
    path = f"/v1/event-types/{site.shop.event_type_id}"
    async with site.shop.database.transaction() as tx:
        await catalog.lock_event_type(tx, site.shop.event_type_id)
        changing = asyncio.create_task(site.call("PATCH", path, {"name": "Talk"}))
        await asyncio.sleep(0.1)
        assert not changing.done()
    assert (await changing).json()["name"] == "Talk"


@pytest.mark.parametrize("currency", ["JPY", "EUR", "KWD"])
async def test_currencies_of_all_decimals(site, currency: str) -> None:
    price = {"amount_minor": 1001, "currency": currency}
    made = (await site.post("/v1/event-types", offer(site, price=price, seats=3))).json()
    wish = {"event_type": made["slug"], "start": site.shop.slot(9).isoformat(), "seats": 3}
    held = (await site.post("/v1/reservations", wish)).json()
    assert held["price"] == {"amount_minor": 3003, "currency": currency}


@pytest.mark.parametrize(
    ("rules", "field"),
    [
        ({"price": {"amount_minor": 1, "currency": "XXX"}}, "price.currency"),
        ({"price": {"amount_minor": 1, "currency": "eur"}}, "price.currency"),
        ({"price": {"amount_minor": -1, "currency": "EUR"}}, "price.amount_minor"),
        ({"price": {"amount_minor": 1.5, "currency": "EUR"}}, "price.amount_minor"),
        ({"price": {"amount_minor": "1", "currency": "EUR"}}, "price.amount_minor"),
        ({"price": {"amount_minor": 10**12, "currency": "EUR"}, "seats": 2}, "price.amount_minor"),
        ({"hosts": []}, "hosts"),
        ({"hosts": ["hst_unknown"]}, "hosts[0]"),
        ({"payment_account": "pac_sandbox"}, "payment_account"),
        ({"duration_minutes": 0}, "duration_minutes"),
        ({"seats": 0}, "seats"),
        ({"starts": ["2027-01-01T00:00:00"]}, "starts[0]"),
        ({"starts": ["1900-01-01T00:00:00Z"]}, "starts[0]"),
        ({"questions": [{"key": "a", "label": "A"}, {"key": "a", "label": "B"}]}, "questions[1].key"),
        ({"questions": [{"key": "a", "label": "A", "kind": "choice"}]}, "questions[0].options"),
        ({"questions": [{"key": "a", "label": "A\n"}]}, "questions[0].label"),
        ({"success_url": "javascript:alert(1)"}, "success_url"),
        ({"allowed_origins": ["https://a.example/path"]}, "allowed_origins[0]"),
        ({"schedule": {"overrides": [{"date": "2026-13-01"}]}}, "schedule.overrides[0].date"),
        ({"unheard": 1}, "unheard"),
        ({"slug": "no spaces"}, "slug"),
        ({"description": "\x07"}, "description"),
    ],
)
async def test_event_types_that_cannot_be(site, rules: dict[str, Any], field: str) -> None:
    assert field in fields(await site.post("/v1/event-types", offer(site) | rules))


async def test_who_is_paid(site) -> None:
    price = {"amount_minor": 100, "currency": "EUR"}
    second = (await site.post("/v1/payment-accounts", {"provider": "sandbox", "mode": "sale"})).json()
    third = (await site.post("/v1/payment-accounts", {"provider": "sandbox"})).json()
    assert code(await site.post("/v1/event-types", offer(site, price=price))) == (422, "no_payment_account")
    hosts = []
    for payee in (second, third):
        made = await site.post("/v1/hosts", HOST | {"payment_account": payee["id"]})
        hosts.append(made.json()["id"])
    both = offer(site, price=price, hosts=hosts, assignment="all_of")
    assert code(await site.post("/v1/event-types", both)) == (422, "payee_ambiguous")
    assert (await site.post("/v1/event-types", both | {"payment_account": third["id"]})).status_code == 201
    unsafe = offer(site, price=price, confirm_by="client_secret", payment_account=third["id"])
    assert code(await site.post("/v1/event-types", unsafe)) == (422, "unsafe_confirmation")
    assert code(await site.call("DELETE", f"/v1/payment-accounts/{third['id']}")) == (409, "still_in_use")


async def test_payment_accounts(site) -> None:
    made = await site.post("/v1/payment-accounts", {"provider": "sandbox"})
    assert made.status_code == 201
    told = made.json()
    assert told["charges_enabled"] is True
    assert not {"credentials", "sealed_credentials", "signing_secret"} & set(told)
    path = f"/v1/payment-accounts/{told['id']}"
    assert (await site.call("PATCH", path, {"mode": "sale"})).json() == told | {
        "mode": "sale",
        "methods": "holds_and_sales",
    }
    assert (await site.call("DELETE", path)).status_code == 204
    assert code(await site.get(path)) == (404, "payment_account_not_found")
    assert fields(await site.post("/v1/payment-accounts", {"provider": "paypal"})) == ["provider"]
    assert fields(await site.post("/v1/payment-accounts", {"provider": "sandbox"}, key="live")) == [
        "provider"
    ]
    assert fields(await site.post("/v1/payment-accounts", {"provider": "sandbox", "mode": "x"})) == ["mode"]


async def test_the_test_account_can_be_paid_from_the_start(site) -> None:
    key, _ = await site.shop.database.run(create_key, "test", "secret")
    [payee] = (await site.get("/v1/payment-accounts", key=key)).json()["data"]
    assert payee["id"] == "pac_sandbox"
    assert payee["mode"] == "authorize"


async def test_pages(site) -> None:
    made = [(await site.post("/v1/hosts", HOST)).json()["id"] for _ in range(5)]
    seen, cursor = [], ""
    for _ in range(3):
        answer = (await site.get(f"/v1/hosts?limit=2{cursor}")).json()
        seen += [one["id"] for one in answer["data"]]
        cursor = f"&cursor={answer['next_cursor']}"
    assert answer["next_cursor"] is None
    assert seen == [*reversed(made), site.shop.hosts[0]]


async def test_made_once_under_one_key(site) -> None:
    headers = {"idempotency-key": "k1"}
    first = await site.post("/v1/hosts", HOST, headers=headers)
    again = await site.post("/v1/hosts", HOST, headers=headers)
    assert again.json() == first.json()
    assert again.status_code == 201
    assert again.headers["idempotency-replayed"] == "true"


async def test_what_another_account_calls_the_same_is_its_own(site) -> None:
    """Event types are found by slug and hosts by name of the event type: within one account."""
    database, mine = site.shop.database, site.shop.account_id
    host = (await site.post("/v1/hosts", HOST, key="other")).json()["id"]
    made = await site.post("/v1/event-types", offer(site, slug="consultation", hosts=[host]), key="other")
    assert made.status_code == 201, made.text
    await site.post("/v1/webhook-endpoints", {"url": "https://shop.example/hook"}, key="other")
    async with database.statement() as tx:
        other = await tx.value("select account_id from host where id = $1", host)
        ours, theirs = await catalog.load_offers(tx, [(mine, "consultation"), (other, "consultation")])
        assert ours is not None and theirs is not None
        assert [one.event_type.account_id for one in (ours, theirs)] == [mine, other]
        assert [one.has_webhooks for one in (ours, theirs)] == [False, True]
        assert await catalog.load_offers(tx, [(mine, theirs.event_type.id)]) == [None]
        # Not even where the rules name one.
        await tx.execute(
            "update event_type set rules = jsonb_set(rules, '{hosts}', to_jsonb(array[$1::text, $2])) where account_id = $3",
            host,
            site.shop.hosts[0],
            mine,
        )
        ours = await catalog.load_offer(tx, mine, "consultation")
        assert ours is not None and [one.id for one in ours.hosts] == site.shop.hosts
