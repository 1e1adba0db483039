"""Removal of secrets from events, before anything is stored, shown or written."""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from evtools.errors import UsageError
from evtools.wire.events import EventFields

#: What stands where a secret stood.
MASK: Final = "***"

_ARGUMENT: Final = "kwargs."
#: These name an event and its origin; without them a stream means nothing.
_KEPT: Final = frozenset({"type", "timestamp", "local_received"})


def redactor(patterns: Iterable[str]) -> Callable[[EventFields], None] | None:
    """Compile `--redact` patterns; return a function that masks in place.

    `/REGEX/` masks every match in every text of an event, `kwargs.NAME` the
    keyword argument NAME of a task, and a plain `NAME` that argument and the
    event's own field NAME.  Return None when there are no patterns.

    Raise UsageError for a pattern that cannot be read.
    """
    names: list[str] = []
    arguments: list[str] = []
    regexes: list[re.Pattern[str]] = []
    for pattern in patterns:
        if len(pattern) > 1 and pattern[0] == pattern[-1] == "/":
            regexes.append(_compile(pattern))
        elif pattern.startswith(_ARGUMENT):
            arguments.append(_named(pattern, pattern.removeprefix(_ARGUMENT)))
        else:
            names.append(_named(pattern, pattern))
    arguments += names
    if not (regexes or arguments):
        return None
    return _Rules(
        names=frozenset(names) - _KEPT,
        arguments=frozenset(arguments),
        key=_key_pattern(arguments) if arguments else None,
        regexes=tuple(regexes),
    ).redact


def _compile(pattern: str) -> re.Pattern[str]:
    hint = "give a regular expression between slashes"
    try:
        regex = re.compile(pattern[1:-1])
    except re.error as error:
        raise UsageError(f"--redact {pattern}: {error}", hint) from None
    if not regex.pattern:
        raise UsageError(f"--redact {pattern}: matches everything", hint)
    return regex


def _named(pattern: str, name: str) -> str:
    if not name:
        raise UsageError(f'--redact "{pattern}": names nothing', "give a name")
    return name


def _key_pattern(names: Iterable[str]) -> re.Pattern[str]:
    """Compile what finds the names as keys, as Python, Celery and JSON write them."""
    spellings = dict.fromkeys(
        spelling
        for name in names
        for spelling in (
            name,
            repr(name)[1:-1],
            name.replace("'", "\\'"),
            json.dumps(name)[1:-1],
        )
    )
    either = "|".join(map(re.escape, spellings))
    return re.compile(rf"""(['"])(?:{either})\1\s*:\s*""")


@dataclass(frozen=True, slots=True)
class _Rules:
    names: frozenset[str]
    arguments: frozenset[str]
    key: re.Pattern[str] | None
    regexes: tuple[re.Pattern[str], ...]

    def redact(self, event: EventFields) -> None:
        """Mask in place."""
        for name in self.names:
            if name in event:
                event[name] = MASK
        if self.key is not None and "kwargs" in event:
            event["kwargs"] = self._mask_arguments(event["kwargs"], self.key)
        for regex in self.regexes:
            for name, value in event.items():
                if name not in _KEPT:
                    event[name] = _mask_text(value, regex)

    def _mask_arguments(self, value: Any, key: re.Pattern[str]) -> Any:
        """Mask the arguments at any depth: a name is rarely harmless further in."""
        if isinstance(value, dict):
            return {
                name: MASK
                if name in self.arguments
                else self._mask_arguments(inner, key)
                for name, inner in value.items()
            }
        if isinstance(value, list):
            return [self._mask_arguments(inner, key) for inner in value]
        return "".join(_masked(value, key)) if isinstance(value, str) else value


def _mask_text(value: Any, regex: re.Pattern[str]) -> Any:
    if isinstance(value, str):
        return regex.sub(MASK, value)
    if isinstance(value, list):
        return [_mask_text(item, regex) for item in value]
    if isinstance(value, dict):
        return {
            regex.sub(MASK, name): _mask_text(item, regex)
            for name, item in value.items()
        }
    return value


# --- values in the repr of a mapping ---------------------------------------------
#
# Celery sends keyword arguments as text, in a dialect of repr() that cuts what
# is long and does not escape backslashes, so some texts can be read in two
# ways; and objects write themselves as they like.  A parser that guesses wrong
# prints the second half of a secret.  So we recognise the values whose end is
# beyond doubt, and mask all the rest of the text after any other.

_SPECIAL: Final = re.compile(r"""['"()\[\]{},<\\]""")
_CLOSED_BY: Final = {"(": ")", "[": "]", "{": "}"}
_NEXT_KEY: Final = re.compile(r""",\s*(?:'[^'"]*'|"[^'"]*")\s*:""")
_AFTER_MAPPING: Final = re.compile(r"[)\]}]+\s*(?:,|$)")
_AFTER_STRING: Final = re.compile(r"[,:)\]}\s]|$")


def _masked(text: str, key: re.Pattern[str]) -> Iterator[str]:
    """Yield the repr of a mapping with the values after `key` masked."""
    position = 0
    while found := key.search(text, position):
        yield text[position : found.end()]
        yield MASK
        position = _end_of_value(text, found.end())
    yield text[position:]


def _end_of_value(text: str, start: int) -> int:
    """Return where the value that begins at `start` certainly has ended."""
    position, missing = start, list[str]()
    while found := _SPECIAL.search(text, position):
        place, character = found.start(), found[0]
        position = place + 1
        if character in "'\"":
            position = _end_of_string(text, place)
        elif character in _CLOSED_BY:
            missing.append(_CLOSED_BY[character])
        elif character == "," and not missing:
            if _NEXT_KEY.match(text, place):
                return place
        elif character in ")]}" and not missing:
            return place if _AFTER_MAPPING.match(text, place) else len(text)
        elif character != "," and (character in "<\\" or missing.pop() != character):
            break
    return len(text)


def _end_of_string(text: str, start: int) -> int:
    """Return where the string that begins at `start` ends, or the text if unsure.

    A letter before it may mean bytes, whose quotes Celery does not escape; a
    backslash before its end may be one of the string's own, or not.
    """
    end = text.find(text[start], start + 1)
    sure = (
        end > 0
        and not (text[start - 1].isalnum() or text[end - 1] == "\\")
        and _AFTER_STRING.match(text, end + 1)
    )
    return end + 1 if sure else len(text)
