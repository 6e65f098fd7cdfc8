# SPDX-License-Identifier: Apache-2.0
"""What flows read of `holdfirst.store.catalog`, in memory."""

from collections.abc import Sequence
from datetime import datetime
from zlib import crc32

from holdfirst.interval import to_ms
from holdfirst.reservation.event_type import EventType, Host, Offer
from holdfirst.store.catalog import TakenTime, TimeMark
from memory.tables import FOR_EVER, MemoryTx


async def event_type_by_id(tx: MemoryTx, event_type_id: str) -> EventType | None:
    await tx.turn()
    found: EventType | None = tx.get("event_type", event_type_id)
    return found


async def event_type_is_live(tx: MemoryTx, event_type_id: str) -> bool:
    await tx.turn()
    return bool(tx.get("event_type", event_type_id).rules.active)


async def hosts_are_live(tx: MemoryTx, host_ids: Sequence[str]) -> bool:
    await tx.turn()
    return all(tx.get("host", host) is not None for host in host_ids)


async def load_host(tx: MemoryTx, account_id: str, host_id: str) -> Host | None:
    await tx.turn()
    found: Host | None = tx.get("host", host_id)
    return found if found is not None and found.account_id == account_id else None


async def load_offer(tx: MemoryTx, account_id: str, name: str) -> Offer | None:
    [offer] = await load_offers(tx, [(account_id, name)])
    return offer


async def load_offers(tx: MemoryTx, asked: Sequence[tuple[str, str]]) -> list[Offer | None]:
    await tx.turn()
    return [_offer(tx, account_id, name) for account_id, name in asked]


def _offer(tx: MemoryTx, account_id: str, name: str) -> Offer | None:
    found = next(
        (one for one in tx.rows("event_type") if one.account_id == account_id and name in (one.id, one.slug)),
        None,
    )
    if found is None:
        return None
    hosts = [tx.get("host", host) for host in found.rules.hosts]
    return Offer(
        found,
        [host for host in hosts if host is not None],
        False,
        tx.memory.catalog_version,
        tx.memory.clock(),
    )


async def taken_time(
    tx: MemoryTx, host_ids: Sequence[str], start: datetime, end: datetime, but_reservation: str | None
) -> dict[str, TakenTime]:
    await tx.turn()
    now = tx.memory.clock()
    found = {host: TakenTime([], []) for host in host_ids}
    for host, first, last in sorted(tx.rows("busy"), key=lambda row: row[1]):
        if host in found and last > start and first < end:
            found[host].busy.append((to_ms(first), to_ms(last)))
    for claim in sorted(tx.rows("claim"), key=lambda row: row.starts_at):
        inside = claim.host_id in found and claim.ends_at > start and claim.starts_at < end
        if not inside or claim.live_until <= now or claim.reservation_id == but_reservation:
            continue
        row = {
            "host_id": claim.host_id,
            "starts_at": to_ms(claim.starts_at),
            "ends_at": to_ms(claim.ends_at),
            "live_until": None if claim.live_until == FOR_EVER else to_ms(claim.live_until),
            "start": to_ms(claim.start),
            "event_type_id": claim.event_type_id,
            "seats": len(claim.places),
        }
        found[claim.host_id].claims.append(row)  # type: ignore[arg-type]
    return found


async def time_mark(
    tx: MemoryTx, account_id: str, host_ids: Sequence[str], start: datetime, end: datetime
) -> tuple[TimeMark, datetime]:
    await tx.turn()
    now, taken = tx.memory.clock(), 0
    for host, first, last in tx.rows("busy"):
        if host in host_ids and last > start and first < end:
            taken ^= crc32(repr((host, first, last)).encode())
    for claim in tx.rows("claim"):
        if claim.host_id in host_ids and claim.ends_at > start and claim.starts_at < end:
            taken ^= crc32(repr(claim).encode()) if claim.live_until > now else 0
    return TimeMark(tx.memory.catalog_version, taken), now
