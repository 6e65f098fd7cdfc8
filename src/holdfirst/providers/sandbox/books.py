# SPDX-License-Identifier: Apache-2.0
"""The sandbox's books: its own tables, on connections of its own, one transaction per call.

Nothing is kept in this process: checkouts, late payments and faults all survive kill -9. A lock on the checkout's
row makes calls on one checkout follow one another.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TypeAlias, TypeVar

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from holdfirst import ids
from holdfirst.errors import Busy, DatabaseUnavailable
from holdfirst.payment.money import Money
from holdfirst.payment.payment import Mode
from holdfirst.payment.provider import Done, NotOpen, Refused, Truth, Unknown
from holdfirst.payment.sandbox import Call, Checkout, Fault, GivenBack, Ledger, Operation, State
from holdfirst.providers.sandbox.checkout import completed_if_due
from holdfirst.refusal import Code, Refusal

Told = TypeVar("Told", bound=Checkout | Truth | Done | NotOpen | Refused)
A = TypeVar("A")
Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"

SLOW_SECONDS = 3.0
LOCK = "for update"
"""Calls on one checkout follow one another; tests take it away to show that it is needed."""
ACQUIRE_SECONDS = 5
SESSION = {"application_name": "holdfirst sandbox", "timezone": "UTC", "lock_timeout": "5000", "jit": "off"}
_GONE = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InterfaceError,
    # What the driver says when the server ends a connection while it is being taken up again.
    asyncpg.InternalClientError,
    OSError,
)


class Books:
    """Opens its pool at the first call. Raises `DatabaseUnavailable` or `Busy` where the database does not answer."""

    def __init__(self, database_url: str, *, slow_seconds: float = SLOW_SECONDS) -> None:
        self._url = database_url
        self._slow_seconds = slow_seconds
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._opening = asyncio.Lock()

    async def aclose(self) -> None:
        if self._pool is not None:
            pool, self._pool = self._pool, None
            try:
                await asyncio.wait_for(pool.close(), 5)
            except TimeoutError:
                pool.terminate()

    # What holdfirst calls, faults and all

    async def create(self, checkout: Checkout, signing_secret: str) -> Checkout | Refused | Unknown:
        """Open this checkout, or answer the one that the same account and key opened before."""
        async with self._transaction() as tx:
            fault = await _take_fault(tx, Operation.CREATE)
            answer = _instead(fault) or await _insert(tx, checkout, signing_secret)
            ref = answer.ref if isinstance(answer, Checkout) else None
            await _write_down(tx, ref, Operation.CREATE, fault or answer)
        return await self._delivered(answer, fault)

    async def call(
        self,
        operation: Operation,
        ref: str,
        payment_account_id: str,
        step: Callable[[Checkout], tuple[Checkout, Told]],
    ) -> Told | Refused | Unknown:
        """Run one of `checkout.py`'s steps on a checkout of this account."""
        answer: Told | Refused | Unknown
        async with self._transaction() as tx:
            fault = await _take_fault(tx, operation)
            if (instead := _instead(fault)) is not None:
                answer = instead
            else:
                checkout = await _lock(tx, ref)
                if checkout is None or checkout.payment_account_id != payment_account_id:
                    return Refused("no such checkout")
                after, answer = step(checkout)
                if after is not checkout:
                    await _save(tx, after)
            await _write_down(tx, ref, operation, fault or answer)
        return await self._delivered(answer, fault)

    # What customers and testers do

    async def change(
        self, ref: str, step: Callable[[Checkout, datetime], Checkout | Refusal]
    ) -> Checkout | Refusal:
        async with self._transaction() as tx:
            if (checkout := await _lock(tx, ref)) is None:
                return Refusal(Code.NOT_FOUND, "There is no such checkout.")
            assert checkout.seen_at is not None
            after = step(checkout, checkout.seen_at)
            if isinstance(after, Checkout):
                await _save(tx, after)
            return after

    async def look(self, ref: str) -> Checkout | None:
        async with self._transaction() as tx:
            return await _lock(tx, ref)

    async def ledger(self, ref: str) -> Ledger | None:
        async with self._transaction() as tx:
            if (checkout := await _lock(tx, ref)) is None:
                return None
            rows = await tx.fetch(
                "select operation, answer, at from sandbox.call where ref = $1 order by id", ref
            )
        return Ledger(
            state=checkout.state,
            authorized=checkout.authorized_minor,
            captured=checkout.captured_minor,
            voided=checkout.voided_minor,
            refunded=checkout.refunded_minor,
            calls=[Call(**row) for row in rows],
        )

    async def add_fault(self, operation: Operation, fault: Fault, times: int) -> None:
        """The next `times` calls of this operation, on any checkout, meet this fault; older faults first."""
        async with self._transaction() as tx:
            await tx.execute(
                "insert into sandbox.fault (operation, answer, times) values ($1, $2, $3)",
                operation,
                fault,
                times,
            )

    async def notification_of(self, ref: str) -> tuple[str, str] | None:
        """Where notifications about this checkout go, and the secret that signs them."""
        async with self._transaction() as tx:
            row = await tx.fetchrow(
                "select notification_url, signing_secret from sandbox.checkout where ref = $1", ref
            )
        return (row["notification_url"], row["signing_secret"]) if row else None

    async def _delivered(self, answer: A, fault: Fault | None) -> A | Unknown:
        """What of the answer reaches the caller, and when. After the commit: nobody waits for a slow answer's lock."""
        if fault is Fault.SLOW:
            await asyncio.sleep(self._slow_seconds)
        return Unknown("the answer was lost") if fault is Fault.LOST_AFTER else answer

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Connection]:
        try:
            pool = await self._opened()
            async with pool.acquire(timeout=ACQUIRE_SECONDS) as connection, connection.transaction():
                yield connection
        except asyncpg.LockNotAvailableError as error:
            raise Busy("the sandbox's books are busy") from error
        except _GONE as error:
            raise DatabaseUnavailable(str(error) or type(error).__name__) from error

    async def _opened(self) -> "asyncpg.Pool[asyncpg.Record]":
        async with self._opening:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    self._url,
                    min_size=0,
                    max_size=4,
                    server_settings=SESSION,
                    target_session_attrs=asyncpg.connect_utils.SessionAttribute.primary,
                    timeout=5,
                )
            return self._pool


