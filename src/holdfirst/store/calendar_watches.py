# SPDX-License-Identifier: Apache-2.0
"""Which companies promised to call us when a calendar changes, under which names, and until when."""

import enum
from collections.abc import Sequence
from datetime import datetime

import msgspec

from holdfirst.store.database import Tx


class WatchState(enum.StrEnum):
    OPENING = "opening"
    """Asked for, and the answer is not here yet, or was lost."""
    OPEN = "open"
    REFUSED = "refused"
    """The company does not want to; `problem` says why."""


class KnownWatch(msgspec.Struct, frozen=True, kw_only=True):
    """`heard_at` None: nothing has come through yet, or something changed that nobody told of."""

    id: str
    account_id: str
    calendar_id: str
    state: WatchState
    address: str
    ref: str = ""
    resource: str = ""
    heard_at: datetime | None = None
    renew_at: datetime
    expires_at: datetime
    problem: str | None = None
    created_at: datetime


class Told(msgspec.Struct, frozen=True):
    """Of one calendar. `watched`: a company was asked. `listening`: its calls come through."""

    watched: bool
    listening: bool


async def of_calendar(tx: Tx, calendar_id: str) -> list[KnownWatch]:
    """Newest first."""
    rows = await tx.rows(
        "select * from calendar_watch where calendar_id = $1 order by id desc for update", calendar_id
    )
    return [msgspec.convert(dict(row), KnownWatch) for row in rows]


async def lock(tx: Tx, watch_id: str) -> KnownWatch | None:
    row = await tx.row("select * from calendar_watch where id = $1 for update", watch_id)
    return msgspec.convert(dict(row), KnownWatch) if row else None


async def told(tx: Tx, calendar_id: str) -> Told:
    row = await tx.row(
        """
        select count(*) > 0 as watched, coalesce(bool_or(state = 'open' and heard_at is not null), false) as listening
        from calendar_watch where calendar_id = $1 and expires_at > the_clock()
        """,
        calendar_id,
    )
    assert row is not None
    return Told(row["watched"], row["listening"])


async def put(tx: Tx, watch: KnownWatch) -> None:
    """As it is here, new or not."""
    await tx.execute(
        """
        insert into calendar_watch (
            id, account_id, calendar_id, state, address, ref, resource, heard_at, renew_at, expires_at, problem, created_at
        ) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
        on conflict (id) do update set state = excluded.state, ref = excluded.ref, resource = excluded.resource,
            heard_at = excluded.heard_at, renew_at = excluded.renew_at, expires_at = excluded.expires_at,
            problem = excluded.problem
        """,
        *msgspec.structs.astuple(watch),
    )


async def forget(tx: Tx, watch_ids: Sequence[str]) -> None:
    await tx.execute("delete from calendar_watch where id = any($1)", list(watch_ids))


async def doubt(tx: Tx, calendar_id: str, since: datetime | None) -> None:
    """Something changed there after `since`, and who had not called since then did not tell."""
    await tx.execute(
        "update calendar_watch set heard_at = null where calendar_id = $1 and heard_at < $2",
        calendar_id,
        since,
    )
