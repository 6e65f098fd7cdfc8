# SPDX-License-Identifier: Apache-2.0
"""The searches of the normal run, and the long ones.

Two kinds. *Whole*: an effect runs to its end in one move, or its process dies after any of its steps. *Step by step*
(`flights`): effects are under way while anything else happens between any two of their steps.
"""

from holdfirst.payment.payment import Mode
from holdfirst.reservation.event_type import LatePayment
from races.exhaustive.scenario import Scenario

VERBS = frozenset({"release", "force", "cancel", "refund_part", "elsewhere", "extend"})
NO_FAULTS: frozenset[str] = frozenset()
RELEASE = frozenset({"release"})
DECLINE = frozenset({"decline"})
AUTHORIZE, SALE, UNCLOSEABLE = Mode.AUTHORIZE, Mode.SALE, Mode.SALE_UNCLOSEABLE
TWO_EFFECTS = Scenario(
    name="one, two effects at once, authorize", mode=AUTHORIZE, slots=(0,), flights=2, faults=NO_FAULTS
)
EVERY_VERB = Scenario(name="one, every verb, sale", mode=SALE, slots=(0,), verbs=VERBS, flights=0)


def two_payments(mode: Mode) -> Scenario:
    return Scenario(
        name=f"one, two payments, {mode}",
        mode=mode,
        slots=(0,),
        payments_max=2,
        flights=0,
        verbs=DECLINE,
        faults=NO_FAULTS,
    )


NORMAL = [
    Scenario(name="three on one slot, authorize", mode=AUTHORIZE, flights=0, faults=NO_FAULTS),
    Scenario(name="three on one slot, sale", mode=SALE, flights=0),
    Scenario(name="three on one slot, sale_uncloseable", mode=UNCLOSEABLE, flights=0),
    Scenario(
        name="three on one slot, late money returned", mode=UNCLOSEABLE, flights=0, late=LatePayment.RETURN
    ),
    Scenario(name="three on two seats", mode=UNCLOSEABLE, flights=0, seats=2),
    Scenario(
        name="a chain of three overlapping slots",
        mode=UNCLOSEABLE,
        flights=0,
        slots=(0, 1, 2),
        faults=NO_FAULTS,
    ),
    Scenario(name="two, step by step, authorize", mode=AUTHORIZE, slots=(0, 0), faults=NO_FAULTS),
    Scenario(name="two, step by step, sale", mode=SALE, slots=(0, 0), faults=NO_FAULTS),
    Scenario(name="two, step by step, sale_uncloseable", mode=UNCLOSEABLE, slots=(0, 0), faults=NO_FAULTS),
    Scenario(name="one, every verb, authorize", mode=AUTHORIZE, slots=(0,), verbs=VERBS, flights=0),
    EVERY_VERB,
    Scenario(name="one, every verb, sale_uncloseable", mode=UNCLOSEABLE, slots=(0,), verbs=VERBS, flights=0),
    TWO_EFFECTS,
    *(two_payments(mode) for mode in Mode if mode is not AUTHORIZE),
]

LONG = [
    two_payments(AUTHORIZE),
    *(
        Scenario(name=f"one, two effects at once, {mode}, faults", mode=mode, slots=(0,), flights=2)
        for mode in (AUTHORIZE, SALE)
    ),
    *(
        Scenario(
            name=f"four on one slot, {mode}",
            mode=mode,
            slots=(0, 0, 0, 0),
            flights=0,
            ticks=5,
            start_tick=4,
        )
        for mode in (SALE, UNCLOSEABLE)
    ),
    Scenario(name="three on one slot, authorize, faults", mode=AUTHORIZE, flights=0),
    Scenario(name="a chain of three, faults", mode=UNCLOSEABLE, flights=0, slots=(0, 1, 2)),
    Scenario(name="two, step by step, authorize, release", mode=AUTHORIZE, slots=(0, 0), verbs=RELEASE),
    Scenario(name="two, step by step, sale, release", mode=SALE, slots=(0, 0), verbs=RELEASE),
    Scenario(
        name="two, step by step, sale_uncloseable, release", mode=UNCLOSEABLE, slots=(0, 0), verbs=RELEASE
    ),
    *(
        Scenario(name=f"one, every verb, step by step, {mode}", mode=mode, slots=(0,), verbs=VERBS)
        for mode in Mode
    ),
]
