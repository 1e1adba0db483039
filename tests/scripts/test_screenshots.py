"""What the pictures of the README are made of, and when one is old."""

from __future__ import annotations

import pyte
import pytest

import screenshots
from evtools.top.options import VIEWS

TABS = " 0 Overview  1 Tasks [2 Types] 3 Workers     window 5m"
HEADS = " TASK         RATE    OK"
SCREEN = [
    *(" evtop  demo  LIVE", TABS, " filter> state:failure           2 of 9 shown", HEADS),
    *(">proj.1       1/s   ▁▄█   <a & b>  é", " proj.2       1/s", ""),
    "── proj.1 7a8b8d37 ─────────────────",
    " state   FAILURE after 1.0s     [Traceback] Info  Args",
]


def cells(lines, start="\x1b[1;32m"):
    """Return a terminal on which lines were written, in colour."""
    screen = pyte.Screen(64, len(lines) + 3)
    pyte.Stream(screen).feed(start + "\r\n".join(lines))
    return [[screen.buffer[row][col] for col in range(64)] for row in range(len(lines) + 3)]


def test_there_is_a_picture_of_every_view_and_of_each_tool():
    assert {*VIEWS, "detail"} <= {*screenshots.of_evtop()}
    assert {*screenshots.SHELL} == {"evdump", "evcam"}


def test_the_text_of_a_picture_can_be_read_again():
    read = screenshots.lines_of(screenshots.svg(cells(SCREEN)))
    # Bars are drawn, and no letters.
    assert read == [line.replace("▁▄█", "   ").rstrip() for line in SCREEN]


@pytest.mark.parametrize(
    ("shown", "picture"),
    [
        (" gen27799@vm.example.net  x", " gen4120@web-1            x"),
        (" gen1@vm         x", " gen4120@web-1   x"),
        (" gen27799@vm x", " gen4120@web x"),
    ],
)
def test_no_picture_has_the_name_of_a_machine(shown, picture):
    assert screenshots.text_of(screenshots._anonymous(cells([shown])))[0] == picture


def test_what_stays_are_tabs_heads_and_sections():
    assert screenshots.structure(SCREEN) == [
        TABS.partition("     ")[0], HEADS, "[Traceback] Info  Args",
    ]  # fmt: skip
    assert screenshots.structure(["nothing"]) == []


# --- In the README ----------------------------------------------------------------

README = "![Types](packaging/pictures/types.svg) and [more](packaging/pictures/tasks.svg)\n"
THERE = {name: screenshots.svg(cells(SCREEN)) for name in ("tasks", "types")}
TODAY = {"types": [*SCREEN[:4], " proj.3", *SCREEN[7:]], "tasks": SCREEN}


def problems(readme=README, there=THERE, today=TODAY):
    return [*screenshots.problems(readme, there, today)]


def test_other_rows_are_no_problem():
    assert problems() == []


def test_other_heads_are():
    (problem,) = problems(today={**TODAY, "types": [TABS, " TASK  MORE", ">two"]})
    assert problem == "README.md: the picture of types is old; screenshots.py --fix"


def test_a_picture_that_the_readme_does_not_show_is_a_problem():
    assert problems(there={**THERE, "new": ""}, today={**TODAY, "new": SCREEN}) == [
        "README.md: does not show the picture of new",
        "README.md: the picture of new is old; screenshots.py --fix",
    ]


def test_one_that_it_shows_and_that_is_not_there_is_a_problem():
    (problem,) = problems(README + "(packaging/pictures/gone.svg)")
    assert problem == "README.md: there is no picture of gone"


def test_anything_but_fix_is_refused(capsys):
    assert screenshots.main(["--fixed"]) == 2
    assert "usage" in capsys.readouterr().err
