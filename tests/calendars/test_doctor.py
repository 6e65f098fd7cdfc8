# SPDX-License-Identifier: Apache-2.0
"""`holdfirst doctor calendars`: every disagreement is found, and repaired."""

import asyncio
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from conftest import Clock
from holdfirst.effects import examine_calendars
from holdfirst.effects.examine_calendars import examine
from holdfirst.flows.calendar_repair import compare
from holdfirst.store import calendar_events, calendars
from holdfirst.store.database import Database
from processes.running import command
from shop import open_shop

from .practice import Practice, texts_in
from .servers import send, vevent
from .test_crashes import assert_settled, make, release


async def test_a_healthy_calendar_is_written_read_and_left_as_it_was(practice: Practice):
    found = await examine(practice.house.parts.world, repair=False)
    assert found.wrong == []
    assert len([note for note in found.notes if "read back" in note]) == 2
    assert await practice.ours() == [[], []]


async def test_the_command_says_what_it_finds_and_how_it_ends(
    practice: Practice, database: Database, tmp_path: Path, clock: Clock
):
    """A healthy pair of servers; then one that holds what it should not, lacks what it should, and shuts us out."""

    async def doctor(*more: str) -> tuple[int, str]:
        words = ("doctor", "calendars", *more, "--data-dir", str(tmp_path))
        done = await asyncio.to_thread(command, *words, DATABASE_URL=database.url)
        assert done.stderr == ""
        return done.returncode, done.stdout

    status, said = await doctor()
    assert (status, said.count("read back")) == (0, 2), said
    over, missing = await practice.held(hold_seconds=30), await practice.held()
    [texts, _] = await practice.ours()
    name = next(one for one in map(uid_of, texts) if one)
    orphan = name[:12] + "cd"
    url = f"{practice.calendars[1]}{orphan}.ics"
    assert send("PUT", url, vevent(orphan, "20270101T100000Z", "20270101T110000Z"))[0] in (201, 204)
    [lost] = [uid_of(one) for one in texts if stamp(missing) in one]
    assert send("DELETE", f"{practice.calendars[0]}{lost}.ics")[0] in (200, 204)
    await clock.shift(timedelta(seconds=61))
    status, said = await doctor()
    assert status == 1
    for words in (
        "1 events of ours that belong to nothing",
        f"events of reservations that are over: {over['id']}",
        f"reservations that should stand here and do not: {missing['id']}",
    ):
        assert words in said, said
    assert (await doctor("--repair"))[0] == 1
    await clock.shift(timedelta(seconds=61))
    await practice.house.settle()
    assert (await doctor())[0] == 0
    assert [len(one) for one in await practice.ours()] == [1, 1]

    # Radicale asks for a password; this one is its host's no more.
    connection = practice.connections[0]
    changed = msgspec.json.encode(practice.servers[0].secrets | {"password": "changed"})
    sealed = practice.house.parts.world.key_ring.seal(changed, connection)
    async with database.statement() as tx:
        await tx.execute(
            "update calendar_connection set sealed_credentials = $2 where id = $1", connection, sealed
        )
    status, said = await doctor()
    assert status == 1 and "the name or the password is not accepted" in said


def uid_of(text: str) -> str:
    return text.split("UID:")[1].split("\n", 1)[0].removesuffix("\r").removesuffix("&#13;")


def stamp(held: dict[str, Any]) -> str:
    return f"DTSTART:{datetime.fromisoformat(held['start']):%Y%m%dT%H%M%SZ}"


async def test_every_disagreement_is_found_and_repaired(database: Database, clock: Clock):
    shop = await make(database, clock)
    await shop.held(shop.slot(9), hold_seconds=900)
    over = await shop.held(shop.slot(10), hold_seconds=30)
    await clock.shift(timedelta(seconds=61))
    missing, ghost = sorted(shop.calendars.ours()["one"], key=lambda entry: entry.start)
    shop.calendars.take("one", missing.uid)
    shop.calendars.put("two", missing.uid[:12] + "ab", shop.slot(12), shop.slot(13))
    found = await examine(shop.world, repair=False)
    said = "\n".join(found.wrong)
    assert "1 events of ours that belong to nothing" in said
    assert f"over: {over.id}" in said
    assert "do not: res_" in said
    await examine(shop.world, repair=True)
    await assert_settled(shop, clock)
    assert (await examine(shop.world, repair=False)).wrong == []
    assert ghost.uid


