# SPDX-License-Identifier: Apache-2.0
"""Networks that fail, clocks that are wrong, servers that say no: a clear sentence, a way to go on, nothing lost."""

import asyncio

import httpx
import pytest
from playwright.async_api import Request, Route, expect

from browser.conftest import Browsers
from browser.phone import PHONE, WATCH, first_times, until
from browser.practice import Practice, choose, fill, held_by, to_payment


async def test_a_server_that_is_down_and_comes_back(practice: Practice, browsers: Browsers) -> None:
    slug = practice.offer()
    page = await browsers.page()
    down = True

    async def answer(route: Route) -> None:
        await (route.abort("connectionrefused") if down else route.continue_())

    await page.route("**/slots?*", answer)
    await page.goto(practice.page(slug))
    await expect(page.get_by_text("The server does not answer at the moment.")).to_be_visible()
    down = False
    await page.get_by_role("button", name="Try again").click()
    await expect(page.locator(".hf-time").first).to_be_visible()
    await expect(page.get_by_role("alert")).to_have_count(0)


@pytest.mark.parametrize("status", [429, 502])
async def test_somebody_in_between_who_says_no_for_now(
    practice: Practice, browsers: Browsers, status: int
) -> None:
    """A proxy, with a page of its own: the question is asked again by itself."""
    slug = practice.offer()
    page = await browsers.page()
    asked = 0

    async def answer(route: Route) -> None:
        nonlocal asked
        asked += 1
        if asked > 2:
            await route.continue_()
        else:
            await route.fulfill(status=status, content_type="text/html", body="<h1>Not now</h1>")

    await page.route("**/slots?*", answer)
    await page.goto(practice.page(slug))
    await expect(page.get_by_text("The server does not answer at the moment.")).to_be_visible()
    await expect(page.locator(".hf-time").first).to_be_visible(timeout=15_000)
    await expect(page.get_by_role("alert")).to_have_count(0)
    assert asked == 3


async def test_a_server_that_takes_ten_seconds(practice: Practice, browsers: Browsers) -> None:
    slug = practice.offer()
    page = await browsers.page()

    async def answer(route: Route) -> None:
        await asyncio.sleep(10)
        await route.continue_()

    await page.route("**/slots?*", answer)
    await page.goto(practice.page(slug))
    await expect(page.get_by_text("Looking for free times")).to_be_visible()
    await expect(page.get_by_text("This takes longer than usual.")).to_be_visible()
    await expect(page.locator(".hf-time").first).to_be_visible(timeout=15_000)


async def test_offline_in_the_middle_and_nothing_is_lost(practice: Practice, browsers: Browsers) -> None:
    slug = practice.offer()
    page = await browsers.page()
    await page.goto(practice.page(slug))
    await choose(page)
    await fill(page)
    await page.context.set_offline(True)
    await page.get_by_role("button", name="Continue to payment").click()
    await expect(page.get_by_text("You seem to be offline.")).to_be_visible()
    await expect(page.locator("[name=name]")).to_have_value("Anna Example")
    await page.context.set_offline(False)
    await to_payment(page)
    assert len(practice.reservations(slug)) == 1


async def test_an_answer_that_is_lost_holds_one_time_only(practice: Practice, browsers: Browsers) -> None:
    slug = practice.offer()
    page = await browsers.page()
    lost = 1

    async def answer(route: Route) -> None:
        nonlocal lost
        if route.request.method == "POST" and lost:
            lost -= 1
            await route.fetch()
            await route.abort("connectionreset")
        else:
            await route.continue_()

    await page.route("**/v1/reservations", answer)
    await page.goto(practice.page(slug))
    await choose(page)
    assert len(practice.reservations(slug)) == 1


@pytest.mark.parametrize(
    ("status", "code", "sentence"),
    [
        (429, "too_many_holds", "Too many times are being held from here."),
        (409, "slot_not_offered", "This time is no longer offered."),
        (409, "event_type_inactive", "This cannot be booked at the moment."),
        (500, "internal_error", "That did not work (internal_error)."),
    ],
)
async def test_refusals_are_sentences(
    practice: Practice, browsers: Browsers, status: int, code: str, sentence: str
) -> None:
    slug = practice.offer()
    page = await browsers.page()
    told = {"code": code, "status": status, "title": code, "detail": "<b>not for people</b>"}
    await page.route("**/v1/reservations", lambda route: route.fulfill(status=status, json=told))
    await page.goto(practice.page(slug))
    await page.locator(".hf-time").first.click()
    await expect(page.get_by_role("alert").filter(has_text=sentence)).to_be_visible()
    await expect(page.locator(".hf-time").first).to_be_visible()
    assert "not for people" not in await page.content()


@pytest.mark.parametrize("off_by_hours", [-24, 24])
async def test_a_device_whose_clock_is_a_day_wrong(
    practice: Practice, browsers: Browsers, off_by_hours: int
) -> None:
    slug = practice.offer(hold_seconds=120)
    page = await browsers.page()
    await page.add_init_script(
        f"{{ const now = Date.now.bind(Date); Date.now = () => now() + {off_by_hours} * 3600000 }}"
    )
    await page.goto(practice.page(slug))
    await choose(page)
    text = await page.locator("[role=timer]").inner_text()
    assert text.startswith(("2:00", "1:5")), text


