"""A command run as a user runs it, with pipes or on a terminal we can read."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyte

from servers.process import PATIENCE, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]
_JOB = Path(__file__).with_name("job.py")


class Stream:
    """Everything a command has written to one descriptor, read by a thread."""

    def __init__(self, descriptor: int, *, sink: Callable[[bytes], None]) -> None:
        self._descriptor = descriptor
        self._sink = sink
        self._data = bytearray()
        self._changed = threading.Condition()
        self._closed = False
        self._open = threading.Event()
        self._open.set()
        self._thread = threading.Thread(target=self._read, name="command-output", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        descriptor = self._descriptor
        while True:
            self._open.wait()
            try:
                chunk = os.read(descriptor, 65536)
            except OSError:  # EIO: the last process on this terminal has gone
                chunk = b""
            with self._changed:
                if chunk:
                    self._data += chunk
                    self._sink(chunk)
                else:
                    self._closed = True
                self._changed.notify_all()
            if not chunk:
                return

    def pause(self) -> None:
        """Stop reading, as a pager does; the pipe or terminal fills up."""
        self._open.clear()

    def resume(self) -> None:
        """Read again."""
        self._open.set()

    @property
    def data(self) -> bytes:
        """What has been written so far."""
        with self._changed:
            return bytes(self._data)

    @property
    def text(self) -> str:
        """What has been written so far, as text."""
        return self.data.decode(errors="surrogateescape")

    def wait(
        self, predicate: Callable[[str], bool], deadline: float, what: Callable[[], str]
    ) -> str:
        """Wait until the text satisfies the predicate, and return it."""
        end = time.monotonic() + deadline
        with self._changed:
            while not predicate(text := self._data.decode(errors="surrogateescape")):
                left = end - time.monotonic()
                if self._closed or not self._changed.wait(max(left, 0)):
                    why = "the command ended" if self._closed else f"in {deadline:g} s"
                    raise AssertionError(f"not {why}: {what()}")
        return text

    def close(self) -> None:
        """Wait for the end of the output; the command must have ended."""
        self.resume()
        self._thread.join(10)
        # Once only: the number may be that of another file by then.
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class Command:
    """A running command.

    Without `terminal`, stdin is empty (or a pipe, with `stdin=True`) and stdout and
    stderr are pipes. With `terminal=(columns, rows)`, stdin and stdout are a terminal
    that `screen()` shows; stderr is a pipe unless `stderr_on_terminal`.

    `pid` is the command's own process number, on a terminal too.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str | None] | None = None,
        terminal: tuple[int, int] | None = None,
        stdin: bool = False,
        stderr_on_terminal: bool = False,
    ) -> None:
        self.argv = list(argv)
        self._screen: pyte.Screen | None = None
        self._terminal = -1
        how: dict[str, Any] = {"env": _environment(env or {}), "cwd": cwd}
        if terminal:
            how["stderr_on_terminal"] = stderr_on_terminal
            self._popen = self._start_on_terminal(terminal, **how)
        else:
            self._popen = self._start_with_pipes(stdin=stdin, **how)
        self._open_streams()

    def _start_with_pipes(self, *, stdin: bool, **how: Any) -> subprocess.Popen[bytes]:
        # A group of its own, but our session: an orphan cannot be stopped with SIGTSTP.
        started = subprocess.Popen(
            self.argv,
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
            **how,
        )
        self.pid = started.pid
        return started

    def _start_on_terminal(
        self, size: tuple[int, int], *, stderr_on_terminal: bool, **how: Any
    ) -> subprocess.Popen[bytes]:
        theirs = self._open_terminal(size)
        tell, told = os.pipe()
        started = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_JOB), str(told), *self.argv],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs if stderr_on_terminal else subprocess.PIPE,
            pass_fds=(told,),
            start_new_session=True,
            **how,
        )
        os.close(theirs)
        os.close(told)
        with os.fdopen(tell) as pipe:
            self.pid = int(pipe.read())
        return started

    def _open_streams(self) -> None:
        if self._terminal >= 0:
            stdout = os.dup(self._terminal)
        else:
            stdout = _take(self._popen.stdout)
        self.stdout_stream = Stream(stdout, sink=self._feed)
        self.stderr_stream = (
            Stream(_take(self._popen.stderr), sink=lambda _: None)
            if self._popen.stderr
            else self.stdout_stream
        )

    # -- terminal

    def _open_terminal(self, size: tuple[int, int]) -> int:
        self._terminal, theirs = pty.openpty()
        self._screen = pyte.Screen(*size)
        self._feeder = pyte.ByteStream(self._screen)
        self._screen_lock = threading.Lock()
        _set_size(self._terminal, *size)
        return theirs

    def _feed(self, data: bytes) -> None:
        if self._screen is not None:
            with self._screen_lock:
                self._feeder.feed(data)

    def screen(self) -> str:
        """Return what the terminal shows, line by line, without trailing blanks."""
        assert self._screen is not None, "the command has no terminal"
        with self._screen_lock:
            lines = [line.rstrip() for line in self._screen.display]
        return "\n".join(lines).rstrip("\n")

    def cells(self) -> list[list[pyte.screens.Char]]:
        """Return what the terminal shows, line by line, each cell with its colours."""
        assert self._screen is not None, "the command has no terminal"
        with self._screen_lock:
            columns, lines, buffer = self._screen.columns, self._screen.lines, self._screen.buffer
            return [[buffer[row][column] for column in range(columns)] for row in range(lines)]

    def wait_screen(
        self, wanted: str | Callable[[str], bool], *, deadline: float = PATIENCE
    ) -> str:
        """Wait until the terminal shows a text, or what satisfies a predicate; return all of it.

        There may be no more yet of the picture than that.
        """
        shows = wanted if callable(wanted) else lambda screen: wanted in screen
        seen = ""

        def look() -> bool:
            nonlocal seen
            seen = self.screen()
            return shows(seen)

        wait_until(
            look,
            deadline=deadline,
            what=lambda: f"{wanted!r} on the screen:\n{seen}\n{self._why()}",
        )
        return seen

    def resize(self, columns: int, rows: int) -> None:
        """Change the size of the terminal, as dragging a corner of its window does."""
        assert self._screen is not None, "the command has no terminal"
        with self._screen_lock:
            self._screen.resize(rows, columns)
        _set_size(self._terminal, columns, rows)

    # -- input

    def type(self, text: str | bytes) -> None:
        """Type on the terminal, or write to the pipe that stdin is."""
        data = text.encode() if isinstance(text, str) else text
        if self._terminal >= 0:
            os.write(self._terminal, data)
        else:
            assert self._popen.stdin is not None, "start it with stdin=True"
            self._popen.stdin.write(data)
            self._popen.stdin.flush()

    def end_input(self) -> None:
        """Close the pipe that stdin is."""
        assert self._popen.stdin is not None, "start it with stdin=True"
        self._popen.stdin.close()

    # -- output

    @property
    def stdout(self) -> str:
        """What it has written to stdout so far."""
        return self.stdout_stream.text

    @property
    def stderr(self) -> str:
        """What it has written to stderr so far."""
        return self.stderr_stream.text

    def lines(self, count: int, *, deadline: float = PATIENCE) -> list[str]:
        """Wait until stdout has as many whole lines, and return all whole lines."""
        text = self.stdout_stream.wait(
            lambda text: text.count("\n") >= count,
            deadline,
            lambda: f"{count} lines of output; {self._why()}",
        )
        return text.split("\n")[:-1]

    def wait_ready(self, *, deadline: float = PATIENCE) -> str:
        """Wait until it says on stderr that it listens; not for use with -q."""
        return self.wait_stderr("listening on", deadline=deadline)

    def wait_stdout(self, wanted: str, *, deadline: float = PATIENCE) -> str:
        """Wait until stdout has a text, and return all of stdout."""
        return self.stdout_stream.wait(
            lambda text: wanted in text, deadline, lambda: f"{wanted!r} on stdout; {self._why()}"
        )

    def wait_stderr(self, wanted: str, *, deadline: float = PATIENCE) -> str:
        """Wait until stderr has a text, and return all of stderr."""
        return self.stderr_stream.wait(
            lambda text: wanted in text, deadline, lambda: f"{wanted!r} on stderr; {self._why()}"
        )

    def pause_output(self) -> None:
        """Read no more of stdout, as a stopped pager or a full disk would."""
        self.stdout_stream.pause()

    def resume_output(self) -> None:
        """Read stdout again."""
        self.stdout_stream.resume()

    def _why(self) -> str:
        return (
            f"{' '.join(self.argv)} (status {self._popen.poll()})\n"
            f"stdout ends: {self.stdout[-2000:]!r}\nstderr: {self.stderr[-4000:]}"
        )

    def wait_stopped(self, *, deadline: float = PATIENCE) -> None:
        """Wait until a signal has stopped it."""
        wait_until(self._is_stopped, deadline=deadline, what="the process to stop")

    def _is_stopped(self) -> bool:
        listed = subprocess.run(
            ["ps", "-o", "state=", "-p", str(self.pid)], capture_output=True, text=True, check=True
        )
        return listed.stdout.startswith("T")

    def continue_in_foreground(self) -> None:
        """Continue it after a stop as `fg` does: it has the terminal before it runs."""
        shell = self._popen.pid
        wait_until(
            lambda: os.tcgetpgrp(self._terminal) == shell, what="the terminal to be the shell's"
        )
        os.kill(shell, signal.SIGUSR1)

    # -- end

    @property
    def returncode(self) -> int | None:
        """The exit status, negative for a signal, None while it runs."""
        return self._popen.poll()

    def send_signal(self, number: int) -> None:
        """Send a signal to it."""
        os.kill(self.pid, number)

    def wait(self, *, deadline: float = PATIENCE) -> int:
        """Wait for its end and return the exit status; output is complete then."""
        try:
            status = self._popen.wait(deadline)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still runs: {self._why()}") from None
        self._close()
        return status

    def stop(self, number: int = signal.SIGINT, *, deadline: float = PATIENCE) -> int:
        """Send a signal, wait for the end and return the exit status."""
        if self._popen.poll() is None:
            self.send_signal(number)
        return self.wait(deadline=deadline)

    def end(self) -> None:
        """Leave nothing behind, however it went."""
        if self._popen.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self._popen.wait()
        self._close()

    def _close(self) -> None:
        for stream in {self.stdout_stream, self.stderr_stream}:
            stream.close()
        if self._popen.stdin is not None:
            with contextlib.suppress(OSError):
                self._popen.stdin.close()
        if self._terminal >= 0:
            os.close(self._terminal)
            self._terminal = -1


