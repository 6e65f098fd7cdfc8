# SPDX-License-Identifier: Apache-2.0
"""The sandbox's hosted page and its test seam, over HTTP."""

import base64
import hashlib
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from html import unescape
from html.parser import HTMLParser

import httpx
import pytest
from litestar import Litestar, Request, Response

from holdfirst import ids
from holdfirst.payment.money import Money
from holdfirst.payment.payment import Mode
from holdfirst.payment.provider import CheckoutSpec, Credentials, Done, Opened, Unknown
from holdfirst.providers.sandbox import Books, SandboxCompany, SandboxProvider, fresh_secrets
from holdfirst.refusal import Code
from holdfirst.store.database import Database
from holdfirst.web.problems import Problem
from holdfirst.web.sandbox import sandbox_router

RETURN_URL = "https://book.example/r/res_1?a=1&b=2"
STATUS = {
    Code.NOT_FOUND: 404,
    Code.SANDBOX_ACTION_REFUSED: 409,
    Code.INVALID_REQUEST: 422,
    Code.MALFORMED_JSON: 400,
    Code.UNSUPPORTED_MEDIA_TYPE: 415,
}
NOBODY = "sbx_" + "0" * 26
BUTTONS = ["pay", "pay_late", "decline", "abandon"]


class Site:
    """The pages over HTTP, the provider behind them, and what was notified."""

    def __init__(self, database_url: str) -> None:
        self.books = Books(database_url)
        self.provider = SandboxProvider(self.books, public_url="http://testserver.local")
        self.account = Credentials(ids.make("pac"), livemode=False, secrets=fresh_secrets())
        self.sent: list[httpx.Request] = []
        self.outgoing = httpx.AsyncClient(transport=httpx.MockTransport(self._receive))
        self.company = SandboxCompany(self.books, self.outgoing)
        self.http: httpx.AsyncClient

    def _receive(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(request)
        return httpx.Response(204)

    async def checkout(
        self, mode: Mode = Mode.AUTHORIZE, description: str = "An hour", wait: float = 600
    ) -> str:
        spec = CheckoutSpec(
            key=ids.make("pay"),
            frozen_at=datetime.now(UTC),
            amount=Money(6000, "EUR"),
            mode=mode,
            livemode=False,
            description=description,
            pay_before=datetime.now(UTC) + timedelta(seconds=wait),
            return_url=RETURN_URL,
            notification_url="https://book.example/v1/notifications/sandbox/pac_1",
        )
        answer = await self.provider.open_checkout(spec, self.account)
        assert isinstance(answer, Opened)
        assert answer.checkout_url == f"http://testserver.local/sandbox/{answer.provider_ref}"
        return answer.provider_ref

    async def press(self, ref: str, button: str) -> httpx.Response:
        return await self.http.post(f"/sandbox/{ref}", data={"action": button}, follow_redirects=False)

    async def page(self, ref: str) -> str:
        answer = await self.http.get(f"/sandbox/{ref}")
        assert answer.status_code == 200
        return answer.text

    async def ledger(self, ref: str) -> dict:
        answer = await self.http.get(f"/sandbox/checkouts/{ref}")
        assert answer.status_code == 200
        return answer.json()


def problem(_: Request, error: Problem) -> Response:
    code = error.refusal.code
    return Response({"code": code, "detail": error.refusal.detail}, status_code=STATUS[code])


async def site_of(database: Database, *, seam_open: bool) -> AsyncIterator[Site]:
    site = Site(database.url)
    app = Litestar([sandbox_router(site.company, seam_open=seam_open)], exception_handlers={Problem: problem})
    # In the test's own loop, where the pool lives (Litestar's test client runs the app in another one).
    asgi = httpx.ASGITransport(app)
    async with httpx.AsyncClient(
        transport=asgi, base_url="http://testserver.local", follow_redirects=True
    ) as site.http:
        yield site
    await site.company.aclose()
    await site.outgoing.aclose()
    await site.books.aclose()


@pytest.fixture
async def site(database: Database) -> AsyncIterator[Site]:
    async for site in site_of(database, seam_open=True):
        yield site


@pytest.fixture
async def closed_site(database: Database) -> AsyncIterator[Site]:
    async for site in site_of(database, seam_open=False):
        yield site


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs) -> None:
        self.found.append((tag, dict(attrs)))

    def buttons(self) -> list[str | None]:
        return [attributes["value"] for tag, attributes in self.found if tag == "button"]

    def links(self) -> list[str | None]:
        return [attributes["href"] for tag, attributes in self.found if tag == "a"]


# The page


@pytest.mark.parametrize("mode", list(Mode), ids=str)
async def test_an_open_checkout_says_what_and_how_much_and_until_when(site: Site, mode: Mode) -> None:
    ref = await site.checkout(mode)
    checkout = await site.company.look(ref)
    assert checkout is not None
    page = await site.page(ref)
    for said in (
        "An hour",
        "60.00 EUR",
        "This is a sandbox: no money moves.",
        f"{checkout.pay_before:%H:%M:%S} UTC",
    ):
        assert said in page
    assert Tags(page).buttons() == BUTTONS


