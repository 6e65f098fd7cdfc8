# SPDX-License-Identifier: Apache-2.0
"""Every guard against a race: where it stands, what is put in its place, and the scenario that must notice."""

from dataclasses import dataclass

from races.schedules.breaking import Break
from races.schedules.scenario import Scenario

SQL = "store/functions.sql"
NO_LOCKS = Break(SQL, "perform pg_advisory_xact_lock(lock)", "perform lock")


@dataclass(frozen=True)
class Guard:
    """`without`: what is broken (the guard, and what would stand in for it)."""

    name: str
    without: tuple[Break, ...]
    scenario: Scenario


def guard(name: str, state: str, operations: str, *without: Break, ticks: bool = True) -> Guard:
    return Guard(name, without, Scenario(state, tuple(operations.split(" + ")), ticks))


def in_sql(guard: str, by: str = "") -> Break:
    return Break(SQL, guard, by)


LOCK_RESERVATION = Break(
    "store/reservations.py",
    '"select * from reservation where id = $1 for update"',
    '"select * from reservation where id = $1"',
)
LOCK_HOSTS = Break(
    "store/reservations.py",
    """await tx.execute("select lock_names($1)", [f"host:{host}" for host in hosts])""",
    "return None",
)
LOCK_PAYMENTS = Break(
    "store/payments.py",
    '"select * from payment where reservation_id = $1 order by id for update"',
    '"select * from payment where reservation_id = $1 order by id"',
)
LOCK_PAYMENT = Break(
    "store/payments.py",
    '"select * from payment where id = $1 for update"',
    '"select * from payment where id = $1"',
)

