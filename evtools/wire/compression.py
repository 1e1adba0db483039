"""Bodies that the sender compressed, unpacked with a bound."""

import bz2
import lzma
import zlib
from collections.abc import Callable, Mapping
from typing import Protocol

import zstandard

from evtools.errors import DecodeError


def decompress(body: bytes, name: str, *, max_bytes: int) -> bytes:
    """Unpack `body`, compressed by the method kombu calls `name`.

    Raise DecodeError if the method is unknown, the data is broken, or it
    would grow past `max_bytes`.
    """
    unpack = _METHODS.get(name)
    if unpack is None:
        raise DecodeError("unknown compression", repr(name)[:64])
    try:
        data = unpack(body, max_bytes + 1)
    except (zlib.error, OSError, lzma.LZMAError, zstandard.ZstdError, ValueError) as e:
        raise DecodeError("broken compression", str(e)) from None
    if len(data) > max_bytes:
        raise DecodeError("message too large", f"over {max_bytes} bytes unpacked")
    return data


class _Unpacker(Protocol):
    @property
    def eof(self) -> bool: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def _whole(unpacker: _Unpacker, body: bytes, limit: int) -> bytes:
    """Return at most `limit` bytes; raise ValueError if `body` breaks off."""
    data = unpacker.decompress(body, limit)
    if not unpacker.eof and len(data) < limit:
        raise ValueError("ends too early")
    return data


def _zlib(body: bytes, limit: int) -> bytes:
    # kombu's "gzip" is zlib's own format; 32 + 15 bits read both.
    return _whole(zlib.decompressobj(zlib.MAX_WBITS | 32), body, limit)


def _bz2(body: bytes, limit: int) -> bytes:
    return _whole(bz2.BZ2Decompressor(), body, limit)


def _lzma(body: bytes, limit: int) -> bytes:
    memory = 4 * limit + (64 << 20)
    return _whole(lzma.LZMADecompressor(memlimit=memory), body, limit)


def _zstd(body: bytes, limit: int) -> bytes:
    promised = zstandard.frame_content_size(body)
    with zstandard.ZstdDecompressor().stream_reader(body) as reader:
        data = reader.read(limit)
    if len(data) < min(promised, limit):
        raise ValueError("ends too early")
    return data


#: kombu.compression's methods by the names that travel in the header.
_METHODS: Mapping[str, Callable[[bytes, int], bytes]] = {
    "application/x-gzip": _zlib,
    "gzip": _zlib,
    "zlib": _zlib,
    "application/x-bz2": _bz2,
    "bzip2": _bz2,
    "bzip": _bz2,
    "application/x-lzma": _lzma,
    "lzma": _lzma,
    "xz": _lzma,
    "application/zstd": _zstd,
    "zstd": _zstd,
    "zstandard": _zstd,
}