async def test_the_page_is_strict_and_leaves_nothing_behind(site: Site) -> None:
    answer = await site.http.get(f"/sandbox/{await site.checkout()}")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    style = answer.text.partition("<style>")[2].partition("</style>")[0]
    assert base64.b64encode(hashlib.sha256(style.encode()).digest()).decode() in policy
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "set-cookie" not in answer.headers
    tags = {tag for tag, _ in Tags(answer.text).found}
    assert not tags & {"script", "img", "link", "iframe"}
    assert not any("style" in attributes for _, attributes in Tags(answer.text).found)


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "{{ 7 * 7 }}{% raw %}",
        "</title></style><b>",
    ],
)
async def test_what_is_paid_for_is_text(site: Site, text: str) -> None:
    page = await site.page(await site.checkout(description=text))
    assert text in unescape(page)
    assert not set('<>"') & set(text) or text not in page
    assert not {tag for tag, _ in Tags(page).found} & {"script", "img", "b"}


@pytest.mark.parametrize("mode", list(Mode), ids=str)
@pytest.mark.parametrize(
    ("button", "state"), [("pay", None), ("decline", "failed"), ("abandon", "abandoned")]
)
async def test_a_button_acts_notifies_once_and_leads_back(
    site: Site, mode: Mode, button: str, state: str | None
) -> None:
    ref = await site.checkout(mode)
    answer = await site.press(ref, button)
    assert (answer.status_code, answer.headers["location"]) == (303, RETURN_URL)
    paid = "captured" if mode.is_sale else "authorized"
    assert (await site.ledger(ref))["state"] == (state or paid)
    assert len(site.sent) == 1
    page = Tags(await site.page(ref))
    assert (page.buttons(), page.links()) == ([], [RETURN_URL])


async def test_a_button_that_does_nothing_any_more_leads_to_the_page(site: Site) -> None:
    ref = await site.checkout()
    await site.press(ref, "decline")
    again = await site.http.post(f"/sandbox/{ref}", data={"action": "pay"})
    assert again.status_code == 200
    assert "Declined" in again.text
    assert (await site.ledger(ref))["state"] == "failed"
    assert len(site.sent) == 1


async def test_pay_late_says_what_will_happen_and_then_it_does(site: Site, clock) -> None:
    ref = await site.checkout(Mode.SALE)
    answer = await site.http.post(f"/sandbox/{ref}", data={"action": "pay_late"})
    assert answer.status_code == 200
    assert "Your bank is taking its time." in answer.text
    assert (Tags(answer.text).buttons(), Tags(answer.text).links()) == ([], [RETURN_URL])
    assert (await site.ledger(ref))["state"] == "open"
    assert await site.provider.close(ref, site.account) == Done()
    assert "Your bank is taking its time." in await site.page(ref)
    await clock.shift(timedelta(seconds=603))
    assert "Paid" in await site.page(ref)
    assert (await site.ledger(ref))["captured"] == 6000


async def test_when_the_time_to_pay_is_over_the_page_says_so(site: Site) -> None:
    assert "The time to pay was over at" in await site.page(await site.checkout(wait=-1))


@pytest.mark.parametrize(
    "ref",
    [NOBODY, "x", "%00", "..%2f..%2fetc", "%3Cscript%3E", "sbx_" + "é" * 26, "'--", "%ff%fe", "a" * 5000],
)
async def test_an_address_that_nobody_was_given(site: Site, ref: str) -> None:
    for answer in (
        await site.http.get(f"/sandbox/{ref}"),
        await site.press(ref, "pay"),
        await site.http.get(f"/sandbox/checkouts/{ref}"),
        await site.http.post(f"/sandbox/checkouts/{ref}/pay"),
    ):
        assert answer.status_code == 404


async def test_a_form_with_no_such_button(site: Site) -> None:
    ref = await site.checkout()
    for button in ("", "authorize", "PAY", "pay\x00"):
        assert (await site.press(ref, button)).status_code == 422
    form = {"content-type": "application/x-www-form-urlencoded"}
    for body in (b"", b"&&&===", b"action", b"\xff\xfe", b"action=%ff"):
        assert (await site.http.post(f"/sandbox/{ref}", content=body, headers=form)).status_code == 422
    assert (await site.http.post(f"/sandbox/{ref}", json={"action": "pay"})).status_code == 415
    assert (await site.http.post(f"/sandbox/{ref}", files={"action": b"pay"})).status_code == 415
    assert (await site.http.post(f"/sandbox/{ref}")).status_code == 415
    assert (await site.ledger(ref))["state"] == "open"


# The seam


async def test_the_ledger_on_the_wire(site: Site) -> None:
    ref = await site.checkout()
    await site.provider.fetch(ref, site.account)
    ledger = await site.ledger(ref)
    calls = ledger.pop("calls")
    assert ledger == {"state": "open", "authorized": 0, "captured": 0, "voided": 0, "refunded": 0}
    assert [(call["operation"], call["answer"]) for call in calls] == [
        ("create", "opened"),
        ("fetch", "open"),
    ]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", call["at"]) for call in calls)


