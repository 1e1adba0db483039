import pytest

from evtools.top.widgets.line import plain
from evtools.top.widgets.pager import Pager

TEXT = [f"line {number}" for number in range(30)]


def shown(pager, cols=20, rows=10):
    return [plain(line) for line in pager.lines(cols, rows)]


@pytest.fixture
def pager():
    made = Pager(TEXT)
    shown(made)
    return made


def test_it_begins_at_the_first_line(pager):
    assert shown(pager) == TEXT[:10]
    assert pager.place() == "10/30"


@pytest.mark.parametrize(
    ("commands", "first"),
    [
        (["down"], 1),
        (["up"], 0),
        (["page-down"], 9),
        (["page-down", "page-up"], 0),
        (["half-down"], 5),
        (["bottom"], 20),
        (["bottom", "half-up"], 15),
        (["bottom", "down"], 20),
        (["bottom", "top"], 0),
    ],
)
def test_it_scrolls_and_stops_at_the_ends(pager, commands, first):
    for command in commands:
        assert pager.obey(command)
    assert shown(pager)[0] == f"line {first}"


def test_other_commands_are_none_of_its_business(pager):
    assert not pager.obey("pause")


def test_a_short_text_has_no_place():
    pager = Pager(["one"])
    assert shown(pager) == ["one"]
    assert pager.place() == ""


def test_long_lines_are_wrapped_or_cut_and_then_shifted():
    pager = Pager(["0123456789abcdef", "x"])
    assert shown(pager, 10) == ["0123456789", "abcdef", "x"]
    assert pager.obey("right")
    assert shown(pager, 10)[0] == "0123456789"
    pager.obey("wrap")
    assert shown(pager, 10) == ["0123456789", "x"]
    pager.obey("right")
    assert shown(pager, 10) == ["89abcdef", ""]
    pager.obey("left")
    pager.obey("left")
    assert shown(pager, 10)[0] == "0123456789"


def test_another_text_keeps_the_place_where_it_exists(pager):
    pager.obey("half-down")
    pager.show([*TEXT, "one more"])
    assert shown(pager)[0] == "line 5"
    pager.show(["short"])
    assert shown(pager) == ["short"]
    pager.show(TEXT)
    pager.reset()
    assert shown(pager)[0] == "line 0"


# --- searching ------------------------------------------------------------------


def test_what_is_sought_is_found_in_any_case_and_stands_out(pager):
    assert pager.search("LINE 25")
    assert shown(pager)[-5] == "line 25"
    assert [("match", "line 25")] in pager.lines(20, 10)


def test_the_search_goes_on_in_both_directions_and_around(pager):
    places = []
    assert pager.search("5")
    for back in (False, False, False, True):
        places.append(pager._found)
        assert pager.search_next(back=back)
    assert places == [5, 15, 25, 5]
    assert pager._found == 25


def test_a_search_begins_where_the_reader_is(pager):
    pager.obey("half-down")
    assert pager.search("line 1")
    assert pager._found == 10


def test_going_on_without_a_search_finds_nothing(pager):
    assert not pager.search_next()
    assert not pager.search("nowhere")
    assert shown(pager) == TEXT[:10]


def test_letters_that_change_their_length_with_their_case_do_no_harm():
    pager = Pager(["İstanbul İ", "istanbul"])
    pager.lines(20, 5)
    assert pager.search("istanbul")
    assert pager._found == 1
