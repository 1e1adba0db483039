"""Keeps pictures of evtop in README.md, as text; `--fix` takes them anew.

They are taken of the real program, which shows the simulated cluster on a terminal
that nobody sees. What is on them is never the same again; so without `--fix` only what
stays is compared: that there is a picture of each view, with the tabs, the heads of the
columns and the sections of the detail that the program has today.
"""

from __future__ import annotations

import html
import importlib
import itertools
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from evtools.top.keys import Keymap
from evtools.top.options import VIEWS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parents[1]

SIZE = (100, 28)
# Time that the cluster is given before pictures are taken, in seconds: by then a worker
# has died and another one has restarted.
LIVED = 58.0

BEGIN = "<!-- evtop: {}; scripts/screenshots.py --fix takes it -->\n"
END = "<!-- end of the picture -->"
_PLACE = re.compile(rf"{re.escape(BEGIN).replace(re.escape('{}'), '(.+?)')}(.*?){END}", re.DOTALL)

_TABS = re.compile(r"[ \[]0 \w+\W+1 \w+")
_VIEWS = re.compile(r"^(.*\w\]?) {3,}.*$")
_FILTER, _RULE = " filter>", "── "
# Behind the state of a task, or above it, stand the sections of its detail.
_SECTIONS = re.compile(r"^(?: state .*)? {3,}(\[.*)$")
# A queue, its depth, and how that changes.
_CHANGES = re.compile(r" celery +\d+ +\S+ +\d+ +\S+ +\S+ +[+-]?\d")
_METER = re.compile(r"celery +[█░]")
# The name of a client has that of the machine in it.
_CLIENT = re.compile(r"gen\d+@\S* *")

# What is typed, and what the screen then shows.
Steps = tuple[tuple[str, "str | Callable[[str], bool]"], ...]


class Shot(NamedTuple):
    """A picture: what leads to it, and how many rows of the table are on it.

    A `whole` one has the lines above the tabs and below the table as well.
    """

    name: str
    steps: Steps
    rows: int = 8
    whole: bool = False


def shots() -> list[Shot]:
    """Return the pictures that there are: of each view, and of a detail."""
    keymap = Keymap()
    keys = {view: keymap.key_of(f"view {view}") for view in VIEWS}
    found = {view: Shot(view, ((key, f"[{key} "),)) for view, key in keys.items()}
    # The broker has been asked how deep the queues are.
    steps = ((keys["overview"], _METER.search),)
    found["overview"] = found["overview"]._replace(rows=SIZE[1], steps=steps)
    found["tasks"] = found["tasks"]._replace(rows=12, whole=True)
    # The broker has to say twice how long the queues are.
    found["queues"] = found["queues"]._replace(steps=((keys["queues"], _CHANGES.search),))
    chosen = "/state:failure name:*.charge\r"
    detail = (*found["tasks"].steps, (chosen, ">FAIL"), ("\r", "[Traceback]"))
    return [*found.values(), Shot("detail", detail, rows=4)]


# --- Taking them ----------------------------------------------------------------------


def taken(lived: float) -> dict[str, list[str]]:
    """Return the lines of all pictures; the cluster has lived for so many seconds."""
    starter_class = importlib.import_module("tools.screen").EvtopStarter
    with tempfile.TemporaryDirectory() as home:
        starter = starter_class(Path(home))
        try:
            evtop = starter("--demo", terminal=SIZE, env=_untouched(home))
            evtop.wait_ready()
            time.sleep(lived)
            return {shot.name: _take(evtop, shot) for shot in shots()}
        finally:
            starter.end()


def _untouched(home: str) -> Mapping[str, str | None]:
    """Return an environment in which evtop is as it is for everybody."""
    env: dict[str, str | None] = {
        name: None for name in os.environ if name.startswith(("EVTO", "XDG_", "LC_"))
    }
    return env | {"HOME": home, "TZ": "UTC"}


def _take(evtop: Any, shot: Shot) -> list[str]:
    for typed, shows in shot.steps:
        evtop.type(typed)
        evtop.wait_screen(shows, deadline=60)
    # The terminal may have the half of it by now.
    before, screen = "", evtop.screen()
    while screen != before:
        time.sleep(0.1)
        before, screen = screen, evtop.screen()
    return trimmed(screen.split("\n"), shot)


