# SPDX-License-Identifier: Apache-2.0
"""What a booking page's own key may ask: it is told to whoever opens the page, so it opens that page's event type alone.

Made by `KeyRing.page_key`, known again by the doorkeeper (`asker.py`).
"""

from collections.abc import Mapping

from holdfirst.refusal import Code
from holdfirst.web.problems import refuse


def check_page_key(only: str | None, path: Mapping[str, str], body: object) -> None:
    """`only`: the one event type of the key that asks, None for every other key; what lists others is not for it."""
    if only is not None and only != (path.get("event_type") or getattr(body, "event_type", None)):
        raise refuse(Code.FORBIDDEN_FOR_KEY, "This is one booking page's key: it knows its event type alone.")
