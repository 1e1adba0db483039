"""The writer of recordings, with rotation."""

import os
import select
import stat
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Final

from evtools.clock import Clock
from evtools.errors import OutputError, UsageError
from evtools.transport.recording.compression import Compression
from evtools.trust import open_safely, safe_place

#: How much may wait to be written, and for how long, in seconds.  Packing
#: needs some more to work with.
_BUFFER_BYTES: Final = 64 * 1024
_PACKED_BUFFER_BYTES: Final = 256 * 1024
_PATIENCE: Final = 1.0

_STDOUT: Final = 1
_CLOSED: Final = -1

_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_APPEND


def write_all(fd: int, data: bytes | bytearray) -> tuple[int, OSError | None]:
    """Write `data`; return how many bytes went out, and what stopped it.

    Waits where the descriptor is non-blocking and full: whoever shares our
    terminal or pipe may have made it so.
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
    """Write lines into a file, `.gz` and `.zst` packed by name.

    What is written is readable at any moment up to the last `flush`, also
    when we are killed: packed files are made of frames that stand alone.

    `path` may have strftime codes, and `-` is stdout.  Without rotation an
    existing file is begun anew, as `tcpdump -w` does.  With it nothing that
    exists is overwritten: before a name is used again, the file of that name
    is renamed to NAME.1, what was NAME.1 to NAME.2 and so on (before the
    suffix of a packed file: `x.jsonl.1.gz`).

    A file is rotated before it would exceed `rotate_size` bytes on disk, and
    `rotate_every` seconds after it was begun unless it is empty; 0 is never.
    Of the older files the newest `rotate_keep` are kept, 0 keeps all.  Where
    names have strftime codes, only files that this writer made are removed.

    With `append` it goes on in the file that is there.  One that is packed, or
    breaks off inside a line, is renamed instead, as with rotation.

    All methods that write raise `OutputError`, and for a closed pipe at stdout
    `BrokenPipeError`; what is left then is thrown away.  No earlier line is
    torn by a full disk: what was half written is cut off again.
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
        self._path = path
        self._clock = clock
        self._size_max = rotate_size
        self._every = rotate_every
        self._keep = rotate_keep
        self._compression = Compression.of_name(path)
        packed = self._compression is not Compression.NONE
        self._buffer_bytes = _PACKED_BUFFER_BYTES if packed else _BUFFER_BYTES
        if rotate_size:
            self._buffer_bytes = min(self._buffer_bytes, rotate_size)
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._made: deque[str] = deque()
        self._fd = _CLOSED
        if append and self._is_whole(self._current_name()):
            self._name = self._current_name()
            self._open(self._name)
        else:
            self._begin(keep=append)

    @property
    def path(self) -> str:
        """The name of the file that is being written, or `-`."""
        return self._name

    def write(self, line: bytes) -> None:
        """Take one line, without its newline."""
        length = len(line) + 1
        if self._waiting_bytes + length > self._buffer_bytes:
            self.flush()
        self._waiting += (line, b"\n")
        self._waiting_bytes += length

    def settle(self) -> None:
        """Let out and rotate what is due; call it after every batch and wait."""
        now = self._clock.monotonic()
        if not self._patient or now - self._flushed >= _PATIENCE:
            self.flush()
        self._rotate_if_old(now)

    def flush(self) -> None:
        """Let out everything."""
        now = self._flushed = self._clock.monotonic()
        if not self._waiting:
            return
        data = b"".join(self._waiting)
        self._waiting, self._waiting_bytes = [], 0
        if self._fd == _CLOSED:
            return
        frame = self._compression.frame(data)
        if self._size and 0 < self._size_max < self._size + len(frame):
            self._rotate()
        self._rotate_if_old(now)
        self._pour(frame)

    def reopen(self) -> None:
        """Go on in a file of the same name, after logrotate moved this one away."""
        self.flush()
        if self._fd > _STDOUT:
            self._end()
            self._open(self._name)

    def close(self) -> None:
        """Let out everything and let go of the file; idempotent."""
        try:
            self.flush()
        finally:
            self._end()

    # --- files --------------------------------------------------------------------

    def _current_name(self) -> str:
        if self._path == "-":
            return self._path
        return time.strftime(self._path, time.localtime(self._clock.wall()))

    def _is_whole(self, name: str) -> bool:
        """Tell whether lines can be added to a file, which may not be there yet."""
        try:
            if name == "-" or not _is_worth_keeping(name):
                return True
            with Path(name).open("rb") as file:
                file.seek(-1, os.SEEK_END)
                whole = file.read() == b"\n"
        except OSError:  # writing will tell what is wrong with it
            return True
        return whole and self._compression is Compression.NONE

    def _begin(self, *, keep: bool = False) -> None:
        """Begin a new file; `keep` an older one of that name."""
        self._name = self._current_name()
        if keep or self._size_max or self._every:
            self._make_room(self._name)
            self._open(self._name)
        else:
            self._open(self._name, os.O_TRUNC)

    def _open(self, name: str, more: int = 0) -> None:
        self._flushed = self._begun = self._clock.monotonic()
        try:
            # The umask decides who may read it, as for any other file.
            to_stdout = name == "-"
            self._fd = _STDOUT if to_stdout else open_safely(name, _FLAGS | more)
            status = os.fstat(self._fd)
        except OSError as error:
            raise self._failed(error) from error
        self._patient = stat.S_ISREG(status.st_mode)
        self._size = status.st_size if self._patient else 0

    def _end(self) -> None:
        if self._fd > _STDOUT:
            os.close(self._fd)
        self._fd = _CLOSED

    def _pour(self, frame: bytes) -> None:
        done, error = write_all(self._fd, frame)
        if error is None:
            self._size += done
            return
        if self._fd > _STDOUT:
            self._cut(frame, done)
        self._end()
        if self._path == "-" and isinstance(error, BrokenPipeError):
            raise error
        raise self._failed(error) from error

    def _cut(self, frame: bytes, done: int) -> None:
        """Take back what was written of a line, or of a packed frame."""
        whole = 0
        if self._compression is Compression.NONE:
            whole = frame.rfind(b"\n", 0, done) + 1
        with suppress(OSError):  # the first error is the one to tell
            if self._patient:
                end = os.fstat(self._fd).st_size
                os.ftruncate(self._fd, end - done + whole)

    def _failed(self, error: OSError) -> OutputError:
        name = "stdout" if self._name == "-" else self._name
        return OutputError(f"cannot write {name}: {error.strerror}")

    # --- rotation -----------------------------------------------------------------

    def _rotate_if_old(self, now: float) -> None:
        if self._every and now - self._begun >= self._every and self._fd > _STDOUT:
            if self._size or self._name != self._current_name():
                self._rotate()
            else:
                self._begun = now

    def _rotate(self) -> None:
        self._end()
        before, size = self._name, self._size
        self._begin()
        if self._name != before:
            self._made.append(before)
            if not size:
                self._remove(self._made.pop())
            while self._keep and len(self._made) > self._keep:
                self._remove(self._made.popleft())

    def _remove(self, name: str) -> None:
        try:
            with suppress(FileNotFoundError), safe_place(name) as (folder, base):
                os.unlink(base, dir_fd=folder)
        except OSError as error:
            raise self._failed(error) from error

    def _make_room(self, name: str) -> None:
        """Rename the file that has the name, and those before it."""
        try:
            if not _is_worth_keeping(name):
                return
            free = 1
            while Path(_numbered(name, free)).exists():
                free += 1
            if self._keep and free > self._keep:
                free = self._keep
            with safe_place(name) as (folder, base):
                for number in range(free, 0, -1):
                    before = _numbered(base, number - 1) if number > 1 else base
                    os.replace(
                        before, _numbered(base, number), src_dir_fd=folder, dst_dir_fd=folder
                    )
        except OSError as error:
            raise self._failed(error) from error


def _numbered(name: str, number: int) -> str:
    suffix = Compression.of_name(name).value
    return f"{name.removesuffix(suffix)}.{number}{suffix}"


def _is_worth_keeping(name: str) -> bool:
    try:
        status = Path(name).stat()
    except FileNotFoundError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size > 0
