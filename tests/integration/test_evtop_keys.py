"""Every key of evtop's table, typed on a real terminal; what it does is read there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest

from evtools.top.bindings import BINDINGS
from evtools.wire import encode_line
from tools.life import Life
from tools.screen import EvtopStarter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TASKS = 60
#: The tasks as they are listed: a workflow, and what came before it.
LISTED = [
    *("f0000002", "f0000001", "f0000000"),
    *(f"{number:08x}" for number in reversed(range(TASKS))),
]
_REST = "-0000-4000-8000-000000000000"


def events():
    """Yield the events of a cluster; every fifth task fails."""
    life = Life()
    yield from (life.beat("w1@host"), life.beat("w2@host"))
    for number in range(TASKS):
        kind = life.success if number % 5 else life.failure
        yield from kind(f"{number:08x}{_REST}", f"proj.kind{number % 3}")
    root = f"f0000000{_REST}"
    yield from (life.received(root, "proj.flow"), life.started(root))
    for child in (f"f0000001{_REST}", f"f0000002{_REST}"):
        yield life.received(child, "proj.part", root_id=root, parent_id=root)
        yield life.started(child)


Sees = "Callable[[str], bool]"


def text(pattern: str) -> Callable[[str], bool]:
    """Return a test for a screen with a text."""
    return lambda screen: re.search(pattern, screen, re.MULTILINE) is not None


def no(pattern: str) -> Callable[[str], bool]:
    """Return a test for a screen without a text."""
    return lambda screen: not text(pattern)(screen)


def on(task: str, *words: str) -> Callable[[str], bool]:
    """Return a test for a cursor on a task, and for what its row says."""

    def look(screen: str) -> bool:
        rows = [line for line in screen.split("\n") if line.startswith(">")]
        return any(all(word in row for word in (task, *words)) for row in rows)

    return look


def row(index: int) -> Callable[[str], bool]:
    """Return a test for a cursor on the row of that number."""
    return on(LISTED[index])


@dataclass(frozen=True)
class Step:
    """Keys of one context, typed one after another, and what is seen then.

    `first` is typed before, to get there, and `last` after it, to get away.
    """

    context: str
    keys: str
    sees: Callable[[str], bool]
    first: str = ""
    last: str = ""


def script(rows: int) -> Iterator[Step]:
    """Yield the steps through a recording, on a terminal with so many task rows."""
    yield from moving(rows)
    yield from LISTS
    yield from TEXTS
    yield from EVERYWHERE
    yield from MENUS
    yield from PROMPTS
    yield from REPLAY


def moving(rows: int) -> Iterator[Step]:
    """Yield steps that move the cursor; a page is a line less than the rows."""
    page, half = rows - 2, (rows - 1) // 2
    yield Step("moving", "j down", row(2))
    yield Step("moving", "k", row(1))
    yield Step("moving", "up", row(0))
    yield Step("moving", "pgdn ctrl-f", row(2 * page))
    yield Step("moving", "pgup ctrl-b", row(0))
    yield Step("moving", "ctrl-d", row(half))
    yield Step("moving", "ctrl-u", row(0))
    for bottom, top in (("G", "g"), ("end", "home")):
        yield Step("moving", bottom, row(-1))
        yield Step("moving", top, row(0))
    head = r"^ STATE .*UUID"
    yield Step("moving", "l right", no(head))
    yield Step("moving", "h left", text(head))


_TREE = "├─"
LISTS: Final = (
    Step("lists", "enter", text(r"\[Args\]"), last="q"),
    Step("lists", "i", text(r"\[Args\]"), last="q"),
    Step("lists", "r", text(r"\[Info\]"), last="q"),
    *(Step("lists", key, text(r"^filter>"), last="ctrl-c") for key in ("/", "\\", "f4")),
    Step("lists", "=", text(r"─ keep only ─"), last="ctrl-c"),
    Step("lists", "!", text(r"─ exclude ─"), last="ctrl-c"),
    *(Step("lists", key, text(r"─ sort by ─"), last="ctrl-c") for key in ("o", "f6")),
    Step("lists", "<", text(r"RUNv")),
    Step("lists", ">", text(r"AGEv")),
    Step("lists", "I", text(r"AGE\^"), last="I"),
    Step("lists", "F", text(r"^ following this row"), first="g", last="F"),
    Step("lists", "t", text(_TREE), first="g"),
    Step("lists", "-", text(r"\+ proj\.flow")),
    Step("lists", "+", text(_TREE)),
    Step("lists", "*", text(r"\+ proj\.flow"), last="*"),
    Step("lists", "f5", text(r"^ list\b")),
    Step("lists", "J", row(2), first="g"),
    Step("lists", "e", on("FAIL", LISTED[7])),
    Step("lists", "e", on("FAIL", LISTED[12])),
    Step("lists", "E", on("FAIL", LISTED[7]), last="g"),
    Step("lists", "space", text(r"1 marked")),
    Step("lists", "U", no(r"marked"), last="g"),
    Step("lists", "y", text(rf"copied.*: {LISTED[0]}"), last="j"),
    Step("lists", "c", text(rf"copied.*: {LISTED[1]}")),
    Step("lists", "Y", text(r"copied.*: \{"), last="g"),
    *(
        Step("lists", key, text(r"^ nothing is changed: read-only mode"), last="esc esc")
        for key in ("a", "f9", "C", "K", "L")
    ),
    Step("workers", "S", text(r"^ nothing is changed: read-only mode"), first="3"),
    Step("events", "O", on(LISTED[0], "RECV"), first="5"),
    Step("events", "o", on(LISTED[0], "START"), last="1 esc"),
)
TEXTS: Final = (
    Step("text", "]", text(r"\[Timeline\]"), first="enter"),
    Step("text", "[", text(r"\[Args\]")),
    Step("text", "f", no(r"^ STATE"), last="[ ["),
    Step("text", "/", text(r"^search>")),
    Step("prompts", "enter", no(r"^search>"), first="u u i d"),
    Step("text", "n N", no(r"not found")),
    Step("text", "w", text(r"^ long lines are cut"), last="w q"),
)
EVERYWHERE: Final = (
    *(Step("everywhere", key, text(r"find>"), last="ctrl-c") for key in ("?", "f1")),
    Step("everywhere", "q", on(LISTED[0]), first="enter f"),
    Step("everywhere", "esc", no(r"marked"), first="space"),
    *(
        Step("everywhere", key, text(rf"\[{key} "))
        for key in ("2", "3", "4", "5", "6", "1")
    ),
    Step("everywhere", "tab", text(r"\[2 ")),
    Step("everywhere", "shift-tab", text(r"\[1 ")),
    Step("everywhere", ":", text(r"^:$"), last="ctrl-c"),
    Step("everywhere", "T", text(r"^ figures of the last 15m")),
    Step("everywhere", "z", text(r"^ times: local"), last="z z"),
    Step("everywhere", "M", text(r"^ mouse on")),
    Step("everywhere", "M", text(r"^ mouse off")),
    Step("everywhere", "f2", text(r"─ options ─"), last="ctrl-c"),
    Step("everywhere", "x", text(r"─ export ─"), last="ctrl-c"),
)
MENUS: Final = (
    Step("menus", "j down tab", text(r">2  TASK"), first="g o home", last=""),
)
PROMPTS: Final = ()
REPLAY: Final = (
    Step("everywhere", "p", text(r"REPLAY PAUSED")),
    Step("everywhere", "Z", no(r"PAUSED")),
)


@pytest.fixture
def evtop(tmp_path) -> Iterator[EvtopStarter]:
    """Start the real command on a terminal: `evtop("-r", path)`."""
    starter = EvtopStarter(tmp_path)
    yield starter
    starter.end()
