# SPDX-License-Identifier: Apache-2.0
"""Two thousand requests at once: each gets an answer of its own kind."""

import asyncio
import random
from collections import Counter as Tally
from collections.abc import Callable
from typing import Any

import httpx

from counter import RETURN, Counter

MANY = 2000
Ask = Callable[[], Any]


async def test_two_thousand_at_once(counter: Counter) -> None:
    """Reads, holds on one slot, verbs on one reservation, nonsense: nothing of it is ever a bug of ours."""
    site = counter.site
    popular, one = counter.next_start(), await counter.held("sale")
    mine = await counter.held("authorize")
    offer = counter.offers["free"]
    day = {
        "start": site.shop.slot(0).isoformat(),
        "end": site.shop.slot(0, 9).isoformat(),
        "time_zone": "UTC",
    }
    path = f"/v1/reservations/{one['id']}"
    kinds: dict[str, tuple[Ask, set[int]]] = {
        "read": (lambda: site.get(path), {200}),
        "slots": (lambda: site.get(f"/v1/event-types/{offer}/slots", params=day), {200}),
        "the popular slot": (
            lambda: site.post("/v1/reservations", {"event_type": offer, "start": popular}, key="publishable"),
            {201, 409, 429},
        ),
        "a slot": (
            lambda: site.post("/v1/reservations", {"event_type": offer, "start": counter.next_start()}),
            {201, 409},
        ),
        "checkout": (lambda: site.post(f"{path}/checkout", RETURN, key=one["client_secret"]), {200}),
        "confirm": (lambda: site.post(f"{path}/confirm", key=one["client_secret"]), {402}),
        "details": (lambda: site.call("PATCH", path, {"metadata": {"n": 1}}), {200}),
        "release": (lambda: site.post(f"/v1/reservations/{mine['id']}/release"), {200}),
        "nobody": (lambda: site.get(path, key="hf_sk_test_x"), {401}),
        "nonsense": (lambda: site.post("/v1/reservations", [1]), {422}),
        "nothing": (lambda: site.get("/v1/nothing"), {404}),
    }
    # Busy and out of reach are honest answers under such a load, and say when to come back.
    names = [name for name in kinds for _ in range(MANY // len(kinds))]
    random.Random(7).shuffle(names)
    answers = await asyncio.gather(*[kinds[name][0]() for name in names])
    tally = Tally((name, answer.status_code) for name, answer in zip(names, answers, strict=True))
    for name, answer in zip(names, answers, strict=True):
        _check(name, answer, kinds[name][1])
    assert tally["the popular slot", 201] == 1
    assert tally["read", 200] > 0
    assert not [name for name in kinds if not any(tally[name, status] for status in kinds[name][1])], tally


def _check(name: str, answer: httpx.Response, expected: set[int]) -> None:
    if answer.status_code == 503:
        assert answer.headers["retry-after"], name
        assert answer.json()["code"] in ("busy", "database_unavailable", "provider_unavailable"), name
    else:
        assert answer.status_code in expected, (name, answer.text)
    assert answer.headers["x-request-id"]


async def test_fifty_on_one_slot_never_see_busy(counter: Counter) -> None:
    wish = {"event_type": counter.offers["free"], "start": counter.next_start()}
    answers = await asyncio.gather(
        *[counter.call("POST", "/v1/reservations", wish, "publishable") for _ in range(50)]
    )
    assert Tally(answer.status_code for answer in answers) == {201: 1, 409: 49}
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"slot_taken"}