async def _take_fault(tx: Connection, operation: Operation) -> Fault | None:
    """The oldest fault in wait for this operation, one time less. The lock makes each time count once."""
    row = await tx.fetchrow(
        "select id, answer from sandbox.fault where operation = $1 and times > 0 order by id limit 1 for update",
        operation,
    )
    if row is None:
        return None
    await tx.execute("update sandbox.fault set times = times - 1 where id = $1", row["id"])
    return Fault(row["answer"])


def _instead(fault: Fault | None) -> Refused | Unknown | None:
    """The answer of a call that does nothing; None: the call is to be done."""
    match fault:
        case Fault.LOST_BEFORE:
            return Unknown("the call was lost")
        case Fault.SERVER_ERROR:
            return Unknown("500")
        case Fault.REFUSED:
            return Refused("the sandbox was told to refuse")
        case Fault.LOST_AFTER | Fault.SLOW | None:
            return None


async def _write_down(
    tx: Connection,
    ref: str | None,
    operation: Operation,
    answer: Fault | Checkout | Truth | Done | NotOpen | Refused | Unknown,
) -> None:
    await tx.execute(
        "insert into sandbox.call (ref, operation, answer, at) values ($1, $2, $3, the_clock())",
        ref,
        operation,
        _word(answer),
    )


def _word(answer: Fault | Checkout | Truth | Done | NotOpen | Refused | Unknown) -> str:
    match answer:
        case Fault():
            return answer.value
        case Truth():
            return answer.phase.value
        case Checkout():
            return "opened"
        case NotOpen():
            return "not_open"
        case Done() | Refused() | Unknown():
            return type(answer).__name__.lower()


async def _insert(tx: Connection, checkout: Checkout, signing_secret: str) -> Checkout | Refused:
    await tx.execute(
        """
        insert into sandbox.checkout (ref, payment_account_id, key, mode, state, amount_minor, currency, livemode,
            description, pay_before, return_url, notification_url, signing_secret, created_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, the_clock())
        on conflict on constraint one_key_opens_one_checkout do nothing
        """,
        checkout.ref,
        checkout.payment_account_id,
        checkout.key,
        checkout.mode,
        checkout.state,
        checkout.amount.amount_minor,
        checkout.amount.currency,
        checkout.livemode,
        checkout.description,
        checkout.pay_before,
        checkout.return_url,
        checkout.notification_url,
        signing_secret,
    )
    ref = await tx.fetchval(
        "select ref from sandbox.checkout where payment_account_id = $1 and key = $2",
        checkout.payment_account_id,
        checkout.key,
    )
    opened = await _lock(tx, ref)
    assert opened is not None
    if (opened.amount, opened.mode) != (checkout.amount, checkout.mode):
        return Refused("this key opened another checkout")
    return opened


async def _lock(tx: Connection, ref: str) -> Checkout | None:
    """The row, locked, as it is now: a late payment whose instant has come has gone through."""
    if not ids.is_id("sbx", ref):
        return None
    row = await tx.fetchrow(f"select * from sandbox.checkout where ref = $1 {LOCK}", ref)
    if row is None:
        return None
    # Asked after the lock, in a statement of its own: a clock read while waiting would be behind.
    now = await tx.fetchval("select the_clock()")
    refunds = await tx.fetch(
        "select key, amount_minor from sandbox.refund where ref = $1 order by created_at, key", ref
    )
    read = _from_row(row, tuple(GivenBack(**one) for one in refunds), now)
    checkout = completed_if_due(read, now)
    if checkout is not read:
        await _save(tx, checkout)
    return checkout


async def _save(tx: Connection, checkout: Checkout) -> None:
    await tx.execute(
        """
        update sandbox.checkout
        set state = $2, authorized_minor = $3, captured_minor = $4, voided_minor = $5, refunded_minor = $6,
            completes_at = $7
        where ref = $1
        """,
        checkout.ref,
        checkout.state,
        checkout.authorized_minor,
        checkout.captured_minor,
        checkout.voided_minor,
        checkout.refunded_minor,
        checkout.completes_at,
    )
    if checkout.refunds:
        await tx.executemany(
            "insert into sandbox.refund (ref, key, amount_minor, created_at) values ($1, $2, $3, the_clock())"
            " on conflict do nothing",
            [(checkout.ref, one.key, one.amount_minor) for one in checkout.refunds],
        )


def _from_row(row: asyncpg.Record, refunds: tuple[GivenBack, ...], now: datetime) -> Checkout:
    return Checkout(
        ref=row["ref"],
        payment_account_id=row["payment_account_id"],
        key=row["key"],
        mode=Mode(row["mode"]),
        state=State(row["state"]),
        amount=Money(row["amount_minor"], row["currency"]),
        livemode=row["livemode"],
        description=row["description"],
        pay_before=row["pay_before"],
        return_url=row["return_url"],
        notification_url=row["notification_url"],
        authorized_minor=row["authorized_minor"],
        captured_minor=row["captured_minor"],
        voided_minor=row["voided_minor"],
        refunds=refunds,
        completes_at=row["completes_at"],
        seen_at=now,
    )
