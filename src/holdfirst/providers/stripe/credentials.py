# SPDX-License-Identifier: Apache-2.0
"""What Stripe's credentials look like. A live key never serves a test account, nor the other way round."""

import re
from collections.abc import Mapping
from typing import Any

from holdfirst.payment.provider import CredentialFault

_KEY = re.compile(r"(sk|rk)_(test|live)_[A-Za-z0-9_]{3,250}")
_WEBHOOK_SECRET = re.compile(r"whsec_[A-Za-z0-9+/=_-]{3,250}")
_MEMBERS = ("secret_key", "webhook_secrets")
WEBHOOK_SECRETS_MAX = 5


def read_credentials(given: Mapping[str, Any], *, livemode: bool) -> Mapping[str, str] | CredentialFault:
    """`secret_key` (or a restricted one), and perhaps `webhook_secrets`, newest first: all of them are believed."""
    for member in given:
        if member not in _MEMBERS:
            return CredentialFault(member, "is not a known field")
    key = given.get("secret_key")
    if not isinstance(key, str) or (shape := _KEY.fullmatch(key)) is None:
        return CredentialFault("secret_key", "must be a secret or restricted key of Stripe (sk_… or rk_…)")
    if (shape[2] == "live") is not livemode:
        needed = "live" if livemode else "test"
        return CredentialFault("secret_key", f"must be a {needed} key: this is the account's mode")
    hooks = given.get("webhook_secrets", [])
    if isinstance(hooks, str):
        # As they are kept here.
        hooks = hooks.split()
    if not isinstance(hooks, list) or len(hooks) > WEBHOOK_SECRETS_MAX:
        return CredentialFault("webhook_secrets", f"must be a list of at most {WEBHOOK_SECRETS_MAX}")
    if not all(isinstance(one, str) and _WEBHOOK_SECRET.fullmatch(one) for one in hooks):
        return CredentialFault("webhook_secrets", "must each begin with whsec_")
    return {"secret_key": key, "webhook_secrets": " ".join(hooks)}
