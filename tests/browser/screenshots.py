# SPDX-License-Identifier: Apache-2.0
"""`make screenshots`: what customers see, into docs/screenshots."""

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.async_api import async_playwright

from browser.conftest import CHROMIUM
from browser.practice import Practice, set_up
from browser.screens import SCREENS
from processes.running import Server

DESKTOP = {"width": 1200, "height": 760}
PHONE = {"width": 390, "height": 844}
DAY, NIGHT = {"color_scheme": "light"}, {"color_scheme": "dark"}
SHOTS: list[tuple[str, str, dict[str, Any], str]] = [
    ("choosing", "choosing", {"viewport": DESKTOP, **DAY}, ""),
    ("choosing-dark", "choosing", {"viewport": DESKTOP, **NIGHT}, ""),
    ("choosing-phone", "choosing", {"viewport": PHONE, **DAY}, ""),
    ("choosing-arabic", "choosing", {"viewport": DESKTOP, **DAY, "locale": "ar"}, "?lang=ar"),
    ("details", "details", {"viewport": DESKTOP, **DAY}, ""),
    ("details-phone-dark", "details", {"viewport": PHONE, **NIGHT}, ""),
    ("not-paid", "not-paid", {"viewport": DESKTOP, **DAY}, ""),
    ("booked", "booked", {"viewport": DESKTOP, **DAY}, ""),
    ("booked-german", "booked", {"viewport": PHONE, **DAY, "locale": "de"}, "?lang=de"),
    ("expired", "expired", {"viewport": DESKTOP, **DAY}, ""),
    ("cancelling", "cancelling", {"viewport": DESKTOP, **DAY}, ""),
    ("moving-dark", "moving", {"viewport": DESKTOP, **NIGHT}, ""),
]


async def shoot(practice: Practice, folder: Path) -> None:
    path = next(found for name in CHROMIUM if (found := shutil.which(name)))
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for name, screen, options, query in SHOTS:
            context = await browser.new_context(
                **{"locale": "en-GB", "timezone_id": "Europe/Prague"} | options
            )
            page = await context.new_page()
            await SCREENS[screen](page, practice, query)
            await page.wait_for_timeout(900)
            await page.mouse.move(0, 0)
            await page.screenshot(path=folder / f"{name}.png")
            await context.close()
        await browser.close()


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="hf-shots-") as place:
        server = Server(Path(place) / "d", settings={"HOLDS_PER_ADDRESS_MAX": "0"})
        server.data_dir.mkdir(mode=0o700)
        try:
            asyncio.run(shoot(set_up(server.start()), folder))
        finally:
            server.clear_away()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
