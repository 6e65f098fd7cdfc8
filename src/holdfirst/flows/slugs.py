# SPDX-License-Identifier: Apache-2.0
"""Slugs: the one asked for, or one made from a name, counted on while it is taken."""

from collections.abc import Iterator

from holdfirst.reservation.text import slug_from

TRIES_MAX = 200


def slugs_for(asked: str | None, name: str, kind: str) -> Iterator[str]:
    """What to try, in order: `asked` alone, else `anna`, `anna-2`, `anna-3` and so on."""
    if asked is not None:
        yield asked
        return
    made = slug_from(name) or kind
    yield made
    for count in range(2, TRIES_MAX):
        yield f"{made}-{count}"
