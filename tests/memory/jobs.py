# SPDX-License-Identifier: Apache-2.0
"""`holdfirst.store.jobs` in memory."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec.structs import replace

from holdfirst.store.jobs import CHANNEL, Finished, Job
from memory.tables import JobRow, MemoryTx


async def enqueue(
    tx: MemoryTx, account_id: str, kind: str, subject: str, *, due: datetime, lane: str | None = None
) -> None:
    await tx.turn()
    key = f"{kind}:{subject}"
    await tx.lock("job", key)
    row = tx.get("job", key)
    if row is None:
        row = JobRow(
            key=key,
            number=tx.next_number(),
            account_id=account_id,
            kind=kind,
            subject=subject,
            lane=lane,
            due_at=due,
        )
    else:
        alive = row.dead_at is None
        row = replace(
            row,
            due_at=min(row.due_at, due),
            pulls=row.pulls + 1,
            dead_at=None,
            attempts=row.attempts if alive else 0,
        )
    tx.put("job", key, row)
    tx.announce(CHANNEL)


async def starts_by(tx: MemoryTx, kind: str, subject: str, moment: datetime) -> bool | None:
    await tx.turn()
    row: JobRow | None = tx.get("job", f"{kind}:{subject}")
    return None if row is None else row.lease_until is None and row.dead_at is None and row.due_at <= moment


def _behind(tx: MemoryTx, row: JobRow) -> bool:
    """Whether an earlier job of its lane is still there."""
    return row.lane is not None and any(
        other.lane == row.lane and other.number < row.number and other.dead_at is None
        for other in tx.rows("job")
    )


async def claim(tx: MemoryTx, kinds: Sequence[str], lease: timedelta, limit: int) -> list[Job]:
    await tx.turn()
    now = tx.memory.clock()
    due = sorted(
        (
            row
            for row in tx.rows("job")
            if row.due_at <= now
            and row.dead_at is None
            and row.kind in kinds
            and (row.lease_until is None or row.lease_until <= now)
            and not _behind(tx, row)
        ),
        key=lambda row: (row.due_at, row.number),
    )
    claimed = []
    for row in due:
        if len(claimed) == limit:
            break
        if not tx.lock_free("job", row.key):
            continue
        after = replace(row, lease_until=now + lease, token=tx.next_number(), attempts=row.attempts + 1)
        tx.put("job", row.key, after)
        claimed.append(
            Job(
                row.key,
                row.account_id,
                row.kind,
                row.subject,
                after.attempts,
                after.token,
                row.pulls,
                row.lane,
            )
        )
    return claimed


async def _mine(tx: MemoryTx, job: Job) -> JobRow | None:
    """The row, locked, if this claim is still the newest."""
    await tx.turn()
    await tx.lock("job", job.key)
    row: JobRow | None = tx.get("job", job.key)
    return row if row is not None and row.token == job.token else None


async def finish(tx: MemoryTx, job: Job) -> Finished:
    row = await _mine(tx, job)
    if row is None:
        return Finished.LOST
    if row.pulls == job.pulls:
        tx.delete("job", job.key)
        return Finished.GONE
    tx.put("job", job.key, replace(row, lease_until=None, attempts=0))
    return Finished.AGAIN


async def snooze(tx: MemoryTx, job: Job, due: datetime) -> None:
    row = await _mine(tx, job)
    if row is not None:
        due_at = due if row.pulls == job.pulls else row.due_at
        tx.put("job", job.key, replace(row, lease_until=None, attempts=0, due_at=due_at))


async def retry(tx: MemoryTx, job: Job, after: timedelta, error: str) -> None:
    row = await _mine(tx, job)
    if row is not None:
        due_at = tx.memory.clock() + after if row.pulls == job.pulls else row.due_at
        tx.put("job", job.key, replace(row, lease_until=None, last_error=error[:500], due_at=due_at))


async def give_up(tx: MemoryTx, job: Job, error: str) -> None:
    row = await _mine(tx, job)
    if row is not None:
        now = tx.memory.clock()
        tx.put("job", job.key, replace(row, lease_until=None, dead_at=now, last_error=error[:500]))


async def seconds_to_next(tx: MemoryTx, kinds: Sequence[str]) -> float | None:
    await tx.turn()
    alive = [row for row in tx.rows("job") if row.dead_at is None and row.kind in kinds]
    moments = [row.due_at for row in alive if row.lease_until is None and not _behind(tx, row)]
    moments += [row.lease_until for row in alive if row.lease_until is not None]
    return (min(moments) - tx.memory.clock()).total_seconds() if moments else None


async def take_over(tx: MemoryTx, kinds: Sequence[str]) -> None:
    await tx.turn()
    for row in list(tx.rows("job")):
        if row.kind not in kinds:
            continue
        await tx.lock("job", row.key)
        row = tx.get("job", row.key)
        if row is not None:
            due_at = min(row.due_at, tx.memory.clock())
            tx.put(
                "job",
                row.key,
                replace(row, lease_until=None, due_at=due_at, token=tx.next_number(), dead_at=None),
            )


async def beat(tx: MemoryTx, worker_id: str) -> None:
    await tx.turn()
    tx.put("worker", worker_id, tx.memory.clock())


async def sign_off(tx: MemoryTx, worker_id: str) -> None:
    await tx.turn()
    tx.delete("worker", worker_id)


async def sweep(tx: MemoryTx) -> None:
    await tx.turn()
