"""Files of recordings, compressed or not: written as frames, read as far as they are whole."""

import codecs
import errno
import gzip
import logging
import os
import select
import shlex
import stat
import threading
import time
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import Enum
from functools import partial
from itertools import count, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import zstandard

from evtools.clock import Clock
from evtools.errors import OutputError, UsageError
from evtools.signals import how_ended, run_program
from evtools.text import encoding_of, human_duration
from evtools.trust import open_safely, safe_place

if TYPE_CHECKING:
    from evtools.wire import Defect

#: How much to read at once; little of what may be packed: a few bytes can unpack to very many.
_PLAIN_BYTES: Final = 256 * 1024
_PACKED_BYTES: Final = 4 * 1024
#: Longer than any line evdump writes: the largest event, with every character escaped.
LINE_BYTES_MAX: Final = 128 * 1024 * 1024
#: How much may wait to be written, and for how long in seconds; compression does better with more.
_BUFFER_BYTES: Final = 64 * 1024
_PACKED_BUFFER_BYTES: Final = 256 * 1024
_FLUSH_SECONDS: Final = 1.0
_STDIN, _STDOUT, _CLOSED = 0, 1, -1
#: Of a program that is run on finished files: for how long, in seconds, it may run, is waited for
#: at the end, and has to end by itself; what of its output is logged; how many files may wait.
_RUN_MAX: Final = 3600.0
_END_SECONDS: Final = 30.0
_GRACE: Final = 2.0
_OUTPUT_BYTES: Final = 4096
_KILLED: Final = (
    f"killed: it may run for {human_duration(_RUN_MAX)}, and {_END_SECONDS:.0f}s at the end"
)
_FILES_MAX: Final = 1000

_log: Final = logging.getLogger(__name__)


class Compression(Enum):
    """How a file is compressed: the suffix of its name, its first bytes, and what packs a frame.

    A file is any number of frames; `unpacker` makes what unpacks one.
    """

    # fmt: off
    NONE = ("", b"", bytes, None)
    GZIP = (".gz", b"\x1f\x8b", partial(gzip.compress, compresslevel=6, mtime=0),
            partial(zlib.decompressobj, wbits=zlib.MAX_WBITS | 16))
    ZSTD = (".zst", b"\x28\xb5\x2f\xfd", lambda data: zstandard.ZstdCompressor().compress(data),
            lambda: zstandard.ZstdDecompressor().decompressobj())
    # fmt: on

    def __init__(self, suffix: str, magic: bytes, frame: Any, unpacker: Any) -> None:
        self.suffix, self.magic, self.frame, self.unpacker = suffix, magic, frame, unpacker

    @classmethod
    def of(cls, path: str = "", head: bytes = b"") -> "Compression":
        """Return what the name of a file promises, or its first bytes show."""
        packed = (cls.GZIP, cls.ZSTD)
        found = (one for one in packed if path.endswith(one.suffix) or head.startswith(one.magic))
        return next(found, cls.NONE)


