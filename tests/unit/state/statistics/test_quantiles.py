from collections import Counter
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.state.statistics.rows import (
    ERROR_MAX,
    RUN,
    SHORTEST,
    SKEWED,
    WAIT,
    Quantiles,
    quantiles,
    run_cell,
    wait_cell,
)


def exact(values, share):
    return sorted(values)[ceil(share * len(values)) - 1]


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=300))
def test_quantiles_are_within_the_stated_error(values):
    found = quantiles(Counter(map(run_cell, values)), RUN)
    assert found.count == len(values)
    for share, quantile in ((0.5, found.p50), (0.95, found.p95), (0.99, found.p99)):
        assert quantile == pytest.approx(exact(values, share), rel=ERROR_MAX, abs=SHORTEST)
    assert found.max == pytest.approx(max(values), rel=ERROR_MAX, abs=SHORTEST)
    assert found.p50 <= found.p95 <= found.p99 <= found.max


def test_nothing_has_no_quantiles():
    assert quantiles({}, RUN) == Quantiles(0, None, None, None, None)


def test_each_histogram_is_read_by_itself():
    cells = Counter([run_cell(1.0), run_cell(1.0), wait_cell(60.0)])
    assert quantiles(cells, RUN).max == pytest.approx(1.0, rel=ERROR_MAX)
    assert quantiles(cells, WAIT).p50 == pytest.approx(60.0, rel=ERROR_MAX)
    assert quantiles(cells, WAIT).count == 1


def test_what_was_left_out_is_told():
    assert quantiles({SKEWED: 3}, WAIT) == Quantiles(skewed=3)
    assert quantiles({SKEWED: 3, wait_cell(1.0): 1}, WAIT).skewed == 3
