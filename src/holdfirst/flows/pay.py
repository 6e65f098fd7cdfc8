# SPDX-License-Identifier: Apache-2.0
"""A payment for a hold: opened with frozen parameters, then brought in line with what its provider says."""

from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from holdfirst import ids
from holdfirst.flows.locked import Locked, lock_with_hosts
from holdfirst.flows.outcome import Mail, became_firm, became_free, send_mail
from holdfirst.flows.owed import apply_refunds, owe
from holdfirst.flows.payment_accounts import cannot_take_money
from holdfirst.flows.with_calendars import AskCalendars, before_a_sale, with_calendars
from holdfirst.payment.payment import Disposition, Late, Mode, Payment, PaymentStatus
from holdfirst.payment.provider import CheckoutSpec, Phase, Truth, key_generation, next_key
from holdfirst.refusal import Code, Refusal
from holdfirst.reservation import lifecycle
from holdfirst.reservation.event_type import EventType, details_missing
from holdfirst.reservation.reservation import Ended, EndedBy, EndedCode, Reservation, Status, status_at
from holdfirst.reservation.verdict import Verdict, as_frozen, judge, pinned_by, with_truth
from holdfirst.settings import Limits
from holdfirst.store import catalog, jobs, payees, payments, reservations
from holdfirst.store.database import Tx
from holdfirst.store.payees import PaymentAccount

TELL_A_HUMAN_AFTER = timedelta(minutes=10)
KEY_LIFE = timedelta(hours=23)
"""Providers forget an idempotency key after a day: an older one is not trusted to name what it once did."""


class CheckoutRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`public_url`: where the world reaches us, for the return page and the notifications."""

    reservation_id: str
    return_url: str
    cancel_url: str | None
    public_url: str


class ToOpen(msgspec.Struct, frozen=True):
    """A payment whose checkout is to be opened (or was: the same key answers the same checkout)."""

    payment: Payment
    spec: CheckoutSpec
    payee: PaymentAccount


async def open_payment(tx: Tx, request: CheckoutRequest, limits: Limits) -> ToOpen | AskCalendars | Refusal:
    """Before the provider is called: the payment row, and what the deadline will do."""
    reservation = await reservations.lock(tx, request.reservation_id)
    assert reservation is not None
    attempts = await payments.lock_all(tx, reservation.id)
    event_type = await catalog.event_type_by_id(tx, reservation.event_type_id)
    assert event_type is not None
    now = await tx.now()

    if status_at(reservation, now) is not Status.HELD:
        reservation = await write_down_expiry(tx, reservation, attempts, now)
        return lifecycle.refusal_for(reservation, now)
    if (running := next((one for one in attempts if one.can_bring_money), None)) is not None:
        return await _to_open(tx, running)
    if not reservation.priced:
        return Refusal(Code.NOTHING_TO_PAY, "This reservation costs nothing; confirm it.")
    missing = details_missing(event_type.rules, reservation.customer, reservation.answers)
    if missing:
        return missing_details(missing)
    payee = await payees.load(tx, reservation.payment_account_id or "")
    if payee is None:
        return Refusal(Code.NO_PAYMENT_ACCOUNT, "The payment account of this reservation is gone.")
    if not payee.charges_enabled:
        return cannot_take_money(payee)
    if (obstacle := before_a_sale(reservation, payee.mode, event_type.rules, now)) is not None:
        return obstacle
    until = lifecycle.time_to_pay(
        reservation, now, checkout_min=limits.checkout_min, total_max=limits.total_max
    )
    if isinstance(until, Refusal):
        return until

    # After this point it must succeed.
    reservation = lifecycle.with_deadline(reservation, until, limits.processing_max)
    if payee.mode is Mode.SALE:
        reservation = lifecycle.closing_at_deadline(reservation, limits.processing_max)
    await reservations.save(tx, reservation)
    payment, spec = _frozen(reservation, payee, request, event_type.rules.name, now)
    await payments.insert(tx, payment, spec)
    await jobs.enqueue(tx, payment.account_id, "advance", payment.id, due=now + timedelta(seconds=10))
    return ToOpen(payment, spec, payee)


def _frozen(
    reservation: Reservation, payee: PaymentAccount, request: CheckoutRequest, description: str, now: datetime
) -> tuple[Payment, CheckoutSpec]:
    """The row and the exact request: a repeat after a crash must be the same request to the provider."""
    assert reservation.price is not None
    payment = Payment(
        id=ids.make("pay"),
        account_id=reservation.account_id,
        livemode=reservation.livemode,
        reservation_id=reservation.id,
        payment_account_id=payee.id,
        provider=payee.provider,
        mode=payee.mode,
        status=PaymentStatus.OPEN,
        amount=reservation.price,
        pay_before=reservation.held_until,
        return_url=request.return_url,
        cancel_url=request.cancel_url,
        created_at=now,
    )
    spec = CheckoutSpec(
        key=payment.id,
        frozen_at=now,
        amount=payment.amount,
        mode=payee.mode,
        livemode=payment.livemode,
        description=description,
        pay_before=payment.pay_before,
        return_url=f"{request.public_url}/r/{reservation.id}",
        notification_url=f"{request.public_url}/v1/notifications/{payee.provider}/{payee.id}",
        customer_email=reservation.customer.get("email"),
        locale=reservation.customer.get("locale"),
        application_fee_minor=payee.fee_on(payment.amount),
    )
    return payment, spec


async def _to_open(tx: Tx, payment: Payment) -> ToOpen:
    """Also where its payment account was removed since: what is open goes on."""
    payee = await payees.load_even_deleted(tx, payment.payment_account_id)
    spec = await payments.spec_of(tx, payment.id)
    forgotten = await tx.now() - spec.frozen_at > KEY_LIFE
    if payment.provider_ref is None and forgotten and key_generation(spec.key) == 1:
        spec = await _under_next_key(tx, payment.id, spec)
    return ToOpen(payment, spec, payee)


async def load_to_open(tx: Tx, payment_id: str) -> ToOpen:
    """The frozen request of a payment whose answer was lost, to be sent again."""
    _, payment = await lock_payment(tx, payment_id)
    return await _to_open(tx, payment)


async def take_next_key(tx: Tx, payment_id: str, spent: str) -> None:
    """The provider keeps an answer under this key that settles nothing. Written before a call is made with the next."""
    await lock_payment(tx, payment_id)
    spec = await payments.spec_of(tx, payment_id)
    if spec.key == spent:
        await _under_next_key(tx, payment_id, spec)


async def _under_next_key(tx: Tx, payment_id: str, spec: CheckoutSpec) -> CheckoutSpec:
    later = replace(spec, key=next_key(spec.key))
    await payments.save_spec(tx, payment_id, later)
    return later


def missing_details(missing: list[str]) -> Refusal:
    return Refusal(Code.DETAILS_MISSING, "Still missing: " + ", ".join(missing) + ".", {"missing": missing})


async def record_checkout(
    tx: Tx, payment_id: str, provider_ref: str, checkout_url: str | None
) -> tuple[Reservation, Payment] | Refusal:
    """The provider's reference. If the hold ended meanwhile, the new checkout is to be closed.

    The first that is written down stays: a provider that keeps no keys may have opened two, and the address of the other
    is told to nobody.
    """
    reservation, payment = await lock_payment(tx, payment_id)
    now = await tx.now()
    if payment.provider_ref is None:
        payment = replace(payment, provider_ref=provider_ref, checkout_url=checkout_url)
        await payments.save(tx, payment)
    if status_at(reservation, now) is not Status.HELD:
        reservation = await write_down_expiry(tx, reservation, [], now)
        await became_free(tx, reservation, [payment], now)
        return lifecycle.refusal_for(reservation, now)
    return reservation, payment


async def record_no_checkout(tx: Tx, payment_id: str) -> tuple[Reservation, Payment] | None:
    """The provider refused to open one: this attempt is over, and the deadline needs no closing for it. Where the same
    request was answered to somebody else meanwhile, a customer may be paying there: then that one is answered.
    """
    reservation, payment = await lock_payment(tx, payment_id)
    now = await tx.now()
    await jobs.enqueue(tx, payment.account_id, "check_payee", payment.payment_account_id, due=now)
    if payment.provider_ref is not None:
        return reservation, payment
    await payments.save(tx, replace(payment, status=PaymentStatus.FAILED))
    await _let_deadline_expire(tx, reservation, payment, [], now)
    return None


async def lock_payment(tx: Tx, payment_id: str) -> tuple[Reservation, Payment]:
    unlocked = await payments.load(tx, payment_id)
    assert unlocked is not None
    reservation = await reservations.lock(tx, unlocked.reservation_id)
    payment = await payments.lock(tx, payment_id)
    assert reservation is not None and payment is not None
    return reservation, payment


async def advance(
    tx: Tx,
    payment_id: str,
    truth: Truth,
    *,
    capture_refused: bool = False,
    time_lost: bool = False,
    asked: bool = False,
) -> tuple[Reservation, Payment]:
    """Bring one payment, and its reservation, in line with the provider's truth. Every trigger runs this.

    `time_lost`: the exclusion constraint refused this once (`TimeLost`): the money goes back. `asked`: the calendars
    were asked just now; whatever they said, or that they did not answer, is what there is to decide on.
    """
    locked = await lock_with_hosts(tx, payment_id)
    reservation, payment, now = locked.reservation, locked.payment, locked.now
    verdict = judge(reservation, payment, truth, now, locked.event_type.rules.late_payment)
    if capture_refused and verdict is Verdict.CAPTURE:
        verdict = Verdict.UNPIN
    if time_lost and verdict in _TAKES_TIME:
        verdict = Verdict.GIVE_BACK
        reservation = await _write_down_loss(tx, reservation, now)
    if verdict in _TAKES_TIME:
        verdict = with_calendars(locked, verdict, asked=asked)
    if verdict in (Verdict.RETAKE_AND_PIN, Verdict.RETAKE_AND_CONFIRM):
        if await retake(tx, reservation, locked.event_type):
            payment = replace(payment, late=Late.RETAKEN)
        else:
            verdict = Verdict.GIVE_BACK
    payment = with_truth(payment, truth, now)
    if truth.refunds:
        payment = await apply_refunds(tx, payment, truth, now)
    met = msgspec.structs.replace(locked, reservation=reservation, payment=payment)
    reservation, payment = await _carry_out(tx, verdict, met, truth)
    payment = replace(_alarm(reservation, payment, now), answered_at=now)
    await payments.save(tx, payment)
    return reservation, payment


async def _carry_out(tx: Tx, verdict: Verdict, met: Locked, truth: Truth) -> tuple[Reservation, Payment]:
    """What a verdict means for the two rows, and what is to follow. The caller saves the payment."""
    reservation, payment, now = met.reservation, met.payment, met.now
    match verdict:
        case Verdict.WAIT:
            return reservation, payment
        case Verdict.CAPTURE:
            await _capture(tx, payment, now)
            return reservation, payment
        case Verdict.PIN | Verdict.RETAKE_AND_PIN:
            reservation = lifecycle.pin(reservation, payment.id, now)
            payment = replace(payment, disposition=Disposition.KEEP)
            await reservations.save(tx, reservation)
            await _capture(tx, payment, now)
            return reservation, payment
        case Verdict.CONFIRM | Verdict.RETAKE_AND_CONFIRM:
            reservation = lifecycle.firm(reservation, now, paid_by=payment.id, payment_reference=None)
            payment = replace(
                payment, disposition=Disposition.KEEP, needs_human_code=None, needs_human_since=None
            )
            await reservations.save(tx, reservation)
            await became_firm(tx, reservation, met.attempts, now)
            return reservation, payment
        case Verdict.GIVE_BACK:
            return await _give_back(tx, met, truth)
        case Verdict.UNPIN:
            return await _unpin(tx, met, truth)
        case Verdict.DEAD:
            return await _let_deadline_expire(tx, reservation, payment, met.attempts, now), payment


async def retake(tx: Tx, reservation: Reservation, event_type: EventType) -> bool:
    """Take an expired reservation's own time again: same hosts and seats, buffers and all, if all is as it was."""
    if not await catalog.event_type_is_live(tx, event_type.id):
        return False
    if not await catalog.hosts_are_live(tx, reservation.hosts):
        return False
    return await reservations.take_time(
        tx, reservation, reservation.hosts, seats_max=event_type.rules.seats, live_until=None
    )


