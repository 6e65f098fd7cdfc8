# SPDX-License-Identifier: Apache-2.0
import itertools
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfirst.interval import from_ms, intersect, merge, to_ms

LISTS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=8)


def points(intervals):
    return {point for start, end in intervals for point in range(start, end)}


@pytest.mark.parametrize(
    ("given_", "merged"),
    [
        ([], []),
        ([(1, 2), (2, 3)], [(1, 3)]),
        ([(5, 6), (1, 2)], [(1, 2), (5, 6)]),
        ([(1, 9), (2, 3)], [(1, 9)]),
        ([(4, 4), (3, 2)], []),
    ],
)
def test_merge(given_, merged):
    assert merge(given_) == merged


@given(LISTS, LISTS)
def test_operations_are_those_of_sets(left, right):
    one, other = merge(left), merge(right)
    assert points(one) == points(left)
    assert points(intersect(one, other)) == points(left) & points(right)
    for result in (one, intersect(one, other)):
        assert all(start < end for start, end in result)
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(result))


def test_instants():
    noon = datetime(2026, 12, 7, 12, 0, 0, 1999, tzinfo=timezone(timedelta(hours=1)))
    assert to_ms(noon) == 1_796_641_200_001
    assert from_ms(1_796_641_200_001) == datetime(2026, 12, 7, 11, 0, 0, 1000, tzinfo=UTC)
    assert to_ms(datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)) == -1000
    with pytest.raises(TypeError):
        to_ms(datetime(2026, 12, 7))  # noqa: DTZ001