def trimmed(screen: Sequence[str], shot: Shot) -> list[str]:
    """Return of a screen what a picture shows."""
    *body, message, keys = [_CLIENT.sub(_nobody, line) for line in screen]
    tabs = next(at for at, line in enumerate(body) if _TABS.match(line))
    first = tabs + 2 + body[tabs + 1].startswith(_FILTER)
    rule = next((at for at, line in enumerate(body) if line.startswith(_RULE)), None)
    rows = body[first:rule]
    if shot.name == "overview":
        rows = [line for line in rows if line]
    else:  # up to what is shown of a row over time
        rows = list(itertools.takewhile(bool, rows))
    cursor = next((at for at, line in enumerate(rows) if line.startswith(">")), 0)
    start = max(0, cursor + 1 - shot.rows)
    picture = [*body[tabs:first], *rows[start : start + shot.rows]]
    if rule is not None:
        picture += "\n".join(body[rule:]).rstrip().split("\n")
    if shot.whole:
        picture = [*body[:tabs], *picture, "", message, keys]
    return picture


def _nobody(found: re.Match[str]) -> str:
    cols = len(found[0])
    return "gen4120@web-1"[: cols - 1].ljust(cols)


# --- In colour ------------------------------------------------------------------------

#: Pictures in colour: what is typed when the cluster has lived, and what is shown then.
COLOURED: Mapping[str, Steps] = {
    "overview": (("0", _METER.search),),
    "heat-map": (("2H", "run: heat map"),),
}
COLOURED_SIZE = (150, 38)
PICTURES = ROOT / "packaging" / "pictures"
# Of a cell in pixels, and the colours of a usual dark terminal by the names that pyte has.
_WIDE, _HIGH = 8.4, 17.0
_COLOURS = {
    "default": "#d0d0d0", "black": "#000000", "red": "#cd3131", "green": "#0dbc79",
    "brown": "#e5e510", "blue": "#2472c8", "magenta": "#bc3fbc", "cyan": "#11a8cd",
    "white": "#e5e5e5", "brightblack": "#666666", "brightred": "#f14c4c",
    "brightgreen": "#23d18b", "brightbrown": "#f5f543", "brightblue": "#3b8eea",
    "brightmagenta": "#d670d6", "brightcyan": "#29b8db", "brightwhite": "#ffffff",
}  # fmt: skip
_BEHIND = "#101418"
_FONTS = "DejaVu Sans Mono, Menlo, Consolas, monospace"
_EIGHTHS = "▁▂▃▄▅▆▇█"
_NOT_LETTERS = dict.fromkeys(map(ord, _EIGHTHS), " ")
_WORDS = re.compile(r"\S+(?: \S+)*")


def coloured(lived: float) -> dict[str, str]:
    """Return the pictures in colour, as SVG, of a cluster that has lived for so many seconds."""
    starter_class = importlib.import_module("tools.screen").EvtopStarter
    with tempfile.TemporaryDirectory() as home:
        starter = starter_class(Path(home))
        try:
            evtop = starter(
                "--demo", "--window", "5m", terminal=COLOURED_SIZE, env=_untouched(home)
            )
            evtop.wait_ready()
            time.sleep(lived)
            pictures = {}
            for name, steps in COLOURED.items():
                for typed, shows in steps:
                    evtop.type(typed)
                    evtop.wait_screen(shows, deadline=60)
                time.sleep(1.0)
                pictures[name] = svg(evtop.cells())
            return pictures
        finally:
            starter.end()


