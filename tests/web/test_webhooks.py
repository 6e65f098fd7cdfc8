# SPDX-License-Identifier: Apache-2.0
"""Webhooks: set up over HTTP, sent as the specification says, tried again for three days, and nothing sent twice.

Signatures are judged by the specification's own library (standardwebhooks), which knows nothing of holdfirst.
"""

import asyncio
import base64
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import msgspec
import pytest
import standardwebhooks

from front import Site, code, fields
from holdfirst.effects import call_webhook
from holdfirst.effects.call_webhook import AT_ONCE_PER_ENDPOINT_MAX, Webhooks
from holdfirst.errors import ProviderUnavailable
from holdfirst.flows import at_rest, webhooks
from holdfirst.flows.webhooks import TRY_AGAIN
from holdfirst.key_ring import KeyRing
from holdfirst.store import checks
from holdfirst.web.event_bodies import EventBodies
from holdfirst.worker import KINDS, Kind

from .test_reservations import path

ENDPOINTS = "/v1/webhook-endpoints"
URL = "https://shop.example/hook"


@dataclass
class Receiver:
    """What an integrator's server hears, and what it answers."""

    answers: int | str = 204
    heard: list[tuple[str, Mapping[str, str], bytes]] = field(default_factory=list)
    gate: asyncio.Event | None = None
    busiest: int = 0
    busy: int = 0

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        self.heard.append((url, headers, body))
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        if self.gate is not None:
            await self.gate.wait()
        self.busy -= 1
        if isinstance(self.answers, str):
            raise ProviderUnavailable(self.answers)
        return self.answers

    @property
    def types(self) -> list[str]:
        return [msgspec.json.decode(body)["type"] for _, _, body in self.heard]


@dataclass
class Hooked:
    site: Site
    receiver: Receiver

    async def endpoint(self, **more: Any) -> dict[str, Any]:
        answer = await self.site.post(ENDPOINTS, {"url": URL} | more)
        assert answer.status_code == 201, answer.text
        told: dict[str, Any] = answer.json()
        return told

    async def deliveries(self, endpoint: Mapping[str, Any]) -> list[dict[str, Any]]:
        answer = await self.site.get(f"{ENDPOINTS}/{endpoint['id']}/deliveries")
        assert answer.status_code == 200, answer.text
        data: list[dict[str, Any]] = answer.json()["data"]
        return data


@pytest.fixture
async def hooked(free_site: Site) -> AsyncIterator[Hooked]:
    receiver = Receiver()
    shop = free_site.shop
    made = Webhooks(shop.world, EventBodies(shop.world), receiver.post)
    shop.kinds = {**KINDS, "tell": Kind(made.tell), "deliver": Kind(made.deliver)}
    return Hooked(free_site, receiver)


async def test_an_endpoint_from_its_making_to_its_end(hooked) -> None:
    site = hooked.site
    made = await hooked.endpoint(types=["reservation.confirmed", "reservation.confirmed"])
    assert made["secret"].startswith("whsec_")
    assert len(base64.b64decode(made["secret"].removeprefix("whsec_"))) == 24
    assert made["types"] == ["reservation.confirmed"]
    told = {name: value for name, value in made.items() if name != "secret"}
    one = f"{ENDPOINTS}/{made['id']}"
    assert (await site.get(one)).json() == told
    assert (await site.get(ENDPOINTS)).json() == {"data": [told], "next_cursor": None}
    changed = await site.call("PATCH", one, {"url": "https://shop.example/other", "types": []})
    assert changed.json() == told | {"url": "https://shop.example/other", "types": []}
    assert (await site.call("DELETE", one)).status_code == 204
    assert code(await site.get(one)) == (404, "webhook_endpoint_not_found")
    assert (await site.get(ENDPOINTS)).json()["data"] == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "url"),
        ({"url": "ftp://shop.example/"}, "url"),
        ({"url": "https://user:word@shop.example/"}, "url"),
        ({"url": "shop.example"}, "url"),
        ({"url": "https://"}, "url"),
        ({"url": "https://" + "x" * 3000}, "url"),
        ({"url": 7}, "url"),
        ({"url": URL, "types": ["reservation.made"]}, "types[0]"),
        ({"url": URL, "types": "reservation.held"}, "types"),
        ({"url": URL, "secret": "whsec_x"}, "secret"),
    ],
)
async def test_endpoints_that_cannot_be(site, body: dict[str, Any], field: str) -> None:
    assert fields(await site.post(ENDPOINTS, body)) == [field]
    assert (await site.get(ENDPOINTS)).json()["data"] == []


