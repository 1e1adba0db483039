"""Durations, ages, rates, counts and sizes: shown in their columns, and read back."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.text.human import (
    human_age,
    human_count,
    human_duration,
    human_rate,
    human_size,
    parse_duration,
    parse_size,
)

NUMBERS = st.floats() | st.integers() | st.sampled_from([10**400, -(10**400), 0.0])
DAY = 86400


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0ms"), (0.00001, "0ms"), (0.0004, "0.4ms"), (0.00096, "1ms"), (0.006, "6ms"),
        (0.9994, "999ms"), (0.9996, "1.00s"), (1.04, "1.04s"), (9.996, "10.0s"), (30, "30.0s"),
        (59.6, "1m00s"), (134.4, "2m14s"), (3599.6, "1h00m"), (3 * 3600 + 300, "3h05m"),
        (4 * DAY + 7200, "4d02h"), (412 * DAY, "412d"), (1e10, "317y"), (1e15, ">9999y"),
        (-0.006, "-6ms"), (-0.00001, "0ms"), (-134, "-2m14s"), (-3540, "-59m"), (-1e15, "-9999y"),
        (math.nan, "?"), (math.inf, "inf"), (-math.inf, "-inf"), (10**400, "inf"),
        (-(10**400), "-inf"),
    ],
)  # fmt: skip
def test_a_duration_shows_its_two_largest_units(seconds, expected):
    assert human_duration(seconds) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0s"), (0.9, "0s"), (58.9, "58s"), (69, "1m09s"), (90000, "1d01h"), (-2.5, "-2s"),
        (-0.5, "0s"), (math.nan, "?"), (-math.inf, "-inf"),
    ],
)  # fmt: skip
def test_an_age_has_whole_seconds(seconds, expected):
    assert human_age(seconds) == expected


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (0, "0/s"), (3.14, "3.1/s"), (9.96, "10/s"), (1284, "1284/s"), (12345, "12k/s"),
        (0.05, "3.0/m"), (0.0002, "0.7/h"), (1e-9, "<0.1/h"), (-2, "-2.0/s"), (math.nan, "?"),
        (math.inf, "inf"),
    ],
)  # fmt: skip
def test_a_slow_rate_is_told_per_minute_or_hour(rate, expected):
    assert human_rate(rate) == expected


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, "0"), (-0.2, "0"), (999, "999"), (999.6, "1.0k"), (3600, "3.6k"), (9960, "10k"),
        (12345, "12k"), (999_600, "1.0M"), (1_200_000, "1.2M"), (-3600, "-3.6k"),
        (10**21, ">999E"), (-(10**21), "-999E"), (math.nan, "?"), (10**400, "inf"),
    ],
)  # fmt: skip
def test_a_count_has_at_most_three_digits(number, expected):
    assert human_count(number) == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, "0B"), (512, "512B"), (1000, "1.0K"), (1536, "1.5K"), (65536, "64K"),
        (84 * 2**20, "84M"), (1.5 * 2**30, "1.5G"), (-2048, "-2.0K"),
    ],
)  # fmt: skip
def test_a_size_counts_in_1024(size, expected):
    assert human_size(size) == expected


@given(NUMBERS, st.floats(0, 1e20), st.floats(0, 900))
def test_columns_are_never_exceeded(number, rate, small):
    assert len(human_duration(number)) <= 6
    assert len(human_age(number)) <= 6
    assert len(human_rate(number)) <= 7
    assert len(human_rate(rate)) <= 6
    assert max(len(human_count(number)), len(human_size(number))) <= 5
    assert max(len(human_count(small)), len(human_size(small))) <= 4


@given(st.floats(0, 99 * DAY))
def test_a_duration_is_read_back_as_what_it_was_but_for_rounding(seconds):
    back = parse_duration(human_duration(seconds))
    smaller = 3600 if seconds > DAY else 60 if seconds > 3500 else 0.51
    assert back == pytest.approx(seconds, abs=smaller, rel=0.01)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10", 10), ("10s", 10), ("500ms", 0.5), ("5m", 300), ("2h", 7200), ("1d", DAY),
        ("1h30m", 5400), ("1.5h", 5400), ("0.25", 0.25), (" 5m ", 300),
        ("1d2h3m4s5ms", DAY + 7384.005),
    ],
)  # fmt: skip
def test_a_duration_is_read(text, seconds):
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "x", "5x", "m", "30m1h", "5M", "-5", "1e3", "inf", "nan", "9" * 400, "1h 30m",
        ".5", "\u0665m",
    ],
)  # fmt: skip
def test_what_is_no_duration_shows_the_grammar(text):
    with pytest.raises(ValueError, match="1h30m"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("100", 100), ("64K", 65536), ("10M", 10 * 2**20), ("1.5G", 3 * 2**29), ("2T", 2**41),
        ("10MiB", 10 * 2**20), ("10mb", 10 * 2**20), ("512B", 512), (" 1k ", 1024),
    ],
)  # fmt: skip
def test_a_size_is_read(text, size):
    assert parse_size(text) == size
    assert isinstance(parse_size(text), int)


@pytest.mark.parametrize("text", ["", "K", "10X", "-1", "1e3", "10 M", "1.M", "9" * 30])
def test_what_is_no_size_shows_the_grammar(text):
    with pytest.raises(ValueError, match="64K"):
        parse_size(text)


@pytest.mark.parametrize("parse", [parse_duration, parse_size])
def test_a_complaint_is_fit_for_a_terminal(parse):
    with pytest.raises(ValueError, match=r'"\\x1b\[31m') as caught:
        parse("\x1b[31m" + "x" * 500)
    assert len(str(caught.value)) < 120


@given(st.integers(0, 900 * 2**40))
def test_a_size_is_read_back_as_what_it_was_but_for_rounding(size):
    assert parse_size(human_size(size)) == pytest.approx(size, rel=0.06)
