"""Takes the pictures of the README, in colour, as SVG; `--fix` takes them anew.

They are taken of the real programs, which show the simulated cluster on a terminal that
nobody sees, and of the page of `evtools report` by Chromium, as PNG. What is on them is never
the same again; so without `--fix` only what stays is compared: that the README shows each
picture, and that those of evtop have the tabs, the heads of the columns and the sections of
the detail that the program has today.
"""

from __future__ import annotations

import html
import importlib
import itertools
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evtools.top.keys import Keymap
from evtools.top.options import VIEWS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "packaging" / "pictures"

SIZE = (120, 32)
# Of the page of a report, in pixels.
REPORT_SIZE = (1060, 1332)
# Time that the cluster is given before pictures are taken, in seconds: by then a worker
# has died and another one has restarted.
LIVED = 58.0

_TABS = re.compile(r"[ \[]0 \w+\W+1 \w+")
_VIEWS = re.compile(r"^(.*\w\]?) {3,}.*$")
_FILTER = " filter>"
# Behind the state of a task, or above it, stand the sections of its detail.
_SECTIONS = re.compile(r"^(?: state .*)? {3,}(\[.*)$")
# A queue, its depth, and how that changes.
_CHANGES = re.compile(r" celery +\d+ +\S+ +\d+ +\S+ +\S+ +[+-]?\d")
_METER = re.compile(r"celery +[█░]")
# The name of a client has that of the machine in it.
_CLIENT = re.compile(r"gen\d+@\S*(?: +|$)")

# What is typed, and what the screen then shows.
Steps = tuple[tuple[str, "str | Callable[[str], object]"], ...]
# A screen as pyte has it: rows of cells.
Cells = Any


def of_evtop() -> dict[str, Steps]:
    """Return what leads to each picture of evtop: of each view, and of what Enter and H show."""
    keymap = Keymap()
    keys = {view: keymap.key_of(f"view {view}") for view in VIEWS}
    steps: dict[str, Steps] = {view: ((key, f"[{key} "),) for view, key in keys.items()}
    # The broker has been asked how deep the queues are, and once more how that changes.
    steps["overview"] = ((keys["overview"], _METER.search),)
    steps["queues"] = ((keys["queues"], _CHANGES.search),)
    steps["heat-map"] = ((f"{keys['types']}H", "run: heat map"),)
    chosen = "/state:failure name:*.charge\r"
    steps["detail"] = (*steps["tasks"], (chosen, ">FAIL"), ("\r", "[Traceback]"))
    return steps


#: Pictures of a shell: the lines that are typed, each once the one before has ended.
SHELL: Mapping[str, tuple[str, ...]] = {
    "evdump": ("evdump --demo -c 22 'name:shop.billing.,shop.orders.'",),
    "evcam": (
        "evcam --demo -c sqlite:tasks.db --detach --pidfile evcam.pid --logfile evcam.log",
        "evcam status --pidfile evcam.pid",
        "sqlite3 -box tasks.db 'SELECT name, state, count(*) FROM tasks GROUP BY 1, 2'",
        "evcam stop --pidfile evcam.pid",
    ),
}
_PROMPT = "$ "


# --- Taking them ----------------------------------------------------------------------


def taken(lived: float) -> dict[str, Cells]:
    """Return the screens of evtop; the cluster has lived for so many seconds."""
    with tempfile.TemporaryDirectory() as home:
        starter = importlib.import_module("tools.screen").EvtopStarter(Path(home))
        try:
            evtop = starter("--demo", "--window", "5m", terminal=SIZE, env=_untouched(home))
            evtop.wait_ready()
            time.sleep(lived)
            return {name: _take(evtop, steps) for name, steps in of_evtop().items()}
        finally:
            starter.end()


def taken_of_shells(lived: float) -> dict[str, Cells]:
    """Return the screens of a shell; what goes on in the background does so for `lived` seconds."""
    pictures = {}
    for name, lines in SHELL.items():
        with tempfile.TemporaryDirectory() as home:
            starter = importlib.import_module("tools.screen").EvtopStarter(Path(home))
            path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
            env = {**_untouched(home), "PS1": _PROMPT, "PATH": path}
            try:
                shell = starter.start(
                    ["/bin/bash", "--norc", "--noprofile", "-i"],
                    terminal=SIZE,
                    stderr_on_terminal=True,
                    env=env,
                )
                for number, line in enumerate(lines, 1):
                    shell.wait_screen(_prompts(number), deadline=60)
                    if number == len(lines) - 1:
                        time.sleep(lived)
                    shell.type(f"{line}\n")
                shell.wait_screen(_prompts(len(lines) + 1), deadline=60)
                pictures[name] = _anonymous(shell.cells())
            finally:
                starter.end()
    return pictures


def taken_of_report(target: Path) -> None:
    """Take a picture of the head of the page about an incident of two hours."""
    evtools = Path(sys.executable).parent / "evtools"
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        importlib.import_module("tools.incident").record(folder / "day.jsonl")
        words = [evtools, "report", "day.jsonl", "-o", "report.html", "-q"]
        env = {name: value for name, value in {**os.environ, **_untouched(home)}.items() if value}
        subprocess.run(words, cwd=home, env=env, check=True)
        with importlib.import_module("tools.browser").Browser(folder / "browser") as browser:
            browser.open((folder / "report.html").as_uri(), width=REPORT_SIZE[0])
            browser.picture(target, height=REPORT_SIZE[1])


def _prompts(count: int) -> Callable[[str], bool]:
    """Return whether a screen has so many prompts, the last of which waits."""

    def waits(screen: str) -> bool:
        lines = screen.rstrip("\n ").split("\n")
        there = [line for line in lines if line.startswith(_PROMPT.strip())]
        return len(there) == count and lines[-1] == _PROMPT.strip()

    return waits


