"""logfmt: the envelope as `key=value` pairs."""

import re
from typing import Any, Final

from evtools.dump.formatter import FormatOptions, Formatter
from evtools.text import sanitize
from evtools.wire import Event, encode_line, envelope

#: What needs no quotes: nothing that reads as a separator or an escape.
_BARE: Final = re.compile(r'[^\s"=\\]+')
#: Strings that would read as something else without quotes.
_MISTAKABLE: Final = re.compile(r"null|true|false|[-+]?[\d.]+(?:[eE][-+]?\d+)?")
_NO_KEY: Final = re.compile(r'[\s"=\\]')


class LogfmtFormatter(Formatter):
    """Write pairs in the order of the envelope.

    Numbers, `true`, `false` and `null` are bare.  Strings are bare where that
    is clear and quoted like JSON where not; lists and objects are quoted JSON.
    """

    def header(self) -> bytes:
        """Return nothing."""
        return b""

    def format(self, event: Event) -> bytes:
        """Return the envelope without its version."""
        sent = event.as_dict()
        line = envelope(sent, event.joined)
        if "v" not in sent:
            del line["v"]
        pairs = [f"{_key(key)}={_value(value)}" for key, value in line.items()]
        return " ".join(pairs).encode() + b"\n"


def make(_options: FormatOptions) -> LogfmtFormatter:
    """Make the format; it has no options."""
    return LogfmtFormatter()


def _key(key: str) -> str:
    return _NO_KEY.sub("_", sanitize(key)) or "_"


def _value(value: Any) -> str:
    if not isinstance(value, str):
        text = encode_line(value).decode()
        return text if not isinstance(value, list | dict) else _quoted(text)
    if _BARE.fullmatch(value) and value.isprintable() and not _MISTAKABLE.fullmatch(value):
        return value
    return _quoted(value)


def _quoted(text: str) -> str:
    return encode_line(text).decode()
