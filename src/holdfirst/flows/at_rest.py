# SPDX-License-Identifier: Apache-2.0
"""Credentials at rest: which keys this database was sealed with, and sealing them again with the newest."""

from collections.abc import Sequence

from holdfirst.key_ring import KeyRing
from holdfirst.store import accounts, calendars, payees, webhooks
from holdfirst.store.database import Tx


async def known_ring(tx: Tx, fingerprints: Sequence[str]) -> bool:
    """False: something here is sealed with a key that is not in this ring, or all of it was made with others.

    A new ring's newest key is noted.
    """
    known, ring = await accounts.ring_fingerprints(tx), set(fingerprints)
    sealing = (
        await payees.sealing_fingerprints(tx)
        | await calendars.sealing_fingerprints(tx)
        | await webhooks.sealing_fingerprints(tx)
    )
    if (known and not known & ring) or not sealing <= ring:
        return False
    await accounts.add_ring_fingerprint(tx, fingerprints[0])
    return True


async def reseal(tx: Tx, key_ring: KeyRing) -> int:
    """Seal again what was sealed with an older key; answers how many."""
    count = 0
    for payee_id, sealed in await payees.own_credentials(tx):
        if not key_ring.sealed_with_newest(sealed):
            await payees.set_credentials(tx, payee_id, _again(key_ring, sealed, payee_id))
            count += 1
    for connection_id, sealed in await calendars.sealed_of_all_accounts(tx):
        if not key_ring.sealed_with_newest(sealed):
            await calendars.set_credentials(tx, connection_id, _again(key_ring, sealed, connection_id))
            count += 1
    for endpoint_id, sealed, before in await webhooks.sealed_of_all_accounts(tx):
        aged = [one for one in (sealed, before) if one and not key_ring.sealed_with_newest(one)]
        if aged:
            await webhooks.set_secrets(
                tx,
                endpoint_id,
                _again(key_ring, sealed, endpoint_id),
                before and _again(key_ring, before, endpoint_id),
            )
            count += len(aged)
    return count


def _again(key_ring: KeyRing, sealed: bytes, belongs_to: str) -> bytes:
    return key_ring.seal(key_ring.unseal(sealed, belongs_to), belongs_to)
