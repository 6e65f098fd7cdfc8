# SPDX-License-Identifier: Apache-2.0
"""Ids: a prefix that names the kind, then 48 bits of time and 80 of randomness.

The shape is ULID's (https://github.com/ulid/spec), in lower-case Crockford base 32: rows made together lie
together in an index, and nobody guesses one. Opaque to clients all the same.
"""

import secrets
import time

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
PAIRS = [first + second for first in ALPHABET for second in ALPHABET]
LENGTH = 26


def make(prefix: str) -> str:
    """A fresh id such as `res_01k9v5…` for the prefix `res`."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(secrets.token_bytes(10))
    return prefix + "_" + "".join([PAIRS[value >> shift & 1023] for shift in range(120, -10, -10)])


def is_id(prefix: str, text: str) -> bool:
    """Whether `text` has the shape of an id of this kind (says nothing about existence)."""
    head, _, tail = text.partition("_")
    return head == prefix and len(tail) == LENGTH and set(tail) <= set(ALPHABET)
