# SPDX-License-Identifier: Apache-2.0
"""Wishes stored in the transaction that made them; claimed with a lease and a fencing token.

A job is named by `kind:subject`. The same wish again pulls the first one forward; if that one is running, it runs
once more. Jobs of one lane run in the order they were made, each after the one before is done. A kind that this
version does not know is left alone.
"""

import enum
from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from holdfirst.store.database import Tx

CHANNEL = "holdfirst_jobs"
LOOK_SECONDS_MAX = 5.0
"""A worker looks at least this often, whatever it is told; what is due later needs no bell."""


class Job(msgspec.Struct, frozen=True):
    """A claimed job. `attempts` counts this one; `token` proves the claim, `pulls` that nobody asked again.

    No token comes twice, though rows go and the same wish comes again: whoever lost a claim long ago has no word.
    """

    key: str
    account_id: str
    kind: str
    subject: str
    attempts: int
    token: int
    pulls: int
    lane: str | None


async def enqueue(
    tx: Tx, account_id: str, kind: str, subject: str, *, due: datetime, lane: str | None = None
) -> None:
    """Wish for `kind` on `subject`, not before `due`; at once if the same wish is already there and due."""
    await tx.execute("select enqueue($1, $2, $3, $4, $5)", account_id, kind, subject, due, lane)
    ring(tx)


def ring(tx: Tx) -> None:
    """After the commit, have workers look: also where a trigger may have wished for something (migration 0009)."""
    tx.announce(CHANNEL)


async def starts_by(tx: Tx, kind: str, subject: str, moment: datetime) -> bool | None:
    """Whether what was wished for starts by then. False: it runs just now, or starts later. None: nobody wishes for it."""
    starts: bool | None = await tx.value(
        "select lease_until is null and dead_at is null and due_at <= $2 from job where key = $1",
        f"{kind}:{subject}",
        moment,
    )
    return starts


async def claim(tx: Tx, kinds: Sequence[str], lease: timedelta, limit: int) -> list[Job]:
    """Claim up to `limit` due jobs of these kinds, oldest first.

    The clock is asked in a subquery: asked for each row, it could not be compared with an index.
    """
    rows = await tx.rows(
        """
        with due as (
            select key from job
            where due_at <= (select the_clock()) and dead_at is null and kind = any($1)
              and (lease_until is null or lease_until <= (select the_clock()))
              and (lane is null or not exists (
                  select from job earlier
                  where earlier.lane = job.lane and earlier.id < job.id and earlier.dead_at is null
              ))
            order by due_at limit $3 for update skip locked
        )
        update job set lease_until = the_clock() + $2, token = nextval('job_id_seq'), attempts = attempts + 1
        from due where job.key = due.key
        returning job.key, account_id, kind, subject, attempts, token, pulls, lane
        """,
        list(kinds),
        lease,
        limit,
    )
    return [Job(**row) for row in rows]


class Finished(enum.StrEnum):
    """What became of a job that is done."""

    GONE = "gone"
    AGAIN = "again"
    """Somebody asked again meanwhile: it is due now."""
    LOST = "lost"
    """The claim was."""


async def finish(tx: Tx, job: Job) -> Finished:
    """Done: the row goes, unless somebody asked again meanwhile. Each statement may stand by itself."""
    gone = await tx.execute(
        "delete from job where key = $1 and token = $2 and pulls = $3", job.key, job.token, job.pulls
    )
    if gone != "DELETE 0":
        return Finished.GONE
    again = await tx.execute(
        "update job set lease_until = null, attempts = 0 where key = $1 and token = $2", job.key, job.token
    )
    return Finished.LOST if again == "UPDATE 0" else Finished.AGAIN


async def snooze(tx: Tx, job: Job, due: datetime) -> None:
    """Not done and not failed: again at `due`, or now if somebody asked again meanwhile."""
    await tx.execute(
        """
        update job set lease_until = null, attempts = 0, due_at = case when pulls = $3 then $4 else due_at end
        where key = $1 and token = $2
        """,
        job.key,
        job.token,
        job.pulls,
        due,
    )


async def retry(tx: Tx, job: Job, after: timedelta, error: str) -> None:
    """Failed: again after a while."""
    await tx.execute(
        """
        update job set lease_until = null, last_error = $4,
            due_at = case when pulls = $3 then the_clock() + $5 else due_at end
        where key = $1 and token = $2
        """,
        job.key,
        job.token,
        job.pulls,
        error[:500],
        after,
    )


async def give_up(tx: Tx, job: Job, error: str) -> None:
    """A dead letter: kept, shown by `doctor` and `/metrics`, run again only when somebody asks."""
    await tx.execute(
        "update job set lease_until = null, dead_at = the_clock(), last_error = $3 where key = $1 and token = $2",
        job.key,
        job.token,
        error[:500],
    )


async def seconds_to_next(tx: Tx, kinds: Sequence[str]) -> float | None:
    """Until the next job is due or the next lease runs out: a difference of two instants of one clock.

    A job behind another one of its lane does not count: what ends the other one wakes the worker.
    """
    seconds = await tx.value(
        """
        select extract(epoch from least(
            (
                select due_at from job
                where dead_at is null and lease_until is null and kind = any($1)
                  and (lane is null or not exists (
                      select from job earlier
                      where earlier.lane = job.lane and earlier.id < job.id and earlier.dead_at is null
                  ))
                order by due_at limit 1
            ),
            (select min(lease_until) from job where lease_until is not null and kind = any($1))
        ) - the_clock())
        """,
        list(kinds),
    )
    return None if seconds is None else float(seconds)


async def take_over(tx: Tx, kinds: Sequence[str]) -> None:
    """At a worker's start: whoever held these jobs before, they are due now."""
    await tx.execute(
        "update job set lease_until = null, due_at = least(due_at, the_clock()), token = nextval('job_id_seq'),"
        " dead_at = null where kind = any($1)",
        list(kinds),
    )


async def beat(tx: Tx, worker_id: str) -> None:
    """This worker is alive."""
    await tx.execute(
        """
        insert into worker (id, started_at, seen_at) values ($1, the_clock(), the_clock())
        on conflict (id) do update set seen_at = excluded.seen_at
        """,
        worker_id,
    )


async def sign_off(tx: Tx, worker_id: str) -> None:
    await tx.execute(
        "delete from worker where id = $1 or seen_at < the_clock() - interval '1 hour'", worker_id
    )


async def sweep(tx: Tx) -> None:
    """Forget idempotency keys after their day, and notifications after thirty."""
    await tx.execute("delete from idempotency_key where created_at < the_clock() - interval '25 hours'")
    await tx.execute("delete from notification where received_at < the_clock() - interval '30 days'")
