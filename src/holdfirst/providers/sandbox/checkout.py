# SPDX-License-Identifier: Apache-2.0
"""A sandbox checkout's rules, pure: what customers do to it, and what holdfirst asks of it."""

from datetime import datetime, timedelta
from typing import assert_never

from msgspec.structs import replace

from holdfirst.payment.money import Money
from holdfirst.payment.payment import Mode
from holdfirst.payment.provider import Done, NotOpen, Phase, RefundPhase, RefundTruth, Refused, Truth
from holdfirst.payment.sandbox import Action, Checkout, GivenBack, State
from holdfirst.refusal import Code, Refusal

LATE_BY = timedelta(seconds=2)
"""How long after the time to pay a *pay late* goes through."""

_ALIVE_FOR_A_BANK = frozenset({State.OPEN, State.CLOSED, State.FAILED, State.ABANDONED})
"""Where a payment that was under way can still go through: nothing else has been paid."""


# The customer's side


def act(checkout: Checkout, action: Action, *, force: bool) -> Checkout | Refusal:
    """`force`: the payment was under way already, so it goes through what has died meanwhile."""
    if action is not _way_to_pay(checkout.mode) and action in (Action.AUTHORIZE, Action.PAY):
        return _no(f"A checkout in mode {checkout.mode} does not take {action}.")
    pays = action in (Action.AUTHORIZE, Action.PAY)
    if checkout.state is not State.OPEN and not (pays and force and checkout.state in _ALIVE_FOR_A_BANK):
        return _no(f"The checkout is {checkout.state}.")
    match action:
        case Action.AUTHORIZE | Action.PAY:
            return _gone_through(checkout)
        case Action.DECLINE:
            return replace(checkout, state=State.FAILED)
        case Action.ABANDON:
            return replace(checkout, state=State.ABANDONED)
        case _:
            assert_never(action)


def pay(checkout: Checkout) -> Checkout | Refusal:
    """The *pay* button: it is called so under every mode."""
    return act(checkout, _way_to_pay(checkout.mode), force=False)


def pay_late(checkout: Checkout, now: datetime) -> Checkout | Refusal:
    """The customer's bank takes its time, and answers after the time to pay is over."""
    if checkout.state is not State.OPEN:
        return _no(f"The checkout is {checkout.state}.")
    if checkout.completes_at is not None:
        return _no("A late payment is under way already.")
    return replace(checkout, completes_at=max(checkout.pay_before, now) + LATE_BY)


def completed_if_due(checkout: Checkout, now: datetime) -> Checkout:
    """A late payment whose instant has come goes through, closed or not."""
    if checkout.completes_at is None or now < checkout.completes_at:
        return checkout
    return _gone_through(checkout) if checkout.state in _ALIVE_FOR_A_BANK else checkout


def _way_to_pay(mode: Mode) -> Action:
    return Action.PAY if mode.is_sale else Action.AUTHORIZE


def _gone_through(checkout: Checkout) -> Checkout:
    amount = checkout.amount.amount_minor
    if not checkout.mode.is_sale:
        return replace(checkout, state=State.AUTHORIZED, authorized_minor=amount)
    return replace(checkout, state=State.CAPTURED, captured_minor=amount)


def _no(detail: str) -> Refusal:
    return Refusal(Code.SANDBOX_ACTION_REFUSED, detail)


# holdfirst's side: each answers the checkout after the call, and what the caller is told


def fetch(checkout: Checkout) -> tuple[Checkout, Truth]:
    """A late payment under way is not told: like many companies, this one learns of it when it is done."""
    truth = Truth(
        phase=_PHASE[checkout.state],
        amount=checkout.amount,
        livemode=checkout.livemode,
        reference=checkout.key,
        authorized_minor=checkout.authorized_minor,
        captured_minor=checkout.captured_minor,
        refunds=[
            RefundTruth(one.key, one.amount_minor, RefundPhase.DONE, one.key) for one in checkout.refunds
        ],
    )
    return checkout, truth


def close(checkout: Checkout) -> tuple[Checkout, Done | NotOpen | Refused]:
    if not checkout.mode.can_be_closed:
        return checkout, Refused("checkouts of this account cannot be closed")
    if checkout.state is not State.OPEN:
        return checkout, NotOpen()
    return replace(checkout, state=State.CLOSED), Done()


def capture(checkout: Checkout) -> tuple[Checkout, Done | Refused]:
    match checkout.state:
        case State.AUTHORIZED:
            amount = checkout.amount.amount_minor
            return replace(checkout, state=State.CAPTURED, captured_minor=amount), Done()
        case State.CAPTURED | State.REFUNDED:
            return checkout, Done()
        case _:
            return checkout, Refused(f"nothing to capture: {checkout.state}")


def void(checkout: Checkout) -> tuple[Checkout, Done | Refused]:
    match checkout.state:
        case State.AUTHORIZED:
            return replace(checkout, state=State.VOIDED, voided_minor=checkout.amount.amount_minor), Done()
        case State.VOIDED:
            return checkout, Done()
        case _:
            return checkout, Refused(f"nothing to void: {checkout.state}")


def refund(checkout: Checkout, key: str, amount: Money) -> tuple[Checkout, Done | Refused]:
    """The same key again answers the refund it made; the sum never exceeds what was captured."""
    wanted = GivenBack(key, amount.amount_minor)
    if (made := next((one for one in checkout.refunds if one.key == key), None)) is not None:
        return checkout, Done() if made == wanted else Refused("this key made another refund")
    if amount.currency != checkout.amount.currency or amount.amount_minor < 1:
        return checkout, Refused("not an amount of this checkout's currency")
    refunded = checkout.refunded_minor + amount.amount_minor
    if refunded > checkout.captured_minor:
        return checkout, Refused("more than is left of what was captured")
    state = State.REFUNDED if refunded == checkout.captured_minor else State.CAPTURED
    return replace(checkout, state=state, refunds=(*checkout.refunds, wanted)), Done()


_PHASE = {
    State.OPEN: Phase.OPEN,
    State.CLOSED: Phase.CLOSED,
    State.AUTHORIZED: Phase.AUTHORIZED,
    State.CAPTURED: Phase.CAPTURED,
    State.FAILED: Phase.FAILED,
    State.ABANDONED: Phase.CLOSED,
    State.VOIDED: Phase.VOIDED,
    State.REFUNDED: Phase.CAPTURED,
}
