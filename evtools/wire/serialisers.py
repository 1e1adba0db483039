"""The serialisers Celery can send events with, reduced to JSON's own types."""

import datetime as dt
import decimal
import io
import json
import math
import pickle  # noqa: TID251  (only with --accept pickle, and then restricted)
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from evtools.errors import DecodeError

#: Deeper than any event; far below where Python's own recursion ends.
DEPTH_MAX: Final = 100

#: YAML and pickle are read by Python code, slowly, and can say much in little.
#: A full batch of 24 events, 10 kB each, fits.
SLOW_MAX_BYTES: Final = 256 * 1024

#: What a pickle may grow to, in values and characters.
_PICKLE_WEIGHT_MAX: Final = 4 * SLOW_MAX_BYTES

#: Python reads and writes no longer ones in decimal.
_DIGITS_MAX: Final = 4300
_BITS_MAX: Final = math.floor(_DIGITS_MAX * math.log2(10))

_json = msgspec.json.Decoder()


class Unquoted(str):
    """What stood in a JSON text for a number that cannot be one for us."""

    __slots__ = ()


def decode_json(body: bytes) -> Any:
    """Decode strict JSON; raise what msgspec raises.

    What is nested past reason could not be written out again and raises
    RecursionError.
    """
    value = _json.decode(body)
    if body.count(b"[") + body.count(b"{") > DEPTH_MAX and _is_deep(value):
        raise RecursionError(f"nested deeper than {DEPTH_MAX}")
    return value


def _is_deep(value: Any) -> bool:
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
    strings that stood there.
    """
    try:
        return decode_json(body)
    except RecursionError:
        raise DecodeError("nested too deep") from None
    except (msgspec.MsgspecError, ValueError):
        pass
    try:
        text = body.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise DecodeError("text is no UTF-8", str(error)) from None
    try:
        return json.loads(
            text, parse_constant=Unquoted, parse_float=_float, parse_int=_int
        )
    except RecursionError:
        raise DecodeError("nested too deep") from None
    except ValueError as error:
        raise DecodeError("no JSON", str(error)) from None


def _float(text: str) -> float | Unquoted:
    value = float(text)
    return value if math.isfinite(value) else Unquoted(text)


def _int(text: str) -> int | Unquoted:
    return int(text) if len(text) <= _DIGITS_MAX else Unquoted(text)


def plain(value: Any, depth: int = 0) -> Any:
    """Return `value` with JSON's own types only; raise DecodeError if too deep."""
    if depth > DEPTH_MAX:
        raise DecodeError("nested too deep")
    if isinstance(value, dict):
        return {
            _text(key) if isinstance(key, str) else str(plain(key, depth + 1)): (
                plain(item, depth + 1)
            )
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item, depth + 1) for item in value]
    leaf: Callable[[Any], Any] = _LEAVES.get(type(value), _foreign)
    return leaf(value)


def _text(text: str) -> str:
    if text.isascii():
        return text
    # Nothing but lone surrogates has no UTF-8.
    return text.encode("utf-8", "backslashreplace").decode()


def _foreign(value: Any) -> str:
    """Return a type JSON does not know (a date, bytes, ...) as JSON writers do."""
    try:
        return _text(str(msgspec.to_builtins(value)))
    except (TypeError, ValueError):
        return type(value).__name__


def _same(value: Any) -> Any:
    return value


def _finite(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def _writable(value: int) -> int | str:
    return value if value.bit_length() <= _BITS_MAX else hex(value)


_LEAVES: Mapping[type, Callable[[Any], Any]] = {
    str: _text,
    bool: _same,
    type(None): _same,
    int: _writable,
    float: _finite,
    Unquoted: str,
}


def _read_msgpack(body: bytes) -> Any:
    try:
        return msgspec.msgpack.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DecodeError("no msgpack", str(error)) from None


def _read_yaml(body: bytes) -> Any:
    _check_size(body)
    try:
        import yaml  # noqa: PLC0415  (optional, and rare)
    except ImportError:
        raise DecodeError("YAML events need PyYAML") from None

    class Loader(yaml.SafeLoader):
        """Refuse aliases: a few hundred bytes of them grow without bound."""

        depth = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.events.AliasEvent):
                raise DecodeError("YAML with aliases")
            if self.depth > DEPTH_MAX:
                raise DecodeError("nested too deep")
            self.depth += 1
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

    try:
        return yaml.load(body, Loader)  # noqa: S506  (derived from SafeLoader)
    except DecodeError:
        raise
    except Exception as error:  # noqa: BLE001  (PyYAML raises anything on odd scalars)
        raise DecodeError("no YAML", str(error).replace("\n", " ")) from None


