"""Tests for evtools.filters.numbers."""

import pytest

from evtools.filters.numbers import comparison, read_any, read_duration, read_number, within
from evtools.filters.tokens import Mistake, Value


def values(text):
    return [Value(item, position=7, length=len(item)) for item in text.split(",")]


@pytest.mark.parametrize(
    ("text", "number"),
    [("3", 3), ("-1.5", -1.5), (".5", 0.5), ("1e6", 1e6), ("9" * 30, int("9" * 30))],
)
def test_a_number_is_read(text, number):
    assert read_number(text) == number


@pytest.mark.parametrize("text", ["", "x", "nan", "inf", "1_000", "0x10", "1e", "--1"])
def test_what_is_no_number_is_refused(text):
    with pytest.raises(ValueError, match="is no number"):
        read_number(text)


def test_a_duration_may_be_negative():
    assert read_duration("1m") == 60
    assert read_duration("-500ms") == -0.5


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("5", 5),
        ("5m", 300),
        ("10M", 10 * 2**20),
        ("64KiB", 65536),
        ("2B", 2),
        ("-1.5", -1.5),
        ("500ms", 0.5),
    ],
)
def test_for_other_fields_the_unit_tells_what_is_meant(text, number):
    assert read_any(text) == number


def test_what_is_none_of_them_is_refused_with_all_of_them():
    with pytest.raises(ValueError, match=r"no number, duration .* or size"):
        read_any("5x")


@pytest.mark.parametrize(
    ("sign", "passing"), [(">", [3]), (">=", [2, 3]), ("<", [1]), ("<=", [1, 2])]
)
def test_a_comparison_has_a_limit(sign, passing):
    test = comparison(sign, Value("2"), read_number)
    assert [number for number in (1, 2, 3) if test(number)] == passing


@pytest.mark.parametrize(
    ("text", "passing"),
    [
        ("2", [2]),
        ("1,3", [1, 3]),
        ("2..3", [2, 3]),
        ("2..", [2, 3, 4]),
        ("..2", [1, 2]),
        ("1,3..", [1, 3, 4]),
    ],
)
def test_values_are_numbers_or_ranges_with_both_ends(text, passing):
    test = within(values(text), read_number)
    assert [number for number in (1, 2, 3, 4) if test(number)] == passing


def test_very_large_integers_are_compared_exactly():
    test = within([Value(str(10**400))], read_number)
    assert test(10**400)
    assert not test(10**400 + 1)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x", "no number"),
        ("1..x", "no number"),
        ("x..", "no number"),
        ("3..1", "before it begins"),
        ("..", "needs an end"),
    ],
)
def test_a_bad_value_is_refused_in_place(text, says):
    with pytest.raises(Mistake, match=says) as caught:
        within(values(text), read_number)
    assert (caught.value.position, caught.value.length) == (7, len(text))
