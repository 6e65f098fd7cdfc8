# SPDX-License-Identifier: Apache-2.0
"""Idempotency keys: the same request twice is one request. Scope: API key (or reservation), method, path; 24 h.

A verb of one transaction writes its key in that transaction. A verb of several (a checkout, say) writes it first,
with a lease: whoever repeats a request that died takes it up and finishes it; such verbs are safe to run twice. A reserve
whose calendars are waited for is between the two: its claim writes the key, and the calendars' word answers it.
A refusal keeps no key.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar

import msgspec

from holdfirst.refusal import Code, Refusal
from holdfirst.store import idempotency
from holdfirst.store.database import Tx

LEASE = timedelta(seconds=30)
T = TypeVar("T")


class RequestKey(msgspec.Struct, frozen=True):
    """`fingerprint`: of the body as a JSON value."""

    scope: str
    key: str
    fingerprint: bytes


class Replay(msgspec.Struct, frozen=True):
    """This request was answered before: with this HTTP status, about these ids."""

    http_status: int
    result: Any


class TakenUp(msgspec.Struct, frozen=True):
    """Whoever asked first died before it was answered; this is what they had made, and nobody was told of it."""

    id: str


async def begin(tx: Tx, key: RequestKey) -> Replay | Refusal | None:
    """None: go on (fresh, or taken up from a request that died)."""
    outcome, http_status, result = await idempotency.begin(tx, key.scope, key.key, key.fingerprint, LEASE)
    match outcome:
        case "fresh" | "taken_up":
            return None
        case _:
            return _said_before(outcome, http_status, result)


async def answered_before(tx: Tx, key: RequestKey) -> Replay | TakenUp | Refusal | None:
    """What this reserve was answered with, if it was; a key that was not used is left so."""
    outcome, http_status, result = await idempotency.begin(tx, key.scope, key.key, key.fingerprint, LEASE)
    match outcome:
        case "fresh":
            await end(tx, key, None, None)
            return None
        case "taken_up":
            return TakenUp(result["id"])
        case _:
            return _said_before(outcome, http_status, result)


async def end(tx: Tx, key: RequestKey, http_status: int | None, result: Any) -> None:
    """Keep the answer; `http_status` None: it was a refusal, forget the key."""
    if http_status is None:
        await idempotency.forget(tx, key.scope, key.key)
    else:
        await idempotency.finish(tx, key.scope, key.key, http_status, result)


async def once(
    tx: Tx,
    key: RequestKey | None,
    work: Callable[[Tx], Awaitable[T | Refusal]],
    answer: Callable[[T], tuple[int, Any]],
) -> T | Replay | Refusal:
    """Run `work` and keep its `answer` (HTTP status, ids) under the key, all in the caller's transaction."""
    if key is None:
        return await work(tx)
    if (before := await begin(tx, key)) is not None:
        return before
    done = await work(tx)
    if isinstance(done, Refusal):
        await end(tx, key, None, None)
    else:
        await end(tx, key, *answer(done))
    return done


def _said_before(outcome: str, http_status: int | None, result: Any) -> Replay | Refusal:
    if outcome == "replay":
        assert http_status is not None
        return Replay(http_status, result)
    return key_refusal(outcome)


def key_refusal(outcome: str) -> Refusal:
    match outcome:
        case "reused":
            return Refusal(Code.IDEMPOTENCY_KEY_REUSED, "This Idempotency-Key was used for another request.")
        case "in_progress":
            return Refusal(
                Code.IDEMPOTENCY_IN_PROGRESS,
                "The first request with this Idempotency-Key is still running.",
                retry_after=1,
            )
        case _:
            raise AssertionError(outcome)
