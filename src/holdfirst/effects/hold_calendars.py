# SPDX-License-Identifier: Apache-2.0
"""A reservation in the calendars of its hosts: written into each, each read again, and a verdict under its row lock.

No calendar offers a lock. So ours comes first (the claim); then the hold is written where the host's other tools see
it; and what is read after that is what decides. Whoever wrote before our reading is seen by it; whoever writes later
is seen by the next one, which comes before money moves.
"""

import asyncio
import contextlib
import enum
from collections.abc import Sequence
from datetime import datetime

from holdfirst.calendar.calendar_event import Occurrence
from holdfirst.calendar.provider import EventGone
from holdfirst.clock import monotonic
from holdfirst.effects.calendar_desk import CalendarDesk, calling
from holdfirst.effects.dragged_events import take_back
from holdfirst.effects.world import World
from holdfirst.errors import CalendarDenied, CalendarRefused, HoldfirstError, ProviderUnavailable
from holdfirst.flows import calendar_health, calendar_holds
from holdfirst.flows.calendar_holds import Outcome, Plan, ToAsk, ToWrite, Wrote
from holdfirst.flows.reschedule import RescheduleRequest
from holdfirst.refusal import Code, Refusal
from holdfirst.reservation.calendar_gate import settled_at
from holdfirst.reservation.event_type import CalendarCheck
from holdfirst.reservation.lifecycle import calendar_conflict
from holdfirst.reservation.reservation import CalendarVerdict, Reservation, Status
from holdfirst.store import calendar_access
from holdfirst.store.database import Tx

CALL_SECONDS_MAX = 20.0
"""One write or one reading, however often it is tried within."""
HOLD_SECONDS_MAX = 4.0
"""Writing and reading together, while a customer waits."""


class Heard(enum.StrEnum):
    """What asking the calendars came to."""

    CLEAN = "clean"
    CONFLICT = "conflict"
    UNREACHABLE = "unreachable"


async def attend(world: World, reservation_id: str) -> datetime | None:
    """The job: bring its events in line with it, ask if nobody has; answers when there is more to do."""
    plan = await world.database.run(calendar_holds.plan, reservation_id)
    if plan is None:
        return None
    wrote = await _write_all(world, plan, CALL_SECONDS_MAX)
    if wrote:
        await world.database.single(calendar_holds.record, wrote)
    judged: Reservation | None = plan.reservation
    if _nobody_asked(plan):
        judged = await _ask_and_judge(world, plan, (), CALL_SECONDS_MAX)
    failures = _failures(wrote)
    if any(isinstance(one, CalendarDenied) for one in failures):
        return plan.now + calendar_health.BROKEN_AGAIN
    if failures:
        raise ProviderUnavailable(str(failures[0]))
    if judged is None:
        raise ProviderUnavailable("a calendar does not answer")
    again = plan.now if calendar_holds.in_doubt(wrote) else plan.again_at
    later = [one for one in (again, _second_look(judged, plan)) if one is not None]
    return min(later, default=None)


async def ask_calendars(world: World, reservation_id: str, seconds: float = HOLD_SECONDS_MAX) -> Heard:
    """Write what is to stand, read every calendar, judge. Nothing is guessed: no answer in time is UNREACHABLE."""
    heard, _ = await hold(world, reservation_id, seconds)
    return heard


async def hold(
    world: World, reservation_id: str, seconds: float = HOLD_SECONDS_MAX
) -> tuple[Heard, Reservation | None]:
    """The same, with the reservation as it was judged."""
    until = monotonic() + seconds
    plan = await world.database.run(calendar_holds.plan, reservation_id)
    if plan is None:
        return Heard.CLEAN, None
    wrote = await _write_all(world, plan, seconds)
    if _failures(wrote):
        await world.database.single(calendar_holds.record, wrote)
        return Heard.UNREACHABLE, None
    judged = await _ask_and_judge(world, plan, wrote, max(0.01, until - monotonic()))
    if judged is None:
        return Heard.UNREACHABLE, None
    conflict = judged.calendar_verdict is CalendarVerdict.CONFLICT
    return Heard.CONFLICT if conflict else Heard.CLEAN, judged


