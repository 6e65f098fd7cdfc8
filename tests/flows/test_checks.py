# SPDX-License-Identifier: Apache-2.0
"""What `doctor` and `/metrics` count, row by row: what is found, and what is much like it and passed over."""

import msgspec
import pytest

from holdfirst.effects import advance
from holdfirst.reservation.reservation import Status
from holdfirst.store.checks import findings, revive, workers_alive
from holdfirst.store.database import Database, Tx
from holdfirst.store.gauges import Gauges, gauges
from shop import Shop, open_shop

# What keeps such rows out is put aside, until the transaction is rolled back.
UNBOUND = """
set local session_replication_role = replica;
alter table reservation drop constraint nothing_is_confirmed_unpaid;
alter table claim drop constraint a_host_is_in_one_place;
"""
OVER = "ended_at = the_clock(), ended_by = 'account', ended_code = 'released'"
BY_TILL = "update reservation set paid_by = null, payment_reference = 'till' where id = '{sold}';"
RELEASED = f"update reservation set status = 'released', {OVER} where id = '{{sold}}';"
PINNED = "update reservation set status = 'processing', cause = 'capture' where id = '{sold}';"
NO_CLAIM = "delete from claim where reservation_id = '{sold}';"
NOTHING_CAME = "update payment set captured_minor = 0 where id = '{paid}';"
INTO_IT = "update claim set starts_at = starts_at - interval '61 minutes' where reservation_id = '{other}';"
SHARED = """
update claim set sitting = 'one', seats_max = 2,
    places = case reservation_id when '{other}' then '{{[2,3)}}'::int4multirange else places end
where reservation_id in ('{sold}', '{other}')
"""
HOOK = """
insert into webhook_endpoint (id, account_id, url, types, sealed_secret, created_at)
    select 'whe_1', id, 'https://shop.example/', '{{}}', '', the_clock() from account;
insert into webhook_delivery (id, account_id, endpoint_id, event_id, status, created_at, response_status)
    select 'whd_1', id, 'whe_1', 'evt_1', 'failed', the_clock(), 500 from account;
"""
JOB = """
insert into job (key, account_id, kind, subject, due_at, created_at)
    select 'later:1', id, 'later', '1', the_clock() - interval '2 minutes', the_clock() from account;
"""
ROWS = [
    # Money, and whose it is.
    (BY_TILL, "money_without_reservation"),
    (RELEASED + NO_CLAIM, "money_without_reservation"),
    (RELEASED.replace("released", "cancelled", 1) + NO_CLAIM, ""),
    (RELEASED + NO_CLAIM + "update payment set refunded_minor = 6000 where id = '{paid}'", ""),
    (PINNED, ""),
    (BY_TILL + "update payment set refund_due_minor = 6000 where id = '{paid}'", "refund_due"),
    (NOTHING_CAME, "reservation_without_money"),
    (NOTHING_CAME.replace("0", "5999"), "reservation_without_money"),
    (NOTHING_CAME + "update reservation set paid_by = null where id = '{sold}'", "reservation_without_money"),
    (NOTHING_CAME + BY_TILL, ""),
    (NOTHING_CAME + BY_TILL + "update reservation set price_minor = 0, payment_reference = null", ""),
    ("update payment set needs_human_code = 'dispute' where id = '{paid}'", "needs_human"),
    (
        "update payment set status = 'authorized', disposition = 'void' where id = '{paid}'",
        "authorization_left",
    ),
    ("update payment set status = 'authorized' where id = '{paid}'", ""),
    ("update payment set status = 'voided', disposition = 'void' where id = '{paid}'", ""),
    # Time, and whose it is.
    ("delete from reservation where id = '{sold}'", "claim_without_reservation"),
    (f"update reservation set status = 'expired', {OVER} where id = '{{held}}'", "claim_without_reservation"),
    (NO_CLAIM, "reservation_without_time"),
    ("update claim set firm = false where reservation_id = '{sold}'", "reservation_without_time"),
    (PINNED + "update claim set firm = false where reservation_id = '{sold}'", "reservation_without_time"),
    ("update claim set host_id = 'another' where reservation_id = '{sold}'", "reservation_without_time"),
    (INTO_IT, "two_at_once"),
    (INTO_IT.replace("61", "60"), ""),
    (
        "update claim set ends_at = ends_at + interval '61 minutes' where reservation_id = '{sold}'",
        "two_at_once",
    ),
    (INTO_IT + "update claim set live_until = the_clock() where reservation_id = '{sold}'", ""),
    (INTO_IT + "update claim set live_until = the_clock() where reservation_id = '{other}'", ""),
    (INTO_IT + SHARED, ""),
    (
        INTO_IT + "update claim set host_id = 'another' where reservation_id = '{other}'",
        "reservation_without_time",
    ),
    # What nobody was told, and what nobody did.
    (HOOK, "undelivered"),
    (HOOK + "update webhook_delivery set response_status = null", "undelivered"),
    (HOOK + "update webhook_delivery set response_status = 410", ""),
    (HOOK + "update webhook_delivery set status = 'delivered'", ""),
    (HOOK + "update webhook_endpoint set deleted_at = the_clock()", ""),
    (JOB, "late_jobs"),
    (JOB + "update job set dead_at = the_clock() where key = 'later:1'", "dead_jobs"),
    (JOB + "update job set due_at = the_clock() - interval '50 seconds' where key = 'later:1'", ""),
    (JOB + "update job set lease_until = the_clock() + interval '1 minute' where key = 'later:1'", ""),
    (
        JOB + "update job set lease_until = the_clock() - interval '1 minute' where key = 'later:1'",
        "late_jobs",
    ),
]


