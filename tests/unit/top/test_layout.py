import pytest

from evtools.top.layout import LEAST, Layout, shared_out, too_small


@pytest.mark.parametrize("rows", range(LEAST[1], 120))
@pytest.mark.parametrize("filtered", [True, False])
@pytest.mark.parametrize("detail", [True, False])
@pytest.mark.parametrize("full", [True, False])
def test_every_row_of_a_terminal_is_given_away_once(rows, filtered, detail, full):
    layout = shared_out(rows, filtered=filtered, detail=detail, full=full)
    parts = layout.header + layout.filter + layout.table + layout.detail + 3
    assert parts == rows
    assert layout.table >= 5 or layout.detail >= 5


def test_a_tall_terminal_splits_and_a_low_one_gives_the_detail_all_there_is():
    tall = shared_out(32, filtered=True, detail=True)
    assert tall.header == 3
    assert tall.filter == 1
    assert tall.table > 5
    assert tall.detail > tall.table
    low = shared_out(24, filtered=True, detail=True)
    assert low == Layout(header=2, filter=0, table=0, detail=19)
    assert shared_out(24, filtered=True, detail=False).table == 19


def test_the_detail_can_have_the_whole_of_a_tall_terminal():
    assert shared_out(40, filtered=False, detail=True, full=True).table == 0


def test_a_very_low_terminal_has_one_line_of_header():
    assert shared_out(12, filtered=False, detail=False).header == 1


@pytest.mark.parametrize(
    ("size", "small"), [((50, 12), False), ((49, 12), True), ((50, 11), True), ((20, 5), True)]
)
def test_what_is_too_small_for_anything(size, small):
    assert too_small(size) is small
