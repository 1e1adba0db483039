"""The serializers Celery can send events with, read into JSON's own types; compression."""

import bz2
import datetime as dt
import json
import lzma
import math
import re
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import msgspec
import zstandard

from evtools.errors import DecodeError
from evtools.wire.pickles import read_pickle
from evtools.wire.values import (
    DEPTH_MAX,
    DIGITS_MAX,
    Lost,
    Pairs,
    Unquoted,
    bounded,
    fields_of,
    plain,
)

# --- JSON -------------------------------------------------------------------------

#: YAML and pickle are read by Python code, slowly, and can say much in little.
#: A full batch of 24 events, 10 kB each, fits.
SLOW_MAX_BYTES: Final = 256 * 1024

#: What they may grow to, in values and characters.
_GROWN_MAX: Final = 4 * SLOW_MAX_BYTES

#: How long a JSON text may be in which we look for what is nested too deep.
_CUT_MAX_CHARS: Final = 1024 * 1024

#: How many there may be in a JSON text of which Python makes plain values one by one.
_COMMAS_MAX: Final = 1 << 20

_json = msgspec.json.Decoder()


def decode_json(body: bytes) -> Any:
    """Decode strict JSON; raise what msgspec raises.

    What is nested past reason could not be written out again and raises
    RecursionError.
    """
    value = _json.decode(body)
    if body.count(b"[") + body.count(b"{") > DEPTH_MAX and is_deep(value):
        raise RecursionError(f"nested deeper than {DEPTH_MAX}")
    return value


def is_deep(value: Any) -> bool:
    """Return whether there are containers below the deepest level allowed."""
    level = [value]
    for _ in range(DEPTH_MAX):
        level = [
            item
            for container in level
            for item in (container.values() if type(container) is dict else container)
            if type(item) is dict or type(item) is list
        ]
        if not level:
            return False
    return True


def read_json(body: bytes) -> Any:
    """Decode JSON as Python writes it; `plain` makes real JSON of the value.

    Celery serialises with Python's json, which also writes NaN, Infinity and
    lone surrogates.  They, and numbers beyond all bounds, are kept as the
    strings that stood there; bytes that are no UTF-8 become lone surrogates.
    """
    try:
        return _json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        pass
    try:
        text = body.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        text = body.decode("utf-8", "surrogateescape")
    try:
        return _loads(text)
    except RecursionError:
        return _loads(_cut(text))


def read_fields(text: bytes, lost: list[Lost]) -> Any:
    """Return what a line of JSON says, in JSON's own types.

    Of an object, what cannot be had costs itself, and is added to `lost`.
    """
    try:
        return decode_json(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        value = read_json(text)
    return fields_of(value, lost) if type(value) is dict else plain(value)


def _loads(text: str) -> Any:
    if text.count(",") > _COMMAS_MAX:
        raise DecodeError("too many values")
    try:
        return json.loads(text, parse_constant=Unquoted, parse_float=_float, parse_int=_int)
    except ValueError as error:
        raise DecodeError("no JSON", str(error)) from None


#: A string, which may lack its end, and what containers begin and end with.
_BRACKET: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[{\]}]', re.DOTALL)


#: In a field of an event in a batch, too, this is deeper than is allowed.
_CUT_DEPTH: Final = DEPTH_MAX + 10


def _cut(text: str) -> str:
    """Return JSON in which nothing is much deeper than is allowed, for a parser's sake.

    It stays too deep: what is lost is for those to say who look at the value.
    """
    if len(text) > _CUT_MAX_CHARS:
        raise DecodeError("nested too deep")
    kept, depth, start = [], 0, 0
    for found in _BRACKET.finditer(text):
        if found[0] in "[{":
            depth += 1
            if depth == _CUT_DEPTH:
                kept.append(text[start : found.start()])
        elif found[0] in "]}":
            if depth == _CUT_DEPTH:
                kept.append("0")
                start = found.end()
            depth -= 1
    return "".join([*kept, text[start:] if depth < _CUT_DEPTH else ""])


def _float(text: str) -> float | Unquoted:
    value = float(text)
    return value if math.isfinite(value) else Unquoted(text)


def _int(text: str) -> int | Unquoted:
    return int(text) if len(text) <= DIGITS_MAX else Unquoted(text)


