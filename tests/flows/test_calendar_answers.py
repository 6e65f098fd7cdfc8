# SPDX-License-Identifier: Apache-2.0
"""A hold that nobody was told of yet: told of under its key, taken up by a repeat, or given up, whoever comes first."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from conftest import Clock, first_column
from holdfirst.flows import calendar_answers as answers
from holdfirst.reservation.reservation import CalendarVerdict, EndedBy, Reservation, Status
from holdfirst.settings import Limits
from holdfirst.store import idempotency
from holdfirst.store.database import Database, Tx
from shop import Shop, open_shop

from .test_calendar_rows import waits

KEY = ("scope", "key")
LEASE = timedelta(seconds=30)
PROCESSING = "status = 'processing', cause = 'capture'"
CONFIRMED = "status = 'confirmed', confirmed_at = the_clock(), payment_reference = 'till'"
RELEASED = "status = 'released', ended_at = the_clock(), ended_by = 'account', ended_code = 'released'"


async def abandon(tx: Tx, reservation_id: str, key: answers.Key | None) -> None:
    await answers.abandon(tx, reservation_id, key)


async def found_taken(tx: Tx, reservation_id: str, key: answers.Key | None) -> None:
    await answers.found_taken(tx, reservation_id, key, Limits())


ENDS = [abandon, found_taken]
End = Callable[[Tx, str, answers.Key | None], Awaitable[None]]


async def untold(database: Database, **more: Any) -> tuple[Shop, Reservation]:
    """Held, and under its key without an answer."""
    shop = await open_shop(database)
    held = await shop.held(**more)
    await database.run(idempotency.begin, *KEY, b"", LEASE)
    await database.run(idempotency.finish, *KEY, None, {"id": held.id})  # type: ignore[arg-type]
    return shop, held


async def says(database: Database) -> tuple[str, int | None, Any]:
    """What whoever asks under the key is told from now on."""
    return await database.run(idempotency.begin, *KEY, b"", LEASE)


async def test_once_the_calendars_have_answered_it_is_told(database: Database) -> None:
    _, held = await untold(database)
    assert await database.run(answers.answer, held.id, KEY)
    assert await says(database) == ("replay", 201, {"id": held.id})


@pytest.mark.parametrize(
    ("status", "stands"),
    [("status = status", True), (PROCESSING, True), (CONFIRMED, True), (RELEASED, False)],
)
async def test_what_stands_is_taken_up_and_the_key_of_what_is_over_is_free(
    database: Database, status: str, stands: bool
) -> None:
    _, held = await untold(database)
    await first_column(database, f"update reservation set {status} returning id")
    found = await database.run(answers.take_up, held.id, KEY)
    assert (found is not None and found[0].id == held.id) is stands
    assert (await says(database))[0] == ("in_progress" if stands else "fresh")


async def test_what_has_run_out_is_not_taken_up(database: Database, clock: Clock) -> None:
    _, held = await untold(database, hold_seconds=30)
    await clock.shift(timedelta(seconds=31))
    assert await database.run(answers.take_up, held.id, KEY) is None
    assert (await says(database))[0] == "fresh"


async def test_who_takes_it_up_knows_how_it_ended(database: Database) -> None:
    _, held = await untold(database)
    found: list[Any] = []

    async def take_up(tx: Tx) -> None:
        found.append(await answers.take_up(tx, held.id, KEY))

    await waits(
        database, lambda tx: tx.execute(f"update reservation set {RELEASED} where id = $1", held.id), take_up
    )
    assert found == [None]


# Given up


@pytest.mark.parametrize("key", [KEY, None])
@pytest.mark.parametrize("end", ENDS)
async def test_what_is_given_up_is_nobodys_and_nobody_pays_for_it(
    database: Database, end: End, key: answers.Key | None
) -> None:
    shop, held = await untold(database)
    payment = await shop.checkout(held)
    await first_column(database, "delete from job returning key")
    await first_column(
        database, "update reservation set in_calendars = true, calendar_verdict = 'pending' returning id"
    )
    await database.run(end, held.id, key)
    now = await shop.read(held.id)
    assert now.status is Status.RELEASED and now.ended is not None
    if end is abandon:
        assert now.ended.by is EndedBy.ACCOUNT
    else:
        assert now.calendar_verdict is CalendarVerdict.CONFLICT
    assert await first_column(database, "select subject from job where kind = 'close'") == [payment.id]
    assert (await says(database))[0] == ("in_progress" if key is None else "fresh")
    assert isinstance(await shop.reserve(held.start), Reservation)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("status", [201, None])
async def test_what_somebody_was_told_of_stays(database: Database, end: End, status: int | None) -> None:
    """A repeat has answered it; or the key is another hold's by now."""
    shop, held = await untold(database)
    told = {"id": held.id if status else "res_another"}
    await database.run(idempotency.finish, *KEY, status, told)  # type: ignore[arg-type]
    await database.run(end, held.id, KEY)
    assert (await shop.read(held.id)).status is Status.HELD
    assert (await says(database))[0] == ("replay" if status else "in_progress")


@pytest.mark.parametrize("end", ENDS)
async def test_what_ran_out_meanwhile_has_expired(database: Database, clock: Clock, end: End) -> None:
    """Written down, and its key free."""
    _, held = await untold(database, hold_seconds=30)
    await clock.shift(timedelta(seconds=31))
    await database.run(end, held.id, KEY)
    assert await first_column(database, "select status from reservation") == ["expired"]
    assert (await says(database))[0] == "fresh"


@pytest.mark.parametrize("end", ENDS)
async def test_what_was_confirmed_meanwhile_is_not_given_up(database: Database, end: End) -> None:
    shop, held = await untold(database)
    await waits(
        database,
        lambda tx: tx.execute(f"update reservation set {CONFIRMED} where id = $1", held.id),
        lambda tx: end(tx, held.id, KEY),
    )
    assert (await shop.read(held.id)).status is Status.CONFIRMED
