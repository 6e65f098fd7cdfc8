# SPDX-License-Identifier: Apache-2.0
"""Stripe: Checkout's hosted page, cards held and captured by us, other methods as sales that can be closed.

provider.py      the protocol: open, fetch, close, capture, void, refund, notifications
calls.py         one call: its client, its bounds, and what an error means
session.py       what a checkout is opened with
truth.py         what Stripe's objects say, in our words
minor_units.py   Stripe's own table of decimals
credentials.py   keys of live and test, kept apart
standing.py      whether an account can take money; notification addresses; onboarding; listing
"""

from holdfirst.providers.stripe.provider import StripeProvider

__all__ = ["StripeProvider"]