async def test_not_more_than_twenty(hooked) -> None:
    for _ in range(20):
        await hooked.endpoint()
    assert fields(await hooked.site.post(ENDPOINTS, {"url": URL})) == ["url"]


async def test_the_same_making_twice_is_one_endpoint_and_one_secret(hooked) -> None:
    key = {"headers": {"idempotency-key": "k1"}}
    first = await hooked.site.post(ENDPOINTS, {"url": URL}, **key)
    second = await hooked.site.post(ENDPOINTS, {"url": URL}, **key)
    assert first.json() == second.json()
    assert len((await hooked.site.get(ENDPOINTS)).json()["data"]) == 1


async def test_what_is_sent_is_what_the_specification_says(hooked) -> None:
    made = await hooked.endpoint()
    held = await hooked.site.held(9)
    await hooked.site.shop.work()
    [(url, headers, body)] = hooked.receiver.heard
    assert url == URL
    told = standardwebhooks.Webhook(made["secret"]).verify(body, dict(headers))
    assert told["id"] == headers["webhook-id"]
    assert (told["type"], told["data"]["id"]) == ("reservation.held", held["id"])
    [listed] = (await hooked.site.get("/v1/events")).json()["data"]
    assert msgspec.json.decode(body) == listed
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(made["secret"]).verify(body + b" ", dict(headers))
    [delivery] = await hooked.deliveries(made)
    assert (delivery["event"], delivery["status"], delivery["attempts"]) == (told["id"], "delivered", 1)
    assert (delivery["response_status"], delivery["next_attempt_at"]) == (204, None)


async def test_only_what_it_asked_for_and_only_what_came_after_it(hooked) -> None:
    await hooked.site.held(8)
    await hooked.endpoint(types=["reservation.confirmed"])
    await hooked.endpoint(url="https://else.example/", types=[])
    held = await hooked.site.held(9)
    await hooked.site.post(path(held, "/confirm"), {})
    await hooked.site.shop.work()
    assert sorted((url, msgspec.json.decode(body)["type"]) for url, _, body in hooked.receiver.heard) == [
        ("https://else.example/", "reservation.confirmed"),
        ("https://else.example/", "reservation.held"),
        (URL, "reservation.confirmed"),
    ]


async def test_nobody_hears_of_another_account(hooked) -> None:
    await hooked.site.post(ENDPOINTS, {"url": URL}, key="other")
    await hooked.site.held(9)
    await hooked.site.shop.work()
    assert hooked.receiver.heard == []


async def test_each_hears_of_its_own_account_where_both_listen(hooked) -> None:
    mine = await hooked.endpoint()
    theirs = await hooked.site.post(ENDPOINTS, {"url": "https://else.example/"}, key="other")
    await hooked.site.held(9)
    await hooked.site.shop.work()
    assert [url for url, _, _ in hooked.receiver.heard] == [URL]
    for key, endpoint, heard in (("secret", mine, 1), ("other", theirs.json(), 0)):
        listed = (await hooked.site.get(ENDPOINTS, key=key)).json()["data"]
        assert [one["id"] for one in listed] == [endpoint["id"]]
        deliveries = await hooked.site.get(f"{ENDPOINTS}/{endpoint['id']}/deliveries", key=key)
        assert len(deliveries.json()["data"]) == heard


async def test_deliveries_come_page_by_page(hooked) -> None:
    made = await hooked.endpoint(types=["reservation.held"])
    for hour in (8, 9, 10):
        await hooked.site.held(hour)
    await hooked.site.shop.work()
    seen, cursor = [], ""
    for count in (2, 1):
        answer = (await hooked.site.get(f"{ENDPOINTS}/{made['id']}/deliveries?limit=2{cursor}")).json()
        assert len(answer["data"]) == count
        seen += [one["id"] for one in answer["data"]]
        cursor = f"&cursor={answer['next_cursor']}"
    assert answer["next_cursor"] is None
    assert seen == sorted(set(seen), reverse=True)


async def test_one_change_of_an_endpoint_at_a_time(hooked) -> None:
    """Else a new secret would be written over with the one before."""
    made = await hooked.endpoint()
    database, account = hooked.site.shop.database, hooked.site.shop.account_id
    async with database.transaction() as tx:
        await webhooks.rotate_secret(tx, account, made["id"], b"sealed")
        change = asyncio.create_task(
            database.run(webhooks.change_endpoint, account, made["id"], None, ["reservation.held"])
        )
        await asyncio.sleep(0.1)
        assert not change.done()
    changed = await change
    assert (changed.sealed_secret, changed.types) == (b"sealed", ["reservation.held"])


