# SPDX-License-Identifier: Apache-2.0
"""A service account's word for itself: a JSON Web Token (RFC 7519, RFC 7523), signed with the key of its JSON file."""

import base64
from collections.abc import Mapping

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from holdfirst.errors import CalendarDenied

GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
LASTS_SECONDS = 3600
"""Google takes none that lasts longer."""


def assertion(secrets: Mapping[str, str], scope: str, audience: str, now: int) -> str:
    """`subject`: whom the account stands in for, where an administrator has let it."""
    claims: dict[str, object] = {
        "iss": secrets["client_email"],
        "scope": scope,
        "aud": audience,
        "iat": now,
        "exp": now + LASTS_SECONDS,
    }
    if secrets.get("subject"):
        claims["sub"] = secrets["subject"]
    header = {"alg": "RS256", "typ": "JWT"}
    if secrets.get("private_key_id"):
        header["kid"] = secrets["private_key_id"]
    text = f"{_encoded(msgspec.json.encode(header))}.{_encoded(msgspec.json.encode(claims))}"
    signature = _key(secrets["private_key"]).sign(text.encode(), PKCS1v15(), SHA256())
    return f"{text}.{_encoded(signature)}"


def _key(pem: str) -> RSAPrivateKey:
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise CalendarDenied("private_key is not a private key in PEM") from error
    if not isinstance(key, RSAPrivateKey):
        raise CalendarDenied("private_key is not an RSA key")
    return key


def _encoded(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()