def _untouched(home: str) -> dict[str, str | None]:
    """Return an environment in which a tool is as it is for everybody."""
    env: dict[str, str | None] = {
        name: None for name in os.environ if name.startswith(("EVTO", "XDG_", "LC_"))
    }
    return env | {"HOME": home, "TZ": "UTC"}


def _take(evtop: Any, steps: Steps) -> Cells:
    for typed, shows in steps:
        evtop.type(typed)
        evtop.wait_screen(shows, deadline=60)
    # The terminal may have the half of it by now.
    before, screen = "", evtop.screen()
    while screen != before:
        time.sleep(0.1)
        before, screen = screen, evtop.screen()
    return _anonymous(evtop.cells())


def text_of(cells: Cells) -> list[str]:
    """Return the lines of a screen."""
    return ["".join(cell.data for cell in line).rstrip() for line in cells]


def _anonymous(cells: Cells) -> Cells:
    """Return a screen on which clients run on another machine."""
    rows = []
    for line in cells:
        data = [cell.data for cell in line]
        # Some cells are empty, beside a character that is two wide.
        for found in _CLIENT.finditer("".join(each or " " for each in data)):
            data[found.start() : found.end()] = _nobody(found)
        rows.append([cell._replace(data=each) for cell, each in zip(line, data, strict=True)])
    return rows


def _nobody(found: re.Match[str]) -> str:
    cols = len(found[0])
    return "gen4120@web-1"[: cols - 1].rstrip("-").ljust(cols)


# --- In colour ------------------------------------------------------------------------

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
_SHOWN = re.compile(r'<text x="(?P<x>[\d.]+)" y="(?P<y>[\d.]+)"[^>]*>(?P<text>[^<]*)</text>')


def svg(cells: Cells) -> str:
    """Return a screen as an SVG picture, without the empty lines at its end."""
    cells = cells[: max(at for at, line in enumerate(text_of(cells), 1) if line)]
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
                start_x, length = left + found.start() * _WIDE, len(found[0]) * _WIDE
                place = f'x="{start_x:.1f}" y="{top + 13:.1f}" textLength="{length:.1f}"'
                shown = html.escape(found[0], quote=False)
                parts.append(f'<text {place} fill="{front}"{weight}>{shown}</text>')
    return "\n".join([*parts, "</g>", "</svg>", ""])


def _style_of(cell: Any) -> tuple[str, str, bool]:
    front = _COLOURS.get(cell.fg, f"#{cell.fg}")
    behind = _BEHIND if cell.bg == "default" else _COLOURS.get(cell.bg, f"#{cell.bg}")
    if cell.reverse:
        front, behind = behind, front
    return front, behind, cell.bold


def lines_of(picture: str) -> list[str]:
    """Return the lines of text of a picture that `svg` made."""
    lines: dict[int, str] = {}
    for found in _SHOWN.finditer(picture):
        left, row = float(found["x"]), round((float(found["y"]) - 21) / _HIGH)
        lines[row] = lines.get(row, "").ljust(round((left - 8) / _WIDE)) + html.unescape(
            found["text"]
        )
    return [lines.get(row, "") for row in range(max(lines, default=-1) + 1)]


# --- Comparing them -------------------------------------------------------------------


def structure(picture: Sequence[str]) -> list[str]:
    """Return what of a picture is the same whenever it is taken."""
    lines = [line for line in picture if not line.startswith(_FILTER)]
    tabs = [at for at, line in enumerate(lines) if _TABS.match(line)]
    # Without what stands at the right: how many rows there are.
    same = [line for at in tabs for line in (_VIEWS.sub(r"\1", lines[at]), *lines[at + 1 : at + 2])]
    return same + [found[1] for found in map(_SECTIONS.match, lines) if found]


def problems(
    readme: str, there: Mapping[str, str], today: Mapping[str, Sequence[str]]
) -> Iterator[str]:
    """Yield where the pictures in the README are not those of today.

    `there` has the pictures by their names, SVG as text, and `today` the lines of screens of now.
    """
    shown = set(re.findall(r"\(packaging/pictures/([\w-]+)\.(?:svg|png)\)", readme))
    for name in sorted({*there, *today} - shown):
        yield f"README.md: does not show the picture of {name}"
    for name in sorted(shown - {*there}):
        yield f"README.md: there is no picture of {name}"
    for name, screen in today.items():
        if name in there and structure(lines_of(there[name])) != structure(screen):
            yield f"README.md: the picture of {name} is old; screenshots.py --fix"


def main(arguments: list[str]) -> int:
    """Print the problems and return the exit status."""
    if arguments not in ([], ["--fix"]):
        print("usage: screenshots.py [--fix]", file=sys.stderr)
        return 2
    screens = taken(LIVED if arguments else 0.0)
    if arguments:
        PICTURES.mkdir(exist_ok=True)
        for name, cells in {**screens, **taken_of_shells(LIVED)}.items():
            (PICTURES / f"{name}.svg").write_text(svg(cells), encoding="utf-8")
        taken_of_report(PICTURES / "report.png")
    today = {name: text_of(cells) for name, cells in screens.items()}
    found = list(problems((ROOT / "README.md").read_text(encoding="utf-8"), pictures(), today))
    for line in found:
        print(line)
    return 1 if found else 0


def pictures() -> dict[str, str]:
    """Return the pictures that there are, by their names: the text of those that are SVG."""
    texts = {path.stem: path.read_text(encoding="utf-8") for path in PICTURES.glob("*.svg")}
    return texts | {path.stem: "" for path in PICTURES.glob("*.png")}


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    sys.exit(main(sys.argv[1:]))
