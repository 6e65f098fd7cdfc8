# SPDX-License-Identifier: Apache-2.0
"""A reserve whose calendars are waited for: told of under its key once they have answered, or given up again."""

from holdfirst.flows import calendar_holds
from holdfirst.flows.outcome import became_free
from holdfirst.flows.pay import write_down_expiry
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
    reservation = await reservations.lock(tx, reservation_id)
    assert reservation is not None
    attempts = await payments.lock_all(tx, reservation_id)
    now = await tx.now()
    if key is not None and not await idempotency.give_up(tx, *key, {"id": reservation_id}):
        return
    if status_at(reservation, now) is Status.HELD:
        await calendar_holds.end(
            tx, verified(reservation, CalendarVerdict.CONFLICT, now), attempts, now, limits
        )
    else:
        await write_down_expiry(tx, reservation, attempts, now)


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
    reservation = await reservations.lock(tx, reservation_id)
    assert reservation is not None
    attempts = await payments.lock_all(tx, reservation_id)
    now = await tx.now()
    if key is not None and not await idempotency.give_up(tx, *key, {"id": reservation_id}):
        return
    if status_at(reservation, now) is not Status.HELD:
        await write_down_expiry(tx, reservation, attempts, now)
        return
    freed = lifecycle.released(reservation, by=EndedBy.ACCOUNT, now=now)
    await reservations.save(tx, freed)
    await became_free(tx, freed, attempts, now)
