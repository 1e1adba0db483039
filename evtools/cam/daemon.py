"""evcam in the background: --detach, pidfile, status and stop, and systemd, see sd_notify(3)."""

import contextlib
import errno
import fcntl
import os
import re
import select
import signal
import socket
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from daemon.daemon import prevent_core_dump, redirect_stream, set_signal_handlers

from evtools.cam.options import CamOptions, Command
from evtools.cam.privileges import Identity, open_owned
from evtools.clock import Clock, SystemClock
from evtools.errors import EvtoolsError, OutputError, UsageError
from evtools.text import hide_credentials
from evtools.trust import open_safely, safe_place

# --- the starter --------------------------------------------------------------------

#: The descriptor on which a detached evcam reports that it is ready; set by `start` only.
_VARIABLE: Final = "_EVCAM_READY"
#: A fork would do, but not in a single-file binary: the boot loader deletes the unpacked
#: files when the first process ends.
_FRESH: Final = {"PYINSTALLER_RESET_ENVIRONMENT": "1"}
_READY: Final = b"R"
_PIPE_BYTES: Final = 65536


def own_program(executable: str) -> tuple[str, list[str]]:
    """Return the program of this process, or `executable`, and the words of its command line."""
    path = executable or sys.executable
    if getattr(sys, "frozen", False):
        # It behaves as it is called: evcam is a link to evtools.
        return path, sys.argv
    # Python finds its virtual environment by its own name.
    return path, [path, *sys.orig_argv[1:]]


def start(executable: str, *, typed: str = "") -> int:
    """Start this program anew as a detached evcam; wait until it is ready or has failed.

    `executable` is as in `own_program`, `typed` its stdin; its messages are copied to stderr.
    Return 0, or the status it ended with.  Raise UsageError for a program that cannot be started,
    and EvtoolsError for an end without a status.
    """
    with _held_interrupts() as let_go:
        return _start(executable, typed, let_go)


@contextlib.contextmanager
def _held_interrupts() -> Iterator[Callable[[], None]]:
    # Hold ctrl-c back until what is yielded is called.
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: came.append(number))

    def let_go() -> None:
        signal.signal(signal.SIGINT, before)
        if came and before is not signal.SIG_IGN:
            raise KeyboardInterrupt

    try:
        yield let_go
    finally:
        signal.signal(signal.SIGINT, before)


