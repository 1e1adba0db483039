"""Tests for evtools.top.listing."""

import pytest

from evtools.errors import FilterError
from evtools.top.cells import count_column, name_column
from evtools.top.columns import Lens
from evtools.top.listing import Listing
from tools.clock import FakeClock

COLUMNS = (
    name_column("name", "NAME", "the name", lambda row, _: row["name"]),
    count_column("count", "COUNT", "how many", lambda row, _: row.get("count")),
)


class Fruit(Listing):
    """A table of what it is given."""

    name = "fruit"
    title = "Fruit"
    noun = "fruits"
    default_sort = "count"

    def __init__(self):
        self.rows = []
        super().__init__(FakeClock().wall)

    @property
    def columns(self):
        return COLUMNS

    def _read(self):
        return ((row["name"], row) for row in self.rows)


@pytest.fixture
def fruit():
    table = Fruit()
    table.rows = [
        {"name": "apple", "count": 3},
        {"name": "pear", "count": 7},
        {"name": "fig"},
        {"name": "plum", "count": 3},
    ]
    table.refresh(Lens(100.0))
    return table


def keys(table):
    return list(table.cursor.keys)


def test_rows_are_sorted_and_what_is_unknown_is_last(fruit):
    assert keys(fruit) == ["pear", "apple", "plum", "fig"]
    fruit.invert()
    assert keys(fruit) == ["apple", "plum", "pear", "fig"]
    fruit.sort_by("name")
    assert keys(fruit) == ["apple", "fig", "pear", "plum"]


def test_a_filter_knows_the_columns(fruit):
    fruit.set_filter("count>2 p")
    assert keys(fruit) == ["pear", "apple", "plum"]
    assert fruit.total == 4
    with pytest.raises(FilterError, match="unknown field"):
        fruit.set_filter("colour:red")
    assert fruit.filter_text == "count>2 p"


def test_rows_that_are_read_no_more_go(fruit):
    del fruit.rows[0]
    assert fruit.subject("apple") is not None
    fruit.refresh(Lens(101.0))
    assert fruit.subject("apple") is None
    assert "apple" not in keys(fruit)


def test_a_detail_explains_every_column(fruit):
    detail = fruit.detail("pear")
    assert detail.title == "pear"
    assert detail.sections["Info"] == (
        "name          pear         the name",
        "count         7            how many",
    )
    assert detail.sections["Raw"][1] == '  "name": "pear",'
    assert fruit.detail("kiwi") is None
