# SPDX-License-Identifier: Apache-2.0
"""What the browser tests book: offers of every kind, and what a customer does on the pages."""

import itertools
import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from playwright.async_api import Page, expect

from holdfirst.providers.outward import trusted
from processes.running import ALWAYS, PRICE, Server, until

QUESTIONS = [
    {"key": "why", "label": "What brings you here?", "kind": "long_text", "required": True},
    {"key": "before", "label": "Have you been here before?", "kind": "choice", "options": ["No", "Once"]},
    {"key": "size", "label": "How many come?", "kind": "number"},
    {"key": "topics", "label": "What about?", "kind": "choices", "options": ["Money", "Time", "Rest"]},
    {"key": "agree", "label": "I have read the rules", "kind": "yes_no"},
]


def from_midnight(days: int) -> int:
    """Minutes of notice, so that the first day on offer is a whole one (UTC): at 22:00 too it has all its times."""
    now = datetime.now(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=days + 1)
    return math.ceil((midnight - now).total_seconds() / 60)


class Practice:
    """A server, its secret key, and the calls that a back end makes."""

    def __init__(self, server: Server, key: str) -> None:
        self.server = server
        self.url = server.url
        self.secret_key = key
        self.publishable_key = server.said("keys", "create", "--kind", "publishable")
        self.host: dict[str, Any] = {}
        self._numbers = itertools.count()

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"authorization": f"Bearer {self.secret_key}"}
        url = self.url + path
        answer = httpx.request(method, url, json=body, headers=headers, timeout=20, verify=trusted())
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None

    def offer(self, **rules: Any) -> str:
        """A new event type with a host of its own, so that no two tests want the same time; its slug."""
        slug = f"offer-{next(self._numbers)}"
        hours = {
            "name": "Dr Example",
            "slug": f"host-{slug}",
            "time_zone": "UTC",
            "schedule": {"weekly": ALWAYS},
        }
        host = self.ask("POST", "/v1/hosts", hours)
        shared = {"slug": slug, "name": "First consultation", "hosts": [host["id"]], "duration_minutes": 60}
        shared |= {"notice_minutes": from_midnight(0)}
        self.ask(
            "POST", "/v1/event-types", shared | {"price": PRICE, "payment_account": "pac_sandbox"} | rules
        )
        return slug

    def page(self, slug: str, **query: str) -> str:
        return (
            str(httpx.URL(f"{self.url}/b/test/{slug}", params=query))
            if query
            else f"{self.url}/b/test/{slug}"
        )

    def read(self, reservation: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("GET", f"/v1/reservations/{reservation}")
        return found

    def reservations(self, slug: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask("GET", f"/v1/reservations?event_type={slug}&limit=100")["data"]
        return found

    def until(self, reservation: str, status: str, seconds: float = 15) -> dict[str, Any]:
        found: dict[str, Any] = until(
            lambda: (seen := self.read(reservation))["status"] == status and seen,
            f"{status} of {reservation}",
            seconds,
        )
        return found

    def mails(self, reservation: str) -> list[str]:
        texts = [path.read_text() for path in (self.server.data_dir / "mail").glob("*.eml")]
        return [text for text in texts if reservation in text]

    def act(self, ref: str, action: str, **more: Any) -> Any:
        return self.ask("POST", f"/sandbox/checkouts/{ref}/{action}", more)


def set_up(server: Server) -> Practice:
    return Practice(server, server.said("keys", "create", "--kind", "secret"))


# What a customer does


async def choose(page: Page, number: int = 0) -> str:
    """Choose one of the times shown; answers its start."""
    time = page.locator(".hf-time").nth(number)
    start = await time.get_attribute("data-start")
    assert start is not None
    await time.click()
    await expect(page.locator(".hf-form")).to_be_visible()
    return start


async def fill(page: Page, name: str = "Anna Example", email: str = "anna@example.org") -> None:
    await page.locator("[name=name]").fill(name)
    await page.locator("[name=email]").fill(email)


async def to_payment(page: Page) -> str:
    """Send the form; answers the checkout's reference, from the payment page's address."""
    await page.get_by_role("button", name="Continue to payment").click()
    await page.wait_for_url("**/sandbox/**")
    return page.url.rsplit("/", 1)[1]


async def reservation_of(page: Page) -> str:
    """Of the page that came back from the payment page."""
    found = re.search(r"reservation=(res_\w+)", page.url)
    assert found, page.url
    return found[1]


async def held_by(page: Page) -> str:
    """The reservation that this tab holds."""
    kept: str = await page.evaluate(
        "Object.entries(sessionStorage).filter(([name]) => name.startsWith('holdfirst h')).map(([, text]) => text)[0]"
    )
    found = re.search(r"res_\w+", kept)
    assert found
    return found[0]
