# SPDX-License-Identifier: Apache-2.0
"""The production effects, taken apart into their steps.

An effect is a coroutine that asks for transactions and provider calls. Here each such question stops it, so that a
state can hold an effect that is under way: its name and the answers it has had. To go on, it is run again from its
beginning with those answers; what it asks next is the next step.
"""

import contextlib
from collections.abc import Coroutine, Generator, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

from msgspec.structs import replace

from holdfirst import ids
from holdfirst.effects import advance, checkout, confirm, opening, world
from holdfirst.effects.world import World
from holdfirst.flows import pay
from holdfirst.flows.confirm import Asks, ConfirmRequest
from holdfirst.flows.refund import DueRefund
from holdfirst.payment.payment import Payment, PaymentStatus
from holdfirst.payment.provider import CheckoutSpec, Opened, Refused, Unknown
from holdfirst.payment.sandbox import Checkout, State
from holdfirst.providers.sandbox import checkout as books
from holdfirst.reservation.reservation import Reservation
from holdfirst.store.reservations import TimeLost
from holdfirst.worker import KINDS
from memory import Memory, MemoryTx, in_memory
from races.exhaustive import scenario as scene
from races.exhaustive.client import plain_payment, plain_reservation

RETURN_URL = "https://shop.example/done"
PUBLIC_URL = "http://holdfirst.test"


class Transaction(NamedTuple):
    flow: Any
    arguments: tuple[Any, ...]
    named: dict[str, Any]


class Call(NamedTuple):
    operation: str
    arguments: tuple[Any, ...]


class Thrown(NamedTuple):
    """An answer that is an exception."""

    error: type[Exception]


class Finished(NamedTuple):
    result: Any


class Raised(NamedTuple):
    error: Exception


Next = Transaction | Call | Finished | Raised


class _Ask:
    def __init__(self, question: Transaction | Call) -> None:
        self.question = question

    def __await__(self) -> Generator["_Ask", Any, Any]:
        return (yield self)


class _Asking:
    """Stands for the database and for the provider: every use of them is a question."""

    name = "sandbox"

    async def run(self, flow: Any, *arguments: Any, **named: Any) -> Any:
        return await _Ask(Transaction(flow, arguments, named))

    single = run

    async def open_checkout(self, spec: CheckoutSpec, _account: Any) -> Any:
        return await _Ask(Call("create", (spec.key, spec)))

    async def fetch(self, ref: str, _account: Any) -> Any:
        return await _Ask(Call("fetch", (_payment_of(ref),)))

    async def close(self, ref: str, _account: Any) -> Any:
        return await _Ask(Call("close", (_payment_of(ref),)))

    async def capture(self, ref: str, _key: str, _account: Any) -> Any:
        return await _Ask(Call("capture", (_payment_of(ref),)))

    async def void(self, ref: str, _key: str, _account: Any) -> Any:
        return await _Ask(Call("void", (_payment_of(ref),)))

    async def refund(self, ref: str, amount: Any, key: str, _account: Any) -> Any:
        return await _Ask(Call("refund", (_payment_of(ref), key, amount)))

    def unseal(self, _sealed: bytes, _about: str) -> bytes:
        return b"{}"


def ref_of(payment_id: str) -> str:
    return f"sbx_{payment_id}"


def _payment_of(ref: str) -> str:
    return ref.removeprefix("sbx_")


ASKING = _Asking()
WORLD = World(
    database=ASKING,  # type: ignore[arg-type]
    claims=None,  # type: ignore[arg-type]
    offers=None,  # type: ignore[arg-type]
    slot_lists=None,  # type: ignore[arg-type]
    providers={"sandbox": ASKING},  # type: ignore[dict-item]
    key_ring=ASKING,  # type: ignore[arg-type]
    limits=scene.LIMITS,
    mail=None,  # type: ignore[arg-type]
    public_url=PUBLIC_URL,
    mail_from="",
)

# Steps that read only what never changes once it is there: nothing is lost by taking them with the step before.
AT_ONCE = {advance._load, advance._now, opening._load, pay.load_to_open}


def effect_of(name: str, payment_id: str) -> Coroutine[Any, Any, Any]:
    kind, _, job = name.partition(":")
    match kind:
        case "job":
            return KINDS[job].run(WORLD, payment_id)  # type: ignore[return-value]
        case "advance":
            return KINDS["advance"].run(WORLD, payment_id)  # type: ignore[return-value]
        case "checkout":
            request = pay.CheckoutRequest(
                reservation_id="res_0", return_url=RETURN_URL, cancel_url=None, public_url=PUBLIC_URL
            )
            return checkout.open_checkout(WORLD, request)
        case "confirm":
            told = ConfirmRequest(reservation_id="res_0", asks=Asks.SECRET_KEY, payment_reference="till 1")
            return confirm.confirm_with_provider(WORLD, told, back_end_confirms=False)
        case _:
            raise AssertionError(name)


def next_of(effect: str, payment_id: str, answers: list[Any]) -> Next:
    """What this effect asks, after these answers."""
    with patient_clock():
        running = effect_of(effect, payment_id)
        try:
            asked = running.send(None)
            for answer in answers:
                thrown = isinstance(answer, Thrown)
                asked = running.throw(answer.error("again")) if thrown else running.send(answer)
        except StopIteration as done:
            return Finished(done.value)
        except Exception as error:
            return Raised(error)
        else:
            return asked.question
        finally:
            running.close()


