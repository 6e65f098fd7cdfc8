# SPDX-License-Identifier: Apache-2.0
"""For everybody: axe on each screen, the keyboard alone, large text, narrow windows, little motion."""

import asyncio
import calendar
import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, Route, expect

from browser.conftest import Browsers
from browser.practice import Practice
from browser.screens import SCREENS

ROOT = Path(__file__).resolve().parents[2]
AXE = ROOT / "packages" / "node_modules" / "axe-core" / "axe.min.js"
STILL = {"reduced_motion": "reduce"}
"""What appears softly is there at once."""
LANGUAGES: dict[str, tuple[dict[str, Any], str]] = {
    "left-to-right": (STILL, ""),
    "right-to-left": (STILL | {"locale": "ar"}, "?lang=ar"),
}
SIZES = [(320, 640), (390, 844), (820, 1180), (1440, 900)]
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
RUN = """async (tags) => (await axe.run(document, { runOnly: tags })).violations.map((one) =>
  `${one.id} (${one.impact}): ${one.nodes.map((node) => node.target.join(' ')).slice(0, 4).join(' | ')}`)"""


async def findings(page: Page) -> list[str]:
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(AXE.read_text())
    found: list[str] = await page.evaluate(RUN, TAGS)
    return found


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("screen", SCREENS)
async def test_axe_finds_nothing(practice: Practice, browsers: Browsers, screen: str, language: str) -> None:
    """In both colour schemes, which differ in style alone, so the way there is gone once; they turn with no language."""
    options, query = LANGUAGES[language]
    page = await browsers.page(color_scheme="light", **options)
    await SCREENS[screen](page, practice, query)
    assert await findings(page) == []
    if language == "left-to-right":
        await page.emulate_media(color_scheme="dark")
        assert await findings(page) == []


async def test_axe_would_find_something(practice: Practice, browsers: Browsers) -> None:
    page = await browsers.page(**STILL)
    await SCREENS["choosing"](page, practice, "")
    await page.evaluate("document.querySelector('.hf-turn').removeAttribute('aria-label')")
    assert any(one.startswith("button-name") for one in await findings(page))
    await page.emulate_media(color_scheme="dark")
    assert not any(one.startswith("color-contrast") for one in await findings(page))
    await page.evaluate("document.querySelector('h1').style.color = '#333'")
    assert any(one.startswith("color-contrast") for one in await findings(page))


