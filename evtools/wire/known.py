"""What earlier events told about a task, kept as the JSON that is written of it."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec

from evtools.wire.line import encode_line

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Names(msgspec.Struct, gc=False):
    """Names of fields, and the end of a line on which they are joined to an event.

    Nearly all tasks know the same of themselves, so they share these.
    """

    all: tuple[str, ...]
    end: bytes
    #: The same with when the task started, once it was asked for.
    started: "Names | None" = None


class Known(msgspec.Struct, frozen=True, gc=False):
    r"""Fields as the end of a line: `,"name":"proj.add","joined":["name"]}\n`.

    As text they take less memory than as values, and most of them are only
    kept to be written.
    """

    end: bytes
    names: Names

    def fields(self) -> dict[str, Any]:
        """Return the fields."""
        return _decode(b"{%b}" % self.end[1 : -len(self.names.end)])

    def started(self, timestamp: float) -> "Known":
        """Return the same, with when the task started."""
        before = self.names
        names = before.started
        if names is None:
            names = before.started = _names((*before.all, "started"))
        members = self.end[: -len(before.end)]
        return Known(
            b'%b,"started":%b%b' % (members, _encode(timestamp), names.end), names
        )


@lru_cache(maxsize=1024)
def _names(names: tuple[str, ...]) -> Names:
    return Names(names, b',"joined":%b}\n' % _encode(names) if names else b"}\n")


NOTHING_KNOWN: Final = Known(b"}\n", _names(()))


class KnownFields:
    """Makes what is known of fields that always have the same `names`."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        #: Which of them are there, by the types of the values: JSON has few.
        self._present: dict[tuple[type, ...], Names] = {}
        self._object = msgspec.defstruct(
            "Object",
            [(name, Any, None) for name in names],
            omit_defaults=True,
            gc=False,
        )

    def known(self, values: tuple[Any, ...]) -> Known:
        """Return as known what is not None; one at least, and all decoded JSON."""
        types = tuple(map(type, values))
        names = self._present.get(types)
        if names is None:
            names = self._present[types] = _present(self._names, types)
        text = _encode(self._object(*values))
        return Known(b",%b%b" % (text[1:-1], names.end), names)


def _present(names: tuple[str, ...], types: tuple[type, ...]) -> Names:
    pairs = zip(names, types, strict=True)
    return _names(tuple(name for name, kind in pairs if kind is not type(None)))


def known(fields: Mapping[str, Any]) -> Known:
    """Return `fields` as something known."""
    if not fields:
        return NOTHING_KNOWN
    names = _names(tuple(fields))
    try:
        text = _encode(fields)
    except (TypeError, ValueError, OverflowError, RecursionError):
        text = encode_line(fields)
    return Known(b",%b%b" % (text[1:-1], names.end), names)
