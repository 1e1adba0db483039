"""evcam in the background, and its supervisor: --detach, and sd_notify(3)."""

import contextlib
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Collection, Mapping, MutableMapping
from typing import Final, NamedTuple, Self

from daemon.daemon import prevent_core_dump, redirect_stream, set_signal_handlers

from evtools.clock import Clock, SystemClock
from evtools.errors import EvtoolsError, UsageError
from evtools.text import hide_credentials

#: The descriptor on which a detached evcam reports that it is ready; set by `start` only.
_VARIABLE: Final = "_EVCAM_READY"
#: A fork would do, but not in a single-file binary: the boot loader deletes the unpacked
#: files when the first process ends.
_FRESH: Final = {"PYINSTALLER_RESET_ENVIRONMENT": "1"}
_READY: Final = b"R"
_PIPE_BYTES: Final = 65536
#: Nothing stops a process that has no terminal.
_SIGNALS: Final = dict.fromkeys((signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU), signal.SIG_IGN)
#: Where the open descriptors are, on Linux and elsewhere.
_OPEN: Final = ("/proc/self/fd", "/dev/fd")

#: Seconds: systemd reads at once, and other programs shall not delay evcam for longer.
_TIMEOUT: Final = 0.25
_STATUS_MAX: Final = 500
_NUMBER: Final = re.compile(r"\d{1,18}", re.ASCII)


# --- the starter --------------------------------------------------------------------


class Program(NamedTuple):
    """A program to execute, and the words of its command line."""

    path: str
    words: list[str]


def own_program(executable: str) -> Program:
    """Return the program and the command line of this process.

    `executable` replaces the interpreter, or the binary, if it is not empty.
    """
    path = executable or sys.executable
    if getattr(sys, "frozen", False):
        # It behaves as it is called: evcam is a link to evtools.
        return Program(path, sys.argv)
    # Python finds its virtual environment by its own name.
    return Program(path, [path, *sys.orig_argv[1:]])


def start(program: Program, environ: Mapping[str, str], *, typed: str = "") -> int:
    """Start a detached evcam, and wait until it is ready or has failed.

    `typed` is its stdin.  Return 0, or the status it ended with; its own messages are
    copied to stderr.  Raise UsageError for a program that cannot be started.
    """
    ready, ready_end = os.pipe()
    stdin, stdin_end = os.pipe()
    # Not our own stderr: the boot loader of a single-file binary never closes it, and its
    # reader would wait for as long as evcam runs.
    output, output_end = os.pipe()
    try:
        # posix_spawn knows setsid only where it was built for a newer glibc.
        child = subprocess.Popen(  # noqa: S603  (ourselves)
            program.words,
            executable=program.path,
            env={**environ, **_FRESH, _VARIABLE: str(ready_end)},
            stdin=stdin,
            stdout=output_end,
            stderr=output_end,
            pass_fds=[ready_end],
            start_new_session=True,
        )
    except OSError as error:
        raise UsageError(
            f"cannot start {program.path}: {error.strerror}", "see --executable"
        ) from None
    finally:
        os.close(ready_end)
        os.close(stdin)
        os.close(output_end)
    with open(ready, "rb"), open(output, "rb"), open(stdin_end, "wb") as source:  # noqa: PTH123
        with contextlib.suppress(BrokenPipeError):
            source.write(typed.encode())
            source.close()
        try:
            if not _wait_until_ready(ready, output):
                return _status(child, output)
        except KeyboardInterrupt:
            child.terminate()
            _status(child, output)
            raise
    # It lives on without a parent: Popen need not complain of that.
    child.returncode = 0
    return 0


def _wait_until_ready(ready: int, output: int) -> bool:
    """Copy the output of the process until it is ready or gone; return whether it is."""
    with selectors.DefaultSelector() as waiting:
        for descriptor in (ready, output):
            waiting.register(descriptor, selectors.EVENT_READ)
        while True:
            readable = {key.fd for key, _ in waiting.select()}
            if output in readable and not _copy(output):
                waiting.unregister(output)
            if ready in readable:
                _copy_rest(output)
                return bool(os.read(ready, 1))


def _copy(output: int) -> bool:
    data = os.read(output, _PIPE_BYTES)
    os.write(2, data)
    return bool(data)


def _copy_rest(output: int) -> None:
    os.set_blocking(output, False)
    with contextlib.suppress(BlockingIOError):
        while _copy(output):
            pass


def _status(child: subprocess.Popen[bytes], output: int) -> int:
    """Wait for the end of a process and copy its last words; return its status."""
    code = child.wait()
    _copy_rest(output)
    if code < 0:
        name = signal.Signals(-code).name
        raise EvtoolsError(f"the detached process was ended by {name}")
    if code == 0:
        raise EvtoolsError("the detached process has ended before it was ready")
    return code


