"""The writer of recordings, with rotation."""

import os
import select
import stat
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count, pairwise
from pathlib import Path
from typing import Final

from evtools.clock import Clock
from evtools.errors import OutputError, UsageError
from evtools.transport.recording import Compression
from evtools.trust import open_safely, safe_place

#: How much may wait to be written, and for how long in seconds.  Compression does better
#: with more.
_BUFFER_BYTES: Final = 64 * 1024
_PACKED_BUFFER_BYTES: Final = 256 * 1024
_FLUSH_SECONDS: Final = 1.0
_STDOUT: Final = 1
_CLOSED: Final = -1


def write_all(fd: int, data: bytes | bytearray) -> tuple[int, OSError | None]:
    """Write `data` to a descriptor; return how many bytes went out, and what stopped it.

    Waits where the descriptor is non-blocking and full: other programs at the same terminal
    or pipe may have made it so.
    """
    done = 0
    with memoryview(data) as view:
        while done < len(view):
            try:
                done += os.write(fd, view[done:])
            except BlockingIOError:
                select.select([], [fd], [])
            except OSError as error:
                return done, error
    return done, None


class RecordingWriter:
    """Write lines into a file, `.gz` and `.zst` compressed by name.

    Everything up to the last `flush` is readable at any moment, also after a kill: compressed files
    are made of frames that stand alone.  `path` may have strftime codes, and `-` is stdout.
    Without rotation an existing file is begun anew, as `tcpdump -w` does.  With it nothing that
    exists is overwritten: before a name is used again, the file of that name is renamed to NAME.1,
    what was NAME.1 to NAME.2 and so on (before the suffix of a compressed file: `x.jsonl.1.gz`).
    With `append` it goes on in the file that is there; one that is compressed, or breaks off inside
    a line, is renamed instead.

    A file is rotated before it would exceed `rotate_size` bytes on disk, and `rotate_every` seconds
    after it was begun unless it is empty; 0 is never.  Of the older files the newest `rotate_keep`
    are kept, 0 keeps all; where names have strftime codes, only files that this writer made are
    removed.

    All methods that write raise OutputError, and for a closed pipe at stdout BrokenPipeError; the
    rest is thrown away then.  A full disk tears no earlier line: half a line is cut off again.
    """

    def __init__(
        self,
        path: str,
        *,
        clock: Clock,
        rotate_size: int = 0,
        rotate_every: float = 0.0,
        rotate_keep: int = 0,
        append: bool = False,
    ) -> None:
        if path == "-" and (rotate_size or rotate_every):
            raise UsageError("stdout cannot be rotated", "record into a file: -w FILE --rotate-...")
        self._template = path
        self._clock = clock
        self._size_max = rotate_size
        self._every = rotate_every
        self._keep = rotate_keep
        self._compression = Compression.of(path)
        is_packed = self._compression is not Compression.NONE
        self._buffer_bytes = _PACKED_BUFFER_BYTES if is_packed else _BUFFER_BYTES
        if rotate_size:
            self._buffer_bytes = min(self._buffer_bytes, rotate_size)
        self._waiting = bytearray()
        self._made: deque[str] = deque()
        self._fd = _CLOSED
        #: The name of the file that is being written, or `-`.
        self.path = self._current_name()
        if append and self._can_append():
            self._open()
        else:
            self._begin(keep=append)

    def write(self, line: bytes) -> None:
        """Buffer a line, or several that belong into one file, without the last newline."""
        if len(self._waiting) + len(line) + 1 > self._buffer_bytes:
            self.flush()
        self._waiting += line
        self._waiting += b"\n"

    def settle(self) -> None:
        """Flush and rotate if it is time; call it after every batch and wait."""
        now = self._clock.monotonic()
        if not self._is_regular or now - self._flushed >= _FLUSH_SECONDS:
            self.flush()
        self._rotate_if_old(now)

    def flush(self) -> None:
        """Write everything that waits."""
        now = self._flushed = self._clock.monotonic()
        data, self._waiting = bytes(self._waiting), bytearray()
        if not data or self._fd == _CLOSED:
            return
        frame = self._compression.frame(data)
        if self._size and 0 < self._size_max < self._size + len(frame):
            self._rotate()
        self._rotate_if_old(now)
        done, error = write_all(self._fd, frame)
        if error is None:
            self._size += done
            return
        if self._fd > _STDOUT and self._is_regular:
            # Take back what was written of a line, or of a compressed frame.
            is_plain = self._compression is Compression.NONE
            whole = frame.rfind(b"\n", 0, done) + 1 if is_plain else 0
            with suppress(OSError):  # the first error is the one to report
                os.ftruncate(self._fd, os.fstat(self._fd).st_size - done + whole)
        self._close()
        if self.path == "-" and isinstance(error, BrokenPipeError):
            raise error
        with _reported(self.path):
            raise error

    def reopen(self) -> None:
        """Go on in a file of the same name, after logrotate has moved this one away."""
        self.flush()
        if self._fd > _STDOUT:
            self._close()
            self._open()

    def close(self) -> None:
        """Flush and close the file; idempotent."""
        try:
            self.flush()
        finally:
            self._close()

    # --- files --------------------------------------------------------------------

    def _current_name(self) -> str:
        # Of stdout, "-".
        return time.strftime(self._template, time.localtime(self._clock.wall()))

    def _can_append(self) -> bool:
        try:
            if self.path == "-" or not _has_content(self.path):
                return True
            with Path(self.path).open("rb") as file:
                file.seek(-1, os.SEEK_END)
                ends_with_line = file.read() == b"\n"
        except OSError:  # writing will show what is wrong with it
            return True
        return ends_with_line and self._compression is Compression.NONE

    def _begin(self, *, keep: bool = False) -> None:
        self.path, flags = self._current_name(), os.O_TRUNC
        if keep or self._size_max or self._every:
            flags = 0
            with _reported(self.path):
                _make_room(self.path, self._keep)
        self._open(flags)

    def _open(self, flags: int = 0) -> None:
        self._flushed = self._begun = self._clock.monotonic()
        flags |= os.O_WRONLY | os.O_CREAT | os.O_APPEND
        with _reported(self.path):
            # The umask decides who may read it, as for any other file.
            self._fd = _STDOUT if self.path == "-" else open_safely(self.path, flags)
            status = os.fstat(self._fd)
        self._is_regular = stat.S_ISREG(status.st_mode)
        self._size = status.st_size if self._is_regular else 0

    def _close(self) -> None:
        if self._fd > _STDOUT:
            os.close(self._fd)
        self._fd = _CLOSED

    # --- rotation -----------------------------------------------------------------

    def _rotate_if_old(self, now: float) -> None:
        if self._every and now - self._begun >= self._every and self._fd > _STDOUT:
            if self._size or self.path != self._current_name():
                self._rotate()
            else:
                self._begun = now

    def _rotate(self) -> None:
        self._close()
        before, size = self.path, self._size
        self._begin()
        if self.path != before:
            self._made.append(before)
            if not size:
                _remove(self._made.pop())
            while self._keep and len(self._made) > self._keep:
                _remove(self._made.popleft())


@contextmanager
def _reported(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        name = "to stdout" if name == "-" else name
        raise OutputError(f"cannot write {name}: {error.strerror}") from error


def _remove(name: str) -> None:
    with _reported(name), suppress(FileNotFoundError), safe_place(name) as (folder, base):
        os.unlink(base, dir_fd=folder)


def _make_room(name: str, keep: int) -> None:
    # Rename the file of a name, and the older ones; the last of `keep` is overwritten.
    if not _has_content(name):
        return
    free = next(number for number in count(1) if not Path(_numbered(name, number)).exists())
    free = min(free, keep or free)
    with safe_place(name) as (folder, base):
        names = [base, *(_numbered(base, number) for number in range(1, free + 1))]
        for before, after in reversed(list(pairwise(names))):
            os.replace(before, after, src_dir_fd=folder, dst_dir_fd=folder)


def _numbered(name: str, number: int) -> str:
    suffix = Compression.of(name).suffix
    return f"{name.removesuffix(suffix)}.{number}{suffix}"


def _has_content(name: str) -> bool:
    try:
        status = Path(name).stat()
    except FileNotFoundError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size > 0
