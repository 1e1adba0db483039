"""Cells of CSV: read back as they were, and never run."""

import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.text import csv_cell, sanitize

STARTS = [*"=+-@", "\uff1d", "\uff0b", "\uff0d", "\uff20"]


@pytest.mark.parametrize("start", STARTS)
def test_no_text_is_a_formula(start):
    assert csv_cell(f"{start}1+1") == f"'{start}1+1"


def test_a_number_may_be_negative():
    assert csv_cell("-1", is_number=True) == "-1"


@given(st.lists(st.text(), min_size=2, max_size=4))
def test_what_is_read_back_is_what_was_written(texts):
    line = ",".join(map(csv_cell, texts))
    (cells,) = csv.reader([line])
    assert [cell.removeprefix("'") for cell in cells] == [
        sanitize(text).removeprefix("'") for text in texts
    ]
    assert not any(cell.startswith(tuple(STARTS)) for cell in cells)
