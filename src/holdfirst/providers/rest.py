# SPDX-License-Identifier: Apache-2.0
"""Staying away from an account for as long as its server asks us to (`Retry-After`)."""

import asyncio
from email.utils import parsedate_to_datetime

from holdfirst.clock import monotonic, wall
from holdfirst.errors import ProviderUnavailable
from holdfirst.providers.outward import Answer

WAIT_SECONDS_MAX = 2.0
"""Asked to wait longer than this, we say that there was no answer, and ask nothing until then."""
REST_SECONDS_MAX = 600.0


class Rest:
    """Of one account, in this process."""

    def __init__(self, who: str) -> None:
        self._who = who
        self._until = 0.0

    async def over(self) -> None:
        """Wait for it, where that is short; raises `ProviderUnavailable` where it is not."""
        left = self._until - monotonic()
        if left > WAIT_SECONDS_MAX:
            raise ProviderUnavailable(f"{self._who} asks us to wait {left:.0f} s")
        if left > 0:
            await asyncio.sleep(left)

    def begin(self, seconds: float) -> None:
        self._until = max(self._until, monotonic() + min(seconds, REST_SECONDS_MAX))


def told_to_wait(answer: Answer, otherwise: float) -> float:
    """`Retry-After`, in seconds or as a date."""
    said = answer.headers.get("retry-after", "")
    if said.isdigit():
        return float(said)
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - wall())
    except (ValueError, TypeError):
        return otherwise
