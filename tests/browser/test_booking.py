# SPDX-License-Identifier: Apache-2.0
"""The way of a customer, and what can go wrong on it."""

import asyncio
import time

import pytest
from playwright.async_api import expect

from browser.conftest import Browsers
from browser.hosting import pages_served
from browser.practice import (
    QUESTIONS,
    Practice,
    choose,
    fill,
    from_midnight,
    held_by,
    reservation_of,
    to_payment,
)
from processes.running import until


async def test_the_whole_paid_way(practice: Practice, browsers: Browsers) -> None:
    slug = practice.offer(
        questions=QUESTIONS,
        guests_max=2,
        cancellation=[{"until_minutes_before": 0, "refund_percent": 100}],
        location={"kind": "address", "value": "Long Street 1"},
    )
    page = await browsers.page()
    await page.goto(practice.page(slug))
    start = await choose(page)
    held = practice.read(await held_by(page))
    assert (held["status"], held["start"]) == ("held", start)
    await page.get_by_role("button", name="Continue to payment · €60.00").click()
    await expect(page.locator("[name=name]")).to_be_focused()
    await expect(page.locator(".hf-fault").first).to_have_text("Please fill this in.")
    await fill(page)
    await page.get_by_label("What brings you here?").fill("Peace\nand quiet")
    await page.get_by_label("Once").check()
    await page.get_by_label("How many come?").fill("2")
    await page.get_by_label("Money").check()
    await page.get_by_label("Rest").check()
    await page.get_by_label("I have read the rules").check()
    await page.get_by_role("button", name="Add a guest").click()
    await page.get_by_label("Guest 1", exact=True).fill("Ben")
    await to_payment(page)
    await page.get_by_role("button", name="Pay", exact=True).click()
    await expect(page.get_by_role("heading", name="You are booked")).to_be_visible()
    reservation = await reservation_of(page)
    told = practice.until(reservation, "confirmed")
    assert told["answers"] == {
        "why": "Peace\nand quiet",
        "before": "Once",
        "size": 2,
        "topics": ["Money", "Rest"],
        "agree": True,
    }
    assert told["guests"] == ["Ben"]
    assert told["customer"]["name"] == "Anna Example"
    assert told["customer"]["time_zone"] == "UTC"
    file = await page.get_by_role("link", name="Calendar file").get_attribute("href")
    assert file is not None
    assert f"UID:{reservation}@holdfirst" in file.replace("%3A", ":").replace("%40", "@")
    assert await page.evaluate("document.cookie") == ""


async def test_a_free_offer_needs_no_payment(practice: Practice, browsers: Browsers) -> None:
    slug = practice.offer(price=None)
    page = await browsers.page()
    await page.goto(practice.page(slug))
    await choose(page)
    await fill(page)
    await page.get_by_role("button", name="Confirm booking").click()
    await expect(page.get_by_role("heading", name="You are booked")).to_be_visible()
    assert [one["status"] for one in practice.reservations(slug)] == ["confirmed"]


async def test_two_browsers_race_for_one_time(practice: Practice, browsers: Browsers) -> None:
    slug = practice.offer()
    pages = [await browsers.page() for _ in range(2)]
    for page in pages:
        await page.goto(practice.page(slug))
        # The loser's page has not heard yet: the race is decided by the server alone.
        await page.route("**/slots/stream*", lambda route: route.abort())
        await expect(page.locator(".hf-time").first).to_be_visible()
    await asyncio.gather(*(page.locator(".hf-time").first.click() for page in pages))
    for page in pages:
        await expect(page.locator(".hf-form, [data-taken]").first).to_be_visible()
    won = [await page.locator(".hf-form").count() for page in pages]
    assert sorted(won) == [0, 1]
    loser = pages[won.index(0)]
    gone = await pages[won.index(1)].evaluate("1") and practice.reservations(slug)
    assert len(gone) == 1
    await expect(loser.locator("[data-taken]")).to_contain_text("has just taken")
    await expect(loser.locator("[data-taken]")).to_be_focused()
    await expect(loser.locator(f".hf-time[data-start='{gone[0]['start']}']")).to_have_count(0)
    # And on: what is left can be chosen from here by keyboard.
    await loser.keyboard.press("Tab")
    await loser.keyboard.press("Enter")
    await expect(loser.locator(".hf-form")).to_be_visible()


