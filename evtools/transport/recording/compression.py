"""Compressed files: written as frames that stand alone, read as far as they are whole."""

import codecs
import errno
import math
import os
import select
import stat
import zlib
from collections.abc import Callable
from enum import Enum
from typing import Any, Final

import zstandard

from evtools.clock import Clock
from evtools.errors import UsageError
from evtools.text import encoding_of

#: How much to read at once; little of what may be packed, as a few bytes of that can
#: unpack to very many.
_PLAIN_BYTES: Final = 256 * 1024
_PACKED_BYTES: Final = 4 * 1024
#: Longer than any line evdump writes: an event of the greatest size that is accepted, with
#: every character escaped.
LINE_BYTES_MAX: Final = 128 * 1024 * 1024
#: How long a wait may go on after it was asked to end, in seconds.
_SLICE: Final = 0.1
_STDIN: Final = 0
_CLOSED: Final = -1
_GZIP_WBITS: Final = zlib.MAX_WBITS | 16


class Compression(Enum):
    """How a file is compressed; the value is the suffix of its name."""

    NONE = ""
    GZIP = ".gz"
    ZSTD = ".zst"

    @classmethod
    def of_name(cls, path: str) -> "Compression":
        """Return what the name of a file promises."""
        packed = (cls.GZIP, cls.ZSTD)
        return next((one for one in packed if path.endswith(one.value)), cls.NONE)

    def frame(self, data: bytes) -> bytes:
        """Return `data` as one frame; a file is any number of them."""
        if self is Compression.ZSTD:
            return zstandard.ZstdCompressor().compress(data)
        if self is Compression.GZIP:
            packer = zlib.compressobj(wbits=_GZIP_WBITS)
            return packer.compress(data) + packer.flush()
        return data

    def unpacker(self) -> Any:
        """Return what unpacks one frame."""
        if self is Compression.GZIP:
            return zlib.decompressobj(wbits=_GZIP_WBITS)
        return zstandard.ZstdDecompressor().decompressobj()


class FileReader:
    """Read a file, compressed or not, in UTF-8 or UTF-16, as UTF-8; `-` is stdin.

    `damage` says what is wrong with the content, once that was met; everything before it is
    given out.  Raise UsageError when the file cannot be opened.
    """

    def __init__(self, path: str, *, clock: Clock) -> None:
        self._clock = clock
        self._fd = _open(path)
        self._is_regular = stat.S_ISREG(os.fstat(self._fd).st_mode)
        self._compression = Compression.NONE
        self._unpacker: Any = None
        self._recoder: codecs.IncrementalDecoder | None = None
        self._has_content = False
        #: What is no whole line yet.
        self._line: list[bytes] = []
        self._line_bytes = 0
        self._skipping = False
        #: Bytes of the file that were read so far.
        self.done_bytes = 0
        self.damage = ""
        #: Whether `read_lines` has given out all there is, and has left out a line of more than
        #: LINE_BYTES_MAX.
        self.ended = False
        self.too_long = False

    def read_lines(self, timeout: float | None, stopped: Callable[[], bool]) -> bytes | None:
        """Return more whole lines, also none; None if nothing came in time, as `read` does."""
        content = self.read(timeout, stopped)
        if content is None:
            return None
        if not content:
            self.ended = True
            return b"".join(self._line)
        whole, newline, rest = content.rpartition(b"\n")
        if newline:
            if self._skipping:
                whole = whole.partition(b"\n")[2]
            else:
                whole = b"".join([*self._line, whole])
            self._line, self._line_bytes, self._skipping = [], 0, False
        if rest and not self._skipping:
            self._line.append(rest)
            self._line_bytes += len(rest)
            if self._line_bytes > LINE_BYTES_MAX:
                self._line, self._line_bytes = [], 0
                self._skipping = self.too_long = True
        return whole

    def read(self, timeout: float | None, stopped: Callable[[], bool]) -> bytes | None:
        """Return more of the content, b"" at its end.

        Return None if none came within `timeout` seconds, or when `stopped` became true.
        """
        deadline = math.inf if timeout is None else self._clock.monotonic() + timeout
        while not stopped():
            if self.damage:
                return b""
            if not self._is_regular:
                left = max(0.0, deadline - self._clock.monotonic())
                if not select.select([self._fd], [], [], min(_SLICE, left))[0]:
                    if not left:
                        return None
                    continue
            data = self._read_some()
            if not data:
                return b""
            if content := self._to_utf8(self._unpack(data)):
                return content
        return None

    def close(self) -> None:
        """Close the file, but not stdin; idempotent."""
        if self._fd > _STDIN:
            os.close(self._fd)
        self._fd = _CLOSED

    def _read_some(self) -> bytes:
        is_plain = self.done_bytes and self._compression is Compression.NONE
        try:
            data = os.read(self._fd, _PLAIN_BYTES if is_plain else _PACKED_BYTES)
        except OSError as error:
            self.damage = error.strerror or str(error)
            return b""
        if not self.done_bytes:
            if data.startswith(b"\x1f\x8b"):
                self._compression = Compression.GZIP
            elif data.startswith(b"\x28\xb5\x2f\xfd"):
                self._compression = Compression.ZSTD
        self.done_bytes += len(data)
        if not data and self._unpacker is not None:
            self.damage = "breaks off inside a compressed frame"
        return data

    def _unpack(self, data: bytes) -> bytes:
        if self._compression is Compression.NONE:
            return data
        content = []
        try:
            while data:
                if self._unpacker is None:
                    self._unpacker = self._compression.unpacker()
                content.append(self._unpacker.decompress(data))
                if not self._unpacker.eof:
                    break
                data, self._unpacker = self._unpacker.unused_data, None
        except (zlib.error, zstandard.ZstdError) as error:
            self.damage = str(error)
        return b"".join(content)

    def _to_utf8(self, content: bytes) -> bytes:
        """Recode what a program on Windows may have written."""
        if content and not self._has_content:
            self._has_content = True
            encoding = encoding_of(content)
            if encoding != "utf-8-sig":
                self._recoder = codecs.getincrementaldecoder(encoding)("replace")
            else:
                content = content.removeprefix(codecs.BOM_UTF8)
        if self._recoder is None:
            return content
        return self._recoder.decode(content).encode(errors="replace")


def _open(path: str) -> int:
    if path == "-":
        return _STDIN
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        os.close(fd)
        raise UsageError(f"cannot read {path}: {os.strerror(errno.EISDIR)}")
    return fd
