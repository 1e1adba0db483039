"""evtop under load, on either broker: keys, redraws, an idle cluster, a frozen screen.

The budgets are those of the design: a key is answered within 100 ms while 10 000
events a second come in and 100 000 tasks are remembered; there are ten redraws a
second at the most, of what has changed; nobody notices evtop where nothing happens;
a screen that stands still loses no event.
"""

from __future__ import annotations

import contextlib
import fcntl
import random
import re
import struct
import subprocess
import sys
import termios
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from publish import Publisher

from evtools.wire import encode_line
from servers.process import wait_until
from servers.redis import RedisServer
from tools.cpu import cpu_seconds
from tools.life import Life
from tools.screen import EvtopStarter
from tools.timed import Timed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.load, pytest.mark.timeout(400)]

RATE = 10_000
TASKS = 100_000
#: The longest that a key waits for its answer, in seconds.
ANSWER = 0.1
REDRAWS = 10
#: The share of a CPU that an idle evtop takes at the most.
IDLE = 0.01
FREEZE_SECONDS, FREEZE_RATE = 20, 3_000

_PER_TASK = 3
_BATCH = 24
_FILL_RATE = 15_000
_ROUNDS = 4
_IDLE_SECONDS = 30
_PUBLISH = Path(__file__).with_name("publish.py")
#: Every picture begins with it.
_HIDE_CURSOR: Final = b"\x1b[?25l"
#: What a terminal holds back for who does not read is less than two pictures.
_PTY_FULL = 4_000


class TimedStarter(EvtopStarter):
    """Starts evtop on a terminal that notes when bytes came."""

    made = Timed


@pytest.fixture
def starter(tmp_path: Path) -> Iterator[TimedStarter]:
    """Start evtop: `starter("-b", url)`."""
    made = TimedStarter(tmp_path)
    yield made
    made.end()


@pytest.fixture(scope="module")
def full(broker, tmp_path_factory) -> Iterator[tuple[str, Timed]]:
    """Return a URL, and an evtop there that remembers as many tasks as it may."""
    url = broker.fresh_url() if isinstance(broker, RedisServer) else broker.url
    made = TimedStarter(tmp_path_factory.mktemp("evtop"))
    top = made("-b", url, terminal=(120, 32))
    try:
        top.wait_screen("LIVE", deadline=20)
        count = TASKS * _PER_TASK
        with publishing(url, count=count, rate=_FILL_RATE) as publisher:
            assert publisher.wait(120) == 0
        top.wait_screen(f"tasks {TASKS}/", deadline=30)
        yield url, top
    finally:
        made.end()


@contextlib.contextmanager
def publishing(url: str, **how: int) -> Iterator[subprocess.Popen[bytes]]:
    """Have a process of its own publish events while the block runs."""
    options = {"batch": _BATCH, "kinds": 60, **how}
    arguments = [f"--{name}={value}" for name, value in options.items()]
    process = subprocess.Popen([sys.executable, str(_PUBLISH), url, *arguments])
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)


# --- keys -----------------------------------------------------------------------------


def shows(pattern: str) -> Callable[[str], bool]:
    """Return a test for a screen that shows something."""
    return lambda screen: re.search(pattern, screen, re.MULTILINE) is not None


def lacks(pattern: str) -> Callable[[str], bool]:
    """Return a test for a screen that does not show something."""
    return lambda screen: re.search(pattern, screen, re.MULTILINE) is None


