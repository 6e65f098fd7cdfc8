# SPDX-License-Identifier: Apache-2.0
"""GoPay's adapter against a fake: what every provider promises, what only GoPay has, and GoPay's own client as a driver."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import gopay
import pytest
import uvicorn
from gopay.enums import Language, TokenScope
from msgspec.structs import replace

from holdfirst import ids
from holdfirst.payment.money import Money
from holdfirst.payment.payment import Mode
from holdfirst.payment.provider import (
    Accepted,
    BadNotification,
    Credentials,
    Done,
    Hint,
    Notification,
    Opened,
    Phase,
    RefundPhase,
    Refused,
    Unknown,
)
from holdfirst.providers.gopay import GoPayProvider

from .gopay_fake import GoPayFake
from .payment_contract import PRICE, PaymentContract, authorized, captured, opened, spec_for, truth


class GoPayStage:
    signs = False
    keeps_keys = False
    a_decline_is_final = True

    def __init__(self, mode: Mode) -> None:
        self.mode = mode
        self.fake = GoPayFake()
        self.fake.shop("one", "first-secret", 8123456789)
        self.fake.shop("two", "second-secret", 8987654321)
        self.client = self.fake.client()
        self.provider = GoPayProvider(self.client)
        self.account = _credentials("one", "first-secret", "8123456789")
        self.another_account = _credentials("two", "second-secret", "8987654321")

    async def aclose(self) -> None:
        await self.client.aclose()

    async def customer_pays(self, ref: str) -> None:
        self.fake.pay(ref)

    async def customer_is_declined(self, ref: str) -> None:
        self.fake.decline(ref)

    async def lose_next(self, operation: str, *, done: bool) -> None:
        self.fake.faults.setdefault(operation, []).append("lost_after" if done else "lost_before")

    def notification(self, ref: str, *, age: timedelta = timedelta(0)) -> Notification:
        return Notification("GET", {}, {"id": ref}, b"")


def _credentials(client: str, secret: str, goid: str) -> Credentials:
    secrets = {"client_id": client, "client_secret": secret, "goid": goid}
    return Credentials(ids.make("pac"), livemode=False, secrets=secrets)


@pytest.fixture(params=[Mode.AUTHORIZE_UNCLOSEABLE, Mode.SALE_UNCLOSEABLE], ids=str)
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[GoPayStage]:
    stage = GoPayStage(request.param)
    yield stage
    await stage.aclose()


@pytest.fixture
async def holding() -> AsyncIterator[GoPayStage]:
    stage = GoPayStage(Mode.AUTHORIZE_UNCLOSEABLE)
    yield stage
    await stage.aclose()


class TestContract(PaymentContract):
    """Under each of its modes."""


async def test_holds_only_offers_cards_and_asks_for_a_promise(stage: GoPayStage) -> None:
    ref = await opened(stage)
    wanted = stage.fake.payments[int(ref)].wanted
    assert wanted.preauthorization is not stage.mode.is_sale
    assert wanted.payer.allowed_payment_instruments == (None if stage.mode.is_sale else ["PAYMENT_CARD"])
    assert wanted.lang == "CS"
    assert (await truth(stage, ref)).reference == wanted.order_number


async def test_a_token_is_kept_for_its_life_and_asked_for_again_after(stage: GoPayStage) -> None:
    ref = await opened(stage)
    await truth(stage, ref)
    assert len(stage.fake.tokens) == 1
    stage.fake.tokens.clear()
    assert (await truth(stage, ref)).phase is Phase.OPEN
    assert len(stage.fake.tokens) == 1
    stage.fake.clients["one"] = ("another secret", 8123456789)
    stage.fake.tokens.clear()
    assert await stage.provider.fetch(ref, stage.account) == Unknown("the credentials were refused")
    refused = await stage.provider.open_checkout(spec_for(stage), stage.account)
    assert refused == Refused("the credentials were refused")
    assert (await stage.provider.standing(stage.account)).problem == "key_refused"


async def test_a_token_is_asked_for_anew_before_it_runs_out(stage: GoPayStage, monkeypatch) -> None:
    """Half an hour, less a minute: no call of ours is ever refused for its age."""
    passed = 0.0
    monkeypatch.setattr("holdfirst.providers.gopay.calls.monotonic", lambda: 1000.0 + passed)
    ref = await opened(stage)
    for after, tokens in [(0, 1), (1739, 1), (1741, 2), (1790, 2)]:
        stage.fake.offset = passed = float(after)
        assert (await truth(stage, ref)).phase is Phase.OPEN
        assert len(stage.fake.tokens) == tokens
        assert stage.fake.refused_tokens == 0


async def test_a_provider_that_cannot_be_reached_is_unknown_and_never_a_success(stage: GoPayStage) -> None:
    nowhere = GoPayProvider(stage.client.__class__(), test_url="http://127.0.0.1:9/api")
    assert isinstance(await nowhere.open_checkout(spec_for(stage), stage.account), Unknown)
    for verb in (nowhere.capture, nowhere.void):
        assert isinstance(await verb("3000000001", "key", stage.account), Unknown)
    assert isinstance(await nowhere.refund("3000000001", PRICE, "key", stage.account), Unknown)
    assert isinstance(await nowhere.standing(stage.account), Unknown)


async def test_a_promise_is_one_whether_or_not_the_answer_says_that_it_was_asked_for(
    holding: GoPayStage,
) -> None:
    ref = await authorized(holding)
    holding.fake.payments[int(ref)].wanted.preauthorization = False
    seen = await truth(holding, ref)
    assert (seen.phase, seen.authorized_minor, seen.captured_minor) == (Phase.AUTHORIZED, 6000, 0)


@pytest.mark.parametrize("verb", ["capture", "void"])
async def test_what_is_accepted_is_not_done(holding: GoPayStage, verb: str) -> None:
    ref = await authorized(holding)
    holding.fake.faults[verb] = ["slow_result"]
    assert await getattr(holding.provider, verb)(ref, "key", holding.account) == Accepted()
    seen = await truth(holding, ref)
    assert seen.phase is (Phase.CAPTURED if verb == "capture" else Phase.VOIDED)


async def test_a_refund_that_is_accepted_is_pending_until_the_list_says_more(stage: GoPayStage) -> None:
    ref = await captured(stage)
    stage.fake.faults["refund"] = ["slow_result"]
    part = Money(1000, "EUR")
    assert await stage.provider.refund(ref, part, "rfd_1", stage.account) == Accepted()
    payment = stage.fake.payments[int(ref)]
    [later], stage.fake.later = stage.fake.later, []
    assert (await truth(stage, ref)).refunds[0].phase is RefundPhase.PENDING
    later()
    assert (await truth(stage, ref)).refunds[0].phase is RefundPhase.DONE
    payment.refunds[0].state = "FAILED"
    assert (await truth(stage, ref)).refunds[0].phase is RefundPhase.FAILED
    payment.refunds[0].state = "WHATEVER_COMES_NEXT"
    assert (await truth(stage, ref)).refunds[0].phase is RefundPhase.PENDING


async def test_a_refund_too_early_is_refused_for_now(stage: GoPayStage) -> None:
    stage.fake.refunds_after_seconds = 86_400
    ref = await captured(stage)
    early = await stage.provider.refund(ref, PRICE, "rfd_1", stage.account)
    assert isinstance(early, Refused)
    assert early.for_now
    stage.fake.offset += 86_401
    stage.fake.tokens.clear()
    assert await stage.provider.refund(ref, PRICE, "rfd_1", stage.account) == Done()
    assert (await truth(stage, ref)).refunds[0].phase is RefundPhase.DONE


async def test_a_short_balance_is_a_humans_business(stage: GoPayStage) -> None:
    ref = await captured(stage)
    stage.fake.balance_is_short = True
    assert not (await stage.provider.refund(ref, PRICE, "rfd_1", stage.account)).for_now


async def test_what_times_out_is_closed_and_what_lapses_is_void(holding: GoPayStage) -> None:
    open_one, held = await opened(holding), await authorized(holding)
    holding.fake.choose(open_one)
    assert (await truth(holding, open_one)).phase is Phase.OPEN
    holding.fake.offset += 4 * 86_400
    holding.fake.tokens.clear()
    assert (await truth(holding, open_one)).phase is Phase.CLOSED
    assert (await truth(holding, held)).phase is Phase.VOIDED
    assert isinstance(await holding.provider.capture(held, "key", holding.account), Refused)


async def test_a_state_nobody_knows_decides_nothing(stage: GoPayStage) -> None:
    ref = await opened(stage)
    stage.fake.payments[int(ref)].state = "INVENTED"
    assert await stage.provider.fetch(ref, stage.account) == Unknown("not known: state INVENTED")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"amount": Money(100, "JPY")}, "JPY"),
        ({"customer_email": None}, "e-mail"),
        ({"livemode": True}, "meet"),
    ],
)
async def test_what_gopay_cannot_take_is_refused_with_the_reason(stage: GoPayStage, change, why) -> None:
    answer = await stage.provider.open_checkout(spec_for(stage, **change), stage.account)
    assert isinstance(answer, Refused)
    assert why in answer.reason


def test_a_notification_is_an_id_from_anybody() -> None:
    read = GoPayProvider.__new__(GoPayProvider).read_notification
    account = _credentials("one", "x", "1")
    assert read(Notification("GET", {}, {"id": "3000000001"}, b""), account) == Hint(
        "3000000001", unsigned=True
    )
    for query in ({}, {"id": ""}, {"id": "../x"}, {"id": "1" * 21}, {"id": "٣"}):
        assert isinstance(read(Notification("GET", {}, query, b""), account), BadNotification)


def test_credentials_are_judged() -> None:
    read = GoPayProvider.__new__(GoPayProvider).read_credentials
    good = {"goid": 8123456789, "client_id": "1", "client_secret": "s"}
    assert read(good, livemode=False) == {"goid": "8123456789", "client_id": "1", "client_secret": "s"}
    for change, member in [
        ({"goid": "x"}, "goid"),
        ({"client_id": ""}, "client_id"),
        ({"client_secret": "a\nb"}, "client_secret"),
        ({"more": 1}, "more"),
    ]:
        assert read(good | change, livemode=True).member == member


async def test_live_and_test_have_hosts_of_their_own(stage: GoPayStage) -> None:
    seen: list[str] = []
    stage.client.event_hooks = {"request": [_noting(seen)]}
    live = replace(stage.account, livemode=True)
    await stage.provider.open_checkout(spec_for(stage, livemode=True), live)
    await stage.provider.open_checkout(spec_for(stage), stage.account)
    assert {"gate.gopay.cz", "gw.sandbox.gopay.com"} == set(seen)


def _noting(seen: list[str]):
    async def note(request) -> None:
        seen.append(request.url.host)

    return note


# GoPay's own client against the fake: a driver that nobody here wrote


@pytest.fixture
def served() -> Iterator[tuple[GoPayFake, str]]:
    fake = GoPayFake()
    fake.shop("one", "first-secret", 8123456789)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(fake, log_level="error", lifespan="off"))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield fake, f"http://127.0.0.1:{port}"
        server.should_exit = True
        thread.join()


@pytest.mark.parametrize("promised", [True, False], ids=["held", "sale"])
def test_gopays_own_client_works_with_the_fake(served: tuple[GoPayFake, str], promised: bool) -> None:
    fake, url = served
    api = gopay.payments(
        {
            "goid": 8123456789,
            "client_id": "one",
            "client_secret": "first-secret",
            "gateway_url": url,
            "scope": TokenScope.ALL,
            "language": Language.CZECH,
            "timeout": 5,
        }
    )
    made = api.create_payment(
        {
            "payer": {"contact": {"email": "anna@example.org"}},
            "amount": 6000,
            "currency": "CZK",
            "order_number": "1",
            "items": [{"name": "An hour", "amount": 6000}],
            "preauthorization": promised,
            "callback": {"return_url": "https://a.example/", "notification_url": "https://a.example/"},
        }
    )
    assert made.success, made
    ref = made.json["id"]
    fake.pay(str(ref))
    assert api.get_status(ref).json["state"] == ("AUTHORIZED" if promised else "PAID")
    if promised:
        assert api.capture_authorization(ref).json["result"] == "FINISHED"
        assert api.void_authorization(ref).status_code == 409
    assert api.refund_payment(ref, 1000).json["result"] == "FINISHED"
    assert api.refund_payment(ref, 5001).json["errors"][0]["error_code"] == 332
    assert [one["amount"] for one in api.get_history_of_refunds(ref).json] == [1000]
    assert api.get_status(ref).json["state"] == "PARTIALLY_REFUNDED"


async def test_an_opened_twice_payment_is_two_at_gopay(stage: GoPayStage) -> None:
    """Why `record_checkout` keeps the first: only an address that was told can be paid."""
    spec = spec_for(stage)
    first, second = [await stage.provider.open_checkout(spec, stage.account) for _ in range(2)]
    assert isinstance(first, Opened)
    assert isinstance(second, Opened)
    assert first.provider_ref != second.provider_ref
