"""msgpack, read value by value, so that an odd one costs no other."""

import datetime as dt
import struct
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from evtools.errors import DecodeError
from evtools.wire.values import Lost, Pairs

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

#: Formats of one number.
_NUMBERS: Final[Mapping[int, struct.Struct]] = {
    0xCA: struct.Struct(">f"),
    0xCB: struct.Struct(">d"),
    0xCC: struct.Struct(">B"),
    0xCD: struct.Struct(">H"),
    0xCE: struct.Struct(">I"),
    0xCF: struct.Struct(">Q"),
    0xD0: struct.Struct(">b"),
    0xD1: struct.Struct(">h"),
    0xD2: struct.Struct(">i"),
    0xD3: struct.Struct(">q"),
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
    if len(data) == 4:  # noqa: PLR2004  (the three forms are told by their lengths)
        seconds, nanoseconds = int.from_bytes(data, "big"), 0
    elif len(data) == 8:  # noqa: PLR2004
        nanoseconds, seconds = divmod(int.from_bytes(data, "big"), 1 << 34)
    else:
        nanoseconds, seconds = struct.unpack(">Iq", data)
    return _EPOCH + dt.timedelta(seconds=seconds, microseconds=nanoseconds // 1000)


#: By their first byte: texts, bytes and extensions, as methods that take a size; how
#: wide the size is, or the size itself where there is no width.
_TEXT, _BYTES, _EXTENSION = _Reader.text, _Reader.take, _Reader.extension
_SIZED: Final[Mapping[int, tuple[Callable[[_Reader, int], Any], int, int]]] = {
    0xC4: (_BYTES, 1, 0),
    0xC5: (_BYTES, 2, 0),
    0xC6: (_BYTES, 4, 0),
    0xC7: (_EXTENSION, 1, 0),
    0xC8: (_EXTENSION, 2, 0),
    0xC9: (_EXTENSION, 4, 0),
    0xD4: (_EXTENSION, 0, 1),
    0xD5: (_EXTENSION, 0, 2),
    0xD6: (_EXTENSION, 0, 4),
    0xD7: (_EXTENSION, 0, 8),
    0xD8: (_EXTENSION, 0, 16),
    0xD9: (_TEXT, 1, 0),
    0xDA: (_TEXT, 2, 0),
    0xDB: (_TEXT, 4, 0),
    **{0xA0 + size: (_TEXT, 0, size) for size in range(32)},
}
#: Containers: whether it is a mapping, and the size as above.
_CONTAINERS: Final[Mapping[int, tuple[bool, int, int]]] = {
    0xDC: (False, 2, 0),
    0xDD: (False, 4, 0),
    0xDE: (True, 2, 0),
    0xDF: (True, 4, 0),
    **{0x90 + size: (False, 0, size) for size in range(16)},
    **{0x80 + size: (True, 0, size) for size in range(16)},
}


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