@pytest.mark.parametrize(
    ("body", "notified"),
    [(None, 1), ({}, 1), ({"notify": "once"}, 1), ({"notify": "twice"}, 2), ({"notify": "never"}, 0)],
)
async def test_an_action_answers_the_ledger(site: Site, body: dict | None, notified: int) -> None:
    ref = await site.checkout()
    path = f"/sandbox/checkouts/{ref}/authorize"
    answer = await (site.http.post(path) if body is None else site.http.post(path, json=body))
    assert answer.status_code == 200
    assert answer.json() == await site.ledger(ref)
    assert (answer.json()["state"], answer.json()["authorized"]) == ("authorized", 6000)
    assert len(site.sent) == notified


async def test_an_action_is_refused_unless_forced(site: Site) -> None:
    ref = await site.checkout(Mode.SALE)
    path = f"/sandbox/checkouts/{ref}"
    assert (await site.http.post(f"{path}/authorize")).status_code == 409
    assert (await site.http.post(f"{path}/authorize", json={"force": True})).status_code == 409
    assert await site.provider.close(ref, site.account) == Done()
    refused = await site.http.post(f"{path}/pay")
    assert (refused.status_code, refused.json()["code"]) == (409, "sandbox_action_refused")
    assert not site.sent
    forced = await site.http.post(f"{path}/pay", json={"force": True, "notify": "twice"})
    assert (forced.status_code, forced.json()["state"]) == (200, "captured")
    assert len(site.sent) == 2


async def test_faults_over_http(site: Site) -> None:
    ref = await site.checkout()
    answer = await site.http.post("/sandbox/faults", json={"operation": "fetch", "answer": "500", "times": 2})
    assert (answer.status_code, answer.json()) == (200, {})
    assert (
        await site.http.post("/sandbox/faults", json={"operation": "fetch", "answer": "refused"})
    ).json() == {}
    answers = [await site.provider.fetch(ref, site.account) for _ in range(4)]
    assert [isinstance(answer, Unknown) for answer in answers] == [True, True, True, False]


BAD_FAULTS = [
    {},
    [],
    "fetch",
    {"operation": "fetch"},
    {"operation": "steal", "answer": "slow"},
    {"operation": "fetch", "answer": 500},
    {"operation": "fetch", "answer": "slow", "times": 0},
    {"operation": "fetch", "answer": "slow", "times": -1},
    {"operation": "fetch", "answer": "slow", "times": 1.5},
    {"operation": "fetch", "answer": "slow", "times": True},
    {"operation": "fetch", "answer": "slow", "times": 10**30},
    {"operation": "fetch", "answer": "slow", "ref": "x"},
]


@pytest.mark.parametrize("body", BAD_FAULTS, ids=str)
async def test_a_bad_fault_is_refused(site: Site, body) -> None:
    answer = await site.http.post("/sandbox/faults", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


@pytest.mark.parametrize(
    "body",
    [[], 1, {"notify": "thrice"}, {"notify": None}, {"force": "yes"}, {"force": 1}, {"more": 1}],
    ids=str,
)
async def test_a_bad_action_body_is_refused_and_nothing_happens(site: Site, body) -> None:
    ref = await site.checkout()
    answer = await site.http.post(f"/sandbox/checkouts/{ref}/authorize", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert (await site.ledger(ref))["state"] == "open"


async def test_bodies_that_cannot_be_read(site: Site) -> None:
    path = f"/sandbox/checkouts/{await site.checkout()}/authorize"
    json_type = {"content-type": "application/json"}
    for raw in (b"{", b"\xff", b"[" * 100_000, b'{"notify": "\\ud800"}', b"null", b"{} {}"):
        answer = await site.http.post(path, content=raw, headers=json_type)
        assert answer.status_code in (400, 422)
    for headers in ({}, {"content-type": "text/plain"}, {"content-type": "nonsense"}):
        assert (await site.http.post(path, content=b"{}", headers=headers)).status_code == 415
    assert (await site.http.post("/sandbox/faults")).status_code == 422
    assert (await site.http.post(path.replace("authorize", "steal"))).status_code == 404


async def test_the_seam_is_shut_unless_opened_and_the_page_is_not(closed_site: Site) -> None:
    ref = await closed_site.checkout()
    for answer in (
        await closed_site.http.get(f"/sandbox/checkouts/{ref}"),
        await closed_site.http.post(f"/sandbox/checkouts/{ref}/authorize"),
        await closed_site.http.post("/sandbox/faults", json={"operation": "fetch", "answer": "slow"}),
        await closed_site.http.post("/sandbox/faults", content=b"{"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert Tags(await closed_site.page(ref)).buttons() == BUTTONS
    assert (await closed_site.press(ref, "pay")).status_code == 303