#: Heads of the columns are on the fifth line, the first row on the sixth.
_FIRST, _SECOND = (
    lambda screen: screen.split("\n")[5].startswith(">"),
    lambda screen: screen.split("\n")[6].startswith(">"),
)
#: What is typed, and what there is on the screen once it has been obeyed.
KEYS: Final = (
    ("2", shows(r"\[2 Types\]")),
    ("3", shows(r"\[3 Workers\]")),
    ("4", shows(r"\[4 Queues\]")),
    ("5", shows(r"\[5 Events\]")),
    ("6", shows(r"\[6 Errors\]")),
    ("1", shows(r"\[1 Tasks\]")),
    ("j", _SECOND),
    ("\r", shows(r"\[(Args|Traceback)\]")),
    ("]", lacks(r"\[(Args|Traceback)\]")),
    ("q", lacks(r"Timeline")),
    ("k", _FIRST),
    ("o", shows(r" sort by ")),
    ("\x03", lacks(r" sort by ")),
    ("<", shows(r"sort runtime v")),
    ("<", shows(r"sort wait v")),
    (">", shows(r"sort runtime v")),
    (">", shows(r"sort age v")),
    ("I", shows(r"sort age \^")),
    ("I", shows(r"sort age v")),
    ("T", shows(r"window 15m")),
    ("T", shows(r"window 1h")),
    ("T", shows(r"window all")),
    ("T", shows(r"window 1m")),
    ("T", shows(r"window 5m")),
    ("t", shows(r"^ tree view on")),
    ("t", shows(r"^ tree view off")),
    ("/", shows(r"^filter>")),
    ("w", shows(r"^filter> w")),
    ("o", shows(r"^filter> wo")),
    ("\x03", lacks(r"filter>")),
    ("?", shows(r"find>")),
    ("\x03", lacks(r"find>")),
    ("p", shows(r"PAUSED")),
    ("p", shows(r"LIVE")),
)
#: The same, where the overview is open all the time, and after every look elsewhere.
OVERVIEW_KEYS: Final = (
    ("0", shows(r"\[0 Overview\]")),
    ("T", shows(r"window 15m")),
    ("T", shows(r"window 1h")),
    ("T", shows(r"window all")),
    ("T", shows(r"window 1m")),
    ("T", shows(r"window 5m")),
    ("/", shows(r"^filter>")),
    ("w", shows(r"^filter> w")),
    ("\x03", lacks(r"filter>")),
    ("?", shows(r"find>")),
    ("\x03", lacks(r"find>")),
    ("p", shows(r"PAUSED")),
    ("p", shows(r"LIVE")),
    ("6", shows(r"\[6 Errors\]")),
    ("0", shows(r"\[0 Overview\]")),
    ("2", shows(r"\[2 Types\]")),
)


@dataclass(frozen=True, order=True)
class Answer:
    """How long a key waited for its answer, less what evtop waited for a CPU."""

    seconds: float
    whole: float
    typed: str

    def __str__(self) -> str:
        return f"{self.typed!r} {self.seconds * 1e3:.0f} of {self.whole * 1e3:.0f} ms"


def cpu_wait(top: Timed) -> float:
    """Return how long the screen's thread was kept waiting for a CPU so far."""
    schedstat = Path(f"/proc/{top.pid}/task/{top.pid}/schedstat").read_text()
    return int(schedstat.split()[1]) / 1e9


def answer(top: Timed, typed: str, obeyed: Callable[[str], bool]) -> Answer:
    """Type something; return how long it took until it was obeyed."""
    assert not obeyed(top.screen()), typed
    before = cpu_wait(top)
    seconds = top.answer(typed, obeyed)
    return Answer(seconds - min(seconds, cpu_wait(top) - before), seconds, typed)


#: By which columns the tasks can be sorted, from left to right, on a wide screen.
COLUMNS: Final = (
    *("state", "name", "uuid", "worker", "queue", "root"),
    *("retries", "wait", "runtime", "age", "outcome"),
)


