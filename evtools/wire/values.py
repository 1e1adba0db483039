"""Values as a serialiser says them, made into what JSON can say."""

import datetime as dt
import decimal
import math
import signal
import struct
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
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
_SCALARS: Final = (str, int, float, type(None))


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
        if self._meaning is self:
            self._meaning = _meant(self)
        return self._meaning


def _meant(foreign: Foreign) -> Any:
    read = _KNOWN.get(foreign.name)
    if read is not None and len(foreign.arguments) <= _ARGUMENTS_MAX:
        try:
            return read(foreign, *foreign.arguments)
        except Exception:  # noqa: BLE001, S110  (arguments of any kind: it is none of ours)
            pass
    arguments = foreign.arguments
    # What enumerations, errors and kinds of text or number are usually made of.
    if len(arguments) == 1 and type(arguments[0]) in (str, int, float):
        return unknown(foreign.name, f" {_brief(arguments[0])}")
    return unknown(foreign.name)


def unknown(name: str, made_of: str = "") -> Lost:
    """Return what stands for a value of a type that we cannot make or do not know."""
    name = _text(name[:_FOREIGN_MAX_CHARS])
    return Lost(f"<{name}{_text(made_of)}>", "value of unknown type", name)


def _brief(value: Any) -> str:
    return str(writable(value) if type(value) is int else value)[:_FOREIGN_MAX_CHARS]


# --- the classes we know --------------------------------------------------------


def _bytes(value: Any) -> bytes:
    """Return bytes, which older protocols say as text."""
    value = value.meaning() if isinstance(value, Foreign) else value
    if isinstance(value, str):
        return value.encode("latin-1")
    if not isinstance(value, bytes):
        raise TypeError("no bytes")
    return value


def _datetime(_: Foreign, moment: Any, zone: Any = None) -> Any:
    # What it is made of in a pickle is in no signature.
    make: Any = dt.datetime
    return _in_zone(make(_bytes(moment)), zone)


def _date(_: Foreign, day: Any) -> dt.date:
    make: Any = dt.date
    made: dt.date = make(_bytes(day))
    return made


def _time(_: Foreign, moment: Any, zone: Any = None) -> Any:
    make: Any = dt.time
    return _in_zone(make(_bytes(moment)), zone)


def _in_zone(naive: Any, zone: Any) -> Any:
    """Return a date or time in its zone; as text, if only the zone's name is known."""
    zone = zone.meaning() if isinstance(zone, Foreign) else zone
    if isinstance(zone, Lost):
        return Lost(f"{naive.isoformat()} {zone.shown}", zone.kind, zone.detail)
    if isinstance(zone, str):
        return f"{naive.isoformat()}[{_text(zone)}]"
    return naive.replace(tzinfo=zone)


def _timezone(_: Foreign, offset: Foreign, *_name: Any) -> dt.timezone:
    return dt.timezone(offset.meaning())


def _pytz(_: Foreign, name: str, east_of_utc: int | None = None, *_rest: Any) -> Any:
    if east_of_utc is None:
        return _zone_name(_, name)
    return dt.timezone(dt.timedelta(seconds=east_of_utc))


def _zone_name(_: Foreign, name: str, *_rest: Any) -> str:
    # Its offset would have to be read from a file.
    if not isinstance(name, str):
        raise TypeError("no name of a zone")
    return name[:_FOREIGN_MAX_CHARS]


def _uuid(foreign: Foreign, *_rest: Any) -> uuid.UUID:
    state = foreign.state
    return uuid.UUID(int=next(value for key, value in state if key == "int"))


def _decimal(_: Foreign, text: str) -> decimal.Decimal | str:
    if not isinstance(text, str):
        raise TypeError("no text of a number")
    return decimal.Decimal(text) if len(text) <= DIGITS_MAX else text


def _pytz_offset(_: Foreign, minutes: int) -> dt.timezone:
    return dt.timezone(dt.timedelta(minutes=minutes))


# fmt: off
#: Kinds of numpy's numbers, as `struct` calls them.
_NUMBERS: Final = {
    "b1": "?", "f4": "f", "f8": "d",
    "i1": "b", "i2": "h", "i4": "i", "i8": "q", "u1": "B", "u2": "H", "u4": "I", "u8": "Q",
}
# fmt: on


def _numpy(_: Foreign, kind: Foreign, data: Any) -> Any:
    """Return the number that a scalar of numpy is; name the kind of any other."""
    name, order = kind.arguments[0], kind.state[1]
    if name not in _NUMBERS:
        return unknown(f"numpy.{name}")
    order = order if order == ">" else "<"
    return struct.unpack(order + _NUMBERS[name], _bytes(data))[0]


