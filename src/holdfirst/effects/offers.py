# SPDX-License-Identifier: Apache-2.0
"""Event types and hosts as they were read last. Only for what the claim checks: it knows whether they have changed since."""

from datetime import timedelta

import msgspec

from holdfirst.clock import monotonic
from holdfirst.reservation.event_type import Offer
from holdfirst.store.catalog import load_offers
from holdfirst.store.database import Database
from holdfirst.store.together import Together

KNOWN_MAX = 10_000


class Offers:
    """By account, and id or slug."""

    def __init__(self, database: Database) -> None:
        self._reads = Together(database, load_offers)
        self._known: dict[tuple[str, str], tuple[Offer, float]] = {}

    def known(self, account_id: str, name: str) -> Offer | None:
        """As last read, with the database's clock as it must stand now."""
        found = self._known.get((account_id, name))
        if found is None:
            return None
        offer, read_at = found
        return msgspec.structs.replace(offer, now=offer.now + timedelta(seconds=monotonic() - read_at))

    async def read(self, account_id: str, name: str) -> Offer | None:
        """As it is; None: there is no such event type."""
        offer = await self._reads.ask((account_id, name))
        if offer is None:
            self._known.pop((account_id, name), None)
            return None
        if len(self._known) >= KNOWN_MAX:
            self._known.clear()
        self._known[account_id, name] = (offer, monotonic())
        return offer
