"""Whole screens of evtop, compared with those in the folder `screens`.

They are those of a recording, on a real terminal; `make screens` takes them anew.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import string
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pyte
import pytest

from evtools.wire import encode_line
from servers.process import wait_until
from tools.shop import END, Shop

FOLDER = Path(__file__).with_name("screens")
FIXES = bool(os.environ.get("FIX_SCREENS"))
SIZES = ((80, 24), (120, 32), (200, 50))


class Screen(NamedTuple):
    """How one comes to a screen, from the one before: keys, and commands behind a colon.

    `shows` is what is on it then, and `back` is what leads back to the view.
    """

    name: str
    keys: tuple[str, ...]
    shows: str
    back: tuple[str, ...] = ()


# A message of a key stays for ten seconds: Esc takes it away at once.
# fmt: off
SCREENS = (
    Screen("messages", (":nothing", "t", "t", "m"), "messages", ("q", "esc")),
    Screen("overview", ("0",), "ABOUT"),
    Screen("tasks", ("1",), "STATE"),
    Screen("a task that failed", ("e", "enter"), "[Traceback]", ("q", "g")),
    Screen("a workflow as a tree", ("t", "esc", ":filter user_id=42"), "shop.orders.fulfil"),
    Screen("a workflow as bars", ("enter", "]", "]", "]"), "[Bars]", ("q", "esc", "t", "esc")),
    Screen("types", ("2",), "FAIL%"),
    Screen("a type", ("i",), "[Info]", ("q",)),
    Screen("a heat map", ("j", "H", "esc"), "TASK", ("H", "esc")),
    Screen("compared with an hour ago", ("V", "esc"), "p95 -1h", ("V", "V", "esc")),
    Screen("the tasks of a type", ("enter",), "STATE", ("q", "g")),
    Screen("workers", ("3",), "BEAT"),
    Screen("a worker", ("i",), "[Tasks]", ("q",)),
    Screen("queues", ("4",), "IN/s"),
    Screen("a queue", ("i",), "[Queue]", ("q",)),
    Screen("events", ("5",), "[5 Events]"),
    Screen("errors", ("6",), "EXCEPTION"),
    Screen("an error", ("i",), "[Info]", ("q",)),
    Screen("a menu", ("o",), "sort by", ("q",)),
    Screen("options", ("f2",), "options", ("q",)),
    Screen("a filter that hides all", (":filter nothing-like-it",), "The filter hides", ("esc",)),
    Screen("a filter with an error", ("/", *"stat:="), "invalid operator", ("ctrl-c",)),
    Screen("help", ("?",), "find>", ("q",)),
)
# fmt: on
#: Those of which also the colours are compared, on a screen of that size: of the types, the row
#: under the cursor and the one below it have failures.
COLOURED = ("overview", "tasks", "types", "workers")
COLOURED_SIZE = (120, 32)

#: What differs from time to time: what evtop takes itself, and when messages came.
_VARIES = re.compile(r"(?<=self ) *\d+% cpu +\d\S*|(?<=[│|] )\d\d:\d\d:\d\d(?=  )")


@pytest.fixture(scope="module")
def tape(tmp_path_factory):
    path = tmp_path_factory.mktemp("shop") / "shop.jsonl"
    path.write_bytes(b"".join(encode_line(event) + b"\n" for event in Shop().events()))
    return path


@pytest.fixture
def shown(evtop, tape):
    """Start evtop on the recording, of a given size and look; all of it is read."""
    (evtop.folder / "shop.jsonl").symlink_to(tape)

    def start(size, look="dark"):
        how = ("--ascii",) if look == "ascii" else ("--theme", look)
        arguments = ("-r", "shop.jsonl", "--speed", "max", "--delay", "0.2", *how)
        started = evtop(*arguments, terminal=size, env={"TZ": "UTC"})
        end = datetime.fromtimestamp(END, UTC)
        is_read = re.compile(rf"REPLAY ENDED.* {end:%H:%M:%S} ")
        started.wait_screen(is_read.search, deadline=30)
        return started

    return start


def file_of(size, look="dark"):
    return f"{size[0]}x{size[1]}{'-ascii' if look == 'ascii' else ''}.txt"


def press(evtop, keys):
    for key in keys:
        if len(key) > 1 and key.startswith(":"):
            evtop.type(f"{key}\r")
        else:
            evtop.press(key)


def masked(screen):
    """Return the lines of a screen without what differs from time to time."""
    return _VARIES.sub(lambda found: "~" * len(found[0]), screen).split("\n")


def settled(evtop, shows):
    """Return the screen that shows a text, once it does not change any more."""
    seen = []

    def is_settled():
        seen.append(masked(evtop.screen()))
        text = "\n".join(seen[-1])
        if shows in text and "order frozen" not in text:
            # For longer than it takes to be refreshed.
            return seen[-25:] == [seen[-1]] * 25
        return False

    wait_until(is_settled, deadline=40, what=lambda: "\n".join([f"{shows!r} on:", *seen[-1]]))
    return seen[-1]


def read(name):
    """Return the screens of a file by their names."""
    path = FOLDER / name
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    parts = re.split(r"^=== (.*)\n", text, flags=re.MULTILINE)
    return {
        title: body.rstrip("\n").split("\n")
        for title, body in zip(parts[1::2], parts[2::2], strict=True)
    }


def write(name, screens):
    FOLDER.mkdir(exist_ok=True)
    text = "\n\n".join("\n".join([f"=== {title}", *lines]) for title, lines in screens.items())
    (FOLDER / name).write_text(f"{text}\n", encoding="utf-8")


def difference(name, title, expected, found):
    lines = difflib.unified_diff(expected, found, f"{name}: {title}", "shown", lineterm="", n=1)
    return "\n".join(lines)


def see(evtop, screen, expected):
    """Return what the terminal shows: as soon as that is expected, or when it has settled."""

    def is_there():
        return masked(evtop.screen()) == expected

    if not FIXES:
        with contextlib.suppress(AssertionError):
            wait_until(is_there, deadline=5, what="")
            return expected
    return settled(evtop, screen.shows)


def compare(name, expected, found):
    wrong = [
        difference(name, title, expected.get(title, []), lines)
        for title, lines in found.items()
        if lines != expected.get(title)
    ]
    assert not wrong, "\n\n".join([*wrong, "make screens takes them anew"])


@pytest.mark.timeout(180)
@pytest.mark.parametrize("look", ["dark", "ascii"])
@pytest.mark.parametrize("size", SIZES, ids="{0[0]}x{0[1]}".format)
def test_every_screen_is_the_one_in_the_file(shown, size, look):
    name = file_of(size, look)
    expected, found = read(name), {}
    evtop = shown(size, look)
    for screen in SCREENS:
        press(evtop, screen.keys)
        found[screen.name] = see(evtop, screen, expected.get(screen.name, []))
        press(evtop, screen.back)
    evtop.press("Q")
    assert evtop.wait() == 0
    if FIXES:
        write(name, found)
    else:
        compare(name, expected, found)
        assert list(expected) == list(found)


@pytest.mark.parametrize("look", ["dark", "light", "mono"])
@pytest.mark.parametrize("size", SIZES, ids="{0[0]}x{0[1]}".format)
def test_every_view_is_the_same_in_all_themes_but_for_colours(shown, size, look, monkeypatch):
    # The terminal does not know what is faint: here that is as good as what blinks.
    monkeypatch.setitem(pyte.graphics.TEXT, 2, "+blink")
    evtop, expected, found, coloured = shown(size, look), read(file_of(size)), {}, {}
    for screen in SCREENS:
        if len(screen.keys) == 1 and screen.keys[0].isdigit():
            press(evtop, screen.keys)
            found[screen.name] = see(evtop, screen, expected.get(screen.name, []))
            coloured[screen.name] = evtop.cells()
    evtop.press("Q")
    assert evtop.wait() == 0
    if not FIXES:
        compare(file_of(size), expected, found)
    if size != COLOURED_SIZE:
        return
    name = f"colours-{look}.txt"
    shades = shaded({title: cells for title, cells in coloured.items() if title in COLOURED})
    if FIXES:
        write(name, shades)
    else:
        compare(name, read(name), shades)


# --- other sizes --------------------------------------------------------------------------

#: From the whole one down to what is too small, and up again.
RESIZED = ((100, 28), (80, 24), (50, 12), (49, 12), (20, 5), (119, 27))


@pytest.mark.timeout(180)
def test_after_any_size_a_screen_is_what_it_was(shown):
    log = Path(os.environ["HOME"]) / ".local" / "state" / "evtools" / "evtop.log"
    log.unlink(missing_ok=True)  # of another test
    whole = (200, 50)
    expected, evtop = read(file_of(whole)), shown(whole)
    for screen in SCREENS:
        press(evtop, screen.keys)
        before = see(evtop, screen, expected[screen.name])
        for size in RESIZED:
            evtop.resize(*size)
            too_small = f"too small: {size[0]}x{size[1]}"
            if size < (50, 12):
                wait_until(
                    lambda said=too_small: said in " ".join(evtop.screen().split()),
                    what=evtop.screen,
                )
            else:
                evtop.wait_screen(lambda screen, size=size: is_whole(screen, size))
        evtop.resize(*whole)

        def found(name=screen.name, before=before):
            return difference("resized", name, before, masked(evtop.screen()))

        wait_until(lambda: not found(), what=found)
        press(evtop, screen.back)
    evtop.press("Q")
    assert evtop.wait() == 0
    assert not log.exists()


def is_whole(screen, size):
    """Return whether a screen fills the terminal, with all four sides of a box that lies on it."""
    lines = screen.split("\n")
    corners = [screen.count(corner) for corner in "┌┐┘"]
    # The scale of a graph has the fourth one, too.
    return len(lines) == size[1] and max(map(len, lines)) <= size[0] and len(set(corners)) == 1


def shaded(screens):
    """Return the lines of screens, below each a letter for how each of its cells looks."""
    looks = {look_of(cell) for cells in screens.values() for row in cells for cell in row}
    letters = {"plain": " "} | dict(
        zip(sorted(looks - {"plain"}), string.ascii_letters, strict=False)
    )
    legend = [f"{letter}  {look}" for look, letter in letters.items() if letter != " "]
    found = {"what the letters mean": legend}
    for title, cells in screens.items():
        text = "\n".join("".join(cell.data for cell in row).rstrip() for row in cells)
        found[title] = []
        for line, row in zip(masked(text), cells, strict=True):
            shades = "".join(letters[look_of(cell)] for cell in row).rstrip()
            found[title] += [f"|{line}", f" {shades}".rstrip()]
    return found


def look_of(cell):
    parts = [cell.fg if cell.fg != "default" else "", f"on {cell.bg}" * (cell.bg != "default")]
    parts += [
        word
        for word, attribute in (("bold", "bold"), ("faint", "blink"), ("reverse", "reverse"))
        if getattr(cell, attribute)
    ]
    return " ".join(filter(None, parts)) or "plain"
