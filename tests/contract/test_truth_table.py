# SPDX-License-Identifier: Apache-2.0
"""Every verb in every state, as the table of the contract has it: what is answered, and what is so afterwards."""

from itertools import product
from typing import Any

import pytest

from counter import AFTERWARDS, RETURN, Counter
from holdfirst.effects import confirm

HELD = "held free open_authorize open_sale open_uncloseable declined"
OPEN = "open_authorize open_sale open_uncloseable"
PROCESSING = "processing_by_capture processing_by_capture_late processing_by_closing processing_by_release"
EXPIRED = "expired expired_unwritten expired_taken free_expired open_authorize_late open_uncloseable_late closing_unanswered"
CONFIRMED = "confirmed confirmed_late"
RELEASED = "released release_unanswered"
ALL = f"{HELD} {PROCESSING} {CONFIRMED} {RELEASED} {EXPIRED} cancelled"

# verb | who | states | status | answer: a code, or the status that the reservation has then
TABLE = f"""
patch           | both   | {HELD}                                            | 200 | held
patch           | both   | {PROCESSING}                                      | 409 | payment_in_progress
patch           | secret | {CONFIRMED}                                       | 200 | confirmed
patch           | client | {CONFIRMED}                                       | 403 | forbidden_for_key
patch           | both   | {RELEASED}                                        | 409 | already_released
patch           | both   | {EXPIRED}                                         | 409 | hold_expired
patch           | both   | cancelled                                         | 409 | already_cancelled
checkout        | both   | held declined {OPEN}                              | 200 | held
checkout        | both   | free                                              | 409 | nothing_to_pay
checkout        | both   | {PROCESSING}                                      | 409 | payment_in_progress
checkout        | both   | {CONFIRMED}                                       | 409 | already_confirmed
checkout        | both   | {RELEASED}                                        | 409 | already_released
checkout        | both   | {EXPIRED}                                         | 409 | hold_expired
checkout        | both   | cancelled                                         | 409 | already_cancelled
extend          | both   | {HELD}                                            | 200 | held
extend          | both   | {PROCESSING}                                      | 409 | payment_in_progress
extend          | both   | {CONFIRMED}                                       | 409 | already_confirmed
extend          | both   | {RELEASED}                                        | 409 | already_released
extend          | both   | {EXPIRED}                                         | 409 | hold_expired
extend          | both   | cancelled                                         | 409 | already_cancelled
release         | both   | {HELD} {RELEASED}                                 | 200 | released
release         | both   | {PROCESSING}                                      | 409 | payment_in_progress
release         | both   | {CONFIRMED}                                       | 409 | already_confirmed
release         | both   | {EXPIRED}                                         | 200 | expired
release         | both   | cancelled                                         | 409 | already_cancelled
release_force   | secret | {HELD} {RELEASED} {PROCESSING}                    | 200 | released
release_force   | secret | {CONFIRMED}                                       | 409 | already_confirmed
release_force   | secret | {EXPIRED}                                         | 200 | expired
release_force   | secret | cancelled                                         | 409 | already_cancelled
release_force   | client | {ALL}                                             | 403 | forbidden_for_key
confirm         | both   | held declined {OPEN}                              | 402 | payment_required
confirm         | both   | free                                              | 200 | confirmed
confirm         | both   | {PROCESSING}                                      | 409 | payment_in_progress
confirm         | both   | {CONFIRMED}                                       | 200 | confirmed
confirm         | both   | {RELEASED}                                        | 409 | already_released
confirm         | both   | {EXPIRED}                                         | 409 | hold_expired
confirm         | both   | cancelled                                         | 409 | already_cancelled
confirm_free    | both   | held declined {OPEN}                              | 402 | payment_required
confirm_free    | both   | free free_expired                                 | 200 | confirmed
confirm_free    | both   | {PROCESSING}                                      | 409 | payment_in_progress
confirm_free    | both   | {CONFIRMED}                                       | 200 | confirmed
confirm_free    | both   | {RELEASED}                                        | 409 | already_released
confirm_free    | both   | expired expired_unwritten open_authorize_late     | 402 | payment_required
confirm_free    | both   | open_uncloseable_late closing_unanswered          | 402 | payment_required
confirm_free    | both   | expired_taken                                     | 409 | slot_taken
confirm_free    | both   | cancelled                                         | 409 | already_cancelled
confirm_ref     | secret | {HELD} {CONFIRMED}                                | 200 | confirmed
confirm_ref     | secret | {PROCESSING}                                      | 409 | payment_in_progress
confirm_ref     | secret | {RELEASED}                                        | 409 | already_released
confirm_ref     | secret | {EXPIRED}                                         | 409 | hold_expired
confirm_ref     | secret | cancelled                                         | 409 | already_cancelled
confirm_ref     | client | {ALL}                                             | 403 | forbidden_for_key
confirm_free_ref| secret | {HELD} {CONFIRMED}                                | 200 | confirmed
confirm_free_ref| secret | {PROCESSING}                                      | 409 | payment_in_progress
confirm_free_ref| secret | {RELEASED}                                        | 409 | already_released
confirm_free_ref| secret | expired expired_unwritten free_expired            | 200 | confirmed
confirm_free_ref| secret | open_authorize_late open_uncloseable_late         | 200 | confirmed
confirm_free_ref| secret | closing_unanswered                                | 200 | confirmed
confirm_free_ref| secret | expired_taken                                     | 409 | slot_taken
confirm_free_ref| secret | cancelled                                         | 409 | already_cancelled
confirm_free_ref| client | {ALL}                                             | 403 | forbidden_for_key
cancel          | both   | {HELD} {RELEASED} {EXPIRED}                       | 409 | not_confirmed
cancel          | both   | {PROCESSING}                                      | 409 | payment_in_progress
cancel          | both   | {CONFIRMED}                                       | 200 | cancelled
cancel          | both   | cancelled                                         | 409 | already_cancelled
cancel_equal    | secret | {HELD} {RELEASED} {EXPIRED}                       | 409 | not_confirmed
cancel_equal    | secret | {PROCESSING}                                      | 409 | payment_in_progress
cancel_equal    | secret | {CONFIRMED} cancelled                             | 200 | cancelled
cancel_equal    | client | {ALL}                                             | 403 | forbidden_for_key
reschedule      | both   | held free declined                                | 200 | held
reschedule      | both   | {OPEN}                                            | 409 | checkout_open
reschedule      | both   | {PROCESSING}                                      | 409 | payment_in_progress
reschedule      | both   | {CONFIRMED}                                       | 200 | confirmed
reschedule      | both   | {RELEASED}                                        | 409 | already_released
reschedule      | both   | {EXPIRED}                                         | 409 | hold_expired
reschedule      | both   | cancelled                                         | 409 | already_cancelled
"""

