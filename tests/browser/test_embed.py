# SPDX-License-Identifier: Apache-2.0
"""The booking page inside other people's pages: another origin, strict policies, hostile parents."""

import httpx
import pytest
from playwright.async_api import Browser, expect

from browser.conftest import Browsers
from browser.hosting import pages_served
from browser.practice import Practice, choose, fill

STRICT = (
    "default-src 'none'; script-src {server} 'self'; frame-src {server}; base-uri 'none'; form-action 'none'"
)


@pytest.fixture(scope="module")
def chromium(whole_chromium: Browser) -> Browser:
    """One that finds frames of other origins always."""
    return whole_chromium


def host_page(practice: Practice, body: str, script: str = "") -> str:
    return (
        '<!doctype html><html lang="en"><title>Shop</title><link rel="icon" href="data:,">'
        f'<script src="{practice.url}/embed.js" {script} async></script><script src="/told.js"></script>'
        f"<body><main><h1>Shop</h1>{body}</main></body></html>"
    )


TOLD = """
window.told = []
const types = ["ready", "resize", "slot", "submitting", "reserved", "released", "hold_expired", "close", "payment_started", "confirmed", "navigate"]
for (const type of types) document.addEventListener("holdfirst:" + type, (event) => told.push(event.detail))
"""


def strict(practice: Practice) -> dict[str, str]:
    return {"content-security-policy": STRICT.format(server=practice.url) + "; img-src data:"}


async def test_inline_under_a_strict_policy_the_whole_paid_way(
    practice: Practice, browsers: Browsers
) -> None:
    slug = practice.offer()
    body = f'<div data-holdfirst="inline" data-event="test/{slug}"><a href="{practice.page(slug)}">Book</a></div>'
    with pages_served({"/": host_page(practice, body), "/told.js": TOLD}, strict(practice)) as shop:
        page = await browsers.page()
        await page.goto(shop)
        frame = page.frame_locator("iframe")
        await frame.locator(".hf-time").first.click()
        await frame.locator("[name=name]").fill("Anna")
        await frame.locator("[name=email]").fill("anna@example.org")
        await frame.get_by_role("button", name="Continue to payment").click()
        # The whole window leaves for the payment page, and comes back to the shop.
        await page.wait_for_url("**/sandbox/**")
        await page.get_by_role("button", name="Pay", exact=True).click()
        await page.wait_for_url(f"{shop}/**")
        await expect(
            page.frame_locator("iframe").get_by_role("heading", name="You are booked")
        ).to_be_visible()
        assert [one["status"] for one in practice.reservations(slug)] == ["confirmed"]
        told = await page.evaluate("told.map((one) => one.type)")
        assert "confirmed" in told
        text = await page.evaluate("JSON.stringify(told)")
        assert "anna" not in text.lower()
        assert "hf_cs_" not in text
        assert await page.context.cookies() == []


async def test_what_the_host_page_is_told(practice: Practice, browsers: Browsers) -> None:
    slug = practice.offer(price=None)
    body = f'<div data-holdfirst="inline" data-event="test/{slug}"></div>'
    with pages_served({"/": host_page(practice, body), "/told.js": TOLD}) as shop:
        page = await browsers.page()
        await page.goto(shop)
        frame = page.frame_locator("iframe")
        await frame.locator(".hf-time").first.click()
        await frame.locator("[name=name]").fill("Anna")
        height = await page.locator("iframe").evaluate("(frame) => frame.getBoundingClientRect().height")
        inside = await frame.locator("main").evaluate("(main) => main.getBoundingClientRect().height")
        assert abs(height - inside) < 2
        assert height > 300
        await frame.locator("[name=email]").fill("anna@example.org")
        await frame.get_by_role("button", name="Confirm booking").click()
        await expect(frame.get_by_role("heading", name="You are booked")).to_be_visible()
        told = await page.evaluate("told.filter((one) => one.type !== 'resize')")
        assert [one["type"] for one in told] == ["ready", "slot", "submitting", "reserved", "confirmed"]
        [one] = practice.reservations(slug)
        assert told[-1] == {
            "type": "confirmed",
            "reservation": one["id"],
            "start": one["start"],
            "end": one["end"],
        }


