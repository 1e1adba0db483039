"""Tests for evtools.top.cells."""

import pytest

from evtools.filters import Kind
from evtools.top.cells import (
    count_column,
    duration_column,
    id_column,
    known,
    name_column,
    percent,
    percent_column,
    rate_column,
    short_uuid,
    text_column,
    time_column,
)
from evtools.top.columns import Lens

UUID = "7a8b8d37-ebe5-4d26-8057-17bb6963e503"


@pytest.mark.parametrize(
    ("make", "value", "text"),
    [
        (count_column, 12_345, "12k"),
        (count_column, None, "-"),
        (rate_column, 3.14, "3.1/s"),
        (duration_column, 1.04, "1.04s"),
        (percent_column, 0.333, "0.33"),
        (time_column, 940.0, "1m00s"),
        (name_column, "proj.add", "proj.add"),
        (text_column, None, "-"),
        (id_column, UUID, UUID),
    ],
)
def test_each_kind_says_its_values(make, value, text):
    column = make("name", "TITLE", "a test", lambda row, _: row)
    assert column.text(value, Lens(1000.0)) == text


def test_figures_are_on_the_right_and_begin_with_the_largest():
    column = rate_column("rate", "RATE", "a test", lambda row, _: row, from_cols=100)
    assert (column.align, column.descending, column.kind) == ("right", True, Kind.NUMBER)
    assert column.from_cols == 100
    assert column.cols == 6
    assert count_column("x", "CONSUMERS", "", lambda row, _: row).cols == 9


def test_what_is_usual_can_be_said_otherwise():
    column = name_column("x", "X", "", lambda row, _: row, flex=0, kind=Kind.OTHER)
    assert (column.flex, column.kind, column.elide) == (0, Kind.OTHER, True)


def test_a_uuid_is_shortened_and_nothing_else_is():
    assert short_uuid(UUID) == "7a8b8d37"
    assert short_uuid("a-custom-id") == "a-custom-id"


def test_unknown_values_stay_unknown():
    assert percent(0.25) == 25.0
    assert percent(None) is None
    assert known(str)(None, Lens(0.0)) == "-"