async def test_a_zone_that_the_server_does_not_know(practice: Practice, browsers: Browsers) -> None:
    slug = practice.offer()
    page = await browsers.page()

    async def answer(route: Route) -> None:
        if "time_zone=" in route.request.url:
            errors = [{"field": "time_zone", "message": "is not a zone of the IANA database"}]
            await route.fulfill(status=422, json={"code": "invalid_request", "status": 422, "errors": errors})
        else:
            await route.continue_()

    await page.route("**/slots?*", answer)
    await page.goto(practice.page(slug))
    await expect(page.locator(".hf-time").first).to_be_visible()
    await expect(page.get_by_label("Time zone")).to_have_value("UTC")


async def test_the_zone_can_be_switched_and_is_always_named(practice: Practice, browsers: Browsers) -> None:
    slug = practice.offer(notice_minutes=2880)
    page = await browsers.page(timezone_id="Asia/Tokyo")
    await page.goto(practice.page(slug))
    zone = page.get_by_label("Time zone")
    await expect(page.locator(".hf-time").first).to_be_visible()
    await expect(zone).to_have_value("Asia/Tokyo")
    assert "Japan Standard Time" in await zone.inner_text()
    await zone.focus()
    await zone.select_option("America/New_York")
    start = await choose(page)
    await expect(page.locator(".hf-chosen")).to_contain_text("New York (Eastern Standard Time)")
    [one] = practice.reservations(slug)
    assert one["start"] == start
    assert one["customer"]["time_zone"] == "America/New_York"


async def test_storage_that_is_shut(practice: Practice, browsers: Browsers) -> None:
    slug = practice.offer(price=None)
    page = await browsers.page()
    await page.add_init_script(
        "Object.defineProperty(window, 'sessionStorage', { get() { throw new DOMException('shut', 'SecurityError') } })"
    )
    await page.goto(practice.page(slug))
    await choose(page)
    await fill(page)
    await page.get_by_role("button", name="Confirm booking").click()
    await expect(page.get_by_role("heading", name="You are booked")).to_be_visible()


async def test_a_page_from_before_a_hold_ended_knows_it_when_it_is_seen_again(
    practice: Practice, browsers: Browsers
) -> None:
    slug = practice.offer()
    page = await browsers.page()
    await page.goto(practice.page(slug))
    await choose(page)
    held = await held_by(page)
    practice.ask("POST", f"/v1/reservations/{held}/release")
    await page.get_by_role("button", name="I need more time").click()
    await expect(page.get_by_role("heading", name="This time is free again")).to_be_visible()


async def test_nothing_jumps_once_times_are_there_on_a_phone(practice: Practice, browsers: Browsers) -> None:
    """Two phones that were never here. How soon the times are there is measured by bench/first_times.py."""
    slug = practice.offer()
    for _ in range(2):
        _, jumps = await first_times(await browsers.page(viewport=PHONE), practice.page(slug))
        assert jumps < 0.01


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/Los_Angeles"])
@pytest.mark.parametrize("off_by_hours", [0, 24 * 40])
async def test_times_are_asked_for_before_the_scripts_are_here_and_only_once(
    practice: Practice, browsers: Browsers, zone: str, off_by_hours: int
) -> None:
    """The page, then everything else at once: two ways to the server and back before times are seen."""
    slug = practice.offer(notice_minutes=0)
    page = await browsers.page(timezone_id=zone)
    await page.add_init_script(
        f"{{ const now = Date.now.bind(Date); Date.now = () => now() + {off_by_hours} * 3600000 }}"
    )
    asked: list[str] = []
    first = asyncio.Event()

    def note(request: Request) -> None:
        if "/slots?" in request.url:
            asked.append(request.url)
            first.set()

    async def held_back(route: Route) -> None:
        await asyncio.wait_for(first.wait(), 10)
        await route.continue_()

    page.on("request", note)
    await page.route("**/assets/*.js", held_back)
    await page.goto(practice.page(slug))
    await expect(page.locator(".hf-time").first).to_be_visible()
    assert asked.count(asked[0]) == 1
    assert httpx.URL(asked[0]).params["time_zone"] == zone


async def test_a_month_without_times_costs_one_question_more(practice: Practice, browsers: Browsers) -> None:
    slug = practice.offer(notice_minutes=70 * 1440, horizon_days=120)
    page = await browsers.page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/slots?" in request.url else None)
    await page.goto(practice.page(slug))
    await expect(page.locator(".hf-time").first).to_be_visible()
    assert len(asked) == 2
    await page.get_by_role("button", name="Next month").click()
    await expect(page.locator(".hf-time").first).to_be_visible()
    assert len(asked) == 3


async def test_a_question_that_was_asked_early_and_lost_is_asked_again(
    practice: Practice, browsers: Browsers
) -> None:
    slug = practice.offer()
    page = await browsers.page()
    asked = 0

    async def answer(route: Route) -> None:
        nonlocal asked
        asked += 1
        await (route.abort("connectionreset") if asked == 1 else route.continue_())

    await page.route("**/slots?*", answer)
    await page.goto(practice.page(slug))
    await expect(page.locator(".hf-time").first).to_be_visible()
    assert asked == 2


async def test_what_jumps_would_be_seen(practice: Practice, browsers: Browsers) -> None:
    """The same watch, with something that pushes the page down after the times are there."""
    page = await browsers.page(viewport=PHONE)
    await page.add_init_script(WATCH)
    await page.goto(practice.page(practice.offer()))
    await page.evaluate(until("seen"))
    await page.wait_for_timeout(100)
    await page.evaluate(
        "document.body.prepend(Object.assign(document.createElement('p'), {textContent: 'x'}))"
    )
    await page.evaluate("document.body.firstChild.style.cssText = 'height: 200px'")
    await page.evaluate(until("moves.some(([at, by]) => at > seen && by > 0.01)"))