async def test_what_a_host_page_is_told_of_ends(practice: Practice, browsers: Browsers) -> None:
    slug = practice.offer(hold_seconds=4, extensions_max=0)
    body = f'<a id="link" href="{practice.page(slug)}" data-holdfirst="popup">Book</a>'
    with pages_served({"/": host_page(practice, body), "/told.js": TOLD}) as shop:
        page = await browsers.page()
        await page.goto(shop)
        await page.locator("#link").click()
        frame = page.frame_locator("dialog iframe")
        await frame.locator(".hf-time").first.click()
        await frame.get_by_role("button", name="Another time").click()
        await frame.locator(".hf-time").nth(1).click()
        await expect(frame.get_by_role("heading", name="The time ran out")).to_be_visible(timeout=10_000)
        await frame.get_by_role("button", name="Choose a time again").press("Escape")
        await expect(page.locator("dialog")).to_have_count(0)
        told = await page.evaluate(
            "told.filter((one) => !['resize', 'slot', 'submitting'].includes(one.type))"
        )
        assert [one["type"] for one in told] == [
            "ready",
            "reserved",
            "released",
            "reserved",
            "hold_expired",
            "close",
        ]
        gone, lost = sorted(practice.reservations(slug), key=lambda one: one["created_at"])
        assert (told[2]["reservation"], told[4]["reservation"]) == (gone["id"], lost["id"])
        assert set(told[4]) == {"type", "reservation", "start", "end"}


async def test_a_dialog_from_a_link_and_from_the_button(practice: Practice, browsers: Browsers) -> None:
    slug = practice.offer()
    body = (
        f'<a id="link" href="{practice.page(slug)}" data-holdfirst="popup" data-prefill-name="Ben">Book</a>'
    )
    script = f'data-float="test/{slug}" data-float-text="Book a time"'
    with pages_served({"/": host_page(practice, body, script), "/told.js": TOLD}, strict(practice)) as shop:
        page = await browsers.page()
        await page.goto(shop)
        await expect(page.get_by_role("button", name="Book a time")).to_be_visible()
        await page.locator("#link").click()
        frame = page.frame_locator("dialog iframe")
        await expect(frame.locator(".hf-time").first).to_be_visible()
        await page.get_by_role("button", name="Close").click()
        await expect(page.locator("dialog")).to_have_count(0)
        await page.get_by_role("button", name="Book a time").click()
        await frame.locator(".hf-time").first.click()
        await fill_in_frame(frame)
        await frame.get_by_role("button", name="Continue to payment").click()
        await page.wait_for_url("**/sandbox/**")
        await page.get_by_role("button", name="Pay", exact=True).click()
        await page.wait_for_url(f"{shop}/**")
        # Back in the shop the dialog is open again, and says how it ended.
        await expect(frame.get_by_role("heading", name="You are booked")).to_be_visible()


async def test_what_the_loader_says_itself_is_in_the_frames_language(
    practice: Practice, browsers: Browsers
) -> None:
    slug = practice.offer()
    body = f'<a id="link" href="{practice.page(slug)}" data-holdfirst="popup" data-lang="de">Buchen</a>'
    with pages_served({"/": host_page(practice, body), "/told.js": TOLD}) as shop:
        page = await browsers.page()
        await page.goto(shop)
        await page.locator("#link").click()
        frame = page.frame_locator("dialog[aria-label=Buchung] iframe[title=Buchung]")
        await expect(frame.locator("html")).to_have_attribute("lang", "de")
        await page.get_by_role("button", name="Schließen").click()
        await expect(page.locator("dialog")).to_have_count(0)


async def fill_in_frame(frame) -> None:
    await frame.locator("[name=name]").fill("Anna")
    await frame.locator("[name=email]").fill("anna@example.org")