@contextlib.contextmanager
def patient_clock() -> Iterator[None]:
    """`confirm` waits ten seconds at most: here, for one look."""
    moments = iter(range(0, 10_000, 6))
    before = confirm.monotonic
    confirm.monotonic = lambda: next(moments)
    try:
        yield
    finally:
        confirm.monotonic = before


class Ran(NamedTuple):
    """A transaction that came to its end: what it answered, or what it threw (and then it wrote nothing)."""

    answer: Any
    tx: MemoryTx


def transact(memory: Memory, asked: Transaction) -> Ran:
    """Run a production flow on this memory and commit it."""
    tx = memory.begin()
    running = asked.flow(tx, *asked.arguments, **asked.named)
    with _plain_ids(tx):
        try:
            running.send(None)
        except StopIteration as done:
            tx.commit()
            return Ran(done.value, tx)
        except TimeLost:
            tx.writes.clear()
            return Ran(Thrown(TimeLost), tx)
        raise AssertionError("a flow waited for something that is not the database")


@contextlib.contextmanager
def _plain_ids(tx: MemoryTx) -> Iterator[None]:
    """Ids that are numbers: the same step in the same state makes the same ids."""
    before = ids.make
    ids.make = partial(_next_id, tx)
    try:
        yield
    finally:
        ids.make = before


def _next_id(tx: MemoryTx, prefix: str) -> str:
    table = {"res": "reservation", "pay": "payment", "rfd": "refund"}[prefix]
    return f"{prefix}_{sum(1 for _ in tx.rows(table))}" if prefix != "res" else "res_0"


def scrubbed(asked: Transaction, answer: Any) -> Any:
    """What is kept of an answer: of a payment that is only loaded to be called about, what never changes."""
    if asked.flow is advance._load:
        payment, payee = answer
        return _as_opened(payment), payee
    if isinstance(answer, pay.ToOpen):
        return replace(answer, payment=_as_opened(answer.payment))
    return _plain(answer)


def _plain(answer: Any) -> Any:
    match answer:
        case Reservation():
            return plain_reservation(answer)
        case Payment():
            return plain_payment(answer)
        case DueRefund():
            due = replace(answer.refund, created_at=scene.BEGIN)
            return replace(answer, payment=plain_payment(answer.payment), refund=due)
        case tuple():
            return tuple(map(_plain, answer))
        case list():
            return list(map(_plain, answer))
        case _:
            return answer


def _as_opened(payment: Payment) -> Payment:
    return replace(
        payment,
        status=PaymentStatus.OPEN,
        disposition=None,
        authorized_minor=0,
        captured_minor=0,
        refund_due_minor=0,
        refunded_minor=0,
        late=None,
        needs_human_code=None,
        needs_human_since=None,
        asked_at=None,
        answered_at=None,
        closed_at=None,
        created_at=scene.BEGIN,
    )


class Called(NamedTuple):
    checkout: Checkout | None
    answer: Any


def called(asked: Call, checkout: Checkout | None, fault: str) -> Called:
    """The sandbox company's rules answer; `lost`: done, and nobody hears of it."""
    if fault == "refused":
        return Called(checkout, Refused("no"))
    after, answer = _done(asked, checkout)
    return Called(after, Unknown("lost") if fault == "lost" else answer)


def _done(asked: Call, checkout: Checkout | None) -> tuple[Checkout, Any]:
    payment_id = asked.arguments[0]
    if asked.operation == "create":
        made = checkout or _opened(asked.arguments[1])
        return made, Opened(ref_of(payment_id), f"https://sandbox.example/{payment_id}")
    assert checkout is not None
    match asked.operation:
        case "fetch":
            return books.fetch(checkout)
        case "close":
            return books.close(checkout)
        case "capture":
            return books.capture(checkout)
        case "void":
            return books.void(checkout)
        case "refund":
            return books.refund(checkout, *asked.arguments[1:])
        case _:
            raise AssertionError(asked.operation)


def _opened(spec: CheckoutSpec) -> Checkout:
    return Checkout(
        ref=ref_of(spec.key),
        payment_account_id=scene.PAYEE,
        key=spec.key,
        mode=spec.mode,
        state=State.OPEN,
        amount=spec.amount,
        livemode=spec.livemode,
        description=spec.description,
        pay_before=spec.pay_before,
        return_url=spec.return_url,
        notification_url=spec.notification_url,
    )


class _NoLimit:
    """`asyncio.timeout` without a loop: nothing takes time here."""

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, *_: object) -> None:
        return None


async def _at_once(_seconds: float) -> None:
    return None


@contextlib.contextmanager
def laboratory() -> Iterator[None]:
    """The store's functions in memory, and effects without an event loop."""
    before = world.asyncio, confirm.asyncio
    world.asyncio = SimpleNamespace(timeout=lambda _: _NoLimit())
    confirm.asyncio = SimpleNamespace(sleep=_at_once)
    try:
        with in_memory():
            yield
    finally:
        world.asyncio, confirm.asyncio = before