# --- the detached process -----------------------------------------------------------


class Detached:
    """The detached process: it leaves the terminal, and reports that it is ready."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def inherited(cls, environ: MutableMapping[str, str]) -> Self | None:
        """Return what `start` has prepared for this process; None if nothing."""
        text = environ.pop(_VARIABLE, "")
        if not text.isdecimal():
            return None
        descriptor = int(text)
        try:
            os.set_inheritable(descriptor, False)  # noqa: FBT003  (its signature)
        except OSError:
            return None
        for name in _FRESH:
            environ.pop(name, None)
        return cls(descriptor)

    def settle(self) -> None:
        """Become a daemon, but for stderr: the user reads it until evcam is ready.

        Signals get the meaning that they have for a daemon, see daemon(7), though the
        starter may have been started by nohup, or in the background.
        """
        # The steps of python-daemon's DaemonContext, one by one: where a kernel has no
        # close_range, that one tries each descriptor up to the hard limit, for minutes.
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:
            if signal.getsignal(number) is signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
        set_signal_handlers(_SIGNALS)
        # A core would have the passwords in it.
        prevent_core_dump()
        _close_others((0, 1, 2, self._descriptor))
        redirect_stream(sys.stdin, None)
        redirect_stream(sys.stdout, None)

    def ready(self) -> None:
        """Let the starter end, and discard anything printed; idempotent."""
        if self._descriptor < 0:
            return
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 2)
        os.close(null)
        # The starter may have been ended meanwhile.
        with contextlib.suppress(BrokenPipeError):
            os.write(self._descriptor, _READY)
        os.close(self._descriptor)
        self._descriptor = -1


def _close_others(kept: Collection[int]) -> None:
    """Close all open descriptors, without trying the millions that may be."""
    for folder in _OPEN:
        with contextlib.suppress(OSError):
            for name in os.listdir(folder):  # noqa: PTH208  (names, not paths)
                if int(name) not in kept:
                    with contextlib.suppress(OSError):
                        os.close(int(name))
            return


# --- systemd ------------------------------------------------------------------------


class Notifier:
    """Send notifications, see sd_notify(3), or nothing without an `address`.

    `watchdog_every` is the watchdog interval of systemd in seconds; 0 for none.
    Notifications that cannot be sent are dropped: a deaf supervisor is no reason to end.
    """

    def __init__(
        self, address: str = "", watchdog_every: float = 0.0, *, clock: Clock | None = None
    ) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._clock = clock or SystemClock()
        self._status = ""
        # Half the time: one sign may be late.
        self._pause = watchdog_every / 2
        self._next_sign = 0.0
        self._socket: socket.socket | None = None
        if address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.settimeout(_TIMEOUT)

    @classmethod
    def from_environment(
        cls, environ: MutableMapping[str, str], *, clock: Clock | None = None
    ) -> Self:
        """Return the notifier for systemd's variables, and remove them.

        They are not for anything that a camera starts.
        """
        address = environ.pop("NOTIFY_SOCKET", "")
        every = environ.pop("WATCHDOG_USEC", "")
        pid = environ.pop("WATCHDOG_PID", "")
        # In a single-file binary the watched process is our parent.
        is_ours = pid in ("", str(os.getpid()), str(os.getppid()))
        return cls(
            address if address[:1] in ("/", "@") else "",
            int(every) / 1e6 if is_ours and _NUMBER.fullmatch(every) else 0.0,
            clock=clock,
        )

    def ready(self, status: str = "") -> None:
        """Report that the start, or a reload, is over."""
        self._status = status or self._status
        # The process that systemd has started may be another: see --detach.
        self._send("READY=1", f"MAINPID={os.getpid()}", *_status_lines(status))

    def status(self, text: str) -> None:
        """Send the status in one line; the same line is not sent again."""
        if text != self._status:
            self._status = text
            self._send(*_status_lines(text))

    def watchdog(self) -> None:
        """Send a sign of life, if one is due; call it often."""
        now = self._clock.monotonic()
        if self._pause and now >= self._next_sign:
            self._next_sign = now + self._pause
            self._send("WATCHDOG=1")

    def reloading(self) -> None:
        # In the same datagram, or `systemctl reload` waits for ever.
        now = int(self._clock.monotonic() * 1e6)
        self._send("RELOADING=1", f"MONOTONIC_USEC={now}")

    def stopping(self, status: str = "") -> None:
        self._send("STOPPING=1", *_status_lines(status))

    def close(self) -> None:
        """Close the socket; idempotent."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, *lines: str) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                message = "\n".join(lines).encode("utf-8", "replace")
                self._socket.sendto(message, self._address)


def _status_lines(text: str) -> list[str]:
    line = " ".join(hide_credentials(text)[:_STATUS_MAX].split())
    return [f"STATUS={line}"] if line else []
