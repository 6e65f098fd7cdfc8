# SPDX-License-Identifier: Apache-2.0
"""What the laboratory runs is what production runs, and stops besides."""

import asyncio

import asyncpg

from holdfirst.store.database import Database
from races.schedules.builds import CLOCK, NAMES, PRODUCTION, STOP, laboratory, production
from races.schedules.steps import SEGMENTS

SOURCES = "select proname, prosrc from pg_proc where pronamespace = 'public'::regnamespace and prolang in (select oid from pg_language where lanname in ('plpgsql', 'sql')) and prosrc not like '%$libdir%'"


def test_the_builds_differ_in_stops_alone() -> None:
    assert production(laboratory(PRODUCTION)) == CLOCK.sub("", PRODUCTION)
    assert laboratory(PRODUCTION).count("lab.stop(") == len(NAMES) > 10


def test_production_stops_nowhere() -> None:
    assert "lab." not in PRODUCTION
    assert STOP.search(PRODUCTION) is None


def test_every_gate_says_what_lies_behind_it() -> None:
    assert SEGMENTS.keys() == set(NAMES)


async def test_the_databases_differ_in_stops_alone(database: Database, laboratory_url: str) -> None:
    async def functions(url: str) -> dict[str, str]:
        connection = await asyncpg.connect(url)
        try:
            return {row["proname"]: row["prosrc"] for row in await connection.fetch(SOURCES)}
        finally:
            await connection.close()

    theirs, ours = await asyncio.gather(functions(database.url), functions(laboratory_url))
    assert theirs.pop("the_clock") and ours.pop("the_clock")
    assert {name: production(text) for name, text in ours.items()} == theirs
    assert "lab.stop(" in ours["reserve"]
