# SPDX-License-Identifier: Apache-2.0
"""One story more for the demo: a checkout at Stripe's test system, with a card that moves no money. The page that stays up to
be tried is paid there, too.
"""

from functools import partial

from holdfirst.demo_stage import Stage, Story
from holdfirst.errors import ConfigurationError

SECONDS = 900


def stories_at_stripe(key: str) -> list[Story]:
    """Raises `ConfigurationError` where the key is none of Stripe's test keys."""
    if not key.startswith(("sk_test_", "rk_test_")):
        raise ConfigurationError("HOLDFIRST_DEMO_STRIPE_KEY must be a test key (sk_test_… or rk_test_…).")
    return [("On Stripe's test system", partial(at_stripe, key=key))]


def at_stripe(stage: Stage, key: str) -> None:
    """Held, and a checkout open; who pays it sees the reservation confirmed within a minute, without any notification."""
    credentials = {"provider": "stripe", "credentials": {"secret_key": key}}
    payee = stage.ask("POST", "/v1/payment-accounts", credentials)
    stage.payee = payee["id"]
    stage.say("the shop", "adds its Stripe account", f"{payee['id']}, mode {payee['mode']}")
    stage.offer("consultation-at-stripe", "Consultation", payee["id"], hold_seconds=SECONDS)
    held = stage.hold("A", "consultation-at-stripe", seconds=SECONDS)
    body = {"return_url": f"{stage.server.url}/healthz"}
    opened = stage.ask("POST", f"/v1/reservations/{held['id']}/checkout", body)["payment"]
    stage.expect(
        opened["provider"] == "stripe" and opened["status"] == "open", "the checkout is open", opened
    )
    stage.out(f"  pay with card 4242 4242 4242 4242 at\n  {opened['checkout_url']}")
    stage.out(f"  then look at {stage.server.url}/v1/reservations/{held['id']}")