def test_any_order_of_very_many_tasks_is_seen_at_once(starter, tmp_path):
    """Of 80 000 tasks: the answer to each `<` and `>`, and all of them in order."""
    life, path = Life(), tmp_path / "tape.jsonl"
    with path.open("wb") as file:
        for number in range(80_000):
            name, host = f"proj.t{number % 60}", f"w{number % 20}@host"
            events = life.success(f"id{number * 7919 % 80_000:05}", name, hostname=host)
            events[-1]["runtime"] = number * 7919 % 80_000 / 1000
            file.writelines(encode_line(event) + b"\n" for event in events)
    top = starter("-r", path, "--speed", "max", terminal=(160, 40))
    top.wait_screen("80000 shown", deadline=120)
    first, whole = [], []
    all_placed = shows(r"[^f] 80000 shown")
    at = COLUMNS.index("age")
    for key, end in (("<", 0), (">", len(COLUMNS) - 1), ("<", 0)):
        while at != end:
            at += 1 if key == ">" else -1
            time.sleep(0.5)
            typed = f"{key} {COLUMNS[at]}"
            before, pressed = cpu_wait(top), time.monotonic()
            seen = answer(top, key, shows(f"sort {COLUMNS[at]} "))
            first.append(Answer(seen.seconds, seen.whole, typed))
            took = seen.whole
            if not all_placed(top.screen()):
                began = time.monotonic() - pressed
                took = began + top.answer("", all_placed)
            waited = min(took, cpu_wait(top) - before)
            whole.append(Answer(took - waited, took, typed))
    for what, answers in (("first rows", first), ("all in order", whole)):
        answers.sort()
        middle, late = answers[len(answers) // 2], answers[int(len(answers) * 0.95)]
        print(f"{what}: p50 {middle}, p95 {late}, at worst {answers[-1]}")
    assert first[-1].seconds <= ANSWER


@pytest.mark.parametrize("keys", [KEYS, OVERVIEW_KEYS], ids=["tasks", "overview"])
def test_keys_are_answered_at_once_while_events_pour_in(full, keys):
    url, top = full
    pauses = random.Random(7)
    answers: list[Answer] = []
    count = RATE * 240
    with publishing(url, count=count, rate=RATE, first=TASKS) as publisher:
        top.wait_screen(shows(rf"events +{RATE // 1000 - 1}\d\d\d|events +1\d{{4}}"))
        drawn = len(top.stdout_stream.data)
        for _ in range(_ROUNDS):
            for typed, obeyed in keys:
                time.sleep(pauses.uniform(0.15, 0.45))
                answers.append(answer(top, typed, obeyed))
        assert publisher.poll() is None
        assert "dropped" not in top.screen()
    top.type("1")
    answers.sort()
    p50, p95 = (answers[int(len(answers) * share)] for share in (0.5, 0.95))
    print(f"\n{len(answers)} keys at {RATE}/s and {TASKS} tasks, less waits for a CPU:")
    print(f"p50 {p50}; p95 {p95}; slowest {', '.join(map(str, answers[-6:]))}")
    print(f"redraws in a second: {most_in_a_second(redraws(top, drawn))} at the most")
    assert most_in_a_second(redraws(top, drawn)) <= REDRAWS
    assert answers[-1].seconds <= ANSWER


# --- redraws --------------------------------------------------------------------------


def redraws(top: Timed, start: int) -> list[float]:
    """Return when pictures began, from a place in the output on."""
    data, came = top.stdout_stream.data, iter(top.came)
    end, at, times = 0, 0.0, []
    place = data.find(_HIDE_CURSOR)
    while place >= 0:
        while end <= place:
            at, size = next(came)
            end += size
        if place >= start:
            times.append(at)
        place = data.find(_HIDE_CURSOR, place + 1)
    return times


def most_in_a_second(times: list[float]) -> int:
    """Return how many fell into the second that had the most."""
    return max((sum(first <= time < first + 1 for time in times) for first in times), default=0)


def written(top: Timed, typed: str, seconds: float) -> int:
    """Return how many bytes came in some seconds after something was typed."""
    before = len(top.stdout_stream.data)
    top.type(typed)
    time.sleep(seconds)
    return len(top.stdout_stream.data) - before


def test_a_key_that_is_held_down_redraws_ten_times_a_second_what_changed(full):
    url, top = full
    with publishing(url, count=RATE * 120, rate=RATE, first=TASKS):
        top.wait_screen(shows(rf"events +{RATE // 1000 - 1}\d\d\d|events +1\d{{4}}"))
        start = len(top.stdout_stream.data)
        began = time.monotonic()
        while time.monotonic() < began + 6:
            top.type("j")
            time.sleep(0.025)
        held = redraws(top, start)
        top.type("g")
        live = written(top, "", 5) / 5
        top.type("p")
        top.wait_screen("PAUSED")
        whole = written(top, "\x0c", 0.8)
        still = written(top, "", 5) / 5
        step = written(top, "j", 0.8)
        top.type("kp")
        top.wait_screen("LIVE")
    print(
        f"\nredraws in a second: {most_in_a_second(held)} at the most; "
        f"a whole screen {whole} bytes, a step of the cursor {step}, "
        f"paused {still:.0f} bytes/s, live {live:.0f} bytes/s"
    )
    assert most_in_a_second(held) <= REDRAWS
    assert step < whole / 3
    assert still < whole / 3
    assert live < 2 * whole


# --- nothing to do --------------------------------------------------------------------


def share_of_cpu(top: Timed) -> float:
    """Return which share of a CPU it takes while nothing is done to it."""
    before, began = cpu_seconds(top.pid), time.monotonic()
    time.sleep(_IDLE_SECONDS)
    return (cpu_seconds(top.pid) - before) / (time.monotonic() - began)


@pytest.mark.parametrize("view", ["tasks", "types", "errors", "overview"])
def test_with_many_tasks_and_no_events_it_takes_no_cpu(full, view):
    _, top = full
    top.type({"tasks": "1", "types": "2", "errors": "6", "overview": "0"}[view])
    top.wait_screen(shows(r"events +0"), deadline=20)
    share = share_of_cpu(top)
    print(f"\nidle with {TASKS} tasks, {view}: {share:.2%} of a CPU")
    top.type("1")
    assert share < IDLE


def test_without_anything_to_show_it_takes_no_cpu(starter, broker_url):
    top = starter("-b", broker_url, terminal=(120, 32))
    top.wait_screen("LIVE", deadline=20)
    time.sleep(3)
    share = share_of_cpu(top)
    print(f"\nidle: {share:.2%} of a CPU")
    assert share < IDLE


# --- a frozen screen ------------------------------------------------------------------


def unread(top: Timed) -> int:
    """Return how many bytes the terminal has and nobody read."""
    answer = fcntl.ioctl(top._terminal, termios.FIONREAD, b"\0" * 4)
    return int(struct.unpack("i", answer)[0])


def test_a_screen_that_stands_still_loses_no_event(starter, broker_url):
    top = starter("-b", broker_url, terminal=(120, 32))
    top.wait_screen("LIVE", deadline=20)
    publisher = Publisher(broker_url)
    publisher.send(_BATCH, rate=1000, batch=_BATCH)
    top.wait_screen(f"tasks {_BATCH // _PER_TASK}/")
    top.pause_output()

    def blocked() -> bool:
        top.type("\x0c")
        return unread(top) >= _PTY_FULL

    wait_until(blocked, what="a terminal that takes no more")
    count = FREEZE_RATE * FREEZE_SECONDS // _BATCH * _BATCH
    first = _BATCH // _PER_TASK
    seconds = publisher.send(count, rate=FREEZE_RATE, batch=_BATCH, first=first)
    publisher.close()
    top.resume_output()
    tasks = (_BATCH + count) // _PER_TASK
    began = time.monotonic()
    screen = top.wait_screen(f"tasks {tasks}/", deadline=30)
    print(
        f"\n{count} events in {seconds:.0f} s of a frozen screen, all of them shown "
        f"{time.monotonic() - began:.1f} s after it"
    )
    assert "gaps 0" in screen
    assert "dropped" not in screen
    assert "missed" not in screen
