# SPDX-License-Identifier: Apache-2.0
"""Whose turn it is at a place that answers only so many calls at once: of all processes on this database."""

from datetime import timedelta

import msgspec

from holdfirst.store.database import Tx


class Turn(msgspec.Struct, frozen=True):
    """`token`: of whoever took it last; whoever is late gives nothing back."""

    place: str
    number: int
    token: int


async def take(tx: Tx, place: str, most: int, lasts: timedelta) -> Turn | None:
    """None: all of them are taken, or somebody was quicker; ask again. One statement.

    `lasts` is the same for everybody: whose turn ends later than that took it before the clock stepped back, and has had it.
    """
    row = await tx.row(
        """
        insert into calendar_turn (place, number, until)
        select $1, number, the_clock() + $3 from generate_series(1, $2) number
        where not exists (
            select from calendar_turn one
            where place = $1 and one.number = number.number and until > the_clock() and until <= the_clock() + $3
        )
        order by random() limit 1
        on conflict (place, number) do update set until = excluded.until, token = default
        where calendar_turn.until <= the_clock() or calendar_turn.until > the_clock() + $3
        returning number, token
        """,
        place,
        most,
        lasts,
    )
    return Turn(place, row["number"], row["token"]) if row else None


async def give_back(tx: Tx, turn: Turn) -> None:
    await tx.execute(
        "update calendar_turn set until = the_clock() where place = $1 and number = $2 and token = $3",
        turn.place,
        turn.number,
        turn.token,
    )