async def test_the_test_event_is_looked_for_with_growing_pauses(
    database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
):
    shop = await make(database, clock)
    monkeypatch.setattr(examine_calendars, "READ_BACK_SECONDS_MAX", 0.5)
    shop.calendars.lag = 10
    found = await examine(shop.world, repair=False)
    assert len([one for one in found.notes if "choose calendar_check strict" in one]) == 2
    # 0, 50, 150, 350 ms after it was written, in each of two.
    assert 4 <= shop.calendars.calls["busy"] <= 8


async def test_a_calendar_that_shuts_us_out_is_said(database: Database, clock: Clock):
    shop = await make(database, clock)
    shop.calendars.denied = True
    found = await examine(shop.world, repair=False)
    assert any("password" in one for one in found.wrong)


async def test_an_orphan_on_a_real_server_is_deleted(practice: Practice):
    held = await practice.held()
    [[text], _] = await practice.ours()
    orphan = uid_of(text)[:12] + "cd"
    url = f"{practice.calendars[0]}{orphan}.ics"
    assert send("PUT", url, vevent(orphan, "20270101T100000Z", "20270101T110000Z"))[0] in (201, 204)
    found = await examine(practice.house.parts.world, repair=True)
    assert any("belong to nothing" in one for one in found.wrong)
    assert send("GET", url)[0] == 404
    assert (await practice.house.read(held))["status"] == "held"


@pytest.mark.parametrize("which", [0, 1])
async def test_one_that_came_back_out_of_a_bin_is_one_too_many(practice: Practice, which: int):
    """Deleted by the host, written again by us, and put back by the host: two events for one reservation."""
    world, house = practice.house.parts.world, practice.house
    for number, one in enumerate(practice.connections):
        [mine] = (await house.ask("GET", f"/v1/calendar-connections/{one}"))["blocking"]
        receives = {"destination": mine if number == which else None, "when_deleted": "restore"}
        await house.ask("PATCH", f"/v1/calendar-connections/{one}", receives)
    held = await practice.held()
    assert (await house.verb(held, "confirm")).status_code == 200
    await house.settle()
    url = practice.calendars[which]
    [text] = (await practice.ours())[which]
    name = uid_of(text)
    await practice.sync()
    _, _, before = send("GET", f"{url}{name}.ics")
    assert send("DELETE", f"{url}{name}.ics")[0] in (200, 204)
    await practice.sync()
    await house.settle()
    [again] = texts_in(url)
    assert name not in again
    assert send("PUT", f"{url}{name}.ics", before)[0] in (201, 204)

    found = await examine(world, repair=False)
    assert [one for one in found.wrong if "more than one event" in one and held["id"] in one]
    assert not [one for one in found.wrong if "belong to nothing" in one]
    assert len(texts_in(url)) == 2
    await examine(world, repair=True)
    assert (await examine(world, repair=False)).wrong == []
    [left] = texts_in(url)
    assert name not in left
    assert (await house.read(held))["status"] == "confirmed"


async def test_a_calendar_that_is_connected_twice_is_said(database: Database, clock: Clock):
    shop = await make(database, clock)
    await shop.connect()
    await shop.work()
    held = await shop.held()
    found = await examine(shop.world, repair=True)
    # Nothing that is to be deleted: each connection keeps its own.
    assert len([one for one in found.wrong if "connected twice" in one]) == 4
    assert len(shop.calendars.ours()["one"]) == 2
    await release(shop, held)
    await shop.work()
    assert (await examine(shop.world, repair=False)).wrong == []


async def test_what_is_under_way_or_was_the_hosts_doing_is_not_missing(database: Database, clock: Clock):
    shop = await open_shop(database)
    connection = await shop.connect()
    one = await shop.sold()
    await shop.work()
    found = await database.run(calendars.calendars_of, connection)
    [place] = [known for known in found if known.destination]

    async def missing() -> list[str]:
        return list((await database.run(compare, place, [])).missing)

    assert await missing() == []
    await clock.shift(timedelta(minutes=2))
    assert await missing() == [one.id]
    [written] = await database.run(calendar_events.of_calendar, place.id)
    [leased] = await database.run(calendar_events.lease, shop.account_id, [written], one.start)
    assert await missing() == []
    await database.run(calendar_events.record, [calendar_events.Ended(leased)], timedelta(0))
    assert await missing() == [one.id]
    await database.run(calendar_events.note_seen, leased, "deleted", None)
    assert await missing() == []
