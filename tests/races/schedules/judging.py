# SPDX-License-Identifier: Apache-2.0
"""What a schedule came to, and whether it may: the promises, asked of the rows and of the provider's books."""

import asyncio
import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import combinations
from typing import Any

from holdfirst.errors import ProviderUnavailable
from holdfirst.flows.keyed import Replay
from holdfirst.payment.payment import Mode, Payment
from holdfirst.refusal import Refusal
from holdfirst.reservation.reservation import Reservation

Told = dict[str, Any]

RESERVATION = [
    "id",
    "status",
    "start",
    "hosts",
    "seats",
    "at_deadline",
    "cause",
    "extensions_used",
    "paid_by",
    "payment_reference",
    "ended_by",
    "ended_code",
    "sequence",
    "calendar_verdict",
]
PAYMENT = [
    "id",
    "status",
    "disposition",
    "authorized_minor",
    "captured_minor",
    "refund_due_minor",
    "refunded_minor",
    "late",
    "needs_human_code",
]
CLAIM = ["reservation_id", "host_id", "start", "places", "firm"]
CALENDAR_EVENT = ["reservation_id", "generation", "state"]
REFUND = ["payment_id", "amount_minor", "status", "sent"]


def answer_of(answer: Any) -> str:
    """What a participant was told."""
    match answer:
        case BaseException():
            return f"raised {type(answer).__name__}: {answer}"[:200]
        case Reservation(status=status):
            return status.value
        case Refusal(code=code):
            return f"refused {code.value}"
        case (Reservation(status=status), Payment(status=paid)):
            return f"{status.value}, {paid.value}"
        case Replay():
            return "replay"
        case None | str():
            return str(answer)
        case _:
            return type(answer).__name__


def answer_in(task: "asyncio.Task[Any]") -> str:
    if not task.done():
        return "never answered"
    return answer_of(task.exception() or task.result())


def rows(told: Told, table: str) -> list[Told]:
    return told.get(table) or []


ID = re.compile(r"\b([a-z]{3}_[0-9a-z])(\d{25})\b")


def ranked(text: str) -> str:
    """Ids by their place among those that are there: whoever was sent back to look again has used one up."""
    numbers: dict[str, set[str]] = {}
    for made_by, number in ID.findall(text):
        numbers.setdefault(made_by, set()).add(number)
    places = {made_by: sorted(found) for made_by, found in numbers.items()}
    return ID.sub(lambda found: f"{found[1]}{places[found[1]].index(found[2]) + 1}", text)


def essence(told: Told, answers: dict[str, str]) -> str:
    """What two schedules must agree in to have come to the same."""

    def of(table: str, columns: list[str]) -> list[str]:
        return sorted(str([row[column] for column in columns]) for row in rows(told, table))

    return ranked(
        "\n".join(
            [
                f"answers {answers}",
                f"live {sorted(row['id'] for row in _live(told))}",
                *of("reservation", RESERVATION),
                *of("claim", CLAIM),
                *of("payment", PAYMENT),
                *of("refund", REFUND),
                "jobs " + ", ".join(sorted(_job_words(row, told) for row in rows(told, "job"))),
                f"keys {sorted((row['key'], row['http_status'], row['replays']) for row in rows(told, 'idempotency_key'))}",
                f"ends seen on {told['ends_seen']} hosts",
                f"repeats {sorted((row['id'], row['replays']) for row in rows(told, 'reservation'))}",
                f"provider {told['provider']}",
                f"calendar {told['calendar']}",
                *of("calendar_event", CALENDAR_EVENT),
                f"called {told['calls']}",
            ]
        )
    )


def _job_words(row: Told, told: Told) -> str:
    """Its key, and whether a worker would take it now."""
    due = _instant(row["due_at"]) <= _instant(told["now"])
    leased = row["lease_until"] and _instant(row["lease_until"]) > _instant(told["now"])
    state = "dead" if row["dead_at"] else "leased" if leased else "due" if due else "later"
    return f"{row['key']} {state}"


def faults(told: Told, answers: dict[str, str]) -> list[str]:
    """Promises that do not hold, at the end of a schedule."""
    return [
        *_unexpected(answers),
        *_two_at_once(told),
        *_before_the_other_ended(told),
        *_claims_as_rows_say(told),
        *_unpaid(told),
        *_unbalanced(told),
        *_jobs_lost(told),
        *_told_and_not_written(told, answers),
    ]


def _unexpected(answers: dict[str, str]) -> Iterator[str]:
    for letter, answer in answers.items():
        if answer == "never answered":
            yield f"{letter} waits for ever"
        if answer.startswith("raised ") and not answer.startswith(f"raised {ProviderUnavailable.__name__}"):
            yield f"{letter} {answer}"


