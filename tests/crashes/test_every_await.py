# SPDX-License-Identifier: Apache-2.0
"""kill -9 of the server at every await of every flow and effect: what was begun ends right, and nothing is repeated.

The normal run kills once at each `await` that the scenes of a booking come by; `make crash` at each that any scene does.

`HOLDFIRST_IN_FLIGHT=1` also kills it as soon as a statement or a call is on its way, its answer unheard; and each time
that the driver waits within one `await` of ours.
"""

import ast
import asyncio
import contextlib
import os
import uuid
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from calendars.servers import Server
from conftest import Clock, empty
from crashes.conftest import Zygote
from crashes.deeds import DEEDS, START
from crashes.outside import PUBLIC, SETTINGS, move_in, open_outside
from crashes.scenes import SCENES, Case
from crashes.victim import FLOWS_AND_EFFECTS, SOURCE, Place, due, work_to_rest
from holdfirst import wiring
from holdfirst.store import checks
from holdfirst.store.database import Database, Tx
from house import House, open_house

PAST_LEASES = timedelta(seconds=61)
DEATHS_MAX = 400
"""No scene has so many awaits: one that never ends is a bug."""
WITHOUT_A_SCENE_MAX = 0
"""So many awaits no scene comes by; the number may shrink and never grow."""
EACH = "HOLDFIRST_IN_FLIGHT" in os.environ
MODES = ["answered"] + ["in_flight"] * EACH


def letters(folder: Path, held: dict[str, Any]) -> dict[Path, tuple[int, str]]:
    """Each mail about this reservation: its inode, which changes with every copy sent, and what it says."""
    found = {}
    for path in (folder / "mail").glob("*.eml"):
        text = path.read_text()
        if f"Message-ID: <{held['id']}." in text:
            subject = text.split("\nSubject: ")[1].splitlines()[0]
            found[path] = (path.stat().st_ino, subject.partition(":")[0])
    return found


@contextlib.asynccontextmanager
async def open_street(url: str, data_dir: Path, caldav: Server) -> AsyncIterator[House]:
    """A house, and what is outside of it."""
    async with (
        open_outside(caldav) as outside,
        open_house(url, data_dir, PUBLIC, **SETTINGS) as house,
    ):
        house.outside = outside
        move_in(house.parts.world, outside.addresses)
        yield house


def order_of(
    case: Case,
    key: str | None,
    house: House,
    die_at: int | None,
    *,
    spared: Iterable[Place],
    answered: bool,
) -> dict[str, Any]:
    own = {"key": house.keys.get(case.key or "", case.key), "headers": case.headers}
    return own | {
        "method": case.method,
        "path": case.path,
        "body": case.body,
        "headers": case.headers | ({"Idempotency_Key": key} if key else {}),
        "deed": case.deed,
        "before": [own | dict(zip(("method", "path", "body"), one, strict=True)) for one in case.before],
        "addresses": house.outside.addresses,
        "die_at": die_at,
        "spared": list(spared),
        "answered": answered,
        "each": EACH,
    }


async def go_on(house: House, clock: Any, case: Case, key: str | None) -> dict[str, Any] | None:
    """Another server: the client asks again with its key, and a worker works until all is at rest."""
    told = None
    house.outside.mend()
    await clock.shift(PAST_LEASES)
    if case.deed is not None and case.deed != START:
        await DEEDS[case.deed](house.parts)
    if case.path is not None:
        for _ in range(20):
            headers = case.headers | ({"Idempotency_Key": key} if key else {})
            answer = await house.call(case.method, case.path, case.body, case.key, **headers)
            if answer.status_code in case.statuses:
                break
            # Still on its way at the database, or at a provider in trouble: asked again, as answers say.
            assert answer.status_code in (409, 503), answer.text
            assert "retry-after" in answer.headers, (answer.status_code, answer.text)
            await clock.shift(timedelta(seconds=1))
        else:
            raise AssertionError(f"never answered: {answer.status_code} {answer.text}")
        told = answer.json() if answer.content.startswith(b"{") else None
    await work_to_rest(wiring.worker(house.parts), house.parts)
    for seconds in case.waits:
        await clock.shift(timedelta(seconds=seconds))
        if await house.run(due):
            await work_to_rest(wiring.worker(house.parts), house.parts)
    return told


