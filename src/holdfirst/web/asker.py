# SPDX-License-Identifier: Apache-2.0
"""Who asks: a secret key, a publishable key, or a reservation's own client secret."""

import enum
from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from holdfirst.clock import monotonic
from holdfirst.flows.accounts import digest_of
from holdfirst.key_ring import CLIENT_SECRET_PREFIX, KeyRing, reservation_of
from holdfirst.refusal import Code
from holdfirst.reservation.reservation import Reservation
from holdfirst.store import accounts, reservations
from holdfirst.store.accounts import Account, ApiKey
from holdfirst.store.database import Database, Tx
from holdfirst.web.problems import refuse

CACHE_SECONDS = 0.5
"""A revoked key stops opening within a second."""
KEYS_CACHED_MAX = 10_000
CLIENT_SECRET_LASTS = timedelta(days=30)
"""After the reservation's end."""
KEY_LENGTH_MAX = 200
SECRET_PREFIXES = ("hf_sk_", "hf_cs_")
PUBLISHABLE_PREFIX = "hf_pk_"


class Kind(enum.StrEnum):
    SECRET = "secret"
    PUBLISHABLE = "publishable"
    CLIENT_SECRET = "client_secret"


class Asker(msgspec.Struct, frozen=True, kw_only=True):
    """`scope`: whose idempotency keys these are. `reservation_id` and `secret`: of a client secret only."""

    kind: Kind
    account_id: str
    livemode: bool
    scope: str
    reservation_id: str | None = None
    secret: str | None = None


class Doorkeeper:
    """Knows keys by their digests, and for a moment remembers the ones it has seen."""

    def __init__(self, database: Database, key_ring: KeyRing) -> None:
        self._database = database
        self._key_ring = key_ring
        self._seen: dict[bytes, tuple[ApiKey, float]] = {}
        self._accounts: dict[str, Account] = {}

    async def asker(self, method: str, headers: Mapping[str, str], query: dict[str, str]) -> Asker:
        """Who asks, or the problem. A publishable key is taken out of `query`, where it may stand on GET."""
        refuse_secrets_in(query)
        named = query.pop("key", None)
        if named is not None and (method not in ("GET", "HEAD") or not named.startswith(PUBLISHABLE_PREFIX)):
            raise refuse(Code.UNAUTHENTICATED, "Only a publishable key may stand in a URL, and on GET alone.")
        text = _bearer(headers.get("authorization")) or named
        if text is None:
            raise refuse(Code.UNAUTHENTICATED, "Send Authorization: Bearer and a key.")
        if text.startswith(CLIENT_SECRET_PREFIX):
            return await self._holder(text)
        key = await self._key(text)
        origin = headers.get("origin")
        if key.origins and origin is not None and origin.lower() not in key.origins:
            raise refuse(Code.FORBIDDEN_FOR_KEY, "This key is bound to other origins.")
        return Asker(kind=Kind(key.kind), account_id=key.account_id, livemode=key.livemode, scope=key.id)

    async def account(self, account_id: str) -> Account:
        """Its slug, kind and name never change, so once read is known."""
        if account_id not in self._accounts:
            found = await self._database.single(accounts.account_by_id, account_id)
            assert found is not None
            self._accounts[account_id] = found
        return self._accounts[account_id]

    async def held_by(self, client_secret: str) -> Reservation | None:
        """The reservation that a client secret opens now, if any."""
        reservation_id = reservation_of(client_secret) if len(client_secret) < KEY_LENGTH_MAX else None
        if reservation_id is None or not client_secret.isascii():
            return None
        reservation, now = await self._database.single(_load, reservation_id)
        if reservation is None or now > reservation.end + CLIENT_SECRET_LASTS:
            return None
        good = self._key_ring.is_client_secret(client_secret, reservation.id, reservation.secret_version)
        return reservation if good else None

    async def _holder(self, text: str) -> Asker:
        reservation = await self.held_by(text)
        if reservation is None:
            raise refuse(Code.UNAUTHENTICATED, "This client secret opens nothing, or no longer.")
        return Asker(
            kind=Kind.CLIENT_SECRET,
            account_id=reservation.account_id,
            livemode=reservation.livemode,
            scope=reservation.id,
            reservation_id=reservation.id,
            secret=text,
        )

    async def _key(self, text: str) -> ApiKey:
        digest = digest_of(text)
        found = self._seen.get(digest)
        if found is not None and monotonic() < found[1]:
            return found[0]
        key = await self._database.single(accounts.key_by_digest, digest)
        if key is None:
            self._seen.pop(digest, None)
            raise refuse(Code.UNAUTHENTICATED, "No key like this one.")
        if len(self._seen) >= KEYS_CACHED_MAX:
            self._seen.clear()
        self._seen[digest] = (key, monotonic() + CACHE_SECONDS)
        return key


def refuse_secrets_in(query: Mapping[str, str]) -> None:
    """A secret in a URL has been written into logs on its way: it is named, not used."""
    for text in [*query.keys(), *query.values()]:
        if any(prefix in text for prefix in SECRET_PREFIXES):
            raise refuse(
                Code.SECRET_IN_URL,
                "A secret stands in the URL; it may be in logs by now, so revoke it and send the next in a header.",
            )


def _bearer(header: str | None) -> str | None:
    if header is None:
        return None
    scheme, _, text = header.partition(" ")
    text = text.strip()
    if scheme.lower() != "bearer" or not text or len(text) > KEY_LENGTH_MAX:
        raise refuse(Code.UNAUTHENTICATED, "Send Authorization: Bearer and a key.")
    return text


async def _load(tx: Tx, reservation_id: str) -> tuple[Reservation | None, datetime]:
    return await reservations.load(tx, reservation_id), await tx.now()
