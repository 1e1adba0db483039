"""Removal of secrets from events, before anything is stored, shown or written."""

import json
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, Final

from msgspec import UNSET

from evtools.errors import UsageError
from evtools.text import BoundedPattern
from evtools.wire.codec import from_fields
from evtools.wire.events import Event, EventFields
from evtools.wire.values import DEPTH_MAX

#: What stands where a secret stood.
MASK: Final = "***"

_ARGUMENT: Final = "kwargs."
#: These name an event and its origin; without them a stream means nothing.
_KEPT: Final = frozenset({"type", "timestamp", "local_received"})
#: Names, arguments and ids are masked once: the same ones come again and again.
_REMEMBERED_TEXTS: Final = 4096
_REMEMBERED_MAX_CHARS: Final = 200


def redactor(patterns: Iterable[str]) -> "Redactor | None":
    """Return what masks events by `--redact` patterns, None if there are none.

    Raise UsageError for a pattern that cannot be read.
    """
    given = tuple(patterns)
    return Redactor(given) if given else None


class Redactor:
    """Masks events; called with a dictionary of fields, it masks in place.

    `/REGEX/` masks every match in every text of an event.  A plain `NAME` masks the
    event's own field NAME, and what NAME is the key of wherever that stands: in
    arguments, results, errors and fields of all kinds, real values or text.
    `kwargs.NAME` leaves an event's own field of that name.  Case does not matter.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        fields, names, spellings = set(), set(), set()
        self._regexes: list[BoundedPattern] = []
        for pattern in patterns:
            if len(pattern) > 1 and pattern[0] == pattern[-1] == "/":
                hint = "give a regular expression between slashes"
                if pattern == "//":
                    raise UsageError("--redact //: matches everything", hint)
                try:
                    self._regexes.append(BoundedPattern(pattern[1:-1], flags=0))
                except ValueError as error:
                    raise UsageError(f"--redact {pattern}: {error}", hint) from None
                continue
            name = pattern.removeprefix(_ARGUMENT)
            if not name:
                raise UsageError(f'--redact "{pattern}": names nothing', "give a name")
            names.add(name.casefold())
            if name == pattern:
                fields.add(name.casefold())
            spellings |= {name, repr(name)[1:-1], json.dumps(name)[1:-1], name.replace("'", "\\'")}
        self._fields, self._names = frozenset(fields), frozenset(names)
        #: Finds the names as keys, and what stands between key and value: a colon or an
        #: equals sign, after quotes and brackets that may end the key; or a comma, after
        #: the first of a pair; or white space, after an option of a command.
        either = "|".join(map(re.escape, sorted(spellings)))
        between = r"""([]'"\\)\s]*(?:[:=]>?|,)\s*|\s+)"""
        self._key = re.compile(rf"(?<!\w)(?:{either}){between}", re.IGNORECASE) if names else None
        #: To look for these is faster.  Only ASCII is the same in lower case and to `re`.
        self._lower = [each.lower() for each in spellings] if either.isascii() else []
        self._remembered = lru_cache(_REMEMBERED_TEXTS)(self._text)

    def __call__(self, fields: EventFields) -> None:
        for name, value in fields.items():
            if name not in _KEPT:
                fields[name] = self._field(name, value)

    def of_value(self, value: Any) -> Any:
        """Return a value of any JSON type masked, at any depth."""
        return self._value(value)

    def of_event(self, event: Event) -> Event:
        """Return an event masked, and what is joined to it; it may be the same object."""
        masked = event
        if event.original is not UNSET or not self._mask_slots(event):
            fields = event.as_dict()
            self(fields)
            masked = from_fields(fields)
            masked.cluster = event.cluster
        if event.known is not UNSET:
            joined = dict(event.joined)
            self(joined)
            masked.known = joined
        return masked

    def _mask_slots(self, event: Event) -> bool:
        """Mask an event where it is; return False if that would take a slot for texts."""
        for name in event.own:
            value = getattr(event, name)
            if type(value) is str:
                if (masked := self._field(name, value)) != value:
                    setattr(event, name, masked)
            elif self._fields and name not in _KEPT and name.casefold() in self._fields:
                return False
        for name, slot in event.learned:
            if (value := getattr(event, slot)) is not UNSET:
                setattr(event, slot, self._field(name, value))
        return True

    def _field(self, name: str, value: Any) -> Any:
        if self._fields and name.casefold() in self._fields:
            return MASK
        return self._value(value)

    # At any depth: a name is rarely harmless further in.
    def _value(self, value: Any, depth: int = 1) -> Any:
        if isinstance(value, str):
            mask = self._remembered if len(value) <= _REMEMBERED_MAX_CHARS else self._text
            return mask(value)
        if depth > DEPTH_MAX:
            return MASK
        if isinstance(value, dict):
            return {
                self._text(name): MASK if self._is_name(name) else self._value(inner, depth + 1)
                for name, inner in value.items()
            }
        if isinstance(value, list):
            if len(value) == _PAIR and self._is_name(value[0]):
                return [self._text(value[0]), MASK]
            return [self._value(inner, depth + 1) for inner in value]
        return value

    def _is_name(self, value: Any) -> bool:
        return isinstance(value, str) and value.casefold() in self._names

    def _text(self, text: str) -> str:
        if self._key is not None:
            lower = text.lower() if self._lower and text.isascii() else None
            if lower is None or any(name in lower for name in self._lower):
                text = "".join(_masked(text, self._key))
        for regex in self._regexes:
            text = regex.mask(MASK, text)
        return text


# --- values in text --------------------------------------------------------------
#
# Celery sends keyword arguments as text, in a dialect of repr() that cuts what
# is long and does not escape backslashes, so some texts can be read in two
# ways; objects write themselves as they like, and errors say what they like.  A
# parser that guesses wrong prints the second half of a secret.  So we recognise
# the values whose end is beyond doubt, those of a mapping with quoted keys and
# quoted ones of a call, and mask all the rest of the text after any other.
#
# A line of source in a traceback is no value: it is masked to its own end.

_PAIR: Final = 2
_SPECIAL: Final = re.compile(r"""['"()\[\]{},<\\]""")
_CLOSED_BY: Final = {"(": ")", "[": "]", "{": "}"}
_NEXT_KEY: Final = re.compile(r""",\s*(?:'[^'"]*'|"[^'"]*")\s*:""")
_NEXT_ARGUMENT: Final = re.compile(r""",\s*[^\W\d]\w*=""")
_AFTER_MAPPING: Final = re.compile(r"[)\]}]+\s*(?:,|$)")
_AFTER_STRING: Final = re.compile(r"[,:)\]}\s]|$")
_COLON: Final = re.compile(r"""['"]\s*:\s*""")
_FIRST_OF_PAIR: Final = re.compile(r"""[(\[]\s*\\*['"]$""")
#: Before a line of source in a traceback, lines of the same statement may stand.
_FRAME: Final = re.compile(r'  File ".*", line \d+')
_STATEMENT_LINES: Final = 8
#: Text of longer lines is no source, and masked to its end.
_STATEMENT_MAX_CHARS: Final = 2000
_SOURCE: Final = "    "
_AFTER_SOURCE: Final = re.compile(rf"\n(?!{_SOURCE})")


def _masked(text: str, key: re.Pattern[str]) -> Iterator[str]:
    position = search = 0
    while found := key.search(text, search):
        start, between, search = found.start(), found[1], found.end()
        before = text[max(0, start - 20) : start]
        is_pair = "," in between and _FIRST_OF_PAIR.search(before) is not None
        is_option = before.endswith("--")  # of a command
        if "=" in between or ":" in between or is_option or is_pair:
            yield text[position:search]
            yield MASK
            position = search = max(search, _end(text, found))
    yield text[position:]


def _end(text: str, found: re.Match[str]) -> int:
    """Return where the value after a key has certainly ended."""
    start, value = found.start(), found.end()
    is_source = _is_source(text, start)
    limit = len(text)
    # A traceback has very many statements: no further than to the end of this one.
    if is_source and (statement_end := _AFTER_SOURCE.search(text, value)):
        limit = statement_end.start()
    opened = text[start - 1 : start]
    is_quoted = opened in ("'", '"') and text.startswith(opened, found.start(1))
    if is_quoted and (_COLON.fullmatch(found[1]) or found[1].rstrip().endswith(",")):
        end = _end_of_value(text, value, limit, _NEXT_KEY)
    elif found[1].endswith("=") and text[value : value + 1] in ("'", '"'):
        end = _end_of_value(text, value, limit, _NEXT_ARGUMENT)
    else:
        end = len(text)
    if end == len(text) and is_source and (line_end := text.find("\n", value)) >= 0:
        return line_end
    return end


def _is_source(text: str, place: int) -> bool:
    first = max(0, place - _STATEMENT_MAX_CHARS)
    for _ in range(_STATEMENT_LINES):
        start = text.rfind("\n", first, place) + 1
        if not text.startswith(_SOURCE, start):
            return start > 0 and _FRAME.match(text, start, place) is not None
        place = start - 1
        if place < 0:
            break
    return False


def _end_of_value(text: str, start: int, limit: int, following: re.Pattern[str]) -> int:
    """Return where the value that begins at `start` certainly has ended.

    A comma ends it if `following` matches there.  If it has not ended at `limit`,
    it is all the rest.
    """
    position, missing = start, list[str]()
    while found := _SPECIAL.search(text, position, limit):
        place, character = found.start(), found[0]
        position = place + 1
        if character in "'\"":
            position = _end_of_string(text, place, limit)
        elif character in _CLOSED_BY:
            missing.append(_CLOSED_BY[character])
        elif character == "," and not missing:
            if following.match(text, place, limit):
                return place
        elif character in ")]}" and not missing:
            return place if _AFTER_MAPPING.match(text, place) else len(text)
        elif character != "," and (character in "<\\" or missing.pop() != character):
            break
    return len(text)


def _end_of_string(text: str, start: int, limit: int) -> int:
    """Return where the string that begins at `start` ends, or the text if unsure.

    A letter before it may mean bytes, whose quotes Celery does not escape; a
    backslash before its end may be one of the string's own, or not.
    """
    end = text.find(text[start], start + 1, limit)
    sure = (
        end > 0
        and not (text[start - 1].isalnum() or text[end - 1] == "\\")
        and _AFTER_STRING.match(text, end + 1)
    )
    return end + 1 if sure else len(text)
