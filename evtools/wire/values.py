"""Values as a serialiser says them, made into what JSON can say."""

import datetime as dt
import decimal
import math
import signal
import struct
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, Final

import msgspec

from evtools.errors import DecodeError
from evtools.wire.events import EventFields

# Who sends a pickle, a YAML document or a msgpack chooses what it says: keys whose
# hash takes for ever (tuples of tuples, each named twice) or is the same for all,
# values that name their parts over and over, objects of any class.  So these readers
# hash nothing and make no objects: a mapping is `Pairs`, an object is `Foreign`.  What
# is named in several places is one node until `Scale` has said that there is room for
# all copies of it.

#: Deeper than any event; far below where Python's own recursion ends.
DEPTH_MAX: Final = 100

#: Python reads and writes no longer integers in decimal.
DIGITS_MAX: Final = 4300
_BITS_MAX: Final = math.floor(DIGITS_MAX * math.log2(10))

_FOREIGN_MAX_CHARS: Final = 200
#: More than any class that we know is called with.
_ARGUMENTS_MAX: Final = 16
_SCALARS: Final = (str, bytes, int, float, type(None))


class Unquoted(str):
    """What stood in a JSON text for a number that cannot be one for us."""

    __slots__ = ()


class Pairs(list[tuple[Any, Any]]):
    """A mapping as it came, keys unhashed."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Lost:
    """What stands for a value that cannot be had, and why it cannot."""

    shown: str
    kind: str
    detail: str = ""


class Foreign:
    """An object that its sender described, by its class and what it was made of.

    It is never made.  What it stands for is worked out once, for some classes; of the
    others we have the name.
    """

    __slots__ = ("_meaning", "arguments", "items", "name", "pairs", "state")

    def __init__(self, name: str, arguments: tuple[Any, ...] = ()) -> None:
        self.name = name[:_FOREIGN_MAX_CHARS]
        self.arguments = arguments
        self.state: Any = None
        self.items: list[Any] = []
        self.pairs = Pairs()
        self._meaning: Any = self

    def meaning(self) -> Any:
        """Return the value that it stands for, or a `Lost`."""
        if self._meaning is not self:
            return self._meaning
        read, arguments = _KNOWN.get(self.name), self.arguments
        made_of = ""
        # What enumerations, errors and kinds of text or number are usually made of.
        if len(arguments) == 1 and type(arguments[0]) in (str, int, float):
            brief = writable(arguments[0]) if type(arguments[0]) is int else arguments[0]
            made_of = f" {str(brief)[:_FOREIGN_MAX_CHARS]}"
        self._meaning = unknown(self.name, made_of)
        if read is not None and len(arguments) <= _ARGUMENTS_MAX:
            # Arguments may be of any kind; with odd ones it is none that we know.
            with suppress(Exception):
                self._meaning = read(self, *arguments)
        return self._meaning


def unknown(name: str, made_of: str = "") -> Lost:
    """Return what stands for a value of a type that we cannot make or do not know."""
    name = _text(name[:_FOREIGN_MAX_CHARS])
    return Lost(f"<{name}{_text(made_of)}>", "value of unknown type", name)


def _meaning(value: Any) -> Any:
    return value.meaning() if isinstance(value, Foreign) else value


# --- the classes we know --------------------------------------------------------

# Each reader takes the object and what it was called with.  What the readers raise, if
# arguments are of an odd type or number, makes the object one that we do not know.
# Nothing is copied here, for what is named in several objects would be with each.


def _bytes(value: Any) -> bytes:
    value = _meaning(value)  # older protocols have a text
    if isinstance(value, str):
        return value.encode("latin-1")
    if not isinstance(value, bytes):
        raise TypeError("no bytes")
    return value


def _moment(make: Any, _: Foreign, packed: Any, zone: Any = None) -> Any:
    # What it is made of in a pickle is in no signature.
    naive, zone = make(_bytes(packed)), _meaning(zone)
    if isinstance(zone, Lost):
        return Lost(f"{naive.isoformat()} {zone.shown}", zone.kind, zone.detail)
    if isinstance(zone, str):
        return f"{naive.isoformat()}[{_text(zone)}]"
    return naive if zone is None else naive.replace(tzinfo=zone)


def _zone_name(_: Foreign, name: Any, *_rest: Any) -> str:
    # Its offset would have to be read from a file.
    if not isinstance(name, str):
        raise TypeError("no name of a zone")
    return name[:_FOREIGN_MAX_CHARS]


def _decimal(_: Foreign, text: Any) -> decimal.Decimal | str:
    if not isinstance(text, str):
        raise TypeError("no text of a number")
    return decimal.Decimal(text) if len(text) <= DIGITS_MAX else text


def _numpy(_: Foreign, kind: Foreign, data: Any) -> Any:
    name, order = kind.arguments[0], kind.state[1]
    if name not in _NUMBERS:
        return unknown(f"numpy.{name}")
    return struct.unpack((">" if order == ">" else "<") + _NUMBERS[name], _bytes(data))[0]


def _list(foreign: Foreign, items: Any = (), *_rest: Any) -> Any:
    if not isinstance(items, (list, tuple)) or (items and foreign.items):
        raise TypeError("no items")
    return items or foreign.items


def _mapping(foreign: Foreign, given: Any = None, *_rest: Any) -> Pairs:
    if not isinstance(given, Pairs):
        return foreign.pairs  # given is the factory of a defaultdict
    if foreign.pairs:
        raise TypeError("two mappings")
    return given


# fmt: off
#: Kinds of numpy's numbers, as `struct` calls them.
_NUMBERS: Final = {
    "b1": "?", "f4": "f", "f8": "d",
    "i1": "b", "i2": "h", "i4": "i", "i8": "q", "u1": "B", "u2": "H", "u4": "I", "u8": "Q",
}
#: What objects in events are besides literals, by the names that current and older
#: protocols have for them.
_KNOWN: Final[Mapping[str, Callable[..., Any]]] = {
    "datetime.datetime": partial(_moment, dt.datetime),
    "datetime.date": partial(_moment, dt.date),
    "datetime.time": partial(_moment, dt.time),
    "datetime.timedelta": lambda _, *parts: dt.timedelta(*parts),
    "datetime.timezone": lambda _, offset, *_name: dt.timezone(offset.meaning()),
    "decimal.Decimal": _decimal,
    "uuid.UUID": lambda self, *_: uuid.UUID(int=next(v for k, v in self.state if k == "int")),
    **dict.fromkeys(("builtins.set", "builtins.frozenset", "builtins.list"), _list),
    **dict.fromkeys(("builtins.tuple", "collections.deque"), _list),
    **dict.fromkeys(("builtins.dict", "collections.OrderedDict"), _mapping),
    **dict.fromkeys(("collections.defaultdict", "collections.Counter"), _mapping),
    "builtins.bytes": lambda _, data=b"": _bytes(data),
    "builtins.bytearray": lambda _, data=b"", *_coding: _bytes(data),
    "_codecs.encode": lambda _, text, *_coding: _bytes(text),
    "signal.Signals": lambda _, number: int(signal.Signals(number)),
    # Python 3.12 names members of some enumerations as if they stood in the module.
    **{f"signal.{member.name}": lambda _, number=int(member): number for member in signal.Signals},
    **dict.fromkeys(("pytz._UTC", "dateutil.tz.tz.tzutc"), lambda *_: dt.UTC),
    **dict.fromkeys(("pytz.FixedOffset", "pytz._FixedOffset"),
                    lambda _, minutes: dt.timezone(dt.timedelta(minutes=minutes))),
    "pytz._p": lambda self, name, east=None, *_rest: (
        _zone_name(self, name) if east is None else dt.timezone(dt.timedelta(seconds=east))),
    "zoneinfo.ZoneInfo._unpickle": _zone_name,
    **dict.fromkeys(("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"), _numpy),
}
# fmt: on

# --- how much a value would be -------------------------------------------------


class Scale:
    """Measures whether values are still few and short with everything named twice copied.

    Values and characters are counted, `limit` of them in all; each node is looked at
    once, however often it is named.
    """

    def __init__(self, limit: int) -> None:
        self._left = limit
        #: The same for making values of what objects are made of.
        self._work = limit
        #: Weight and height of nodes, by id; None of one that has been refused, or in
        #: which we are, and which thus contains itself.
        self._known: dict[int, tuple[int, int] | None] = {}

    def take(self, value: Any) -> Any:
        """Return `value`, or what stands for it if there is no room."""
        try:
            weight, _ = self._weighed(value, 1)
        except DecodeError as error:
            return Lost(f"<{error.kind}>", error.kind)
        if weight > self._left:
            return Lost("<grows when unpacked>", "grows when unpacked")
        self._left -= weight
        return value

    def _weighed(self, value: Any, depth: int) -> tuple[int, int]:
        if not isinstance(value, (list, tuple, Foreign)):
            return _weight_of(value), 0
        name = id(value)
        if name in self._known:
            known = self._known[name]
            if known is None or depth + known[1] > DEPTH_MAX:
                raise DecodeError("nested too deep")
            return known
        self._known[name] = None
        if depth > DEPTH_MAX:
            raise DecodeError("nested too deep")
        parts: Any = value
        if isinstance(value, Foreign):
            parts = (self.meaning(value),)
        elif isinstance(value, Pairs):
            parts = chain.from_iterable(value)
        weight = height = 0
        for part in parts:
            more, above = self._weighed(part, depth + 1)
            weight += 1 + more
            height = max(height, 1 + above)
        self._known[name] = weight, height
        return weight, height

    def meaning(self, foreign: Foreign) -> Any:
        """Return what an object stands for; raise DecodeError if there is no room."""
        if self._work > 0:
            brief = foreign.arguments[:_ARGUMENTS_MAX]
            texts = [each for each in brief if isinstance(each, (str, bytes, int))]
            self._work -= 1 + len(foreign.arguments) + sum(map(_weight_of, texts))
        if self._work <= 0:
            raise DecodeError("grows when unpacked")
        return foreign.meaning()


def _weight_of(value: Any) -> int:
    if isinstance(value, int):
        return value.bit_length() // 4
    if isinstance(value, Lost):
        return len(value.shown)
    return len(value) if isinstance(value, (str, bytes)) else len(str(value))


def bounded(value: Any, limit: int) -> Any:
    """Return an event or a batch, without those fields that would grow past `limit`."""
    scale = Scale(limit)

    def fields(item: Any) -> Any:
        if isinstance(item, Foreign):
            item = scale.meaning(item)  # an OrderedDict, say
        if not isinstance(item, Pairs):
            return scale.take(item)
        return Pairs((scale.take(key), scale.take(value)) for key, value in item)

    return list(map(fields, value)) if type(value) is list else fields(value)


# --- what JSON can say ----------------------------------------------------------


def fields_of(event: Any, lost: list[Lost]) -> EventFields:
    """Return a mapping with JSON's own types only.

    A field that cannot be had is shown as what it is, between angle brackets, and added
    to `lost`, once for each field.
    """
    fields: EventFields = {}
    for key, value in event.items() if type(event) is dict else event:
        missing: list[Lost] = []
        name = _key(key, 0, missing)
        try:
            fields[name] = plain(value, 1, missing)
        except DecodeError as error:
            fields[name] = f"<{error.kind}>"
            missing.append(Lost("", error.kind))
        for each in missing[:1]:
            detail = f"{name}: {each.detail}" if each.detail else name
            lost.append(Lost(each.shown, each.kind, detail))
    return fields


def plain(value: Any, depth: int = 0, lost: list[Lost] | None = None) -> Any:
    """Return `value` with JSON's own types only; raise DecodeError if too deep.

    What cannot be had is added to `lost`.
    """
    if isinstance(value, Lost):
        if lost is not None:
            lost.append(value)
        return value.shown
    if depth > DEPTH_MAX:
        raise DecodeError("nested too deep")
    if isinstance(value, (dict, Pairs)):
        return {
            _key(key, depth, lost): plain(item, depth + 1, lost)
            for key, item in (value.items() if isinstance(value, dict) else value)
        }
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item, depth + 1, lost) for item in value]
    if isinstance(value, Foreign):
        return plain(value.meaning(), depth + 1, lost)
    leaf: Callable[[Any], Any] = _LEAVES.get(type(value), _of_python)
    return leaf(value)


def _key(key: Any, depth: int, lost: list[Lost] | None) -> str:
    if isinstance(key, str):
        return _text(key)
    key = _meaning(key)
    if isinstance(key, (tuple, list)) and not all(isinstance(part, _SCALARS) for part in key):
        # A text in a text in a text doubles its quotes with each.
        key = Lost("<a key of several levels>", "value of unknown type", "key")
    return str(plain(key, depth + 1, lost))


def _text(text: str) -> str:
    # Nothing but lone surrogates has no UTF-8.
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _of_python(value: Any) -> str:
    # A type that JSON does not know (a date, bytes, ...), as JSON writers do.
    try:
        return _text(str(msgspec.to_builtins(value)))
    except (TypeError, ValueError):
        return type(value).__name__


def writable(value: int) -> int | str:
    """Return an integer, as text if its digits are too many for Python."""
    return value if value.bit_length() <= _BITS_MAX else hex(value)


_LEAVES: Mapping[type, Callable[[Any], Any]] = {
    str: _text,
    bool: bool,
    type(None): lambda _: None,
    int: writable,
    float: lambda value: value if math.isfinite(value) else str(value),
    Unquoted: str,
}
