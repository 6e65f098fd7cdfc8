# SPDX-License-Identifier: Apache-2.0
"""Money given back: our rows, and which of the provider's refunds is which of ours."""

import enum
from collections.abc import Sequence
from datetime import datetime

import msgspec

from holdfirst.payment.provider import RefundPhase, RefundTruth


class RefundStatus(enum.StrEnum):
    DUE = "due"
    """Owed, and not known to have arrived."""
    DONE = "done"
    FAILED = "failed"
    """Made by somebody else, and come to nothing: nobody owes it."""


class Refund(msgspec.Struct, frozen=True, kw_only=True):
    """Money owed back, or given back.

    `sent`: a call was made, and the provider's list is asked before another. `taken_at`: when the provider answered that it
    took it; it is not sent again, however late the list shows it. `key`: what the next call is made under.
    `failed`: the provider took it and said later that it came to nothing; it is not sent again, so that nobody is paid
    twice. `elsewhere`: not ours, somebody's in the provider's dashboard.
    """

    id: str
    account_id: str
    payment_id: str
    amount_minor: int
    created_at: datetime
    key: str
    status: RefundStatus = RefundStatus.DUE
    sent: bool = False
    taken_at: datetime | None = None
    failed: bool = False
    elsewhere: bool = False
    provider_ref: str | None = None


def matched(ours: Sequence[Refund], listed: Sequence[RefundTruth]) -> dict[str, RefundTruth]:
    """Our refund's id → what the provider says of it. `ours` oldest first.

    By our key, or by the provider's reference once that is known. A provider that keeps no keys gives nothing more to go
    by than the amount: then the oldest that was sent, which is why refunds of one payment go out one at a time.
    """
    by_key = {one.key: one for one in listed if one.key}
    by_ref = {one.ref: one for one in listed if one.ref}
    found: dict[str, RefundTruth] = {}
    for row in ours:
        seen = by_key.get(row.id) or by_ref.get(row.provider_ref or "")
        if seen is not None:
            found[row.id] = seen
    taken = {one.ref for one in found.values()}
    nameless = [one for one in listed if one.key is None and one.ref not in taken]
    for row in ours:
        if row.id in found or not row.sent or row.provider_ref is not None:
            continue
        seen = next((one for one in nameless if one.amount_minor == row.amount_minor), None)
        if seen is not None:
            found[row.id] = seen
            nameless.remove(seen)
    return found


def as_seen(row: Refund, seen: RefundTruth) -> Refund:
    """The row, brought in line. Answers come in any order: what was seen to fail is not done again by an older one."""
    row = msgspec.structs.replace(row, provider_ref=seen.ref or row.provider_ref)
    match seen.phase:
        case RefundPhase.PENDING:
            return row
        case RefundPhase.DONE:
            return row if row.failed else msgspec.structs.replace(row, status=RefundStatus.DONE)
        case RefundPhase.FAILED:
            status = RefundStatus.FAILED if row.elsewhere else RefundStatus.DUE
            return msgspec.structs.replace(row, status=status, failed=True)