GUARDS = [
    # store/functions.sql: the claim
    guard("hosts are locked before anything is read", "free", "reserve + reserve overlapping", NO_LOCKS),
    guard(
        "the exclusion constraint, where the locks are gone",
        "expired",
        "reserve and confirm + confirm if still free",
        NO_LOCKS,
        Break("constraint:claim", "a_host_is_in_one_place"),
    ),
    guard(
        "who is due is locked before it is expired",
        "held",
        "reserve + extend",
        in_sql("order by id for update;", "order by id;"),
    ),
    guard(
        "a deadline is looked at again once its row is locked",
        "held",
        "reserve + extend",
        in_sql("where reservation_id = due.id and live_until <= due.seen", "where reservation_id = due.id"),
    ),
    guard(
        "one instant for what is over and what is free",
        "held",
        "reserve + details",
        in_sql(
            "live_until > greatest(p_now, newest_end) and",
            "live_until > greatest(the_clock(), newest_end) and",
        ),
    ),
    guard(
        "a hold is stamped after the look that found its time",
        "closing, one of two hosts",
        "reserve + release by force",
        in_sql("            v.now := greatest(v.now, the_clock());\n"),
    ),
    guard(
        "what is over is expired, not only overlooked, when time is taken",
        "lapsed",
        "reserve + reserve overlapping",
        in_sql("    perform expire_in_the_way(p_hosts, p_from, p_to, v_now, null);\n", "\n"),
    ),
    guard(
        "what is over is expired when time is moved to",
        "beside a lapsed one",
        "reschedule + reserve",
        in_sql(
            "    perform expire_in_the_way(\n        p_hosts, array_fill(p_from, array[cardinality(p_hosts)]),"
            " array_fill(p_to, array[cardinality(p_hosts)]), v_now,\n        p_reservation\n    );",
        ),
    ),
    guard(
        "what overlaps is taken",
        "free",
        "reserve + reserve overlapping",
        in_sql("select coalesce(live.overlaps, false) or exists (", "select exists ("),
    ),
    guard(
        "what is busy is taken",
        "busy",
        "reserve + reserve",
        in_sql(
            "select coalesce(live.overlaps, false) or exists (",
            "select coalesce(live.overlaps, false) or false and exists (",
        ),
    ),
    guard(
        "no more seats than there are",
        "one of two seats",
        "reserve + reserve",
        in_sql("p_seats > p_seats_max - seats_of(v_look.seated)", "false"),
    ),
    guard(
        "the quick way is for time where nobody is",
        "free",
        "reserve + reserve overlapping",
        in_sql("v_hosts := case when v.nobody_there then v.hosts end;", "v_hosts := v.hosts;"),
    ),
    guard(
        "the quick way is for sittings where nobody sits",
        "one of two seats",
        "reserve + reserve",
        in_sql("bool_and(not taken and seated is null)", "bool_and(not taken)"),
    ),
    guard(
        "no more a day than the rules say",
        "one a day",
        "reserve + reserve later that day",
        in_sql("p_day_max is not null and p_day_max <=", "p_day_max <= 0 and p_day_max <="),
    ),
    guard(
        "a move gives up the time before",
        "held",
        "reschedule + reserve",
        in_sql("    delete from claim where reservation_id = p_reservation;\n", "\n"),
    ),
    guard(
        "a retake looks whether its time is free",
        "lapsed",
        "confirm if still free + reserve",
        in_sql("    if v_found.hosts is null then\n        return false;\n    end if;\n", "\n"),
    ),
    guard(
        "holds of one address are counted one after the other",
        "two hosts, one hold an address",
        "reserve from an address + reserve from it elsewhere",
        Break(
            "flows/reserve.py",
            'locks.append(f"address:{request.account_id}:{request.holder_address.hex()}")',
            "pass",
        ),
        Break(
            "flows/reserve.py",
            'locks.append(f"email:{request.account_id}:{request.holder_email.hex()}")',
            "pass",
        ),
    ),
    guard(
        "holds of one address are counted",
        "two hosts, one hold an address",
        "reserve from an address + reserve from it elsewhere",
        in_sql("return p_address_max > 0 and", "return false and"),
    ),
    guard(
        "an end is written down on its host",
        "lapsed",
        "reserve + reserve",
        in_sql(
            "update host set newest_end = greatest(newest_end, later.seen)",
            "update host set newest_end = newest_end",
        ),
    ),
    # store/functions.sql: keys and jobs
    guard(
        "one request of a key at a time",
        "held",
        "extend under a key + extend under a key",
        in_sql(
            "not pg_try_advisory_xact_lock(hashtextextended('key:' || p_scope || ' ' || p_key, 0))", "false"
        ),
    ),
    guard(
        "a key that was answered replays",
        "held",
        "extend under a key + extend under a key",
        in_sql("elsif v_row.http_status is not null then", "elsif false then"),
    ),
    guard(
        "a replay writes before it answers",
        "free",
        "reserve under a key + reserve under a key",
        in_sql(
            "update idempotency_key set replays = replays + 1 where scope = p_scope and key = p_key;",
            "perform 1;",
        ),
    ),
    guard(
        "a refusal keeps no key",
        "one of two hosts",
        "reserve + reserve under a key",
        in_sql("where wanted.id = any(v_refused)", "where false"),
    ),
    guard(
        "the same wish again is one job, and asks for one more run",
        "job due",
        "work + wish again",
        in_sql("pulls = job.pulls + 1", "pulls = job.pulls"),
        ticks=False,
    ),
    # store/reservations.py
    guard("a reservation is locked before it is decided on", "held", "extend + release", LOCK_RESERVATION),
    guard(
        "hosts are locked where time may be needed",
        "expired",
        "confirm if still free + reserve",
        LOCK_HOSTS,
    ),
    guard(
        "an end gives its time up",
        "held",
        "release + extend",
        Break("store/reservations.py", "if not has_time(reservation):", "if False:"),
    ),
    guard(
        "a claim lapses when its reservation does",
        "held",
        "extend + reserve",
        Break("store/reservations.py", "lapses_at(reservation),", "reservation.created_at,"),
    ),
    guard(
        "what is processing or confirmed is firm",
        "paid sale",
        "advance + reserve",
        Break("store/reservations.py", "reservation.status is not Status.HELD,", "False,"),
    ),
    guard(
        "a repeat writes before it answers",
        "confirmed by reference",
        "confirm + confirm",
        Break("store/reservations.py", "set replays = replays + 1", "set replays = replays"),
    ),
    # store/payments.py
    guard(
        "payments are locked before their reservation is decided on",
        "paid sale",
        "advance + ask if due",
        LOCK_RESERVATION,
        LOCK_HOSTS,
        LOCK_PAYMENTS,
    ),
    guard(
        "a provider is asked about one payment once a second",
        "paid sale",
        "ask if due + ask if due",
        Break(
            "store/payments.py",
            " where id = $1 and (asked_at is null or asked_at <= the_clock() - $2::interval)",
            " where id = $1 and $2::interval is not null",
        ),
        ticks=False,
    ),
    # store/jobs.py
    guard(
        "two workers do not claim one job",
        "job due",
        "work + a worker dies",
        Break(
            "store/jobs.py",
            "and (lease_until is null or lease_until <= (select the_clock()))\n              and (lane",
            "and (lane",
        ),
        ticks=False,
    ),
    guard(
        "a job that was lost cannot be finished",
        "job due",
        "work that is done + a worker dies",
        Break(
            "store/jobs.py",
            '"delete from job where key = $1 and token = $2 and pulls = $3", job.key, job.token, job.pulls',
            '"delete from job where key = $1 and $2::bigint > 0 and pulls = $3", job.key, job.token, job.pulls',
        ),
    ),
    guard(
        "a job asked for again is not finished",
        "job due",
        "work that is done + wish again",
        Break(
            "store/jobs.py",
            '"delete from job where key = $1 and token = $2 and pulls = $3", job.key, job.token, job.pulls',
            '"delete from job where key = $1 and token = $2", job.key, job.token',
        ),
        ticks=False,
    ),
    guard(
        "a job that was lost cannot be put off",
        "job due",
        "work that goes on later + a worker dies",
        Break(
            "store/jobs.py",
            "due_at = case when pulls = $3 then $4 else due_at end\n        where key = $1 and token = $2",
            "due_at = case when pulls = $3 then $4 else due_at end\n        where key = $1 and $2::bigint > 0",
        ),
    ),
    guard(
        "a job asked for again is not put off",
        "job due",
        "work that goes on later + wish again",
        Break(
            "store/jobs.py",
            "due_at = case when pulls = $3 then $4 else due_at end",
            "due_at = case when $3::int >= 0 then $4 else due_at end",
        ),
        ticks=False,
    ),
    guard(
        "a job that was lost cannot be failed",
        "job due",
        "work that fails + a worker dies",
        Break(
            "store/jobs.py",
            "due_at = case when pulls = $3 then the_clock() + $5 else due_at end\n        where key = $1 and token = $2",
            "due_at = case when pulls = $3 then the_clock() + $5 else due_at end\n        where key = $1 and $2::bigint > 0",
        ),
    ),
    guard(
        "a job that was lost cannot be given up",
        "job due",
        "work that is given up + a worker dies",
        Break(
            "store/jobs.py",
            'last_error = $3 where key = $1 and token = $2"',
            'last_error = $3 where key = $1 and $2::bigint > 0"',
        ),
    ),
    # flows/
    guard(
        "hosts first, then the reservation",
        "held",
        "reserve + confirm",
        Break(
            "flows/locked.py",
            "    assert guess is not None, reservation_id\n",
            "    assert guess is not None, reservation_id; await reservations.lock(tx, reservation_id)\n",
        ),
    ),
    guard(
        "the reservation first, then its payments",
        "open sale",
        "release + advance",
        Break(
            "flows/release.py",
            "    reservation = await reservations.lock(tx, reservation_id)\n",
            "    await payments.lock_all(tx, reservation_id); reservation = await reservations.lock(tx, reservation_id)\n",
        ),
        ticks=False,
    ),
    guard(
        "a flow that may need time locks the hosts that it found",
        "held",
        "reschedule + reserve where it moves to",
        Break("flows/locked.py", "await reservations.lock_hosts(tx, [*guess.hosts, *more_hosts])", "pass"),
        ticks=False,
    ),
    guard(
        "a hold is over by the clock after the lock, not by now()",
        "held",
        "extend + expire",
        Break("store/database.py", '"select the_clock()"', '"select lab.clock_at_begin()"'),
    ),
    guard(
        "what is told to be over is written down",
        "lapsed",
        "extend + read",
        Break("flows/pay.py", "    over = lifecycle.expired(reservation, now)\n", "    over = None\n"),
    ),
    guard(
        "a sale's deadline closes its checkout before its time is free",
        "priced sale",
        "checkout + reserve",
        Break("flows/pay.py", "if payee.mode is Mode.SALE:", "if False:"),
    ),
    guard(
        "one checkout at a time",
        "open sale",
        "checkout + checkout",
        Break(
            "flows/pay.py",
            "(running := next((one for one in attempts if one.can_bring_money), None)) is not None",
            "(running := attempts[0]) is None",
        ),
    ),
    guard(
        "late money takes its time again only where it is free",
        "expired paid late sale_uncloseable",
        "advance + reserve",
        Break(
            "flows/pay.py", "        if await retake(tx, reservation, locked.event_type):", "        if True:"
        ),
    ),
    guard(
        "money that no slot stands behind goes back",
        "expired paid late sale_uncloseable",
        "advance + reserve",
        Break("flows/pay.py", "        payment = await owe(tx, payment, payment.kept_minor, now)\n", "\n"),
    ),
    guard(
        "what is owed is asked for",
        "confirmed sale",
        "cancel + give back",
        Break(
            "flows/owed.py",
            '    await jobs.enqueue(tx, payment.account_id, "refund", payment.id, due=now, lane=payment.id)\n    return replace',
            "    return replace",
        ),
    ),
    guard(
        "an authorisation that no slot stands behind is voided",
        "expired paid late authorize",
        "advance + reserve",
        Break(
            "flows/pay.py",
            '        await jobs.enqueue(tx, payment.account_id, "void", payment.id, due=now, lane=payment.id)\n        return reservation, _disposed',
            "        return reservation, _disposed",
        ),
    ),
    guard(
        "a pin is followed by a capture",
        "paid authorize",
        "advance + advance",
        Break(
            "flows/pay.py",
            '    await jobs.enqueue(tx, payment.account_id, "capture", payment.id, due=now, lane=payment.id)\n',
            "    return\n",
        ),
    ),
    guard(
        "the customer is told",
        "paid sale",
        "advance + notification",
        Break("flows/outcome.py", "    await send_mail(tx, reservation, Mail.CONFIRMED, now)\n", "\n"),
    ),
    guard(
        "what is given up is closed",
        "open authorize",
        "release + release",
        Break(
            "flows/outcome.py",
            "    await close_open(tx, payments, now)\n    await write_into_calendars",
            "    await write_into_calendars",
        ),
    ),
    guard(
        "a checkout is closed before its hold is confirmed by other means",
        "open sale",
        "confirm + customer pays",
        Break("flows/confirm.py", "return CloseFirst(closable) if closable else None", "return None"),
    ),
    guard(
        "a closable sale is closed before its hold is released",
        "open sale",
        "release + customer pays",
        Break("flows/release.py", "if status is Status.HELD and sale is not None:", "if False:"),
    ),
    guard(
        "no more is given back than is kept",
        "confirmed sale",
        "give back + cancel",
        Break("flows/cancel.py", "or not 0 < asked.amount_minor <= left.amount_minor", ""),
    ),
    guard(
        "a payment is locked before more of it is owed back",
        "confirmed sale",
        "give back + give back",
        LOCK_RESERVATION,
        LOCK_PAYMENT,
    ),
    guard(
        "a cancellation is answered once",
        "confirmed sale",
        "cancel + cancel",
        Break("flows/cancel.py", "if reservation.status is Status.CANCELLED:", "if False:"),
    ),
    guard(
        "what is paid for by one payment is not paid for by another",
        "two payments",
        "advance + advance the other",
        Break(
            "reservation/verdict.py",
            "        case _:\n            return Verdict.GIVE_BACK\n\n\ndef pinned_by",
            "        case _:\n            return Verdict.WAIT\n\n\ndef pinned_by",
        ),
    ),
    guard(
        "a hold's deadline is looked at",
        "held",
        "expire + extend",
        Break(
            "flows/expire.py",
            "        case (_, Status.HELD):\n            return reservation.held_until\n",
            "        case (_, Status.HELD):\n            await reservations.save(tx, reservation); return None\n",
        ),
    ),
    guard(
        "a notification is a wish to ask",
        "confirmed sale",
        "hear + read",
        Break(
            "flows/hear.py",
            "    if payment is not None:\n        await jobs.enqueue",
            "    if False:\n        await jobs.enqueue",
        ),
    ),
    guard(
        "a verdict is about the row as it is when it is locked",
        "in a calendar",
        "calendar verdict + release",
        Break(
            "flows/calendar_holds.py",
            "    status = status_at(reservation, now)\n    judged = verified(reservation, verdict, asked.now)",
            "    status = asked.status\n    judged = verified(asked.reservation, verdict, asked.now)",
        ),
    ),
    guard(
        "an older answer of the calendars does not replace a newer one",
        "confirmed in a calendar",
        "calendar verdict + calendar verdict + a stranger writes",
        Break(
            "flows/calendar_holds.py",
            "if reservation.verified_at is not None and reservation.verified_at > asked.now:",
            "if False:",
        ),
    ),
    guard(
        "what was asked about another time is no verdict",
        "in a calendar",
        "calendar verdict + reschedule",
        Break(
            "flows/calendar_holds.py",
            "if (reservation.start, reservation.hosts) != (asked.reservation.start, asked.reservation.hosts):",
            "if False:",
        ),
    ),
    guard(
        "no money is taken before the calendars were asked",
        "paid beside a stranger",
        "advance + reserve",
        Break("flows/with_calendars.py", "if opinion is Gate.OPEN:", "if True:"),
    ),
    # effects/
    guard(
        "a refund has a key of its own at the provider",
        "refund due sale",
        "refund + refund",
        Break(
            "effects/refund.py",
            "desk.provider.refund(ref_of(due.payment), amount, due.refund.key, desk.account)",
            "desk.provider.refund(ref_of(due.payment), amount, str(id(due)), desk.account)",
        ),
    ),
    guard(
        "a refund is marked as sent before it is sent",
        "refund due sale",
        "refund + refund",
        Break(
            "effects/refund.py",
            "if not await world.database.run(refund.about_to_send, due.refund.id, ASK_AGAIN):",
            "if False:",
        ),
    ),
    guard(
        "what is not pinned any more is not captured",
        "pinned",
        "capture + release by force",
        Break("effects/advance.py", "if not await _still_waited_for(world, payment_id):", "if False:"),
    ),
    guard(
        "not open is never taken for not paid",
        "paid sale",
        "close + advance",
        Break(
            "effects/advance.py",
            "        case NotOpen():\n            await advance(world, payment_id)\n",
            "        case NotOpen():\n            await meet(world, payment_id, Truth(phase=Phase.CLOSED, amount=payment.amount, livemode=payment.livemode))\n",
        ),
    ),
]
