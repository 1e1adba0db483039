"""A value as one line of JSON that is safe to look at."""

import json
import re
from typing import Any, Final

import msgspec

from evtools.errors import DecodeError
from evtools.wire.values import plain

#: The one character of ASCII that JSON leaves as it is and a terminal acts on.
_DELETE: Final = 0x7F

_encode = msgspec.json.Encoder().encode


def encode_line(obj: Any) -> bytes:
    r"""Encode a value as one line of JSON, without the newline.

    Every character that a terminal might act on or not show is escaped as
    `\uXXXX`, so that a line is safe to look at.  Never raises: what JSON
    cannot say becomes a string.
    """
    try:
        line = _encode(obj)
    except (TypeError, ValueError, RecursionError):
        # Nothing that was decoded: lone surrogates, bottomless nesting, ...
        if isinstance(obj, dict):
            obj = {str(key): _sayable(value) for key, value in obj.items()}
        line = json.dumps(_sayable(obj), separators=(",", ":")).encode()
    return line if is_plain(line) else escape(line)


def is_plain(data: bytes) -> bool:
    """Tell whether JSON is plain ASCII, in which nothing needs to be escaped."""
    return data.isascii() and _DELETE not in data


def escape(line: bytes) -> bytes:
    r"""Write what a terminal might act on or not show as `\uXXXX`."""
    text = line.decode()
    if text.isprintable():
        return line
    return _BEYOND_ASCII.sub(_escape, text).encode()


_BEYOND_ASCII: Final = re.compile(r"[^ -~]")


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    return character if character.isprintable() else json.dumps(character)[1:-1]


def _sayable(value: Any) -> Any:
    try:
        return plain(value)
    except DecodeError as error:
        return error.kind