def _check_size(body: bytes) -> None:
    if len(body) > SLOW_MAX_BYTES:
        raise DecodeError(
            "message too large", f"over {SLOW_MAX_BYTES} bytes of YAML or pickle"
        )


def _latin1(text: str, _encoding: str) -> bytes:
    """Return bytes, which protocol 2 says as text."""
    return text.encode("latin-1")


#: All that pickled events of Celery are made of besides literals, by the names
#: that current and older protocols have for it; kombu writes protocol 2.
_PICKLED: Final[Mapping[tuple[str, str], Any]] = {
    ("datetime", "datetime"): dt.datetime,
    ("datetime", "date"): dt.date,
    ("datetime", "time"): dt.time,
    ("datetime", "timedelta"): dt.timedelta,
    ("datetime", "timezone"): dt.timezone,
    ("decimal", "Decimal"): decimal.Decimal,
    ("uuid", "UUID"): uuid.UUID,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("__builtin__", "set"): set,
    ("__builtin__", "frozenset"): frozenset,
    ("_codecs", "encode"): _latin1,
}


class _Unpickler(pickle.Unpickler):
    """Build harmless values only: no pickle can make us call anything else."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _PICKLED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed") from None


def _read_pickle(body: bytes) -> Any:
    _check_size(body)
    try:
        _check_opcodes(body)
        value = _Unpickler(io.BytesIO(body)).load()
        _check_weight(value)
    except DecodeError:
        raise
    except Exception as error:  # noqa: BLE001  (broken pickles raise anything)
        raise DecodeError("no acceptable pickle", str(error)) from None
    return value


def _check_opcodes(body: bytes) -> None:
    """Refuse what makes the unpickler take memory that the body does not fill.

    genops itself refuses lengths beyond the end of the body.
    """
    import pickletools  # noqa: PLC0415  (rare)

    for opcode, argument, _ in pickletools.genops(body):
        if "PUT" in opcode.name and (argument or 0) > len(body):
            raise DecodeError("no acceptable pickle", "its memory has holes")


def _check_weight(value: Any) -> None:
    """Refuse a value that names its parts over and over, or contains itself."""
    waiting, weight = [value], 0
    while waiting:
        value = waiting.pop()
        if isinstance(value, (dict, list, tuple, set, frozenset)):
            weight += 1 + len(value)
            waiting.extend(value)
            if isinstance(value, dict):
                waiting.extend(value.values())
        else:
            weight += _weight_of(value)
        if weight > _PICKLE_WEIGHT_MAX:
            raise DecodeError("pickle grows when unpacked")


def _weight_of(value: Any) -> int:
    if isinstance(value, int):
        return value.bit_length() // 4
    return len(value) if isinstance(value, (str, bytes)) else len(str(value))


#: Serialiser name: the content types it stands for, and what reads it; `plain`
#: makes real JSON of the values.
READERS: Final[Mapping[str, tuple[tuple[str, ...], Callable[[bytes], Any]]]] = {
    "json": (("application/json",), read_json),
    "msgpack": (("application/x-msgpack",), _read_msgpack),
    "yaml": (("application/x-yaml",), _read_yaml),
    "pickle": (("application/x-python-serialize",), _read_pickle),
}


def _cleaned(reader: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    return lambda body: plain(reader(body))


#: The same with decoders that return JSON's own types only.
DECODERS: Final[Mapping[str, tuple[tuple[str, ...], Callable[[bytes], Any]]]] = {
    name: (content_types, _cleaned(reader))
    for name, (content_types, reader) in READERS.items()
}