class FileReader:
    """Read the lines of a file, compressed or not, in UTF-8 or UTF-16, as UTF-8; `-` is stdin.

    `damage` says what is wrong with the content, after all before it was given out.  Raise
    UsageError when the file cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self._fd = _STDIN if path == "-" else os.open(path, os.O_RDONLY)
            if stat.S_ISDIR(os.fstat(self._fd).st_mode):
                self.close()
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        except OSError as error:
            raise UsageError(f"cannot read {path}: {error.strerror}") from error
        self._is_regular = stat.S_ISREG(os.fstat(self._fd).st_mode)
        self._compression = Compression.NONE
        self._unpacker: Any = None
        self._recoder: codecs.IncrementalDecoder | None = None
        #: What is no whole line yet.
        self._line = bytearray()
        self._has_content = self._skipping = False
        #: Bytes of the file that were read so far.
        self.done_bytes = 0
        self.damage = ""
        #: Whether `read_lines` has given out all, and has left out a line over LINE_BYTES_MAX.
        self.ended = self.too_long = False
        #: For who reads them: how many lines were good, how many bad, and what was wrong, first
        #: and by kind.
        self.good = self.bad = 0
        self.defect = ""
        self.defects: dict[str, Defect] = {}

    def read_lines(self, timeout: float) -> bytes | None:
        """Return more whole lines, also none; None if nothing comes within `timeout` seconds."""
        data = b""
        if not self.damage:
            if not self._is_regular and not select.select([self._fd], [], [], timeout)[0]:
                return None
            data = self._read()
        if not data:
            self.ended = True
            return bytes(self._line)
        before, whole = len(self._line), b""
        self._line += self._text_of(data)
        end = self._line.rfind(b"\n", before)
        if end >= 0:
            whole = bytes(self._line[:end])
            del self._line[: end + 1]
            if self._skipping:
                whole = whole.partition(b"\n")[2]
            self._skipping = False
        elif len(self._line) > LINE_BYTES_MAX:
            self._skipping = self.too_long = True
        if self._skipping:
            self._line.clear()
        return whole

    def close(self) -> None:
        """Close the file, but not stdin; idempotent."""
        if self._fd > _STDIN:
            os.close(self._fd)
        self._fd = _CLOSED

    def _read(self) -> bytes:
        is_plain = self.done_bytes and self._compression is Compression.NONE
        try:
            data = os.read(self._fd, _PLAIN_BYTES if is_plain else _PACKED_BYTES)
        except OSError as error:
            self.damage = error.strerror or str(error)
            return b""
        if not self.done_bytes:
            self._compression = Compression.of(head=data)
        self.done_bytes += len(data)
        if not data and self._unpacker is not None:
            self.damage = "breaks off inside a compressed frame"
        return data

    def _text_of(self, data: bytes) -> bytes:
        # Unpacked, and in UTF-8.
        content = data
        if self._compression is not Compression.NONE:
            content = b""
            try:
                while data:
                    self._unpacker = self._unpacker or self._compression.unpacker()
                    content += self._unpacker.decompress(data)
                    if not self._unpacker.eof:
                        break
                    data, self._unpacker = self._unpacker.unused_data, None
            except (zlib.error, zstandard.ZstdError) as error:
                self.damage = str(error)
        if content and not self._has_content:  # a program on Windows may have written it
            self._has_content = True
            encoding = encoding_of(content)
            if encoding == "utf-8-sig":
                return content.removeprefix(codecs.BOM_UTF8)
            self._recoder = codecs.getincrementaldecoder(encoding)("replace")
        recoder = self._recoder
        return recoder.decode(content).encode(errors="replace") if recoder else content


# --- writing ------------------------------------------------------------------------


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
    removed.  New files have `mode`, less the umask.

    `command` is run on each finished file, the last one included.  Then no file is ever renamed, as
    the command may be at work on it, and none is removed before it was: where a name is taken, the
    new file gets the next number, and of the older files only those of this writer are removed.

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
        mode: int = 0o666,
        command: "RotateCommand | None" = None,
    ) -> None:
        if path == "-" and (rotate_size or rotate_every):
            raise UsageError("stdout cannot be rotated", "record into a file: -w FILE --rotate-...")
        self._template = path
        self._clock = clock
        self._size_max = rotate_size
        self._every = rotate_every
        self._keep = rotate_keep
        self._mode = mode
        self._command = command
        #: Of the file that was begun last, for `command`.
        self._number = -1
        self._compression = Compression.of(path)
        is_packed = self._compression is not Compression.NONE
        self._buffer_bytes = _PACKED_BUFFER_BYTES if is_packed else _BUFFER_BYTES
        if rotate_size:
            self._buffer_bytes = min(self._buffer_bytes, rotate_size)
        self._waiting = bytearray()
        self._made: deque[str] = deque()
        self._fd = _CLOSED
        #: The name of the file that is being written, or `-`.
        self.path = self._base = self._current_name()
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
            if self._command is not None and self._fd > _STDOUT and self._size:
                self._command.run(self.path)
        finally:
            self._close()

    # --- files --------------------------------------------------------------------

    def _current_name(self) -> str:
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
        before, flags = self._base, os.O_TRUNC
        self.path = self._base = self._current_name()
        if self._command is not None:
            flags = 0
            number = self._number + 1 if before == self._base else 0
            self.path = _numbered(self._base, number) if number else self._base
            while Path(self.path).exists() if number else _has_content(self._base):
                number += 1
                self.path = _numbered(self._base, number)
            self._number = number
        elif keep or self._size_max or self._every:
            flags = 0
            with _reported(self.path):
                _make_room(self.path, self._keep)
        self._open(flags)

    def _open(self, flags: int = 0) -> None:
        self._flushed = self._begun = self._clock.monotonic()
        flags |= os.O_WRONLY | os.O_CREAT | os.O_APPEND
        with _reported(self.path):
            is_stdout = self.path == "-"
            self._fd = _STDOUT if is_stdout else open_safely(self.path, flags, self._mode)
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
            if self._size or self._base != self._current_name():
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
            elif self._command is not None:
                self._command.run(before)
            while self._keep and len(self._made) > self._keep:
                oldest = self._made.popleft()
                if self._command is not None:
                    self._command.remove(oldest)
                else:
                    _remove(oldest)


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


# --- what is run on finished files --------------------------------------------------------


class RotateCommand:
    """Run a program on finished files, one after the other, in a thread of its own.

    `words` are the program and its arguments; no shell is involved.  A file's path replaces `{}`,
    or follows them.  Output and failure are logged.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._words = words
        #: Paths, and whether to run the program on one or to remove it.
        self._jobs: deque[tuple[str, bool]] = deque()
        self._changed = threading.Condition()
        self._ending = self._given_up = False
        self._thread: threading.Thread | None = None

    def run(self, path: str) -> None:
        """Run it on a file as soon as it has ended on those before; never wait."""
        self._add(path, runs=True)

    def remove(self, path: str) -> None:
        """Remove a file once the program has ended on it."""
        self._add(path, runs=False)

    def close(self) -> None:
        """Wait until it has ended on all files, but not for ever; idempotent."""
        if self._thread is None:
            return
        with self._changed:
            self._ending = True
            self._changed.notify()
        self._thread.join(_END_SECONDS)
        self._given_up = True
        self._thread.join(2 * _GRACE)
        if left := [path for path, runs in self._jobs if runs]:
            _log.warning("--rotate-exec was not run on %s: no time left", ", ".join(left))
            self._jobs.clear()

    def _add(self, path: str, *, runs: bool) -> None:
        if len(self._jobs) >= _FILES_MAX:
            why = f"{_FILES_MAX} files wait for it"
            _log.warning(
                "--rotate-exec is not %s %s: %s", "run on" if runs else "removing", path, why
            )
            return
        with self._changed:
            self._jobs.append((path, runs))
            self._changed.notify()
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._work, name="evtools-rotate-exec", daemon=True
            )
            self._thread.start()

    def _work(self) -> None:
        while not self._given_up:
            with self._changed:
                while not (self._jobs or self._ending):
                    self._changed.wait()
                if not self._jobs:
                    return
                path, runs = self._jobs.popleft()
            try:
                if runs:
                    self._run(path)
                else:
                    _remove(path)
            except (OSError, ValueError, OutputError) as error:
                _log.warning("--rotate-exec: %s: %s", path, error)

    def _run(self, path: str) -> None:
        path = f"./{path}" if path.startswith("-") else path
        words = [word.replace("{}", path) for word in self._words]
        words += [] if any("{}" in word for word in self._words) else [path]
        output = bytearray()
        status = run_program(
            words, seconds=_RUN_MAX, given_up=lambda: self._given_up, output=output,
            output_max_bytes=_OUTPUT_BYTES,
        )  # fmt: skip
        how = _KILLED if status is None else how_ended(status)
        text = output.decode(errors="replace").strip()
        log = _log.warning if how else _log.info
        log("%s: %s%s", shlex.join(words), how or "done", text and f": {text}")