class Starter:
    """Starts commands, each in the same folder, and ends them after the test.

    `start(argv, terminal=(80, 24), env={"NO_COLOR": "1"}, stdin=True)`; a starter of a
    `tool` takes the tool's arguments: `evdump("-b", url)`.
    """

    made = Command
    tool = ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: list[Command] = []

    def __call__(self, *args: str | Path, **how: Any) -> Any:
        """Start the tool."""
        script = installed(f"ev{self.tool}")
        words = [script] if script.exists() else [sys.executable, "-m", "evtools", self.tool]
        return self.start([*map(str, words), *map(str, args)], **how)

    def start(self, argv: Sequence[str], **how: Any) -> Any:
        """Start a command; see Command for what `how` may be."""
        how.setdefault("cwd", self.folder)
        started = self.made(argv, **how)
        self._started.append(started)
        return started

    def end(self) -> None:
        """End all that were started."""
        for started in self._started:
            started.end()


class EvdumpStarter(Starter):
    """Starts evdump."""

    tool = "dump"


def _set_size(terminal: int, columns: int, rows: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def _take(pipe: object) -> int:
    descriptor = os.dup(pipe.fileno())
    pipe.close()
    return descriptor


def _environment(changes: Mapping[str, str | None]) -> dict[str, str]:
    """Return our environment with changes; None removes a variable."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), **changes}
    return {name: value for name, value in env.items() if value is not None}


def installed(name: str) -> Path:
    """Return where a command of this virtual environment is, or would be."""
    return Path(sys.executable).with_name(name)
