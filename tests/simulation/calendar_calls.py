# SPDX-License-Identifier: Apache-2.0
"""Random calls of the store's calendar functions, for `test_memory.py`: one host has two calendars, another has one."""

import random
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from holdfirst.calendar.calendar_event import Change
from holdfirst.reservation.reservation import CalendarVerdict
from holdfirst.store import calendar_access, calendar_events, calendar_items, calendar_watches, calendars
from holdfirst.store.calendar_events import Written, WrittenEvent
from holdfirst.store.calendars import (
    Calendar,
    Connection,
    ConnectionStatus,
    WhenBroken,
    WhenDeleted,
    WhenMoved,
)
from memory import MemoryTx

CALENDARS = ((0, "cal_0", True), (0, "cal_1", False), (1, "cal_2", True))
"""Host, name, and whether confirmed reservations go there."""


def connection_of(account_id: str, host_id: str, name: str, at: datetime) -> Connection:
    return Connection(
        id=f"con_{name}",
        account_id=account_id,
        host_id=host_id,
        provider="caldav",
        status=ConnectionStatus.ACTIVE,
        sealed_credentials=b"sealed",
        server={},
        owners=(),
        when_broken=WhenBroken.CLOSE,
        when_moved=WhenMoved.FLAG,
        when_deleted=WhenDeleted.RESTORE,
        problem=None,
        problem_since=None,
        answered_at=at,
        created_at=at,
    )


def calendar_of(connection: Connection, name: str, *, destination: bool) -> Calendar:
    return Calendar(
        id=name,
        account_id=connection.account_id,
        connection_id=connection.id,
        host_id=connection.host_id,
        ref=name,
        name=name,
        time_zone="UTC",
        writable=True,
        blocking=True,
        destination=destination,
        token=None,
        whole_at=None,
        read_at=None,
        notes=(),
    )


