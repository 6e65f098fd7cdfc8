# SPDX-License-Identifier: Apache-2.0
"""A refusal on its way out of a route handler."""

from holdfirst.refusal import Refusal


class Problem(Exception):  # noqa: N818
    """Answered as `application/problem+json`."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.detail)
        self.refusal = refusal
