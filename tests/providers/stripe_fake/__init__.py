# SPDX-License-Identifier: Apache-2.0
"""Stripe, made up: an ASGI application that refuses what the real one refuses, and fails as it is told to.

shapes.py   requests judged, and answers made, by the types of the `stripe` package itself
books.py    sessions, intents, charges, refunds: the rules
app.py      HTTP: keys, versions, idempotency, faults
"""

from .app import StripeFake
from .books import Books, Refusing

__all__ = ["Books", "Refusing", "StripeFake"]
