"""Tests of text: substrings, globs, prefixes, exact values."""

import fnmatch
import re
from collections.abc import Callable, Sequence
from typing import TypeAlias

from evtools.filters.tokens import Value

TextTest: TypeAlias = Callable[[str], bool]

# A wildcard is a wildcard only outside quotes, and a set such as [1-3] only
# beside one: `args:[1` is an everyday search.
_WILDCARD = re.compile(r"[*?]")
_SPECIAL = re.compile(r"[*?\[]")


def is_glob(value: Value) -> bool:
    """Return whether `value` is to match a whole text by its wildcards."""
    return not value.literal and _WILDCARD.search(value.text) is not None


def contains(text: str) -> TextTest:
    """Test for texts with `text` in them, in any case."""
    needle = text.casefold()
    return lambda subject: needle in subject.casefold()


def starts_with(text: str) -> TextTest:
    """Test for texts that begin with `text`, in any case."""
    start = text.casefold()
    return lambda subject: subject.casefold().startswith(start)


def equals(texts: Sequence[str]) -> TextTest:
    """Test for texts that are one of `texts`."""
    wanted = frozenset(texts)
    return lambda subject: subject in wanted


def raises(text: str) -> TextTest:
    """Test for exceptions that are `text`, or of that class.

    Celery sends their repr: ValueError('x'); some write the class with its module.
    """

    def test(subject: str) -> bool:
        name = subject.partition("(")[0]
        return text in (subject, name, name.rpartition(".")[2])

    return test


def glob(pattern: str) -> TextTest:
    """Test for texts that match the wildcards of `pattern` as a whole, in any case."""
    stem = pattern[:-1]
    if pattern.endswith("*") and not _SPECIAL.search(stem):
        return starts_with(stem)
    match = re.compile(fnmatch.translate(pattern), re.IGNORECASE).match
    return lambda subject: match(subject) is not None


def any_of(tests: Sequence[TextTest]) -> TextTest:
    """Test for texts that pass one of `tests`."""
    if len(tests) == 1:
        return tests[0]
    return lambda subject: any(test(subject) for test in tests)
