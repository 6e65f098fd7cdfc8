# SPDX-License-Identifier: Apache-2.0
"""What comes in: refused in a fixed order, field by field, and otherwise kept code point for code point."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from front import code, fields

RESERVE = "/v1/reservations"
TOO_LARGE = b'{"event_type": "' + b"x" * (1 << 20) + b'"}'


async def chunks(body: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(body), 65_536):
        yield body[at : at + 65_536]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", (400, "malformed_json")),
        (b"", (400, "malformed_json")),
        (b'{"event_type": "\x00"}', (400, "malformed_json")),
        (b'{"event_type": "\xff"}', (400, "malformed_json")),
        (b'{"event_type": "\\ud800"}', (400, "malformed_json")),
        (b'{"event_type": NaN}', (400, "malformed_json")),
        (b"\xef\xbb\xbf{}", (400, "malformed_json")),
        (b'{"metadata": ' + b"[" * 100 + b"]" * 100 + b"}", (400, "malformed_json")),
        (b'{"metadata": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", (400, "malformed_json")),
        (b"[]", (422, "invalid_request")),
        (b"null", (422, "invalid_request")),
        (b'"text"', (422, "invalid_request")),
        (b'{"metadata": {"n": 1e999}}', (422, "invalid_request")),
        (b'{"metadata": {"n": 99999999999999999999}}', (422, "invalid_request")),
        (b'{"metadata": {"n": ' + b"9" * 6000 + b"}}", (422, "invalid_request")),
        (b'{"metadata": {"n": "\\u0000"}}', (422, "invalid_request")),
        (b'{"metadata": {"\\u0000": 1}}', (422, "invalid_request")),
        (TOO_LARGE, (413, "body_too_large")),
        (b"x" * 10_000_000, (413, "body_too_large")),
    ],
)
async def test_bytes_that_are_no_request(site, body: bytes, said: tuple[int, str]) -> None:
    headers = {"content-type": "application/json"}
    assert code(await site.post(RESERVE, content=body, headers=headers)) == said
    # The same without a length announced.
    assert code(await site.post(RESERVE, content=chunks(body), headers=headers)) == said


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/xml", "", "application/json; charset=latin-1"]
)
async def test_not_called_json(site, content_type: str) -> None:
    answer = await site.post(RESERVE, content=b"{}", headers={"content-type": content_type})
    assert code(answer) == (415, "unsupported_media_type")


async def test_the_order_of_refusals(site) -> None:
    """Each request has every fault from its own on; the first counts."""
    broken = {"content-type": "text/plain"}
    assert code(await site.post(RESERVE, content=TOO_LARGE, headers=broken, key=None)) == (
        401,
        "unauthenticated",
    )
    held = await site.held()
    holder = held["client_secret"]
    assert code(await site.post(RESERVE, content=TOO_LARGE, headers=broken, key=holder)) == (
        403,
        "forbidden_for_key",
    )
    assert code(await site.post(RESERVE, content=TOO_LARGE, headers=broken)) == (413, "body_too_large")
    assert code(await site.post(RESERVE, content=b"{", headers=broken)) == (415, "unsupported_media_type")
    json = {"content-type": "application/json"}
    assert code(await site.post(RESERVE, content=b"{", headers=json)) == (400, "malformed_json")
    wish = {"event_type": "nothing", "start": "soon"}
    assert fields(await site.post(RESERVE, wish)) == ["start"]
    wish = site.wish(9) | {"event_type": "nothing", "seats": 7}
    assert code(await site.post(RESERVE, wish)) == (404, "event_type_not_found")
    assert fields(await site.post(RESERVE, site.wish(9, seats=7))) == ["seats"]
    off_grid = site.wish(9) | {"start": site.shop.slot(9).replace(minute=7).isoformat()}
    assert code(await site.post(RESERVE, off_grid)) == (422, "slot_not_offered")
    taken = await site.post(RESERVE, site.wish(9))
    assert code(taken) == (409, "slot_taken")
    assert len(taken.json()["slots"]) == 23
    assert taken.json()["slots"][0]["start"].endswith(":00.000Z")
    outside = await site.post(RESERVE, site.wish(10, outside_rules=True), key="publishable")
    assert code(outside) == (403, "forbidden_for_key")


async def test_inactive(site) -> None:
    await site.call("PATCH", "/v1/event-types/consultation", {"active": False})
    assert code(await site.post(RESERVE, site.wish(9, seats=7))) == (409, "event_type_inactive")


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({"start": "2026-12-07T08:00:00"}, "start"),
        ({"start": "2026-12-07"}, "start"),
        ({"start": 1764_000_000}, "start"),
        ({"start": "0001-01-01T00:00:00+14:00"}, "start"),
        ({"start": "9999-12-31T23:59:59-14:00"}, "start"),
        ({"seats": "1"}, "seats"),
        ({"seats": 1.0}, "seats"),
        ({"seats": True}, "seats"),
        ({"seats": 0}, "seats"),
        ({"seats": -1}, "seats"),
        ({"hold_seconds": 0}, "hold_seconds"),
        ({"hold_seconds": 100_000}, "hold_seconds"),
        ({"unheard": 1}, "unheard"),
        ({"customer": {"unheard": 1}}, "customer.unheard"),
        ({"customer": "Anna"}, "customer"),
        ({"customer": {"name": "Anna\nBcc: all"}}, "customer.name"),
        ({"customer": {"name": "\x00"}}, "customer.name"),
        ({"customer": {"name": "\x1b[31m"}}, "customer.name"),
        ({"customer": {"name": "\x85"}}, "customer.name"),
        ({"customer": {"name": ""}}, "customer.name"),
        ({"customer": {"name": "x" * 201}}, "customer.name"),
        ({"customer": {"email": "anna@example.org\r\nBcc: all@example.org"}}, "customer.email"),
        ({"customer": {"email": "anna"}}, "customer.email"),
        ({"customer": {"phone": "+420\n"}}, "customer.phone"),
        ({"customer": {"time_zone": "Europe/Atlantis"}}, "customer.time_zone"),
        ({"customer": {"time_zone": "../../etc/passwd"}}, "customer.time_zone"),
        ({"customer": {"locale": "english please"}}, "customer.locale"),
        ({"customer": {"billing": {"x": "y" * 20_000}}}, "customer.billing"),
        ({"metadata": {"x": "y" * 20_000}}, "metadata"),
        ({"metadata": []}, "metadata"),
        ({"guests": ["a\nb"]}, "guests[0]"),
        ({"guests": ["a"]}, "guests"),
        ({"answers": {"nobody_asked": 1}}, "answers.nobody_asked"),
        ({"host": "hst_of_nobody"}, "host"),
    ],
)
async def test_members_that_do_not_fit(site, wish: dict[str, Any], field: str) -> None:
    assert field in fields(await site.post(RESERVE, site.wish() | wish))


async def test_no_more_guests_are_brought_later(site) -> None:
    held = await site.held()
    patch = {"guests": [f"{number}@example.org" for number in range(4)]}
    answer = await site.call("PATCH", f"/v1/reservations/{held['id']}", patch)
    assert fields(answer) == ["guests"]


async def test_many_small_changes_do_not_make_a_large_one(site) -> None:
    held = await site.held()
    patches = [{"metadata": {f"{number}": "x" * 15_000}} for number in range(5)]
    answers = [await site.call("PATCH", f"/v1/reservations/{held['id']}", one) for one in patches]
    assert [one.status_code for one in answers] == [200, 200, 200, 200, 422]
    assert fields(answers[-1]) == ["metadata"]


async def test_every_faulty_member_is_named(site) -> None:
    answer = await site.post(RESERVE, {"seats": "1", "unheard": 1})
    assert sorted(fields(answer)) == ["event_type", "seats", "start", "unheard"]


@pytest.mark.parametrize("minutes", [-60, -60 * 24 * 365])
async def test_the_past_is_not_offered(site, minutes: int) -> None:
    start = site.shop.slot(9, day=0) + timedelta(minutes=minutes) - timedelta(days=1)
    assert code(await site.post(RESERVE, site.wish() | {"start": start.isoformat()})) == (
        422,
        "slot_not_offered",
    )


NAMES = [
    "🧘🏽‍♀️ Zoë",
    "\u202bמרים\u202c",
    "عبد الله",
    "Z\u0308oe\u0301",
    "ﬁ",
    "ǅ",
    "名前",
    "O'Brien; DROP TABLE reservation; --",
    "<script>alert(1)</script>",
    "\U0001f1e8\U0001f1ff",
    " spaced ",
]


@pytest.mark.parametrize("name", NAMES)
async def test_text_is_kept_as_it_came(free_site, name: str) -> None:
    site = free_site
    customer = {"name": name, "email": "Anna+Tag@Example.ORG", "phone": "+420 777", "billing": {"vat": name}}
    held = await site.held(customer=customer, answers={"why": f"{name}\n\tbecause"}, metadata={name: [name]})
    told = (await site.get(f"{RESERVE}/{held['id']}")).json()
    assert told["customer"] == customer
    assert told["answers"] == {"why": f"{name}\n\tbecause"}
    assert told["metadata"] == {name: [name]}


async def test_instants_of_any_offset(site) -> None:
    start = site.shop.slot(9)
    told = (
        await site.post(RESERVE, site.wish() | {"start": start.strftime("%Y-%m-%dT10:00:00+01:00")})
    ).json()
    assert told["start"] == start.strftime("%Y-%m-%dT09:00:00.000Z")
    for name in ("end", "held_until", "server_time", "created_at"):
        assert told[name].endswith("Z")
        assert len(told[name]) == 24


@pytest.mark.parametrize(
    "path", ["/v1/hosts/%00", "/v1/reservations/res_%0a", "/v1/payments/" + "x" * 5000, "/v1/hosts/%ff"]
)
async def test_paths_that_name_nothing(site, path: str) -> None:
    assert (await site.get(path)).status_code == 404


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=101",
        "limit=x",
        "cursor=x",
        "status=lost",
        "from=2026-01-01T00:00:00",
        "unheard=1",
        "customer_email=%00",
    ],
)
async def test_queries_that_do_not_fit(site, query: str) -> None:
    assert code(await site.get(f"{RESERVE}?{query}")) == (422, "invalid_request")


@pytest.mark.parametrize("query", ["%ff=%ff", "x=%ff", "&".join(f"a{n}=1" for n in range(100))])
async def test_queries_that_cannot_be_read(site, query: str) -> None:
    assert code(await site.get(f"{RESERVE}?{query}")) == (400, "malformed_request")
