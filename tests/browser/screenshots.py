# SPDX-License-Identifier: Apache-2.0
"""`make screenshots`: each screen that customers see, in the light, in the dark, right to left and on a phone."""

import asyncio
import base64
import itertools
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
LOOKS: dict[str, tuple[dict[str, Any], str]] = {
    "light": ({"viewport": DESKTOP, **DAY}, ""),
    "dark": ({"viewport": DESKTOP, **NIGHT}, ""),
    "arabic": ({"viewport": DESKTOP, **DAY, "locale": "ar"}, "?lang=ar"),
    "phone": ({"viewport": PHONE, **DAY}, ""),
}
# A third of what PNG would take, and nothing that an eye sees is lost.
FORMAT = {"format": "webp", "quality": 70}


async def shoot(practice: Practice, folder: Path, wanted: list[str]) -> None:
    path = next(found for name in CHROMIUM if (found := shutil.which(name)))
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for screen, (look, (options, query)) in itertools.product(wanted, LOOKS.items()):
            context = await browser.new_context(
                **{"locale": "en-GB", "timezone_id": "Europe/Prague"} | options
            )
            page = await context.new_page()
            await SCREENS[screen](page, practice, query)
            await page.wait_for_timeout(900)
            await page.mouse.move(0, 0)
            session = await context.new_cdp_session(page)
            taken = await session.send("Page.captureScreenshot", FORMAT)
            (folder / f"{screen}-{look}.webp").write_bytes(base64.b64decode(taken["data"]))
            await context.close()
        await browser.close()


def main(folder: Path, *wanted: str) -> None:
    """`wanted`: screens by name; all where none is named."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="hf-shots-") as place:
        server = Server(Path(place) / "d", settings={"HOLDS_PER_ADDRESS_MAX": "0"})
        server.data_dir.mkdir(mode=0o700)
        try:
            asyncio.run(shoot(set_up(server.start()), folder, list(wanted or SCREENS)))
        finally:
            server.clear_away()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
