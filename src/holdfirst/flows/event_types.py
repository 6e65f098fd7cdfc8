# SPDX-License-Identifier: Apache-2.0
"""Event types: made, changed and taken away. What is stored has been found possible, by its own rules and by its hosts."""

from typing import Any

import msgspec

from holdfirst import ids
from holdfirst.flows.payee import payees_of
from holdfirst.flows.slugs import slugs_for
from holdfirst.refusal import Code, Refusal, invalid, invalid_fields
from holdfirst.reservation.event_type import ConfirmBy, EventType, EventTypeRules, Host, rule_problems
from holdfirst.reservation.shape import merged, shaped
from holdfirst.reservation.text import Slug
from holdfirst.store import catalog, payees, reservations
from holdfirst.store.database import Tx


class EventTypeForm(EventTypeRules, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an account says about an event type: its rules and its slug."""

    slug: Slug | None = None


async def create_event_type(tx: Tx, account_id: str, form: EventTypeForm) -> EventType | Refusal:
    rules = _rules_of(form)
    if (refusal := await _refusal_of(tx, account_id, rules)) is not None:
        return refusal
    made_id, now = ids.make("ety"), await tx.now()
    for slug in slugs_for(form.slug, form.name, "booking"):
        made = EventType(id=made_id, account_id=account_id, slug=slug, rules=rules, created_at=now)
        if await catalog.insert_event_type(tx, made):
            return made
    return _slug_taken()


async def change_event_type(tx: Tx, account_id: str, name: str, patch: dict[str, Any]) -> EventType | Refusal:
    found = await catalog.load_event_type(tx, account_id, name)
    if found is None:
        return no_such_event_type()
    await catalog.lock_event_type(tx, found.id)
    before = await catalog.load_event_type(tx, account_id, found.id)
    if before is None:
        return no_such_event_type()
    form = shaped(merged({**_form_of(before.rules), "slug": before.slug}, patch), EventTypeForm)
    if isinstance(form, Refusal):
        return form
    rules = _rules_of(form)
    if (refusal := await _refusal_of(tx, account_id, rules)) is not None:
        return refusal
    changed = msgspec.structs.replace(before, slug=form.slug or before.slug, rules=rules)
    if changed.slug != before.slug and await catalog.event_type_slug_taken(tx, account_id, changed.slug):
        return _slug_taken()
    if not await catalog.save_event_type(tx, changed):
        return _slug_taken()
    for host in {*before.rules.hosts, *rules.hosts}:
        reservations.announce_host(tx, host)
    return changed


async def delete_event_type(tx: Tx, account_id: str, name: str) -> Refusal | None:
    """Nothing new can be reserved; the reservations that are there live on."""
    found = await catalog.load_event_type(tx, account_id, name)
    if found is None:
        return no_such_event_type()
    await catalog.delete_event_type(tx, found.id)
    for host in found.rules.hosts:
        reservations.announce_host(tx, host)
    return None


def no_such_event_type() -> Refusal:
    return Refusal(Code.EVENT_TYPE_NOT_FOUND, "There is no such event type.")


async def _refusal_of(tx: Tx, account_id: str, rules: EventTypeRules) -> Refusal | None:
    if problems := list(rule_problems(rules)):
        return invalid_fields(problems)
    hosts: list[Host] = []
    for index, host_id in enumerate(rules.hosts):
        host = await catalog.load_host(tx, account_id, host_id)
        if host is None:
            return invalid(f"hosts[{index}]", "is not a host of this account")
        hosts.append(host)
    if rules.payment_account is not None:
        payee = await payees.load(tx, rules.payment_account)
        if payee is None or payee.account_id != account_id:
            return invalid("payment_account", "is not a payment account of this account")
    if rules.priced and rules.confirm_by is ConfirmBy.CLIENT_SECRET:
        return Refusal(
            Code.UNSAFE_CONFIRMATION,
            'With a price, confirm_by "client_secret" would let a browser say that it was paid;'
            ' use "payment", or "secret_key" where your own back end confirms.',
        )
    paid = await payees_of(tx, account_id, rules, hosts)
    return paid if isinstance(paid, Refusal) else None


def _rules_of(form: EventTypeForm) -> EventTypeRules:
    return EventTypeRules(**{name: getattr(form, name) for name in EventTypeRules.__struct_fields__})


def _form_of(rules: EventTypeRules) -> dict[str, Any]:
    """As a client would have said it: its instants as text."""
    form: dict[str, Any] = msgspec.to_builtins(rules)
    return form


def _slug_taken() -> Refusal:
    return Refusal(Code.SLUG_TAKEN, "Another event type of this account has this slug.")