_TAKES_TIME = (Verdict.PIN, Verdict.CONFIRM, Verdict.RETAKE_AND_PIN, Verdict.RETAKE_AND_CONFIRM)


async def _write_down_loss(tx: Tx, reservation: Reservation, now: datetime) -> Reservation:
    """The database says that the time is firmly somebody else's: the locks should never let it come to this."""
    if status_at(reservation, now) is Status.EXPIRED:
        return reservation
    lost = lifecycle.ended(reservation, Status.EXPIRED, Ended(EndedBy.PAYMENT, now, EndedCode.PAYMENT_FAILED))
    await reservations.save(tx, lost)
    return lost


async def _capture(tx: Tx, payment: Payment, now: datetime) -> None:
    await jobs.enqueue(tx, payment.account_id, "capture", payment.id, due=now, lane=payment.id)


async def _unpin(tx: Tx, met: Locked, truth: Truth) -> tuple[Reservation, Payment]:
    """Pinned, and the money cannot be taken: the time is free, and nothing was charged."""
    reservation = lifecycle.unpin(met.reservation, met.now)
    payment = replace(met.payment, disposition=Disposition.VOID)
    await reservations.save(tx, reservation)
    await became_free(tx, reservation, _others(met), met.now)
    if truth.phase is Phase.AUTHORIZED:
        await jobs.enqueue(tx, payment.account_id, "void", payment.id, due=met.now, lane=payment.id)
    return reservation, payment


