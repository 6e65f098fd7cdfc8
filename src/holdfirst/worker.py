# SPDX-License-Identifier: Apache-2.0
"""The worker: claims jobs and runs effects. Wakes by the doorbell, by a timer on the next due time, and by itself.

Nothing that is promised rests on a worker being there: a hold is over by the clock, whoever looks.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Concatenate, ParamSpec, TypeVar

import asyncpg
import msgspec
import structlog

from holdfirst import ids
from holdfirst.effects import (
    advance,
    connect_calendar,
    follow_host,
    hold_calendars,
    payees,
    refund,
    renew_access,
    send_mail,
    sync_calendar,
    tell_host,
    watch_calendars,
)
from holdfirst.effects.world import World
from holdfirst.errors import HoldfirstError, ProviderUnavailable
from holdfirst.flows import expire, wake
from holdfirst.logs import places
from holdfirst.store import calendar_events, events, jobs
from holdfirst.store.database import Tx
from holdfirst.store.doorbell import Doorbell
from holdfirst.store.jobs import LOOK_SECONDS_MAX, Finished, Job

log = structlog.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")
Effect = Callable[[World, str], Awaitable[datetime | None]]

AT_ONCE_MAX = 64
"""Jobs of one process; most of them wait for a company, and then hold no connection to the database."""
LEASE = timedelta(seconds=60)
BEAT_SECONDS = 10.0
FINISH_SECONDS = 5.0
"""A process ends within ten seconds, whatever its jobs wait for."""


class Kind(msgspec.Struct, frozen=True):
    """How one kind of job runs, and how it is tried again: full jitter under a growing cap.

    `attempts_max` None: for ever (money; a human is told by the payment itself).
    """

    run: Effect
    wait_first: float = 1.0
    wait_max: float = 60.0
    attempts_max: int | None = None


async def _deadline(world: World, subject: str) -> datetime | None:
    return await world.database.run(expire.expire, subject)


async def _close(world: World, subject: str) -> None:
    await advance.close(world, subject)


async def _capture(world: World, subject: str) -> None:
    await advance.capture(world, subject)


async def _void(world: World, subject: str) -> None:
    await advance.void(world, subject)


KINDS: Mapping[str, Kind] = {
    "deadline": Kind(_deadline),
    "advance": Kind(advance.watch),
    "hint": Kind(advance.heed),
    "close": Kind(_close, wait_first=0.5, wait_max=30),
    "capture": Kind(_capture, wait_first=0.5, wait_max=60),
    "void": Kind(_void, wait_max=600),
    "refund": Kind(refund.pay_back, wait_max=3600),
    "check_payee": Kind(payees.check, wait_first=10, wait_max=3600),
    "calendars": Kind(hold_calendars.attend, wait_first=0.5, wait_max=300),
    "ask_calendars": Kind(hold_calendars.ask_again, wait_first=0.5, wait_max=60),
    "sync_calendar": Kind(sync_calendar.poll, wait_first=5, wait_max=300),
    "list_calendars": Kind(connect_calendar.list_calendars, wait_first=5, wait_max=3600),
    "watch_calendar": Kind(watch_calendars.watch, wait_first=5, wait_max=3600),
    "renew_access": Kind(renew_access.renew, wait_first=5, wait_max=3600),
    "follow_event": Kind(follow_host.follow_event),
    "cancel_deleted": Kind(follow_host.cancel_deleted),
    "tell_host": Kind(tell_host.tell_host, wait_first=5, wait_max=3600, attempts_max=40),
    "tell_of_change": Kind(tell_host.tell_of_change, wait_first=5, wait_max=3600, attempts_max=40),
    "send_mail": Kind(send_mail.send_mail, wait_first=5, wait_max=3600, attempts_max=40),
}
"""Kinds this version knows. A row of another kind is a newer version's: it is left alone."""

WAKING_KINDS = ("advance", "hint", "close", "capture", "void")
"""Due at a worker's start, whoever held them. Not refunds: whoever held one may have just sent it, and the provider's list
is asked only when its lease, or its wait, is over."""
MONEY_KINDS = (*WAKING_KINDS, "refund")


