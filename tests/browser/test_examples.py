# SPDX-License-Identifier: Apache-2.0
"""The examples, installed from the packed npm package as anybody would install it, and used."""

import fcntl
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Browser, expect

from browser.conftest import Browsers
from browser.hosting import folder_served, free_port
from browser.practice import Practice, choose, fill

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str, cwd: Path, **environment: str) -> None:
    done = subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert done.returncode == 0, (command, done.stdout[-3000:], done.stderr[-3000:])


@pytest.fixture(scope="session")
def tarball(built_pages: None, worker_id: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Packed once for all workers of the run: two who build in one folder take each other's files away."""
    base = tmp_path_factory.getbasetemp()
    place = (base if worker_id == "main" else base.parent) / "packed"
    place.mkdir(exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not any(place.glob("*.tgz")):
            sources = ROOT / "packages" / "vue3"
            run("npm", "run", "prepack", cwd=sources)
            run("npm", "pack", "--ignore-scripts", "--pack-destination", str(place), cwd=sources)
    [made] = place.glob("*.tgz")
    return made


@pytest.fixture(scope="session")
def installed(tarball: Path, tmp_path_factory: pytest.TempPathFactory) -> object:
    """Answers a copy of an example with the package installed from the tarball."""

    def install(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name) / name
        shutil.copytree(ROOT / "examples" / name, folder, ignore=shutil.ignore_patterns("node_modules", ".*"))
        run("npm", "install", "--no-audit", "--no-fund", "--loglevel=error", str(tarball), cwd=folder)
        return folder

    return install


@contextmanager
def nuxt_served(folder: Path, practice: Practice, slug: str) -> Iterator[str]:
    port = free_port()
    settings = {
        "NUXT_PUBLIC_HOLDFIRST_BASE_URL": practice.url,
        "NUXT_PUBLIC_HOLDFIRST_PUBLISHABLE_KEY": practice.publishable_key,
        "NUXT_PUBLIC_EVENT_TYPE": slug,
        "PORT": str(port),
        "HOST": "127.0.0.1",
    }
    server = subprocess.Popen(["node", ".output/server/index.mjs"], cwd=folder, env=os.environ | settings)
    try:
        for _ in range(100):
            try:
                httpx.get(f"http://127.0.0.1:{port}/")
                break
            except httpx.HTTPError:
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.terminate()
        server.wait()


@pytest.fixture(scope="module")
def chromium(whole_chromium: Browser) -> Browser:
    """One that finds frames of other origins always."""
    return whole_chromium


async def test_vue(practice: Practice, browsers: Browsers, installed: object) -> None:
    slug = practice.offer()
    folder = installed("vite")  # type: ignore[operator]
    told = {"VITE_HOLDFIRST_URL": practice.url, "VITE_HOLDFIRST_KEY": practice.publishable_key}
    run("npm", "run", "build", cwd=folder, VITE_HOLDFIRST_EVENT_TYPE=slug, **told)
    with folder_served(folder / "dist") as url:
        page = await browsers.page()
        await page.goto(url)
        await page.locator(".hf-time").first.click()
        await page.get_by_label("Name").fill("Anna")
        await page.get_by_label("E-mail").fill("anna@example.org")
        async with page.context.expect_page() as opened:
            await page.get_by_role("button", name="Book ").click()
        checkout = await opened.value
        await checkout.get_by_role("button", name="Pay", exact=True).click()
        await checkout.wait_for_url("**reservation=**")
        await checkout.close()
        await expect(page.get_by_role("status").last).to_contain_text("confirmed")
        await expect(page.get_by_text("Booked.")).to_be_visible()
    assert [one["status"] for one in practice.reservations(slug)] == ["confirmed"]


async def test_react_by_the_custom_element(practice: Practice, browsers: Browsers, installed: object) -> None:
    slug = practice.offer(price=None)
    folder = installed("react")  # type: ignore[operator]
    told = {"VITE_HOLDFIRST_URL": practice.url, "VITE_HOLDFIRST_KEY": practice.publishable_key}
    run("npm", "run", "build", cwd=folder, VITE_HOLDFIRST_EVENT_TYPE=slug, **told)
    with folder_served(folder / "dist") as url:
        page = await browsers.page()
        await page.goto(url)
        await choose(page)
        await expect(page.locator("#told")).to_contain_text("reserved res_")
        await fill(page)
        await page.get_by_role("button", name="Confirm booking").click()
        await expect(page.locator("#told")).to_contain_text("confirmed res_")


async def test_nuxt_renders_on_the_server_and_takes_over_without_a_mismatch(
    practice: Practice, browsers: Browsers, installed: object
) -> None:
    slug = practice.offer(price=None)
    folder = installed("nuxt")  # type: ignore[operator]
    run("npm", "run", "build", cwd=folder)
    with nuxt_served(folder, practice, slug) as url:
        async with httpx.AsyncClient() as plain:
            html = (await plain.get(url)).text
        assert re.search(r'class="hf"[^>]*lang="de"', html)
        assert practice.publishable_key in html
        page = await browsers.page()
        await page.goto(url)
        await expect(page.locator(".hf-time").first).to_be_visible()
        await page.locator(".hf-time").first.click()
        await fill(page)
        await page.get_by_role("button", name="Buchung bestätigen").click()
        await expect(page.get_by_role("heading", name="Ihr Termin ist gebucht")).to_be_visible()
        await expect(page.get_by_role("status").last).to_contain_text("confirmed")
    # A mismatch would be a warning on the console, and fail the test: see `browsers`.


async def test_plain_html(practice: Practice, browsers: Browsers, tmp_path: Path) -> None:
    slug = practice.offer(price=None)
    folder = tmp_path / "html"
    shutil.copytree(ROOT / "examples" / "html", folder)
    index = (folder / "index.html").read_text()
    (folder / "index.html").write_text(
        index.replace("HOLDFIRST_URL", practice.url).replace("HOLDFIRST_PAGE", f"test/{slug}")
    )
    with folder_served(folder) as url:
        page = await browsers.page()
        await page.goto(url)
        await expect(page.locator("#told li").first).to_contain_text('"type":"ready"')
        await page.get_by_role("link", name="Book a time here").click()
        dialog = page.frame_locator("dialog iframe")
        await dialog.locator(".hf-time").first.click()
        await expect(dialog.locator("[name=name]")).to_have_value("Anna Example")
        await page.keyboard.press("Escape")
        await expect(page.locator("dialog")).to_have_count(0)
