# SPDX-License-Identifier: Apache-2.0
"""What stands in a calendar against what should, event by event; and what is given up of what we believed."""

from collections.abc import Sequence
from typing import Any

import pytest

from conftest import Clock
from holdfirst.calendar.calendar_event import event_uid
from holdfirst.calendar.provider import Own
from holdfirst.flows import calendar_repair as repair
from holdfirst.flows.calendar_repair import SETTLING, Standing
from holdfirst.store import calendar_events
from holdfirst.store.calendar_events import Written
from holdfirst.store.database import Tx

from .test_calendar_rows import MINUTE, Practice, practice

__all__ = ["practice"]


async def compare(practice: Practice, *own: Own) -> Standing:
    return await practice.database.run(repair.compare, practice.mine[0], own)


def there(uid: str, ref: str = "ref") -> Own:
    return Own(uid, ref, "etag")


def found(standing: Standing) -> tuple[Sequence[Any], ...]:
    """(orphans and duplicates by ref, reservations that are doubled, ghosts, missing)."""
    refs = [[one.ref for one in several] for several in (standing.orphans, standing.duplicates)]
    return (*refs, standing.doubled, standing.ghosts, standing.missing)


async def test_what_is_wanted_is_missing_and_what_is_not_is_a_ghost(practice: Practice, clock: Clock) -> None:
    held, over = await practice.held(9), await practice.held(10)
    mine, left = await practice.written(held), await practice.written(over)
    await practice.shop.release(over)
    # Of what was made a moment ago nothing is said yet.
    assert found(await compare(practice, there(left.uid))) == ([], [], [], [], [])
    await clock.shift(SETTLING + MINUTE)
    assert found(await compare(practice, there(mine.uid))) == ([], [], [], [], [])
    assert found(await compare(practice, there(left.uid))) == ([], [], [], [over.id], [held.id])
    assert found(await compare(practice)) == ([], [], [], [], [held.id])
    await practice.database.run(calendar_events.note_seen, mine, "deleted", None)
    assert found(await compare(practice)) == ([], [], [], [], [])


async def test_what_is_being_written_is_compared_when_that_should_be_over(
    practice: Practice, clock: Clock
) -> None:
    held = await practice.held()
    await clock.shift(SETTLING + MINUTE)

    async def begin(tx: Tx) -> None:
        event = await practice.written(held)
        until = await tx.now() + 5 * MINUTE
        await calendar_events.lease(tx, practice.shop.account_id, [event], until)

    await practice.database.run(begin)
    assert (await compare(practice)).missing == []
    await clock.shift(6 * MINUTE)
    assert (await compare(practice)).missing == [held.id]


async def test_what_belongs_to_nothing_is_an_orphan(practice: Practice) -> None:
    """Whatever is known anywhere belongs to something."""
    mine = await practice.written(await practice.held(9))
    theirs = await practice.written(await practice.held(10, host=1))
    own = [there(mine.uid), there(theirs.uid), there("stray", "away")]
    assert found(await compare(practice, *own))[0] == ["away"]


@pytest.mark.parametrize("etag", ["two e1", "e1", None])
async def test_of_two_under_one_name_the_one_that_was_written_counts(
    practice: Practice, etag: str | None
) -> None:
    """As its company named it; and what there is of generations before is one too many."""
    held = await practice.held()
    calendar = practice.mine[0].id
    before, now, after = [
        event_uid(practice.shop.account_id, held.id, calendar, number) for number in (1, 2, 3)
    ]
    await practice.sql(
        "update calendar_event set etag = $1, uid = $2, generation = 2 where calendar_id = $3",
        etag,
        now,
        calendar,
    )
    event = await practice.written(held)
    own = [there(event.uid, name) for name in ("one", "two")]
    spare = ["one" if etag == "two e1" else "two"]
    assert found(await compare(practice, *own))[:3] == ([], spare, [held.id])
    assert found(await compare(practice, *own, there(before, "before")))[:3] == (
        [],
        [*spare, "before"],
        [held.id],
    )
    assert found(await compare(practice, own[0], there(before, "before")))[:3] == ([], ["before"], [held.id])
    # One that is still to come is nobody's.
    assert found(await compare(practice, own[0], there(after, "after")))[:3] == (["after"], [], [])


async def test_what_was_believed_is_given_up_where_it_is_wrong(practice: Practice) -> None:
    ghost, missing, well = [await practice.held(hour) for hour in (9, 10, 11)]
    standing = Standing(
        orphans=[], duplicates=[], doubled=[], ghosts=[ghost.id], missing=[missing.id], also_as=[]
    )
    await practice.sql("delete from job")
    await practice.database.run(repair.put_right, practice.mine[0], standing)
    states = [(await practice.written(one)).state for one in (ghost, missing, well)]
    assert states == [Written.UNKNOWN, Written.ABSENT, Written.HOLD]
    assert await practice.ask("select subject from job where kind = 'calendars' order by 1") == sorted(
        [ghost.id, missing.id]
    )
