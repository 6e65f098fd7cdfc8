# SPDX-License-Identifier: Apache-2.0
"""Payment accounts: where money goes. What a caller sends as credentials arrives here sealed."""

from collections.abc import Callable, Mapping

from msgspec.structs import replace

from holdfirst.refusal import Code, Refusal, invalid
from holdfirst.store import jobs, payees
from holdfirst.store.database import Tx
from holdfirst.store.payees import PaymentAccount

Seal = Callable[[Mapping[str, str], str], bytes]
"""Secrets, and the payment account they belong to → sealed."""


async def create_payment_account(tx: Tx, payee: PaymentAccount) -> PaymentAccount | Refusal:
    """Stored, and its provider asked how it stands, from now on."""
    made = replace(payee, created_at=await tx.now())
    if not await payees.insert(tx, made):
        return invalid("connected_account", "has a payment account already")
    await jobs.enqueue(tx, made.account_id, "check_payee", made.id, due=made.created_at)
    return made


async def platform_of(
    tx: Tx, account_id: str, provider: str | None, platform_id: str
) -> PaymentAccount | Refusal:
    """The payment account whose credentials will act for a connected one."""
    found = await payees.load(tx, platform_id)
    if found is None or found.account_id != account_id or found.platform_id is not None:
        return invalid("platform", "is not a payment account of this account with credentials of its own")
    if provider is not None and provider != found.provider:
        return invalid("provider", "is not the platform's")
    return found


async def change_terms(tx: Tx, changed: PaymentAccount) -> PaymentAccount:
    """For payments from now on; one that is open keeps what it was opened with."""
    await payees.set_terms(tx, changed)
    return changed


async def change_credentials(tx: Tx, changed: PaymentAccount) -> PaymentAccount:
    await payees.set_credentials(tx, changed.id, changed.sealed_credentials)
    await payees.set_standing(tx, changed.id, changed.charges_enabled, changed.problem)
    await payees.set_notifies(tx, changed.id, changed.notifies)
    await jobs.enqueue(tx, changed.account_id, "check_payee", changed.id, due=await tx.now())
    return changed


async def keep_registration(tx: Tx, payment_account_id: str, sealed: bytes) -> None:
    """The provider knows our address now, and these credentials hold what it signs with."""
    await payees.set_credentials(tx, payment_account_id, sealed)
    await payees.set_notifies(tx, payment_account_id, notifies=True)


async def delete_payment_account(tx: Tx, account_id: str, payment_account_id: str) -> Refusal | None:
    before = await payees.load(tx, payment_account_id)
    if before is None or before.account_id != account_id:
        return no_such_payment_account()
    if await payees.in_use(tx, account_id, payment_account_id):
        return Refusal(
            Code.STILL_IN_USE, "An event type, a host or a connected account names this payment account."
        )
    await payees.delete(tx, payment_account_id)
    return None


def no_such_payment_account() -> Refusal:
    return Refusal(Code.PAYMENT_ACCOUNT_NOT_FOUND, "There is no such payment account.")


def cannot_take_money(payee: PaymentAccount) -> Refusal:
    return Refusal(
        Code.CHECKOUT_REFUSED,
        f"The payment account {payee.id} cannot take money now ({payee.problem or 'charges_disabled'}).",
    )