async def ask_again(world: World, reservation_id: str) -> None:
    """The job: something new stands in a hold's time, as a sync says; the calendars themselves say whether it does."""
    if await ask_calendars(world, reservation_id, CALL_SECONDS_MAX) is Heard.UNREACHABLE:
        raise ProviderUnavailable("a calendar does not answer")


async def calendars_refuse(world: World, reservation: Reservation, check: CalendarCheck) -> Refusal | None:
    """Ask now, for a verb that the calendars may stop. None: decide again, there is an answer."""
    await settled(world, reservation, check)
    match await ask_calendars(world, reservation.id):
        case Heard.CLEAN:
            return None
        case Heard.CONFLICT:
            return calendar_conflict()
        case Heard.UNREACHABLE:
            return calendar_unreachable()


async def calendars_of_move(
    world: World, request: RescheduleRequest, hosts: tuple[str, ...]
) -> bool | Refusal:
    """Before a reservation moves: whether the calendars of those who would serve it are free then. Its own events are no
    conflict. What is written there in the meantime is found by the question that follows the move.
    """
    plan = await world.database.run(calendar_holds.plan_of_move, request.reservation_id, request.start, hosts)
    seen = await _read_all(world, plan, HOLD_SECONDS_MAX)
    if seen is None:
        return calendar_unreachable()
    return not await world.database.run(calendar_holds.strangers, plan, seen)


async def something_known_late(world: World, reservation_id: str) -> bool:
    """Under `fast`: whether a calendar of which we have not heard for a while has something then. Nothing is written, one
    reading each; who does not answer has nothing against it yet.
    """
    plan = await world.database.run(calendar_holds.plan_of_unheard, reservation_id, world.limits)
    if not plan.ask:
        return False
    seen = await asyncio.gather(*[_read(world, plan, one, HOLD_SECONDS_MAX) for one in plan.ask])
    told = {one.calendar.id: found for one, found in zip(plan.ask, seen, strict=True) if found is not None}
    return bool(await world.database.run(calendar_holds.strangers, plan, told))


def calendar_unreachable() -> Refusal:
    return Refusal(
        Code.CALENDAR_UNREACHABLE,
        "A calendar of the host does not answer, so nobody can say that the time is free.",
        retry_after=5,
    )


async def settled(world: World, reservation: Reservation, check: CalendarCheck) -> None:
    """Under `strict`, wait until what is asked counts."""
    if check is CalendarCheck.STRICT:
        now = await world.database.single(_now)
        await asyncio.sleep(max(0.0, (settled_at(reservation) - now).total_seconds()))


async def _write_all(world: World, plan: Plan, seconds: float) -> Wrote:
    """All at once; whoever asked for it writes down how it ended."""
    outcomes = await asyncio.gather(*[_write(world, one, seconds) for one in plan.write])
    return list(zip(plan.write, outcomes, strict=True))


def _failures(wrote: Wrote) -> list[HoldfirstError]:
    """Those that are to be tried again. A calendar that refuses is from now on one that is only read."""
    return [
        one.error or ProviderUnavailable("the event was taken away; it is written again")
        for _, one in wrote
        if one.gone or (one.error is not None and not isinstance(one.error, CalendarRefused))
    ]


async def _write(world: World, one: ToWrite, seconds: float) -> Outcome:
    try:
        async with calling(world, one.calendar, one.connection, seconds) as desk:
            outcome = Outcome(await _written(world, desk, one))
    except EventGone:
        outcome = Outcome(gone=True)
    except ProviderUnavailable as error:
        await world.database.run(calendar_access.note_writing, one.calendar.id, str(error))
        return Outcome(error=error)
    except (CalendarDenied, CalendarRefused) as error:
        return Outcome(error=error)
    if one.calendar.write_problem is not None:
        await world.database.run(calendar_access.note_writing, one.calendar.id, None)
    return outcome


