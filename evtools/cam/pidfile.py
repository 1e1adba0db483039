"""The pidfile: a file with the process number of evcam, locked for as long as it lives."""

import contextlib
import errno
import fcntl
import os
import re
import select
import signal
import stat
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from evtools.cam.privileges import Identity, open_owned
from evtools.errors import EvtoolsError, OutputError
from evtools.trust import open_safely, safe_place

#: An evcam that has just started has the lock before its number is there.
_TRIES: Final = 20
_PAUSE: Final = 0.025
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
                time.sleep(_PAUSE)
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
        time.sleep(_PAUSE)
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
