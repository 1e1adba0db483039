"""The serialisers Celery can send events with, reduced to JSON's own types."""

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from evtools.errors import DecodeError
from evtools.wire.msgpack import read_msgpack
from evtools.wire.pickles import read_pickle
from evtools.wire.values import DEPTH_MAX, DIGITS_MAX, Lost, Unquoted, bounded, fields_of, plain

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


def _read_yaml(body: bytes) -> Any:
    _check_size(body)
    try:
        from evtools.wire.yamls import read_yaml  # noqa: PLC0415  (optional, and rare)
    except ImportError:
        raise DecodeError("YAML events need PyYAML") from None
    return bounded(read_yaml(body), _GROWN_MAX)


def _check_size(body: bytes) -> None:
    if len(body) > SLOW_MAX_BYTES:
        raise DecodeError("message too large", f"over {SLOW_MAX_BYTES} bytes of YAML or pickle")


def _read_pickle(body: bytes) -> Any:
    _check_size(body)
    try:
        value = read_pickle(body)
    except Exception as error:  # noqa: BLE001  (broken pickles raise anything)
        raise DecodeError("no acceptable pickle", str(error)) from None
    return bounded(value, _GROWN_MAX)


#: Serialiser name: the content types it stands for, and what reads it; `fields_of`
#: and `plain` make real JSON of the values.
READERS: Final[Mapping[str, tuple[tuple[str, ...], Callable[[bytes], Any]]]] = {
    "json": (("application/json",), read_json),
    "msgpack": (("application/x-msgpack",), read_msgpack),
    "yaml": (("application/x-yaml",), _read_yaml),
    "pickle": (("application/x-python-serialize",), _read_pickle),
}
