"""Files of recordings, compressed or not: written as frames, read as far as they are whole."""

import codecs
import errno
import gzip
import os
import select
import stat
import zlib
from enum import Enum
from functools import partial
from typing import Any, Final

import zstandard

from evtools.errors import UsageError
from evtools.text import encoding_of

#: How much to read at once; little of what may be packed: a few bytes can unpack to very many.
_PLAIN_BYTES: Final = 256 * 1024
_PACKED_BYTES: Final = 4 * 1024
#: Longer than any line evdump writes: the largest event, with every character escaped.
LINE_BYTES_MAX: Final = 128 * 1024 * 1024
_STDIN: Final = 0
_CLOSED: Final = -1


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
        #: For who reads them: how many lines were good, how many bad, and what was wrong first.
        self.good = self.bad = 0
        self.defect = ""

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
        self._line += self._to_utf8(self._unpack(data))
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

    def _unpack(self, data: bytes) -> bytes:
        if self._compression is Compression.NONE:
            return data
        content = []
        try:
            while data:
                self._unpacker = self._unpacker or self._compression.unpacker()
                content.append(self._unpacker.decompress(data))
                if not self._unpacker.eof:
                    break
                data, self._unpacker = self._unpacker.unused_data, None
        except (zlib.error, zstandard.ZstdError) as error:
            self.damage = str(error)
        return b"".join(content)

    def _to_utf8(self, content: bytes) -> bytes:
        # A program on Windows may have written it.
        if content and not self._has_content:
            self._has_content = True
            encoding = encoding_of(content)
            if encoding == "utf-8-sig":
                return content.removeprefix(codecs.BOM_UTF8)
            self._recoder = codecs.getincrementaldecoder(encoding)("replace")
        recoder = self._recoder
        return recoder.decode(content).encode(errors="replace") if recoder else content
