# SPDX-License-Identifier: Apache-2.0
"""What disagrees, as counts and as rows: for `doctor` and `/metrics`."""

import msgspec

from holdfirst.store.database import Tx

# Name → (what it means, a query of (id, account) rows). A finding is a row; a healthy database has none.
CHECKS: dict[str, tuple[str, str]] = {
    "money_without_reservation": (
        "captured money that is neither kept by the reservation it paid for, nor refunded, nor owed back",
        """
        select payment.id, payment.account_id from payment join reservation on reservation.id = reservation_id
        where captured_minor > refunded_minor + refund_due_minor
          and (reservation.paid_by is distinct from payment.id or reservation.status not in ('confirmed', 'processing', 'cancelled'))
        """,
    ),
    "reservation_without_money": (
        "confirmed, priced, and neither paid by a captured payment nor by a reference",
        """
        select reservation.id, reservation.account_id from reservation left join payment on payment.id = paid_by
        where reservation.status = 'confirmed' and payment_reference is null
          and coalesce(captured_minor, 0) < price_minor
        """,
    ),
    "needs_human": (
        "payments that trying again does not mend",
        "select id, account_id from payment where needs_human_code is not null",
    ),
    "refund_due": (
        "money owed back and not yet given back",
        "select id, account_id from payment where refund_due_minor > 0",
    ),
    "authorization_left": (
        "authorised, to be given back, and not yet voided",
        "select id, account_id from payment where status = 'authorized' and disposition = 'void'",
    ),
    "claim_without_reservation": (
        "time taken by nobody",
        """
        select reservation_id as id, claim.account_id from claim left join reservation on reservation.id = reservation_id
        where reservation.id is null or (reservation.status not in ('held', 'processing', 'confirmed'))
        """,
    ),
    "reservation_without_time": (
        "confirmed or pinned without the time of each of its hosts",
        """
        select reservation.id, account_id from reservation
        where status in ('confirmed', 'processing') and cardinality(hosts) <> (
            select count(*) from claim where reservation_id = reservation.id and firm and host_id = any(hosts)
        )
        """,
    ),
    "two_at_once": (
        "two live claims on one host that overlap",
        """
        select one.reservation_id as id, one.account_id from claim one join claim two
          on one.host_id = two.host_id and one.reservation_id < two.reservation_id and one.sitting <> two.sitting
          and one.ends_at > two.starts_at and one.starts_at < two.ends_at
        where one.live_until > the_clock() and two.live_until > the_clock()
        """,
    ),
    "undelivered": (
        "events that an endpoint did not take in three days, and is told no more unless it is asked for (redeliver)",
        """
        select webhook_delivery.id, webhook_delivery.account_id from webhook_delivery
        join webhook_endpoint on webhook_endpoint.id = endpoint_id
        where status = 'failed' and response_status is distinct from 410 and deleted_at is null
        """,
    ),
    "dead_jobs": (
        "jobs that were given up",
        "select key as id, account_id from job where dead_at is not null",
    ),
    "late_jobs": (
        "jobs due for over a minute that nobody runs",
        """
        select key as id, account_id from job
        where dead_at is null and due_at < the_clock() - interval '1 minute'
          and (lease_until is null or lease_until < the_clock())
        """,
    ),
}


class Finding(msgspec.Struct, frozen=True):
    check: str
    means: str
    ids: list[str]


async def findings(tx: Tx) -> list[Finding]:
    """Every check that found something, with at most a hundred ids each."""
    found = []
    for check, (means, query) in CHECKS.items():
        if rows := await tx.rows(f"select id from ({query}) found order by id limit 100"):
            found.append(Finding(check, means, [row["id"] for row in rows]))
    return found


async def counts(tx: Tx) -> dict[str, int]:
    """How many rows each check finds; nought for most."""
    return {
        check: await tx.value(f"select count(*) from ({query}) found") for check, (_, query) in CHECKS.items()
    }


async def workers_alive(tx: Tx) -> int:
    """Workers that beat within half a minute."""
    count: int = await tx.value(
        "select count(*) from worker where seen_at > the_clock() - interval '30 seconds'"
    )
    return count


async def revive(tx: Tx) -> int:
    """What is safe to repair: dead jobs run again, and money that may be on its way is asked about."""
    tag = await tx.execute(
        "update job set dead_at = null, attempts = 0, lease_until = null, due_at = the_clock() where dead_at is not null"
    )
    return int(tag.removeprefix("UPDATE "))
