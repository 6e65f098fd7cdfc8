# SPDX-License-Identifier: Apache-2.0
"""Keeps a small book of its own: who was told what, and whose money is where. It asks none of the code under test.

`committed` looks at each transaction, `told` at each answer, `at_rest` at the end, when nothing is left to be done.
"""

import asyncio
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from holdfirst.payment.sandbox import State
from holdfirst.reservation.reservation import EndedBy, Reservation, Status
from memory import Memory, MemoryTx
from memory.tables import JobRow
from races.exhaustive.promises import live
from simulation.audited_calendars import Broken, CalendarAuditor
from simulation.company import Company
from simulation.virtual import PROCESS, Process

FOR_EVER = ("advance", "deadline", "sync_calendar")
"""Jobs that may be there when all is done: a look at what may still change."""
OVER = (Status.RELEASED, Status.EXPIRED, Status.CANCELLED)


class Claimed(NamedTuple):
    """A job by its last claim. `whose` None: nobody has it."""

    token: int
    pulls: int
    whose: Process | None


class Left(NamedTuple):
    """A time that was somebody's until it was moved away from."""

    host: str
    start: datetime
    end: datetime
    at: datetime


class Auditor:
    def __init__(self, memory: Memory, company: Company, calendars: CalendarAuditor) -> None:
        self._memory, self._company, self._calendars = memory, company, calendars
        self._rows: dict[str, Reservation] = {}
        self._by_host: dict[str, set[str]] = {}
        self._left: list[Left] = []
        self._charges_seen = 0
        self._sales: set[str] = set()
        self._jobs: dict[str, Claimed] = {}
        self._keyed: dict[str, str] = {}
        self._promised: dict[str, tuple[Status, datetime]] = {}
        self.mails: dict[str, int] = {}
        self.looked = self.answers = self.moves = 0

    # Each commit

    def committed(self, tx: MemoryTx) -> None:
        now = self._memory.clock()
        for name, row in tx.writes.get("reservation", {}).items():
            self.looked += 1
            self._changed(self._rows.get(name), row, now)
            self._rows[name] = row
            for host in row.hosts:
                self._by_host.setdefault(host, set()).add(name)
            if live(row, now):
                self._alone(row, now)
        for name, job in tx.writes.get("job", {}).items():
            self._worked(name, job)
        for payment in tx.writes.get("payment", {}).values():
            if payment.mode.is_sale and payment.id not in self._sales:
                self._sales.add(payment.id)
                self._calendars.decided(self._rows[payment.reservation_id], _moment(), "a sale was opened")
        self.charged(now)

    def _changed(self, before: Reservation | None, row: Reservation, now: datetime) -> None:
        if before is None:
            return
        was, is_ = before.status, row.status
        if (before.start, before.hosts) != (row.start, row.hosts):
            if was not in (Status.HELD, Status.CONFIRMED) or is_ is not was:
                raise Broken(f"{row.id}: {was}, {is_}, and it was moved")
            self._calendars.moved(row, now)
            self._left += [Left(host, before.start, before.end, now) for host in before.hosts]
        if was in (Status.RELEASED, Status.CANCELLED) and is_ is not was:
            raise Broken(f"{row.id}: {was} is final, and it became {is_}")
        if was is Status.CONFIRMED and is_ not in (Status.CONFIRMED, Status.CANCELLED):
            raise Broken(f"P5: {row.id} was confirmed and became {is_}")
        clock = row.ended is not None and row.ended.by is EndedBy.CLOCK
        if was is Status.HELD and is_ is Status.EXPIRED and clock and now < before.held_until:
            raise Broken(f"P4: {row.id} ended before its deadline")
        if is_ is Status.CONFIRMED and was is not Status.CONFIRMED:
            self._by_whose_word(row)
            self._calendars.confirmed(row, _moment())

    def _worked(self, name: str, job: JobRow | None) -> None:
        """P6: how a job ended is said by whoever has claimed it last, and once."""
        known, process = self._jobs.get(name), PROCESS.get()
        same = known is not None and job is not None and (job.token, job.pulls) == (known.token, known.pulls)
        if (job is None or same) and known is not None and known.whose is not process:
            whose = known.whose.name if known.whose is not None else "nobody"
            raise Broken(f"P6: {process.name} ended {name}, which {whose} had")
        if job is None:
            self._jobs.pop(name, None)
            return
        claimed = job.lease_until is not None and (known is None or job.token != known.token)
        wished = known is not None and job.token == known.token and not same
        whose = process if claimed else known.whose if known is not None and wished else None
        self._jobs[name] = Claimed(job.token, job.pulls, whose)

    def _by_whose_word(self, row: Reservation) -> None:
        if not row.priced or row.payment_reference is not None:
            return
        payment = self._memory.tables["payment"].get(row.paid_by)
        checkout = self._company.checkouts.get(payment.provider_ref) if payment is not None else None
        if checkout is None or checkout.captured_minor != row.price.amount_minor:  # type: ignore[union-attr]
            raise Broken(f"P3: {row.id} is confirmed, and the company has not captured its price")

    def _alone(self, row: Reservation, now: datetime) -> None:
        for host in row.hosts:
            for name in list(self._by_host[host]):
                other = self._rows[name]
                if name == row.id or host not in other.hosts:
                    continue
                if not live(other, now):
                    continue
                if other.start < row.end and row.start < other.end:
                    raise Broken(f"P1: {row.id} ({row.status}) and {name} ({other.status}) overlap")

    def charged(self, now: datetime) -> None:
        """P2: each charge that is new, and whether there was a slot for it."""
        new = self._company.charges[self._charges_seen :]
        self._charges_seen = len(self._company.charges)
        for charge in new:
            checkout = self._company.checkouts[charge.ref]
            payment = self._memory.tables["payment"].get(checkout.key)
            row = self._memory.tables["reservation"][payment.reservation_id]
            forced = row.ended is not None and row.ended.by is EndedBy.ACCOUNT
            if not checkout.mode.is_sale and not forced:
                owned = row.paid_by == payment.id and row.status in (Status.PROCESSING, Status.CONFIRMED)
                if not owned:
                    raise Broken(f"P2: {payment.id} was captured while {row.id} is {row.status}")
                self._calendars.decided(row, charge.moment, "captured")

    # Each answer

    def told(self, row: Reservation, now: datetime) -> None:
        """P6: what is told is committed; and P1 by what was told to others."""
        self.answers += 1
        kept = self._memory.tables["reservation"].get(row.id)
        if kept is None:
            raise Broken(f"P6: {row.id} was told, and it is not there")
        if row.status is Status.CONFIRMED and kept.status not in (Status.CONFIRMED, Status.CANCELLED):
            raise Broken(f"P6: {row.id} was told confirmed, and it is {kept.status}")
        if row.status in OVER and row.status is not Status.EXPIRED and kept.status is not row.status:
            raise Broken(f"P6: {row.id} was told {row.status}, and it is {kept.status}")

    def keyed(self, key: str, name: str, now: datetime) -> None:
        """P5: one Idempotency-Key, one reservation, whoever is told of it and whenever."""
        first = self._keyed.setdefault(key, name)
        if first != name and live(self._memory.tables["reservation"][first], now):
            raise Broken(f"P5: one Idempotency-Key made {first} and {name}")
        self._keyed[key] = name

    def replayed(self, name: str) -> None:
        """P7: what the first was told when its calendars had answered, no repeat is told before."""
        row = self._memory.tables["reservation"][name]
        if row.status is Status.HELD:
            self._calendars.held(row, _moment())

    def made(self, row: Reservation) -> None:
        self._calendars.held(row, _moment())

    def moved(self, row: Reservation, start: datetime) -> None:
        if row.start != start:
            raise Broken(f"{row.id} was told moved to {row.start}, and {start} was asked for")
        self.moves += 1

    def taken(self, host: str, start: datetime, end: datetime, since: datetime) -> None:
        """P4: somebody was told that this time is taken; so somebody had it at some moment since it was asked."""
        for name in self._by_host.get(host, ()):
            row = self._rows[name]
            near = host in row.hosts and row.start < end and start < row.end
            if near and (live(row, since) or _ended_since(row, since)):
                return
        if any(
            one.host == host and one.start < end and start < one.end and one.at >= since for one in self._left
        ):
            return
        busy = self._calendars.may_have_been_busy(host, start, end)
        if not busy and not self._given_up(start, end, since):
            raise Broken(f"P4: {start} was refused, and nobody had it")

    def _given_up(self, start: datetime, end: datetime, since: datetime) -> bool:
        """Another host was taken for it, and that host's calendars said no: the hosts beside are not tried."""
        return any(
            row.in_calendars and row.start < end and start < row.end and _ended_since(row, since)
            for row in self._rows.values()
        )

    def mailed(self, message_id: str, subject: str) -> None:
        self.mails[message_id] = self.mails.get(message_id, 0) + 1

    # The end

    def at_rest(self) -> None:
        tables = self._memory.tables
        left = [row.key for row in tables["job"].values() if row.kind not in FOR_EVER]
        if left:
            raise Broken(f"P6: never done: {sorted(left)[:5]}")
        for payment in tables["payment"].values():
            self._settled(payment, tables["reservation"][payment.reservation_id])
        for row in tables["reservation"].values():
            if row.status in (Status.HELD, Status.PROCESSING):
                raise Broken(f"P4: {row.id} is {row.status} for ever")
            told = [name for name in self.mails if name.startswith(f"<{row.id}.confirmed")]
            if row.confirmed_at is not None and not told:
                raise Broken(f"P6: {row.id} was confirmed, and nobody was told")
        self._calendars.at_rest(tables["reservation"].values())

    def _settled(self, payment: Any, row: Reservation) -> None:
        checkout = self._company.checkouts.get(payment.provider_ref)
        if checkout is None:
            if payment.provider_ref is None and f"ref_{payment.id}" in self._company.checkouts:
                raise Broken(f"P6: the checkout of {payment.id} is not known")
            return
        kept = checkout.captured_minor - checkout.refunded_minor
        owns = row.paid_by == payment.id and row.status in (Status.CONFIRMED, Status.CANCELLED)
        if payment.refund_due_minor:
            raise Broken(f"P2: {payment.id} owes {payment.refund_due_minor} for ever")
        if kept != payment.kept_minor:
            raise Broken(f"P2: {payment.id}: kept {payment.kept_minor}, at the company {kept}")
        if kept and not owns:
            raise Broken(f"P2: money of {payment.id} is kept, and {row.id} ({row.status}) does not own it")
        if checkout.state is State.AUTHORIZED:
            raise Broken(f"P2: the authorisation of {payment.id} hangs")
        if checkout.state is State.OPEN and checkout.mode.can_be_closed:
            raise Broken(f"P2: the checkout of {payment.id} is open, and {row.id} is {row.status}")


def _moment() -> float:
    return asyncio.get_running_loop().time()


def _ended_since(row: Reservation, since: datetime) -> bool:
    return row.status in OVER and row.ended is not None and row.ended.at >= since - timedelta(seconds=1)
