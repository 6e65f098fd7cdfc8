# SPDX-License-Identifier: Apache-2.0
"""`sandbox-signature: t=SECONDS,v1=HEX`: HMAC-SHA256 over `SECONDS.BODY`, as Standard Webhooks and Stripe sign."""

import hashlib
import hmac
import re
import secrets

HEADER = "sandbox-signature"
TOLERANCE_SECONDS = 300
"""How old (or how far ahead) a signature may be: an overheard notification cannot be played back later."""

_SHAPE = re.compile(r"t=([0-9]{1,12}),v1=([0-9a-f]{64})")


def fresh_secrets() -> dict[str, str]:
    """The credentials of a payment account at the sandbox, made once."""
    return {"signing_secret": f"sbx_sign_{secrets.token_urlsafe(32)}"}


def sign(body: bytes, secret: str, at: int) -> str:
    """The header's value for this body, `at` in seconds since the epoch."""
    return f"t={at},v1={_digest(body, secret, at)}"


def problem_with(header: str, body: bytes, secret: str, now: float) -> str | None:
    """Why this signature is not to be believed; None: it is good."""
    if (found := _SHAPE.fullmatch(header)) is None:
        return "no readable signature"
    at = int(found[1])
    if not hmac.compare_digest(found[2], _digest(body, secret, at)):
        return "the signature does not fit"
    if abs(now - at) > TOLERANCE_SECONDS:
        return "the signature is too old"
    return None


def _digest(body: bytes, secret: str, at: int) -> str:
    return hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