async def test_the_link_works_without_any_script(practice: Practice, browsers: Browsers) -> None:
    slug = practice.offer()
    body = f'<div data-holdfirst="inline" data-event="test/{slug}"><a href="{practice.page(slug)}">Book</a></div>'
    with pages_served({"/": host_page(practice, body), "/told.js": ""}) as shop:
        page = await browsers.page(java_script_enabled=False)
        await page.goto(shop)
        await page.get_by_role("link", name="Book").click()
        assert page.url == practice.page(slug)
        # And where it leads, a browser without scripts is told what it would need.
        assert "needs JavaScript" in await page.content()


async def test_a_bare_frame_in_a_sandbox(practice: Practice, browsers: Browsers) -> None:
    """No loader, no storage, no way to navigate: held and paid by a link to the whole window."""
    slug = practice.offer()
    allow = "allow-scripts allow-top-navigation-by-user-activation"
    body = f'<iframe sandbox="{allow}" src="{practice.page(slug)}?embed=inline" height="900" width="900"></iframe>'
    with pages_served({"/": f"<!doctype html><title>Shop</title>{body}"}) as shop:
        page = await browsers.page()
        await page.goto(shop)
        frame = page.frame_locator("iframe")
        await frame.locator(".hf-time").first.click()
        await fill_in_frame(frame)
        await frame.get_by_role("button", name="Continue to payment").click()
        link = frame.get_by_role("link", name="Go to the payment page")
        await expect(link).to_be_visible()
        await link.click()
        await page.wait_for_url("**/sandbox/**")
        await page.get_by_role("button", name="Pay", exact=True).click()
        await expect(page.get_by_role("heading", name="You are booked")).to_be_visible()
    browsers.complaints = [one for one in browsers.complaints if "sandbox" not in one.lower()]


async def test_only_allowed_origins_show_it(practice: Practice, browsers: Browsers) -> None:
    slug = practice.offer(allowed_origins=["https://shop.example"])
    body = f'<div data-holdfirst="inline" data-event="test/{slug}"></div>'
    with pages_served({"/": host_page(practice, body), "/told.js": TOLD}) as shop:
        page = await browsers.page()
        await page.goto(shop)
        await page.wait_for_timeout(1500)
        assert await page.evaluate("told") == []
        assert await page.frame_locator("iframe").locator(".hf-time").count() == 0
    assert any("frame-ancestors" in one for one in browsers.complaints)
    browsers.complaints.clear()


HOSTILE = """<!doctype html><title>Hostile</title><iframe id="f" src="{src}" width="900" height="900"></iframe>
<script>
const heard = window.heard = []
addEventListener("message", (event) => {{
  if (event.data?.type !== "hello") return heard.push(event.data)
  const first = new MessageChannel(), second = new MessageChannel(), third = new MessageChannel()
  for (const [name, channel] of Object.entries({{ first, second, third }})) channel.port1.onmessage = (told) => heard.push([name, told.data])
  const frame = document.getElementById("f").contentWindow
  const tell = (data, ports) => frame.postMessage(data, "*", ports)
  tell({{ type: "init" }}, [third.port2])
  tell(null)
  tell({{ holdfirst: 1, type: "init", href: "https://evil.example/" }}, [first.port2])
  tell({{ holdfirst: 1, type: "init", href: location.href }}, [second.port2])
  first.port1.postMessage({{ type: "set", theme: "<b>", lang: "../../x", vars: {{
    "--hf-accent": "red;background:url(https://evil.example/)", "--hf-ink": "rgb(1, 2, 3)", "position": "fixed" }} }})
}})
</script>"""


