# SPDX-License-Identifier: Apache-2.0
"""What a server is killed in the middle of: each scene is a few lines, and says how it must end all the same.

To add one: write an `async def` that prepares, and answers a `Case`: the request (or, without one, the worker's work, or
what `deeds.py` names) during which the process dies, and what must be true when the clock has moved past all leases and
another worker is at rest.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeAlias

from crashes.practices import Practice
from holdfirst.store import jobs
from holdfirst.store.database import Tx
from house import CUSTOMER, House


@dataclass
class Case:
    """`held`: the reservation that this is about, whose status must become `ends`; `mails`: their subjects, once each.

    `statuses`: what the request may be answered with, repeated after the crash.
    """

    held: dict[str, Any] | None = None
    ends: str | None = None
    mails: tuple[str, ...] = ()
    path: str | None = None
    body: Any = None
    method: str = "POST"
    key: str | None = "secret"
    headers: dict[str, str] = field(default_factory=dict)
    statuses: tuple[int, ...] = (200,)
    ref: str | None = None
    beside: bool = False
    """A worker works meanwhile, in another process."""
    refunds: int = 0
    keyed: bool = True
    waits: tuple[int, ...] = (5,)
    """After another worker has done what is due: the seconds that pass before it looks again, once for each."""
    human: bool = False
    """Whether somebody is told to look, which nothing but a person takes back."""
    deed: str | None = None
    """Instead of a request or the worker's work: what an operator does at the command line."""
    before: tuple[tuple[str, str, Any], ...] = ()
    """Requests (method, path, body) that the same process has answered before; it does not die in them."""
    practice: Practice | None = None
    """Whose calendar must hold one event of ours in the end, if the reservation is live, and else none."""
    events: int | None = None
    """So many events of ours there, where it is another number."""
    then: Callable[[House], Awaitable[None]] | None = None
    """What else must be true."""
    after: Callable[[House], Awaitable[None]] | None = None
    """To put back what other scenes need."""


Scene: TypeAlias = Callable[[House, Any], Awaitable[Case]]
SCENES: dict[str, Scene] = {}


def scene(work: Scene) -> Scene:
    SCENES[work.__name__] = work
    return work


def verb(held: dict[str, Any], name: str, body: Any = None, **more: Any) -> Case:
    return Case(held=held, path=f"/v1/reservations/{held['id']}/{name}", body=body, **more)


async def later(clock: Any, seconds: int) -> None:
    await clock.shift(timedelta(seconds=seconds))


async def paid(house: House, mode: str) -> tuple[dict[str, Any], str]:
    """Confirmed, and its mail sent."""
    held, ref = await house.open(mode)
    await house.pay(ref, mode)
    async with house.working():
        await house.until(held, lambda told: told["status"] == "confirmed")
    await house.settle()
    return held, ref


def slot_wish(house: House, **more: Any) -> dict[str, Any]:
    return {"event_type": "free", "start": house.start(), "customer": CUSTOMER} | more


async def wish(house: House, kind: str, subject: str) -> None:
    """A job that is due now."""

    async def enqueue(tx: Tx) -> None:
        account = await tx.value("select id from account where slug = 'test'")
        await jobs.enqueue(tx, account, kind, subject, due=await tx.now())

    await house.run(enqueue)