@pytest.mark.parametrize("answers", [500, 404, 302, 400, 199, "no answer in time", "it is not called"])
async def test_what_was_not_taken_is_sent_again_for_three_days(hooked, clock, answers: int | str) -> None:
    """The same id and the same body each time; at the end it has failed."""
    hooked.receiver.answers = answers
    made = await hooked.endpoint(types=["reservation.held"])
    await hooked.site.held(9)
    await hooked.site.shop.work()
    for attempt, wait in enumerate(TRY_AGAIN, 1):
        [delivery] = await hooked.deliveries(made)
        assert (delivery["status"], delivery["attempts"]) == ("pending", attempt)
        assert delivery["next_attempt_at"] is not None
        await clock.shift(wait * 0.9)
        await hooked.site.shop.work()
        assert len(hooked.receiver.heard) == attempt, "before its time"
        await clock.shift(wait * 0.25)
        await hooked.site.shop.work()
        assert len(hooked.receiver.heard) == attempt + 1
    [delivery] = await hooked.deliveries(made)
    assert (delivery["status"], delivery["attempts"]) == ("failed", len(TRY_AGAIN) + 1)
    database = hooked.site.shop.database
    [finding] = [one for one in await database.run(checks.findings) if one.check == "undelivered"]
    assert finding.ids == [delivery["id"]]
    told = (delivery["response_status"], delivery["error"])
    assert told == ((None, answers) if isinstance(answers, str) else (answers, None))
    assert len({(headers["webhook-id"], body) for _, headers, body in hooked.receiver.heard}) == 1
    assert timedelta(days=3) < sum(TRY_AGAIN, timedelta(0)) < timedelta(days=3.5)


async def test_a_receiver_that_is_gone_is_left_alone(hooked, clock) -> None:
    hooked.receiver.answers = 410
    made = await hooked.endpoint()
    await hooked.site.held(9)
    await hooked.site.shop.work()
    [delivery] = await hooked.deliveries(made)
    assert (delivery["status"], delivery["response_status"]) == ("failed", 410)
    assert await hooked.site.shop.database.run(checks.findings) == []
    await clock.shift(timedelta(days=4))
    await hooked.site.shop.work()
    assert len([one for one in hooked.receiver.types if one == "reservation.held"]) == 1


async def test_what_comes_back_is_delivered(hooked, clock) -> None:
    hooked.receiver.answers = "refused"
    made = await hooked.endpoint(types=["reservation.held"])
    await hooked.site.held(9)
    await hooked.site.shop.work()
    hooked.receiver.answers = 200
    await clock.shift(timedelta(seconds=6))
    await hooked.site.shop.work()
    [delivery] = await hooked.deliveries(made)
    assert (delivery["status"], delivery["attempts"], delivery["error"]) == ("delivered", 2, None)


async def test_delivering_again(hooked) -> None:
    """Whatever became of it: with the same id, so that a receiver knows it."""
    hooked.receiver.answers = 410
    made = await hooked.endpoint()
    await hooked.site.held(9)
    await hooked.site.shop.work()
    [delivery] = await hooked.deliveries(made)
    again = f"{ENDPOINTS}/{made['id']}/deliveries/{delivery['id']}/redeliver"
    hooked.receiver.answers = 200
    for times in (2, 3):
        answer = await hooked.site.post(again)
        assert (answer.status_code, answer.json()["status"]) == (200, "pending")
        await hooked.site.shop.work()
        assert len(hooked.receiver.heard) == times
        [delivery] = await hooked.deliveries(made)
        assert (delivery["status"], delivery["attempts"]) == ("delivered", 1)
    assert len({headers["webhook-id"] for _, headers, _ in hooked.receiver.heard}) == 1
    unknown = f"{ENDPOINTS}/{made['id']}/deliveries/dlv_{'0' * 26}/redeliver"
    assert code(await hooked.site.post(unknown)) == (404, "delivery_not_found")
    other = await hooked.endpoint()
    crossed = f"{ENDPOINTS}/{other['id']}/deliveries/{delivery['id']}/redeliver"
    assert code(await hooked.site.post(crossed)) == (404, "delivery_not_found")


async def test_who_was_overtaken_does_not_say_how_a_delivery_ended(hooked) -> None:
    """A worker that stood still longer than its lease: another one has delivered it meanwhile."""
    made = await hooked.endpoint(types=["reservation.held"])
    await hooked.site.held(9)
    await hooked.site.shop.work()
    [delivery] = await hooked.deliveries(made)
    late = webhooks.Sent(None, "no answer")
    assert await hooked.site.shop.database.run(webhooks.record, delivery["id"], late) is None
    assert await hooked.deliveries(made) == [delivery]


