import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.state.statistics.rows import (
    BUCKETS,
    ERROR_MAX,
    LONGEST,
    RUN,
    SHORTEST,
    STATES,
    WAIT,
    WORKER,
    duration_of,
    run_cell,
    wait_cell,
)


@given(st.floats(SHORTEST, LONGEST, exclude_min=True))
def test_a_duration_comes_back_nearly_as_it_was(seconds):
    assert duration_of(run_cell(seconds) - RUN) == pytest.approx(seconds, rel=ERROR_MAX)
    assert run_cell(seconds) - RUN == wait_cell(seconds) - WAIT


@given(st.floats(0, SHORTEST))
def test_the_shortest_durations_are_as_good_as_none(seconds):
    assert duration_of(wait_cell(seconds) - WAIT) == 0.0


@pytest.mark.parametrize("seconds", [LONGEST * 2, 1e300, float("inf"), 10**400])
def test_the_longest_durations_count_as_eleven_days(seconds):
    assert duration_of(run_cell(seconds) - RUN) == pytest.approx(LONGEST, rel=0.1)


def test_no_cell_means_two_things():
    runs = set(range(RUN, RUN + BUCKETS))
    waits = set(range(WAIT, WAIT + BUCKETS))
    assert not runs & waits
    assert max(waits) < WORKER
    assert max(STATES.values()) < RUN
    assert len(set(STATES.values())) == len(STATES)
