# SPDX-License-Identifier: Apache-2.0
"""Lists: newest first; the cursor is the last id of the page before, and means nothing to anybody else."""

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from holdfirst import ids
from holdfirst.refusal import invalid
from holdfirst.web.problems import Problem
from holdfirst.web.requests import Paging


class Named(Protocol):
    @property
    def id(self) -> str: ...


T = TypeVar("T", bound=Named)


def before(asked: Paging, prefix: str) -> str | None:
    """The cursor, checked."""
    if asked.cursor is not None and not ids.is_id(prefix, asked.cursor):
        raise Problem(invalid("cursor", "is not one that a list answered"))
    return asked.cursor


def one_more(asked: Paging) -> int:
    """One row beyond the page tells whether there is another page."""
    return asked.limit + 1


def page(asked: Paging, found: Sequence[T]) -> tuple[Sequence[T], str | None]:
    """The rows of this page, and the next cursor."""
    shown = found[: asked.limit]
    return shown, shown[-1].id if len(found) > asked.limit else None


def content(rows: Sequence[Any], next_cursor: str | None) -> dict[str, Any]:
    """In the shape of `Page`."""
    return {"data": rows, "next_cursor": next_cursor}