# Nothing is copied here, for what is named in several objects would be with each.


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


def _utc(_: Foreign, *_rest: Any) -> dt.tzinfo:
    return dt.UTC


#: What objects in events are besides literals, by the names that current and older
#: protocols have for them.  Each reader takes the object and what it was called with.
_KNOWN: Final[Mapping[str, Callable[..., Any]]] = {
    "datetime.datetime": _datetime,
    "datetime.date": _date,
    "datetime.time": _time,
    "datetime.timedelta": lambda _, *parts: dt.timedelta(*parts),
    "datetime.timezone": _timezone,
    "decimal.Decimal": _decimal,
    "uuid.UUID": _uuid,
    "builtins.set": _list,
    "builtins.frozenset": _list,
    "builtins.list": _list,
    "builtins.tuple": _list,
    "builtins.dict": _mapping,
    "builtins.bytes": lambda _, data=b"": _bytes(data),
    "builtins.bytearray": lambda _, data=b"", *_coding: _bytes(data),
    "_codecs.encode": lambda _, text, *_coding: _bytes(text),
    "collections.OrderedDict": _mapping,
    "collections.defaultdict": _mapping,
    "collections.Counter": _mapping,
    "collections.deque": _list,
    "signal.Signals": lambda _, number: int(signal.Signals(number)),
    "pytz._UTC": _utc,
    "pytz._p": _pytz,
    "pytz.FixedOffset": _pytz_offset,
    "pytz._FixedOffset": _pytz_offset,
    "numpy.core.multiarray.scalar": _numpy,
    "numpy._core.multiarray.scalar": _numpy,
    "zoneinfo.ZoneInfo._unpickle": _zone_name,
    "dateutil.tz.tz.tzutc": _utc,
    # Python 3.12 names members of some enumerations as if they stood in the module.
    **{f"signal.{member.name}": lambda _, number=int(member): number for member in signal.Signals},
}

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
        weight = height = 0
        for part in self._parts(value):
            more, above = self._weighed(part, depth + 1)
            weight += 1 + more
            height = max(height, 1 + above)
        self._known[name] = weight, height
        return weight, height

    def _parts(self, node: Any) -> Iterable[Any]:
        if isinstance(node, Foreign):
            return (self.meaning(node),)
        return chain.from_iterable(node) if isinstance(node, Pairs) else node

    def meaning(self, foreign: Foreign) -> Any:
        """Return what an object stands for; raise DecodeError if there is no room."""
        if self._work > 0:
            arguments = foreign.arguments
            self._work -= 1 + len(arguments)
            self._work -= sum(
                _weight_of(each)
                for each in arguments[:_ARGUMENTS_MAX]
                if isinstance(each, (str, bytes, int))
            )
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
    if type(value) is list:
        return [_bounded_fields(item, scale) for item in value]
    return _bounded_fields(value, scale)


def _bounded_fields(item: Any, scale: Scale) -> Any:
    if isinstance(item, Foreign):
        item = scale.meaning(item)  # an OrderedDict, say
    if not isinstance(item, Pairs):
        return scale.take(item)
    return Pairs((scale.take(key), scale.take(value)) for key, value in item)


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
    if isinstance(key, Foreign):
        key = key.meaning()
    if isinstance(key, (tuple, list)) and not all(
        isinstance(part, (*_SCALARS, bytes)) for part in key
    ):
        # A text in a text in a text doubles its quotes with each.
        key = Lost("<a key of several levels>", "value of unknown type", "key")
    return str(plain(key, depth + 1, lost))


def _text(text: str) -> str:
    if text.isascii():
        return text
    # Nothing but lone surrogates has no UTF-8.
    return text.encode("utf-8", "backslashreplace").decode()


def _of_python(value: Any) -> str:
    """Return a type JSON does not know (a date, bytes, ...) as JSON writers do."""
    try:
        return _text(str(msgspec.to_builtins(value)))
    except (TypeError, ValueError):
        return type(value).__name__


def _same(value: Any) -> Any:
    return value


def _finite(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def writable(value: int) -> int | str:
    """Return an integer, as text if its digits are too many for Python."""
    return value if value.bit_length() <= _BITS_MAX else hex(value)


_LEAVES: Mapping[type, Callable[[Any], Any]] = {
    str: _text,
    bool: _same,
    type(None): _same,
    int: writable,
    float: _finite,
    Unquoted: str,
}