def _others(met: Locked) -> list[Payment]:
    """The other attempts: one of them may still be open when this one has come to nothing."""
    return [one for one in met.attempts if one.id != met.payment.id]


async def _give_back(tx: Tx, met: Locked, truth: Truth) -> tuple[Reservation, Payment]:
    """Money that no slot stands behind: all of it goes back."""
    now = met.now
    payment = met.payment
    if pinned_by(met.reservation, payment):
        # Captured, and not what was agreed: it pays for nothing.
        reservation = lifecycle.unpin(met.reservation, now)
        await reservations.save(tx, reservation)
        await became_free(tx, reservation, _others(met), now)
    else:
        reservation = await write_down_expiry(tx, met.reservation, met.attempts, now)
    too_late = status_at(reservation, now) in (Status.EXPIRED, Status.RELEASED, Status.CANCELLED)
    if not as_frozen(payment, truth) and payment.needs_human_code is None:
        payment = replace(payment, needs_human_code="amount_mismatch", needs_human_since=now)
    if truth.phase is Phase.AUTHORIZED:
        # What was to be given back already, when its capture was refused, did not come late.
        in_time = payment.disposition is Disposition.VOID
        if too_late and not in_time and payment.late in (None, Late.RETAKEN):
            payment = replace(payment, late=Late.VOIDED)
            await send_mail(tx, reservation, Mail.LATE_NOT_CHARGED, now, payment.id)
        await jobs.enqueue(tx, payment.account_id, "void", payment.id, due=now, lane=payment.id)
        return reservation, _disposed(payment, Disposition.VOID)
    if payment.kept_minor > 0:
        if too_late:
            payment = replace(payment, late=Late.REFUNDED)
            await send_mail(tx, reservation, Mail.LATE_REFUNDED, now, payment.id)
        payment = await owe(tx, payment, payment.kept_minor, now)
    if reservation.paid_by != payment.id:
        reservation = await _let_deadline_expire(tx, reservation, payment, met.attempts, now)
    return reservation, _disposed(payment, Disposition.REFUND)


def _disposed(payment: Payment, disposition: Disposition) -> Payment:
    """Assigned once; only a `keep` that came to nothing may still turn."""
    turns = payment.disposition in (None, Disposition.KEEP)
    return replace(payment, disposition=disposition) if turns else payment


async def _let_deadline_expire(
    tx: Tx, reservation: Reservation, payment: Payment, attempts: list[Payment], now: datetime
) -> Reservation:
    """This checkout can bring no more. If the deadline (or a release) waited for it alone, it waits no longer."""
    another = any(one.mode is Mode.SALE and one.can_bring_money and one.id != payment.id for one in attempts)
    if payment.mode is not Mode.SALE or another:
        return reservation
    if (later := lifecycle.checkout_dead(reservation, now)) is not reservation:
        await reservations.save(tx, later)
        if later.ended is not None:
            await became_free(tx, later, [], now)
    return later


async def write_down_expiry(
    tx: Tx, reservation: Reservation, attempts: list[Payment], now: datetime
) -> Reservation:
    """Whoever tells a holder `expired` has first committed it: a clock that steps back revives nothing."""
    over = lifecycle.expired(reservation, now)
    if over is None:
        return reservation
    await reservations.save(tx, over)
    await became_free(tx, over, attempts, now)
    return over


def _alarm(reservation: Reservation, payment: Payment, now: datetime) -> Payment:
    """A capture that nobody has an answer for: after ten minutes a human is told."""
    stuck = (
        reservation.pinned_at is not None
        and reservation.paid_by == payment.id
        and now - reservation.pinned_at > TELL_A_HUMAN_AFTER
    )
    if stuck and payment.needs_human_code is None:
        return replace(payment, needs_human_code="capture_unanswered", needs_human_since=now)
    return payment


async def note_unanswered(tx: Tx, payment_id: str) -> None:
    """The provider did not answer. Nothing changes, but a human may have to know."""
    reservation, payment = await lock_payment(tx, payment_id)
    alarmed = _alarm(reservation, payment, await tx.now())
    if alarmed is not payment:
        await payments.save(tx, alarmed)
