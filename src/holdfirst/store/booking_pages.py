# SPDX-License-Identifier: Apache-2.0
"""What the public pages are found by."""

from collections.abc import Sequence

from holdfirst.store.database import Tx


async def account_of(tx: Tx, event_type_id: str) -> str | None:
    """Whose event type this is; None where there is none any more."""
    found: str | None = await tx.value(
        "select account_id from event_type where id = $1 and deleted_at is null", event_type_id
    )
    return found


async def page_of_account(tx: Tx, account_slug: str, event_type_slug: str) -> tuple[str, str] | None:
    """(account id, event type id) of the page at `/b/{account}/{event type}`."""
    row = await tx.row(
        "select account.id as account_id, event_type.id as event_type_id from account"
        " join event_type on event_type.account_id = account.id and event_type.deleted_at is null"
        " where account.slug = $1 and (event_type.slug = $2 or event_type.id = $2)",
        account_slug,
        event_type_slug,
    )
    return (row["account_id"], row["event_type_id"]) if row else None


async def pages_of_host(tx: Tx, host_slug: str, event_type_slug: str) -> Sequence[tuple[str, str, str, bool]]:
    """(account id, event type id, host id, live) for `/b/{host}/{event type}`.

    A host's slug is its account's own, so there may be several.
    """
    rows = await tx.rows(
        """
        select event_type.account_id, event_type.id as event_type_id, host.id as host_id, account.mode = 'live' as live
        from host
        join account on account.id = host.account_id
        join event_type on event_type.account_id = host.account_id and event_type.deleted_at is null
        where host.slug = $1 and host.deleted_at is null
          and (event_type.slug = $2 or event_type.id = $2) and event_type.rules -> 'hosts' ? host.id
        order by live desc, event_type.id
        limit 3
        """,
        host_slug,
        event_type_slug,
    )
    return [(row["account_id"], row["event_type_id"], row["host_id"], row["live"]) for row in rows]
