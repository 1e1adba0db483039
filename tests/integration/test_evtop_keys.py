"""Every key of evtop's table, typed on a real terminal; what it does is read there."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest

from evtools.top.keys import BINDINGS
from evtools.wire import encode_line
from tools.life import Life

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

TASKS = 60
#: The tasks as they are listed: a workflow, and what came before it.
LISTED = [
    *("f0000002", "f0000001", "f0000000"),
    *(f"{number:08x}" for number in reversed(range(TASKS))),
]
#: Of these every fifth failed, with a traceback in which something can be sought.
FAILED = [uuid for uuid in LISTED[3:] if int(uuid, 16) % 5 == 0]
_TRACEBACK = [f"line {n}{' needle' if n in (20, 40) else ''}" for n in range(70)]
_REST = "-0000-4000-8000-000000000000"


def events():
    """Yield the events of a cluster."""
    life = Life()
    yield from (life.beat("w1@host"), life.beat("w2@host"))
    for number in range(TASKS):
        uuid, name = f"{number:08x}{_REST}", f"proj.kind{number % 3}"
        if f"{number:08x}" in FAILED:
            yield from life.failure(uuid, name, traceback="\n".join(_TRACEBACK))
        else:
            yield from life.success(uuid, name)
    root = f"f0000000{_REST}"
    yield from (life.received(root, "proj.flow"), life.started(root))
    for child in (f"f0000001{_REST}", f"f0000002{_REST}"):
        yield life.received(child, "proj.part", root_id=root, parent_id=root)
        yield life.started(child)


# --- what is seen -------------------------------------------------------------------


def text(pattern: str) -> Callable[[str], bool]:
    """Return a test for a screen with a text."""
    return lambda screen: re.search(pattern, screen, re.MULTILINE) is not None


def no(pattern: str) -> Callable[[str], bool]:
    """Return a test for a screen without a text."""
    return lambda screen: not text(pattern)(screen)


def both(*tests: Callable[[str], bool]) -> Callable[[str], bool]:
    """Return a test for a screen that passes several."""
    return lambda screen: all(test(screen) for test in tests)


def on(*words: str) -> Callable[[str], bool]:
    """Return a test for a cursor on a row that has some words."""
    return lambda screen: any(
        line.startswith(">") and all(word in line for word in words) for line in screen.split("\n")
    )


def row(index: int) -> Callable[[str], bool]:
    """Return a test for a cursor on the task of that number."""
    return on(LISTED[index])


# --- what is typed --------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """Keys of one context, typed one after another, and what is seen then.

    `first` are keys that lead to a screen without that, `then` some that show where
    one is, and `last` some that lead away again.  With `same` it may have been there
    before: where the detail has all of the screen already, say.
    """

    context: str
    keys: str
    sees: Callable[[str], bool]
    first: str = ""
    then: str = ""
    last: str = ""
    same: bool = False


def moving(rows: int) -> Iterator[Step]:
    """Yield steps that move the cursor among so many rows of a table."""
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
    head = text(r"^ STATE .*UUID")
    yield Step("moving", "l right", lambda screen: not head(screen))
    yield Step("moving", "h left", head)


def each(context: str, keys: str, sees: Callable[[str], bool], **how: str) -> Iterator[Step]:
    """Yield a step for each of some keys that mean the same."""
    for key in keys.split():
        yield Step(context, key, sees, **how)


_TREE: Final = "├─"
_OPTIONS: Final = "─ options ─"
_REVOKE: Final = "Workers will skip it"
LISTS: Final = (
    Step("lists", "enter", text(r"\[Args\]"), last="q"),
    Step("lists", "i", text(r"\[Args\]"), last="q"),
    Step("lists", "r", text(r"\[Info\]"), last="q"),
    *each("lists", "/ \\ f4", text(r"^filter>"), last="ctrl-c"),
    Step("lists", "=", text(r"─ keep only ─"), last="ctrl-c"),
    Step("lists", "!", text(r"─ exclude ─"), last="ctrl-c"),
    *each("lists", "o f6", text(r"─ sort by ─"), last="ctrl-c"),
    Step("lists", "<", text(r"RUNv")),
    Step("lists", ">", text(r"AGEv")),
    Step("lists", "I", text(r"AGE\^"), last="I"),
    Step("lists", "F", text(r"^ following this row"), first="g", last="F"),
    Step("lists", "t", text(_TREE), first="g"),
    Step("lists", "-", text(r"\+ proj\.flow")),
    Step("lists", "+", text(_TREE)),
    Step("lists", "*", text(r"\+ proj\.flow"), last="*"),
    Step("lists", "f5", text(r"^ tree view off")),
    # It takes two lines, and covers how many rows are marked.
    Step("lists", "A", text(r"^ the newest tasks have no keyword arguments"), last="esc"),
    Step("lists", "J", row(2), first="g"),
    Step("lists", "e", on("FAIL", FAILED[1]), first="e"),
    Step("lists", "E", on("FAIL", FAILED[0]), last="g"),
    Step("lists", "space", text(r"1 marked")),
    Step("lists", "U", no(r"marked"), last="g"),
    Step("lists", "y", text(rf"copied.*: {LISTED[0]}"), last="j"),
    Step("lists", "c", text(rf"copied.*: {LISTED[1]}")),
    Step("lists", "Y", text(r"copied.*: \{"), last="g"),
    Step("events", "O", on(LISTED[0], "RECV"), first="5"),
    Step("events", "o", on(LISTED[0], "START"), last="1 g"),
)
TEXTS: Final = (
    Step("text", "]", text(r"\[Info\]"), first="e enter"),
    Step("text", "[", text(r"\[Traceback\]")),
    Step("text", "f", both(text(r"\[Traceback\]"), no(r"^ STATE")), same=True),
    Step("text", "/", text(r"^search>")),
    Step("prompts", "enter", both(text("line 20"), no("line 19")), first="n e e d l e"),
    Step("text", "n", both(text("line 40"), no("line 39"))),
    Step("text", "N", both(text("line 20"), no("line 19"))),
    Step("text", "w", text(r"^ long lines are cut"), last="w q g"),
)
EVERYWHERE: Final = (
    *each("everywhere", "? f1", text(r"find>"), last="ctrl-c"),
    Step("everywhere", "m", text(r"─ messages ─"), last="ctrl-c"),
    Step("everywhere", "W", text(r"^ there are no alerts"), last="esc"),
    Step("everywhere", "q", row(0), first="enter f"),
    Step(*("everywhere", "esc", no(r"marked")), first="space", last="g"),
    *(Step("everywhere", key, text(rf"\[{key} ")) for key in "2345601"),
    Step("everywhere", "tab", text(r"\[2 ")),
    Step("everywhere", "shift-tab", text(r"\[1 ")),
    Step("everywhere", ":", text(r"^:$"), last="ctrl-c"),
    Step("everywhere", "T", text(r"^ figures of the last 15m")),
    Step("everywhere", "V", text(r"^ compared with: 1h"), last="V V"),
    Step("everywhere", "H", text(r"^ heat maps on"), last="H"),
    Step("everywhere", "z", text(r"^ times: local"), last="z z"),
    Step("everywhere", "M", text(r"^ mouse on")),
    Step("everywhere", "M", text(r"^ mouse off")),
    Step("everywhere", "f2", text(_OPTIONS), last="ctrl-c"),
    Step("everywhere", "x", text(r"─ export ─"), last="ctrl-c"),
)
MENUS: Final = (
    Step("menus", "j down tab", text(r">z  times"), first="f2"),
    Step("menus", "k up shift-tab", text(r">t  theme")),
    Step("menus", "pgdn", text(r">c  columns")),
    Step("menus", "pgup", text(r">t  theme")),
    Step("menus", "ctrl-f", text(r">c  columns")),
    Step("menus", "ctrl-b", text(r">t  theme")),
    Step("menus", "enter", text(r"theme +light")),
    Step("menus", "q", no(_OPTIONS)),
    Step("menus", "esc", no(_OPTIONS), first="f2"),
    Step("menus", "ctrl-c", no(_OPTIONS), first="f2"),
)
PROMPTS: Final = (
    Step("prompts", "ctrl-a", text(r"^:aone$"), first=": o n e", then="a"),
    Step("prompts", "ctrl-e", text(r"^:aoneb$"), then="b"),
    Step("prompts", "home", text(r"^:caoneb$"), then="c"),
    Step("prompts", "end", text(r"^:caonebd$"), then="d"),
    Step("prompts", "left ctrl-b", text(r"^:caoneebd$"), then="e"),
    Step("prompts", "right ctrl-f", text(r"^:caoneebdf$"), then="f"),
    Step("prompts", "backspace", text(r"^:caoneebd$")),
    Step("prompts", "delete ctrl-d", text(r"^:oneebd$"), first="ctrl-a"),
    Step("prompts", "ctrl-w", text(r"^:oneebd$"), first="end space t w o"),
    Step("prompts", "ctrl-k", text(r"^:on$"), first="home right right"),
    Step("prompts", "ctrl-y", text(r"^:oneebd$")),
    Step("prompts", "alt-b", text(r"^:xoneebd$"), then="x"),
    Step("prompts", "alt-f", text(r"^:xoneebdy$"), then="y"),
    Step("prompts", "ctrl-left", text(r"^:zxoneebdy$"), then="z"),
    Step("prompts", "ctrl-right", text(r"^:zxoneebdyx$"), then="x"),
    Step("prompts", "alt-d", text(r"^:$"), first="home"),
    Step("prompts", "ctrl-u", text(r"^:$"), first="a", same=True),
    Step("prompts", "tab", text(r"^:window$"), first="w i n"),
    Step("prompts", "enter", text(r"^ figures of the last 1h"), first="space 1 h"),
    Step("prompts", "up ctrl-p", text(r"^:window 1h$"), first=": t i m e enter :"),
    Step("prompts", "down", text(r"^:time$")),
    Step("prompts", "ctrl-n", text(r"^:$")),
    Step("prompts", "esc", no(r"^:")),
    Step("prompts", "ctrl-c", no(r"^:"), first=":", last="z z"),
)
REPLAY: Final = (
    Step("paused", ",", text(r"\b59(/59| shown)")),
    Step("paused", ".", text(r"\b63(/63| shown)")),
    Step("paused", "S", text(r"^seek>"), last="ctrl-c"),
    Step("everywhere", "p", no(r"PAUSED")),
    Step("everywhere", "Z", text(r"REPLAY PAUSED")),
)
ACTIONS: Final = (
    *each("lists", "a f9", text(r"─ actions ─"), last="ctrl-c"),
    Step("lists", "C", text(_REVOKE)),
    Step("menus", "l left", no(_REVOKE), then="enter"),
    Step(
        *("menus", "right h", no(_REVOKE)),
        first="C",
        then="enter",
        last=": t i m e enter",
    ),
    *each(
        # Not before the answer, which would come into the next step.
        "menus", "l right", text(r"^ Revoke, task [^>]*\sreplied"), first="C",
        then="enter", last=": t i m e enter",
    ),
    Step("lists", "K", text(r">1  SIGTERM"), last="ctrl-c"),
    Step("lists", "R", text(r"─ (not run|Run) again ─"), last="ctrl-c"),
    Step("lists", "L", text(r"^rate>"), last="ctrl-c"),
    Step("queues", "b", text(r"asking the broker: "), first="4"),
    Step("workers", "S", text(r"to confirm:"), first="3"),
)  # fmt: skip
#: What ends or stops evtop, or is about a screen that is broken.
ELSEWHERE: Final = {*(("everywhere", key) for key in ("Q", "ctrl-c", "ctrl-z", "ctrl-l"))}


def play(evtop, steps: Iterable[Step]) -> None:
    """Type the keys of all steps, and see what they do."""
    for step in steps:
        evtop.press(*step.first.split())
        try:
            if not step.same:
                evtop.wait_screen(lambda screen, step=step: not step.sees(screen))
            evtop.press(*step.keys.split(), *step.then.split())
            evtop.wait_screen(step.sees)
        except AssertionError as error:
            raise AssertionError(f"{step.context}: {step.keys}\n{error}") from None
        evtop.press(*step.last.split())


#: Rows of the table on terminals of these sizes, below the heads of its columns.
ROWS: Final = {(80, 24): 18, (120, 32): 25}
#: Steps that need nothing of each other.
PARTS: Final = ((*LISTS,), (*TEXTS, *EVERYWHERE), (*MENUS, *PROMPTS, *REPLAY))


def at_once(play_one: Callable[..., None], cases: Iterable[tuple[object, ...]]) -> None:
    """Play on several terminals at once: each shows a few pictures a second only."""
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(play_one, *case) for case in cases]:
            done.result()


@pytest.mark.timeout(120)
def test_every_key_does_what_it_says(evtop, tmp_path):
    path = tmp_path / "tape.jsonl"
    path.write_bytes(b"".join(encode_line(event) + b"\n" for event in events()))

    def play_one(size, steps):
        started = evtop("-r", path, "--speed", "max", terminal=size)
        started.wait_screen(row(0), deadline=30)
        play(started, steps)
        leave(started)

    parts = [(size, steps) for size in ROWS for steps in PARTS]
    at_once(play_one, [*parts, *((size, moving(rows)) for size, rows in ROWS.items())])


def test_every_key_that_changes_the_cluster_asks_first(evtop):
    def play_one(size):
        started = evtop("--demo", terminal=size)
        started.wait_screen(on("shop."), deadline=30)
        play(started, ACTIONS)
        started.press("ctrl-c")
        started.wait_screen(no("to confirm:"))
        leave(started)

    at_once(play_one, [(size,) for size in ROWS])


def leave(evtop):
    """Leave by a key; nothing went wrong."""
    evtop.press("Q")
    assert evtop.wait() == 0
    assert evtop.stderr == ""


def test_no_key_of_the_table_was_left_out():
    steps = (*moving(10), *LISTS, *TEXTS, *EVERYWHERE, *MENUS, *PROMPTS, *REPLAY)
    typed = {(step.context, key) for step in (*steps, *ACTIONS) for key in step.keys.split()}
    table = {(binding.context, key) for binding in BINDINGS for key in binding.keys}
    assert table - ELSEWHERE == typed
