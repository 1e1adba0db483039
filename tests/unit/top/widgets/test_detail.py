import pytest

from evtools.top.detail import Detail
from evtools.top.glyphs import ASCII
from evtools.top.widgets.detail import DetailPane
from evtools.top.widgets.line import columns, plain

DETAIL = Detail(
    "proj.charge 7a8b8d37",
    ("state   FAILURE", "args    (1,)"),
    {"Traceback": tuple(f"line {n}" for n in range(30)), "Info": ("info",), "Raw": ("{}",)},
    "Traceback",
)


@pytest.fixture
def pane():
    made = DetailPane("tasks", "7a8b8d37")
    made.show(DETAIL)
    return made


def shown(pane, cols=60, rows=10):
    lines = pane.lines(cols, rows, ASCII)
    assert len(lines) <= rows
    assert all(columns(line) <= cols for line in lines)
    return [plain(line).rstrip() for line in lines]


def test_it_has_a_title_facts_sections_and_the_text(pane):
    lines = shown(pane)
    assert lines[0].startswith("-- proj.charge 7a8b8d37 -")
    assert len(lines[0]) == 60
    assert lines[1].startswith(" state   FAILURE")
    assert lines[1].endswith("[Traceback] Info  Raw")
    assert lines[2] == " args    (1,)"
    assert lines[4] == "line 0"


def test_it_begins_with_the_section_that_suits_or_that_was_asked_for(pane):
    assert pane.section == "Traceback"
    asked = DetailPane("tasks", "k", section="Info")
    assert asked.section == ""
    asked.show(DETAIL)
    assert asked.section == "Info"
    unknown = DetailPane("tasks", "k", section="Weather")
    unknown.show(DETAIL)
    assert unknown.section == "Traceback"


def test_sections_are_turned_in_both_directions(pane):
    seen = []
    for step in (1, 1, 1, -1):
        pane.turn(step)
        seen.append(pane.section)
    assert seen == ["Info", "Raw", "Traceback", "Raw"]
    assert "{}" in shown(pane)
    pane.choose("Weather")
    assert pane.section == "Raw"


def test_another_row_begins_at_its_first_line_and_the_same_one_does_not(pane):
    shown(pane)
    pane.pager.obey("down")
    pane.follow("7a8b8d37")
    assert shown(pane)[4] == "line 1"
    pane.follow("other")
    pane.show(DETAIL)
    assert shown(pane)[4] == "line 0"


def test_the_place_in_a_long_text_is_told(pane):
    assert "6/30" in shown(pane)[0]


def test_what_is_forgotten_stays_readable_and_says_so(pane):
    pane.show(None)
    lines = shown(pane)
    assert "line 0" in lines
    assert any("this has been forgotten" in line for line in lines)
    gone = DetailPane("tasks", "k")
    assert not any("forgotten" in line for line in shown(gone))
    gone.turn(1)
    gone.show(None)
    assert any("this has been forgotten" in line for line in shown(gone))


def test_sections_have_a_line_of_their_own_where_the_facts_are_long():
    pane = DetailPane("tasks", "k")
    pane.show(Detail("t", ("x" * 58,), {"Info": ("a",), "Raw": ("b",)}))
    lines = shown(pane)
    assert lines[1].strip() == "[Info] Raw"
    assert lines[2].strip() == "x" * 58


def test_there_is_always_room_for_some_text(pane):
    assert "line 0" in shown(pane, rows=4)
    assert len(shown(pane, rows=1)) == 1


def test_a_detail_without_sections_has_none_to_turn_to():
    pane = DetailPane("tasks", "k")
    pane.show(Detail("t", ("fact",)))
    pane.turn(1)
    assert shown(pane)[1] == " fact"
    pane.show(Detail("t"))
    assert shown(pane)[1] == ""
