"""The serialisers Celery can send events with, reduced to JSON's own types."""

import io
import json
import math
import pickle  # noqa: TID251  (only with --accept pickle, and then restricted)
import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from evtools.errors import DecodeError

#: Deeper than any event; far below where Python's own recursion ends.
_DEPTH_MAX = 100
_DIGITS_MAX = 4000
_SURROGATE = re.compile("[\ud800-\udfff]")

_json = msgspec.json.Decoder()


def decode_json(body: bytes) -> Any:
    """Decode strict JSON; raise what msgspec raises.

    A body with very many brackets is measured first: what is nested past
    reason could not be written out again.
    """
    if body.count(b"[") + body.count(b"{") > _DEPTH_MAX:
        _check_depth(body)
    return _json.decode(body)


def _check_depth(body: bytes) -> None:
    depth = 0
    for bracket in _BRACKETS.findall(_STRINGS.sub(b"", body)):
        depth += 1 if bracket in b"[{" else -1
        if depth > _DEPTH_MAX:
            raise RecursionError(f"nested deeper than {_DEPTH_MAX}")


_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKETS = re.compile(rb"[\[\]{}]")


def lenient_json(body: bytes) -> Any:
    """Decode JSON as Python writes it.

    Celery serialises with Python's json, which also writes NaN, Infinity and
    lone surrogates.  They are kept as the strings that stood there, so that
    everything we decode can be written as real JSON again.
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
        value = json.loads(text, parse_constant=str, parse_float=_float, parse_int=_int)
    except (ValueError, RecursionError) as error:
        raise DecodeError("no JSON", str(error)) from None
    return plain(value)


def _float(text: str) -> float | str:
    value = float(text)
    return value if math.isfinite(value) else text


def _int(text: str) -> int | str:
    return int(text) if len(text) <= _DIGITS_MAX else text


def plain(value: Any, depth: int = 0) -> Any:
    """Return `value` with JSON's own types only; raise DecodeError if too deep."""
    if depth > _DEPTH_MAX:
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
    if text.isascii() or not _SURROGATE.search(text):
        return text
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
    return value if value.bit_length() <= 3 * _DIGITS_MAX else "huge integer"


_LEAVES: Mapping[type, Callable[[Any], Any]] = {
    str: _text,
    bool: _same,
    type(None): _same,
    int: _writable,
    float: _finite,
}


def _decode_msgpack(body: bytes) -> Any:
    try:
        return plain(msgspec.msgpack.decode(body))
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DecodeError("no msgpack", str(error)) from None


def _decode_yaml(body: bytes) -> Any:
    try:
        import yaml  # noqa: PLC0415  (optional, and rare)
    except ImportError:
        raise DecodeError("YAML events need PyYAML") from None

    class Loader(yaml.SafeLoader):
        """Refuse aliases: a few hundred bytes of them grow without bound."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.events.AliasEvent):
                raise DecodeError("YAML with aliases")
            return super().compose_node(parent, index)

    try:
        return plain(yaml.load(body, Loader))  # noqa: S506  (derived from SafeLoader)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise DecodeError("no YAML", str(error).replace("\n", " ")) from None


#: All that pickled events of Celery are made of besides literals.
_PICKLED = frozenset(
    {
        ("datetime", "datetime"),
        ("datetime", "date"),
        ("datetime", "time"),
        ("datetime", "timedelta"),
        ("datetime", "timezone"),
        ("decimal", "Decimal"),
        ("uuid", "UUID"),
        ("builtins", "set"),
        ("builtins", "frozenset"),
    }
)


class _Unpickler(pickle.Unpickler):
    """Build harmless values only: no pickle can make us call anything else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _PICKLED:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed")
        return super().find_class(module, name)


def _decode_pickle(body: bytes) -> Any:
    try:
        return plain(_Unpickler(io.BytesIO(body)).load())
    except DecodeError:
        raise
    except Exception as error:  # noqa: BLE001  (broken pickles raise anything)
        raise DecodeError("no acceptable pickle", str(error)) from None


#: Serialiser name: the content types it stands for, and its decoder.
DECODERS: Mapping[str, tuple[tuple[str, ...], Callable[[bytes], Any]]] = {
    "json": (("application/json",), lenient_json),
    "msgpack": (("application/x-msgpack",), _decode_msgpack),
    "yaml": (("application/x-yaml",), _decode_yaml),
    "pickle": (("application/x-python-serialize",), _decode_pickle),
}