async def test_the_whole_way_by_keyboard_alone(practice: Practice, browsers: Browsers) -> None:
    slug = practice.offer(price=None)
    page = await browsers.page()
    await page.goto(practice.page(slug))
    await expect(page.locator(".hf-time").first).to_be_visible()
    press = page.keyboard.press
    await _tab_to(page, ".hf-day")
    first = await _focused(page, "data-value")
    await press("ArrowRight")
    await press("ArrowDown")
    moved = await _focused(page, "data-value")
    assert moved > first
    # Page Down goes to the same day of the next month, while nobody knows yet what is free there.
    await page.route("**/slots?*", _slowly)
    await press("PageDown")
    paged = date.fromisoformat(await _focused(page, "data-value"))
    there = date.fromisoformat(moved)
    months = there.year * 12 + there.month  # counted from 1, so that this is the next one, counted from 0
    last = calendar.monthrange(months // 12, months % 12 + 1)[1]
    assert paged == date(months // 12, months % 12 + 1, min(there.day, last))
    await expect(page.locator(".hf-time").first).to_be_visible()
    assert await _focused(page, "data-value") == paged.isoformat()
    await press("Enter")
    await _tab_to(page, ".hf-time")
    await press("Enter")
    await expect(page.locator(".hf-form")).to_be_visible()
    await expect(page.get_by_role("heading", name="Your details")).to_be_focused()
    await _tab_to(page, "[name=name]")
    await page.keyboard.type("Anna")
    await press("Tab")
    await page.keyboard.type("anna@example.org")
    await press("Enter")
    await expect(page.get_by_role("heading", name="You are booked")).to_be_focused()


async def _slowly(route: Route) -> None:
    await asyncio.sleep(0.3)
    await route.continue_()


async def test_arrows_follow_the_reading_direction(practice: Practice, browsers: Browsers) -> None:
    page = await browsers.page(locale="ar")
    await SCREENS["choosing"](page, practice, "?lang=ar")
    await _tab_to(page, ".hf-day")
    before = await _focused(page, "data-value")
    await page.keyboard.press("ArrowLeft")
    assert await _focused(page, "data-value") > before


async def _tab_to(page: Page, selector: str) -> None:
    for _ in range(40):
        await page.keyboard.press("Tab")
        if await page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"Tab never reached {selector}")


async def _focused(page: Page, attribute: str) -> str:
    return str(await page.evaluate("(name) => document.activeElement.getAttribute(name)", attribute))


@pytest.mark.parametrize("screen", ["choosing", "faults", "booked", "moving"])
async def test_nothing_is_cut_off(practice: Practice, browsers: Browsers, screen: str) -> None:
    page = await browsers.page()
    await SCREENS[screen](page, practice, "")
    for width, height in SIZES:
        await page.set_viewport_size({"width": width, "height": height})
        await fits(page, width)


async def fits(page: Page, width: int) -> None:
    wide = await page.evaluate("document.documentElement.scrollWidth")
    assert wide <= width
    small = await page.evaluate(
        """() => [...document.querySelectorAll('button, a, input, select, textarea, [role=button]')]
          .filter((one) => one.checkVisibility() && !one.hasAttribute('data-outside-view'))
          .map((one) => [one.className || one.tagName, one.getBoundingClientRect()])
          .filter(([name, box]) => box.width > 1 && (box.width < 24 || box.height < 24))
          .map(([name, box]) => `${name} ${box.width}x${box.height}`)"""
    )
    assert small == []


async def test_text_of_twice_the_size(practice: Practice, browsers: Browsers) -> None:
    page = await browsers.page(viewport={"width": 1280, "height": 900})
    await SCREENS["faults"](page, practice, "")
    await page.evaluate("document.documentElement.style.fontSize = '200%'")
    assert await page.evaluate("document.documentElement.scrollWidth") <= 1280
    cut = await page.evaluate(
        """() => [...document.querySelectorAll('.hf h1, .hf h2, .hf label, .hf button, .hf p')]
          .filter((one) => one.checkVisibility() && !one.className.includes('only-heard'))
          .filter((one) => one.scrollWidth > one.clientWidth + 1 || one.scrollHeight > one.clientHeight + 2)
          .map((one) => one.textContent.trim().slice(0, 40))"""
    )
    assert cut == []


async def test_little_motion_and_forced_colours(practice: Practice, browsers: Browsers) -> None:
    page = await browsers.page(reduced_motion="reduce", forced_colors="active")
    await SCREENS["choosing"](page, practice, "")
    moving = await page.evaluate("document.getAnimations().length")
    assert moving == 0
    outline = await page.evaluate(
        "getComputedStyle(document.querySelector('.hf-day[aria-pressed=true]')).outlineStyle"
    )
    assert outline == "solid"


async def test_the_countdown_is_not_read_aloud_each_second(practice: Practice, browsers: Browsers) -> None:
    page = await browsers.page()
    await page.goto(practice.page(practice.offer(hold_seconds=32)))
    await page.locator(".hf-time").first.click()
    await page.locator(".hf-form").wait_for()
    await page.evaluate(
        """() => { window.said = []; for (const one of document.querySelectorAll('[role=status],[aria-live],[role=alert]'))
          new MutationObserver(() => said.push(one.textContent.trim())).observe(one, {childList: true, characterData: true, subtree: true}) }"""
    )
    await page.wait_for_timeout(5000)
    assert await page.evaluate("said") == ["30 seconds left"]
    assert re.fullmatch(r"0:2\d", await page.locator("[role=timer]").inner_text())
