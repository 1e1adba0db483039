"""A process of its own for evcam, and what its starter hears of it."""

import contextlib
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Collection, Mapping, MutableMapping
from typing import Final, NamedTuple, Self

from daemon.daemon import prevent_core_dump, redirect_stream, set_signal_handlers

from evtools.errors import EvtoolsError, UsageError

#: Names the descriptor that a detached evcam tells its starter on that it is
#: ready.  For us alone: nobody sets it by hand.
_VARIABLE: Final = "_EVCAM_READY"
#: A fork would do, but not in a single-file binary: the boot loader deletes
#: the unpacked files when the first process ends.
_FRESH: Final = {"PYINSTALLER_RESET_ENVIRONMENT": "1"}
_READY: Final = b"R"
_PIPE_BYTES: Final = 65536
#: Nothing stops a process that has no terminal.
_SIGNALS: Final = dict.fromkeys((signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU), signal.SIG_IGN)
#: Where the open descriptors are, on Linux and elsewhere.
_OPEN: Final = ("/proc/self/fd", "/dev/fd")


class Program(NamedTuple):
    """What to execute, and the words of its command line."""

    path: str
    words: list[str]


def own_program(executable: str) -> Program:
    """Return what this process was started as.

    `executable` takes the place of the interpreter, or of the binary, if it
    is not empty.
    """
    path = executable or sys.executable
    if getattr(sys, "frozen", False):
        # It does what its name says: evcam is a link to evtools.
        return Program(path, sys.argv)
    # Python finds its virtual environment by its own name.
    return Program(path, [path, *sys.orig_argv[1:]])


def start(program: Program, environ: Mapping[str, str], *, typed: str = "") -> int:
    """Start a detached evcam, and wait until it is ready or has failed.

    `typed` is what it finds on stdin.  Return 0, or the status it ended with;
    what went wrong it has said itself, which we have copied to our stderr.
    Raise UsageError for a program that cannot be started.
    """
    told, tell = os.pipe()
    source, sink = os.pipe()
    # Not our own stderr: the boot loader of a single-file binary never lets go
    # of it, and whoever reads it would wait for as long as evcam runs.
    said, say = os.pipe()
    try:
        # posix_spawn knows setsid only where it was built for a newer glibc.
        child = subprocess.Popen(  # noqa: S603  (ourselves)
            program.words,
            executable=program.path,
            env={**environ, **_FRESH, _VARIABLE: str(tell)},
            stdin=source,
            stdout=say,
            stderr=say,
            pass_fds=[tell],
            start_new_session=True,
        )
    except OSError as error:
        raise UsageError(
            f"cannot start {program.path}: {error.strerror}", "see --executable"
        ) from None
    finally:
        os.close(tell)
        os.close(source)
        os.close(say)
    with open(told, "rb"), open(said, "rb"), open(sink, "wb") as stdin:  # noqa: PTH123
        with contextlib.suppress(BrokenPipeError):
            stdin.write(typed.encode())
            stdin.close()
        try:
            if not _hear(told, said):
                return _status(child, said)
        except KeyboardInterrupt:
            child.terminate()
            _status(child, said)
            raise
    # It lives on, and nobody waits for it: Popen need not complain of that.
    child.returncode = 0
    return 0


def _heed_signals() -> None:
    """Block no signal, and ignore none but those of the terminal and of Python."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    set_signal_handlers(_SIGNALS)


def _close_others(kept: Collection[int]) -> None:
    """Close all descriptors that are open, and try none of the millions that may be."""
    for folder in _OPEN:
        with contextlib.suppress(OSError):
            for name in os.listdir(folder):  # noqa: PTH208  (names, not paths)
                if int(name) not in kept:
                    with contextlib.suppress(OSError):
                        os.close(int(name))
            return


def _hear(told: int, said: int) -> bool:
    """Copy what the process says until it is ready or gone; return whether it is."""
    with selectors.DefaultSelector() as waiting:
        for descriptor in (told, said):
            waiting.register(descriptor, selectors.EVENT_READ)
        while True:
            readable = {key.fd for key, _ in waiting.select()}
            if said in readable and not _copy(said):
                waiting.unregister(said)
            if told in readable:
                _copy_rest(said)
                return bool(os.read(told, 1))


def _copy(said: int) -> bool:
    data = os.read(said, _PIPE_BYTES)
    os.write(2, data)
    return bool(data)


def _copy_rest(said: int) -> None:
    os.set_blocking(said, False)
    with contextlib.suppress(BlockingIOError):
        while _copy(said):
            pass


def _status(child: subprocess.Popen[bytes], said: int) -> int:
    """Wait for the end of a process and copy its last words; return its status."""
    code = child.wait()
    _copy_rest(said)
    if code < 0:
        name = signal.Signals(-code).name
        raise EvtoolsError(f"the detached process was ended by {name}")
    if code == 0:
        raise EvtoolsError("the detached process has ended before it was ready")
    return code


class Detached:
    """The side of the detached process: leave the terminal, tell that we are ready."""

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
        """Become a daemon, but for stderr: there the user reads until we are ready.

        Signals mean what they do to a daemon, as daemon(7) has it, though our starter
        may have been started by nohup, or in the background.
        """
        # The steps of python-daemon's DaemonContext, one by one: where a kernel has no
        # close_range, that one tries each descriptor up to the hard limit, for minutes.
        _heed_signals()
        # A core would have the passwords in it.
        prevent_core_dump()
        _close_others((0, 1, 2, self._descriptor))
        redirect_stream(sys.stdin, None)
        redirect_stream(sys.stdout, None)

    def ready(self) -> None:
        """Let the starter end, and what is printed go nowhere; idempotent."""
        if self._descriptor < 0:
            return
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 2)
        os.close(null)
        # Somebody may have ended our starter meanwhile.
        with contextlib.suppress(BrokenPipeError):
            os.write(self._descriptor, _READY)
        os.close(self._descriptor)
        self._descriptor = -1
