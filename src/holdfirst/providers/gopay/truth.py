# SPDX-License-Identifier: Apache-2.0
"""What GoPay's payment says, in our words. A state that is not known here is loud: nothing is decided on it."""

from collections.abc import Sequence
from typing import Any

from holdfirst.payment.money import Money
from holdfirst.payment.provider import Phase, RefundPhase, RefundTruth, Truth, Unknown

_PHASE = {
    "CREATED": Phase.OPEN,
    # At a bank, perhaps, or on the way back from it: another method may still be chosen.
    "PAYMENT_METHOD_CHOSEN": Phase.OPEN,
    "AUTHORIZED": Phase.AUTHORIZED,
    "PAID": Phase.CAPTURED,
    "PARTIALLY_REFUNDED": Phase.CAPTURED,
    "REFUNDED": Phase.CAPTURED,
    "TIMEOUTED": Phase.CLOSED,
}
_DONE = frozenset({"FINISHED", "SUCCESS", "SUCCESSFUL", "SUCCEEDED", "REFUNDED", "DONE"})
_FAILED = frozenset({"FAILED", "REJECTED", "CANCELED", "CANCELLED", "ERROR"})
DECLINED = "_5"
"""How the sub-states of a declined payment begin."""


def truth_of(
    payment: dict[str, Any], refunds: Sequence[dict[str, Any]], *, livemode: bool, goid: str
) -> Truth | Unknown:
    """`payment` as asked for, `refunds` as listed."""
    if str((payment.get("target") or {}).get("goid")) != goid:
        return Unknown("it belongs to another shop")
    state = payment.get("state")
    promised = bool((payment.get("preauthorization") or {}).get("requested"))
    phase = _cancelled(payment, promised=promised) if state == "CANCELED" else _PHASE.get(str(state))
    if phase is None:
        return Unknown(f"not known: state {state}")
    amount = Money(int(payment["amount"]), str(payment["currency"]))
    captured = amount.amount_minor if phase is Phase.CAPTURED else 0
    held = phase is Phase.AUTHORIZED or (promised and phase is Phase.CAPTURED)
    return Truth(
        phase=phase,
        amount=amount,
        livemode=livemode,
        authorized_minor=amount.amount_minor if held else 0,
        captured_minor=captured,
        refunds=[_refund(one, all_of_it=state == "REFUNDED") for one in refunds],
        reference=payment.get("order_number"),
    )


def _cancelled(payment: dict[str, Any], *, promised: bool) -> Phase:
    """One word for two things: declined, or a promise that was given back."""
    declined = str(payment.get("sub_state") or "").startswith(DECLINED)
    return Phase.VOIDED if promised and not declined else Phase.FAILED


def _refund(refund: dict[str, Any], *, all_of_it: bool) -> RefundTruth:
    """GoPay keeps no keys of ours. What it does not call done or failed is on its way, and asked about again."""
    word = str(refund.get("state") or "").upper()
    if word in _FAILED:
        phase = RefundPhase.FAILED
    else:
        phase = RefundPhase.DONE if all_of_it or word in _DONE else RefundPhase.PENDING
    return RefundTruth(None, int(refund["amount"]), phase, str(refund["id"]))
