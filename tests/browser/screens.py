# SPDX-License-Identifier: Apache-2.0
"""Each screen that a customer can meet, by name, and the way there. For the accessibility tests and the screenshots."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from playwright.async_api import Page

from browser.practice import QUESTIONS, Practice, from_midnight
from processes.running import until

RULES = {
    "description": "We go through your situation in peace, and you leave with a plan of the next steps.",
    "location": {"kind": "address", "value": "Long Street 12, Springfield"},
    "cancellation": [
        {"until_minutes_before": 1440, "refund_percent": 100},
        {"until_minutes_before": 120, "refund_percent": 50},
    ],
    "reschedule": {"until_minutes_before": 120, "times_max": 3},
    "notice_minutes": from_midnight(2),
    "schedule": {
        "weekly": [
            {"days": ["mon", "tue", "wed", "thu", "fri"], "start": "08:00", "end": "11:00"},
            {"days": ["mon", "wed", "thu", "fri"], "start": "12:30", "end": "16:00"},
        ]
    },
    "step_minutes": 90,
    "duration_minutes": 50,
}

Go = Callable[[Page, Practice, str], Awaitable[None]]


async def choosing(page: Page, practice: Practice, query: str) -> None:
    await page.goto(practice.page(practice.offer(**RULES)) + query)
    await page.locator(".hf-time").first.wait_for()


async def nothing_free(page: Page, practice: Practice, query: str) -> None:
    past = (datetime.now(UTC) + timedelta(days=40)).isoformat()
    await page.goto(practice.page(practice.offer(**RULES | {"starts": [past], "horizon_days": 5})) + query)
    await page.locator(".hf-times .hf-quiet").first.wait_for()


async def just_taken(page: Page, practice: Practice, query: str) -> None:
    slug = practice.offer(**RULES)
    # This page hears of it from the refusal alone.
    await page.route("**/slots/stream*", lambda route: route.abort())
    await page.goto(practice.page(slug) + query)
    time = page.locator(".hf-time").first
    start = await time.get_attribute("data-start")
    practice.ask("POST", "/v1/reservations", {"event_type": slug, "start": start})
    await time.click()
    await page.locator("[data-taken]").wait_for()


async def places(page: Page, practice: Practice, query: str) -> None:
    await page.goto(practice.page(practice.offer(**RULES, seats=8)) + query)
    await page.locator(".hf-time").first.wait_for()


async def no_answer(page: Page, practice: Practice, query: str) -> None:
    await page.route("**/slots?*", lambda route: route.abort())
    await page.goto(practice.page(practice.offer(**RULES)) + query)
    await page.locator("[role=alert]").wait_for()


async def details(page: Page, practice: Practice, query: str) -> None:
    await page.goto(practice.page(practice.offer(**RULES, questions=QUESTIONS, guests_max=2)) + query)
    await page.locator(".hf-time").first.click()
    await page.locator(".hf-form").wait_for()


async def faults(page: Page, practice: Practice, query: str) -> None:
    await details(page, practice, query)
    await page.locator("[name=email]").fill("nobody")
    await page.locator("[data-submit]").click()
    await page.locator(".hf-fault").first.wait_for()


async def paying(page: Page, practice: Practice, query: str, **rules: Any) -> None:
    await _to_the_payment_page(page, practice.page(practice.offer(**RULES | rules)) + query)


async def _to_the_payment_page(page: Page, address: str) -> None:
    await page.goto(address)
    await page.locator(".hf-time").first.click()
    await _fill(page)
    await page.locator("[data-submit]").click()
    await page.wait_for_url("**/sandbox/**")


async def not_yet_paid(page: Page, practice: Practice, query: str) -> None:
    await paying(page, practice, query)
    await page.go_back()
    await page.locator(".hf-payment").wait_for()


async def not_paid(page: Page, practice: Practice, query: str) -> None:
    await paying(page, practice, query)
    await page.locator("[value=decline]").click()
    await page.locator(".hf-payment .hf-first").wait_for()


async def reserved(page: Page, practice: Practice, query: str) -> None:
    """Where the money is taken elsewhere, it ends here until the back end confirms."""
    slug = practice.offer(**RULES, confirm_by="secret_key")
    await page.goto(practice.page(slug) + _with(query, "payment=external"))
    await page.locator(".hf-time").first.click()
    await _fill(page)
    await page.locator("[data-submit]").click()
    await page.locator(".hf-payment").wait_for()


async def window_open(page: Page, practice: Practice, query: str) -> None:
    await _pay_in_a_window(page, practice, query)
    await page.locator(".hf-payment .hf-first").wait_for()


async def window_blocked(page: Page, practice: Practice, query: str) -> None:
    await page.add_init_script("window.open = () => null")
    await _pay_in_a_window(page, practice, query)
    await page.locator(".hf-payment a").wait_for()


async def _pay_in_a_window(page: Page, practice: Practice, query: str) -> None:
    await page.goto(practice.page(practice.offer(**RULES)) + _with(query, "payment=popup"))
    await page.locator(".hf-time").first.click()
    await _fill(page)
    await page.locator("[data-submit]").click()


async def returning(page: Page, practice: Practice, query: str) -> None:
    """Back from a checkout that somebody else's page had opened: it waits, without a script."""
    slug = practice.offer()
    start = (datetime.now(UTC) + timedelta(days=2)).replace(minute=0, second=0, microsecond=0)
    customer = {"name": "Anna", "email": "anna@example.org"}
    wish = {"event_type": slug, "start": start.isoformat(), "customer": customer}
    held = practice.ask("POST", "/v1/reservations", wish)
    practice.ask("POST", f"/v1/reservations/{held['id']}/checkout", {"return_url": "https://shop.example/"})
    await page.goto(f"{practice.url}/r/{held['id']}{query}")