async def test_somebody_elses_choice_makes_a_time_vanish_within_a_second(
    practice: Practice, browsers: Browsers
) -> None:
    slug = practice.offer()
    watching, choosing = await browsers.page(), await browsers.page()
    for page in (watching, choosing):
        await page.goto(practice.page(slug))
        await expect(page.locator(".hf-time").first).to_be_visible()
    await watching.wait_for_timeout(500)
    start = await choosing.locator(".hf-time").first.get_attribute("data-start")
    await choosing.locator(".hf-time").first.click()
    await expect(choosing.locator(".hf-form")).to_be_visible()
    began = time.monotonic()
    await expect(watching.locator(f".hf-time[data-start='{start}']")).to_have_count(0)
    assert time.monotonic() - began < 1.5
    # Back releases, and it is there again, for the other one too.
    await choosing.get_by_role("button", name="Another time").click()
    await expect(choosing.locator(f".hf-time[data-start='{start}']")).to_have_count(1)
    await expect(watching.locator(f".hf-time[data-start='{start}']")).to_have_count(1)
    assert [one["status"] for one in practice.reservations(slug)] == ["released"]


async def test_more_time_can_be_had_once(practice: Practice, browsers: Browsers) -> None:
    slug = practice.offer(hold_seconds=60)
    page = await browsers.page()
    await page.goto(practice.page(slug))
    await choose(page)
    before = practice.read(await held_by(page))["held_until"]
    await page.wait_for_timeout(1200)
    await page.get_by_role("button", name="I need more time").click()
    await expect(page.locator(".hf-countdown")).to_contain_text("It is yours until")
    assert practice.read(await held_by(page))["held_until"] > before
    await expect(page.get_by_role("button", name="I need more time")).to_have_count(0)


async def test_the_hold_runs_out(practice: Practice, browsers: Browsers) -> None:
    slug = practice.offer(hold_seconds=3)
    page = await browsers.page()
    await page.goto(practice.page(slug))
    start = await choose(page)
    await expect(page.get_by_role("heading", name="The time ran out")).to_be_visible()
    await page.get_by_role("button", name="Choose a time again").click()
    await expect(page.locator(f".hf-time[data-start='{start}']")).to_have_count(1)


async def test_a_reload_loses_nothing(practice: Practice, browsers: Browsers) -> None:
    slug = practice.offer()
    page = await browsers.page()
    await page.goto(practice.page(slug))
    await choose(page)
    held = await held_by(page)
    await page.reload()
    await expect(page.locator(".hf-form")).to_be_visible()
    assert await held_by(page) == held
    assert len(practice.reservations(slug)) == 1


async def test_a_reload_loses_nothing_that_was_typed(practice: Practice, browsers: Browsers) -> None:
    slug = practice.offer(questions=QUESTIONS, guests_max=2)
    page = await browsers.page()
    await page.goto(practice.page(slug))
    await choose(page)
    await fill(page)
    await page.get_by_label("What brings you here?").fill("Peace\nand quiet")
    await page.get_by_label("Once").check()
    await page.get_by_label("Rest").check()
    await page.get_by_role("button", name="Add a guest").click()
    await page.get_by_label("Guest 1", exact=True).fill("Ben")
    await page.reload()
    await expect(page.locator("[name=name]")).to_have_value("Anna Example")
    await expect(page.get_by_label("What brings you here?")).to_have_value("Peace\nand quiet")
    await expect(page.get_by_label("Once")).to_be_checked()
    await expect(page.get_by_label("Rest")).to_be_checked()
    await expect(page.get_by_label("Guest 1", exact=True)).to_have_value("Ben")
    assert "Anna" not in page.url
    kept = "JSON.stringify({...sessionStorage}) + JSON.stringify({...localStorage})"
    assert "Anna" in await page.evaluate(kept)
    # Sent, and it is the server's alone.
    await to_payment(page)
    await page.go_back()
    await expect(page.get_by_text("The payment page is open.")).to_be_visible()
    assert "Anna" not in await page.evaluate(kept)


async def test_what_was_typed_goes_with_the_hold_and_along_to_the_next(
    practice: Practice, browsers: Browsers
) -> None:
    slug = practice.offer(hold_seconds=4, extensions_max=0)
    page = await browsers.page()
    await page.goto(practice.page(slug))
    await choose(page)
    await fill(page)
    await expect(page.get_by_role("heading", name="The time ran out")).to_be_visible()
    assert "Anna" not in await page.evaluate("JSON.stringify({...sessionStorage})")
    await page.get_by_role("button", name="Choose a time again").click()
    await choose(page, 1)
    await expect(page.locator("[name=name]")).to_have_value("Anna Example")


async def test_back_from_the_payment_page_and_there_again(practice: Practice, browsers: Browsers) -> None:
    slug = practice.offer()
    page = await browsers.page()
    await page.goto(practice.page(slug))
    await choose(page)
    await fill(page)
    checkout = await to_payment(page)
    await page.go_back()
    await expect(page.get_by_text("The payment page is open.")).to_be_visible()
    await page.get_by_role("button", name="Go to the payment page").click()
    await page.wait_for_url("**/sandbox/**")
    assert page.url.endswith(checkout)
    await page.get_by_role("button", name="Pay", exact=True).click()
    await expect(page.get_by_role("heading", name="You are booked")).to_be_visible()


