"""Programs of the user's own: [command.NAME] in the settings file, run on rows.

Whoever sends events chooses what is in a row.  So no shell takes a command line apart: each of its
arguments is one argument whatever is put into it, and none becomes an option by that.
"""

import difflib
import getpass
import json
import logging
import os
import re
import shlex
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import partial
from itertools import takewhile
from pathlib import PurePath
from queue import Empty, SimpleQueue
from typing import Any, Final, NamedTuple

from evtools.clock import Clock, SystemClock
from evtools.errors import Fail, UsageError, check_table
from evtools.signals import as_file, how_ended, run_program
from evtools.state import OTHERS, UNKNOWN
from evtools.text import clip, human_duration, parse_duration, sanitize
from evtools.top.columns import as_text, own_column
from evtools.top.keys import Binding
from evtools.top.options import VIEWS, View
from evtools.top.table import TableModel

_log = logging.getLogger(__name__)

# fmt: off
#: What can be put into an argument: the views whose rows have it.
PLACEHOLDERS: Final[Mapping[str, Sequence[View]]] = {
    "uuid":    ("tasks", "events"),
    "name":    ("tasks", "events", "types", "errors"),
    "worker":  ("tasks", "events", "workers"),
    "queue":   ("tasks", "events", "queues"),
    "state":   ("tasks", "events"),
    "root":    ("tasks", "events"),
    "exc":     ("tasks", "events", "errors"),
    "cluster": VIEWS,
    "json":    VIEWS,
}
# fmt: on
_OWN_FIELDS: Final = ("kwargs.", "field.")
_OWN_VIEWS: Final[Sequence[View]] = ("tasks", "events")
_PART: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
#: A text in which a placeholder would be an option, or its letters.
_OPTION_OF: Final = re.compile(r"-{1,2}\{[^{]")
#: Programs that run the text which follows an option of theirs, and such options.
_INTERPRETERS: Final = re.compile(
    r"(?:ba|da|a|k|z|c|tc|fi)?sh|busybox|su|script|flock|runuser|python[\d.]*|perl|ruby|node|php|lua"
    r"|psql|mysql|mariadb|mongosh"
)
_RUNS: Final = re.compile(r"-[a-zA-Z]*[ceEr]|--(?:command|eval|execute|session-command|print)")
#: Programs that have a shell take their arguments apart.
_JOINERS: Final = ("ssh", "mosh", "watch", "eval", "tmux", "xterm", "parallel")
#: Linux takes 128 KiB for one argument.
ARGUMENT_MAX_BYTES: Final = 100_000
_STDIN_MAX_BYTES: Final = 64 * 1024 * 1024
#: The most rows for which a program is run one by one, and the most that run in the background.
ROWS_MAX: Final = 100
RUNNING_MAX: Final = 4
_TIMEOUT, _TIMEOUT_MAX = 60.0, 3600.0
#: How much of the output of one run is kept, for the log.
OUTPUT_MAX_BYTES: Final = 16_384
_OUTPUT_COLS: Final = 200
#: No argument takes more of the log.
_LOGGED_CHARS: Final = 1000
#: How long a program has to end when it is asked to, and how often it is looked at, in seconds.
_GRACE: Final = 2.0
_INTERRUPTED: Final = (-signal.SIGINT, 128 + signal.SIGINT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One [command.NAME]: the program and its arguments, `run`, with placeholders in them.

    `place` is its file and table.  `timeout` is in seconds, and of programs in the background.
    """

    name: str
    place: str
    run: tuple[str, ...]
    views: tuple[View, ...]
    key: str = ""
    about: str = ""
    confirm: bool = True
    background: bool = False
    wait: bool = True
    stdin: str = ""
    safe: bool = False
    timeout: float = _TIMEOUT

    @property
    def title(self) -> str:
        return self.about or self.name

    @property
    def help(self) -> str:
        """One line for the list of keys."""
        return self.title if self.views == VIEWS else f"{self.title} ({', '.join(self.views)})"

    @property
    def takes_values(self) -> bool:
        """Whether anything of a row is among its arguments."""
        return any(found[1] for text in self.run for found in _PART.finditer(text))

    def arguments(self, value_of: Callable[[str], str]) -> list[str]:
        """Return the command line with the values of a row in the place of its placeholders.

        Raise UsageError for a value that cannot be an argument, or would be an option.
        """
        line: list[str] = []
        for at, text in enumerate(self.run):
            filled = _PART.sub(lambda found: _filled(found, value_of), text)
            first = _PART.match(text)
            if (
                first is not None
                and first[1]
                and filled.startswith("-")
                and "--" not in self.run[1:at]
            ):
                shown = clip(sanitize(filled[:_OUTPUT_COLS]), 40)
                problem = f"{first[0]} is {shown}, which {self.run[0]} would take for an option"
                raise UsageError(problem, f'put "--" before it in run of [command.{self.name}]')
            if len(filled.encode(errors="replace")) > ARGUMENT_MAX_BYTES:
                problem = f"argument {at} is longer than {ARGUMENT_MAX_BYTES} bytes"
                raise UsageError(problem, 'stdin = "json" has no such limit')
            line.append(filled)
        return line


def _filled(found: re.Match[str], value_of: Callable[[str], str]) -> str:
    if not found[1]:
        return found[0][0]
    value = value_of(found[1])
    # What is not printed as it is could do something to a terminal; no argument has a NUL.
    if _CONTROLS.search(value):
        raise UsageError(f"{found[0]} has control characters", "look at the row: Y copies it")
    if not value.isascii() and value != value.encode(errors="replace").decode():
        raise UsageError(f"{found[0]} is no text", "look at the row: Y copies it")
    return value


# --- the settings ------------------------------------------------------------------------


def parse_program(name: str, place: str, table: Mapping[str, Any]) -> Program:
    """Return the program of a table of the settings file, which `place` names.

    Raise ConfigError, with the key, for any mistake in it.
    """
    known = {one.name: one.type for one in fields(Program) if one.name not in ("name", "place")}
    fail = check_table(name, place, table, known)
    run: Any = table.get("run")
    if not _are_texts(run):
        example = 'run = ["program", "argument", "{uuid}"]'
        fail("run", "must be a list of texts, for no shell takes it apart", example)
    names = _placeholders(run, fail)
    stdin = table.get("stdin", "")
    if stdin not in ("", "json"):
        fail("stdin", 'must be "json"', "the rows come as JSON Lines then")
    if stdin and names:
        fail("run", f"{{{names[0]}}} is of one row, and stdin has all of them", "leave out one")
    made = {
        "run": tuple(run), "views": _views(table.get("views"), names, fail),
        "timeout": _seconds(table.get("timeout", _TIMEOUT), fail),
    }  # fmt: skip
    rest = {key: value for key, value in table.items() if known[key] in (bool, str)}
    return Program(**{**rest, **made, "name": name, "place": place})


def _views(given: Any, names: Sequence[str], fail: Fail) -> tuple[View, ...]:
    # By default those whose rows have all that is put into arguments.
    having = {name: PLACEHOLDERS.get(name, _OWN_VIEWS) for name in names}
    if given is None:
        views = tuple(view for view in VIEWS if all(view in each for each in having.values()))
        if not views:
            fail("run", f"no view has all of {', '.join(names)}")
        return views
    if not _are_texts(given):
        fail("views", "must be a list of views", f"there are {', '.join(VIEWS)}")
    for view in given:
        if view not in VIEWS:
            near = difflib.get_close_matches(view, VIEWS, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(VIEWS)}"
            fail("views", f"there is no view {view}", hint)
        for name, has_it in having.items():
            if view not in has_it:
                fail("run", f"the view {view} has no {{{name}}}", f"{', '.join(has_it)} have it")
    return tuple(given)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, str) for one in value)


def _seconds(value: Any, fail: Fail) -> float:
    try:
        seconds = parse_duration(value) if isinstance(value, str) else float(value)
    except (TypeError, ValueError):
        seconds = 0.0
    if isinstance(value, bool) or not 0 < seconds <= _TIMEOUT_MAX:
        fail("timeout", f"must be a time of up to {human_duration(_TIMEOUT_MAX)}")
    return seconds


def _placeholders(run: Sequence[str], fail: Fail) -> list[str]:
    # The names of those in a command line, in which they can do no harm.
    names: list[str] = []
    for at, text in enumerate(run):
        there = list(filter(None, (_placeholder(found, fail) for found in _PART.finditer(text))))
        names += there
        if "\0" in text or (not text and not at):
            fail("run", "has a text that is no argument")
        if not there:
            continue
        if not at:
            fail("run", f"{{{there[0]}}} cannot be the program: whoever sends events chooses it")
        if _OPTION_OF.match(text):
            fail("run", f"in {text!r} whoever sends events would choose the option")
        before = [PurePath(one).name for one in run[:at]]
        options = takewhile(lambda one: one.startswith("-"), reversed(run[:at]))
        if joiner := next((one for one in before if one in _JOINERS), ""):
            hint = 'give it the rows on its input: stdin = "json"'
            fail("run", f"{joiner} would have a shell run what {{{there[0]}}} says", hint)
        runner = next(filter(_INTERPRETERS.fullmatch, before), "")
        if runner and any(map(_RUNS.fullmatch, options)):
            hint = 'give it the value as an argument: ["sh", "-c", \'echo "$1"\', "sh", "{name}"]'
            fail("run", f"{runner} would run what {{{there[0]}}} says", hint)
    return names


def _placeholder(found: re.Match[str], fail: Fail) -> str | None:
    # Its name; None for a pair of braces.
    name = found[1]
    if found[0] in ("{", "}"):
        fail("run", f'"{found[0]}" stands alone in {found.string!r}', "write {{ and }} for braces")
    if name is None:
        return None
    is_own = name.startswith(_OWN_FIELDS) and own_column(name, getattr) is not None
    if name not in PLACEHOLDERS and not is_own:
        near = difflib.get_close_matches(name, PLACEHOLDERS, 1)
        hint = f"there are {', '.join(PLACEHOLDERS)}, kwargs.NAME, field.NAME; {{{{ is a brace"
        hint = f"did you mean {{{near[0]}}}?" if near else hint
        fail("run", f"there is no placeholder {found[0]}", hint)
    return name


def bindings_of(programs: Iterable[Program]) -> dict[str, Binding]:
    """Return the bindings of the keys that programs have, by the place of the key."""
    return {
        f"{one.place}.key": Binding("lists", f"run {one.name}", (one.key,), one.help)
        for one in programs
        if one.key
    }


# --- rows --------------------------------------------------------------------------------


class Run(NamedTuple):
    """What is to be run once: its command line, and what it is given on stdin, if anything."""

    arguments: list[str]
    stdin: bytes | None = None

    @property
    def shown(self) -> str:
        return sanitize(shlex.join(self.arguments))


def runs_of(program: Program, table: TableModel, keys: Sequence[str]) -> list[Run]:
    """Return what is to be run for some rows: once for each, or once for all on stdin, or for none.

    Raise UsageError for a row that lacks a value, or where one cannot be an argument.
    """
    if not (program.stdin or program.takes_values):
        return [Run(program.arguments(lambda _: ""))]
    if table.grouped_by:
        raise UsageError("programs are not run on groups", "Enter shows the tasks of one")
    if not keys:
        raise UsageError("there is no row to run it on")
    if program.stdin:
        data = "".join(f"{_value(table, key, 'json')}\n" for key in keys).encode()
        if len(data) > _STDIN_MAX_BYTES:
            raise UsageError("the rows are too large", "mark fewer of them")
        return [Run(program.arguments(lambda _: ""), data)]
    if len(keys) > ROWS_MAX:
        hint = 'mark fewer, or have it take them all at once with stdin = "json"'
        raise UsageError(f"{program.name} is run on {ROWS_MAX} rows at most", hint)
    return [Run(program.arguments(partial(_value, table, key))) for key in keys]


def _value(table: TableModel, key: str, name: str) -> str:
    subject = table.subject(key)
    if subject is None:
        raise UsageError("evtop no longer remembers one of these rows")
    if name == "json":
        return table.as_json(key)
    if name == "cluster":
        return getattr(subject, "cluster", "") or ""
    if (made := table.make_column(name)) is not None:
        value = made.value(subject, table.now_of(subject))
    else:
        field = "name" if (table.name, name) == ("queues", "queue") else name
        value = table.fields[field].get(table.record_of(subject))
    if value is None or value in ("", OTHERS, UNKNOWN):
        raise UsageError(f"a row has no {name}", "mark others")
    return as_text(value)


# --- running -----------------------------------------------------------------------------


class Outcome(NamedTuple):
    """How the runs of a program ended; `good` unless one of them failed."""

    text: str
    good: bool


class Programs:
    """The programs by their names, and those that run in the background.

    `wake` is called from other threads when one of these has ended, for `take`.
    """

    def __init__(
        self,
        programs: Iterable[Program] = (),
        wake: Callable[[], None] = lambda: None,
        clock: Clock | None = None,
    ) -> None:
        self.named: Mapping[str, Program] = {program.name: program for program in programs}
        self._wake, self._clock = wake, clock or SystemClock()
        self._outcomes: SimpleQueue[Outcome] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._closed = threading.Event()

    def of_view(self, view: View, *, can_act: bool) -> Iterator[Program]:
        """Yield the programs for the rows of a view; the safe ones if nothing may be changed."""
        for program in self.named.values():
            if view in program.views and (program.safe or can_act):
                yield program

    def begin(self, program: Program, runs: Sequence[Run]) -> None:
        """Run a program in the background; raise UsageError if too many do."""
        self._threads = [one for one in self._threads if one.is_alive()]
        if len(self._threads) >= RUNNING_MAX:
            raise UsageError(f"{RUNNING_MAX} programs run already", "wait for one to end")
        thread = threading.Thread(
            target=self._work, args=(program, runs), name="evtools-program", daemon=True
        )
        self._threads.append(thread)
        thread.start()

    def run_here(self, program: Program, runs: Sequence[Run]) -> Outcome:
        """Run a program on the terminal, which it has until it ends."""
        ends: list[tuple[str, str]] = []
        for run in runs:
            _write(f"{run.shown}\n")
            began = self._clock.monotonic()
            try:
                with as_file(run.stdin) as given:
                    status: int | str = subprocess.run(  # noqa: S603  (the user's)
                        run.arguments, stdin=given, check=False
                    ).returncode
            except (OSError, ValueError) as error:
                status = _refusal(run, error)
            ends.append((self._report(program, run, status, self._clock.monotonic() - began), ""))
            if status in _INTERRUPTED:
                break
        outcome = _outcome(program, ends, len(runs))
        if program.wait:
            _write(f"\n{outcome.text}; press Enter to go back\n")
            _wait_for_enter()
        return outcome

    def take(self) -> Outcome | None:
        """Return how a program in the background has ended, None if none has since."""
        try:
            return self._outcomes.get_nowait()
        except Empty:
            return None

    def close(self) -> None:
        """End what still runs in the background."""
        self._closed.set()
        for thread in self._threads:
            thread.join(2 * _GRACE)

    def _work(self, program: Program, runs: Sequence[Run]) -> None:
        ends: list[tuple[str, str]] = []
        for run in runs:
            if self._closed.is_set():
                break
            began, output = self._clock.monotonic(), bytearray()
            try:
                status = self._run(program, run, output)
            except (OSError, ValueError) as error:
                status = _refusal(run, error)
            text = output.decode(errors="replace")
            seconds = self._clock.monotonic() - began
            ends.append((self._report(program, run, status, seconds, text), text))
        self._outcomes.put(_outcome(program, ends, len(runs)))
        self._wake()

    def _run(self, program: Program, run: Run, output: bytearray) -> int | str:
        status = run_program(
            run.arguments, seconds=program.timeout, given_up=self._closed.is_set, stdin=run.stdin,
            output=output, output_max_bytes=OUTPUT_MAX_BYTES,
        )  # fmt: skip
        if status is not None:
            return status
        if self._closed.is_set():
            return "ended with evtop"
        return f"killed after {human_duration(program.timeout)}"

    def _report(
        self, program: Program, run: Run, status: int | str, seconds: float, output: str = ""
    ) -> str:
        # Into the log; "" is a success.
        try:
            who = getpass.getuser()
        except (KeyError, OSError, ImportError):
            who = str(os.getuid())
        if isinstance(status, int):
            end = how_ended(status) or "exit status 0"
        else:
            end = status
        facts = {
            "who": who, "command": program.name, "run": list(map(_logged, run.arguments)),
            "outcome": end, "seconds": round(seconds, 3), "output": output,
        }  # fmt: skip
        _log.warning("%s", json.dumps(facts, ensure_ascii=True))
        return "" if status == 0 else end


def _refusal(run: Run, error: OSError | ValueError) -> str:
    why = error.strerror if isinstance(error, OSError) else str(error)
    return f"cannot run {run.arguments[0]}: {why}"


def _logged(argument: str) -> str:
    more = len(argument) - _LOGGED_CHARS
    return argument if more <= 0 else f"{argument[:_LOGGED_CHARS]}... ({more} more characters)"


def _outcome(program: Program, ends: Sequence[tuple[str, str]], total: int) -> Outcome:
    # Of its runs: how each failed, and its output.
    bad = [end for end, _ in ends if end]
    if total == 1:
        end, output = ends[0] if ends else ("not run", "")
        lines = output.strip().splitlines()
        said = f": {lines[-1]}" if lines else ""
        return Outcome(f"{program.name}: {end or 'done'}{said[:_OUTPUT_COLS]}", not end)
    text = f"{program.name}: {len(ends) - len(bad)} of {total} done"
    if bad:
        text += f", {len(bad)} failed: {bad[0]}"
    return Outcome(text, len(ends) == total and not bad)


def _write(text: str) -> None:
    with suppress(OSError):
        os.write(1, text.encode(errors="replace"))


def _wait_for_enter() -> None:
    with suppress(OSError):
        while (typed := os.read(0, 4096)) and b"\n" not in typed:
            pass
