# SPDX-License-Identifier: Apache-2.0
"""How soon a phone that was never here sees the first times: `python bench/first_times.py`, by itself.

The floor is the same phone on a page of ours without a script and without a question: HTML and style alone.
"""

import asyncio
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from playwright.async_api import Browser, async_playwright

from browser.conftest import executable
from browser.phone import PHONE, first_times, slowed, until
from browser.practice import set_up
from processes.running import Server

ROUNDS = 9


async def floor(browser: Browser, address: str) -> float:
    context = await browser.new_context(viewport=PHONE)
    page = await context.new_page()
    await slowed(page)
    await page.goto(address)
    shown: float = await page.evaluate(
        until("performance.getEntriesByName('first-contentful-paint')[0]?.startTime")
    )
    await context.close()
    return shown


async def measure(address: str, plain: str) -> None:
    floors, times = [], []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable(), args=["--no-sandbox"])
        for _ in range(ROUNDS + 1):
            floors.append(await floor(browser, plain))
            context = await browser.new_context(viewport=PHONE, locale="en-GB", timezone_id="UTC")
            times.append((await first_times(await context.new_page(), address))[0])
        await browser.close()
    # The first round warms the server.
    bare, seen = statistics.median(floors[1:]), statistics.median(times[1:])
    print(
        f"first times on a phone: {seen:.0f} ms (median of {ROUNDS}, {min(times):.0f} to {max(times[1:]):.0f})"
    )
    print(f"a page without a script: {bare:.0f} ms; ratio {seen / bare:.2f}")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="hf-bench-") as folder:
        server = Server(Path(folder) / "d")
        server.data_dir.mkdir(mode=0o700)
        try:
            practice = set_up(server.start())
            slug = practice.offer()
            asyncio.run(measure(practice.page(slug), practice.page("nothing-here")))
            server.end()
        finally:
            server.clear_away()


if __name__ == "__main__":
    main()
