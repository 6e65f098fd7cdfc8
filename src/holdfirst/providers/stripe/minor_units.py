# SPDX-License-Identifier: Apache-2.0
"""Stripe's minor units, where they are not ISO 4217's. What cannot be said exactly is refused, never rounded."""

from holdfirst.payment.money import DECIMALS, Money

# Sent as whole units, though ISO counts hundredths.
_NO_DECIMALS = frozenset({"MGA"})
# Sent as hundredths that must be whole, though ISO knows none (`docs.stripe.com/currencies`, special cases).
_HUNDREDTHS = frozenset({"ISK", "UGX"})
# Three decimals, the last of which must be 0.
_LAST_IS_ZERO = frozenset({"BHD", "JOD", "KWD", "OMR", "TND"})


def to_stripe(money: Money) -> int | None:
    """Stripe's integer for this amount; None: Stripe cannot take exactly this."""
    amount, currency = money.amount_minor, money.currency
    if currency in _NO_DECIMALS:
        whole, rest = divmod(amount, 10 ** DECIMALS[currency])
        return whole if rest == 0 else None
    if currency in _HUNDREDTHS:
        return amount * 100
    if currency in _LAST_IS_ZERO and amount % 10:
        return None
    return amount


def from_stripe(amount: int, currency: str) -> Money:
    """`currency` as Stripe writes it. Raises `ValueError` for what Stripe never says (a fraction of a krona)."""
    code = currency.upper()
    if code in _NO_DECIMALS:
        return Money(amount * 10 ** DECIMALS[code], code)
    if code in _HUNDREDTHS:
        whole, rest = divmod(amount, 100)
        if rest:
            raise ValueError(currency)
        return Money(whole, code)
    return Money(amount, code)