def svg(cells: Sequence[Sequence[Any]]) -> str:
    """Return a screen of cells, as pyte has them, as an SVG picture."""
    cols, rows = len(cells[0]), len(cells)
    wide, high = cols * _WIDE + 16, rows * _HIGH + 16
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide:.0f}" height="{high:.0f}">',
        f'<rect width="100%" height="100%" rx="6" fill="{_BEHIND}"/>',
        f'<g shape-rendering="crispEdges" font-family="{_FONTS}" font-size="14">',
    ]
    for row, line in enumerate(cells):
        top = 8 + row * _HIGH
        start = 0
        for style, group in itertools.groupby(line, _style_of):
            text = "".join(cell.data for cell in group)
            front, behind, bold = style
            left, long = 8 + start * _WIDE, len(text) * _WIDE
            start += len(text)
            if behind != _BEHIND:
                rect = f'x="{left:.1f}" y="{top:.1f}" width="{long:.1f}" height="{_HIGH}"'
                parts.append(f'<rect {rect} fill="{behind}"/>')
            # Parts of a cell meet those above and beside them, which letters do not.
            for at, character in enumerate(text):
                if character in _EIGHTHS:
                    tall = _HIGH * (1 + _EIGHTHS.index(character)) / 8
                    rect = f'x="{left + at * _WIDE:.1f}" y="{top + _HIGH - tall:.1f}"'
                    size = f'width="{_WIDE}" height="{tall:.2f}"'
                    parts.append(f'<rect {rect} {size} fill="{front}"/>')
            text = text.translate(_NOT_LETTERS)
            weight = ' font-weight="bold"' if bold else ""
            # Words stand where they are; a viewer may collapse the blanks between them.
            for found in _WORDS.finditer(text):
                at, size = left + found.start() * _WIDE, len(found[0]) * _WIDE
                place = f'x="{at:.1f}" y="{top + 13:.1f}" textLength="{size:.1f}"'
                shown = html.escape(found[0], quote=False)
                parts.append(f'<text {place} fill="{front}"{weight}>{shown}</text>')
    return "\n".join([*parts, "</g>", "</svg>", ""])


def _style_of(cell: Any) -> tuple[str, str, bool]:
    front = _COLOURS.get(cell.fg, f"#{cell.fg}")
    behind = _BEHIND if cell.bg == "default" else _COLOURS.get(cell.bg, f"#{cell.bg}")
    if cell.reverse:
        front, behind = behind, front
    return front, behind, cell.bold


# --- Comparing them -------------------------------------------------------------------


def structure(picture: Sequence[str]) -> list[str]:
    """Return what of a picture is the same whenever it is taken."""
    lines = [line for line in picture if not line.startswith(_FILTER)]
    tabs = [at for at, line in enumerate(lines) if _TABS.match(line)]
    # Without what stands at the right: how many rows there are.
    same = [line for at in tabs for line in (_VIEWS.sub(r"\1", lines[at]), *lines[at + 1 : at + 2])]
    return same + [found[1] for found in map(_SECTIONS.match, lines) if found]


def places(readme: str) -> dict[str, str]:
    """Return what stands between the markers of each picture, by its name."""
    return {found[1]: found[2] for found in _PLACE.finditer(readme)}


def problems(readme: str, pictures: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield where the pictures in the README are not those of today."""
    there = places(readme)
    for name, picture in pictures.items():
        if name not in there:
            yield f"README.md: no place for a picture: {BEGIN.format(name).strip()}"
        elif structure(there[name].splitlines()) != structure(picture):
            yield f"README.md: the picture of {name} is old; screenshots.py --fix"
    for name in there.keys() - pictures.keys():
        yield f"README.md: there is no picture of {name}"


def fixed(readme: str, pictures: Mapping[str, Sequence[str]]) -> str:
    """Return the README with other pictures in the places there are for them."""

    def put(found: re.Match[str]) -> str:
        name = found[1]
        if name not in pictures:
            return found[0]
        lines = "\n".join(pictures[name])
        return f"{BEGIN.format(name)}```text\n{lines}\n```\n{END}"

    return _PLACE.sub(put, readme)


def main(arguments: list[str]) -> int:
    """Print the problems and return the exit status."""
    if arguments not in ([], ["--fix"]):
        print("usage: screenshots.py [--fix]", file=sys.stderr)
        return 2
    path = ROOT / "README.md"
    readme = path.read_text(encoding="utf-8")
    pictures = taken(LIVED if arguments else 0.0)
    if arguments:
        readme = fixed(readme, pictures)
        path.write_text(readme, encoding="utf-8")
        PICTURES.mkdir(exist_ok=True)
        for name, picture in coloured(LIVED).items():
            (PICTURES / f"{name}.svg").write_text(picture, encoding="utf-8")
    found = list(problems(readme, pictures))
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    sys.exit(main(sys.argv[1:]))
