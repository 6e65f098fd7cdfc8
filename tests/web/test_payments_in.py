# SPDX-License-Identifier: Apache-2.0
"""Notifications, and the page where a customer comes back: hints to ask, neither of them believed."""

import asyncio
from datetime import timedelta
from typing import Any

from conftest import empty
from front import code, open_site
from holdfirst.payment.payment import Mode

RETURN = {"return_url": "https://shop.example/done?x=1#top"}


async def jobs_of(site, kind: str = "advance") -> list[Any]:
    async def look(tx):
        return await tx.rows(
            "select subject, due_at <= the_clock() as due, pulls from job where kind = $1", kind
        )

    return list(await site.shop.database.run(look))


async def stored(site) -> list[Any]:
    async def look(tx):
        return await tx.rows("select method, query, headers, body from notification order by id")

    return list(await site.shop.database.run(look))


async def checkout(site) -> tuple[dict[str, Any], dict[str, Any]]:
    held = await site.held()
    opened = await site.post(f"/v1/reservations/{held['id']}/checkout", RETURN)
    return held, opened.json()["payment"]


async def test_a_notification_is_stored_and_its_payment_asked_about(site) -> None:
    _, payment = await checkout(site)
    path = f"/v1/notifications/fake/{site.shop.payee_id}"
    [before] = await jobs_of(site)
    assert not before["due"]
    heard = await site.call("POST", f"{path}?ref={payment['provider_ref']}", key=None, content=b"\x00raw\xff")
    assert heard.status_code == 200
    [after] = await jobs_of(site)
    assert after["due"]
    by_get = await site.get(f"{path}?ref={payment['provider_ref']}", key=None)
    assert by_get.status_code == 200
    first, second = await stored(site)
    assert (first["method"], first["body"]) == ("POST", b"\x00raw\xff")
    assert second["method"] == "GET"


async def test_notifications_that_are_none(site) -> None:
    path = f"/v1/notifications/fake/{site.shop.payee_id}"
    assert (await site.post(f"{path}?ref=unknown", key=None)).status_code == 200
    assert len(await stored(site)) == 1
    assert await jobs_of(site) == []
    assert code(await site.post(path, key=None)) == (400, "malformed_request")
    assert code(await site.post(f"{path}?ref=%00", key=None)) == (400, "malformed_request")
    assert code(await site.post(f"{path}?ref=x", key=None, content=b"x" * 1_100_000)) == (
        413,
        "body_too_large",
    )
    for unknown in ("fake/pac_unknown", f"sandbox/{site.shop.payee_id}", f"paypal/{site.shop.payee_id}"):
        assert code(await site.post(f"/v1/notifications/{unknown}?ref=x", key=None)) == (404, "not_found")
    assert len(await stored(site)) == 1
    metrics = (await site.get("/metrics", key=None)).text
    assert 'holdfirst_bad_notifications_total{provider="fake"} 3.0' in metrics


async def test_the_return_page_waits_and_goes_on(site) -> None:
    held, payment = await checkout(site)
    path = f"/r/{held['id']}?status=paid&state=confirmed"
    page = await site.get(path, key=None)
    assert page.status_code == 200
    assert 'http-equiv="refresh"' in page.text
    assert "Confirmed" not in page.text
    assert page.headers["x-robots-tag"].startswith("noindex")
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert page.headers["cache-control"] == "no-store"
    assert "set-cookie" not in page.headers
    assert "hf_cs_" not in page.text
    assert "anna@example.org" not in page.text
    site.shop.provider.bring_money(payment["provider_ref"])
    await asyncio.sleep(1.05)
    await site.get(path, key=None)
    await site.shop.work()
    onward = await site.get(path, key=None)
    assert onward.status_code == 303
    assert onward.headers["location"] == f"https://shop.example/done?x=1&reservation={held['id']}#top"


async def test_loading_it_many_times_does_nothing_more(site) -> None:
    held, _ = await checkout(site)
    answers = await asyncio.gather(*[site.get(f"/r/{held['id']}", key=None) for _ in range(30)])
    assert {answer.status_code for answer in answers} == {200}
    [job] = await jobs_of(site)
    assert job["pulls"] <= 2
    assert job["due"]


async def test_what_it_says_of_money_that_came_late(database, clock) -> None:
    for mode, words in ((Mode.AUTHORIZE, "not been charged"), (Mode.SALE_UNCLOSEABLE, "sent back to you")):
        site = await open_site_once(database, mode)
        held, payment = await checkout(site)
        await clock.shift(timedelta(minutes=20))
        page = (await site.get(f"/r/{held['id']}", key=None)).text
        assert "The time ran out" in page
        await site.held(9)  # somebody else takes the time
        site.shop.provider.bring_money(payment["provider_ref"])
        await site.shop.database.run(_due_now)
        await site.shop.work()
        page = (await site.get(f"/r/{held['id']}", key=None)).text
        assert words in page, page
        assert 'http-equiv="refresh"' not in page
        assert f"https://shop.example/done?x=1&amp;reservation={held['id']}" in page
        await site.http.aclose()


async def _due_now(tx) -> None:
    await tx.execute("update job set due_at = the_clock()")


async def open_site_once(database, mode: Mode):
    """Each on an empty database, as `empty` in the fixtures leaves it."""
    await empty(database)
    async with database.statement() as tx:
        await tx.execute("update test_clock set shift = '0'")
    return await open_site(database, mode=mode)


async def test_pages_of_nothing(site) -> None:
    assert code(await site.get("/r/res_unknown", key=None)) == (404, "reservation_not_found")
    held = await site.held()
    page = await site.get(f"/r/{held['id']}", key=None)
    assert page.status_code == 200
    assert 'http-equiv="refresh"' not in page.text
    assert "href" not in page.text