def _lapses(row: Told) -> datetime | None:
    """Until when this row has its time; None: for good. Written down anew here: it judges the claims."""
    held, until = _instant(row["held_until"]), row["processing_until"]
    if row["status"] == "held":
        return max(held, _instant(until)) if until else held
    return _instant(until) if row["cause"] == "close" else None


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _live(told: Told) -> list[Told]:
    """Reservations that have their time now, by their own rows."""
    now = _instant(told["now"])
    live = []
    for row in rows(told, "reservation"):
        if row["status"] in ("held", "processing", "confirmed"):
            lapses = _lapses(row)
            if lapses is None or lapses > now:
                live.append(row)
    return live


def _two_at_once(told: Told) -> Iterator[str]:
    """P1, from the reservations alone."""
    sitting: Counter[tuple[str, str]] = Counter()
    seats_max = {row["reservation_id"]: row["seats_max"] for row in rows(told, "claim")}
    for row in _live(told):
        sitting[row["start"], row["hosts"][0]] += row["seats"]
    for one, two in combinations(_live(told), 2):
        shared = set(one["hosts"]) & set(two["hosts"])
        if not shared or one["start"] >= two["end"] or two["start"] >= one["end"]:
            continue
        same = one["start"] == two["start"]
        if same and sitting[one["start"], one["hosts"][0]] <= seats_max.get(one["id"], 1):
            continue
        yield f"two at once: {one['id']} {one['status']} and {two['id']} {two['status']}"


def _before_the_other_ended(told: Told) -> Iterator[str]:
    """P1 over time: whoever has what another one had began when that one had ended. (Whose time was moved, or taken
    again, tells by its row only when it was made.)
    """
    seats_max = {row["reservation_id"]: row["seats_max"] for row in rows(told, "claim")}
    for later in _live(told):
        again = later["confirmed_at"] and _instant(later["confirmed_at"]) > _instant(later["held_until"])
        if later["sequence"] or again or seats_max.get(later["id"], 1) > 1:
            continue
        for one in rows(told, "reservation"):
            if one["sequence"] or not one["ended_at"] or not set(one["hosts"]) & set(later["hosts"]):
                continue
            if one["start"] >= later["end"] or later["start"] >= one["end"]:
                continue
            if _instant(one["created_at"]) <= _instant(later["created_at"]) < _instant(one["ended_at"]):
                yield f"{later['id']} was made before {one['id']} ended"


def _claims_as_rows_say(told: Told) -> Iterator[str]:
    now = _instant(told["now"])
    claims = {(row["reservation_id"], row["host_id"]): row for row in rows(told, "claim")}
    for row in _live(told):
        lapses = _lapses(row)
        for host in row["hosts"]:
            claim = claims.get((row["id"], host))
            if claim is None:
                yield f"{row['id']} {row['status']} without the time of {host}"
            elif claim["start"] != row["start"]:
                yield f"{row['id']} has the time of another start"
            elif (None if claim["live_until"] == "infinity" else _instant(claim["live_until"])) != lapses:
                yield f"{row['id']} lapses at {lapses}, its claim at {claim['live_until']}"
            elif claim["firm"] != (row["status"] != "held"):
                yield f"{row['id']} {row['status']} and firm={claim['firm']}"
    live = {row["id"]: row for row in _live(told)}
    for (reservation, host), claim in claims.items():
        over = claim["live_until"] != "infinity" and _instant(claim["live_until"]) <= now
        if not over and (reservation not in live or host not in live[reservation]["hosts"]):
            yield f"time of {host} taken by {reservation}, which does not have it"


def _unpaid(told: Told) -> Iterator[str]:
    """P3: the provider's own word, or the account's."""
    captured = {row["id"]: row["captured_minor"] for row in rows(told, "payment")}
    for row in rows(told, "reservation"):
        by_payment = row["status"] == "confirmed" and row["price_minor"] and not row["payment_reference"]
        if by_payment and captured.get(row["paid_by"], 0) < row["price_minor"]:
            yield f"{row['id']} is confirmed and not paid"


def _unbalanced(told: Told) -> Iterator[str]:
    """Money is conserved, in our rows and in the provider's books."""
    reservations = {row["id"]: row for row in rows(told, "reservation")}
    kept: Counter[str] = Counter()
    for row in rows(told, "payment"):
        refunds = [one for one in rows(told, "refund") if one["payment_id"] == row["id"]]
        due = sum(one["amount_minor"] for one in refunds if one["status"] == "due")
        if due != row["refund_due_minor"] and not row["needs_human_code"]:
            yield f"{row['id']} owes {row['refund_due_minor']}, its refunds {due}"
        left = row["captured_minor"] - row["refunded_minor"] - row["refund_due_minor"]
        pays_for = reservations[row["reservation_id"]]
        if left > 0:
            kept[row["reservation_id"]] += 1
            if pays_for["paid_by"] != row["id"] or pays_for["status"] not in (
                "confirmed",
                "cancelled",
                "processing",
            ):
                yield f"{row['id']} keeps {left} of {pays_for['id']}, which is {pays_for['status']}"
        books = told["provider"].get(row["provider_ref"])
        if books is not None:
            if sum(amount for _, amount in books["refunds"]) > books["captured"]:
                yield f"{row['id']}: more given back than was taken"
            if len(books["refunds"]) > len(refunds):
                yield f"{row['id']}: {len(books['refunds'])} refunds at the provider, {len(refunds)} of ours"
    yield from (f"{reservation} is paid twice" for reservation, times in kept.items() if times > 1)


