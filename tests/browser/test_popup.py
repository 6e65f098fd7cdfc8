# SPDX-License-Identifier: Apache-2.0
"""A payment in a window of its own, from a frame on another origin under a strict policy; with the browser's own blocker."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, FrameLocator, Page, Route, expect

from browser.conftest import Browsers, executable, launched
from browser.hosting import pages_served
from browser.practice import Practice
from browser.test_embed import TOLD, fill_in_frame, host_page, strict


@pytest.fixture(scope="module")
async def blocking() -> AsyncIterator[Browser]:
    """Chromium as people have it: what is not opened in a click is not opened at all."""
    async with launched(executable(), ignore_default_args=["--disable-popup-blocking"]) as browser:
        yield browser


@pytest.fixture
async def shoppers(blocking: Browser) -> AsyncIterator[Browsers]:
    browsers = Browsers(blocking)
    yield browsers
    await browsers.close()
    assert browsers.complaints == []


def shop_page(practice: Practice, slug: str) -> dict[str, str]:
    body = f'<div data-holdfirst="inline" data-event="test/{slug}" data-payment="popup"></div>'
    return {"/": host_page(practice, body), "/told.js": TOLD}


async def held_in_frame(page: Page, shop: str) -> FrameLocator:
    await page.goto(shop)
    frame = page.frame_locator("iframe")
    await frame.locator(".hf-time").first.click()
    await fill_in_frame(frame)
    return frame


async def test_it_opens_in_the_click_and_the_page_goes_on_by_itself(
    practice: Practice, shoppers: Browsers
) -> None:
    slug = practice.offer()
    with pages_served(shop_page(practice, slug), strict(practice)) as shop:
        page = await shoppers.page()

        async def slowly(route: Route) -> None:
            # Longer than a browser remembers a click: only a window that was opened in it is there.
            await asyncio.sleep(6)
            await route.continue_()

        await page.route("**/checkout", slowly)
        frame = await held_in_frame(page, shop)
        async with page.context.expect_page() as opened:
            await frame.get_by_role("button", name="Continue to payment").click()
        window = await opened.value
        await window.wait_for_url("**/sandbox/**", timeout=20_000)
        assert page.url.rstrip("/") == shop
        await expect(frame.get_by_text("Please pay in the window that has opened.")).to_be_visible()
        assert await window.evaluate("window.opener") is None
        closed = asyncio.ensure_future(window.wait_for_event("close"))
        await window.get_by_role("button", name="Pay", exact=True).click()
        await expect(frame.get_by_role("heading", name="You are booked")).to_be_visible()
        await closed
        told = await page.evaluate("told.map((one) => one.type).filter((type) => type !== 'resize')")
        assert told[-2:] == ["payment_started", "confirmed"]
        assert "navigate" not in told
        assert page.url.rstrip("/") == shop
    assert [one["status"] for one in practice.reservations(slug)] == ["confirmed"]


async def test_closed_and_opened_again_it_is_the_same_payment(practice: Practice, shoppers: Browsers) -> None:
    slug = practice.offer()
    with pages_served(shop_page(practice, slug), strict(practice)) as shop:
        page = await shoppers.page()
        frame = await held_in_frame(page, shop)
        async with page.context.expect_page() as opened:
            await frame.get_by_role("button", name="Continue to payment").click()
        first = await opened.value
        await first.wait_for_url("**/sandbox/**")
        checkout = first.url
        await first.close()
        await expect(frame.get_by_text("If you have closed the payment window")).to_be_visible()
        async with page.context.expect_page() as opened:
            await frame.get_by_role("button", name="Go to the payment page").click()
        second = await opened.value
        await second.wait_for_url(checkout)
        await second.get_by_role("button", name="Decline").click()
        await expect(frame.get_by_role("heading", name="The payment did not go through")).to_be_visible()
        async with page.context.expect_page() as opened:
            await frame.get_by_role("button", name="Try the payment again").click()
        third = await opened.value
        await third.wait_for_url("**/sandbox/**")
        await third.get_by_role("button", name="Pay", exact=True).click()
        await expect(frame.get_by_role("heading", name="You are booked")).to_be_visible()
    [one] = practice.reservations(slug)
    assert one["status"] == "confirmed"
    assert len(practice.ask("GET", f"/v1/payments?reservation={one['id']}")["data"]) == 2


@pytest.mark.parametrize("way", ["link", "here"])
async def test_a_browser_that_opens_no_window_leaves_two_ways(
    practice: Practice, shoppers: Browsers, way: str
) -> None:
    slug = practice.offer()
    with pages_served(shop_page(practice, slug), strict(practice)) as shop:
        page = await shoppers.page()
        await page.add_init_script("window.open = () => null")
        frame = await held_in_frame(page, shop)
        await frame.get_by_role("button", name="Continue to payment").click()
        await expect(frame.get_by_text("Your browser did not open the payment window.")).to_be_visible()
        if way == "link":
            async with page.context.expect_page() as opened:
                await frame.get_by_role("link", name="Go to the payment page").click()
            window = await opened.value
            await window.get_by_role("button", name="Pay", exact=True).click()
            await expect(window.get_by_text("You can close this window.")).to_be_visible()
        else:
            await frame.get_by_role("button", name="Pay in this window instead").click()
            await page.wait_for_url("**/sandbox/**")
            await page.get_by_role("button", name="Pay", exact=True).click()
            await page.get_by_role("link", name="Go on").click()
            await expect(frame.get_by_role("heading", name="You are booked")).to_be_visible()
            return
        await expect(frame.get_by_role("heading", name="You are booked")).to_be_visible()


async def test_the_page_by_itself_may_do_the_same(practice: Practice, shoppers: Browsers) -> None:
    slug = practice.offer()
    page = await shoppers.page()
    await page.goto(practice.page(slug, payment="popup"))
    await page.locator(".hf-time").first.click()
    await page.locator("[name=name]").fill("Anna")
    await page.locator("[name=email]").fill("anna@example.org")
    async with page.context.expect_page() as opened:
        await page.get_by_role("button", name="Continue to payment").dblclick()
    window = await opened.value
    await window.wait_for_url("**/sandbox/**")
    assert len(page.context.pages) == 2
    await window.get_by_role("button", name="Pay", exact=True).click()
    await expect(page.get_by_role("heading", name="You are booked")).to_be_visible()