def _start(executable: str, typed: str, let_interrupts_go: Callable[[], None]) -> int:
    path, words = own_program(executable)
    ready, ready_end = os.pipe()
    try:
        # Not our own stderr: the boot loader of a single-file binary never closes it, and its
        # reader would wait for as long as evcam runs.  And posix_spawn knows setsid only where
        # it was built for a newer glibc.
        child = subprocess.Popen(  # noqa: S603  (ourselves)
            words,
            executable=path,
            env={**os.environ, **_FRESH, _VARIABLE: str(ready_end)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[ready_end],
            start_new_session=True,
        )
    except OSError as error:
        raise UsageError(f"cannot start {path}: {error.strerror}", "see --executable") from None
    finally:
        os.close(ready_end)
    assert child.stdin is not None and child.stdout is not None, "they are pipes"  # noqa: PT018
    with open(ready, "rb"), child.stdout as output:  # noqa: PTH123
        with contextlib.suppress(BrokenPipeError), child.stdin as source:
            source.write(typed.encode())
        try:
            # One that came before we know the process would have left it alone, and running.
            let_interrupts_go()
            waiting = [ready, output.fileno()]
            while ready not in (readable := select.select(waiting, [], [])[0]):
                data = os.read(readable[0], _PIPE_BYTES)
                os.write(2, data)
                if not data:
                    waiting = [ready]
            _copy_rest(output.fileno())
            if os.read(ready, 1):
                # It lives on without a parent: Popen need neither wait for it nor complain.
                child.returncode = 0
                return 0
        except KeyboardInterrupt:
            child.terminate()
            raise
        finally:
            code = child.wait()
            _copy_rest(output.fileno())
    if code < 0:
        raise EvtoolsError(f"the detached process was ended by {signal.Signals(-code).name}")
    if code == 0:
        raise EvtoolsError("the detached process has ended before it was ready")
    return code


def _copy_rest(output: int) -> None:
    os.set_blocking(output, False)
    with contextlib.suppress(BlockingIOError):
        while data := os.read(output, _PIPE_BYTES):
            os.write(2, data)


# --- the detached process -----------------------------------------------------------

#: Nothing stops a process that has no terminal.
_SIGNALS: Final = dict.fromkeys((signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU), signal.SIG_IGN)
#: Where the open descriptors are, on Linux and elsewhere.
_OPEN: Final = ("/proc/self/fd", "/dev/fd")


@dataclass(slots=True)
class Detached:
    """The detached process: it leaves the terminal, and reports that it is ready."""

    _descriptor: int

    @classmethod
    def inherited(cls) -> Self | None:
        """Return what `start` has prepared for this process; None if nothing."""
        text = os.environ.pop(_VARIABLE, "")
        if not text.isdecimal():
            return None
        try:
            os.set_inheritable(int(text), False)  # noqa: FBT003  (its signature)
        except OSError:
            return None
        for name in _FRESH:
            os.environ.pop(name, None)
        return cls(int(text))

    def settle(self) -> None:
        """Become a daemon, but for stderr, which the user reads until evcam is ready.

        Signals mean what daemon(7) says, though the starter may run by nohup or in the background.
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
        folder = next(filter(os.path.isdir, _OPEN), "")
        for name in os.listdir(folder) if folder else ():  # noqa: PTH208  (names, not paths)
            if int(name) not in {0, 1, 2, self._descriptor}:
                with contextlib.suppress(OSError):
                    os.close(int(name))
        redirect_stream(sys.stdin, None)
        redirect_stream(sys.stdout, None)

    def ready(self, take_streams: Callable[[], None] = lambda: None) -> None:
        """Let the starter end, and discard anything printed; idempotent.

        Before it ends `take_streams` is called, which may do something else with what is printed.
        """
        if self._descriptor < 0:
            return
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 2)
        os.close(null)
        take_streams()
        # The starter may have been ended meanwhile.
        with contextlib.suppress(BrokenPipeError):
            os.write(self._descriptor, _READY)
        os.close(self._descriptor)
        self._descriptor = -1


# --- the pidfile --------------------------------------------------------------------

#: An evcam that has just started has the lock before its number is there.
_TRIES, _LOCK_PAUSE = 20, 0.025
#: Until it is locked, others must not be able to open it, and lock it themselves.
_MODE_AT_FIRST, _MODE = 0o600, 0o644
_FLAGS: Final = os.O_NONBLOCK | os.O_NOFOLLOW
_OTHERS_MAY_WRITE: Final = 0o022
_ROOT: Final = 0
_CONTENT, _CONTENT_MAX = re.compile(rb"\s*(\d{1,9})\s*", re.ASCII), 64
#: A Python that was built for systems as old as RHEL 7 has no names for Linux's numbers.
_OFD_GETLK: Final = getattr(fcntl, "F_OFD_GETLK", 36)
_OFD_SETLK: Final = getattr(fcntl, "F_OFD_SETLK", 37)
#: struct flock: kind, whence, start, length, process.
_LOCK, _ALL_OF_IT = struct.Struct("hhqqi"), (os.SEEK_SET, 0, 0, 0)
_PROGRAM: Final = re.compile(rb"(?:evcam|evtools)(?:-[\w.-]+)?", re.ASCII)
_PROC: Final = Path("/proc")


class Pidfile:
    """The pidfile of this process, locked and with its number within the context.

    The lock shows that a process lives, and not the number in a file that one left when it was
    killed.  Only users who may write the file can have this lock (F_OFD_SETLK, F_WRLCK).  The file
    is opened as `owner` where that user may do so, so that it can be removed in the end.  Raise
    OutputError if another process has it, or it cannot be written.
    """

    def __init__(self, path: str | Path, owner: Identity | None = None) -> None:
        self.path = Path(path).expanduser().absolute()
        self._owner = owner
        self._file = -1

    def __enter__(self) -> Self:
        try:
            self._lock()
            number = f"{os.getpid()}\n".encode()
            # Never empty, for readers meanwhile.
            os.pwrite(self._file, number, 0)
            os.ftruncate(self._file, len(number))
            os.fsync(self._file)
        except OSError as error:
            self._close()
            text = f"cannot write {self.path}: {error.strerror}"
            raise OutputError(text, "give another place with --pidfile") from None
        # A process that a camera forks would keep the lock when evcam is gone.
        os.register_at_fork(after_in_child=self._close)
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._file < 0:
            return
        try:
            self._unlink()
        except OSError:  # not allowed, in the directory of another user
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, 0)
        self._close()

    def _lock(self) -> None:
        number = 0
        for _ in range(_TRIES):
            is_new = self._open()
            if not stat.S_ISREG(os.fstat(self._file).st_mode):
                raise OSError(errno.EINVAL, "it is not a plain file")
            try:
                fcntl.fcntl(self._file, _OFD_SETLK, _LOCK.pack(fcntl.F_WRLCK, *_ALL_OF_IT))
            except (BlockingIOError, PermissionError):
                if _is_locked(self._file):
                    number = _number(self._file)
                    time.sleep(_LOCK_PAUSE)
                else:
                    self._replace()
            else:
                with contextlib.suppress(OSError):
                    if os.path.samestat(os.fstat(self._file), os.lstat(self.path)):
                        break
                # Its last owner removed it just before we had the lock.
            self._close()
        else:
            who = f"process {number}" if number else "a process that has just started"
            text = f"evcam is already running: {who} has locked {self.path}"
            raise OutputError(text, f"evcam stop --pidfile {self.path} ends it")
        if is_new:
            mask = os.umask(0o077)  # it cannot be read without setting it
            os.umask(mask)
            os.fchmod(self._file, _MODE & ~mask)

    def _open(self) -> bool:
        # Return whether the file is new.
        flags = _FLAGS | os.O_RDWR
        while True:
            with contextlib.suppress(FileNotFoundError):
                self._file = open_owned(self.path, flags, self._owner, mode=0)
                return False
            new = flags | os.O_CREAT | os.O_EXCL
            with contextlib.suppress(FileExistsError):
                self._file = open_owned(self.path, new, self._owner, mode=_MODE_AT_FIRST)
                return True

    def _replace(self) -> None:
        # A process has locked it that can only read it.
        try:
            self._unlink()
        except OSError as error:
            self._close()
            why = "a process that can only read it has locked it, and it cannot be replaced"
            hint = "find that process with lslocks, or give another place with --pidfile"
            text = f"cannot lock {self.path}: {why}: {error.strerror}"
            raise OutputError(text, hint) from None

    def _unlink(self) -> None:
        # If it is still ours.
        with safe_place(self.path) as (folder, name):
            there = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if os.path.samestat(os.fstat(self._file), there):
                os.unlink(name, dir_fd=folder)

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def holder_of(path: str, stack: contextlib.ExitStack) -> tuple[int, int] | None:
    """Return the number of the evcam that has a pidfile, and a descriptor; None if there is none.

    `stack` closes the descriptor, which is -1 on Linux before 5.3 and in some containers: there the
    number is all there is, checked just before it is used.  Raise OSError if the file cannot be
    read, and EvtoolsError if it names another process than the evcam that has locked it.
    """
    try:
        file = open_safely(path, _FLAGS | os.O_RDONLY)
    except FileNotFoundError:
        return None
    stack.callback(os.close, file)
    number = 0
    for _ in range(_TRIES):
        if not _is_locked(file):
            return None
        number = _number(file)
        descriptor, is_there = -1, number > 0
        try:
            # Opened first, so that a later process of that number is not meant.
            descriptor = os.pidfd_open(number)
            stack.callback(os.close, descriptor)
        except ProcessLookupError:
            is_there = False
        except (AttributeError, OSError):  # an old kernel, or a sandbox that forbids it
            pass
        if is_there and _holds(number, os.fstat(file)):
            return number, descriptor
        time.sleep(_LOCK_PAUSE)
    who = f"process {number}" if number else "no process"
    raise EvtoolsError(
        f"{path} names {who}, which is not an evcam that has locked this file",
        "find the process that has locked it with lslocks, and end that by hand",
    )


def _holds(number: int, status: os.stat_result) -> bool:
    # Whether a process looks like an evcam, however it was started, and has a file open to write.
    folder, is_open_to_all = _PROC / str(number), bool(status.st_mode & _OTHERS_MAY_WRITE)
    try:
        line = (folder / "cmdline").read_bytes()
    except OSError:  # it is gone, unless this system has no /proc
        return not (is_open_to_all or (_PROC / "self").exists())
    if not any(
        _PROGRAM.fullmatch(word.rpartition(b"/")[2]) or word.endswith(b"/evtools/__main__.py")
        for word in re.split(rb"[\0 ]", line)
    ):
        return False
    try:
        for name in os.listdir(folder / "fd"):  # noqa: PTH208  (names, not paths)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat((folder / "fd" / name).stat(), status):
                    facts = (folder / "fdinfo" / name).read_text()
                    flags = re.search(r"^flags:\s*([0-7]+)$", facts, re.MULTILINE)
                    if flags is not None and int(flags[1], 8) & os.O_ACCMODE != os.O_RDONLY:
                        return True
    except OSError:
        # That cannot be seen: trust the file if everybody who can write it may end that
        # process anyway.
        user = None
        with contextlib.suppress(OSError):
            # The folder itself is root's, once a process has changed its user.
            user = re.search(r"^Uid:\s*(\d+)", (folder / "status").read_text(), re.MULTILINE)
        return not is_open_to_all and status.st_uid in {_ROOT, int(user[1]) if user else _ROOT}
    return False


def _is_locked(file: int) -> bool:
    # By a process that may write it: locks of others allow this one to read, too.
    answer = fcntl.fcntl(file, _OFD_GETLK, _LOCK.pack(fcntl.F_RDLCK, *_ALL_OF_IT))
    return bool(_LOCK.unpack(answer)[0] != fcntl.F_UNLCK)


def _number(file: int) -> int:
    # The number in a pidfile; 0 if it has none.
    if not stat.S_ISREG(os.fstat(file).st_mode):
        return 0
    content = _CONTENT.fullmatch(os.pread(file, _CONTENT_MAX, 0))
    return int(content[1]) if content else 0


# --- status and stop ----------------------------------------------------------------

#: Exit statuses of LSB for init scripts.
RUNS, NOT_IN_TIME, NOT_RUNNING, UNKNOWN = 0, 1, 3, 4
#: Seconds that ending takes at most besides the last snapshot.
_MARGIN: Final = 5.0
_PAUSE: Final = 0.05


def control(command: Command, options: CamOptions) -> tuple[int, str]:
    """Do `status` or `stop` of the evcam of a pidfile; return an exit status and a text.

    Stopping waits for the last snapshot and the end.  Raise EvtoolsError if it is not possible.
    """
    if not options.pidfile:
        raise UsageError(
            "--pidfile is required",
            "give the one of the running evcam with --pidfile FILE, EVCAM_PIDFILE or in the"
            " settings file",
        )
    pidfile = str(Path(options.workdir).expanduser() / Path(options.pidfile).expanduser())
    try:
        with contextlib.ExitStack() as stack:
            holder = holder_of(pidfile, stack)
            if holder is None:
                return NOT_RUNNING, f"evcam is not running: {pidfile} is not locked"
            if command == "status":
                return RUNS, f"evcam runs, process {holder[0]}"
            return _stop(*holder, options.shutdown_timeout + _MARGIN)
    except OSError as error:
        if command == "status":
            return UNKNOWN, f"cannot read {pidfile}: {error.strerror}"
        raise EvtoolsError(f"cannot stop evcam: {error.strerror}: {pidfile}") from None
    except EvtoolsError as error:
        if command == "status":
            return UNKNOWN, error.message
        raise


def _stop(number: int, descriptor: int, timeout: float) -> tuple[int, str]:
    try:
        if descriptor < 0:
            os.kill(number, signal.SIGTERM)
        else:
            signal.pidfd_send_signal(descriptor, signal.SIGTERM)
    except ProcessLookupError:
        return RUNS, "evcam has ended"
    clock, evcam = SystemClock(), f"evcam, process {number},"
    deadline = clock.monotonic() + timeout
    while _lives(number, descriptor):
        if clock.monotonic() >= deadline:
            return NOT_IN_TIME, f"{evcam} has not ended within {timeout:g}s"
        time.sleep(_PAUSE)
    return RUNS, f"{evcam} has ended"


def _lives(number: int, descriptor: int) -> bool:
    # One that has ended and waits for its parent does not.
    if descriptor >= 0:
        return not select.select([descriptor], [], [], 0)[0]
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        text = (_PROC / str(number) / "stat").read_text(errors="replace")
    except OSError:
        return True
    return text.rpartition(")")[2].split()[:1] != ["Z"]


# --- systemd ------------------------------------------------------------------------

#: Seconds: systemd reads at once, and other programs shall not delay evcam for longer.
_TIMEOUT: Final = 0.25
_STATUS_MAX: Final = 500
_NUMBER: Final = re.compile(r"\d{1,18}", re.ASCII)


class Notifier:
    """Send notifications as systemd's variables ask for, see sd_notify(3), or nothing.

    The variables are removed: they are not for anything that a camera starts.  Notifications that
    cannot be sent are dropped: a deaf supervisor is no reason to end.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        address = os.environ.pop("NOTIFY_SOCKET", "")
        every = os.environ.pop("WATCHDOG_USEC", "")
        # In a single-file binary the watched process is our parent.
        owners = ("", str(os.getpid()), str(os.getppid()))
        is_ours = os.environ.pop("WATCHDOG_PID", "") in owners
        # Half the time: one sign may be late.
        self._pause = int(every) / 2e6 if is_ours and _NUMBER.fullmatch(every) else 0.0
        self._next_sign = 0.0
        self._clock = clock or SystemClock()
        self._status = ""
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket: socket.socket | None = None
        if address[:1] in {"/", "@"}:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.settimeout(_TIMEOUT)

    def ready(self, status: str = "") -> None:
        """Report that the start, or a reload, is over."""
        self._status = status or self._status
        # The process that systemd has started may be another: see --detach.
        self._send("READY=1", f"MAINPID={os.getpid()}", status=status)

    def status(self, text: str) -> None:
        """Send the status in one line; the same line is not sent again."""
        if text != self._status:
            self._status = text
            self._send(status=text)

    def watchdog(self) -> None:
        """Send a sign of life, if one is due; call it often."""
        now = self._clock.monotonic()
        if self._pause and now >= self._next_sign:
            self._next_sign = now + self._pause
            self._send("WATCHDOG=1")

    def reloading(self) -> None:
        # In the same datagram, or `systemctl reload` waits for ever.
        self._send("RELOADING=1", f"MONOTONIC_USEC={int(self._clock.monotonic() * 1e6)}")

    def stopping(self, status: str = "") -> None:
        self._send("STOPPING=1", status=status)

    def close(self) -> None:
        """Close the socket; idempotent."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, *lines: str, status: str = "") -> None:
        line = " ".join(hide_credentials(status)[:_STATUS_MAX].split())
        if line:
            lines = (*lines, f"STATUS={line}")
        if self._socket is not None and lines:
            with contextlib.suppress(OSError):
                message = "\n".join(lines).encode("utf-8", "replace")
                self._socket.sendto(message, self._address)