async def ends_right(house: House, case: Case, told: dict[str, Any] | None) -> dict[str, Any] | None:
    held = case.held or (told if case.ends else None)
    if held is None:
        return None
    now = await house.read(held)
    assert now["status"] == case.ends, (now, case)
    # Somebody else's time, if it was taken.
    if case.ref is not None:
        ledger = await house.ledger(case.ref)
        assert ledger["refunded"] == case.refunds, ledger
        payment = next(
            one
            for one in (await house.ask("GET", f"/v1/payments?reservation={held['id']}"))["data"]
            if one["provider_ref"] == case.ref
        )
        assert ledger["captured"] == payment["captured"]["amount_minor"], (ledger, payment)
        assert ledger["refunded"] == payment["refunded"]["amount_minor"], (ledger, payment)
        assert payment["refund_due"]["amount_minor"] == 0, payment
        if now["status"] in ("expired", "released", "cancelled"):
            assert ledger["captured"] == ledger["refunded"], ledger
            assert ledger["captured"] or ledger["authorized"] == ledger["voided"], ledger
        done = [one["operation"] for one in ledger["calls"] if one["answer"] == "done"]
        assert done.count("refund") <= (1 if case.refunds else 0) + 1, ledger
    return now


async def stands_right(house: House, case: Case, now: dict[str, Any] | None) -> None:
    """One event of ours for what is live, and none for what is over."""
    if case.practice is not None:
        live = now is not None and now["status"] in ("held", "processing", "confirmed")
        ours = case.practice.ours()
        assert len(ours) == (int(live) if case.events is None else case.events), ours
    if case.then is not None:
        await case.then(house)


async def is_over(house: House, clock: Clock, case: Case) -> None:
    """So that the next case finds no work but its own, and its clock as it was."""
    if case.after is not None:
        await case.after(house)
    house.outside.mend()
    # Companies' quotas count by this machine's time, which went by no faster.
    move_in(house.parts.world, house.outside.addresses)
    for connection in (await house.ask("GET", "/v1/calendar-connections"))["data"]:
        if connection["status"] == "broken":
            await house.ask("POST", f"/v1/calendar-connections/{connection['id']}/sync")
            await house.settle()
    await clock.reset()
    await house.run(forget)
    for one in house.outside.practices.values():
        one.empty()
    for path in (house.parts.settings.data_dir / "mail").glob("*.eml"):
        path.unlink()


async def forget(tx: Tx) -> None:
    for table in ("job", "refund", "payment", "claim", "calendar_event", "reservation", "sandbox.fault"):
        await tx.execute(f"delete from {table}")
    for table in ("busy", "calendar_item", "outbox", "event"):
        await tx.execute(f"delete from {table}")
    # The clock goes back for the next case; what hosts have seen of it goes too, and turns that last until then.
    await tx.execute("update host set newest_end = '-infinity'")
    await tx.execute("delete from calendar_turn")
    await tx.execute("update calendar set token = null, whole_at = null")
    await tx.execute("update calendar_connection set answered_at = the_clock()")


async def is_healthy(house: House, case: Case) -> None:
    known = {"late_jobs", "needs_human", "refund_due"} if case.human else {"late_jobs"}
    found = [one for one in await house.run(checks.findings) if one.check not in known]
    assert found == [], found


@dataclass
class Stage:
    """Where scenes are played, one after another, each time until somebody dies, and then to its end all the same."""

    house: House
    clock: Clock
    zygote: Zygote

    async def play(
        self, name: str, die_at: int | None, *, spared: Iterable[Place] = (), answered: bool = True
    ) -> tuple[list[Place], int]:
        """(where the victim died, or nothing if it lived; second copies of mails)."""
        house = self.house
        case = await SCENES[name](house, self.clock)
        key = uuid.uuid4().hex if case.path and case.keyed and case.method == "POST" else None
        order = order_of(case, key, house, die_at, spared=spared, answered=answered)
        earlier = self._letters(case.held)
        async with house.working() if case.beside else contextlib.nullcontext():
            died = await asyncio.to_thread(self.zygote.run, order)
        places = [(file, line, column) for file, line, column in died["died_at"] or ()]
        sent, copies = self._letters(case.held), 0
        try:
            async with house.working() if case.beside else contextlib.nullcontext():
                told = await go_on(house, self.clock, case, key)
            now = await ends_right(house, case, told)
            if now is not None:
                after = self._letters(now)
                mails = sorted(subject for _, subject in after.values())
                assert mails == sorted([*case.mails, *(subject for _, subject in earlier.values())])
                copies = sum(after[path][0] != inode for path, (inode, _) in sent.items())
            await stands_right(house, case, now)
            await is_healthy(house, case)
            await is_over(house, self.clock, case)
        except AssertionError as error:
            at = f"at await {die_at}" if die_at else "where none had died"
            raise AssertionError(f"{name}, killed {at} (answered: {answered}): {places}") from error
        return places, copies

    def _letters(self, held: dict[str, Any] | None) -> dict[Path, tuple[int, str]]:
        return letters(self.zygote.data_dir, held) if held else {}