async def test_how_a_delivery_ended_waits_for_who_wishes_it_again(hooked) -> None:
    """Else the end of the attempt before would be written over the wish."""
    made = await hooked.endpoint(types=["reservation.held"])
    await hooked.site.held(9)
    await hooked.site.shop.work()
    [delivery] = await hooked.deliveries(made)
    database = hooked.site.shop.database
    async with database.transaction() as tx:
        await webhooks.redeliver(tx, hooked.site.shop.account_id, made["id"], delivery["id"])
        late = asyncio.create_task(
            database.run(webhooks.record, delivery["id"], webhooks.Sent(None, "no answer"))
        )
        await asyncio.sleep(0.1)
        assert not late.done()
    await late
    [after] = await hooked.deliveries(made)
    assert (after["status"], after["attempts"]) == ("pending", 1)


async def test_for_a_day_both_secrets_sign(hooked, clock) -> None:
    made = await hooked.endpoint()
    rotated = (await hooked.site.post(f"{ENDPOINTS}/{made['id']}/rotate-secret")).json()
    assert rotated["secret"] != made["secret"]
    await hooked.site.held(9)
    await hooked.site.shop.work()
    _, headers, body = hooked.receiver.heard[-1]
    for secret in (made["secret"], rotated["secret"]):
        standardwebhooks.Webhook(secret).verify(body, dict(headers))
    await clock.shift(timedelta(hours=25))
    await hooked.site.shop.work()
    _, headers, body = hooked.receiver.heard[-1]
    assert len(headers["webhook-signature"].split(" ")) == 1


async def test_a_deleted_endpoint_is_called_no_more(hooked, clock) -> None:
    hooked.receiver.answers = 500
    made = await hooked.endpoint()
    await hooked.site.held(9)
    await hooked.site.shop.work()
    await hooked.site.call("DELETE", f"{ENDPOINTS}/{made['id']}")
    await clock.shift(timedelta(days=1))
    await hooked.site.shop.work()
    assert len(hooked.receiver.heard) == 1


async def test_a_death_between_their_yes_and_our_record_sends_it_twice_with_one_id(hooked, clock) -> None:
    made = await hooked.endpoint()
    await hooked.site.held(9)
    shop = hooked.site.shop
    recorded = webhooks.record
    try:
        webhooks.record = _die  # type: ignore[assignment]
        await shop.work()
    finally:
        webhooks.record = recorded
    assert len(hooked.receiver.heard) == 1
    await clock.shift(timedelta(seconds=2))
    await shop.work()
    assert len(hooked.receiver.heard) == 2
    assert len({headers["webhook-id"] for _, headers, _ in hooked.receiver.heard}) == 1
    [delivery] = await hooked.deliveries(made)
    assert delivery["status"] == "delivered"


async def _die(*_: Any) -> None:
    raise ConnectionResetError


async def test_who_answers_slowly_gets_few_hands(hooked) -> None:
    made = await hooked.endpoint()
    for hour in range(6, 18):
        await hooked.site.held(hour)
    shop = hooked.site.shop
    receiver = hooked.receiver
    receiver.gate = asyncio.Event()
    await shop.kinds["tell"].run(shop.world, f"{shop.account_id}/x")
    ids = [one["id"] for one in await hooked.deliveries(made)]
    assert len(ids) == 12
    running = [asyncio.create_task(shop.kinds["deliver"].run(shop.world, one)) for one in ids]
    while sum(one.done() for one in running) < 12 - AT_ONCE_PER_ENDPOINT_MAX:
        await asyncio.sleep(0.01)
    assert receiver.busiest == AT_ONCE_PER_ENDPOINT_MAX
    receiver.gate.set()
    again = sorted(one for one in await asyncio.gather(*running) if one is not None)
    assert len(again) == 12 - AT_ONCE_PER_ENDPOINT_MAX, "the others come back later"
    assert len(set(again)) == len(again), "one after the other, as hands become free"


def test_a_line_is_never_longer_than_a_minute(monkeypatch) -> None:
    """Also after a receiver was slow for long, and is quick again."""
    line, now = call_webhook._Line(), 1000.0
    monkeypatch.setattr(call_webhook, "monotonic", lambda: now)
    for _ in range(20):
        line.took(15.0)
    waits = [line.wait().total_seconds() for _ in range(1000)]
    assert waits == sorted(waits)
    assert waits[-1] == 60.0
    for _ in range(20):
        line.took(0.01)
    now += 60.0
    assert line.wait().total_seconds() < 0.1


