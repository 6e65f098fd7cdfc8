# SPDX-License-Identifier: Apache-2.0
"""The judge of histories, judged: it lets good ones pass and no bad one."""

import itertools
import random

import pytest

from crashes.history import VERBS, Op, linearizable


def op(verb, reservation, invoked, returned, outcome):
    return Op("slot", verb, reservation, invoked, returned, outcome)


HELD = op("reserve", "a", 0, 1, "held")
GOOD = {
    "one after another": [HELD, op("confirm", "a", 2, 3, "done"), op("read", "a", 4, 5, "confirmed")],
    "the loser asks while the winner does": [HELD, op("reserve", None, 0.5, 2, "taken")],
    "taken again after a release": [
        HELD,
        op("release", "a", 2, 3, "done"),
        op("reserve", "b", 2.5, 4, "held"),
        op("read", "a", 5, 6, "released"),
        op("read", "b", 5, 6, "held"),
    ],
    "nobody was answered, and somebody has it": [
        op("reserve", None, 0, None, None),
        op("reserve", None, 5, 6, "taken"),
    ],
    "nobody was answered, and nothing came of it": [
        op("reserve", None, 0, None, None),
        op("reserve", "b", 5, 6, "held"),
    ],
    "an unanswered confirm that took effect late": [
        HELD,
        op("confirm", "a", 1.5, None, None),
        op("read", "a", 2, 3, "held"),
        op("read", "a", 4, 5, "confirmed"),
    ],
    "a confirm that nobody heard, cancelled by another one before it was repeated": [
        HELD,
        op("confirm", "a", 1.5, None, None),
        op("cancel", "a", 2, 3, "done"),
        op("confirm", "a", 4, 5, "already_cancelled"),
    ],
    "a read beside a confirm says either": [
        HELD,
        op("confirm", "a", 2, 6, "done"),
        op("read", "a", 3, 4, "confirmed"),
        op("read", "a", 3, 5, "held"),
    ],
}
BAD = {
    "two winners": [HELD, op("reserve", "b", 0.5, 2, "held")],
    "taken by nobody": [op("reserve", None, 0, 1, "taken")],
    "taken before anybody asked": [op("reserve", None, 0, 1, "taken"), op("reserve", "a", 2, 3, "held")],
    "a hold that was lost": [HELD, op("reserve", "b", 2, 3, "held")],
    "a confirm that was lost": [HELD, op("confirm", "a", 2, 3, "done"), op("read", "a", 4, 5, "held")],
    "time that goes backwards": [
        HELD,
        op("confirm", "a", 2, 9, "done"),
        op("read", "a", 3, 4, "confirmed"),
        op("read", "a", 5, 6, "held"),
    ],
    "released and confirmed": [HELD, op("release", "a", 2, 5, "done"), op("confirm", "a", 6, 7, "done")],
    "sold to two, the first cancelled too late": [
        HELD,
        op("confirm", "a", 2, 3, "done"),
        op("reserve", "b", 4, 5, "held"),
        op("cancel", "a", 6, 7, "done"),
    ],
    "read before it was made": [op("read", "a", 0, 1, "held"), op("reserve", "a", 2, 3, "held")],
}


@pytest.mark.parametrize("name", GOOD)
def test_good_histories_pass(name):
    for order in itertools.permutations(GOOD[name]):
        assert linearizable(order)


@pytest.mark.parametrize("name", BAD)
def test_bad_histories_do_not(name):
    for order in itertools.permutations(BAD[name]):
        assert not linearizable(order)


def invented(seed):
    """A true history of five clients: each operation takes effect somewhere between question and answer."""
    chance = random.Random(seed)
    moments, state, ops = sorted(chance.uniform(0, 10) for _ in range(25)), {}, []
    for number, moment in enumerate(moments):
        invoked, returned = moment - chance.uniform(0, 2), moment + chance.uniform(0, 2)
        live = [one for one, status in state.items() if status in ("held", "confirmed")]
        if not state or chance.random() < 0.4:
            if live:
                ops.append(op("reserve", None, invoked, returned, "taken"))
            else:
                state[str(number)] = "held"
                ops.append(op("reserve", str(number), invoked, returned, "held"))
            continue
        about = chance.choice(list(state))
        verb = chance.choice(["confirm", "release", "cancel", "read"])

        [(outcome, status)] = VERBS[verb][state[about]].items()
        state[about] = status
        ops.append(op(verb, about, invoked, returned, outcome))
    return ops


def spoilt(history, seed):
    """One answer of it is another one."""
    chance = random.Random(seed)
    number = chance.randrange(len(history))
    one = history[number]
    if one.verb == "reserve":
        other = op("reserve", f"new-{seed}", one.invoked, one.returned, "held")
        if one.outcome == "held":
            other = op("reserve", None, one.invoked, one.returned, "taken")
    else:
        others = {"confirm": "already_released", "release": "already_confirmed", "cancel": "not_confirmed"}
        wrong = others.get(one.verb) if one.outcome == "done" else "cancelled"
        other = op(one.verb, one.reservation, one.invoked, one.returned, wrong or "done")
    return [*history[:number], other, *history[number + 1 :]]


def test_no_true_history_is_refused_and_many_spoilt_ones_are():
    histories = [invented(seed) for seed in range(300)]
    assert all(linearizable(history) for history in histories)
    # Some stay true: what really happened is not the only thing that could have.
    caught = sum(not linearizable(spoilt(history, seed)) for seed, history in enumerate(histories))
    assert caught > 150, caught