async def test_a_double_click_on_pay_opens_one_checkout(practice: Practice, browsers: Browsers) -> None:
    slug = practice.offer()
    page = await browsers.page()
    await page.goto(practice.page(slug))
    await choose(page)
    await fill(page)
    await page.get_by_role("button", name="Continue to payment").dblclick()
    await page.wait_for_url("**/sandbox/**")
    [one] = practice.reservations(slug)
    payments = practice.ask("GET", f"/v1/payments?reservation={one['id']}")["data"]
    assert len(payments) == 1


async def test_a_declined_payment_can_be_tried_again(practice: Practice, browsers: Browsers) -> None:
    slug = practice.offer()
    page = await browsers.page()
    await page.goto(practice.page(slug))
    await choose(page)
    await fill(page)
    await to_payment(page)
    await page.get_by_role("button", name="Decline").click()
    await expect(page.get_by_role("heading", name="The payment did not go through")).to_be_visible()
    await expect(page.get_by_text("Nothing was charged.")).to_be_visible()
    await page.get_by_role("button", name="Try the payment again").click()
    await page.wait_for_url("**/sandbox/**")
    await page.get_by_role("button", name="Pay", exact=True).click()
    await expect(page.get_by_role("heading", name="You are booked")).to_be_visible()


@pytest.mark.parametrize(
    ("mode", "action", "said"),
    [
        ("authorize", "authorize", "You have not been charged: your bank lets go of the amount"),
        ("sale_uncloseable", "pay", "What you paid has been sent back to you."),
    ],
)
async def test_the_hold_runs_out_on_the_payment_page(
    practice: Practice, browsers: Browsers, mode: str, action: str, said: str
) -> None:
    """Not charged, or charged and paid back: what is so is said."""
    account = practice.ask("POST", "/v1/payment-accounts", {"provider": "sandbox", "mode": mode})["id"]
    slug = practice.offer(hold_seconds=3, extensions_max=0, payment_account=account)
    page = await browsers.page()
    await page.goto(practice.page(slug))
    await choose(page)
    await fill(page)
    ref = await to_payment(page)
    [one] = practice.reservations(slug)
    practice.until(one["id"], "expired")
    # Meanwhile the time is somebody else's.
    rival = practice.ask("POST", "/v1/reservations", {"event_type": slug, "start": one["start"]})
    practice.act(ref, action, force=True)
    state = f"/r/{one['id']}/state"
    until(lambda: practice.ask("GET", state)["money"] in ("released", "refunded"), "the money's way back")
    await page.goto(practice.page(slug) + f"?reservation={one['id']}")
    await expect(page.get_by_role("heading", name="The time ran out")).to_be_visible()
    await expect(page.get_by_text(said)).to_be_visible()
    # Sentence by sentence: two in one line had lost what stood between them.
    told = await page.locator(".hf-summary [role=status] p").all_inner_texts()
    assert [one[-1] for one in told] == [".", "."]
    assert practice.read(rival["id"])["status"] == "held"


async def test_the_return_page_can_be_loaded_ten_times(practice: Practice, browsers: Browsers) -> None:
    slug = practice.offer()
    page = await browsers.page()
    await page.goto(practice.page(slug))
    await choose(page)
    await fill(page)
    await to_payment(page)
    await page.get_by_role("button", name="Pay", exact=True).click()
    await expect(page.get_by_role("heading", name="You are booked")).to_be_visible()
    reservation = await reservation_of(page)
    for _ in range(10):
        await page.reload()
    await expect(page.get_by_role("heading", name="You are booked")).to_be_visible()
    told = practice.read(reservation)
    assert told["payment"]["captured"]["amount_minor"] == 6000
    confirmations = [mail for mail in practice.mails(reservation) if "Subject: Confirmed" in mail]
    assert len(confirmations) == 1


@pytest.mark.parametrize("scripts", [True, False])
async def test_the_return_page_waits_for_the_truth_and_goes_on_to_the_shop(
    practice: Practice, browsers: Browsers, scripts: bool
) -> None:
    """With scripts it asks, and is not loaded anew before there is news; without, it loads itself."""
    slug = practice.offer()
    wish = {
        "event_type": slug,
        "start": _tomorrow(),
        "customer": {"name": "Anna", "email": "anna@example.org"},
    }
    held = practice.ask("POST", "/v1/reservations", wish)
    with pages_served({"/thanks": "<!doctype html><title>Thanks</title><h1>Thanks</h1>"}) as shop:
        back = {"return_url": f"{shop}/thanks"}
        opened = practice.ask("POST", f"/v1/reservations/{held['id']}/checkout", back)
        page = await browsers.page(java_script_enabled=scripts)
        loads: list[str] = []
        page.on("framenavigated", lambda frame: loads.append(frame.url))
        await page.goto(f"{practice.url}/r/{held['id']}")
        await expect(page.get_by_role("heading", name="Confirming …")).to_be_visible()
        await page.wait_for_timeout(3000)
        assert (len(loads) == 1) == scripts
        practice.act(opened["payment"]["provider_ref"], "authorize")
        await page.wait_for_url(f"{shop}/thanks?reservation={held['id']}")
    browsers.complaints = [one for one in browsers.complaints if "favicon" not in one]


