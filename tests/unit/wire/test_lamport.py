"""The logical clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.wire.lamport import LamportClock


def test_every_sending_takes_one_tick():
    clock = LamportClock()
    assert [clock.forward() for _ in range(3)] == [1, 2, 3]
    assert clock.value == 3


@pytest.mark.parametrize(("own", "other", "then"), [(5, 3, 6), (3, 5, 6), (0, -9, 1)])
def test_receiving_moves_past_both_times(own, other, then):
    clock = LamportClock(own)
    assert clock.adjust(other) == then == clock.value


@given(st.lists(st.none() | st.integers()))
def test_time_only_goes_forward(happenings):
    clock = LamportClock()
    for other in happenings:
        before = clock.value
        now = clock.forward() if other is None else clock.adjust(other)
        assert now > before
        assert now <= 2**63 + len(happenings)


def test_a_forged_time_moves_the_clock_no_further_than_any_other():
    clock = LamportClock(7)
    assert clock.adjust(10**4299) == 8
    assert clock.adjust(2**63) == 9
    assert clock.adjust(2**63 - 1) == 2**63
