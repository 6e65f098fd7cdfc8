# SPDX-License-Identifier: Apache-2.0
"""How often one account may be called: under Google's quota by ourselves, and not while Google asks us to wait."""

import asyncio
import random
from collections import deque

from holdfirst.clock import monotonic
from holdfirst.errors import ProviderUnavailable

MINUTE = 60.0
PER_MINUTE_MAX = 540
"""Of the 600 that Google grants each user of a project: other machines of ours may call as well."""
WAITED_SECONDS_MAX = 3.0
"""Who has to wait longer is told that there is no answer, and comes again."""
REST_SECONDS_MAX = 64.0


class Pace:
    """Of one account, in this process."""

    def __init__(self) -> None:
        self._calls: deque[float] = deque()
        self._rests_until = 0.0
        self._refused = 0

    async def turn(self) -> None:
        """Wait for it, where that is short; raises `ProviderUnavailable` where it is not."""
        waited = 0.0
        while (wait := self._wait()) > 0:
            waited += wait
            if waited > WAITED_SECONDS_MAX:
                raise ProviderUnavailable("Google asks us to call less often")
            await asyncio.sleep(wait)
        self._calls.append(monotonic())

    def answered(self) -> None:
        self._refused = 0

    def refused(self, retry_after: str) -> None:
        """Rest as long as Google says, else longer each time."""
        self._refused += 1
        grown = min(REST_SECONDS_MAX, 2.0 ** min(self._refused - 1, 10)) * random.uniform(0.5, 1)  # noqa: S311  # spreads load
        rest = float(retry_after) if retry_after.isdecimal() and len(retry_after) < 6 else grown
        self._rests_until = max(self._rests_until, monotonic() + rest)

    def _wait(self) -> float:
        now = monotonic()
        while self._calls and self._calls[0] <= now - MINUTE:
            self._calls.popleft()
        full = self._calls[0] + MINUTE - now if len(self._calls) >= PER_MINUTE_MAX else 0.0
        return max(full, self._rests_until - now)
