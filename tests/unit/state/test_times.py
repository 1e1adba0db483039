"""Times: differences and moments, of which some are not known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.state.times import elapsed, epoch


def test_the_time_between_two_moments_is_their_difference():
    assert elapsed(10.0, 12.5) == 2.5
    assert elapsed(10.0, 10.0) == 0.0


@pytest.mark.parametrize(("start", "end"), [(None, 1.0), (1.0, None), (None, None), (2.0, 1.0)])
def test_what_is_not_known_or_runs_backwards_is_no_time(start, end):
    assert elapsed(start, end) is None


@pytest.mark.parametrize(
    "moment",
    [
        "2026-11-21T14:56:32.500000+00:00",
        "2026-11-21T14:56:32.500000Z",
        "2026-11-21T14:56:32.500000",
        "2026-11-21T20:26:32.500000+05:30",
        "2026-11-21T11:26:32.500000-03:30",
        "2026-11-21 14:56:32.5",
    ],
)
def test_a_moment_is_the_same_in_every_zone_and_utc_without_one(moment):
    assert epoch(moment) == 1795272992.5


@pytest.mark.parametrize(
    "moment",
    [
        None,
        "",
        "soon",
        "NaN",
        "1795272992.5",
        "2026-13-45T99:99:99",
        "2026-11-21T14:56:32\x1b[2J",
        "\ud800",
        "9" * 5000,
    ],
)
def test_what_is_no_moment_is_none(moment):
    assert epoch(moment) is None


def test_the_first_and_the_last_of_all_days_are_moments():
    assert epoch("0001-01-01T00:00:00+23:59") < epoch("0001-01-02") < 0
    assert epoch("9999-12-31T23:59:59-23:59") > epoch("9999-12-31") > 2**37


@given(st.text())
def test_no_text_makes_it_raise(moment):
    assert isinstance(epoch(moment), float | None)


@given(st.datetimes(timezones=st.timezones()))
def test_a_moment_that_python_writes_is_read(moment):
    assert epoch(moment.isoformat()) == pytest.approx(moment.timestamp())
