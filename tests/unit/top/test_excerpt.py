"""Tests for evtools.top.excerpt."""

from types import SimpleNamespace

import pytest

from evtools.top.excerpt import Row, excerpt_of


class Table(SimpleNamespace):
    """A table of 1000 rows with the cursor on one."""

    total = 2000

    def __len__(self):
        return 1000

    def row(self, index):
        return Row(str(index), (f"cell {index}",))


@pytest.mark.parametrize(("focus_index", "focus"), [(5, 1), (4, 0)])
def test_it_has_the_rows_that_were_asked_for_in_order(focus_index, focus):
    made = excerpt_of(Table(focus_index=focus_index), {7, 3, 5})
    assert [row.key for row in made.rows] == ["3", "5", "7"]
    assert (made.focus, made.shown, made.total) == (focus, 1000, 2000)


def test_it_has_no_more_rows_than_a_terminal():
    assert len(excerpt_of(Table(focus_index=0), range(1000)).rows) == 400