async def _written(world: World, desk: CalendarDesk, one: ToWrite) -> str | None:
    if one.event is None:
        if not await desk.provider.delete(desk.place, one.written.uid, one.written.etag):
            # The host may have dragged it elsewhere, noticed or not. Where it may stand for ever, whoever does not answer is
            # asked again.
            with contextlib.suppress(CalendarDenied, CalendarRefused):
                await take_back(world, desk, one.calendar, one.written.uid)
        return None
    if one.written.changed_by_host == "moved":
        await _take_back_if_let(world, desk, one)
    before = one.written.etag or None
    if before is None and one.lost:
        before = await desk.provider.find(desk.place, one.event.uid)
    try:
        return await desk.provider.write(desk.place, one.event, before)
    except EventGone:
        # From now on it has another uid, by which nobody finds this one again.
        await _take_back_if_let(world, desk, one)
        raise


async def _take_back_if_let(world: World, desk: CalendarDesk, one: ToWrite) -> None:
    """A calendar in which nobody lets us look does not keep us from writing in this one."""
    with contextlib.suppress(ProviderUnavailable, CalendarDenied, CalendarRefused):
        await take_back(world, desk, one.calendar, one.written.uid)


async def _ask_and_judge(world: World, plan: Plan, wrote: Wrote, seconds: float) -> Reservation | None:
    """None: a calendar did not answer, and there is no verdict. `wrote`: not written down yet; one transaction less for
    whoever waits.
    """
    seen = await _read_all(world, plan, seconds)
    if seen is not None:
        return await world.database.run(calendar_holds.judge, plan, seen, wrote, world.limits)
    if wrote:
        await world.database.single(calendar_holds.record, wrote)
    return None


async def _read_all(world: World, plan: Plan, seconds: float) -> dict[str, Sequence[Occurrence]] | None:
    """What each calendar shows, by calendar; None: one of them did not answer."""
    seen = await asyncio.gather(*[_read(world, plan, one, seconds) for one in plan.ask])
    by_calendar: dict[str, Sequence[Occurrence]] = {}
    for one, occurrences in zip(plan.ask, seen, strict=True):
        if occurrences is None:
            return None
        by_calendar[one.calendar.id] = occurrences
    return by_calendar


async def _read(world: World, plan: Plan, one: ToAsk, seconds: float) -> Sequence[Occurrence] | None:
    try:
        async with calling(world, one.calendar, one.connection, seconds) as desk:
            busy = await desk.provider.busy(desk.place, *plan.window)
    except ProviderUnavailable as error:
        await world.database.run(calendar_health.unreachable, one.calendar, str(error))
        return None
    except CalendarDenied:
        return None
    if busy.problem is not None:
        await world.database.run(calendar_health.unreachable, one.calendar, busy.problem)
        if plan.rules.calendar_check is CalendarCheck.STRICT:
            # What was true a while ago is no word on now.
            return None
    return busy.occurrences


def _nobody_asked(plan: Plan) -> bool:
    """Live, and no verdict yet; or `strict`, and none that counts."""
    if plan.rules.calendar_check is CalendarCheck.LOCAL:
        return False
    if plan.status not in (Status.HELD, Status.PROCESSING, Status.CONFIRMED):
        return False
    if plan.reservation.calendar_verdict is CalendarVerdict.PENDING:
        return True
    look = _second_look(plan.reservation, plan)
    return look is not None and look <= plan.now


def _second_look(reservation: Reservation, plan: Plan) -> datetime | None:
    """Under `strict`: when to ask again, so that a confirm finds an answer that counts."""
    asked = reservation.verified_at
    strict = plan.rules.calendar_check is CalendarCheck.STRICT and plan.status is Status.HELD
    if not strict or asked is None or asked >= settled_at(reservation):
        return None
    return settled_at(reservation)


async def _now(tx: Tx) -> datetime:
    return await tx.now()
