# SPDX-License-Identifier: Apache-2.0
"""Payment accounts: where money goes. What a caller sends as credentials arrives here sealed."""

from collections.abc import Callable, Mapping

import msgspec

from holdfirst import ids
from holdfirst.payment.payment import Mode
from holdfirst.refusal import Code, Refusal
from holdfirst.store import payments
from holdfirst.store.database import Tx
from holdfirst.store.payments import PaymentAccount

Seal = Callable[[Mapping[str, str], str], bytes]
"""Secrets, and the payment account they belong to → sealed."""


async def create_payment_account(  # noqa: PLR0913, PLR0917  # an account, and everything that it is made of
    tx: Tx,
    account_id: str,
    livemode: bool,
    provider: str,
    mode: Mode,
    secrets: Mapping[str, str],
    seal: Seal,
    named: str | None = None,
) -> PaymentAccount:
    made_id = named or ids.make("pac")
    made = PaymentAccount(
        id=made_id,
        account_id=account_id,
        livemode=livemode,
        provider=provider,
        mode=mode,
        sealed_credentials=seal(secrets, made_id),
        charges_enabled=True,
        problem=None,
        created_at=await tx.now(),
    )
    await payments.insert_payee(tx, made)
    return made


async def change_mode(
    tx: Tx, account_id: str, payment_account_id: str, mode: Mode
) -> PaymentAccount | Refusal:
    """For payments from now on; one that is open keeps the mode it was opened with."""
    before = await payments.load_payee(tx, payment_account_id)
    if before is None or before.account_id != account_id:
        return no_such_payment_account()
    await payments.set_payee_mode(tx, payment_account_id, mode)
    return msgspec.structs.replace(before, mode=mode)


async def delete_payment_account(tx: Tx, account_id: str, payment_account_id: str) -> Refusal | None:
    before = await payments.load_payee(tx, payment_account_id)
    if before is None or before.account_id != account_id:
        return no_such_payment_account()
    if await payments.payee_in_use(tx, account_id, payment_account_id):
        return Refusal(Code.STILL_IN_USE, "An event type or a host names this payment account.")
    await payments.delete_payee(tx, payment_account_id)
    return None


def no_such_payment_account() -> Refusal:
    return Refusal(Code.PAYMENT_ACCOUNT_NOT_FOUND, "There is no such payment account.")
