import pytest

from evtools.errors import FilterError, UsageError
from evtools.top.arrangement import arrange
from evtools.top.model import Model
from evtools.top.options import TopOptions
from tools.clock import FakeClock


@pytest.fixture
def table():
    return Model(clock=FakeClock()).views["types"]


def arranged(table, **options):
    arrange(table, TopOptions(**options))
    return table


def test_without_options_a_table_stays_as_it_is(table):
    before = (table.sort_key, table.reverse)
    arranged(table)
    assert (table.sort_key, table.reverse) == before
    assert table.filter_text == ""
    assert table.chosen is None


def test_a_filter_is_applied(table):
    assert arranged(table, filter="name:mail").filter_text == "name:mail"


def test_a_sort_has_its_own_way_round_and_the_other(table):
    assert (arranged(table, sort="rate").sort_key, table.reverse) == ("rate", True)
    assert (arranged(table, sort="-rate").sort_key, table.reverse) == ("rate", False)
    assert (arranged(table, sort="name").sort_key, table.reverse) == ("name", False)


def test_columns_are_chosen_in_their_order(table):
    assert arranged(table, columns=("rate", "name")).chosen == ("rate", "name")


def test_a_column_that_is_not_there_is_refused_with_those_that_are(table):
    with pytest.raises(UsageError, match="--sort: the view types has no column 'x'"):
        arranged(table, sort="-x")
    with pytest.raises(UsageError, match="--columns: the view types") as caught:
        arranged(table, columns=("name", "x"))
    assert "it has name, rate" in caught.value.hint


def test_a_bad_filter_is_refused(table):
    with pytest.raises(FilterError):
        arranged(table, filter="(")