class Worker:
    """Runs jobs until told to stop; then finishes what it has begun, and hands back what takes too long."""

    def __init__(self, world: World, doorbell: Doorbell, kinds: Mapping[str, Kind] = KINDS) -> None:
        self._world = world
        self._doorbell = doorbell
        self._kinds = kinds
        self._running: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._id = ids.make("wkr")

    def stop(self) -> None:
        """Claim nothing more."""
        self._stopping.set()
        self._doorbell.jobs.set()

    async def run(self) -> None:
        beating = asyncio.create_task(self._beat())
        try:
            await self._until_it_works(self._take_over)
            while not self._stopping.is_set():
                await self._until_it_works(self._round)
        finally:
            beating.cancel()
            await self._finish()
            await self._until_it_works(self._sign_off, tries=1)

    async def _finish(self) -> None:
        if self._running:
            _, slow = await asyncio.wait(self._running, timeout=FINISH_SECONDS)
            for task in slow:
                task.cancel()
            await asyncio.gather(*slow, return_exceptions=True)

    async def _take_over(self) -> None:
        """Every payment that can still bring money is asked about at once, whoever held its job before."""
        await self._world.database.run(wake.wake, WAKING_KINDS)

    async def _round(self) -> None:
        """Start what is due; with nothing more due, sleep until something is."""
        if await self.start_due():
            await self._sleep()

    async def start_due(self) -> bool:
        """Claim what is due and start it. Answers whether that was all of it."""
        self._doorbell.jobs.clear()
        room = AT_ONCE_MAX - len(self._running)
        if room == 0:
            await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
            return False
        claimed = await self._world.database.single(jobs.claim, list(self._kinds), LEASE, room)
        for job in claimed:
            task = asyncio.create_task(self._work(job))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return len(claimed) < room

    async def _sleep(self) -> None:
        seconds = await self._world.database.single(jobs.seconds_to_next, list(self._kinds))
        wait = LOOK_SECONDS_MAX if seconds is None else min(max(seconds, 0.001), LOOK_SECONDS_MAX)
        try:
            async with asyncio.timeout(wait):
                await self._doorbell.jobs.wait()
        except TimeoutError:
            return

    async def _work(self, job: Job) -> None:
        """What a job enqueues rings by itself. What waited behind it in its lane, or is to run again, does not."""
        if await self._run(job) is not Finished.GONE or job.lane is not None:
            self._doorbell.jobs.set()

    async def _run(self, job: Job) -> Finished | None:
        kind = self._kinds[job.kind]
        try:
            again = await kind.run(self._world, job.subject)
        except asyncio.CancelledError:
            # Nobody runs it any more: whoever is next need not wait for its lease.
            with contextlib.suppress(HoldfirstError, asyncpg.PostgresError):
                await self._world.database.single(jobs.retry, job, timedelta(0), "stopped")
            raise
        except Exception as error:  # noqa: BLE001  # a poisoned job must not stop the worker
            await self._failed(job, kind, error)
            return None
        if again is None:
            return await self._record(job, jobs.finish)
        await self._record(job, jobs.snooze, again)
        return None

    async def _failed(self, job: Job, kind: Kind, error: Exception) -> None:
        expected = isinstance(error, HoldfirstError)
        log.log(
            30 if expected else 40,
            "job_failed",
            kind=job.kind,
            subject=job.subject,
            attempts=job.attempts,
            error=type(error).__name__,
            # Where, but not what: an exception's words may quote what a customer typed.
            where=None if expected else places(error),
        )
        text = (
            f"{type(error).__name__}: {error}"
            if isinstance(error, ProviderUnavailable)
            else type(error).__name__
        )
        if kind.attempts_max is not None and job.attempts >= kind.attempts_max:
            await self._record(job, jobs.give_up, text)
        else:
            await self._record(job, jobs.retry, _backoff(kind, job.attempts), text)

    async def _record(
        self,
        job: Job,
        how: Callable[Concatenate[Tx, Job, P], Awaitable[T]],
        *told: P.args,
        **named: P.kwargs,
    ) -> T | None:
        """How a job ended. A database that is away is waited for: else the job would wait for its lease.

        By then somebody else may have the job; its token says so, and nothing is written.
        """

        async def write() -> T:
            return await self._world.database.single(how, job, *told, **named)

        return await self._until_it_works(write)

    async def _beat(self) -> None:
        beats = 0
        while True:
            try:
                await self._world.database.single(jobs.beat, self._id)
                if beats % 360 == 0:
                    await self._world.database.run(jobs.sweep)
                    await self._world.database.run(events.sweep)
                    await self._world.database.single(calendar_events.sweep)
                beats += 1
            except (HoldfirstError, asyncpg.PostgresError):
                log.warning("worker_beat_failed")
            await asyncio.sleep(BEAT_SECONDS)

    async def _sign_off(self) -> None:
        await self._world.database.run(jobs.sign_off, self._id)

    async def _until_it_works(self, step: Callable[[], Awaitable[T]], tries: int | None = None) -> T | None:
        """The database may be away for a while; a worker waits for it and never ends because of it."""
        attempt = 0
        while True:
            try:
                return await step()
            except (HoldfirstError, asyncpg.PostgresError, OSError) as error:
                attempt += 1
                if attempt == tries or self._stopping.is_set():
                    return None
                log.warning("worker_waits_for_database", error=type(error).__name__)
                await asyncio.sleep(min(0.1 * 2**attempt, 2.0))


def _backoff(kind: Kind, attempts: int) -> timedelta:
    cap = min(kind.wait_max, kind.wait_first * 2 ** min(attempts - 1, 20))
    return timedelta(seconds=random.uniform(cap / 2, cap))  # noqa: S311  # spreads load, hides nothing