# --- YAML and pickle --------------------------------------------------------------


def _check_slow(body: bytes) -> None:
    if len(body) > SLOW_MAX_BYTES:
        raise DecodeError("message too large", f"over {SLOW_MAX_BYTES} bytes of YAML or pickle")


def _read_yaml(body: bytes) -> Any:
    _check_slow(body)
    try:
        from evtools.wire.yamls import read_yaml  # noqa: PLC0415  (optional, and rare)
    except ImportError:
        raise DecodeError("YAML events need PyYAML") from None
    return bounded(read_yaml(body), _GROWN_MAX)


def _read_pickle(body: bytes) -> Any:
    _check_slow(body)
    try:
        value = read_pickle(body)
    except Exception as error:  # noqa: BLE001  (broken pickles raise anything)
        raise DecodeError("no acceptable pickle", str(error)) from None
    return bounded(value, _GROWN_MAX)


# --- msgpack ----------------------------------------------------------------------

# msgspec's own decoder hashes whatever stands as a key, and refuses a message for one
# text that is no UTF-8.  It is much faster, and used for what events usually are:
# texts, numbers and some levels of containers, whose keys are texts.

#: Longer bodies are read by ourselves: one byte can be a list, and we count values.
_USUAL_MAX_BYTES: Final = 256 * 1024
_USUAL_DEPTH: Final = 6

#: More than a batch has, and less than takes a second.
_VALUES_MAX: Final = 1 << 19

_TIMESTAMP: Final = -1
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

#: Numbers as `struct` reads them, by their first byte.
_NUMBERS: Final = {
    first: struct.Struct(f">{form}") for first, form in enumerate("fdBHIQbhiq", 0xCA)
}
_CONSTANTS: Final = {0xC0: None, 0xC2: False, 0xC3: True}


def _usual(depth: int) -> Any:
    """Return the type of the usual values that are nested that deep."""
    kind: Any = str | bool | int | float | None
    for _ in range(depth):
        kind = str | bool | int | float | None | list[kind] | dict[str, kind]
    return kind


_decode_usual: Final = msgspec.msgpack.Decoder(_usual(_USUAL_DEPTH)).decode


class _Reader:
    def __init__(self, body: bytes) -> None:
        self._body = body
        self._place = 0

    def take(self, size: int) -> bytes:
        start, self._place = self._place, self._place + size
        if self._place > len(self._body):
            raise DecodeError("no msgpack", "it ends too early")
        return self._body[start : self._place]

    def size(self, width: int) -> int:
        return int.from_bytes(self.take(width), "big")

    def text(self, size: int) -> str:
        # What is no UTF-8 is shown as the bytes that stand there.
        return self.take(size).decode("utf-8", "surrogateescape")

    def extension(self, size: int) -> Any:
        code = int.from_bytes(self.take(1), "big", signed=True)
        data = self.take(size)
        if code == _TIMESTAMP:
            try:
                return _moment(data)
            except (OverflowError, ValueError, struct.error):
                pass
        shown = f"<msgpack extension {code}, {size} bytes>"
        return Lost(shown, "value of unknown type", f"msgpack extension {code}")

    def all_read(self) -> bool:
        return self._place == len(self._body)


