"""evtop's screen: without a terminal, and on a real one."""

from __future__ import annotations

import contextlib
import os
import pty
import sys
import termios
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

import pyte
import urwid

from evtools.errors import UsageError
from evtools.top import screen
from evtools.top.commands import Session
from evtools.top.feed import Feed
from evtools.top.keys import Keymap
from evtools.top.model import Model
from evtools.top.options import TopOptions
from evtools.top.ui.widgets import columns, plain
from evtools.transport import Notice
from evtools.wire import Event, from_fields
from servers.process import wait_until
from tools.clock import FakeClock
from tools.command import Command, Starter
from tools.life import Life

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class FakeHost:
    """The display and the loop of a session: remembers what it was asked for."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.cols_rows = size
        self.sent: list[str] = []
        #: Theme, whether in ASCII, and whether with the mouse.
        self.configured: list[tuple[str, bool, bool]] = []
        self.calls: list[str] = []
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def later(self, seconds: float, do: Callable[[], None]) -> Callable[[], None]:
        timer = (seconds, do)
        self.timers.append(timer)

        def call_off() -> None:
            if timer in self.timers:
                self.timers.remove(timer)

        return call_off

    def ring(self) -> None:
        """Let the time of all timers come."""
        timers, self.timers = self.timers, []
        for _, do in timers:
            do()

    def send(self, sequence: str) -> None:
        self.sent.append(sequence)

    def configure(self, options: TopOptions) -> None:
        self.configured.append((options.theme, options.ascii, options.mouse))

    def size(self) -> tuple[int, int]:
        return self.cols_rows

    def redraw(self) -> None:
        self.calls.append("redraw")

    def suspend(self) -> None:
        self.calls.append("suspend")

    def end(self) -> None:
        self.calls.append("end")


class FakeControl:
    """A control client that sends nothing and remembers what it was to send."""

    def __init__(self) -> None:
        self.submitted: list[Any] = []
        self.refuses = False

    def submit(self, request: Any) -> None:
        if self.refuses:
            raise UsageError("read-only mode", "leave out --read-only")
        self.submitted.append(request)

    def take(self) -> None:
        return None


class FakeTerminal:
    """A session with a real model on a terminal that is not there.

    Events go in with `take`, keys with `press` and `write`, and what one would
    see comes out of `text`.  Time stands still but in `tick`.
    """

    def __init__(
        self,
        size: tuple[int, int] = (120, 32),
        *,
        read_only: bool = False,
        source: Any = None,
        names: tuple[str, ...] = ("",),
        alerts: tuple[Any, ...] = (),
        **parts: Any,
    ) -> None:
        self.size = size
        self.clock = FakeClock(1000.0)
        self.life = Life(1000.0)
        self.host = FakeHost(size)
        self.control = None if read_only else FakeControl()
        feed = Feed(lambda: None)
        feed.source = source
        host: Any = self.host
        control: Any = self.control
        options = TopOptions(read=("x.jsonl",) if source is not None else (), alerts=alerts)
        model = Model(clock=self.clock, options=options, names=names)
        for cluster in model.clusters.values():
            cluster.control = control
            cluster.connection.apply(Notice("listening", "redis://host", cluster.name))
        self.connection = next(iter(model.clusters.values())).connection
        self.session = Session(
            model=model,
            keymap=Keymap(),
            feed=feed,
            display=host,
            picture=lambda: screen.draw(self.session, host.size()).lines,
            end=host.end,
            later=host.later,
            clock=self.clock,
            where="redis://host",
            **parts,
        )

    def take(self, *events: Any) -> None:
        """Have the model take events, or lists of them, and look at them."""
        for event in events:
            batch = event if isinstance(event, list) else [event]
            self.session.model.take(
                [one if isinstance(one, Event) else from_fields(one) for one in batch]
            )
        self.tick(self.life.now - self.clock.now)

    def tick(self, seconds: float = 1.0) -> None:
        """Let time pass, and then make a new picture."""
        self.clock.now += max(0.0, seconds)
        self.life.now = max(self.life.now, self.clock.now)
        self.session.settle()
        self.session.model.refresh(self.session.view, self.clock.now)
        self.session.announce()
        self.session.look()

    def press(self, *keys: str) -> None:
        """Press keys, by their names in the table; the picture is drawn before."""
        for key in keys:
            self.lines()
            self.session.press(key)

    def write(self, text: str) -> None:
        """Type a text."""
        self.press(*("space" if one == " " else one for one in text))

    def command(self, line: str) -> None:
        """Carry out a command."""
        self.lines()
        self.session.run(line)

    def frame(self) -> screen.Frame:
        """Draw; every line has just the width of the terminal or less."""
        frame = screen.draw(self.session, self.size)
        cols, rows = self.size
        assert len(frame.lines) <= rows
        assert all(columns(line) <= cols for line in frame.lines)
        return frame

    def lines(self) -> list[str]:
        """Return what one would see, line by line."""
        return [plain(line).rstrip() for line in self.frame().lines]

    @property
    def text(self) -> str:
        """What one would see."""
        return "\n".join(self.lines())

    @property
    def message(self) -> str:
        """The text above the keys that was said last."""
        message = self.session.message
        return message.text if message is not None else ""


class PtyTerminal:
    """A pseudo terminal for a display in this process.

    What is written becomes a screen, and keys can be typed.  A thread reads, so
    that nobody who writes has to wait.
    """

    #: Not shown by any terminal; behind it stands all that was written before.
    _MARK = b"\x1b]777;mark\x07"

    def __init__(self, size: tuple[int, int], monkeypatch: Any) -> None:
        self.ours, theirs = pty.openpty()
        self.theirs = os.fdopen(theirs, "w")
        termios.tcsetwinsize(theirs, (size[1], size[0]))
        self.screen = pyte.Screen(*size)
        self._stream = pyte.ByteStream(self.screen)
        self._come = b""
        self._changed = threading.Condition()
        self._written = b""
        real = urwid.display.raw.Screen
        stdin = SimpleNamespace(fileno=self.theirs.fileno)
        self._made: list[Any] = []

        def make(**how: Any) -> Any:
            self._made.append(real(stdin, self.theirs, **how))
            return self._made[-1]

        monkeypatch.setattr(urwid.display.raw, "Screen", make)
        self._thread = threading.Thread(target=self._listen, name="pty")
        self._thread.start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):  # EIO: the other end is closed
            while data := os.read(self.ours, 65536):
                with self._changed:
                    self._come += data
                    self._changed.notify_all()

    def read(self) -> bytes:
        """Return what has been written since `forget`."""
        self.theirs.flush()
        os.write(self.theirs.fileno(), self._MARK)
        with self._changed:
            assert self._changed.wait_for(lambda: self._MARK in self._come, 10)
            data, _, self._come = self._come.rpartition(self._MARK)
        self._written += data
        self._stream.feed(data)
        return self._written

    def forget(self) -> None:
        """Have what is written from now on told by `read`."""
        self.read()
        self._written = b""

    @property
    def text(self) -> str:
        """What one would see."""
        self.read()
        return "\n".join(line.rstrip() for line in self.screen.display)

    def type(self, text: str) -> None:
        """Type a text, or what keys send."""
        os.write(self.ours, text.encode())

    def hang_up(self) -> None:
        """Go away, as a window that is closed, or the connection of ssh."""
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, self.ours)
        os.close(null)
        # Our end is closed when the thread no longer reads from it.
        with contextlib.suppress(OSError):  # EIO: it did not
            os.write(self.theirs.fileno(), self._MARK)
        self._thread.join(10)

    def close(self) -> None:
        """Let go of both ends."""
        for made in self._made:
            # It closes its sockets as it goes, but the collector may take those before it.
            made.__del__()
        with contextlib.suppress(OSError):  # EIO: it has hung up
            self.theirs.close()
        self._thread.join(10)
        os.close(self.ours)


class Evtop(Command):
    """A running evtop on a terminal."""

    #: What urwid would make of what is typed in one piece.
    KEYS: ClassVar = {
        "enter": "\r",
        "tab": "\t",
        "shift-tab": "\x1b[Z",
        "up": "\x1b[A",
        "down": "\x1b[B",
        "right": "\x1b[C",
        "left": "\x1b[D",
        "ctrl-right": "\x1b[1;5C",
        "ctrl-left": "\x1b[1;5D",
        "home": "\x1b[H",
        "end": "\x1b[F",
        "pgup": "\x1b[5~",
        "pgdn": "\x1b[6~",
        "space": " ",
        "backspace": "\x7f",
        "delete": "\x1b[3~",
        "f1": "\x1bOP",
        "f2": "\x1bOQ",
        "f4": "\x1bOS",
        "f5": "\x1b[15~",
        "f6": "\x1b[17~",
        "f9": "\x1b[20~",
    }

    def press(self, *keys: str) -> None:
        """Type keys by their names in the table, each by itself."""
        for key in keys:
            if key == "esc":
                # Before another Esc it begins no other key, however late evtop reads what is
                # typed next; that one makes an alt-~, which means nothing.
                self.type("\x1b\x1b~")
            elif key.startswith("ctrl-") and key not in self.KEYS:
                self.type(chr(ord(key[-1].upper()) - 64))
            elif key.startswith("alt-"):
                self.type(f"\x1b{key[-1]}")
            else:
                self.type(self.KEYS.get(key, key))

    def wait_ready(self, *, deadline: float = 20) -> str:
        """Wait until the screen is drawn; it may not listen yet."""
        return self.wait_screen("1 Tasks", deadline=deadline)

    def wait_block(self, shows: Callable[[str], object], *, deadline: float = 30) -> str:
        """Wait until a block of `-B -n 0` shows something, and return it."""

        def look() -> str:
            text = self.stdout
            # What does not end a line is not whole.
            blocks = text.split("\n\n")[: None if text.endswith("\n") else -1]
            return next(filter(shows, blocks), "")

        what = "what is wanted in a block"
        return wait_until(look, deadline=deadline, what=lambda: f"{what}; {self._why()}")


class EvtopStarter(Starter):
    """Starts evtop with the given arguments, on a terminal of 80x24 by default.

    `evtop("--demo", terminal=(120, 32), env={"NO_COLOR": "1"})`
    """

    made = Evtop
    tool = "top"

    def __call__(self, *args: str | Path, patient: bool = False, **how: Any) -> Evtop:
        """Start one; one that is `patient` waits for the replies of workers that are late."""
        how.setdefault("terminal", (80, 24))
        if how["terminal"] is not None and "--view" not in args:
            # Not the overview, whatever the width.
            args = ("--view", "tasks", *args)
        how["env"] = {"TERM": "xterm-256color", "LANG": "C.UTF-8", **how.get("env", {})}
        started: Evtop
        if patient:
            started = self.start([sys.executable, "-c", _PATIENT, *map(str, args)], **how)
        else:
            started = super().__call__(*args, **how)
        return started


#: It is a second otherwise, as Celery has it.
_PATIENT = """
import sys
from evtools.cli.main import evtop
from evtools.top.control import ControlClient
ControlClient.__init__.__kwdefaults__["deadline"] = 30.0
sys.exit(evtop())
"""
