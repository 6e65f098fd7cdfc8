# SPDX-License-Identifier: Apache-2.0
"""Slot lists, asked together and kept: one that was made before is given again while nothing it was made from has changed.

Whether it has, the database says at each asking (`time_mark`), and time by itself changes nothing up to `next_change_at`:
so what is kept is never older than what would be made now.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from holdfirst.flows.list_slots import Offered, SlotQuery, mark_of, offer_of, slots_of
from holdfirst.flows.reserve import what_is_left
from holdfirst.interval import from_ms
from holdfirst.refusal import Refusal
from holdfirst.store.catalog import TimeMark
from holdfirst.store.database import Database, Tx
from holdfirst.store.together import Together

KEPT_MAX = 200


class SlotsAsked(msgspec.Struct, frozen=True):
    """`name`: the event type's id or slug."""

    account_id: str
    name: str
    query: SlotQuery


class _Kept(msgspec.Struct, frozen=True):
    offered: Offered
    mark: TimeMark
    made_at: datetime


class SlotLists:
    """For one process. Those who ask the same while a call is on its way share one answer, made after they asked."""

    def __init__(self, database: Database) -> None:
        self._together = Together(database, self._ask_all)
        self._losers = Together(database, self._tell_all)
        self._kept: dict[SlotsAsked, _Kept] = {}

    async def ask(self, account_id: str, name: str, query: SlotQuery) -> Offered | Refusal:
        return await self._together.ask(SlotsAsked(account_id, name, query))

    async def what_is_left(self, account_id: str, name: str, query: SlotQuery) -> Refusal:
        """For whoever came too late. All who lose a slot meanwhile are told one and the same refusal, which is made once."""
        return await self._losers.ask(SlotsAsked(account_id, name, query))

    async def _tell_all(self, tx: Tx, asked: Sequence[SlotsAsked]) -> list[Refusal]:
        told = {one: what_is_left(await self._answer(tx, one)) for one in dict.fromkeys(asked)}
        return [told[one] for one in asked]

    async def _ask_all(self, tx: Tx, asked: Sequence[SlotsAsked]) -> list[Offered | Refusal]:
        answers = {one: await self._answer(tx, one) for one in dict.fromkeys(asked)}
        return [answers[one] for one in asked]

    async def _answer(self, tx: Tx, asked: SlotsAsked) -> Offered | Refusal:
        kept = self._kept.get(asked)
        if kept is not None:
            mark, now = await mark_of(tx, kept.offered.offer, asked.query)
            if mark == kept.mark and kept.made_at <= now < _changes_at(kept.offered):
                return kept.offered
        offer = await offer_of(tx, asked.account_id, asked.name, asked.query)
        if isinstance(offer, Refusal):
            return offer
        if asked.query.but_reservation is not None:
            return Offered(offer, await slots_of(tx, offer, asked.query))
        # Marked before the rest is read: what changes meanwhile makes the mark too old, never too new.
        mark, now = await mark_of(tx, offer, asked.query)
        offered = Offered(offer, await slots_of(tx, offer, asked.query))
        if mark.catalog == offer.catalog:
            if len(self._kept) >= KEPT_MAX:
                self._kept.pop(next(iter(self._kept)))
            self._kept[asked] = _Kept(offered, mark, offer.now)
        return offered


def _changes_at(offered: Offered) -> datetime:
    due = offered.slots.next_change_at
    return datetime.max.replace(tzinfo=UTC) if due is None else from_ms(due)