async def test_a_closed_tab_is_booked_all_the_same(practice: Practice, browsers: Browsers) -> None:
    slug = practice.offer()
    page = await browsers.page()
    await page.goto(practice.page(slug))
    await choose(page)
    await fill(page)
    ref = await to_payment(page)
    await page.close()
    practice.act(ref, "authorize")
    [one] = practice.reservations(slug)
    practice.until(one["id"], "confirmed")


async def test_another_browser_sees_how_it_stands_and_nothing_personal(
    practice: Practice, browsers: Browsers
) -> None:
    slug = practice.offer()
    page = await browsers.page()
    await page.goto(practice.page(slug))
    await choose(page)
    await fill(page)
    await to_payment(page)
    await page.get_by_role("button", name="Pay", exact=True).click()
    await expect(page.get_by_role("heading", name="You are booked")).to_be_visible()
    other = await browsers.page()
    await other.goto(page.url)
    await expect(other.get_by_role("heading", name="You are booked")).to_be_visible()
    assert "anna" not in (await other.content()).lower()


@pytest.mark.parametrize("refund", [100, 50, 0])
async def test_cancelling_says_what_comes_back_before_the_click(
    practice: Practice, browsers: Browsers, refund: int
) -> None:
    steps = [{"until_minutes_before": 0, "refund_percent": refund}]
    slug = practice.offer(cancellation=steps, notice_minutes=from_midnight(1))
    page = await browsers.page()
    await page.goto(practice.page(slug))
    await choose(page)
    await fill(page)
    await to_payment(page)
    await page.get_by_role("button", name="Pay", exact=True).click()
    await page.get_by_role("link", name="Change or cancel").click()
    await page.get_by_role("button", name="Cancel this booking").click()
    back = f"€{60 * refund / 100:.2f}"
    said = f"you get {back} back" if refund else "you get no money back"
    await expect(page.get_by_text(said).first).to_be_visible()
    await page.get_by_role("button", name="Yes, cancel it").click()
    await expect(page.get_by_role("heading", name="This booking is cancelled")).to_be_visible()
    [one] = practice.reservations(slug)
    assert one["status"] == "cancelled"
    assert (
        one["payment"]["refund_due"]["amount_minor"] + one["payment"]["refunded"]["amount_minor"]
        == refund * 60
    )
    await expect(page.get_by_text(f"{back} is on its way back to you.")).to_have_count(1 if refund else 0)
    # Whoever knows the id alone is told of all or of nothing, and never that a part is all.
    whole = ("refunding", "refunded") if refund == 100 else ("none",)
    assert practice.ask("GET", f"/r/{one['id']}/state")["money"] in whole


async def test_a_booking_is_moved(practice: Practice, browsers: Browsers) -> None:
    slug = practice.offer(
        price=None, reschedule={"until_minutes_before": 0, "times_max": 3}, notice_minutes=from_midnight(1)
    )
    page = await browsers.page()
    await page.goto(practice.page(slug))
    await choose(page)
    await fill(page)
    await page.get_by_role("button", name="Confirm booking").click()
    await page.get_by_role("link", name="Change or cancel").click()
    await page.get_by_role("button", name="Move to another time").click()
    later = page.locator(".hf-time").nth(2)
    start = await later.get_attribute("data-start")
    await later.click()
    await page.get_by_role("button", name="Yes, move it").click()
    await expect(page.get_by_text("Moved.")).to_be_visible()
    [one] = practice.reservations(slug)
    assert (one["start"], one["sequence"], one["status"]) == (start, 1, "confirmed")


async def test_a_dead_link_says_so(practice: Practice, browsers: Browsers) -> None:
    slug = practice.offer(price=None)
    held = practice.ask("POST", "/v1/reservations", {"event_type": slug, "start": _tomorrow()})
    page = await browsers.page()
    for fragment in ("", "#nonsense", "#hf_cs_0123.456"):
        await page.goto("about:blank")
        await page.goto(f"{practice.url}/m/{held['id']}{fragment}")
        await expect(page.get_by_role("heading", name="This link opens no booking")).to_be_visible()
    await page.goto(f"{practice.url}/m/res_nothing")
    await expect(page.get_by_role("heading", name="There is no such booking")).to_be_visible()


def _tomorrow() -> str:
    return time.strftime("%Y-%m-%dT10:00:00Z", time.gmtime(time.time() + 2 * 86_400))
