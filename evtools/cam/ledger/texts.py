"""Texts as every database can hold them: no NUL, no half of a pair, not too long."""

import re
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Final

#: In characters.  PostgreSQL has no room in an index for longer ones.
NAME_MAX: Final = 255
TEXT_MAX: Final = 16 * 1024
_CUT: Final = "…"
_INSTEAD: Final = "\N{REPLACEMENT CHARACTER}"
_DIGEST_CHARS: Final = 64
_UNFIT: Final = re.compile("[\0\ud800-\udfff]")


def clean(text: str, limit: int = TEXT_MAX) -> str:
    """Return a text that every database takes, of `limit` characters at most."""
    if len(text) > limit:
        text = text[: limit - 1] + _CUT
    return text if _is_plain(text) else _mended(text)


def clean_end(text: str) -> str:
    """Return the end of a text that is too long: of a traceback the cause."""
    if len(text) > TEXT_MAX:
        text = _CUT + text[1 - TEXT_MAX :]
    return text if _is_plain(text) else _mended(text)


def name(text: str) -> str:
    """Return what fits into an index."""
    return clean(text, NAME_MAX)


def key(text: str) -> str:
    """Return what fits into an index, another one for every other text."""
    if len(text) <= NAME_MAX:
        return clean(text)
    digest = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return clean(text, NAME_MAX - _DIGEST_CHARS) + digest


def clean_value(value: Any) -> Any:
    """Return a value of any JSON type with all texts in it cleaned."""
    match value:
        case str():
            return clean(value)
        case dict():
            return {name(str(key)): clean_value(each) for key, each in value.items()}
        case list() | tuple():
            return [clean_value(each) for each in value]
        case _:
            return value


#: How the fields of events are cleaned, if not as texts of any length.
CLEANERS: Final[Mapping[str, Callable[[str], str]]] = {
    **dict.fromkeys(("hostname", "uuid", "root_id", "parent_id"), key),
    **dict.fromkeys(("name", "queue", "exchange", "routing_key"), name),
    **dict.fromkeys(("eta", "expires", "signum"), name),
    **dict.fromkeys(("sw_ident", "sw_ver", "sw_sys"), name),
    "traceback": clean_end,
}


def _is_plain(text: str) -> bool:
    return text.isascii() and "\0" not in text


def _mended(text: str) -> str:
    return _UNFIT.sub(_INSTEAD, text)