@contextlib.asynccontextmanager
async def open_stage(
    database: Database, clock: Clock, zygote: Zygote, caldav: Server
) -> AsyncIterator[Stage]:
    """Nothing of an earlier scene's is there: no rows, no hours that went by, no company that was called too often."""
    await empty(database)
    await clock.reset()
    async with open_street(database.url, zygote.data_dir, caldav) as house:
        yield Stage(house, clock, zygote)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", SCENES)
async def test_killed_at_every_await(
    name: str, mode: str, database: Database, clock: Clock, figures: Any, zygote: Zygote, caldav: Server
) -> None:
    second_copies = 0
    async with open_stage(database, clock, zygote, caldav) as stage:
        for die_at in range(1, DEATHS_MAX):
            places, copies = await stage.play(name, die_at, answered=mode == "answered")
            second_copies += copies
            if not places:
                break
        else:
            raise AssertionError(f"{name} has no end")
    assert die_at > 1, "no await was met"
    figures("kills at every await", scenes=1, kills=die_at - 1, second_copies_of_mails=second_copies)


def awaits_of_flows_and_effects() -> dict[Place, str]:
    """Where each one stands, and what it says."""
    return {
        (f"{path.parent.name}/{path.name}", node.lineno, node.col_offset): ast.unparse(node)
        for folder in FLOWS_AND_EFFECTS
        for path in sorted(Path(SOURCE, folder).glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Await)
    }


MODULES = sorted({work.__module__.rpartition(".")[2] for work in SCENES.values()})
OF_THE_SEAM = {"bookings"}


@pytest.mark.parametrize(
    "module", [pytest.param(one, marks=[pytest.mark.slow] * (one not in OF_THE_SEAM)) for one in MODULES]
)
async def test_killed_once_at_each_await_of_a_flow_or_effect(
    module: str, database: Database, clock: Clock, figures: Any, zygote: Zygote, caldav: Server
) -> None:
    """Each scene is played until it comes by no place at which nobody has died."""
    died_at, kills, second_copies = set[Place](), 0, 0
    for name in [name for name, work in SCENES.items() if work.__module__.endswith(f".{module}")]:
        async with open_stage(database, clock, zygote, caldav) as stage:
            places: Sequence[Place] = [("", 0, 0)]
            while places:
                places, copies = await stage.play(name, None, spared=died_at)
                second_copies += copies
                kills += bool(places)
                died_at.update(places)
    assert kills > 0
    figures("one kill at each await", kills=kills, second_copies_of_mails=second_copies)


@pytest.mark.slow
async def test_no_await_of_a_flow_or_effect_was_forgotten(
    database: Database, clock: Clock, figures: Any, zygote: Zygote, caldav: Server
) -> None:
    """Whoever adds an await gets a kill there, or is told that no scene comes by. Here each scene lives to its end."""
    awaits, stood_at = awaits_of_flows_and_effects(), set[Place]()
    for work in SCENES.values():
        async with open_stage(database, clock, zygote, caldav) as stage:
            case = await work(stage.house, clock)
            key = uuid.uuid4().hex if case.path and case.keyed and case.method == "POST" else None
            order = order_of(case, key, stage.house, DEATHS_MAX * 10, spared=(), answered=True)
            async with stage.house.working() if case.beside else contextlib.nullcontext():
                lived = await asyncio.to_thread(zygote.run, order)
            stood_at |= {(file, line, column) for file, line, column in lived["stood_at"]}
    missed = {f"{place[0]}:{place[1]} {what}" for place, what in awaits.items() if place not in stood_at}
    figures("kills at every await", awaits=len(awaits), died_at=len(awaits.keys() & stood_at))
    assert len(missed) <= WITHOUT_A_SCENE_MAX, "\n".join(sorted(missed))
