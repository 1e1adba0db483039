"""Removal of secrets from events, before anything is stored, shown or written."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from evtools.errors import UsageError
from evtools.wire.events import EventFields

#: What stands where a secret stood.
MASK = "***"

_OPENING, _CLOSING = "([{", ")]}"
#: These name an event and its origin; without them a stream means nothing.
_KEPT = frozenset({"type", "timestamp", "local_received"})


def redactor(patterns: Iterable[str]) -> Callable[[EventFields], None] | None:
    """Compile `--redact` patterns; return a function that masks in place.

    `/REGEX/` masks every match in every text of an event, `kwargs.NAME` the
    keyword argument NAME of a task, and a plain `NAME` that argument and the
    event's own field NAME.  Return None when there are no patterns.

    Raise UsageError for a pattern that cannot be read.
    """
    regexes: list[re.Pattern[str]] = []
    names: list[str] = []
    arguments: list[str] = []
    for pattern in patterns:
        if len(pattern) > 1 and pattern[0] == pattern[-1] == "/":
            regexes.append(_compile(pattern))
        elif pattern.startswith("kwargs."):
            arguments.append(pattern.removeprefix("kwargs."))
        else:
            names.append(pattern)
            arguments.append(pattern)
    if not (regexes or arguments):
        return None
    keys = frozenset(arguments)
    # As repr() and as JSON write a key.
    key = re.compile(
        r"""(['"])(?:%s)\1\s*:\s*""" % "|".join(map(re.escape, arguments))  # noqa: UP031  (quotes and braces make an f-string worse)
    )

    def redact(event: EventFields) -> None:
        for name in names:
            if name in event and name not in _KEPT:
                event[name] = MASK
        if keys and "kwargs" in event:
            event["kwargs"] = _mask_arguments(event["kwargs"], keys, key)
        for regex in regexes:
            for name, value in event.items():
                if name not in _KEPT:
                    event[name] = _mask_text(value, regex)

    return redact


def _compile(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern[1:-1])
    except re.error as error:
        raise UsageError(
            f"--redact {pattern}: {error}", "give a regular expression between slashes"
        ) from None


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


def _mask_arguments(
    kwargs: Any, names: frozenset[str], key: re.Pattern[str]
) -> Any:
    if isinstance(kwargs, dict):
        return {
            name: MASK if name in names else value for name, value in kwargs.items()
        }
    if isinstance(kwargs, str):
        return "".join(_masked_parts(kwargs, key))
    return kwargs


def _masked_parts(text: str, key: re.Pattern[str]) -> Iterator[str]:
    """Yield the repr of a mapping with the values after `key` masked."""
    position = 0
    while found := key.search(text, position):
        yield text[position : found.end()]
        yield MASK
        position = _end_of_value(text, found.end())
    yield text[position:]


def _end_of_value(text: str, start: int) -> int:
    """Return where the value that begins at `start` ends.

    The text may be cut anywhere, and objects write themselves as they like:
    in doubt more is masked, never less.
    """
    if text.startswith("<", start):
        end = text.rfind(">", start)
        return len(text) if end < 0 else end + 1
    depth, quote, position = 0, "", start
    while position < len(text):
        character = text[position]
        if quote:
            position += character == "\\"
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in _OPENING:
            depth += 1
        elif depth == 0 and character in (",", *_CLOSING):
            return position
        elif character in _CLOSING:
            depth -= 1
        position += 1
    return len(text)