async def confirming(page: Page, practice: Practice, query: str) -> None:
    """Back from the payment page before the company has said anything."""
    slug = practice.offer(**RULES)
    await _to_the_payment_page(page, practice.page(slug) + query)
    [one] = practice.reservations(slug)
    await page.goto(practice.page(slug) + _with(query, f"reservation={one['id']}"))
    await page.locator(".hf-payment [role=status]").wait_for()


async def expired_released(page: Page, practice: Practice, query: str) -> None:
    """The hold ended on the payment page, somebody else has the time, and the bank lets the amount go."""
    await _too_late(page, practice, query, "pac_sandbox", "released")


async def expired_refunded(page: Page, practice: Practice, query: str) -> None:
    """The same where a payment cannot be stopped: the money went over, and comes back."""
    await _too_late(page, practice, query, _cannot_be_stopped(practice), "refunded")


async def expired_watched(page: Page, practice: Practice, query: str) -> None:
    """The hold ended on the payment page, and nobody can say yet whether the money still comes."""
    await _too_late(page, practice, query, _cannot_be_stopped(practice), "watched")


def _cannot_be_stopped(practice: Practice) -> str:
    account = {"provider": "sandbox", "mode": "sale_uncloseable"}
    made: str = practice.ask("POST", "/v1/payment-accounts", account)["id"]
    return made


async def _too_late(page: Page, practice: Practice, query: str, account: str, money: str) -> None:
    """`money`: what becomes of it."""
    slug = practice.offer(**RULES, hold_seconds=4, extensions_max=0, payment_account=account)
    await _to_the_payment_page(page, practice.page(slug) + query)
    [one] = practice.reservations(slug)
    practice.until(one["id"], "expired")
    practice.ask("POST", "/v1/reservations", {"event_type": slug, "start": one["start"]})
    if money != "watched":
        action = "authorize" if money == "released" else "pay"
        practice.act(page.url.rsplit("/", 1)[1], action, force=True)
    state = f"/r/{one['id']}/state"
    until(lambda: practice.ask("GET", state)["money"] == money, f"{money} of {one['id']}")
    await page.goto(practice.page(slug) + _with(query, f"reservation={one['id']}"))
    await page.locator(".hf-summary[data-status=expired] [role=status]").wait_for()


