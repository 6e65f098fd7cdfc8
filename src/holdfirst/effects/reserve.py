# SPDX-License-Identifier: Apache-2.0
"""Reserve: know what is offered, decide, claim; the claiming together with whoever else reserves just now."""

import msgspec

from holdfirst.effects.hold_calendars import Heard, calendar_unreachable, hold, something_known_late
from holdfirst.effects.world import World
from holdfirst.errors import Busy
from holdfirst.flows import calendar_answers, keyed
from holdfirst.flows.keyed import Replay, RequestKey, TakenUp
from holdfirst.flows.payee import named_payees, payees
from holdfirst.flows.reserve import ReserveRequest, Wanted, held, not_held, slot_taken, that_day, want
from holdfirst.refusal import Refusal
from holdfirst.reservation.event_type import CalendarCheck, EventType, Offer
from holdfirst.reservation.reservation import Reservation
from holdfirst.store import reservations
from holdfirst.store.jobs import CHANNEL, LOOK_SECONDS_MAX

READS_MAX = 5


class Made(msgspec.Struct, frozen=True):
    """A hold, and the event type it is of (as it was read to decide)."""

    reservation: Reservation
    event_type: EventType


async def reserve(
    world: World, request: ReserveRequest, key: RequestKey | None = None
) -> Made | Replay | Refusal:
    """Held, or why not. One statement writes, the idempotency key included; what calendars refuse is given back.

    Decided on the offer as it is known; the claim says whether that still stands. A refusal is told on what was read just now.
    """
    offer = world.offers.known(request.account_id, request.event_type)
    if offer is not None:
        wanted = await _wanted(world, offer, request, key)
        answer = None if isinstance(wanted, Refusal) else await _claimed(world, wanted, request)
        if answer is not None:
            return answer
    for _ in range(READS_MAX):
        offer = await world.offers.read(request.account_id, request.event_type)
        wanted = await _wanted(world, offer, request, key)
        if isinstance(wanted, Refusal):
            return wanted if key is None else await _answered_before(world, request, key, offer) or wanted
        answer = await _claimed(world, wanted, request)
        if answer is not None:
            return answer
    raise Busy("the offer changed faster than it could be read")


async def _answered_before(
    world: World, request: ReserveRequest, key: RequestKey, offer: Offer | None
) -> Replay | Refusal | None:
    """What was held once under this key may be out of the rules by now; a replay is a replay all the same."""
    before = await world.database.run(keyed.answered_before, key)
    if isinstance(before, TakenUp):
        return await _taken_up(world, before.id, request, (key.scope, key.key), offer)
    return before


async def _wanted(
    world: World, offer: Offer | None, request: ReserveRequest, key: RequestKey | None
) -> Wanted | Refusal:
    wanted = want(offer, request, world.limits, key)
    if isinstance(wanted, Refusal):
        return wanted
    payee_by_host: dict[str, str] | Refusal | None = named_payees(wanted.offer)
    if payee_by_host is None:
        payee_by_host = await world.database.single(payees, wanted.offer)
    if isinstance(payee_by_host, Refusal):
        return payee_by_host
    wanted.item["payees"] = payee_by_host
    return wanted


async def _claimed(world: World, wanted: Wanted, request: ReserveRequest) -> Made | Replay | Refusal | None:
    """None: decide again, on what stands now."""
    taken = await world.claims.ask(wanted.item)
    match taken.outcome:
        case "look_again":
            return None
        case "held":
            reservation = held(wanted, taken)
            rings = reservations.slot_announcements(reservation)
            if reservation.hold_seconds <= LOOK_SECONDS_MAX or wanted.offer.has_webhooks:
                # A worker looks by itself before any longer hold is over; what is to be told need not wait for that.
                rings.add((CHANNEL, ""))
            world.database.on_announce(rings)
            return await _in_calendars(world, reservation, wanted, request)
        case "taken_up":
            key = reservations.key_of(wanted.item)
            assert key is not None
            return await _taken_up(world, taken.result["id"], request, key, wanted.offer)
        case _:
            answer = not_held(taken)
            return await _taken(world, wanted.offer, request) if answer is None else answer


async def _taken(world: World, offer: Offer | None, request: ReserveRequest) -> Refusal:
    if offer is None:
        return slot_taken()
    return await world.slot_lists.what_is_left(
        request.account_id, offer.event_type.id, that_day(request, offer)
    )


async def _in_calendars(
    world: World, reservation: Reservation, wanted: Wanted, request: ReserveRequest
) -> Made | Refusal:
    event_type = wanted.offer.event_type
    if not reservation.in_calendars:
        return Made(reservation, event_type)
    check = event_type.rules.calendar_check
    if check in (CalendarCheck.LOCAL, CalendarCheck.FAST):
        # The job, which is due now, writes and asks; under `fast`, confirm waits for its verdict.
        world.database.on_announce({(CHANNEL, "")})
    if check is CalendarCheck.LOCAL:
        return Made(reservation, event_type)
    key = reservations.key_of(wanted.item)
    judged = await _asked(world, reservation, check, request, key, wanted.offer)
    return judged if isinstance(judged, Refusal) else Made(judged, event_type)


async def _taken_up(
    world: World, reservation_id: str, request: ReserveRequest, key: tuple[str, str], offer: Offer | None
) -> Replay | Refusal | None:
    """What was held under this key before its maker died: the calendars are asked again, and it is told at last. None: it
    is over, and was told to nobody.
    """
    found = await world.database.run(calendar_answers.take_up, reservation_id, key)
    if found is None:
        return None
    judged = await _asked(world, *found, request, key, offer)
    return judged if isinstance(judged, Refusal) else Replay(201, {"id": judged.id})


async def _asked(
    world: World,
    reservation: Reservation,
    check: CalendarCheck,
    request: ReserveRequest,
    key: tuple[str, str] | None,
    offer: Offer | None,
) -> Reservation | Refusal:
    """Held in every calendar of its hosts, and nothing else there; or given up again. Under `fast` nothing there that is known
    too late.
    """
    if check is CalendarCheck.FAST:
        late = await something_known_late(world, reservation.id)
        heard, judged = (Heard.CONFLICT, None) if late else (Heard.CLEAN, reservation)
    else:
        heard, judged = await hold(world, reservation.id)
    clean = judged if heard is Heard.CLEAN else None
    if clean and (key is None or await world.database.single(calendar_answers.answer, clean.id, key)):
        return clean
    if heard is Heard.CONFLICT:
        await world.database.run(calendar_answers.found_taken, reservation.id, key, world.limits)
        return await _taken(world, offer, request)
    await world.database.run(calendar_answers.abandon, reservation.id, key)
    return calendar_unreachable()
