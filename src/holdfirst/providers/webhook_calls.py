# SPDX-License-Identifier: Apache-2.0
"""The HTTP of outgoing webhooks: a POST to an address that an account chose, and nothing followed."""

from collections.abc import Mapping

from holdfirst.errors import CalendarDenied, ProviderUnavailable
from holdfirst.providers.outward import Outward

ANSWER_BYTES_MAX = 1 << 20
SECONDS_MAX = 15.0


class WebhookCalls:
    """Made once, over the guards of an `Outward` that follows nothing."""

    def __init__(self, outward: Outward) -> None:
        self._outward = outward

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """The status that was answered. A redirect is an answer: what we sign is for that address alone."""
        try:
            answer = await self._outward.ask(
                "POST", url, headers=headers, content=body, seconds=SECONDS_MAX, size_max=ANSWER_BYTES_MAX
            )
        except CalendarDenied as error:
            raise ProviderUnavailable(str(error)) from error
        return answer.status
