"""evcam in the background: --detach, its pidfile, and its supervisor, see sd_notify(3)."""

import contextlib
import errno
import fcntl
import os
import re
import select
import selectors
import signal
import socket
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, Self

from daemon.daemon import prevent_core_dump, redirect_stream, set_signal_handlers

from evtools.cam.privileges import Identity, open_owned
from evtools.clock import Clock, SystemClock
from evtools.errors import EvtoolsError, OutputError, UsageError
from evtools.text import hide_credentials
from evtools.trust import open_safely, safe_place

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


# --- the pidfile --------------------------------------------------------------------

#: An evcam that has just started has the lock before its number is there.
_TRIES: Final = 20
_LOCK_PAUSE: Final = 0.025
_MODE: Final = 0o644
#: Until it is locked, others must not be able to open it, and lock it themselves.
_MODE_AT_FIRST: Final = 0o600
_FLAGS: Final = os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW
_FLAGS_OF_READER: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW
_OTHERS_MAY_WRITE: Final = 0o022
_ROOT: Final = 0
_CONTENT = re.compile(rb"\s*(\d{1,9})\s*", re.ASCII)
_CONTENT_MAX = 64
#: struct flock: kind, whence, start, length (0: all of it), process.
_LOCK: Final = struct.Struct("hhqqi")
_PROGRAM: Final = re.compile(rb"(?:evcam|evtools)(?:-[\w.-]+)?", re.ASCII)
_PROC: Final = Path("/proc")


class Pidfile:
    """The pidfile of this process.

    The lock shows that a process lives: the file of a killed process is not in the way, and
    it does not matter that another process has its number by now.  Only users who may write
    the file can have this lock (F_OFD_SETLK, F_WRLCK).  The file is opened as `owner` where
    that user may do so, so that it can be removed in the end, else as the current user.
    """

    def __init__(self, path: str | Path, owner: Identity | None = None) -> None:
        self.path = Path(path).expanduser().absolute()
        self._owner = owner
        self._file = -1

    def __enter__(self) -> Self:
        self.take()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.remove()

    def take(self) -> None:
        """Lock the file and write the number of this process into it.

        Raise OutputError if another process has it, or it cannot be written.
        """
        try:
            self._lock()
            number = f"{os.getpid()}\n".encode()
            # Never empty, for readers meanwhile.
            os.pwrite(self._file, number, 0)
            os.ftruncate(self._file, len(number))
            os.fsync(self._file)
        except OSError as error:
            self._close()
            raise OutputError(
                f"cannot write {self.path}: {error.strerror}", "give another place with --pidfile"
            ) from None
        # A process that a camera forks would keep the lock when evcam is gone.
        os.register_at_fork(after_in_child=self._close)

    def remove(self) -> None:
        """Remove the file and unlock it; idempotent."""
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
            if _try_lock(self._file):
                if self._is_in_place():
                    if is_new:
                        os.fchmod(self._file, _MODE & ~_umask())
                    return
                # Its last owner removed it just before we had the lock.
                self._close()
            elif _is_locked(self._file):
                number = _number(self._file)
                self._close()
                time.sleep(_LOCK_PAUSE)
            else:
                self._begin_anew()
        who = f"process {number}" if number else "a process that has just started"
        raise OutputError(
            f"evcam is already running: {who} has locked {self.path}",
            f"evcam stop --pidfile {self.path} ends it",
        )

    def _open(self) -> bool:
        """Open the file; return whether it is new."""
        with contextlib.suppress(FileNotFoundError):
            self._file = open_owned(self.path, _FLAGS, self._owner, mode=0)
            return False
        flags = _FLAGS | os.O_CREAT | os.O_EXCL
        with contextlib.suppress(FileExistsError):
            self._file = open_owned(self.path, flags, self._owner, mode=_MODE_AT_FIRST)
            return True
        return self._open()

    def _begin_anew(self) -> None:
        """Remove a file that is locked by a process that can only read it."""
        try:
            self._unlink()
        except OSError as error:
            raise OutputError(
                f"cannot lock {self.path}: a process that can only read it has locked"
                f" it, and it cannot be replaced: {error.strerror}",
                "find that process with lslocks, or give another place with --pidfile",
            ) from None
        finally:
            self._close()

    def _unlink(self) -> None:
        """Remove the file, if it is still ours."""
        with safe_place(self.path) as (folder, name):
            there = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if os.path.samestat(os.fstat(self._file), there):
                os.unlink(name, dir_fd=folder)

    def _is_in_place(self) -> bool:
        with contextlib.suppress(OSError):
            return os.path.samestat(os.fstat(self._file), os.lstat(self.path))
        return False

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


