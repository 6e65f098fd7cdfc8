# SPDX-License-Identifier: Apache-2.0
"""Accounts and their keys. A key is shown once, when it is made; here only its digest is known."""

import hashlib
import re
import secrets
from collections.abc import Mapping, Sequence

import msgspec

from holdfirst import ids
from holdfirst.flows.payment_accounts import Seal
from holdfirst.key_ring import KeyRing
from holdfirst.payment.payment import Mode
from holdfirst.refusal import Code, Refusal, invalid
from holdfirst.reservation.text import SLUG, origin_fault
from holdfirst.store import accounts, payees
from holdfirst.store.accounts import Account, ApiKey
from holdfirst.store.database import Tx
from holdfirst.store.payees import PaymentAccount

KINDS: Mapping[str, str] = {"secret": "sk", "publishable": "pk"}
SANDBOX_OF_TEST = "pac_sandbox"


async def create_account(tx: Tx, key_ring: KeyRing, slug: str, mode: str) -> Account | Refusal:
    """A test account is ready to be paid: it has a sandbox payment account from the start."""
    if re.search(SLUG, slug) is None:
        return invalid("slug", "must be lower-case letters, digits and inner hyphens, at most 64")
    if mode not in ("test", "live"):
        return invalid("mode", "must be test or live")
    account = Account(ids.make("acc"), slug, mode, await tx.now())
    if not await accounts.insert_account(tx, account):
        return Refusal(Code.SLUG_TAKEN, "Another account has this slug.")
    if mode == "test":
        payee_id = SANDBOX_OF_TEST if slug == "test" else ids.make("pac")
        payee = PaymentAccount(
            id=payee_id,
            account_id=account.id,
            livemode=False,
            provider="sandbox",
            mode=Mode.AUTHORIZE,
            sealed_credentials=sealer(key_ring)(sandbox_secrets(), payee_id),
            charges_enabled=True,
            problem=None,
            created_at=account.created_at,
        )
        await payees.insert(tx, payee)
    return account


async def found(tx: Tx, key_ring: KeyRing) -> None:
    """The two accounts that every database has; safe to run at every start, by several at once."""
    for mode in ("test", "live"):
        # Whoever comes second makes nothing all the same; asked first, a start writes nothing.
        if await accounts.account_by_slug(tx, mode) is None:
            await create_account(tx, key_ring, mode, mode)


async def list_accounts(tx: Tx) -> list[Account]:
    """Oldest first."""
    return await accounts.accounts(tx)


async def list_keys(tx: Tx, account_slug: str) -> list[ApiKey] | Refusal:
    """Oldest first, revoked ones too; never a key's text, which nobody has any more."""
    account = await accounts.account_by_slug(tx, account_slug)
    if account is None:
        return invalid("account", "is not the slug of an account")
    return await accounts.keys(tx, account.id)


def make_key(kind: str, mode: str) -> tuple[str, bytes]:
    """(`hf_sk_test_…`, its digest): the text is for whoever asked, the digest for the database."""
    text = f"hf_{KINDS[kind]}_{mode}_{secrets.token_urlsafe(24)}"
    return text, digest_of(text)


def digest_of(key: str) -> bytes:
    """Plain SHA-256: a key has 192 random bits, so that nothing is gained by guessing slowly."""
    return hashlib.sha256(key.encode()).digest()


async def create_key(
    tx: Tx, account_slug: str, kind: str, origins: Sequence[str] = ()
) -> tuple[str, ApiKey] | Refusal:
    """The key's text (never to be had again) and its row."""
    if kind not in KINDS:
        return invalid("kind", "must be secret or publishable")
    for origin in origins:
        if (fault := origin_fault(origin)) is not None:
            return invalid("origin", fault)
    account = await accounts.account_by_slug(tx, account_slug)
    if account is None:
        return invalid("account", "is not the slug of an account")
    text, digest = make_key(kind, account.mode)
    key = ApiKey(
        id=ids.make("key"),
        account_id=account.id,
        kind=kind,
        livemode=account.mode == "live",
        origins=list(origins),
        created_at=await tx.now(),
        revoked_at=None,
    )
    await accounts.insert_key(tx, key, digest)
    return text, key


async def revoke_key(tx: Tx, key_id: str) -> bool:
    """False: no such key, or revoked before. Every server process knows within a second."""
    return await accounts.revoke_key(tx, key_id)


def sealer(key_ring: KeyRing) -> Seal:
    return lambda plain, belongs_to: key_ring.seal(msgspec.json.encode(plain), belongs_to)


def sandbox_secrets() -> dict[str, str]:
    return {"signing_secret": secrets.token_urlsafe(24)}
