# SPDX-License-Identifier: Apache-2.0
"""What can happen next to one client: each move is one transaction, one provider call, one crash, one click.

A move that looks at nobody else's rows has the same outcome whatever the others are doing: it is computed once for
each (clock, client). The memory says which moves looked around; those are computed for what they could see.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from msgspec.structs import replace

from holdfirst.errors import HoldfirstError
from holdfirst.flows import cancel, change, release
from holdfirst.flows.reserve import ReserveRequest, want
from holdfirst.payment.payment import Mode
from holdfirst.payment.sandbox import Action, Checkout, State
from holdfirst.providers.sandbox import checkout as books
from holdfirst.refusal import Refusal
from holdfirst.reservation.event_type import Offer
from holdfirst.reservation.reservation import EndedBy, Reservation, Status
from holdfirst.store import reservations
from memory import Memory, MemoryTx
from races.exhaustive import scenario as scene
from races.exhaustive.client import (
    Attempt,
    Client,
    Flight,
    View,
    key_of,
    mails_in,
    put_in,
    put_in_other,
    subject_of,
    take_out,
)
from races.exhaustive.scenario import Scenario
from races.exhaustive.steps import (
    AT_ONCE,
    Call,
    Finished,
    Next,
    Raised,
    Transaction,
    called,
    next_of,
    scrubbed,
    transact,
)


class LooksAround(Exception):
    """The outcome depends on what others have."""


class Happened(NamedTuple):
    """One outcome. `others`: by number, the rows of others that this ended; `problem`: a bug that showed itself."""

    label: str
    after: Client
    others: tuple[Reservation | None, ...] = ()
    mails: tuple[str, ...] = ()
    answer: Any = None
    problem: str | None = None


class Moves:
    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.answers: list[Any] = []
        self._numbers: dict[bytes, int] = {}
        self._next: dict[tuple[str, str, tuple[int, ...]], Next] = {}
        self.event_type, self.host, self.payee = scenario.event_type(), scenario.host(), scenario.payee()

    # Which moves there are

    def names(self, client: Client) -> Iterator[tuple[Any, ...]]:
        scenario = self.scenario
        if client.reservation is None:
            yield ("reserve",)
            return
        for number, flight in enumerate(client.flights):
            for fault in self._faults(client, flight):
                yield ("go", number, fault)
            yield ("crash", number)
        if len(client.flights) < max(1, scenario.flights):
            yield from self._starts(client)
        for number, attempt in enumerate(client.attempts):
            if attempt.checkout is not None:
                yield ("customer", number, "pays")
                if "decline" in scenario.verbs and attempt.checkout.state is State.OPEN:
                    yield ("customer", number, "declines")
        for verb in ("extend", "release", "force", "cancel", "refund_part"):
            if verb in scenario.verbs:
                yield ("do", verb)

    def _faults(self, client: Client, flight: Flight) -> list[str]:
        asked = self.next_of(client, flight)
        if not isinstance(asked, Call):
            return [""]
        faults = [""]
        if "lost" in self.scenario.faults and asked.operation != "fetch":
            faults.append("lost")
        fresh = False
        if asked.operation == "create":
            # The same key again has the same answer: a checkout, or that there will be none.
            attempt = client.attempts[self._attempt_of(client, asked.arguments[0])]
            fresh = attempt.checkout is None
            if attempt.refused:
                return ["refused"]
        if "refused" in self.scenario.faults and (fresh or asked.operation in ("capture", "refund")):
            faults.append("refused")
        return faults

    def _starts(self, client: Client) -> Iterator[tuple[Any, ...]]:
        scenario, row = self.scenario, client.reservation
        assert row is not None
        lost = [
            one for one in client.attempts if one.payment.provider_ref is None and one.payment.can_bring_money
        ]
        flying = {(one.effect, one.attempt) for one in client.flights}
        room = len(client.attempts) < scenario.payments_max
        if row.status is Status.HELD and (lost or room):
            yield ("start", "checkout", 0)
        if "elsewhere" in scenario.verbs and row.status is Status.HELD:
            yield ("start", "confirm", 0)
        first_in_lane: dict[int, str] = {}
        for wish in client.wishes:
            first_in_lane.setdefault(wish.attempt, wish.kind)
        for number, kind in first_in_lane.items():
            if (f"job:{kind}", number) not in flying:
                yield ("start", f"job:{kind}", number)
        for number in range(len(client.attempts)):
            if ("advance", number) not in flying:
                yield ("start", "advance", number)

    # How one comes out

    def happen(
        self, clock: int, client: Client, move: tuple[Any, ...], others: Sequence[View | None] | None
    ) -> list[Happened]:
        """Raises `LooksAround` where `others` is None and matters."""
        match move:
            case ("reserve",):
                return [self._reserve(clock, client, others)]
            case ("go", number, fault):
                return [self._go(clock, client, number, fault, others)]
            case ("crash", number):
                flight = client.flights[number]
                return [Happened(f"the process of its {flight.effect} dies", _landed(client, flight))]
            case ("start", effect, number):
                return list(self._start(clock, client, effect, number, others))
            case ("customer", number, deed):
                return list(_customer(client, number, deed))
            case ("do", verb):
                return [self._do(clock, client, verb, others)]
        raise AssertionError(move)

    def memory(self, clock: int, client: Client, others: Sequence[View | None] | None) -> Memory:
        now = self.scenario.at(clock)
        memory = Memory(lambda: now)
        memory.tables["event_type"][scene.EVENT_TYPE] = self.event_type
        memory.tables["host"][scene.HOST] = self.host
        memory.tables["payee"][scene.PAYEE] = self.payee
        put_in(memory, client)
        for number, view in enumerate(others or (), start=1):
            if view is not None:
                put_in_other(memory, number, view)
        return memory

    def _transaction(
        self, clock: int, client: Client, asked: Transaction, others: Sequence[View | None] | None, label: str
    ) -> Happened:
        memory = self.memory(clock, client, others)
        try:
            ran = transact(memory, asked)
        except Exception as error:
            return Happened(label, client, problem=f"{type(error).__name__}: {error}")
        if ran.tx.looked_around and others is None:
            raise LooksAround
        known = {one.payment.id: one for one in client.attempts}
        after = take_out(memory, client, known)
        return Happened(
            label,
            _quiet(after),
            tuple(_changed(ran.tx, number, view) for number, view in enumerate(others or (), start=1)),
            tuple(mails_in(ran.tx)),
            ran.answer,
        )

    def _reserve(self, clock: int, client: Client, others: Sequence[View | None] | None) -> Happened:
        if others is None:
            raise LooksAround
        request = ReserveRequest(
            account_id=scene.ACCOUNT,
            event_type=scene.EVENT_TYPE,
            start=self.scenario.start_of(client.slot),
            customer=scene.CUSTOMER,
        )
        now = self.scenario.at(clock)
        wanted = want(Offer(self.event_type, [self.host], False, 0, now), request, scene.LIMITS, None)
        if isinstance(wanted, Refusal):
            return Happened(f"reserve: {wanted.code}", client)
        wanted.item["payees"] = {scene.HOST: scene.PAYEE}
        wanted.item["id"] = "res_0"
        claim = Transaction(reservations.reserve, ([wanted.item],), {})
        done = self._transaction(clock, client, claim, others, "reserve")
        if done.problem is None:
            done = done._replace(label=f"reserve: {done.answer[0].outcome}", answer=done.answer[0].outcome)
        return done

    def _start(
        self, clock: int, client: Client, effect: str, attempt: int, others: Sequence[View | None] | None
    ) -> Iterator[Happened]:
        """Begun, and its first step done: nothing has happened in between."""
        if effect.startswith("job:"):
            kind = effect.removeprefix("job:")
            wishes = (
                one._replace(again=False) if (one.kind, one.attempt) == (kind, attempt) else one
                for one in client.wishes
            )
            client = client._replace(wishes=tuple(wishes))
        flight = Flight(effect, attempt, ())
        begun = client._replace(flights=(*client.flights, flight))
        ready = self._read_at_once(clock, Happened("", begun), flight, others).after
        if len(ready.flights) == len(client.flights):
            return
        number = next(i for i, one in enumerate(ready.flights) if one not in client.flights)
        for fault in self._faults(ready, ready.flights[number]):
            gone = self._go(clock, ready, number, fault, others)
            yield from [gone] if self.scenario.flights else self._whole(clock, gone, others)

    def _whole(self, clock: int, done: Happened, others: Sequence[View | None] | None) -> Iterator[Happened]:
        """The rest of the only effect under way, step by step, or its process's end before any of them."""
        client = done.after
        if done.problem is not None or not client.flights:
            yield done
            return
        [flight] = client.flights
        yield done._replace(label=f"{done.label}, and its process dies", after=_landed(client, flight))
        for fault in self._faults(client, flight):
            left = _left(others, done)
            gone = self._go(clock, client, 0, fault, left)
            yield from self._whole(clock, _both(done, gone), others)

    def _go(
        self, clock: int, client: Client, number: int, fault: str, others: Sequence[View | None] | None
    ) -> Happened:
        flight = client.flights[number]
        asked = self.next_of(client, flight)
        label = f"{flight.effect}: "
        if isinstance(asked, Call):
            done = self._call(client, flight, asked, fault)
            label += asked.operation + (f" ({fault})" if fault else "")
        else:
            assert isinstance(asked, Transaction)
            label += f"transaction {getattr(asked.flow, '__name__', asked.flow)}"
            done = self._transaction(clock, client, asked, others, label)
            if done.problem is not None:
                return done
            done = done._replace(answer=scrubbed(asked, done.answer))
        return self._answered(clock, done._replace(label=label), flight, others)

    def _call(self, client: Client, flight: Flight, asked: Call, fault: str) -> Happened:
        number = self._attempt_of(client, asked.arguments[0])
        attempt = client.attempts[number]
        checkout, answer = called(asked, attempt.checkout, fault)
        after = _with_checkout(client, number, checkout)
        if asked.operation == "create" and fault == "refused":
            after = _with_refusal(after, number)
        return Happened("", after, answer=answer)

    def _attempt_of(self, client: Client, payment_id: str) -> int:
        return next(i for i, one in enumerate(client.attempts) if one.payment.id == payment_id)

    def _answered(
        self, clock: int, done: Happened, flight: Flight, others: Sequence[View | None] | None
    ) -> Happened:
        further = flight._replace(answers=(*flight.answers, self._number_of(done.answer)))
        client = done.after
        flights = list(client.flights)
        flights[flights.index(flight)] = further
        moved = done._replace(after=client._replace(flights=_sorted(flights)))
        return self._read_at_once(clock, moved, further, others)

    def _read_at_once(
        self, clock: int, done: Happened, flight: Flight, others: Sequence[View | None] | None
    ) -> Happened:
        asked = self.next_of(done.after, flight)
        match asked:
            case Finished(result=result):
                ended = _landed(done.after, flight)
                if flight.effect.startswith("job:") and result is None:
                    ended = _without_wish(ended, flight)
                return done._replace(after=_quiet(ended), answer=result)
            case Raised(error=error):
                problem = None if isinstance(error, HoldfirstError) else f"{type(error).__name__}: {error}"
                return done._replace(after=_quiet(_landed(done.after, flight)), problem=problem)
            case Transaction(flow=flow) if flow in AT_ONCE:
                read = self._transaction(clock, done.after, asked, others, done.label)
                if read.problem is not None:
                    return read
                kept = done._replace(answer=scrubbed(asked, read.answer))
                return self._answered(clock, kept, flight, others)
            case _:
                return done

    def next_of(self, client: Client, flight: Flight) -> Next:
        key = (flight.effect, str(flight.attempt), flight.answers)
        if key not in self._next:
            answers = [self.answers[one] for one in flight.answers]
            self._next[key] = next_of(flight.effect, subject_of(flight.attempt), answers)
        return self._next[key]

    def _number_of(self, answer: Any) -> int:
        key = key_of(answer)
        if key not in self._numbers:
            self._numbers[key] = len(self.answers)
            self.answers.append(answer)
        return self._numbers[key]

    def _do(self, clock: int, client: Client, verb: str, others: Sequence[View | None] | None) -> Happened:
        asked = self._verb(client, verb)
        if asked is None:
            return Happened(verb, client)
        done = self._transaction(clock, client, asked, others, verb)
        said = f": {done.answer.code}" if isinstance(done.answer, Refusal) else ""
        return done._replace(label=verb + said)

    def _verb(self, client: Client, verb: str) -> Transaction | None:
        limits = scene.LIMITS
        match verb:
            case "extend":
                return Transaction(change.extend, ("res_0", limits), {})
            case "release" | "force":
                force = verb == "force"
                by = EndedBy.ACCOUNT if force else EndedBy.CUSTOMER
                return Transaction(release.release, ("res_0",), {"by": by, "force": force, "limits": limits})
            case "cancel":
                request = cancel.CancelRequest(reservation_id="res_0", by=EndedBy.ACCOUNT, refund="full")
                return Transaction(cancel.cancel, (request,), {})
            case "refund_part":
                kept = [
                    one.payment
                    for one in client.attempts
                    if one.payment.kept_minor == scene.PRICE.amount_minor
                ]
                half = replace(scene.PRICE, amount_minor=scene.PRICE.amount_minor // 2)
                return Transaction(cancel.refund_payment, (kept[0].id, half), {}) if kept else None
        raise AssertionError(verb)


def _both(first: Happened, then: Happened) -> Happened:
    others = then.others or first.others
    if first.others and then.others:
        others = tuple(a or b for a, b in zip(first.others, then.others, strict=True))
    label = f"{first.label}, {then.label}"
    return then._replace(label=label, others=others, mails=(*first.mails, *then.mails))


def _left(others: Sequence[View | None] | None, done: Happened) -> Sequence[View | None] | None:
    """The others, without those that this has ended."""
    if others is None or not done.others:
        return others
    return [None if ended else view for view, ended in zip(others, done.others, strict=True)]


def _sorted(flights: Sequence[Flight]) -> tuple[Flight, ...]:
    return tuple(sorted(flights))


def _landed(client: Client, flight: Flight) -> Client:
    flights = list(client.flights)
    flights.remove(flight)
    return _quiet(client._replace(flights=tuple(flights)))


def _without_wish(client: Client, flight: Flight) -> Client:
    """The job is done, unless it was wished for again meanwhile."""
    kind = flight.effect.removeprefix("job:")
    left = []
    for one in client.wishes:
        if (one.kind, one.attempt) != (kind, flight.attempt):
            left.append(one)
        elif one.again:
            left.append(one._replace(again=False))
    return client._replace(wishes=tuple(left))


def _quiet(client: Client) -> Client:
    """A wish that is not being worked on cannot be wished for again: it is there."""
    flying = {(one.effect, one.attempt) for one in client.flights}
    wishes = tuple(
        one if (f"job:{one.kind}", one.attempt) in flying else one._replace(again=False)
        for one in client.wishes
    )
    return client._replace(wishes=wishes)


def _with_checkout(client: Client, number: int, checkout: Checkout | None) -> Client:
    attempts = list(client.attempts)
    attempts[number] = attempts[number]._replace(checkout=checkout)
    return client._replace(attempts=tuple(attempts))


def _with_refusal(client: Client, number: int) -> Client:
    attempts = list(client.attempts)
    attempts[number] = attempts[number]._replace(refused=True)
    return client._replace(attempts=tuple(attempts))


def _customer(client: Client, number: int, deed: str) -> Iterator[Happened]:
    attempt: Attempt = client.attempts[number]
    assert attempt.checkout is not None
    pays = Action.AUTHORIZE if attempt.checkout.mode is Mode.AUTHORIZE else Action.PAY
    action = pays if deed == "pays" else Action.DECLINE
    # What has died at the provider may still be paid: the bank's answer was under way.
    late = attempt.checkout.state is not State.OPEN
    after = books.act(attempt.checkout, action, force=late)
    if not isinstance(after, Refusal):
        label = f"the customer {deed}" + (", after all" if late else "")
        paid = _with_checkout(client, number, after)
        if late:
            marked = paid.attempts[number]._replace(after_all=True)
            paid = paid._replace(attempts=(*paid.attempts[:number], marked, *paid.attempts[number + 1 :]))
        yield Happened(label, paid)


def _changed(tx: MemoryTx, number: int, view: View | None) -> Reservation | None:
    row = tx.writes.get("reservation", {}).get(f"res_{number}")
    return replace(row, id="res_0") if row is not None and view is not None else None