async def test_forged_messages_and_replayed_ports_do_nothing(practice: Practice, browsers: Browsers) -> None:
    slug = practice.offer()
    page_url = f"{practice.page(slug)}?embed=inline"
    with pages_served({"/": HOSTILE.format(src=page_url)}) as shop:
        page = await browsers.page()
        await page.goto(shop)
        frame = page.frame_locator("iframe")
        await frame.locator(".hf-time").first.click()
        await expect(frame.locator(".hf-form")).to_be_visible()
        heard = await page.evaluate("heard.filter(Array.isArray).map(([name]) => name)")
        # One port, the first that was offered in the right form; what came after it is not listened to.
        assert set(heard) == {"first"}
        assert (
            await frame.locator(".hf").first.evaluate("(hf) => hf.style.cssText") == "--hf-ink: rgb(1, 2, 3);"
        )
        await fill_in_frame(frame)
        await frame.get_by_role("button", name="Continue to payment").click()
        [one] = practice.reservations(slug)
        await page.wait_for_timeout(1000)
        # The way back that a frame is told must be the frame's own page: a foreign one is not taken.
        payment = practice.ask("GET", f"/v1/payments?reservation={one['id']}")["data"][0]
        async with httpx.AsyncClient() as plain:
            back = (await plain.get(f"{practice.url}/r/{one['id']}")).headers["location"]
        assert back.startswith(practice.url), back
        assert payment["status"] == "open"
        secrets = await page.evaluate("JSON.stringify(heard)")
        assert "hf_cs_" not in secrets
        assert "Anna" not in secrets


async def test_a_foreign_frame_cannot_speak_for_the_server(practice: Practice, browsers: Browsers) -> None:
    """The loader believes the frame it made, on the server's origin; another frame's hello gets no port."""
    slug = practice.offer()
    liar = "<script>parent.postMessage({holdfirst: 1, type: 'hello'}, '*'); onmessage = (e) => parent.postMessage('got ' + e.ports.length, '*')</script>"
    body = f'<div data-holdfirst="inline" data-event="test/{slug}"></div><iframe src="/liar"></iframe>'
    tells = TOLD + "window.said = []; addEventListener('message', (event) => said.push(event.data))"
    with pages_served({"/": host_page(practice, body), "/told.js": tells, "/liar": liar}) as shop:
        page = await browsers.page()
        await page.goto(shop)
        await expect(page.frame_locator("iframe[title=Booking]").locator(".hf-time").first).to_be_visible()
        said = await page.evaluate("said.filter((one) => typeof one === 'string')")
        assert said == []


@pytest.mark.parametrize("payment", ["external"])
async def test_external_payment_stops_at_reserved_and_shows_what_the_back_end_does(
    practice: Practice, browsers: Browsers, payment: str
) -> None:
    slug = practice.offer(confirm_by="secret_key")
    body = f'<div data-holdfirst="inline" data-event="test/{slug}" data-payment="{payment}"></div>'
    with pages_served({"/": host_page(practice, body), "/told.js": TOLD}) as shop:
        page = await browsers.page()
        await page.goto(shop)
        frame = page.frame_locator("iframe")
        await frame.locator(".hf-time").first.click()
        await fill_in_frame(frame)
        await frame.get_by_role("button", name="Confirm booking").click()
        await expect(frame.get_by_text("Your time is held. Please pay")).to_be_visible()
        [one] = practice.reservations(slug)
        assert (one["status"], one["payment"]) == ("held", None)
        practice.ask("POST", f"/v1/reservations/{one['id']}/confirm", {"payment_reference": "till 7"})
        await expect(frame.get_by_role("heading", name="You are booked")).to_be_visible()


async def test_a_hostile_prefill_is_text_and_short(practice: Practice, browsers: Browsers) -> None:
    slug = practice.offer(questions=[{"key": "why", "label": "Why?", "kind": "text"}])
    page = await browsers.page()
    evil = "<img src=x onerror=alert(1)>"
    query = {
        "name": evil,
        "email": "x" * 10_000,
        "answers.why": evil,
        "answers.unknown": "x",
        "month": "2026-99",
    }
    more = {
        "seats": "-1",
        "time_zone": "Mars/Olympus",
        "theme": "url(x)",
        "embed": "<script>",
        "lang": "../x",
    }
    await page.goto(practice.page(slug, **query, **more))
    await choose(page)
    await expect(page.locator("[name=name]")).to_have_value(evil)
    assert len(await page.locator("[name=email]").input_value()) <= 300
    await expect(page.get_by_label("Why?")).to_have_value(evil)
    assert await page.locator("main img").count() == 0
    await fill(page)
