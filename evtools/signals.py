"""Signals that become flags for a main loop to look at, and programs of the user that are run."""

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from tempfile import TemporaryFile
from types import FrameType
from typing import IO, TYPE_CHECKING, Self, TypeAlias

if TYPE_CHECKING:
    from evtools.clock import Clock

Handler: TypeAlias = Callable[[int, FrameType | None], None]

#: A second Ctrl-C this soon is the first one seen twice: in a single-file
#: binary the terminal and the boot loader both hand it to us.
_SAME_KEY_PRESS = 0.3
_INTERRUPTED = 130


def install(handlers: Mapping[int, Handler]) -> dict[int, object]:
    """Install handlers of signals, and return what was there before, to `put_back`."""
    # What is ignored stays ignored: that is what our caller wants, such as nohup, or a shell
    # that has started us in the background.
    return {
        number: signal.signal(number, handler)
        for number, handler in handlers.items()
        if signal.getsignal(number) is not signal.SIG_IGN
    }


def put_back(before: Mapping[int, object]) -> None:
    for number, handler in before.items():
        signal.signal(number, handler)  # type: ignore[arg-type]


def end_echo() -> None:
    """End the line on which the terminal has echoed ^C; safe in a signal handler."""
    with suppress(OSError):
        if os.isatty(2):
            os.write(2, b"\n")


class EndingSignals:
    """INT and TERM end a program in order; a second INT ends it at once.

    The first sets `ending` and calls `end`, which must be safe in a signal handler; the second
    exits with status 130.  A subclass adds to `handlers` before the signals are entered.
    """

    def __init__(self, end: Callable[[], None], clock: "Clock") -> None:
        self.ending = False
        self.handlers: dict[int, Handler] = {
            signal.SIGINT: self._interrupt, signal.SIGTERM: self.end,
        }  # fmt: skip
        self._end, self._clock = end, clock
        self._interrupted_at: float | None = None
        self._before: Mapping[int, object] = {}

    def __enter__(self) -> Self:
        self._before = install(self.handlers)
        return self

    def __exit__(self, *exc_info: object) -> None:
        put_back(self._before)

    def end(self, _number: int, _frame: FrameType | None) -> None:
        self.ending = True
        self._end()

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        now = self._clock.monotonic()
        if self._interrupted_at is None:
            self._interrupted_at = now
            end_echo()
            self.end(number, frame)
        elif now - self._interrupted_at > _SAME_KEY_PRESS:
            # A blocked write or a hanging broker must not hold us back.
            os._exit(_INTERRUPTED)


# --- programs of the user ---------------------------------------------------------------

#: How often a program that runs is looked at, and how long one that is to end may take, in seconds.
_TICK = 0.1
_GRACE = 2.0


def run_program(
    words: Sequence[str],
    *,
    seconds: float,
    given_up: Callable[[], bool],
    output: bytearray,
    output_max_bytes: int,
    stdin: bytes | None = None,
    environment: Mapping[str, str] | None = None,
) -> int | None:
    """Run a program to its end, without a shell, and return its exit status.

    After `seconds`, or once it is `given_up`, it is killed with all that it has started, and None
    is returned.  It reads `stdin`, or nothing; the beginning of what it writes is added to
    `output`.  Raise OSError or ValueError if it cannot be run.
    """
    # In a session of its own, ctrl-c does not reach it, it cannot prompt on our terminal, and all
    # that it starts can be ended.
    with as_file(stdin) as given:
        process = subprocess.Popen(  # noqa: S603  (the user's)
            words, stdin=subprocess.DEVNULL if given is None else given, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True, env=environment,
        )  # fmt: skip
    ends_at = time.monotonic() + seconds
    with process:
        assert process.stdout is not None
        poll, pipe, reads = select.poll(), process.stdout.fileno(), True
        poll.register(pipe, select.POLLIN | select.POLLHUP)
        while True:
            is_over = given_up() or time.monotonic() >= ends_at
            # In this order: what it has written before its end is in the pipe when we look.
            status = process.poll()
            if is_over and status is None:
                break
            came = reads and poll.poll(_TICK * 1000 if status is None else 0)
            if came:
                chunk = os.read(pipe, 65536)
                reads = bool(chunk)
                output += chunk[: max(0, output_max_bytes - len(output))]
            if status is not None and (is_over or not came):
                return status  # what it has left running may keep the pipe
            if not reads:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_TICK)
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            # It is not reaped yet: until then no other group can have its number.
            patience = time.monotonic() + _GRACE
            while number == signal.SIGTERM and time.monotonic() < patience:
                if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                    break
                time.sleep(_TICK / 10)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
    return None


@contextmanager
def as_file(content: bytes | None) -> Iterator[IO[bytes] | None]:
    """Have what a program is to read in a file, None if that is None.

    A pipe would have to be written while the program runs.  Where it can be, the file is in memory:
    a container may have no folder that can be written.
    """
    if content is None:
        yield None
        return
    in_memory = _memory_file()
    with os.fdopen(in_memory, "w+b") if in_memory >= 0 else TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        yield file


def _memory_file() -> int:
    # The number of a new file in memory, -1 if there are none.
    if hasattr(os, "memfd_create"):
        return os.memfd_create("stdin")
    # A Python that was built for systems as old as RHEL 7 lacks it, and the C library here has it.
    import ctypes  # noqa: PLC0415  (rarely needed)

    create = getattr(ctypes.CDLL(None), "memfd_create", None)
    return int(create(b"stdin", 1)) if create else -1  # 1: MFD_CLOEXEC


def how_ended(status: int) -> str:
    """Return how a program failed, in words; "" if it did not."""
    return f"exit status {status}" if status > 0 else f"ended by signal {-status}" if status else ""
