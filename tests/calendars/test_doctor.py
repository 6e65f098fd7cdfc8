# SPDX-License-Identifier: Apache-2.0
"""`holdfirst doctor calendars`: every disagreement is found, and repaired."""

from datetime import timedelta

from conftest import Clock
from holdfirst.effects.examine_calendars import examine
from holdfirst.store.database import Database

from .practice import Practice
from .servers import send, vevent
from .test_crashes import assert_settled, make


async def test_a_healthy_calendar_is_written_read_and_left_as_it_was(practice: Practice):
    found = await examine(practice.house.parts.world, repair=False)
    assert found.wrong == []
    assert len([note for note in found.notes if "read back" in note]) == 2
    assert await practice.ours() == [[], []]


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


async def test_a_calendar_that_shuts_us_out_is_said(database: Database, clock: Clock):
    shop = await make(database, clock)
    shop.calendars.denied = True
    found = await examine(shop.world, repair=False)
    assert any("password" in one for one in found.wrong)


async def test_an_orphan_on_a_real_server_is_deleted(practice: Practice):
    held = await practice.held()
    [[text], _] = await practice.ours()
    uid = text.split("UID:")[1].split("\r")[0].split("&")[0].split("\n")[0]
    orphan = uid[:12] + "cd"
    url = f"{practice.calendars[0]}{orphan}.ics"
    assert send("PUT", url, vevent(orphan, "20270101T100000Z", "20270101T110000Z"))[0] in (201, 204)
    found = await examine(practice.house.parts.world, repair=True)
    assert any("belong to nothing" in one for one in found.wrong)
    assert send("GET", url)[0] == 404
    assert (await practice.house.read(held))["status"] == "held"