@dataclass(frozen=True, slots=True)
class Holder:
    """The evcam that has a pidfile: its number, and a descriptor of the process.

    The descriptor is -1 on Linux before 5.3 and in some containers: there the number is all
    there is, checked just before it is used.
    """

    number: int
    descriptor: int

    def end(self) -> None:
        """Ask it to end; raise ProcessLookupError if it has ended, and OSError."""
        if self.descriptor < 0:
            os.kill(self.number, signal.SIGTERM)
        else:
            signal.pidfd_send_signal(self.descriptor, signal.SIGTERM)

    def lives(self) -> bool:
        if self.descriptor < 0:
            return _lives(self.number)
        return not select.select([self.descriptor], [], [], 0)[0]


@contextlib.contextmanager
def holder_of(path: str) -> Iterator[Holder | None]:
    """Yield the evcam that has a pidfile; None if there is none.

    Raise OSError if the file cannot be read, and EvtoolsError if it is locked but names a
    process other than the evcam that has locked it.
    """
    try:
        file = open_safely(path, _FLAGS_OF_READER)
    except FileNotFoundError:
        yield None
        return
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, file)
        yield _found(path, file, stack)


def _found(path: str, file: int, stack: contextlib.ExitStack) -> Holder | None:
    number = 0
    for _ in range(_TRIES):
        if not _is_locked(file):
            return None
        number = _number(file)
        holder = _process(number, file, stack) if number else None
        if holder is not None:
            return holder
        time.sleep(_LOCK_PAUSE)
    raise EvtoolsError(
        f"{path} names {f'process {number}' if number else 'no process'}, which is not"
        " an evcam that has locked this file",
        "find the process that has locked it with lslocks, and end that by hand",
    )


def _process(number: int, file: int, stack: contextlib.ExitStack) -> Holder | None:
    """Return the process of that number, if it is an evcam and has the file.

    Its descriptor is opened first, so that a later process of that number is not meant.
    """
    descriptor = -1
    try:
        descriptor = os.pidfd_open(number)
        stack.callback(os.close, descriptor)
    except ProcessLookupError:
        return None
    except (AttributeError, OSError):  # an old kernel, or a sandbox that forbids it
        pass
    if not (_is_evcam(number) and _has(number, os.fstat(file))):
        return None
    return Holder(number, descriptor)


def _is_evcam(number: int) -> bool:
    """Return whether a process looks like an evcam, however it was started."""
    try:
        line = (_PROC / str(number) / "cmdline").read_bytes()
    except OSError:
        return not (_PROC / "self").exists()  # a system without /proc
    words = re.split(rb"[\0 ]", line)
    return any(
        _PROGRAM.fullmatch(word.rpartition(b"/")[2]) or word.endswith(b"/evtools/__main__.py")
        for word in words
    )


def _has(number: int, status: os.stat_result) -> bool:
    """Return whether a process has a file open to write.

    Where that cannot be seen, trust the file if everybody who can write it may end that
    process anyway.
    """
    folder = _PROC / str(number)
    try:
        names = os.listdir(folder / "fd")  # noqa: PTH208  (names, not paths)
    except OSError:
        return _may_name(number, status)
    return any(_is_written(folder, name, status) for name in names)


def _is_written(folder: Path, name: str, status: os.stat_result) -> bool:
    with contextlib.suppress(OSError):
        if os.path.samestat((folder / "fd" / name).stat(), status):
            facts = (folder / "fdinfo" / name).read_text()
            flags = re.search(r"^flags:\s*([0-7]+)$", facts, re.MULTILINE)
            return flags is not None and int(flags[1], 8) & os.O_ACCMODE != os.O_RDONLY
    return False


def _may_name(number: int, status: os.stat_result) -> bool:
    if status.st_mode & _OTHERS_MAY_WRITE:
        return False
    if status.st_uid == _ROOT:
        return True
    with contextlib.suppress(OSError):
        return (_PROC / str(number)).stat().st_uid == status.st_uid
    return not (_PROC / "self").exists()


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(process)


def _is_zombie(process: int) -> bool:
    """Return whether it has ended, and waits for its parent to collect its status."""
    try:
        text = (_PROC / str(process) / "stat").read_text(errors="replace")
    except OSError:
        return False
    return text.rpartition(")")[2].split()[:1] == ["Z"]


def _try_lock(file: int) -> bool:
    """Lock a file that is open to write; return False if another process has locked it."""
    try:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, _lock(fcntl.F_WRLCK))
    except (BlockingIOError, PermissionError):
        return False
    return True


def _is_locked(file: int) -> bool:
    """Return whether a process that may write a file has locked it.

    Locks of processes that can only read allow this one to read, too.
    """
    answer = fcntl.fcntl(file, fcntl.F_OFD_GETLK, _lock(fcntl.F_RDLCK))
    return bool(_LOCK.unpack(answer)[0] != fcntl.F_UNLCK)


def _lock(kind: int) -> bytes:
    return _LOCK.pack(kind, os.SEEK_SET, 0, 0, 0)


def _umask() -> int:
    """Return the mask of this process; it cannot be read without setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _number(file: int) -> int:
    if not stat.S_ISREG(os.fstat(file).st_mode):
        return 0
    match = _CONTENT.fullmatch(os.pread(file, _CONTENT_MAX, 0))
    return int(match[1]) if match else 0


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
