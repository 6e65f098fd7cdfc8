# SPDX-License-Identifier: Apache-2.0
"""Payment accounts, as their provider sees them: credentials tried before they are kept, standing kept true by asking,
our notification address registered where the provider lets us.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from holdfirst.effects.world import World, asked, desk_of
from holdfirst.errors import ProviderUnavailable
from holdfirst.flows import payment_accounts
from holdfirst.payment.payment import Mode
from holdfirst.payment.provider import (
    CredentialFault,
    Credentials,
    Link,
    OnboardsAccounts,
    PaymentProvider,
    Refused,
    Registered,
    RegistersNotifications,
    Standing,
    TellsStanding,
    Unknown,
)
from holdfirst.refusal import Code, Refusal, invalid
from holdfirst.store import payees
from holdfirst.store.database import Tx
from holdfirst.store.payees import PaymentAccount

LOOK_AGAIN = timedelta(hours=6)
LOOK_AGAIN_AT_A_PROBLEM = timedelta(hours=1)


async def tried(
    world: World, payee: PaymentAccount, given: Mapping[str, Any], mode: Mode | None
) -> tuple[PaymentAccount, Mapping[str, str]] | Refusal:
    """A payment account that is to be, with the credentials as they are kept: judged, and tried at its provider.

    `mode`: where the caller names it (the sandbox's alone); else the choice of methods decides.
    """
    provider = world.providers[payee.provider]
    kept: Mapping[str, str] = {}
    if payee.platform_id is None:
        read = provider.read_credentials(given, livemode=payee.livemode)
        if isinstance(read, CredentialFault):
            return invalid(".".join(filter(None, ("credentials", read.member))), read.problem)
        secrets = kept = read
    else:
        secrets = desk_of(world, payee).account.secrets
    assert payee.methods is not None
    payee = msgspec.structs.replace(payee, mode=mode or provider.modes[payee.methods])
    account = Credentials(payee.id, payee.livemode, secrets, payee.connected_account)
    standing = await _standing(provider, account)
    if isinstance(standing, Unknown):
        return _no_answer()
    if standing.problem in ("key_refused", "account_not_connected"):
        named = "credentials" if payee.platform_id is None else "connected_account"
        return invalid(named, "was refused by the payment provider")
    notifies = not isinstance(provider, RegistersNotifications) or bool(secrets.get("webhook_secrets"))
    payee = msgspec.structs.replace(
        payee, charges_enabled=standing.charges_enabled, problem=standing.problem, notifies=notifies
    )
    return payee, kept


async def changed(
    world: World, payee: PaymentAccount, given: Mapping[str, Any]
) -> tuple[PaymentAccount, Mapping[str, str]] | Refusal:
    """Other credentials (the members that are given) for the same account at the provider, tried as new ones are.

    Those of another account would leave behind the payments that are open or owed at this one. What is wrong is said of
    a member that was given, before any that was kept.
    """
    desk = desk_of(world, payee)
    kept = desk.account.secrets
    tried_ones = await tried(world, payee, {**given, **kept, **given}, payee.mode)
    if isinstance(tried_ones, Refusal):
        return tried_ones
    before = await _standing(desk.provider, desk.account)
    account = msgspec.structs.replace(desk.account, secrets=tried_ones[1])
    after = await _standing(desk.provider, account)
    if isinstance(before, Unknown) or isinstance(after, Unknown):
        return _no_answer()
    if None not in (before.identity, after.identity) and before.identity != after.identity:
        return invalid("credentials", "are another account's: add that one as a payment account of its own")
    return tried_ones


def _no_answer() -> Refusal:
    return Refusal(
        Code.PROVIDER_UNAVAILABLE, "The payment provider did not answer; ask again.", retry_after=2
    )


async def check(world: World, payment_account_id: str) -> datetime | None:
    """Ask whether it can take money, and tell the provider our address if it does not know it. Answers when to ask again."""
    payee = await world.database.run(payees.load, payment_account_id)
    if payee is None or payee.provider not in world.providers:
        return None
    desk = desk_of(world, payee)
    if not isinstance(desk.provider, TellsStanding):
        return None
    standing = await _standing(desk.provider, desk.account)
    if isinstance(standing, Unknown):
        raise ProviderUnavailable(standing.reason)
    await world.database.run(payees.set_standing, payee.id, standing.charges_enabled, standing.problem)
    if not payee.notifies and payee.platform_id is None and standing.problem != "key_refused":
        await _register(world, payee, desk.provider, desk.account)
    return await world.database.run(
        _after, LOOK_AGAIN if standing.charges_enabled else LOOK_AGAIN_AT_A_PROBLEM
    )


async def onboarding_link(
    world: World, payee: PaymentAccount, return_url: str, refresh_url: str
) -> str | Refusal:
    desk = desk_of(world, payee)
    if not isinstance(desk.provider, OnboardsAccounts):
        return invalid("", "this provider has no onboarding")
    match await asked(desk.provider.onboarding_link(return_url, refresh_url, desk.account)):
        case Link(url=url):
            return url
        case Refused(reason=reason):
            return invalid("", reason)
        case Unknown():
            return _no_answer()


def notification_url(public_url: str, payee: PaymentAccount) -> str:
    """Where its provider notifies us: a connected account's at its platform's address."""
    return f"{public_url}/v1/notifications/{payee.provider}/{payee.sealed_for}"


async def _standing(provider: PaymentProvider, account: Credentials) -> Standing | Unknown:
    if not isinstance(provider, TellsStanding):
        return Standing(charges_enabled=True)
    return await asked(provider.standing(account))


async def _register(
    world: World, payee: PaymentAccount, provider: PaymentProvider, account: Credentials
) -> None:
    """Not where the key may not: then the answer says what to enter, and the secret comes with a PATCH."""
    if not isinstance(provider, RegistersNotifications):
        return
    url = notification_url(world.public_url, payee)
    registered = await asked(provider.register_notifications(url, account))
    if isinstance(registered, Registered):
        kept = {**account.secrets, **registered.secrets}
        sealed = world.key_ring.seal(msgspec.json.encode(kept), payee.id)
        await world.database.run(payment_accounts.keep_registration, payee.id, sealed)


async def _after(tx: Tx, wait: timedelta) -> datetime:
    return await tx.now() + wait