Row = tuple[str, str, str, int, str]
"""state, verb, who, HTTP status, code or status of the reservation"""


def rows() -> list[Row]:
    found: list[Row] = []
    for line in TABLE.strip().splitlines():
        verb, who, states, status, answer = (part.strip() for part in line.split("|"))
        askers = ("secret", "client") if who == "both" else (who,)
        found += [
            (state, verb, asker, int(status), answer) for state, asker in product(states.split(), askers)
        ]
    return found


ROWS = rows()
BODIES: dict[str, Any] = {
    "patch": {"metadata": {"seen": True}},
    "checkout": RETURN,
    "release_force": {"force": True},
    "confirm_free": {"if_still_free": True},
    "confirm_ref": {"payment_reference": "till 7"},
    "confirm_free_ref": {"payment_reference": "till 7", "if_still_free": True},
    "cancel_equal": {"reason": "ill", "refund": "full"},
}
READS_AS = {state: state.partition("_")[0] for state in ALL.split()} | {
    state: name
    for name, states in (("held", HELD), ("released", RELEASED), ("expired", EXPIRED))
    for state in states.split()
}


def test_no_combination_is_missing() -> None:
    verbs = {
        *(
            [
                "patch",
                "checkout",
                "extend",
                "release",
                "release_force",
                "confirm",
                "confirm_free",
                "confirm_ref",
            ]
        ),
        *(["confirm_free_ref", "cancel", "cancel_equal", "reschedule"]),
    }
    assert sorted(row[:3] for row in ROWS) == sorted(product(ALL.split(), verbs, ("secret", "client")))


@pytest.mark.parametrize("state", ALL.split())
async def test_what_is_answered_and_what_is_so_afterwards(
    counter: Counter, clock, state: str, monkeypatch
) -> None:
    monkeypatch.setattr(confirm, "WAIT_SECONDS", 0)
    mine = [row for row in ROWS if row[0] == state]
    made = [await counter.in_state(state) for _ in mine]
    if state in AFTERWARDS:
        await clock.shift(AFTERWARDS[state])
    if state == "expired":
        for held in made:
            await counter.read(held)
    if state == "expired_taken":
        for held in made:
            await counter.take(held)
    counter.site.shop.provider.faults.clear()
    wrong = [
        (row, seen)
        for row, held in zip(mine, made, strict=True)
        if (seen := await answered(counter, held, row)) is not None
    ]
    assert not wrong, "\n".join(map(str, wrong))


async def answered(counter: Counter, held: dict[str, Any], row: Row) -> str | None:
    """What disagrees with this row; None: nothing."""
    state, verb, who, status, expected = row
    key = "secret" if who == "secret" else held["client_secret"]
    name = verb.partition("_")[0]
    if state.startswith("processing_by_capture"):
        counter.site.shop.provider.faults["capture"] = ["lost_before"] * 9
    if verb == "patch":
        answer = await counter.call("PATCH", f"/v1/reservations/{held['id']}", BODIES[verb], key)
    else:
        body = {"start": counter.next_start()} if verb == "reschedule" else BODIES.get(verb)
        answer = await counter.verb(held, name, body, key)
    told = answer.json()
    seen = told["code"] if answer.status_code >= 400 else told["status"]
    after = await counter.read(held)
    if seen == "payment_in_progress" and not answer.headers.get("retry-after"):
        return "no Retry-After"
    if (answer.status_code, seen) != (status, expected):
        return f"answered {answer.status_code} {seen}"
    should = expected if status == 200 else READS_AS[state]
    if after["status"] != should:
        return f"is {after['status']} afterwards"
    if status != 200:
        moved = [
            name for name in ("start", "sequence", "metadata", "held_until") if after[name] != held[name]
        ]
        return f"changed although refused: {moved}" if moved else None
    return effect_missing(state, verb, held, told)


def effect_missing(state: str, verb: str, held: dict[str, Any], told: dict[str, Any]) -> str | None:
    """What a verb that succeeded must have done."""
    match verb:
        case "patch":
            good = told["metadata"] == {"seen": True}
        case "checkout":
            before = (held["payment"] or {}).get("id")
            same = told["payment"]["id"] == before
            good = told["payment"]["status"] == "open" and same == state.startswith("open_")
        case "extend":
            good = told["held_until"] > held["held_until"] and told["extensions_left"] == 0
        case "reschedule":
            counted = 1 if told["status"] == "confirmed" else 0
            good = told["start"] != held["start"] and told["sequence"] == counted
            good = good and told["held_until"] == held["held_until"] and told["price"] == held["price"]
        case _:
            good = True
    return None if good else f"did not do it: {told}"
