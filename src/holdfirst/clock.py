# SPDX-License-Identifier: Apache-2.0
"""The process's own clock, for what is about this process alone: waiting, throttling, measuring.

Decisions about reservations and money use the database's clock (`the_clock()` in store/functions.sql).
"""

import time


def monotonic() -> float:
    """Seconds since some fixed moment; only differences mean anything."""
    return time.monotonic()


def wall() -> float:
    """Seconds since the epoch by this machine's clock; for signatures of notifications and the stamps of what we send."""
    return time.time()
