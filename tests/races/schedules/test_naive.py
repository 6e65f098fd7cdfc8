# SPDX-License-Identifier: Apache-2.0
"""The usual way, and ours, in the same races: how often one slot is sold twice, how often money buys nothing."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta

from races.schedules import judging, naive
from races.schedules.bench import Bench, Operation
from races.schedules.conftest import In
from races.schedules.driver import Race
from races.schedules.explore import Bounds, Explorer
from races.schedules.judging import Told
from races.schedules.operations import OPERATIONS
from races.schedules.states import PAST, STATES, Subject, prepare


@dataclass
class Count:
    schedules: int = 0
    double_bookings: int = 0
    charges_without_a_slot: int = 0


async def count(
    bench: Bench,
    subject: Subject,
    operations: Sequence[Operation],
    ticks: list[timedelta],
    wrong: tuple[Callable[[Told], object], Callable[[Told], object]],
) -> Count:
    """Each schedule judged, none left out because another one came to the same; of more than 300 so many."""
    counted = Count()

    async def start() -> Race:
        return await bench.start(subject, list(operations), ticks)

    async def judge(race: Race, letters: str) -> None:
        told = await bench.tell()
        counted.schedules += 1
        counted.double_bookings += bool(wrong[0](told))
        counted.charges_without_a_slot += bool(wrong[1](told))

    await Explorer(bench, start, judge, bounds=Bounds(complete=300, bounded=1)).run()
    return counted


def added(counts: Sequence[Count]) -> Count:
    return Count(
        sum(one.schedules for one in counts),
        sum(one.double_bookings for one in counts),
        sum(one.charges_without_a_slot for one in counts),
    )


def our_double(told: Told) -> object:
    return list(judging._two_at_once(told))


def our_ghost(told: Told) -> object:
    """Captured money that nothing stands behind and nobody owes back (payments that were heard of)."""
    return [fault for fault in judging._unbalanced(told) if " keeps " in fault]


async def races_of_naive(bench: Bench) -> Count:
    subject = await prepare(bench, STATES["free"])
    wrong = (naive.double_booked, naive.ghost_payment)
    await naive.prepare_naive(bench, held=False)
    free = await count(bench, subject, [naive.reserve, naive.reserve_too], [], wrong)
    await naive.prepare_naive(bench, held=True)
    paid = await count(bench, subject, [naive.reserve, naive.cron, naive.webhook], [PAST], wrong)
    await naive.prepare_naive(bench, held=False)
    return added([free, paid])


async def races_of_ours(bench: Bench) -> Count:
    wrong = (our_double, our_ghost)
    subject = await prepare(bench, STATES["free"])
    reserve = OPERATIONS["reserve"].run
    counts = [await count(bench, subject, [reserve, reserve], [], wrong)]
    for state in ("paid sale_uncloseable", "paid authorize"):
        subject = await prepare(bench, STATES[state])
        operations = [OPERATIONS[name].run for name in ("reserve", "expire", "advance")]
        counts.append(await count(bench, subject, operations, [PAST], wrong))
    return added(counts)


def test_the_usual_way_double_books_and_takes_money_for_nothing(
    laboratory: In, figures: Callable[..., None]
) -> None:
    counted = laboratory(races_of_naive)
    assert counted.double_bookings > 0
    assert counted.charges_without_a_slot > 0
    figures("the usual way", **asdict(counted))


def test_ours_does_not(laboratory: In, figures: Callable[..., None]) -> None:
    counted = laboratory(races_of_ours)
    figures("holdfirst, in races of the same kind", **asdict(counted))
    assert (counted.double_bookings, counted.charges_without_a_slot) == (0, 0)