class _RolledBack(Exception):
    pass


async def open_practice(database: Database) -> tuple[Shop, dict[str, str]]:
    """Three, an hour apart, confirmed and paid, and one that is held; and what they are called."""
    shop, names = await open_shop(database), {}
    for hour, name in ((9, "sold"), (11, "other"), (7, "earlier")):
        held = await shop.held(shop.slot(hour))
        payment = await shop.checkout(held)
        shop.provider.bring_money(payment.provider_ref)
        await advance.advance(shop.world, payment.id)
        await shop.work()
        assert (await shop.read(held.id)).status is Status.CONFIRMED
        names |= {name: held.id, "paid": names.get("paid", payment.id)}
    return shop, names | {"held": (await shop.held(shop.slot(14))).id}


async def test_what_is_found_and_what_is_passed_over(database: Database) -> None:
    _, names = await open_practice(database)
    assert await database.run(findings) == []
    for statements, checks in ROWS:

        async def look(tx: Tx, statements: str = statements, checks: str = checks) -> None:
            await tx.execute(UNBOUND + statements.format(**names))
            found = await findings(tx)
            assert " ".join(one.check for one in found) == checks, statements
            assert all(len(one.ids) == 1 for one in found), (statements, found)
            raise _RolledBack

        with pytest.raises(_RolledBack):
            await database.run(look)


async def test_what_an_operator_watches(database: Database) -> None:
    _, names = await open_practice(database)

    async def seen(statements: str = "") -> Gauges:
        async with database.transaction() as tx:
            if statements:
                await tx.execute(statements.format(**names))
            return await gauges(tx)

    quiet = await seen()
    assert quiet == Gauges(0, 0, 0, 0, 0)
    assert await seen(JOB) == msgspec.structs.replace(quiet, jobs_due=1)
    dead = await seen("update job set dead_at = the_clock() where key = 'later:1'")
    assert dead == msgspec.structs.replace(quiet, jobs_dead=1)
    owed = """
    insert into refund (id, key, account_id, payment_id, amount_minor, status, created_at)
        select status, status, account.id, '{paid}', 1, status, the_clock() from account, unnest(array['due', 'done']) status;
    update payment set needs_human_code = 'dispute' where id = '{paid}';
    insert into worker (id, started_at, seen_at)
        select ago, the_clock(), the_clock() - ago::interval from unnest(array['29 seconds', '31 seconds']) ago;
    """
    assert await seen(owed) == Gauges(0, 1, 1, 1, 1)
    assert await database.run(workers_alive) == 1


async def test_of_very_many_a_hundred_are_named_in_order(database: Database) -> None:
    await open_shop(database)
    several = "insert into job (key, account_id, kind, subject, due_at, created_at, dead_at) select 'later:' || number, id, 'later',"
    async with database.statement() as tx:
        await tx.execute(
            f"{several} number::text, the_clock(), the_clock(), the_clock() from account, generate_series(350, 201, -1) number"
        )
    [found] = await database.run(findings)
    assert found.ids == [f"later:{number}" for number in range(201, 301)]


async def test_who_is_revived(database: Database) -> None:
    """What was given up, as if it were wished for now; nobody else loses a lease."""
    await open_shop(database)
    columns = "key, account_id, kind, subject, due_at, created_at, attempts, lease_until, dead_at"
    async with database.statement() as tx:
        await tx.execute(
            f"insert into job ({columns})"
            " select name, id, 'later', name, the_clock() + interval '1 day', the_clock(), 7,"
            " the_clock() + interval '1 hour', case name when 'dead' then the_clock() end"
            " from account, unnest(array['alive', 'dead']) name"
        )
        assert await revive(tx) == 1
        rows = await tx.rows(
            "select key, dead_at is null, attempts, lease_until is null, due_at <= the_clock() from job order by key"
        )
    assert [tuple(row) for row in rows] == [("alive", True, 7, False, False), ("dead", True, 0, True, True)]
