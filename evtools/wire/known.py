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
    #: What follows the last field: `,"joined":["name"]}` and a newline.
    end: bytes
    #: Whether one of them is when the task started.
    tell_start: bool
    #: The same with when the task started, once it was asked for.
    started: "Names | None" = None


class Known(msgspec.Struct, frozen=True, gc=False):
    """Fields as members of a JSON object, after others: `,"name":"proj.add"`.

    As text they take less memory than as values, and most of them are only
    kept to be written.
    """

    members: bytes
    names: Names

    def fields(self) -> dict[str, Any]:
        """Return the fields."""
        return _decode(b"{%b}" % self.members[1:])

    def started(self, timestamp: float) -> "Known":
        """Return the same, with when the task started."""
        names = self.names.started
        if names is None:
            names = self.names.started = _names((*self.names.all, "started"))
        return Known(self.members + b',"started":' + _encode(timestamp), names)


@lru_cache(maxsize=1024)
def _names(names: tuple[str, ...]) -> Names:
    end = b',"joined":%b}\n' % _encode(names) if names else b"}\n"
    return Names(names, end, "started" in names)


NOTHING_KNOWN: Final = Known(b"", _names(()))


class KnownFields:
    """Makes what is known of fields that always have the same `names`."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        #: Which of them are there, by which are not.
        self._present: dict[tuple[bool, ...], Names] = {}
        self._object = msgspec.defstruct(
            "Object", [(name, Any, None) for name in names], omit_defaults=True, gc=False
        )

    def known(self, values: tuple[Any, ...], nulls: tuple[bool, ...]) -> Known:
        """Return as known what is not None; one at least, and all decoded JSON.

        `nulls` tells which values are None, as far as they could be.
        """
        names = self._present.get(nulls)
        if names is None:
            pairs = zip(self._names, values, strict=True)
            present = (name for name, value in pairs if value is not None)
            names = self._present[nulls] = _names(tuple(present))
        return Known(b"," + _encode(self._object(*values))[1:-1], names)


def known(fields: Mapping[str, Any]) -> Known:
    """Return `fields` as something known."""
    if not fields:
        return NOTHING_KNOWN
    names = _names(tuple(fields))
    try:
        text = _encode(fields)
    except (TypeError, ValueError, OverflowError, RecursionError):
        text = encode_line(fields)
    return Known(b"," + text[1:-1], names)