def _jobs_lost(told: Told) -> Iterator[str]:
    """P6: whatever must follow is a row."""
    jobs = {row["key"] for row in rows(told, "job") if not row["dead_at"]}
    for row in rows(told, "reservation"):
        if row["status"] == "held" and f"deadline:{row['id']}" not in jobs and _live(told).count(row):
            yield f"{row['id']} is held and nobody will look at its deadline"
        if row["status"] == "confirmed" and f"send_mail:{row['id']}/confirmed" not in jobs:
            yield f"{row['id']} is confirmed and nobody will be told"
    for row in rows(told, "payment"):
        wanted = {
            "advance": row["status"] in ("open", "processing"),
            "refund": row["refund_due_minor"] > 0,
            "void": row["status"] == "authorized" and row["disposition"] == "void",
            "capture": row["status"] == "authorized" and row["disposition"] == "keep",
        }
        for kind, needed in wanted.items():
            if needed and f"{kind}:{row['id']}" not in jobs:
                yield f"{row['id']} is {row['status']} and nobody will {kind}"


def _told_and_not_written(told: Told, answers: dict[str, str]) -> Iterator[str]:
    """Whoever is told that a hold ran out has it in writing: a clock that steps back revives nothing."""
    told_so = any(answer in ("refused hold_expired", "expired") for answer in answers.values())
    if told_so and any(row["status"] == "held" and _past(row, told) for row in rows(told, "reservation")):
        yield "somebody was told that a hold ran out, and it is not written"


def _past(row: Told, told: Told) -> bool:
    return _instant(row["held_until"]) <= _instant(told["now"]) and row["at_deadline"] == "expire"


def _events_as_rows_say(told: Told) -> Iterator[str]:
    """P7: what is confirmed is in the calendar, once; what is over is not."""
    written = {row["uid"]: row["reservation_id"] for row in rows(told, "calendar_event")}
    stands = Counter(written.get(uid, f"nothing ({uid})") for uid, _ in told["calendar"] if uid != "stranger")
    for row in rows(told, "reservation"):
        wanted = 1 if row["in_calendars"] and row["status"] == "confirmed" else 0
        if (times := stands.pop(row["id"], 0)) != wanted:
            yield f"{row['id']} is {row['status']} and stands {times} times in the calendar"
    yield from (f"an event in the calendar that is of {whose}" for whose in stands)


def faults_at_rest(told: Told) -> list[str]:
    """When all that was to follow has followed, and two days have passed."""
    found = list(_two_at_once(told)) + list(_unpaid(told)) + list(_unbalanced(told))
    found += _events_as_rows_say(told)
    reservations = {row["id"]: row for row in rows(told, "reservation")}
    for row in rows(told, "payment"):
        books = told["provider"].get(row["provider_ref"])
        if books is None:
            continue
        given_back = sum(amount for _, amount in books["refunds"])
        pays_for = reservations[row["reservation_id"]]
        owner = pays_for["paid_by"] == row["id"] and pays_for["status"] in ("confirmed", "cancelled")
        if books["captured"] - given_back > 0 and not owner:
            found.append(
                f"{row['id']}: {books['captured'] - given_back} taken for nothing ({pays_for['status']})"
            )
        if books["captured"] != row["captured_minor"] or given_back != row["refunded_minor"]:
            found.append(f"{row['id']}: our rows and the provider's books differ")
        closeable = Mode(row["mode"]).can_be_closed
        if books["phase"] == "authorized" or (books["phase"] == "open" and closeable):
            found.append(f"{row['id']}: left {books['phase']} at the provider")
    mails = Counter(told["mails"])
    found += [f"{times} times the same mail: {mail}" for mail, times in mails.items() if times > 1]
    for row in reservations.values():
        if row["status"] == "confirmed" and not any(f"<{row['id']}.confirmed@" in mail for mail in mails):
            found.append(f"nobody told the customer of {row['id']}")
    return found


REST = (timedelta(0), timedelta(hours=1), timedelta(hours=3), timedelta(days=2))
"""What is let pass before everything is at rest, each time with all that is due done."""