async def test_many_wishes_to_tell_are_one_telling(hooked) -> None:
    """They would wait for one lock, each with a connection in its hand. What comes meanwhile is told by the one at work."""
    shop = hooked.site.shop
    made = await hooked.endpoint()
    at_work, go_on = asyncio.Event(), asyncio.Event()
    bodies, runs = EventBodies(shop.world), 0

    async def write(tx: Any, event_id: str, happened: Any) -> bytes:
        nonlocal runs
        runs += 1
        at_work.set()
        await go_on.wait()
        return await bodies(tx, event_id, happened)

    webhooks_of_ours = Webhooks(shop.world, write, hooked.receiver.post)
    await hooked.site.held(6)
    first = asyncio.create_task(webhooks_of_ours.tell(shop.world, f"{shop.account_id}/a"))
    await at_work.wait()
    for hour in range(7, 12):
        await hooked.site.held(hour)
        await asyncio.wait_for(webhooks_of_ours.tell(shop.world, f"{shop.account_id}/{hour}"), 1)
    assert (runs, first.done()) == (1, False)
    go_on.set()
    await first
    assert len(await hooked.deliveries(made)) == 6


async def test_a_telling_that_fails_can_be_tried_again(hooked) -> None:
    shop = hooked.site.shop

    async def write(*_: Any) -> bytes:
        raise ValueError

    webhooks_of_ours = Webhooks(shop.world, write, hooked.receiver.post)
    await hooked.site.held(6)
    for _ in range(2):
        with pytest.raises(ValueError):
            await webhooks_of_ours.tell(shop.world, f"{shop.account_id}/a")


async def test_an_endpoint_that_is_made_while_something_is_written(hooked, clock) -> None:
    """Its transaction does not see the endpoint, and wishes for nothing; the endpoint's own wish finds it."""
    await hooked.site.held(8)
    async with hooked.site.shop.database.transaction() as tx:
        await tx.execute("update reservation set status = status")
        await tx.execute(
            "insert into outbox (account_id, type, subject, happened_at, was, payments)"
            " select account_id, 'reservation.held', id, the_clock() + interval '3 seconds',"
            " row_to_json(reservation), '[]' from reservation"
        )
        await hooked.endpoint()
    await hooked.site.shop.work()
    assert hooked.receiver.heard == []
    await clock.shift(timedelta(seconds=6))
    await hooked.site.shop.work()
    assert hooked.receiver.types == ["reservation.held"]


async def test_secrets_are_sealed_again_with_a_newer_key(hooked) -> None:
    made = await hooked.endpoint()
    rotated = (await hooked.site.post(f"{ENDPOINTS}/{made['id']}/rotate-secret")).json()
    shop = hooked.site.shop
    newer = KeyRing([b"n" * 32, b"k" * 32])
    assert await shop.database.run(at_rest.reseal, newer) >= 2
    only = KeyRing([b"n" * 32])
    assert await shop.database.run(at_rest.known_ring, only.fingerprints)
    async with shop.database.statement() as tx:
        row = await tx.row("select sealed_secret, sealed_before from webhook_endpoint")
    assert row is not None
    assert only.unseal(row["sealed_secret"], made["id"]).decode() == rotated["secret"]
    assert only.unseal(row["sealed_before"], made["id"]).decode() == made["secret"]


async def test_a_ring_with_the_keys_of_all_secrets_is_the_right_one(hooked) -> None:
    """Also where there is no secret from before."""
    shop = hooked.site.shop
    await hooked.endpoint()
    assert await shop.database.run(at_rest.known_ring, shop.world.key_ring.fingerprints)


async def test_a_ring_without_the_key_of_one_secret_is_the_wrong_one(hooked) -> None:
    shop, both, only = hooked.site.shop, KeyRing([b"n" * 32, b"k" * 32]), KeyRing([b"n" * 32])
    await shop.database.run(at_rest.reseal, both)
    assert await shop.database.run(at_rest.known_ring, only.fingerprints)
    await hooked.endpoint()
    assert not await shop.database.run(at_rest.known_ring, only.fingerprints)


async def test_another_ring_is_the_wrong_one_also_where_nothing_is_sealed_yet(database) -> None:
    first, another = ([name * 32] for name in (b"a", b"b"))
    assert await database.run(at_rest.known_ring, KeyRing(first).fingerprints)
    assert not await database.run(at_rest.known_ring, KeyRing(another).fingerprints)
    assert await database.run(at_rest.known_ring, KeyRing(another + first).fingerprints)


async def test_without_a_listener_nothing_is_wished_for(site) -> None:
    await site.held(9)
    async with site.shop.database.statement() as tx:
        assert await tx.value("select count(*) from job where kind in ('tell', 'deliver')") == 0