async def booked(page: Page, practice: Practice, query: str, **rules: Any) -> None:
    await paying(page, practice, query, **rules)
    await page.locator("[value=pay]").click()
    await page.locator(".hf-summary[data-status=confirmed] a[target=_top]").wait_for()


async def expired(page: Page, practice: Practice, query: str) -> None:
    await page.goto(practice.page(practice.offer(**RULES, hold_seconds=2)) + query)
    await page.locator(".hf-time").first.click()
    await page.locator(".hf-summary[data-status=expired]").wait_for()


async def managing(page: Page, practice: Practice, query: str, **rules: Any) -> None:
    await booked(page, practice, query, **rules)
    link = await page.locator("a[target=_top]").get_attribute("href")
    assert link is not None
    address, _, secret = link.partition("#")
    await page.goto("about:blank")
    await page.goto(f"{address}{query}#{secret}")
    await page.locator(".hf-danger").wait_for()


async def cancelling(page: Page, practice: Practice, query: str, **rules: Any) -> None:
    await managing(page, practice, query, **rules)
    await page.locator(".hf-danger").click()
    await page.locator("[data-ask]").wait_for()


async def cancelling_late(page: Page, practice: Practice, query: str) -> None:
    """Nothing comes back any more."""
    steps = [{"until_minutes_before": 0, "refund_percent": 0}]
    await cancelling(page, practice, query, cancellation=steps)


async def cancelled(page: Page, practice: Practice, query: str) -> None:
    await cancelling(page, practice, query)
    await page.locator(".manage .hf-danger").click()
    await page.locator(".hf-summary[data-status=cancelled]").wait_for()


async def moving(page: Page, practice: Practice, query: str) -> None:
    await managing(page, practice, query)
    await page.locator(".manage .hf-button").first.click()
    await page.locator(".hf-time").nth(1).click()
    await page.locator(".manage .hf-first").wait_for()


async def moved(page: Page, practice: Practice, query: str) -> None:
    await moving(page, practice, query)
    await page.locator(".manage .hf-first").click()
    await page.locator(".hf-note[role=status]").wait_for()


async def dead_link(page: Page, practice: Practice, query: str) -> None:
    slug = practice.offer()
    start = (datetime.now(UTC) + timedelta(days=2)).replace(minute=0, second=0, microsecond=0)
    held = practice.ask("POST", "/v1/reservations", {"event_type": slug, "start": start.isoformat()})
    await page.goto(f"{practice.url}/m/{held['id']}{query}#hf_cs_x.y")
    await page.locator("[data-step-title]").wait_for()


async def no_page(page: Page, practice: Practice, _: str) -> None:
    await page.goto(f"{practice.url}/b/nobody/nothing")


async def _fill(page: Page) -> None:
    await page.locator("[name=name]").fill("Anna Example")
    await page.locator("[name=email]").fill("anna@example.org")


def _with(query: str, more: str) -> str:
    return f"{query}&{more}" if query else f"?{more}"


SCREENS: dict[str, Go] = {
    "choosing": choosing,
    "places": places,
    "nothing-free": nothing_free,
    "just-taken": just_taken,
    "no-answer": no_answer,
    "details": details,
    "faults": faults,
    "reserved": reserved,
    "paying": paying,
    "not-yet-paid": not_yet_paid,
    "window-open": window_open,
    "window-blocked": window_blocked,
    "returning": returning,
    "confirming": confirming,
    "not-paid": not_paid,
    "booked": booked,
    "expired": expired,
    "expired-released": expired_released,
    "expired-refunded": expired_refunded,
    "expired-watched": expired_watched,
    "managing": managing,
    "cancelling": cancelling,
    "cancelling-late": cancelling_late,
    "cancelled": cancelled,
    "moving": moving,
    "moved": moved,
    "dead-link": dead_link,
    "no-page": no_page,
}
