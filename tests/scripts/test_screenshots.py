"""What a picture of evtop is made of, and when the README has an old one."""

from __future__ import annotations

import pytest

import screenshots
from evtools.top.options import VIEWS
from screenshots import Shot

SHOT = Shot("types", (), rows=3)
TABS = " 0 Overview  1 Tasks [2 Types] 3 Workers     window 5m"
HEADS = " TASK         RATE    OK"
SCREEN = [
    " evtop  demo  LIVE",
    TABS,
    HEADS,
    *(f" proj.{number}       1/s     {number}" for number in range(9)),
    "",
    "",
    "                    9 shown",
    " ? Help  q Quit",
]
FILTER = " filter> state:failure           2 of 9 shown"
DETAIL = [
    "── proj.1 7a8b8d37 ─────────────────",
    " state   FAILURE after 1.0s     [Traceback] Info  Args",
    "",
    "Traceback (most recent call last):",
]


def screen(*rows):
    """Return a screen with other rows."""
    return [*SCREEN[:3], *rows, "", *SCREEN[-2:]]


def test_there_is_a_picture_of_every_view_and_of_a_detail():
    assert [shot.name for shot in screenshots.shots()] == [*VIEWS, "detail"]


def test_one_picture_has_the_whole_screen():
    assert [shot.whole for shot in screenshots.shots()].count(True) == 1


def test_a_picture_begins_with_the_tabs_and_has_a_few_rows():
    assert screenshots.trimmed(SCREEN, SHOT) == SCREEN[1:6]


def test_the_row_under_the_cursor_is_on_the_picture():
    rows = [" proj.0", " proj.1", " proj.2", ">proj.3", " proj.4"]
    picture = screenshots.trimmed(screen(*rows), SHOT)
    assert picture == [TABS, HEADS, " proj.1", " proj.2", ">proj.3"]


def test_a_whole_one_has_what_is_above_and_below_too():
    picture = screenshots.trimmed(SCREEN, SHOT._replace(whole=True))
    assert picture == [*SCREEN[:6], "", *SCREEN[-2:]]


def test_a_detail_is_on_the_picture_to_its_end():
    lines = [SCREEN[0], TABS, FILTER, HEADS, *SCREEN[3:9], *DETAIL, "", "", "", ""]
    picture = screenshots.trimmed(lines, SHOT)
    assert picture == [TABS, FILTER, HEADS, *SCREEN[3:6], *DETAIL]


@pytest.mark.parametrize(
    ("shown", "picture"),
    [
        (" gen27799@vm.example.net  x", " gen4120@web-1            x"),
        (" gen1@vm         x", " gen4120@web-1   x"),
        (" gen27799@vm x", " gen4120@web x"),
    ],
)
def test_no_picture_has_the_name_of_a_machine(shown, picture):
    assert screenshots.trimmed(screen(shown), SHOT)[2:] == [picture]


def test_what_stays_are_tabs_heads_and_sections():
    lines = [TABS, FILTER, HEADS, *SCREEN[3:6], *DETAIL]
    assert screenshots.structure(lines) == [
        TABS.partition("     ")[0], HEADS, "[Traceback] Info  Args",
    ]  # fmt: skip


def test_what_is_no_picture_has_nothing_that_stays():
    assert screenshots.structure(["nothing"]) == []


# --- In the README ----------------------------------------------------------------

PICTURES = {"tasks": [TABS, HEADS, ">one"], "types": [TABS, HEADS, ">two"]}


def readme(*names):
    """Return a README with empty places for pictures."""
    places = (f"{screenshots.BEGIN.format(name)}{screenshots.END}\n" for name in names)
    return "# Title\n" + "between\n".join(places) + "end\n"


def test_pictures_are_put_into_their_places():
    text = screenshots.fixed(readme("types", "tasks"), PICTURES)
    places = screenshots.places(text)
    assert places["types"] == f"```text\n{TABS}\n{HEADS}\n>two\n```\n"
    assert text.startswith("# Title\n<!-- evtop: types")
    assert text.endswith(f"{screenshots.END}\nend\n")
    assert list(screenshots.problems(text, PICTURES)) == []


def test_putting_them_there_again_changes_nothing():
    text = screenshots.fixed(readme("types", "tasks"), PICTURES)
    assert screenshots.fixed(text, PICTURES) == text


def test_other_rows_are_no_problem():
    text = screenshots.fixed(readme("types", "tasks"), PICTURES)
    later = {**PICTURES, "types": [TABS, HEADS, ">three"]}
    assert list(screenshots.problems(text, later)) == []


def test_other_heads_are():
    text = screenshots.fixed(readme("types", "tasks"), PICTURES)
    later = {**PICTURES, "types": [TABS, " TASK  MORE", ">two"]}
    (problem,) = screenshots.problems(text, later)
    assert "the picture of types is old" in problem


def test_a_view_without_a_place_is_a_problem():
    text = screenshots.fixed(readme("types"), PICTURES)
    (problem,) = screenshots.problems(text, PICTURES)
    assert "no place for a picture: <!-- evtop: tasks" in problem


def test_a_place_that_nothing_goes_to_is_a_problem_and_stays():
    text = readme("types", "tasks", "gone")
    fixed = screenshots.fixed(text, PICTURES)
    (problem,) = screenshots.problems(fixed, PICTURES)
    assert problem == "README.md: there is no picture of gone"


def test_anything_but_fix_is_refused(capsys):
    assert screenshots.main(["--fixed"]) == 2
    assert "usage" in capsys.readouterr().err
