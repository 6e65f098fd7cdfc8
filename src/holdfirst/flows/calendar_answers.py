# SPDX-License-Identifier: Apache-2.0
"""A reserve whose calendars are waited for: told of under its key once they have answered, or given up again."""

from datetime import datetime

from holdfirst.flows import calendar_holds
from holdfirst.flows.outcome import became_free
from holdfirst.flows.pay import write_down_expiry
from holdfirst.payment.payment import Payment
from holdfirst.reservation import lifecycle
from holdfirst.reservation.calendar_gate import verified
from holdfirst.reservation.event_type import CalendarCheck
from holdfirst.reservation.reservation import CalendarVerdict, EndedBy, Reservation, Status, status_at
from holdfirst.settings import Limits
from holdfirst.store import catalog, idempotency, payments, reservations
from holdfirst.store.database import Tx

Key = tuple[str, str]


async def found_taken(tx: Tx, reservation_id: str, key: Key | None, limits: Limits) -> None:
    """A hold that was made within this request, and that a calendar is against: nobody has it, and its key may be used again. Unless
    a repeat of it has found the calendars well, and told of it.
    """
    if untold := await _untold(tx, reservation_id, key):
        reservation, attempts, now = untold
        judged = verified(reservation, CalendarVerdict.CONFLICT, now)
        await calendar_holds.end(tx, judged, attempts, now, limits)


async def answer(tx: Tx, reservation_id: str, key: Key) -> bool:
    """The calendars have nothing against it: it is told under its key from now on. False: it was abandoned meanwhile."""
    return await idempotency.answer(tx, *key, 201, {"id": reservation_id})


async def take_up(tx: Tx, reservation_id: str, key: Key) -> tuple[Reservation, CalendarCheck] | None:
    """Whoever made it died before the calendars had answered. None: it is over, and its key may be used again."""
    reservation = await reservations.lock(tx, reservation_id)
    assert reservation is not None
    if status_at(reservation, await tx.now()) in (Status.HELD, Status.PROCESSING, Status.CONFIRMED):
        event_type = await catalog.event_type_by_id(tx, reservation.event_type_id)
        assert event_type is not None
        return reservation, event_type.rules.calendar_check
    await idempotency.give_up(tx, *key, {"id": reservation_id})
    return None


async def abandon(tx: Tx, reservation_id: str, key: Key | None) -> None:
    """The same, where a calendar did not answer."""
    if untold := await _untold(tx, reservation_id, key):
        reservation, attempts, now = untold
        freed = lifecycle.released(reservation, by=EndedBy.ACCOUNT, now=now)
        await reservations.save(tx, freed)
        await became_free(tx, freed, attempts, now)


async def _untold(
    tx: Tx, reservation_id: str, key: Key | None
) -> tuple[Reservation, list[Payment], datetime] | None:
    """Locked, its key given up, to be ended. None: a repeat was told of it, or its time ran out, which is written down."""
    reservation = await reservations.lock(tx, reservation_id)
    assert reservation is not None
    attempts = await payments.lock_all(tx, reservation_id)
    now = await tx.now()
    if key is not None and not await idempotency.give_up(tx, *key, {"id": reservation_id}):
        return None
    if status_at(reservation, now) is Status.HELD:
        return reservation, attempts, now
    await write_down_expiry(tx, reservation, attempts, now)
    return None