class CalendarCalls:
    """`both`: runs a step on memory and on PostgreSQL, and compares."""

    def __init__(self, both: Any) -> None:
        self.both = both
        self.random: random.Random = both.random
        self.leased: list[tuple[WrittenEvent, WrittenEvent]] = []
        """As memory and as PostgreSQL named them: tokens only have to differ, and each store has its own."""

    async def furnish(self, tx: Any) -> None:
        for table in ("busy", "calendar_item", "calendar", "calendar_connection"):
            await tx.execute(f"delete from {table}")
        tables, shop = self.both.memory.tables, self.both.shop
        for number, host in enumerate(shop.hosts):
            made = connection_of(shop.account_id, host, str(number), self.both.moment)
            await calendars.insert_connection(tx, made)
            tables["connection"][made.id] = made
        for host, name, destination in CALENDARS:
            one = calendar_of(tables["connection"][f"con_{host}"], name, destination=destination)
            await calendars.insert_calendar(tx, one)
            tables["calendar"][name] = one

    def calendar(self) -> Calendar:
        found: Calendar = self.both.memory.tables["calendar"][self.random.choice(CALENDARS)[1]]
        return found

    async def events(self) -> None:
        """What is planned, leased and recorded; sometimes by who has lost the lease."""
        same, chance, held = self.both.same, self.random, self.random.choice(self.both.held)
        account, wanted = self.both.shop.account_id, chance.sample([name for _, name, _ in CALENDARS], 2)
        found = await self._events_of(held)
        known = {one.calendar_id for one in found}
        found += [
            calendar_events.not_written(account, held, one) for one in sorted(wanted) if one not in known
        ]
        if chance.random() < 0.7:
            until = self.both.moment + timedelta(seconds=40)
            leased: dict[bool, list[WrittenEvent]] = {}

            async def lease(tx: Any) -> list[WrittenEvent]:
                mine = await calendar_events.lease(tx, account, found, until)
                leased[isinstance(tx, MemoryTx)] = mine
                return [_without_token(one) for one in mine]

            await same("lease", lease)
            self.leased += zip(leased[True], leased[False], strict=True)
        chance.shuffle(self.leased)
        for _ in range(min(chance.randrange(3), len(self.leased))):
            await self._recorded(self.leased.pop(), account)
        uids = [one.uid for one in found] + ["of nobody"]
        for name in wanted:
            await same("by_uid", lambda tx, name=name: self._by_uid(tx, name, uids))
        await same("known", lambda tx: _sorted(calendar_events.known(tx, uids)))
        if chance.random() < 0.2:
            await same("sweep", _swept)

    async def _events_of(self, held: str) -> list[WrittenEvent]:
        async def step(tx: Any) -> list[WrittenEvent]:
            return [_without_token(one) for one in await calendar_events.of_reservation(tx, held)]

        found: list[WrittenEvent] = await self.both.same("of_reservation", step)
        return found

    async def _by_uid(self, tx: Any, name: str, uids: list[str]) -> dict[str, WrittenEvent]:
        found = await calendar_events.by_uid(tx, name, uids)
        return {uid: _without_token(one) for uid, one in found.items()}

    async def _recorded(self, pair: tuple[WrittenEvent, WrittenEvent], account: str) -> None:
        chance = self.random
        turn, state, doubtful = chance.randrange(5), chance.choice(list(Written)), chance.random() < 0.5

        async def step(tx: Any) -> None:
            event = pair[0] if isinstance(tx, MemoryTx) else pair[1]
            if turn == 0:
                await calendar_events.next_generation(tx, event, account)
                return
            after = replace(event, state=state, fingerprint="as it is", etag="e1")
            if turn == 1:
                after = calendar_events.next_of(event, account)
            ended = calendar_events.Ended(after, doubtful=doubtful)
            await calendar_events.record(tx, [ended], timedelta(seconds=60))

        await self.both.same("record", step)

    async def seen(self) -> None:
        """What a reading does to what we wrote."""
        same, chance, held = self.both.same, self.random, self.random.choice(self.both.held)
        for event in await self._events_of(held):
            match chance.randrange(5):
                case 0:
                    word = chance.choice((None, "moved", "deleted"))
                    await same(
                        "seen",
                        lambda tx, one=event, word=word: calendar_events.note_seen(tx, one, word, "e2"),
                    )
                case 1:
                    await same("missing", lambda tx, one=event: calendar_events.mark_missing(tx, one))
                case 2:
                    await same("doubt", lambda tx, one=event: calendar_events.doubt(tx, one))
                case 3:
                    await same("call_off", lambda tx, one=event: calendar_events.call_off(tx, one))
                case _:
                    pass
        await same("changed_by_host", lambda tx: calendar_events.changed_by_host(tx, held))
        name = self.calendar().id
        back = timedelta(minutes=chance.choice((1, 10, 60)))
        await same("called_off", lambda tx: calendar_events.called_off_within(tx, name, back))
        until = self.both.first + chance.randrange(4) * timedelta(minutes=30)
        await same("standing", lambda tx: calendar_events.standing(tx, name, until))

    async def reading(self) -> None:
        """What stands in a calendar, and whose holds it meets."""
        same, chance, calendar = self.both.same, self.random, self.calendar()
        start = self.both.first + chance.randrange(4) * timedelta(minutes=30)
        span = (start, start + timedelta(minutes=chance.choice((30, 60, 11 * 24 * 60))))
        refs = chance.sample(("a", "b 1", "c"), 2)
        changes = [Change(ref=ref, etag="e", uid=ref, busy=[span] * chance.randrange(3)) for ref in refs]
        await same("put_items", lambda tx: calendar_items.put_items(tx, calendar, changes))
        if chance.random() < 0.8:
            # Nearly always: busy time that stays would leave nothing to hold.
            await same("drop_items", lambda tx: calendar_items.drop_items(tx, calendar, refs))
        await same("known_items", lambda tx: calendar_items.known_items(tx, calendar.id))
        token, whole = chance.choice((None, "7")), chance.choice((None, self.both.moment))
        at, notes = self.both.moment, chance.choice(((), ("odd",)))
        await same(
            "reading", lambda tx: calendar_items.record_reading(tx, calendar.id, token, at, whole, notes)
        )
        host = calendar.host_id
        await same("clean_within", lambda tx: _sorted(calendar_events.clean_within(tx, host, [span])))
        await same("flagged", lambda tx: _sorted(calendar_events.flagged(tx, host)))
        await same("told", lambda tx: calendar_watches.told(tx, calendar.id))

    async def connections(self) -> None:
        same, chance, calendar = self.both.same, self.random, self.calendar()
        hosts = chance.sample(self.both.shop.hosts, chance.choice((1, 2)))
        connection = await same("lock", lambda tx: calendars.lock_connection(tx, calendar.connection_id))
        status = chance.choice(list(ConnectionStatus))
        after = replace(connection, status=status, problem="away", problem_since=self.both.moment)
        await same("save_connection", lambda tx: calendars.save_connection(tx, after))
        await same("refuses", lambda tx: calendar_access.refuses_writes(tx, calendar.id, "403"))
        if chance.random() < 0.5:
            word = chance.choice((None, "no answer"))
            await same("note_writing", lambda tx: calendar_access.note_writing(tx, calendar.id, word))
        await same("note_reading", lambda tx: calendar_access.note_reading(tx, calendar.id, "404"))
        zone = chance.choice((calendar.time_zone, "Europe/Prague"))
        latest = replace(
            calendar,
            name="other",
            time_zone=zone,
            writable=chance.random() < 0.5,
            read_problem=chance.choice((None, "403")),
        )
        await same("relist", lambda tx: calendar_access.relist(tx, latest))
        await same("left_standing", lambda tx: calendar_access.left_standing(tx, calendar.id))
        await same("calendars_of", lambda tx: calendars.calendars_of(tx, calendar.connection_id))
        await same("of_hosts", lambda tx: calendars.calendars_of_hosts(tx, hosts))
        await same("is_live", lambda tx: calendars.is_live(tx, calendar.id))
        await same("load_calendar", lambda tx: calendars.load_calendar(tx, calendar.id))
        span = (self.both.first, self.both.first + timedelta(hours=1))
        await same("close_host", lambda tx: calendars.close_host(tx, connection, *span))
        if chance.random() < 0.8:
            await same("open_host", lambda tx: calendars.open_host(tx, connection))

    async def look(self) -> None:
        """Every row, at the end."""
        same = self.both.same
        for held in self.both.held:
            await self._events_of(held)
        for _, name, _ in CALENDARS:
            await same("calendar", lambda tx, name=name: calendars.load_calendar(tx, name))
            await same("items", lambda tx, name=name: calendar_items.known_items(tx, name))

    def judged(self) -> dict[str, Any]:
        """Of a reservation's row: that it is in calendars, and what they said."""
        verdict = self.random.choice((None, *CalendarVerdict))
        return {"in_calendars": True, "calendar_verdict": verdict, "verified_at": self.both.moment}


async def _swept(tx: Any) -> None:
    await calendar_events.sweep(tx)


def _without_token(event: WrittenEvent) -> WrittenEvent:
    return replace(event, token=0)


async def _sorted(asked: Any) -> list[Any]:
    return sorted(await asked)
