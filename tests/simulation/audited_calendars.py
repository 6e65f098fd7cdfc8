# SPDX-License-Identifier: Apache-2.0
"""P7 by the calendars' own books: what was written there, what they showed to whom, and what they hold at the end."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from itertools import takewhile

from holdfirst.calendar.calendar_event import EventState
from holdfirst.reservation.event_type import CalendarCheck, OnConflict
from holdfirst.reservation.reservation import Reservation, Status
from simulation.calendars import Calendars, Reading

AGE_SECONDS_MAX = {CalendarCheck.FAST: 10.0, CalendarCheck.VERIFIED: 10.0, CalendarCheck.STRICT: 5.0}
"""How old what the calendars showed may be where it decides (docs/calendars.md)."""
SETTLE_SECONDS = 5.0
ON_ITS_WAY_SECONDS = 2.0
"""From the decision to its commit, or to the company that takes the money."""
WAITS = (CalendarCheck.VERIFIED, CalendarCheck.STRICT)


class Broken(AssertionError):
    """A promise."""


class CalendarAuditor:
    """`check` None: nobody has a calendar."""

    def __init__(
        self,
        calendars: Mapping[str, Calendars],
        check: CalendarCheck | None,
        on_conflict: OnConflict,
        begin: datetime,
    ) -> None:
        self._calendars, self._check, self._on_conflict = calendars, check, on_conflict
        self._begin = begin
        self._moved: dict[str, datetime] = {}
        self.decisions = 0

    def moved(self, row: Reservation, now: datetime) -> None:
        """What was shown before was about another time. Decided a moment before it is committed."""
        self._moved[row.id] = now - timedelta(seconds=ON_ITS_WAY_SECONDS)

    def held(self, row: Reservation, moment: float) -> None:
        """Somebody was told that it is theirs: it has been in every calendar, and each was read after that."""
        if self._check not in WAITS:
            return
        since = self._moment_of(row.created_at)
        for _host, calendars in self._of(row):
            for ref in calendars.shelves:
                wrote = [one.moment for one in calendars.wrote if one.ref == ref and one.start == row.start]
                if not any(since <= one <= moment for one in wrote):
                    raise Broken(f"P7: {row.id} was told held, and {ref} does not have it")
        self._shown_clean(row, since, moment, "told held")

    def confirmed(self, row: Reservation, moment: float) -> None:
        money_is_here = row.paid_by is not None
        if money_is_here and self._on_conflict is OnConflict.CONFIRM_AND_FLAG:
            return
        self.decided(row, moment, "confirmed")

    def decided(self, row: Reservation, moment: float, what: str) -> None:
        """Money, or a promise for good: each calendar has just shown that nothing else is there."""
        if self._check is None or self._check is CalendarCheck.LOCAL:
            return
        since = moment - AGE_SECONDS_MAX[self._check] - ON_ITS_WAY_SECONDS
        if self._check is CalendarCheck.STRICT:
            since = max(since, self._moment_of(self._moved.get(row.id, row.created_at)) + SETTLE_SECONDS)
        self._shown_clean(row, since, moment, what)

    def _shown_clean(self, row: Reservation, since: float, moment: float, what: str) -> None:
        for _host, calendars in self._of(row):
            self.decisions += 1
            recent = takewhile(lambda one: one.moment >= since, reversed(calendars.readings))
            clean = {one.ref for one in recent if one.clean and _covers(one, row) and one.moment <= moment}
            if missing := sorted(calendars.shelves.keys() - clean):
                raise Broken(f"P7: {row.id} was {what}, and {missing[0]} had not said that it is free")

    def may_have_been_busy(self, host: str, start: datetime, end: datetime) -> bool:
        """Something of somebody else's was in the way at some time, or the host was closed because nobody could say."""
        calendars = self._calendars.get(host)
        if calendars is None:
            return False
        in_the_way = any(first < end and last > start for first, last in calendars.strange)
        return in_the_way or calendars.been_away

    def at_rest(self, rows: Iterable[Reservation]) -> None:
        """Ours in each calendar: what is confirmed, once, where confirmed ones go; and nothing else."""
        rows = list(rows)
        for host, calendars in self._calendars.items():
            firm = [row for row in rows if host in row.hosts and row.status is Status.CONFIRMED]
            for number, (ref, shelf) in enumerate(calendars.shelves.items()):
                wanted = Counter((row.start, row.end, EventState.CONFIRMED) for row in firm if number == 0)
                there = Counter(
                    (one.start, one.end, one.state)
                    for uid, one in shelf.items()
                    if uid.startswith(calendars.mark)
                )
                if there - wanted:
                    raise Broken(f"P7: {ref} has what nobody wants: {sorted(there - wanted)[:3]}")
                if wanted - there:
                    raise Broken(f"P7: {ref} does not have what is confirmed: {sorted(wanted - there)[:3]}")

    def _of(self, row: Reservation) -> Iterable[tuple[str, Calendars]]:
        return [(host, self._calendars[host]) for host in row.hosts if host in self._calendars]

    def _moment_of(self, at: datetime) -> float:
        return (at - self._begin) / timedelta(seconds=1)


def _covers(one: Reading, row: Reservation) -> bool:
    return one.start <= row.start and row.end <= one.end
