# SPDX-License-Identifier: Apache-2.0
"""Real Chromium against a real server: two customers are two browser contexts, a host's page is another origin."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from browser.practice import Practice, set_up
from processes.running import Server

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
SHELL = "chromium-headless-shell"
"""The same engine without what is around a window, at half the CPU. Frames of other origins are not always found in it."""

# As patient as a page is (below): a loaded machine is no fault of what it shows.
expect.set_options(timeout=15_000)


@pytest.fixture(scope="session")
def built_pages() -> None:
    """The pages of these very sources."""
    subprocess.run([sys.executable, "packages/build.py"], cwd=ROOT, check=True)


@pytest.fixture(scope="session")
def practice(built_pages: None) -> Iterator[Practice]:
    """One running server with offers of every kind; each test takes days of its own."""
    with tempfile.TemporaryDirectory(prefix="hf-browser-") as folder:
        server = Server(
            Path(folder) / "d", settings={"HOLDS_PER_ADDRESS_MAX": "0", "HOLDS_PER_EMAIL_MAX": "0"}
        )
        server.data_dir.mkdir(mode=0o700)
        try:
            yield set_up(server.start())
            assert server.end()[0] == 0
        finally:
            server.clear_away()


def executable(*, shell: bool = False) -> str:
    """`shell`: where there is one, that."""
    names = (SHELL, *CHROMIUM) if shell else CHROMIUM
    path = next((found for name in names if (found := shutil.which(name))), None)
    assert path is not None, "the browser tests need Chromium: make setup-browser"
    return path


@asynccontextmanager
async def launched(path: str, **options: Any) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"], **options)
        yield browser
        await browser.close()


@pytest.fixture(scope="session")
async def chromium() -> AsyncIterator[Browser]:
    async with launched(executable(shell=True)) as browser:
        yield browser


@pytest.fixture(scope="session")
async def whole_chromium() -> AsyncIterator[Browser]:
    async with launched(executable()) as browser:
        yield browser


Opens = Callable[..., object]


class Browsers:
    """Customers with browsers of their own; whatever a page complains about ends up in `complaints`."""

    def __init__(self, chromium: Browser) -> None:
        self._chromium = chromium
        self._contexts: list[BrowserContext] = []
        self.complaints: list[str] = []

    async def page(self, **options: object) -> Page:
        chosen = {
            "locale": "en-GB",
            "timezone_id": "UTC",
            "viewport": {"width": 1280, "height": 900},
        } | options
        context = await self._chromium.new_context(**chosen)  # type: ignore[arg-type]
        self._contexts.append(context)
        page = await context.new_page()
        page.set_default_timeout(15_000)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda line: self._note(line.type, line.text))
        return page

    def _note(self, kind: str, text: str) -> None:
        # A browser logs each answer of 4xx by itself; what matters of those is tested where it matters.
        if kind in ("error", "warning") and not text.startswith("Failed to load resource"):
            self.complaints.append(text)

    async def close(self) -> None:
        for context in self._contexts:
            await context.close()


@pytest.fixture
async def browsers(chromium: Browser) -> AsyncIterator[Browsers]:
    """Every test ends without a complaint of any page (policies broken, errors, warnings)."""
    browsers = Browsers(chromium)
    yield browsers
    await browsers.close()
    assert browsers.complaints == []
