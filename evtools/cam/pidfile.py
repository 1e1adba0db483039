"""A file with the number of our process, locked for as long as it lives."""

import contextlib
import fcntl
import os
import re
import time
from pathlib import Path
from typing import Final, Self

from evtools.cam.ownership import open_owned
from evtools.cam.privileges import Identity
from evtools.errors import OutputError

#: Whoever asks `evcam status` holds the lock for a moment, too.
_TRIES: Final = 20
_PAUSE: Final = 0.025
_MODE: Final = 0o644
_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_NONBLOCK
_CONTENT = re.compile(rb"\s*(\d{1,9})\s*", re.ASCII)
_CONTENT_MAX = 64


class Pidfile:
    """The pidfile of this process.

    The lock (flock) is what says that a process lives: the file of one that
    was killed hinders nobody, and that another process has its number by now
    deceives nobody.  The file is opened as `owner` where that user may do so,
    so that it can be removed in the end, else as who we are.
    """

    def __init__(self, path: str, owner: Identity | None = None) -> None:
        self.path = Path(path).expanduser().absolute()
        self._owner = owner
        self._file = -1

    def __enter__(self) -> Self:
        """Take it; see `take`."""
        self.take()
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Remove it."""
        self.remove()

    def fileno(self) -> int:
        """Return its descriptor, which must stay open."""
        return self._file

    def take(self) -> None:
        """Lock the file and write our number into it.

        Raise OutputError where another process has it, or it cannot be written.
        """
        try:
            self._lock()
            number = f"{os.getpid()}\n".encode()
            # Never empty, for whoever looks meanwhile.
            os.pwrite(self._file, number, 0)
            os.ftruncate(self._file, len(number))
            os.fsync(self._file)
        except OSError as error:
            self._close()
            raise OutputError(
                f"cannot write {self.path}: {error.strerror}",
                "give another place with --pidfile",
            ) from None
        # A process that a camera forks would keep the lock when we are gone.
        os.register_at_fork(after_in_child=self._close)

    def remove(self) -> None:
        """Remove the file and unlock it; idempotent."""
        if self._file < 0:
            return
        if self._is_in_place():
            try:
                self.path.unlink()
            except OSError:  # we may not, in the directory of another user
                with contextlib.suppress(OSError):
                    os.ftruncate(self._file, 0)
        self._close()

    def _lock(self) -> None:
        holder = 0
        for _ in range(_TRIES):
            self._file = open_owned(self.path, _FLAGS, self._owner, mode=_MODE)
            if not _try_lock(self._file, fcntl.LOCK_EX):
                holder = _number(self._file)
                self._close()
                time.sleep(_PAUSE)
            elif self._is_in_place():
                return
            else:  # its last owner removed it just before we had the lock
                self._close()
        who = f"process {holder}" if holder else "a process that has just started"
        raise OutputError(
            f"evcam runs already: {who} has {self.path}",
            f"evcam stop --pidfile {self.path} ends it",
        )

    def _is_in_place(self) -> bool:
        with contextlib.suppress(OSError):
            return os.path.samestat(os.fstat(self._file), os.lstat(self.path))
        return False

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def holder_of(path: str) -> int | None:
    """Return the number of the process that has a pidfile; None if nobody has.

    0 stands for a process that has not yet written its number.  Raise OSError
    where the file cannot be read.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return None if _try_lock(file, fcntl.LOCK_SH) else _number(file)
    finally:
        os.close(file)


def _try_lock(file: int, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _number(file: int) -> int:
    match = _CONTENT.fullmatch(os.pread(file, _CONTENT_MAX, 0))
    return int(match[1]) if match else 0
