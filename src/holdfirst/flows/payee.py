# SPDX-License-Identifier: Apache-2.0
"""Who is paid: the event type's payment account, else the assigned host's, else the account's only one."""

from holdfirst.refusal import Code, Refusal
from holdfirst.reservation.event_type import EventTypeRules, Host, Offer
from holdfirst.store.database import Tx
from holdfirst.store.payees import of_account


def named_payees(offer: Offer) -> dict[str, str] | None:
    """The payment account by host where the event type names it, or nothing is asked for; None: look them up."""
    rules = offer.event_type.rules
    if not rules.priced:
        return {}
    if rules.payment_account is not None:
        # Known to exist: it was looked up when it was named, and cannot be removed while it is named.
        return {host.id: rules.payment_account for host in offer.hosts}
    return None


async def payees(tx: Tx, offer: Offer) -> dict[str, str] | Refusal:
    """The payment account by host."""
    rules = offer.event_type.rules
    return await payees_of(tx, offer.event_type.account_id, rules, list(offer.hosts))


async def payees_of(
    tx: Tx, account_id: str, rules: EventTypeRules, hosts: list[Host]
) -> dict[str, str] | Refusal:
    if not rules.priced:
        return {}
    known = [payee.id for payee in await of_account(tx, account_id)]
    only = known[0] if len(known) == 1 else None
    found: dict[str, str] = {}
    for host in hosts:
        payee = rules.payment_account or host.payment_account_id or only
        if payee is None or payee not in known:
            return Refusal(
                Code.NO_PAYMENT_ACCOUNT,
                f"Nobody to be paid for host {host.id}. Name a payment_account on the event type or on the host,"
                " or keep exactly one payment account.",
                {"host": host.id},
            )
        found[host.id] = payee
    if rules.assignment == "all_of" and len(set(found.values())) > 1:
        return Refusal(
            Code.PAYEE_AMBIGUOUS,
            "Its hosts are paid to different payment accounts; name one on the event type.",
        )
    return found