def _moment(data: bytes) -> dt.datetime:
    if len(data) == 4:  # noqa: PLR2004  (the three forms differ in length)
        seconds, nanoseconds = int.from_bytes(data, "big"), 0
    elif len(data) == 8:  # noqa: PLR2004
        nanoseconds, seconds = divmod(int.from_bytes(data, "big"), 1 << 34)
    else:
        nanoseconds, seconds = struct.unpack(">Iq", data)
    return _EPOCH + dt.timedelta(seconds=seconds, microseconds=nanoseconds // 1000)


_TEXT, _BYTES, _EXTENSION = _Reader.text, _Reader.take, _Reader.extension
# fmt: off
#: By their first byte, values that are read by a method with their size; and how wide the
#: size is, or the size itself where there is no width.
_SIZED: Final[Mapping[int, tuple[Callable[[_Reader, int], Any], int, int]]] = {
    0xC4: (_BYTES, 1, 0), 0xC5: (_BYTES, 2, 0), 0xC6: (_BYTES, 4, 0),
    0xC7: (_EXTENSION, 1, 0), 0xC8: (_EXTENSION, 2, 0), 0xC9: (_EXTENSION, 4, 0),
    0xD4: (_EXTENSION, 0, 1), 0xD5: (_EXTENSION, 0, 2), 0xD6: (_EXTENSION, 0, 4),
    0xD7: (_EXTENSION, 0, 8), 0xD8: (_EXTENSION, 0, 16),
    0xD9: (_TEXT, 1, 0), 0xDA: (_TEXT, 2, 0), 0xDB: (_TEXT, 4, 0),
    **{0xA0 + size: (_TEXT, 0, size) for size in range(32)},
}
#: Containers: whether it is a mapping, and the size as above.
_CONTAINERS: Final[Mapping[int, tuple[bool, int, int]]] = {
    0xDC: (False, 2, 0), 0xDD: (False, 4, 0), 0xDE: (True, 2, 0), 0xDF: (True, 4, 0),
    **{0x90 + size: (False, 0, size) for size in range(16)},
    **{0x80 + size: (True, 0, size) for size in range(16)},
}
# fmt: on


def read_msgpack(body: bytes) -> Any:
    """Return what the body says; raise DecodeError for one that is broken.

    Mappings are Pairs, or dictionaries of the usual.
    """
    if len(body) <= _USUAL_MAX_BYTES:
        try:
            return _decode_usual(body)
        except (msgspec.MsgspecError, ValueError):
            pass
    return read_values(body)


def read_values(body: bytes) -> Any:
    """Return the same, one value at a time; mappings are Pairs.

    However deep it is nested, Python's stack is not used.
    """
    reader = _Reader(body)
    #: The containers we are in: what they have so far, and how much they lack.
    waiting: list[tuple[list[Any], int, bool]] = []
    found: list[Any] = []
    missing, is_mapping = 1, False
    for _ in range(_VALUES_MAX):
        while len(found) == missing:
            if not waiting:
                if not reader.all_read():
                    raise DecodeError("no msgpack", "it goes on after its end")
                return found[0]
            whole = Pairs(zip(found[::2], found[1::2], strict=True)) if is_mapping else found
            found, missing, is_mapping = waiting.pop()
            found.append(whole)
        first = reader.size(1)
        if first in _CONTAINERS:
            waiting.append((found, missing, is_mapping))
            is_mapping, width, size = _CONTAINERS[first]
            size = reader.size(width) if width else size
            found, missing = [], 2 * size if is_mapping else size
        else:
            found.append(_leaf(reader, first))
    raise DecodeError("too many values", f"over {_VALUES_MAX}")


def _leaf(reader: _Reader, first: int) -> Any:
    if first <= 0x7F:  # noqa: PLR2004  (the format's own borders)
        return first
    if first >= 0xE0:  # noqa: PLR2004
        return first - 0x100
    if first in _SIZED:
        read, width, size = _SIZED[first]
        return read(reader, reader.size(width) if width else size)
    if first in _NUMBERS:
        number = _NUMBERS[first]
        return number.unpack(reader.take(number.size))[0]
    if first in _CONSTANTS:
        return _CONSTANTS[first]
    raise DecodeError("no msgpack", f"it has the byte 0x{first:x}")


#: Serializer name: the content types it stands for, and what reads it; `fields_of`
#: and `plain` make real JSON of the values.
READERS: Final[Mapping[str, tuple[tuple[str, ...], Callable[[bytes], Any]]]] = {
    "json": (("application/json",), read_json),
    "msgpack": (("application/x-msgpack",), read_msgpack),
    "yaml": (("application/x-yaml",), _read_yaml),
    "pickle": (("application/x-python-serialize",), _read_pickle),
}


# --- compression ------------------------------------------------------------------


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
_METHODS: Final[Mapping[str, Callable[[bytes, int], bytes]]] = {
    **dict.fromkeys(("application/x-gzip", "gzip", "zlib"), _zlib),
    **dict.fromkeys(("application/x-bz2", "bzip2", "bzip"), _bz2),
    **dict.fromkeys(("application/x-lzma", "lzma", "xz"), _lzma),
    **dict.fromkeys(("application/zstd", "zstd", "zstandard"), _zstd),
}
