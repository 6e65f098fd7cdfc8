# SPDX-License-Identifier: Apache-2.0
"""`holdfirst.store.reservations`, and the claim of `functions.sql`, in memory."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from holdfirst.payment.money import Money
from holdfirst.reservation.reservation import (
    AtDeadline,
    CalendarVerdict,
    Cause,
    Ended,
    EndedBy,
    EndedCode,
    Reservation,
    Status,
    has_time,
    lapses_at,
)
from holdfirst.store.reservations import Taken, TimeLost
from memory import idempotency
from memory.tables import FOR_EVER, LONG_AGO, Claim, JobRow, MemoryTx, require

WEEK = timedelta(days=7)


async def reserve(tx: MemoryTx, items: Sequence[dict[str, Any]]) -> list[Taken]:
    await tx.turn()
    tx.looked_around = True
    hosts = [f"host:{host}" for item in items for host in item["hosts"]]
    await _lock_names(tx, [name for item in items for name in item["locks"]] + hosts)
    looked = [(host, item["starts_at"], item["ends_at"]) for item in items for host in item["hosts"]]
    now = tx.memory.clock()
    await _expire_in_the_way(tx, looked, now)
    return [await _claim(tx, item, now) for item in items]


async def _claim(tx: MemoryTx, item: dict[str, Any], looked_at: datetime) -> Taken:
    now = max(tx.memory.clock(), *(tx.get("newest_end", host) or LONG_AGO for host in item["hosts"]))
    key = (item["scope"], item["key"]) if item.get("key") else None
    if key is not None:
        fingerprint = bytes.fromhex(item["fingerprint"])
        outcome, _, result = await idempotency.begin(tx, *key, fingerprint, timedelta(seconds=30))
        if outcome != "fresh":
            return Taken(outcome, None, None, None, result)
        await idempotency.finish(tx, *key, 201, {"id": item["id"]})
    aside = abs(tx.memory.clock() - item["decided_at"]) > timedelta(seconds=2)
    if aside or item["catalog"] != tx.memory.catalog_version:
        found, refused = {}, "look_again"
    else:
        found, refused = _find_time(tx, item["id"], item, looked_at)
    if found and _too_many_holds(tx, item, now):
        found, refused = {}, "too_many_holds"
    if not found:
        if key is not None:
            await idempotency.forget(tx, *key)
        return Taken(refused, None, None, None, None)

    # Between looking and taking, others commit: what keeps them away is the lock on the host.
    await tx.turn()
    until = now + timedelta(seconds=item["hold_seconds"])
    _insert_claims(tx, item["id"], found, item, live_until=until, firm=False)
    _insert_reservation(tx, item, list(found), now, until)
    if key is not None and set(item.get("connected", ())) & set(found):
        _leave_unanswered(tx, key, now, item["answer_seconds"])
    return Taken("held", list(found), now, until, None)


def _leave_unanswered(tx: MemoryTx, key: tuple[str, str], now: datetime, seconds: int) -> None:
    """Where somebody waits for the calendars."""
    if seconds > 0:
        until = now + timedelta(seconds=seconds)
        tx.put("key", key, replace(tx.get("key", key), http_status=None, lease_until=until))


def _insert_reservation(
    tx: MemoryTx, item: dict[str, Any], hosts: list[str], now: datetime, until: datetime
) -> None:
    price = None if item["price_minor"] is None else Money(item["price_minor"], item["currency"])
    in_calendars = bool(set(item.get("connected", ())) & set(hosts))
    tx.put(
        "reservation",
        item["id"],
        Reservation(
            id=item["id"],
            account_id=item["account_id"],
            livemode=item["livemode"],
            event_type_id=item["event_type_id"],
            status=Status.HELD,
            start=item["start"],
            end=item["end"],
            buffer_before_minutes=item["buffer_before_minutes"],
            buffer_after_minutes=item["buffer_after_minutes"],
            hosts=tuple(hosts),
            seats=item["seats"],
            held_until=until,
            hold_seconds=item["hold_seconds"],
            created_at=now,
            price=price,
            payment_account_id=item["payees"].get(hosts[0]),
            customer=item["customer"],
            guests=list(item["guests"]),
            answers=item["answers"],
            metadata=item["metadata"],
            in_calendars=in_calendars,
            calendar_verdict=CalendarVerdict(item["verdict"]) if in_calendars and item["verdict"] else None,
        ),
    )
    tx.put("holder", item["id"], (item["holder_address"], item["holder_email"]))
    _insert_job(tx, item, "deadline", until)
    if in_calendars:
        _insert_job(tx, item, "calendars", now + timedelta(seconds=item["attend_seconds"]))


def _insert_job(tx: MemoryTx, item: dict[str, Any], kind: str, due: datetime) -> None:
    key = f"{kind}:{item['id']}"
    tx.put(
        "job",
        key,
        JobRow(
            key=key,
            number=tx.next_number(),
            account_id=item["account_id"],
            kind=kind,
            subject=item["id"],
            lane=None,
            due_at=due,
        ),
    )


def _too_many_holds(tx: MemoryTx, item: dict[str, Any], now: datetime) -> bool:
    if item["holder_address"] is None:
        return False
    live = [
        tx.get("holder", one.id)
        for one in tx.rows("reservation")
        if one.account_id == item["account_id"] and one.status is Status.HELD and one.held_until > now
    ]
    by_address = sum(held[0] == item["holder_address"] for held in live)
    by_email = sum(held[1] == item["holder_email"] and held[0] is not None for held in live)
    return (0 < item["address_max"] <= by_address) or (
        item["holder_email"] is not None and 0 < item["email_max"] <= by_email
    )


async def _expire_in_the_way(
    tx: MemoryTx, looked: Sequence[tuple[str, datetime, datetime]], now: datetime, but: str | None = None
) -> None:
    due = sorted(
        {
            claim.reservation_id
            for host, start, end in looked
            for claim in tx.rows("claim")
            if _meets(claim, host, start, end)
            and claim.live_until <= _seen(tx, host, now)
            and claim.reservation_id != but
        }
    )
    if not due:
        return
    for reservation_id in due:
        await tx.lock("reservation", reservation_id)
    for reservation_id in due:
        claims = _claims_of(tx, reservation_id)
        seen = max((_seen(tx, claim.host_id, now) for claim in claims), default=now)
        over = [claim for claim in claims if claim.live_until <= seen]
        if not over:
            continue
        for claim in over:
            tx.delete("claim", (reservation_id, claim.host_id))
            newest = tx.get("newest_end", claim.host_id) or LONG_AGO
            tx.put("newest_end", claim.host_id, max(newest, seen))
        row = tx.get("reservation", reservation_id)
        held = row.status is Status.HELD
        at = max(claim.live_until for claim in over)
        code = EndedCode.HOLD_EXPIRED if held else EndedCode.RELEASED
        _put(
            tx,
            replace(
                row,
                status=Status.EXPIRED if held else Status.RELEASED,
                ended=Ended(EndedBy.CLOCK, at, code),
                at_deadline=AtDeadline.EXPIRE,
                processing_until=None,
                cause=None,
                released_by=None,
            ),
        )


def _seen(tx: MemoryTx, host: str, now: datetime) -> datetime:
    """The newest end that was seen on this host, or now: the clock may have stepped back since."""
    return max(now, tx.get("newest_end", host) or LONG_AGO)


def _meets(claim: Claim, host: str, start: datetime, end: datetime) -> bool:
    return claim.host_id == host and claim.ends_at > start and claim.starts_at < end


def _claims_of(tx: MemoryTx, reservation_id: str) -> list[Claim]:
    return [claim for claim in tx.rows("claim") if claim.reservation_id == reservation_id]


def _sitting(item: dict[str, Any], reservation_id: str) -> str:
    return f"{item['event_type_id']}@{item['start'].timestamp()}" if item["seats_max"] > 1 else reservation_id


def _find_time(
    tx: MemoryTx, reservation_id: str, item: dict[str, Any], now: datetime
) -> tuple[dict[str, tuple[int, ...]], str]:
    """Places by host; none, and why not: 'taken' or 'day_full'."""
    found: dict[str, tuple[int, ...]] = {}
    refused = ""
    for number, host in enumerate(item["hosts"]):
        seated = _seated(tx, reservation_id, item, host, now)
        if seated is None or item["seats"] > item["seats_max"] - len(seated):
            refused = "taken"
        elif item.get("day_max") is not None and _day_is_full(tx, reservation_id, item, number):
            refused = refused or "day_full"
        else:
            free = [seat for seat in range(1, item["seats_max"] + 1) if seat not in seated]
            found[host] = tuple(free[: item["seats"]]) if item["seats_max"] > 1 else (1,)
    if not found or (item["all_hosts"] and refused):
        return {}, refused
    if not item["all_hosts"] and len(found) > 1:
        chosen = _fairest(tx, list(found), item["start"])
        return {chosen: found[chosen]}, ""
    return found, ""


def _seated(
    tx: MemoryTx, reservation_id: str, item: dict[str, Any], host: str, now: datetime
) -> set[int] | None:
    """The seats that are taken in this very sitting; None: something else takes the time."""
    start, end = item["starts_at"], item["ends_at"]
    if any(busy[0] == host and busy[2] > start and busy[1] < end for busy in tx.rows("busy")):
        return None
    now = _seen(tx, host, now)
    sitting = _sitting(item, reservation_id)
    seated: set[int] = set()
    for claim in tx.rows("claim"):
        if claim.host_id != host or claim.ends_at <= start or claim.reservation_id == reservation_id:
            continue
        if claim.live_until <= now:
            continue
        if claim.sitting == sitting:
            seated |= set(claim.places)
        elif claim.starts_at < end:
            return None
    return seated


def _day_is_full(tx: MemoryTx, reservation_id: str, item: dict[str, Any], number: int) -> bool:
    host, first, last = item["hosts"][number], item["day_from"][number], item["day_to"][number]
    now = tx.memory.clock()
    starts = {
        claim.start
        for claim in tx.rows("claim")
        if claim.host_id == host
        and first <= claim.start < last
        and claim.event_type_id == item["event_type_id"]
        and claim.start != item["start"]
        and claim.live_until > now
        and claim.reservation_id != reservation_id
    }
    return len(starts) >= item["day_max"]


def _fairest(tx: MemoryTx, hosts: list[str], start: datetime) -> str:
    now = tx.memory.clock()

    def order(host: str) -> tuple[int, str]:
        near = [
            claim.reservation_id
            for claim in tx.rows("claim")
            if claim.host_id == host
            and start - WEEK < claim.ends_at < start + WEEK
            and claim.live_until > now
        ]
        return len(near), max(near, default="")

    return min(hosts, key=order)


def _insert_claims(
    tx: MemoryTx,
    reservation_id: str,
    found: dict[str, tuple[int, ...]],
    item: dict[str, Any],
    *,
    live_until: datetime,
    firm: bool,
) -> None:
    for host, places in found.items():
        claim = Claim(
            host_id=host,
            reservation_id=reservation_id,
            event_type_id=item["event_type_id"],
            start=item["start"],
            starts_at=item["starts_at"],
            ends_at=item["ends_at"],
            sitting=_sitting(item, reservation_id),
            seats_max=item["seats_max"],
            places=places,
            live_until=live_until,
            firm=firm,
        )
        _exclude(tx, claim)
        tx.put("claim", (reservation_id, host), claim)


def _exclude(tx: MemoryTx, claim: Claim) -> None:
    """The exclusion constraints: a host is in one place, a seat is taken once."""
    if claim.firm and any(_excluded(claim, other) for other in tx.rows("claim")):
        raise TimeLost(claim.reservation_id)


def _excluded(claim: Claim, other: Claim) -> bool:
    if not other.firm or other.reservation_id == claim.reservation_id or other.host_id != claim.host_id:
        return False
    if other.sitting == claim.sitting:
        return bool(set(other.places) & set(claim.places))
    return _meets(other, claim.host_id, claim.starts_at, claim.ends_at)


async def take_time(
    tx: MemoryTx,
    reservation: Reservation,
    hosts: Sequence[str],
    *,
    seats_max: int,
    live_until: datetime | None,
) -> bool:
    await tx.turn()
    tx.looked_around = True
    item = {
        "event_type_id": reservation.event_type_id,
        "hosts": list(hosts),
        "all_hosts": True,
        "start": reservation.start,
        "starts_at": reservation.start - timedelta(minutes=reservation.buffer_before_minutes),
        "ends_at": reservation.end + timedelta(minutes=reservation.buffer_after_minutes),
        "seats": reservation.seats,
        "seats_max": seats_max,
    }
    now = tx.memory.clock()
    looked = [(host, item["starts_at"], item["ends_at"]) for host in hosts]
    await _expire_in_the_way(tx, looked, now, reservation.id)
    found, _ = _find_time(tx, reservation.id, item, now)
    if not found:
        return False
    await tx.turn()
    for claim in _claims_of(tx, reservation.id):
        tx.delete("claim", (reservation.id, claim.host_id))
    firm = live_until is None
    _insert_claims(tx, reservation.id, found, item, live_until=live_until or FOR_EVER, firm=firm)
    return True


async def load(tx: MemoryTx, reservation_id: str) -> Reservation | None:
    await tx.turn()
    found: Reservation | None = tx.get("reservation", reservation_id)
    return found


async def owner(tx: MemoryTx, reservation_id: str) -> str | None:
    found = await load(tx, reservation_id)
    return found.account_id if found else None


async def lock(tx: MemoryTx, reservation_id: str) -> Reservation | None:
    await tx.turn()
    await tx.lock("reservation", reservation_id)
    found: Reservation | None = tx.get("reservation", reservation_id)
    return found


async def lock_hosts(tx: MemoryTx, hosts: Sequence[str]) -> None:
    await tx.turn()
    await _lock_names(tx, [f"host:{host}" for host in hosts])


async def _lock_names(tx: MemoryTx, names: Sequence[str]) -> None:
    for name in sorted(set(names)):
        await tx.lock("name", name)


async def save(tx: MemoryTx, reservation: Reservation) -> None:
    await tx.turn()
    await tx.lock("reservation", reservation.id)
    _put(tx, reservation)
    await tx.turn()
    for claim in list(_claims_of(tx, reservation.id)):
        if not has_time(reservation):
            tx.delete("claim", (reservation.id, claim.host_id))
            continue
        after = replace(
            claim,
            live_until=lapses_at(reservation) or FOR_EVER,
            firm=reservation.status is not Status.HELD,
        )
        _exclude(tx, after)
        tx.put("claim", (reservation.id, claim.host_id), after)


def _put(tx: MemoryTx, row: Reservation) -> None:
    """The constraints of `reservation` (0001_first.sql)."""
    over = row.status in (Status.RELEASED, Status.EXPIRED, Status.CANCELLED)
    closing = row.at_deadline is AtDeadline.CLOSE or row.cause is Cause.CLOSE
    paid = not row.priced or row.paid_by is not None or row.payment_reference is not None
    require("nothing_is_confirmed_unpaid", row.status is not Status.CONFIRMED or paid)
    require("processing_has_a_cause", (row.status is Status.PROCESSING) == (row.cause is not None))
    require("what_is_closing_has_an_end", (row.processing_until is not None) == closing)
    require("what_is_over_says_how", (row.ended is not None) == over)
    require("a_hold_has_a_deadline_after_it_was_made", row.held_until >= row.created_at)
    require("a_verdict_is_about_calendars", row.calendar_verdict is None or row.in_calendars)
    tx.put("reservation", row.id, row)


async def touch(tx: MemoryTx, reservation_id: str) -> None:
    await tx.turn()
    await tx.lock("reservation", reservation_id)


def claims_of_host(tx: MemoryTx, host: str) -> Iterator[Claim]:
    return (claim for claim in tx.rows("claim") if claim.host_id == host)
